//! What a refused request would have matched if one thing were different: the faults that people
//! have, most frequent first. For an operator who looks for the reason; never for the caller.

use crate::twilio::form::Pairs;
use crate::twilio::signature::Mismatch;
use crate::twilio::signature::Payload;
use crate::twilio::signature::Request;
use crate::twilio::signature::Secret;
use crate::twilio::signature::url::Url;
use crate::twilio::signature::verify;

/// What would have had to be different, in words that go on "it would match if …".
pub fn would_match_if(
    request: &Request<'_>,
    secrets: &[&Secret],
    previous: &[&Secret],
) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    for (change, reason) in URL_PROBES {
        let urls: Vec<_> = request.urls.iter().filter_map(|url| change(url)).collect();
        if matches(&Request { urls: &urls, ..*request }, secrets) {
            reasons.push(*reason);
        }
    }
    for (made, reason) in payload_probes(request) {
        if matches(&Request { payload: made.payload(), ..*request }, secrets) {
            reasons.push(reason);
        }
    }
    if matches(request, previous) {
        reasons.push("it were checked with the previous token");
    }
    let trimmed = request.signature.trim();
    let bare = Request { signature: trimmed, ..*request };
    if trimmed != request.signature && matches(&bare, secrets) {
        reasons.push("the signature had no blanks around it");
    }
    reasons
}

fn matches(request: &Request<'_>, secrets: &[&Secret]) -> bool {
    verify(request, secrets).outcome.is_ok()
}

type UrlProbe = (fn(&str) -> Option<String>, &'static str);

const URL_PROBES: &[UrlProbe] = &[
    (as_https, "the URL began with https: what ends TLS on the way hides that it does"),
    (as_http, "the URL began with http"),
    (other_slash, "the path ended otherwise: with a / or without one"),
    (
        sorted_query,
        "the query were sorted: configure the URL at Twilio with its parameters in order",
    ),
    (without_query, "the URL had no query: something on the way adds or drops it"),
];

fn as_https(url: &str) -> Option<String> {
    url.strip_prefix("http://").map(|rest| format!("https://{rest}"))
}

fn as_http(url: &str) -> Option<String> {
    url.strip_prefix("https://").map(|rest| format!("http://{rest}"))
}

fn other_slash(url: &str) -> Option<String> {
    let parts = Url::of(url)?;
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let before = match parts.path.strip_suffix('/') {
        Some(_) => before.strip_suffix('/')?.to_owned(),
        None => format!("{before}/"),
    };
    Some(if parts.query.is_some() { format!("{before}?{query}") } else { before })
}

fn sorted_query(url: &str) -> Option<String> {
    let (before, query) = url.split_once('?')?;
    let mut pairs: Vec<_> = query.split('&').collect();
    pairs.sort_unstable();
    Some(format!("{before}?{}", pairs.join("&")))
}

fn without_query(url: &str) -> Option<String> {
    url.split_once('?').map(|(before, _)| before.to_owned())
}

/// A payload that was made for a probe.
enum Made {
    Nothing,
    Form(Pairs),
}

impl Made {
    fn payload(&self) -> Payload<'_> {
        match self {
            Self::Nothing => Payload::None,
            Self::Form(pairs) => Payload::Form { pairs, raw: None },
        }
    }
}

fn payload_probes(request: &Request<'_>) -> Vec<(Made, &'static str)> {
    match request.payload {
        Payload::None => {
            let query = request.urls.first().and_then(|url| Url::of(url)?.query);
            let pairs = Pairs::decode(query.unwrap_or_default().as_bytes());
            vec![(Made::Form(pairs), "the query's parameters were signed again, as a form's")]
        }
        Payload::Form { pairs, .. } => {
            let trimmed = pairs.iter().map(|(name, value)| (trim(name), trim(value))).collect();
            let filled = pairs.iter().filter(|(_, value)| !value.is_empty());
            let filled = filled.map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            vec![
                (Made::Form(trimmed), "the values were trimmed"),
                (Made::Form(filled), "the empty values were left out"),
                (
                    Made::Nothing,
                    "the parameters were left out: on a GET they stand in the URL alone",
                ),
            ]
        }
        Payload::Body(body) => {
            let as_form = Pairs::of_json(body);
            let hashed = "the body were the one that was signed: it was changed on the way, or the URL lacks bodySHA256";
            vec![
                (Made::Form(as_form), "the JSON's members were signed like a form's"),
                (Made::Form(Pairs::decode(body)), "the body were declared a form"),
                (Made::Nothing, hashed),
            ]
        }
    }
}

fn trim(bytes: &[u8]) -> Vec<u8> {
    bytes.trim_ascii().to_vec()
}

/// What to do about a mismatch, where its own words do not say.
pub fn advice(mismatch: Mismatch) -> &'static str {
    match mismatch {
        Mismatch::NoSecret => "give the Auth Token of the account that owns the resource",
        Mismatch::NoBodyHash => {
            "let Twilio send a form, or JSON from a widget that adds bodySHA256 to the URL"
        }
        Mismatch::OtherBody => "compare the raw bytes: something on the way changed the body",
        Mismatch::NoneMatched => {
            "compare the URLs that were tried with the one configured at Twilio, and the token with the account's primary Auth Token"
        }
    }
}
