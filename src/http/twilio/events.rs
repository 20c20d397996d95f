//! `POST /twilio/taskrouter/…`: what becomes of tasks, by Event Callback or by Event Streams.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Data;

use crate::http::edge;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::Caller;
use crate::http::request::RequestState;
use crate::http::twilio::studio::connector;
use crate::service::error::ConnectorError;
use crate::service::tasks::Tasks;
use crate::twilio::taskrouter::TaskEvent;

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
    let tasks = tasks.into_inner();
    for event in &events {
        tasks.told(&caller.0, &connector.record, event).await?;
    }
    // As Twilio asks for it.
    let json = (header::CONTENT_TYPE, "application/json");
    Ok(HttpResponse::NoContent().insert_header(json).finish())
}
