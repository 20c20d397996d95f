//! `/twilio/check`: a webhook to try the door with. Whoever sets it as a number's Voice URL and calls
//! hears whether Baton verifies what Twilio signs, before anything depends on it.

use actix_web::HttpResponse;

use crate::http::error::ApiError;
use crate::http::extract::Caller;

const VERIFIED: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Say>Baton has verified this request. The signature is good.</Say></Response>";

/// `GET`, `POST`: says that the request is verified, as the door has seen to.
pub(in crate::http) async fn check(_verified: Caller) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().content_type("text/xml; charset=utf-8").body(VERIFIED))
}
