//! [`Arrived`]: a request of Twilio's as it came, read whole before anybody knows whose it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix_web::dev::ServiceRequest;
use actix_web::http::header;
use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memchr_iter;

use crate::auth::twilio_request::Admitted;
use crate::auth::twilio_request::Presented;
use crate::auth::twilio_request::Refused;
use crate::http::body::Reading;
use crate::http::edge;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::request::RequestState;
use crate::http::twilio::door::SETTINGS;
use crate::http::twilio::door::SIGNATURE;
use crate::http::twilio::door::connector_of;
use crate::store::connector::StoredConnector;
use crate::twilio::form;
use crate::twilio::form::MAX_PARAMETERS;
use crate::twilio::form::Pairs;
use crate::twilio::signature::Payload;

/// Largest body of a webhook. Twilio's own are a few kilobytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Largest batch of events: how large Event Streams makes one is not written down, and one that is refused is
/// lost.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// What is asked of a request beside its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// A form or nothing, and an `AccountSid`. Names and values are signed with nothing between, so who
    /// has one signed request may cut it into others; the less a route takes, the fewer these are.
    Webhook,
    /// The same, or events in JSON, which say themselves whose they are.
    Events,
    /// Whatever a widget sends.
    Studio,
}

/// What came, before anybody knows whose it is.
pub(super) struct Arrived {
    pub(super) body: Bytes,
    pub(super) is_form: bool,
    /// Of the body, if it is a form.
    form: Pairs,
    /// Of the query.
    query: Pairs,
    /// Of query and body.
    pairs: Pairs,
    /// The connector that it goes through, if it names one that there is.
    connector: Option<Arc<StoredConnector>>,
}

impl Arrived {
    pub(super) async fn read(
        edge: &Edge,
        state: &RequestState,
        request: &mut ServiceRequest,
        route: Route,
    ) -> Result<Self, ApiError> {
        let most = if route == Route::Events { MAX_BATCH_BYTES } else { MAX_BODY_BYTES };
        let body = read(edge, state, request, most).await?;
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
            let pairs = query.clone().and(form.clone());
            return Ok(Self { body, is_form, form, query, pairs, connector });
        }
        let of_body = if route == Route::Events { Pairs::default() } else { Pairs::of_json(&body) };
        let pairs = query.clone().and(of_body);
        if pairs.len() > MAX_PARAMETERS {
            return Err(too_many());
        }
        Ok(Self { body, is_form, form: Pairs::default(), query, pairs, connector })
    }

    pub(super) fn admit(
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

    /// What the signature covers, as it covers it, with it and the method: what a repetition has in common
    /// with the request that it repeats. Pairs that are given twice or say nothing are signed like none, so
    /// they make no other request of it. The path names the connector.
    pub(super) fn fingerprint(&self, request: &ServiceRequest) -> String {
        let signature = request.headers().get(SIGNATURE);
        let mut hash = digest::Context::new(&digest::SHA256);
        let signature = signature.map(header::HeaderValue::as_bytes).unwrap_or_default();
        let pairs: BTreeSet<_> = self.pairs.iter().filter(|(name, _)| !name.is_empty()).collect();
        let pairs = pairs.iter().flat_map(|(name, value)| [*name, *value]);
        let head = [request.method().as_str().as_bytes(), request.path().as_bytes(), signature];
        for part in head.into_iter().chain(pairs) {
            // No two lists of parts are told alike.
            hash.update(&part.len().to_be_bytes());
            hash.update(part);
        }
        URL_SAFE_NO_PAD.encode(hash.finish())
    }

    /// Leaves to the handler what a request that was let in says.
    pub(super) fn hand_on(self, state: &RequestState) {
        // Set once: a request is let in once.
        let _ = state.parameters.set(self.pairs);
        if !self.is_form && !self.body.is_empty() {
            let _ = state.streamed.set(self.body);
        }
        let _ = state.apart.set((self.query, self.form));
        if let Some(connector) = self.connector {
            let _ = state.connector.set(connector);
        }
    }

    pub(super) fn presented<'r>(
        &'r self,
        request: &'r ServiceRequest,
        route: Route,
    ) -> Presented<'r> {
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
            is_webhook: route == Route::Webhook || (route == Route::Events && self.is_form),
            is_of_tasks: route == Route::Events,
            connector: self.connector.as_deref(),
        }
    }
}

/// Reads a body whose signature is to be checked. Its place in flight is for others meanwhile.
async fn read(
    edge: &Edge,
    state: &RequestState,
    request: &mut ServiceRequest,
    most: usize,
) -> Result<Bytes, ApiError> {
    let (head, payload) = request.parts_mut();
    let reading = Reading::of(head, payload);
    if reading.is_of_nothing() {
        return reading.whole(most, &edge.limits, state).await;
    }
    let unproven = edge.load.unproven.enter().ok_or_else(edge::overloaded)?;
    state.permit.take();
    let body = reading.whole(most, &edge.limits, state).await?;
    drop(unproven);
    state.permit.replace(Some(edge.load.in_flight.enter().ok_or_else(edge::overloaded)?));
    Ok(body)
}

fn declares_form(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    form::is_form(declared.unwrap_or_default())
}

fn too_many() -> ApiError {
    let message = format!("More than {MAX_PARAMETERS} parameters are not looked at");
    ApiError::new(Code::BodyTooLarge, message)
}
