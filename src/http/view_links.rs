//! `POST /v1/view_links`: leave to look at one handoff, in a link.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::http::body::Body;
use crate::http::body::Members;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::http::extract::invalid;
use crate::http::extract::missing_id;
use crate::service::error::ViewLinkError;
use crate::service::handoffs::By;
use crate::service::view_links::Views;

const SECONDS: std::ops::RangeInclusive<u64> = 60..=86_400;
const DEFAULT_SECONDS: u64 = 3600;

/// `POST`: `{"id"|"shared_id", "ttl_seconds"?}`.
pub(super) async fn make(
    caller: Caller,
    params: Params,
    body: Body,
    views: Data<Views>,
    edge: Data<Edge>,
) -> Result<HttpResponse, ApiError> {
    params.only(&["account_id", "project_id", "client_env"])?;
    let members = Members::of_body(&body.0)?;
    members.only(&["id", "shared_id", "ttl_seconds"])?;
    let by = match (members.id("id")?, members.id("shared_id")?) {
        (Some(id), None) => By::Id(id),
        (None, Some(shared_id)) => By::SharedId(shared_id),
        (Some(_), Some(_)) => {
            return Err(invalid("shared_id", "stands beside `id`; give one of them here"));
        }
        (None, None) => return Err(missing_id()),
    };
    let ask = params.about(by)?;
    let made = views.make(&edge.doors.keys, &caller.0, &ask, life(&members)?).await?;
    Ok(HttpResponse::Created().json(json!({
        "id": made.handoff.heading.id,
        "url": made.url.expose_secret(),
        "expires_at": made.expires_at,
    })))
}

fn life(members: &Members<'_>) -> Result<Duration, ApiError> {
    let given = members.get("ttl_seconds").map(|seconds| seconds.get().parse().ok());
    let seconds =
        given.unwrap_or(Some(DEFAULT_SECONDS)).filter(|seconds| SECONDS.contains(seconds));
    let why = format!("must be a whole number from {} to {}", SECONDS.start(), SECONDS.end());
    Ok(Duration::from_secs(seconds.ok_or_else(|| invalid("ttl_seconds", why))?))
}

impl From<ViewLinkError> for ApiError {
    fn from(error: ViewLinkError) -> Self {
        match error {
            ViewLinkError::NotByThis => Self::new(
                Code::CallNotAllowed,
                "View links are made with a key that holds handoff:read, or with a Connector Token",
            ),
            why @ ViewLinkError::NotMade(_) => {
                Self::new(Code::Internal, "The link could not be made").because(&why)
            }
        }
    }
}
