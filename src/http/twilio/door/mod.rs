//! Twilio's door: a request is let in by its signature, which covers its URL and its body, so the
//! body is read here, before anything is asked of the store: 64 kB of it at most, in the time that a
//! body may take, and on webhooks only behind a header that may be a signature. Handlers get the
//! parameters that were verified ([`RequestState::parameters`]) and nothing else of the request.
//!
//! A refusal is explained in the log, a few times a second; to the caller never.

mod arrived;

use std::sync::Arc;

use actix_web::dev::ServiceRequest;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::http::header::HeaderMap;

use crate::auth::twilio_request::Admitted;
use crate::auth::twilio_request::Refused;
use crate::auth::twilio_request::names;
use crate::domain::connector::ConnectorId;
use crate::domain::principal::Principal;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::gate;
use crate::http::request::RequestState;
use crate::http::twilio::door::arrived::Arrived;
use crate::http::twilio::door::arrived::Route;
use crate::telemetry::metrics::Signature as Label;
use crate::twilio::signature;

const SIGNATURE: &str = "x-twilio-signature";
const SETTINGS: &str = "x-twilio-webhooks-signature-settings";
// Of a log line, which a stranger may have written parts of.
const LISTED: usize = 8;
const LISTED_CHARACTERS: usize = 200;

/// What a request shows of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    One,
    None,
    More,
    Malformed,
}

/// Lets in only what Twilio signed. The refusal says nothing, and is the same whatever is wrong.
pub(in crate::http) async fn webhook(
    edge: &Edge,
    state: &RequestState,
    request: &mut ServiceRequest,
) -> Result<Arc<Principal>, ApiError> {
    signed(edge, state, request, Route::Webhook).await
}

/// The same, where events may come as JSON too.
pub(in crate::http) async fn events(
    edge: &Edge,
    state: &RequestState,
    request: &mut ServiceRequest,
) -> Result<Arc<Principal>, ApiError> {
    signed(edge, state, request, Route::Events).await
}

async fn signed(
    edge: &Edge,
    state: &RequestState,
    request: &mut ServiceRequest,
    route: Route,
) -> Result<Arc<Principal>, ApiError> {
    let is_linked = connector_of(request).is_some();
    if let Some(reason) = unusable(edge, shown(request.headers()), is_linked) {
        count(edge, "refused");
        mention(edge, state, reason);
        return Err(refused());
    }
    let arrived = Arrived::read(edge, state, request, route).await?;
    match arrived.admit(edge, request, route) {
        Ok(admitted) => {
            // Set once: a request is let in once.
            let _ = state.fingerprint.set(arrived.fingerprint(request));
            Ok(let_in(edge, state, admitted, arrived))
        }
        Err(why) => {
            explain(edge, state, request, &arrived, (route, why));
            Err(refused())
        }
    }
}

/// Lets in what Twilio signed, and whoever holds a key. With neither it asks for HTTP Basic: Twilio
/// shows what stands in a URL (`https://key:SECRET@host/…`) only when it is asked.
pub(in crate::http) async fn studio(
    edge: &Edge,
    state: &RequestState,
    request: &mut ServiceRequest,
) -> Result<Arc<Principal>, ApiError> {
    let mut arrived = None;
    let mut why_not = None;
    let shown = shown(request.headers());
    let is_linked = connector_of(request).is_some();
    let verifies = is_linked || edge.twilio.verifies();
    let is_signed = shown != Shown::None && verifies;
    if unusable(edge, shown, is_linked).is_none() {
        let signed = Arrived::read(edge, state, request, Route::Studio).await?;
        match signed.admit(edge, request, Route::Studio) {
            Ok(admitted) => return Ok(let_in(edge, state, admitted, signed)),
            Err(why) => why_not = Some(why),
        }
        arrived = Some(signed);
    }
    let takes = gate::Takes { basic: true, flex: None };
    let principal = gate::by_key(takes, &edge.doors, request).await.map_err(|refused| {
        if refused.code.status() == StatusCode::UNAUTHORIZED && is_signed {
            if let Some((signed, why)) = arrived.as_ref().zip(why_not) {
                explain(edge, state, request, signed, (Route::Studio, why));
            } else {
                count(edge, "refused");
                mention(edge, state, unusable(edge, shown, is_linked).unwrap_or_default());
            }
        }
        let is_bare = refused.code == Code::MissingCredentials;
        match (is_bare, is_signed) {
            (false, _) => refused,
            (true, false) => nothing_shown(refused),
            (true, true) => invalid_signature(request),
        }
    })?;
    let arrived = match arrived {
        Some(arrived) => arrived,
        None => Arrived::read(edge, state, request, Route::Studio).await?,
    };
    arrived.hand_on(state);
    Ok(principal)
}

/// The connector that a path names at its end, if it names one. Whether there is such a one is found out
/// only behind a header that may be a signature, and told to nobody who is not let in.
fn connector_of(request: &ServiceRequest) -> Option<ConnectorId> {
    request.path().rsplit('/').next()?.parse().ok()
}

/// Why what is shown cannot be checked, if it cannot.
fn unusable(edge: &Edge, shown: Shown, is_linked: bool) -> Option<&'static str> {
    match shown {
        Shown::One if is_linked || edge.twilio.verifies() => None,
        Shown::One => Some("no Auth Token is configured (BATON_TWILIO_AUTH_TOKENS)"),
        Shown::None => Some("X-Twilio-Signature is missing or empty"),
        Shown::More => Some("X-Twilio-Signature is given more than once"),
        Shown::Malformed => {
            Some("X-Twilio-Signature is no signature: 28 or 44 characters of base64")
        }
    }
}

/// Tells the log that there was nothing to check.
fn mention(edge: &Edge, state: &RequestState, reason: &str) {
    if edge.mentioned.may() {
        let correlation_id = &state.correlation_id;
        tracing::warn!(target: "baton::signature", correlation_id, reason, "a request to Twilio's door was refused");
    }
}

fn let_in(
    edge: &Edge,
    state: &RequestState,
    admitted: Admitted,
    arrived: Arrived,
) -> Arc<Principal> {
    count(edge, if admitted.by_previous { "verified_previous" } else { "verified" });
    arrived.hand_on(state);
    admitted.principal
}

fn shown(headers: &HeaderMap) -> Shown {
    let mut given = headers.get_all(SIGNATURE);
    let Some(first) = given.next() else { return Shown::None };
    let text = first.to_str().unwrap_or_default();
    match (given.next(), text.is_empty()) {
        (Some(_), _) => Shown::More,
        (None, true) if first.is_empty() => Shown::None,
        (None, _) if signature::is_signature(text) => Shown::One,
        (None, _) => Shown::Malformed,
    }
}

fn count(edge: &Edge, outcome: &'static str) {
    edge.metrics.signatures.get_or_create(&Label { outcome }).inc();
}

/// Tells the log why, with what would mend it: names of parameters, never their values, and neither
/// the signature nor what it should have been.
fn explain(
    edge: &Edge,
    state: &RequestState,
    request: &ServiceRequest,
    arrived: &Arrived,
    (route, why): (Route, Refused),
) {
    count(edge, "refused");
    if !edge.explained.may() {
        return;
    }
    let told = edge.twilio.explain(&arrived.presented(request, route));
    let body = if arrived.is_form { arrived.body.as_ref() } else { b"" };
    let body = std::str::from_utf8(body).unwrap_or_default();
    let names = names(request.query_string()).chain(names(body));
    let kind = if arrived.is_form { "form" } else { "no form" };
    tracing::warn!(
        target: "baton::signature",
        correlation_id = %state.correlation_id,
        reason = %why,
        would_match_if = %listed(told.would_match_if),
        tried = %listed(told.tried),
        secrets = %listed(told.secrets),
        parameters = %listed(names),
        body_bytes = arrived.body.len(),
        body = kind,
        "a request to Twilio's door was refused",
    );
}

/// The first few of a list, each cut: a stranger may have written them.
fn listed(items: impl IntoIterator<Item = String>) -> String {
    let mut items = items.into_iter();
    let cut = |item: String| item.chars().take(LISTED_CHARACTERS).collect::<String>();
    let mut listed: Vec<_> = items.by_ref().take(LISTED).map(cut).collect();
    let more = items.count();
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    listed.join("; ")
}

fn refused() -> ApiError {
    ApiError::new(Code::SignatureRefused, "Not signed by Twilio. The server's log says why")
}

/// Neither signature nor key: what a widget can do about it.
fn nothing_shown(mut refused: ApiError) -> ApiError {
    "Neither signed by Twilio nor with a key. A signature opens this where BATON_TWILIO_AUTH_TOKENS is set, or the connector in the path is linked; else put a read-only key into the widget's URL: https://key:SECRET@host/…"
        .clone_into(&mut refused.message);
    refused
}

fn invalid_signature(request: &ServiceRequest) -> ApiError {
    ApiError::new(
        Code::InvalidSignature,
        "X-Twilio-Signature is not this request's; the server's log says why. Without a signature, put a read-only key into the URL: https://key:SECRET@host/…",
    )
    .with(header::WWW_AUTHENTICATE, gate::challenge(true, request))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let name = HeaderName::from_static(SIGNATURE);
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_one_that_may_be_a_signature_is_looked_at() {
        let good = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
        assert_eq!(shown(&headers(&[good])), Shown::One);
        assert!(shown(&headers(&[&"A".repeat(44)])) == Shown::One);
        assert_eq!(shown(&headers(&[])), Shown::None);
        assert_eq!(shown(&headers(&[""])), Shown::None);
        assert_eq!(shown(&headers(&[good, good])), Shown::More);
        for malformed in ["x", &good[1..], &format!("{good},{good}"), &good.replace('/', "_")] {
            assert_eq!(shown(&headers(&[malformed])), Shown::Malformed, "{malformed}");
        }
    }
}
