//! `GET /v1/handoff_state/view`: a handoff as a person reads it, for the panel, the plugin and the console.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web;
use actix_web::web::Data;
use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Status;
use crate::domain::handoff_id::HandoffId;
use crate::domain::view::View;
use crate::http::conditional;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::http::handoff_state::Options;
use crate::http::handoff_state::find;
use crate::http::handoff_state::found_as;
use crate::service::handoffs::Handoffs;

// Bytes of `data`; to take apart so many costs a tenth of a millisecond or so.
const LARGE: usize = 16 << 10;

/// A handoff as it is shown.
#[derive(Serialize)]
struct Shown<'h> {
    id: &'h HandoffId,
    shared_id: Option<&'h HandoffId>,
    project_id: &'h str,
    connector_id: Option<&'h ConnectorId>,
    client_env: Option<ClientEnv>,
    status: Status,
    revision: u64,
    written_at: Timestamp,
    expires_at: Timestamp,
    /// For clients whose clock is wrong.
    now: Timestamp,
    #[serde(flatten)]
    view: View,
}

impl<'h> Shown<'h> {
    fn of(handoff: &'h Handoff, now: Timestamp) -> Self {
        let heading = &handoff.heading;
        Self {
            id: &heading.id,
            shared_id: heading.shared_id.as_ref(),
            project_id: heading.project.as_str(),
            connector_id: heading.connector.as_ref(),
            client_env: heading.client_env,
            status: heading.status,
            revision: handoff.revision,
            written_at: handoff.written_at(),
            expires_at: handoff.expires_at,
            now,
            view: View::of(std::str::from_utf8(handoff.data()).unwrap_or_default()),
        }
    }
}

/// `GET`: it waits as a plain read does, and a miss is a 404.
pub(super) async fn view(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    handoffs: Data<Handoffs>,
    edge: Data<Edge>,
) -> Result<HttpResponse, ApiError> {
    let ask = params.ask()?;
    let options = Options { miss_200: false, ..Options::of(&caller, &params)? };
    drop(params);
    let read = find(&caller, &ask, options, &request, &handoffs).await??;
    if conditional::is_known(&request, read.handoff.revision) {
        return Ok(found_as(StatusCode::NOT_MODIFIED, &read).finish());
    }
    let body = shown(Arc::clone(&read.handoff), edge.clock.now()).await?;
    let json = (header::CONTENT_TYPE, "application/json");
    Ok(found_as(StatusCode::OK, &read).insert_header(json).body(body))
}

/// A handoff as it is shown, in JSON. A large one is taken apart where nobody else waits.
pub(super) async fn shown(handoff: Arc<Handoff>, now: Timestamp) -> Result<Vec<u8>, ApiError> {
    let failed = |why: &dyn std::error::Error| {
        ApiError::new(Code::Internal, "The handoff could not be shown").because(why)
    };
    let is_large = handoff.data().len() > LARGE;
    let show = move || serde_json::to_vec(&Shown::of(&handoff, now));
    let shown = if is_large {
        // What a panic says could quote the handoff.
        let panicked = |_| ApiError::new(Code::Internal, "The handoff could not be shown");
        web::block(show).await.map_err(panicked)?
    } else {
        show()
    };
    shown.map_err(|why| failed(&why))
}
