//! The edge: what happens to every request, once, before and after its handler.
//!
//! In order: a correlation id; leave to be in flight, or 503 at once (probes are exempt; a reader who
//! begins to wait gives it back); no compressed bodies; the gate; the key's rate; its scope; the
//! handler, within its deadline; one envelope for every refusal; headers, metrics and the access line.

use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use actix_web::Error;
use actix_web::HttpMessage;
use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::dev::ServiceRequest;
use actix_web::dev::ServiceResponse;
use actix_web::error::InternalError;
use actix_web::http::ConnectionType;
use actix_web::http::Method;
use actix_web::http::header;
use actix_web::http::header::HeaderName;
use actix_web::http::header::HeaderValue;
use actix_web::middleware::Next;
use actix_web::web::Data;
use tokio::time::Instant;
use tracing_actix_web::RequestId;

use crate::auth::doors::Doors;
use crate::auth::rates::Rates;
use crate::auth::twilio_request::TwilioDoor;
use crate::config;
use crate::domain::clock::Clock;
use crate::domain::principal::Scope;
use crate::http::access::AccessLog;
use crate::http::access::Happened;
use crate::http::connection::Connection;
use crate::http::cors::Cors;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::gate;
use crate::http::gate::Door;
use crate::http::head;
use crate::http::head::may_wait;
use crate::http::head::refuse_encodings;
use crate::http::head::slim;
use crate::http::load::Load;
use crate::http::refusals::connection_ends;
use crate::http::request::RequestState;
use crate::http::request::Stage;
use crate::http::routes;
use crate::service::timelines::Timelines;
use crate::telemetry::logging::Seldom;
use crate::telemetry::metrics::Answered;
use crate::telemetry::metrics::Code as CodeLabel;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::Route;

/// On every answer; the same id stands in the log and, on a refusal, in `error_id`.
pub const CORRELATION_ID: &str = "x-polyai-correlation-id";

/// What the edge works with, shared by all workers.
#[derive(Debug)]
pub struct Edge {
    /// Limits.
    pub limits: config::Edge,
    /// The door for keys.
    pub doors: Doors,
    /// The door for Twilio.
    pub twilio: Arc<TwilioDoor>,
    /// How often a refused signature is explained.
    pub explained: Seldom,
    /// How often it is told that there was none to check.
    pub mentioned: Seldom,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// Where it writes lines.
    pub access: AccessLog,
    /// What time it is.
    pub clock: Clock,
    /// Requests being worked on, and readers who wait.
    pub load: Load,
    /// How fast a credential may ask.
    pub rates: Arc<Rates>,
    /// Whose pages may ask.
    pub cors: Cors,
    /// Where refusals are told.
    pub timelines: Arc<Timelines>,
}

/// The middleware around everything. Boxed, so that a connection without a request has no room for
/// one: actix keeps what we answer with inline, twice.
pub fn around(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Pin<Box<dyn Future<Output = Result<ServiceResponse<BoxBody>, Error>>>> {
    Box::pin(serve(request, next))
}

async fn serve(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let Some(edge) = request.app_data::<Data<Edge>>().cloned() else {
        return Err(misassembled().into());
    };
    let route = routes::find(request.path());
    let method = method_label(request.method());
    let correlation_id = correlation_id(&request);
    let state = Rc::new(RequestState::new(correlation_id, started, edge.limits.request_timeout));
    request.extensions_mut().insert(Rc::clone(&state));
    let connection = request.conn_data::<Rc<Connection>>().cloned();
    let goes_on = connection.as_ref().is_none_or(|connection| connection.request_begins());
    let origin = edge.cors.of(route, &request);
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);

    let outcome = if goes_on {
        edge.answer(route, &state, request, next).await
    } else {
        Err(connection_ends().into())
    };

    let is_bare = route.is_some_and(|route| matches!(route.door, Door::Webhook | Door::Events));
    let (mut outcome, refused) = settle(outcome, &state, is_bare);
    let answer = match &mut outcome {
        Ok(answered) => answered.response_mut(),
        Err((_, answer)) => answer,
    };
    finish(answer, &state);
    let status = answer.status();
    origin.finish(status, answer.headers_mut());
    state.permit.take();
    match &connection {
        Some(connection)
            if !goes_on
                || (is_chunked && refused.is_some())
                || connection.is_flooded()
                || edge.load.is_ending() =>
        {
            connection.answer_is_last();
            answer.head_mut().set_connection_type(ConnectionType::Close);
        }
        Some(connection) => connection.request_ends(),
        None => {}
    }
    let happened = Happened {
        at: edge.clock.now(),
        method,
        route: route.map_or("unmatched", |route| route.path),
        status: answer.status().as_u16(),
        code: refused.as_ref().map(|refusal| refusal.code.as_str()),
        cause: refused.as_ref().and_then(ApiError::cause),
        took: started.elapsed(),
    };
    edge.record(&state, &happened, route.map(|route| route.door));
    outcome.map_err(|(code, answer)| InternalError::from_response(code, answer).into())
}

impl Edge {
    async fn answer(
        &self,
        route: Option<&'static routes::Route>,
        state: &RequestState,
        mut request: ServiceRequest,
        next: Next<BoxBody>,
    ) -> Result<ServiceResponse<BoxBody>, Error> {
        if !route.is_some_and(|route| route.probe) {
            state.permit.replace(Some(self.load.in_flight.enter().ok_or_else(overloaded)?));
        }
        refuse_encodings(&request)?;
        // actix matches decoded paths (`/metric%73`) and the table raw ones: what is not in the
        // table is not handed on, or it would get in by no door at all.
        let route = route.ok_or_else(routes::path_not_found)?;
        if let Some(answer) = self.cors.answer(route, &request) {
            return Ok(request.into_response(answer?));
        }
        let needs = route.needs(request.method());
        let scope = needs.ok_or_else(|| routes::method_not_allowed(route, request.method()))?;
        let work = pin!(async {
            if let Err(refused) = self.let_in(route, state, &mut request, scope).await {
                head::name_subject(state, request.request());
                return Err(refused.into());
            }
            next.call(request).await
        });
        match within(state, work).await {
            Ok(answered) => answered,
            Err(Stage::Body) => Err(body_too_slow().into()),
            Err(Stage::Work) => Err(deadline_exceeded().into()),
        }
    }

    fn record(&self, state: &RequestState, happened: &Happened<'_>, door: Option<Door>) {
        let Happened { method, route, status, code, took, .. } = *happened;
        self.metrics.answered.get_or_create(&Answered { route, method, status }).inc();
        if let Some(since) = state.waiting_since.get() {
            // A wait is as long as its reader wished; it says nothing about this server's speed.
            self.metrics.waited.observe(since.elapsed().as_secs_f64());
        } else {
            self.metrics.latency.get_or_create(&Route { route }).observe(took.as_secs_f64());
            // Nobody's call hangs on the others.
            if !matches!(door, Some(Door::Open | Door::Operator | Door::Console)) {
                self.metrics.hour.answered(took.as_secs_f64());
            }
        }
        if let Some(code) = code {
            self.metrics.refused.get_or_create(&CodeLabel { code }).inc();
            // An operator who may not look is none of those whom the call's story is about.
            if door != Some(Door::Console) {
                head::tell_refusal(&self.timelines, state, status, code);
            }
        }
        self.access.record(state, happened);
    }

    /// Whether a request comes in, and as who: at the rate and with the scope that it needs.
    async fn let_in(
        &self,
        route: &routes::Route,
        state: &RequestState,
        request: &mut ServiceRequest,
        scope: Option<Scope>,
    ) -> Result<(), ApiError> {
        let Some(principal) = gate::admit(route, self, state, request).await? else {
            return Ok(());
        };
        // Set once, here; a request has one state.
        let principal = state.principal.get_or_init(|| principal);
        self.rates.request(&principal.name).map_err(ApiError::from)?;
        gate::holds(principal, scope)?;
        let waits = route.door == Door::Studio || may_wait(principal, request);
        if scope == Some(Scope::HandoffRead) && waits {
            slim(request);
        }
        Ok(())
    }
}

/// Runs `work` until the request's deadline. No timer is made when it is done at once, as a read
/// from memory is. Pinned by the caller: moved in here, it would be kept room for twice.
pub(super) async fn within<T>(
    state: &RequestState,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Stage> {
    let mut timer = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let (deadline, stage) = state.deadline();
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).map(|()| Err(stage))
    })
    .await
}

/// Gives every refusal the envelope, with the code it was refused with. A refusal that came after
/// the request was given away has no request to go with.
#[expect(clippy::type_complexity, reason = "it is told here and taken apart by its one caller")]
fn settle(
    outcome: Result<ServiceResponse<BoxBody>, Error>,
    state: &RequestState,
    is_bare: bool,
) -> (Result<ServiceResponse<BoxBody>, (Code, HttpResponse)>, Option<ApiError>) {
    let answer = |refusal: &ApiError| {
        if is_bare { refusal.bare_answer() } else { refusal.answer(&state.correlation_id) }
    };
    match outcome {
        Ok(answered) => match answered.response().error().map(refusal) {
            Some(refusal) => {
                let (request, _) = answered.into_parts();
                head::name_subject(state, &request);
                let answer = answer(&refusal);
                (Ok(ServiceResponse::new(request, answer)), Some(refusal))
            }
            None => (Ok(answered), None),
        },
        Err(error) => {
            let refusal = refusal(&error);
            let answer = answer(&refusal);
            (Err((refusal.code, answer)), Some(refusal))
        }
    }
}

/// Our own refusal, or a fault: whatever else actix may raise is not for the caller to read.
fn refusal(error: &Error) -> ApiError {
    error.as_error::<ApiError>().cloned().unwrap_or_else(|| {
        let fault = io::Error::other(error.to_string());
        ApiError::new(Code::Internal, "The server failed. Its log says why under this error_id")
            .because(&fault)
    })
}

fn finish(answer: &mut HttpResponse, state: &RequestState) {
    let headers = answer.headers_mut();
    if let Ok(id) = HeaderValue::try_from(state.correlation_id.as_str()) {
        headers.insert(HeaderName::from_static(CORRELATION_ID), id);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// tracing-actix-web's request id, so that traces, logs and answers name a request alike.
fn correlation_id(request: &ServiceRequest) -> String {
    let id = request.extensions().get::<RequestId>().copied();
    id.map_or_else(String::new, |id| id.to_string())
}

/// Something that the app should have put there is not there.
pub(super) fn misassembled() -> ApiError {
    ApiError::new(Code::Internal, "The server was put together wrongly")
}

pub(super) fn overloaded() -> ApiError {
    ApiError::new(Code::Overloaded, "More requests at once than this server takes. Try again")
}

fn body_too_slow() -> ApiError {
    ApiError::new(
        Code::BodyTooSlow,
        "The body did not arrive in time; nothing was stored. Send it again",
    )
}

pub(super) fn deadline_exceeded() -> ApiError {
    ApiError::new(
        Code::DeadlineExceeded,
        "The answer was not there in time. If this was a write, it may or may not have been stored; a handoff may be sent again, the same content is stored once",
    )
}

fn method_label(method: &Method) -> &'static str {
    const KNOWN: [(&Method, &str); 7] = [
        (&Method::GET, "GET"),
        (&Method::PUT, "PUT"),
        (&Method::POST, "POST"),
        (&Method::PATCH, "PATCH"),
        (&Method::DELETE, "DELETE"),
        (&Method::HEAD, "HEAD"),
        (&Method::OPTIONS, "OPTIONS"),
    ];
    KNOWN.iter().find(|(known, _)| *known == method).map_or("other", |(_, label)| label)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn state(millis: u64) -> RequestState {
        RequestState::new(String::new(), Instant::now(), Duration::from_millis(millis))
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_takes_too_long_is_given_up_at_its_deadline() {
        let started = Instant::now();
        let outcome = within(&state(2500), pin!(std::future::pending::<()>())).await;
        assert_eq!(outcome, Err(Stage::Work));
        assert_eq!(started.elapsed(), Duration::from_millis(2500));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_follows_what_is_waited_for() {
        let state = state(2500);
        let started = Instant::now();
        let work = pin!(async {
            state.wait_for(Stage::Body, Duration::from_secs(5));
            tokio::time::sleep(Duration::from_secs(4)).await;
            state.wait_for(Stage::Work, Duration::from_millis(2500));
            std::future::pending::<()>().await;
        });
        assert_eq!(within(&state, work).await, Err(Stage::Work));
        assert_eq!(started.elapsed(), Duration::from_millis(6500));
        let slow_body = pin!(async {
            state.wait_for(Stage::Body, Duration::from_secs(5));
            std::future::pending::<()>().await;
        });
        assert_eq!(within(&state, slow_body).await, Err(Stage::Body));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_is_done_in_time_is_answered() {
        let work = pin!(tokio::time::sleep(Duration::from_millis(2499)));
        assert_eq!(within(&state(2500), work).await, Ok(()));
    }
}
