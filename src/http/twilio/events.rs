//! `POST /twilio/taskrouter/…`: what becomes of tasks, by Event Callback or by Event Streams.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Data;
use tokio::task::JoinSet;

use crate::domain::principal::Principal;
use crate::http::edge;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::Caller;
use crate::http::request::RequestState;
use crate::http::twilio::studio::connector;
use crate::service::error::ConnectorError;
use crate::service::tasks::Tasks;
use crate::store::connector::StoredConnector;
use crate::store::kv::StoreError;
use crate::twilio::taskrouter::TaskEvent;

// Events of one batch that are kept at once.
const AT_ONCE: usize = 64;

/// 204, once what is of interest is kept. Event Streams sends a batch again that was answered with 5xx, and
/// never one that was answered with 4xx.
pub(in crate::http) async fn taskrouter(
    caller: Caller,
    request: HttpRequest,
    tasks: Data<Tasks>,
) -> Result<HttpResponse, ApiError> {
    let parts = request.app_data::<Data<Edge>>().zip(RequestState::of(&request));
    let (_, state) = parts.ok_or_else(edge::misassembled)?;
    let connector = connector(&caller, &request, &state)?.ok_or(ConnectorError::NotFound)?;
    let events = match (state.streamed.get(), state.apart.get()) {
        (Some(body), _) => TaskEvent::of_batch(body).map_err(|why| {
            ApiError::new(Code::InvalidJson, "Not a batch of events").because(&why)
        })?,
        (None, Some((_, form))) => TaskEvent::of_form(form).into_iter().collect(),
        (None, None) => return Err(edge::misassembled()),
    };
    tell(&tasks.into_inner(), &caller.0, &connector, events).await?;
    // As Twilio asks for it.
    let json = (header::CONTENT_TYPE, "application/json");
    Ok(HttpResponse::NoContent().insert_header(json).finish())
}

/// Keeps events together, so that they are committed together.
async fn tell(
    tasks: &Arc<Tasks>,
    who: &Arc<Principal>,
    through: &Arc<StoredConnector>,
    events: Vec<TaskEvent>,
) -> Result<(), ApiError> {
    let mut under_way = JoinSet::new();
    let mut events = events.into_iter();
    loop {
        for event in events.by_ref().take(AT_ONCE - under_way.len()) {
            let (tasks, who, through) = (Arc::clone(tasks), Arc::clone(who), Arc::clone(through));
            under_way.spawn(async move { tasks.told(&who, &through.record, &event).await });
        }
        match under_way.join_next().await {
            None => return Ok(()),
            Some(told) => told.map_err(StoreError::panicked)??,
        }
    }
}
