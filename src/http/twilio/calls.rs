//! The routes by which Twilio sends a call to its agent and back: `TwiML`, whatever happens. Their
//! refusals have no body.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header;
use actix_web::web::Data;
use tokio::time::Instant;

use crate::http::edge;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::Caller;
use crate::http::request::RequestState;
use crate::http::request::Stage;
use crate::http::twilio::studio::connector;
use crate::service::calls::Asked;
use crate::service::calls::Calls;
use crate::service::calls::WAIT;
use crate::service::error::CallError;
use crate::service::error::ConnectorError;
use crate::store::connector::StoredConnector;
use crate::twilio::routing::onward::flow_url;
use crate::twilio::webhook::Webhook;

/// `GET`, `POST` of `/twilio/voice/…`: sends the call to the agent.
pub(in crate::http) async fn voice(
    caller: Caller,
    request: HttpRequest,
    calls: Data<Calls>,
) -> Result<HttpResponse, ApiError> {
    let came = Came::of(&caller, &request)?;
    // Its own bounds are narrower, and what it answers then is better.
    came.state.wait_for(Stage::Work, WAIT + came.edge.limits.request_timeout);
    Ok(twiml(calls.to_agent(&came.asked(&caller)?).await?))
}

/// `POST` of `/twilio/handoff/…` and `/twilio/refer/…`: takes the call back from the agent.
pub(in crate::http) async fn back(
    caller: Caller,
    request: HttpRequest,
    calls: Data<Calls>,
) -> Result<HttpResponse, ApiError> {
    let came = Came::of(&caller, &request)?;
    let Came { edge, state, .. } = &came;
    // As above.
    state.wait_for(Stage::Work, WAIT * 2 + edge.limits.request_timeout);
    let enter = || match edge.load.waiting.enter() {
        Some(permit) => {
            // Its place in flight is for others meanwhile.
            state.permit.take();
            state.waiting_since.set(Some(Instant::now()));
            Ok(Some(permit))
        }
        // Then a person takes the call at once.
        None => Ok(None),
    };
    let answer = calls.back(&came.asked(&caller)?, enter).await?;
    // What cannot be looked up was good when it asked.
    let waited = state.waiting_since.get().is_some();
    if waited && !edge.doors.is_good(&caller.0).await.unwrap_or(true) {
        return Err(CallError::Unknown.into());
    }
    Ok(twiml(answer))
}

/// `POST` of `/twilio/queue/…`: what the queue, or whoever was called, made of the call.
pub(in crate::http) async fn queue(
    caller: Caller,
    request: HttpRequest,
    calls: Data<Calls>,
) -> Result<HttpResponse, ApiError> {
    let came = Came::of(&caller, &request)?;
    Ok(twiml(calls.after_queue(&came.asked(&caller)?).await?))
}

/// `GET`, `POST` of `/twilio/status/…`: what becomes of the call. A flow needs to hear of it as well:
/// then Twilio is sent on to the flow.
pub(in crate::http) async fn status(
    caller: Caller,
    request: HttpRequest,
    calls: Data<Calls>,
) -> Result<HttpResponse, ApiError> {
    let came = Came::of(&caller, &request)?;
    let asked = came.asked(&caller)?;
    let Some(flow) = asked.webhook.flow().sid() else {
        calls.ended(&asked).await?;
        return Ok(HttpResponse::NoContent().finish());
    };
    // The flow hears of it also where it could not be kept, or it would wait for the end for ever.
    calls.ended_in_flow(&asked).await?;
    let url = flow_url(asked.webhook.account_sid(), flow);
    Ok(HttpResponse::Found().insert_header((header::LOCATION, url)).finish())
}

/// `POST` of `/twilio/stream/…`: what becomes of the agent's stream.
pub(in crate::http) async fn stream(
    caller: Caller,
    request: HttpRequest,
    calls: Data<Calls>,
) -> Result<HttpResponse, ApiError> {
    let came = Came::of(&caller, &request)?;
    calls.streamed(&came.asked(&caller)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A webhook as it came, verified.
struct Came {
    method: Method,
    edge: Data<Edge>,
    state: Rc<RequestState>,
    connector: Arc<StoredConnector>,
}

impl Came {
    fn of(caller: &Caller, request: &HttpRequest) -> Result<Self, ApiError> {
        let parts = request.app_data::<Data<Edge>>().zip(RequestState::of(request));
        let (edge, state) = parts.ok_or_else(edge::misassembled)?;
        let connector = connector(caller, request, &state)?.ok_or(ConnectorError::NotFound)?;
        Ok(Self { method: request.method().clone(), edge: edge.clone(), state, connector })
    }

    fn asked<'r>(&'r self, caller: &'r Caller) -> Result<Asked<'r>, ApiError> {
        let (query, form) = self.state.apart.get().ok_or_else(edge::misassembled)?;
        let fingerprint = self.state.fingerprint.get().ok_or_else(edge::misassembled)?;
        let form = (self.method == Method::POST).then_some(form);
        let webhook = Webhook::read(query, form).map_err(|why| {
            ApiError::new(Code::SignatureRefused, "Not signed by Twilio like this").because(&why)
        })?;
        if let Some(call) = webhook.call() {
            // Set once: a webhook is about one call.
            let _ = self.state.subject.set(call);
        }
        Ok(Asked { who: &caller.0, connector: &self.connector.record, webhook, fingerprint })
    }
}

fn twiml(answer: String) -> HttpResponse {
    HttpResponse::Ok().content_type("text/xml; charset=utf-8").body(answer)
}
