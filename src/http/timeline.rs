//! A handoff's story, and what readers say of it.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use serde_json::json;

use crate::domain::clock::Timestamp;
use crate::domain::timeline::Event;
use crate::domain::timeline::Receipt;
use crate::domain::timeline::What;
use crate::domain::timeline::lead::Acceptance;
use crate::http::body::Body;
use crate::http::body::Members;
use crate::http::error::ApiError;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::http::extract::invalid;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::story::Said;
use crate::twilio::taskrouter::is_sid;

const PARAMETERS: [&str; 5] = ["id", "shared_id", "account_id", "project_id", "client_env"];

/// `GET /v1/handoff_state/timeline`: what happened, oldest first, without anything that the handoff holds.
pub(super) async fn timeline(
    caller: Caller,
    params: Params,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    let ask = params.ask()?;
    let story = handoffs.story(&caller.0, &ask).await?;
    Ok(HttpResponse::Ok().json(Shown {
        id: story.id.as_str(),
        state: story.state.as_str(),
        events: story.events.iter().map(ShownEvent::from).collect(),
        left_out: story.left_out,
        acceptances: &story.acceptances,
    }))
}

/// `POST /v1/handoff_state/receipts`: a reader says what became of a handoff.
pub(super) async fn receipt(
    caller: Caller,
    params: Params,
    body: Body,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    params.only(&PARAMETERS)?;
    let ask = params.ask_for_one()?;
    let members = Members::of_body(&body.0)?;
    members.only(&["receipt", "task_sid"])?;
    let receipt = members.text("receipt")?.as_deref().and_then(Receipt::parse);
    let receipt = receipt
        .ok_or_else(|| invalid("receipt", "must be fetched, rendered, accepted or acknowledged"))?;
    let task_sid = members.text("task_sid")?;
    if task_sid.as_ref().is_some_and(|sid| !is_sid(sid, "WT")) {
        return Err(invalid("task_sid", "must be a task's SID: WT and 32 hex digits"));
    }
    let kept = handoffs.receipt(&caller.0, &ask, Said { receipt, task_sid }).await?;
    Ok(HttpResponse::Ok().json(json!({
        "id": kept.handoff.heading.id,
        "receipt": receipt,
        "at": kept.at,
        "first": kept.first,
    })))
}

#[derive(Serialize)]
struct Shown<'s> {
    id: &'s str,
    state: &'static str,
    events: Vec<ShownEvent<'s>>,
    left_out: u32,
    acceptances: &'s [Acceptance],
}

/// An event without where it happened, which is known to whoever may see it.
#[derive(Serialize)]
pub(super) struct ShownEvent<'s> {
    at: Timestamp,
    #[serde(flatten)]
    what: &'s What,
}

impl<'s> From<&'s Event> for ShownEvent<'s> {
    fn from(event: &'s Event) -> Self {
        Self { at: event.at, what: &event.what }
    }
}
