//! Twilio's door: a request is let in by its signature, which covers its URL and its body, so the
//! body is read here, before anything is asked of the store: 64 kB of it at most, in the time that a
//! body may take, and on webhooks only behind a header that may be a signature. Handlers get the
//! parameters that were verified ([`RequestState::parameters`]) and nothing else of the request.
//!
//! A refusal is explained in the log, a few times a second; to the caller never.

use std::sync::Arc;

use actix_web::dev::ServiceRequest;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use memchr::memchr_iter;

use crate::auth::twilio_request::Admitted;
use crate::auth::twilio_request::Presented;
use crate::auth::twilio_request::Refused;
use crate::auth::twilio_request::names;
use crate::domain::connector::ConnectorId;
use crate::domain::principal::Principal;
use crate::http::body::Reading;
use crate::http::edge;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::gate;
use crate::http::request::RequestState;
use crate::store::connector::StoredConnector;
use crate::telemetry::metrics::Signature as Label;
use crate::twilio::form;
use crate::twilio::form::MAX_PARAMETERS;
use crate::twilio::form::Pairs;
use crate::twilio::signature;
use crate::twilio::signature::Payload;

/// Largest body of a webhook. Twilio's own are a few kilobytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
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
    if let Some(reason) = unusable(edge, shown(request.headers()), false) {
        count(edge, "refused");
        mention(edge, state, reason);
        return Err(refused());
    }
    let arrived = Arrived::read(edge, state, request).await?;
    match arrived.admit(edge, request, Route::Webhook) {
        Ok(admitted) => Ok(let_in(edge, state, admitted, arrived)),
        Err(why) => {
            explain(edge, state, request, &arrived, (Route::Webhook, why));
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
        let signed = Arrived::read(edge, state, request).await?;
        match signed.admit(edge, request, Route::Studio) {
            Ok(admitted) => return Ok(let_in(edge, state, admitted, signed)),
            Err(why) => why_not = Some(why),
        }
        arrived = Some(signed);
    }
    let principal = gate::by_key(true, &edge.doors, request).await.map_err(|refused| {
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
        None => Arrived::read(edge, state, request).await?,
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

/// What is asked of a request beside its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// A form or nothing, and an `AccountSid`. Names and values are signed with nothing between, so who
    /// has one signed request may cut it into others; the less a route takes, the fewer these are.
    Webhook,
    /// Whatever a widget sends.
    Studio,
}

/// Reads a body whose signature is to be checked. Its place in flight is for others meanwhile.
async fn read(
    edge: &Edge,
    state: &RequestState,
    request: &mut ServiceRequest,
) -> Result<Bytes, ApiError> {
    let (head, payload) = request.parts_mut();
    let reading = Reading::of(head, payload);
    if reading.is_of_nothing() {
        return reading.whole(MAX_BODY_BYTES, &edge.limits, state).await;
    }
    let unproven = edge.load.unproven.enter().ok_or_else(edge::overloaded)?;
    state.permit.take();
    let body = reading.whole(MAX_BODY_BYTES, &edge.limits, state).await?;
    drop(unproven);
    state.permit.replace(Some(edge.load.in_flight.enter().ok_or_else(edge::overloaded)?));
    Ok(body)
}

/// What came, before anybody knows whose it is.
struct Arrived {
    body: Bytes,
    is_form: bool,
    /// Of the body, if it is a form.
    form: Pairs,
    /// Of query and body.
    pairs: Pairs,
    /// The connector that it goes through, if it names one that there is.
    connector: Option<Arc<StoredConnector>>,
}

impl Arrived {
    async fn read(
        edge: &Edge,
        state: &RequestState,
        request: &mut ServiceRequest,
    ) -> Result<Self, ApiError> {
        let body = read(edge, state, request).await?;
        let query = request.query_string().as_bytes();
        let is_form = declares_form(request.headers());
        let parameters =
            |encoded: &[u8]| memchr_iter(b'&', encoded).count() + usize::from(!encoded.is_empty());
        let of_body = if is_form { parameters(&body) } else { 0 };
        // Before they are decoded, sorted, and looked through.
        if parameters(query) + of_body > MAX_PARAMETERS {
            return Err(too_many());
        }
        let query = Pairs::decode(query);
        let connector = match connector_of(request) {
            Some(id) => edge.doors.connector(&id).await?,
            None => None,
        };
        if is_form {
            let form = Pairs::decode(&body);
            let pairs = query.and(form.clone());
            return Ok(Self { body, is_form, form, pairs, connector });
        }
        let pairs = query.and(Pairs::of_json(&body));
        if pairs.len() > MAX_PARAMETERS {
            return Err(too_many());
        }
        Ok(Self { body, is_form, form: Pairs::default(), pairs, connector })
    }

    fn admit(
        &self,
        edge: &Edge,
        request: &ServiceRequest,
        route: Route,
    ) -> Result<Admitted, Refused> {
        let is_plain = self.is_form || self.body.is_empty();
        if route == Route::Webhook && !is_plain {
            return Err(Refused::NotAForm);
        }
        edge.twilio.admit(&self.presented(request, route))
    }

    /// Leaves to the handler what a request that was let in says.
    fn hand_on(self, state: &RequestState) {
        // Set once: a request is let in once.
        let _ = state.parameters.set(self.pairs);
        if let Some(connector) = self.connector {
            let _ = state.connector.set(connector);
        }
    }

    fn presented<'r>(&'r self, request: &'r ServiceRequest, route: Route) -> Presented<'r> {
        let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let payload = if self.is_form {
            Payload::Form { pairs: &self.form, raw: Some(&self.body) }
        } else if self.body.is_empty() && !request.headers().contains_key(header::CONTENT_TYPE) {
            Payload::None
        } else {
            Payload::Body(&self.body)
        };
        Presented {
            signature: text(SIGNATURE).unwrap_or_default(),
            settings: text(SETTINGS),
            host: text(header::HOST.as_str()),
            target: request.uri().path_and_query().map_or("/", |target| target.as_str()),
            payload,
            pairs: &self.pairs,
            needs_account: route == Route::Webhook,
            connector: self.connector.as_deref(),
        }
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

fn declares_form(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    form::is_form(declared.unwrap_or_default())
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

fn too_many() -> ApiError {
    let message = format!("More than {MAX_PARAMETERS} parameters are not looked at");
    ApiError::new(Code::BodyTooLarge, message)
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
