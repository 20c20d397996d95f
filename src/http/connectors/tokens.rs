//! `/api/v1/connector/{connector_id}/token`: another token, and which there are.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;

use crate::http::body::Body;
use crate::http::body::Members;
use crate::http::body::invalid_at;
use crate::http::connectors::json;
use crate::http::connectors::shown;
use crate::http::error::ApiError;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::service::connectors::Connectors;
use crate::service::connectors::DEFAULT_GRACE;
use crate::service::connectors::LONGEST_GRACE;

/// `POST`: makes another token and shows it, this once; those before it work for the grace.
pub(in crate::http) async fn rotate(
    caller: Caller,
    params: Params,
    body: Body,
    connectors: Data<Connectors>,
) -> Result<HttpResponse, ApiError> {
    params.only(&[])?;
    let id = params.connector()?;
    let issued = connectors.rotate(&caller.0, &id, grace(&body)?).await?;
    Ok(json(StatusCode::CREATED, shown::issued(&issued)?))
}

/// `GET`: the tokens that work, by id.
pub(in crate::http) async fn list(
    caller: Caller,
    params: Params,
    connectors: Data<Connectors>,
) -> Result<HttpResponse, ApiError> {
    params.only(&[])?;
    let tokens = connectors.tokens(&caller.0, &params.connector()?).await?;
    Ok(HttpResponse::Ok().json(shown::tokens(&tokens)))
}

fn grace(body: &Body) -> Result<Duration, ApiError> {
    if body.0.trim_ascii().is_empty() {
        return Ok(DEFAULT_GRACE);
    }
    let members = Members::of_body(&body.0)?;
    members.only(&["grace_seconds"])?;
    let Some(given) = members.get("grace_seconds") else { return Ok(DEFAULT_GRACE) };
    let most = LONGEST_GRACE.as_secs();
    let seconds = given.get().parse::<u64>().ok().filter(|seconds| *seconds <= most);
    let wrong = || invalid_at("/grace_seconds", format!("must be a whole number from 0 to {most}"));
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}
