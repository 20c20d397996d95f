//! `/api/v1/connector/{connector_id}/verify`: what is wrong with a connector that does not work.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use crate::http::connectors::link::asking;
use crate::http::error::ApiError;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::service::connectors::Connectors;

// Twilio is asked for up to 6 seconds.
const LIMIT: Duration = Duration::from_secs(8);

/// `GET`: point by point, what was seen and what to do; and the URLs to paste.
pub(in crate::http) async fn verify(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    connectors: Data<Connectors>,
) -> Result<HttpResponse, ApiError> {
    params.only(&[])?;
    let id = params.connector()?;
    let _asking = asking(&request, LIMIT)?;
    let report = connectors.verify(&caller.0, &id).await?;
    let faults = report.points.iter().filter(|point| point.ok == Some(false)).count();
    Ok(HttpResponse::Ok().json(json!({
        "connector_id": id,
        "ok": faults == 0,
        "points": report.points,
        "urls": {
            "voice": report.voice_url,
            "status": report.status_url,
            "studio": report.studio_url,
            "taskrouter": report.taskrouter_url,
        },
    })))
}
