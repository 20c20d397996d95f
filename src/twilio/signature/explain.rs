//! What a refused request would have matched if one thing were different: the faults that people
//! have, most frequent first. For an operator who looks for the reason; never for the caller.

use crate::twilio::form::Pairs;
use crate::twilio::signature::MAX_HASHED_BYTES;
use crate::twilio::signature::Mismatch;
use crate::twilio::signature::Payload;
use crate::twilio::signature::Request;
use crate::twilio::signature::Secret;
use crate::twilio::signature::url::Url;
use crate::twilio::signature::verify_within;

/// What would have had to be different, in words that go on "it would match if …". All of it together
/// hashes no more than one check may.
pub fn would_match_if(
    request: &Request<'_>,
    secrets: &[&Secret],
    previous: &[&Secret],
) -> Vec<&'static str> {
    let mut left = MAX_HASHED_BYTES;
    let mut matches = |request: &Request<'_>, secrets: &[&Secret]| {
        // One that can check nothing more says nothing.
        left > 0 && verify_within(request, secrets, &mut left).outcome.is_ok()
    };
    let mut reasons = Vec::new();
    let bare: Vec<&str> = request.urls.iter().map(|url| without_fragment(url)).collect();
    for (change, reason) in URL_PROBES {
        let urls: Vec<_> = bare.iter().filter_map(|url| change(url)).collect();
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
    let unpadded = Request { signature: trimmed, ..*request };
    if trimmed != request.signature && matches(&unpadded, secrets) {
        reasons.push("the signature had no blanks around it");
    }
    // Last, for they are many.
    let urls: Vec<_> = bare.iter().flat_map(|url| reordered(url)).collect();
    if matches(&Request { urls: &urls, ..*request }, secrets) {
        reasons.push(
            "the query's parameters were in another order: Twilio signs them as they are configured",
        );
    }
    reasons
}

// 120 orders.
const REORDERED: usize = 5;

type UrlProbe = (fn(&str) -> Option<String>, &'static str);

const URL_PROBES: &[UrlProbe] = &[
    (as_https, "the URL began with https: what ends TLS on the way hides that it does"),
    (as_http, "the URL began with http"),
    (other_slash, "the path ended otherwise: with a / or without one"),
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

/// The URL with its query's parts in every other order, where there are few.
fn reordered(url: &str) -> Vec<String> {
    let Some((before, query)) = url.split_once('?') else { return Vec::new() };
    let parts: Vec<_> = query.split('&').collect();
    if !(2..=REORDERED).contains(&parts.len()) {
        return Vec::new();
    }
    let mut orders = vec![Vec::new()];
    for part in &parts {
        let longer = |order: Vec<_>| (0..=order.len()).map(move |at| with(&order, at, part));
        orders = orders.into_iter().flat_map(longer).collect();
    }
    let other = orders.into_iter().filter(|order| *order != parts);
    other.map(|order| format!("{before}?{}", order.join("&"))).collect()
}

fn with<'q>(order: &[&'q str], at: usize, part: &'q str) -> Vec<&'q str> {
    let (head, tail) = order.split_at(at);
    [head, &[part], tail].concat()
}

fn without_fragment(url: &str) -> &str {
    url.split_once('#').map_or(url, |(before, _)| before)
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

fn payload_probes(request: &Request<'_>) -> impl Iterator<Item = (Made, &'static str)> {
    let probes = made(request).into_iter();
    // A form of nothing says no more than the URL alone.
    probes.filter(|(made, _)| !matches!(made, Made::Form(pairs) if pairs.is_empty()))
}

fn made(request: &Request<'_>) -> Vec<(Made, &'static str)> {
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
        Mismatch::NoSignature => {
            "look for X-Twilio-Signature in what arrived: a proxy may drop it, or it is not from Twilio"
        }
        Mismatch::NotASignature => {
            "pass on the header as it is: one value, base64, with its padding"
        }
        Mismatch::NoBodyHash => {
            "let Twilio send a form, or JSON from a widget that adds bodySHA256 to the URL"
        }
        Mismatch::OtherBody => "compare the raw bytes: something on the way changed the body",
        Mismatch::TooMuch => "let the request carry its AccountSid, so that fewer tokens are tried",
        Mismatch::NoneMatched => {
            "compare the URLs that were tried with the one configured at Twilio, and the token with the account's primary Auth Token"
        }
    }
}
