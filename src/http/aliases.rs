//! `/v1/handoff_state/aliases`: further ids of a handoff.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::handoff_id::HandoffId;
use crate::http::body::Body;
use crate::http::body::Members;
use crate::http::body::invalid_at;
use crate::http::error::ApiError;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::service::handoffs::Handoffs;

#[derive(Serialize)]
struct AliasesJson<'a> {
    id: &'a HandoffId,
    aliases: &'a [HandoffId],
}

/// `POST`: gives a handoff further ids.
pub(super) async fn add(
    caller: Caller,
    params: Params,
    body: Body,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    params.only(&["id", "shared_id", "account_id", "project_id", "client_env"])?;
    let ask = params.ask_for_one()?;
    let members = Members::of_body(&body.0)?;
    members.only(&["aliases"])?;
    let stored = handoffs.into_inner().add_aliases(&caller.0, &ask, aliases(&members)?).await?;
    let record = &stored.record;
    Ok(HttpResponse::Ok().json(AliasesJson { id: &record.id, aliases: &record.aliases }))
}

fn aliases(members: &Members<'_>) -> Result<Vec<HandoffId>, ApiError> {
    let wrong = || invalid_at("/aliases", "must be a list of one id or more");
    let texts = members.get("aliases").map(RawValue::get).ok_or_else(wrong)?;
    let texts: Vec<String> = serde_json::from_str(texts).map_err(|_wrong_type| wrong())?;
    if texts.is_empty() {
        return Err(wrong());
    }
    let read = |(at, text): (usize, String)| {
        text.parse().map_err(|why| invalid_at(&format!("/aliases/{at}"), why))
    };
    texts.into_iter().enumerate().map(read).collect()
}
