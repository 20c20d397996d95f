//! `/api/v1/connector/link`: the Twilio account of a connector.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use serde_json::value::RawValue;

use crate::domain::algorithm::Algorithm;
use crate::domain::connector::link::Secrets;
use crate::domain::connector::link::SharedKey;
use crate::domain::connector::link::TwilioApiKey;
use crate::domain::members;
use crate::domain::secret_text::SecretText;
use crate::http::body::Body;
use crate::http::body::Members;
use crate::http::body::check_text;
use crate::http::body::invalid_at;
use crate::http::connectors::json;
use crate::http::connectors::shown::whole;
use crate::http::edge;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::http::extract::invalid;
use crate::http::extract::missing_connector;
use crate::http::gate;
use crate::http::load::Permit;
use crate::http::request::RequestState;
use crate::http::request::Stage;
use crate::service::connectors::Connectors;
use crate::service::connectors::Wanted;

// Twilio is asked meanwhile, for two seconds at most, and what it said is stored then.
const LIMIT: Duration = Duration::from_secs(5);
const MEMBERS: [&str; 8] = [
    "connector_id",
    "account_sid",
    "auth_token",
    "secondary_auth_token",
    "api_key_sid",
    "api_key_secret",
    "shared_keys",
    "region",
];
const MAX_SECRET_CHARACTERS: usize = 256;

/// `POST`: links; 200 when Twilio confirmed it, 202 when Twilio was not reached.
pub(in crate::http) async fn link(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    body: Body,
    connectors: Data<Connectors>,
) -> Result<HttpResponse, ApiError> {
    params.only(&[])?;
    let wanted = wanted(&body)?;
    let _asking = asking(&request, LIMIT)?;
    let asked = connectors.ask_for_link(&caller.0, wanted).await?;
    let edge = request.app_data::<Data<Edge>>().ok_or_else(edge::misassembled)?;
    // It may have been revoked, or replaced, while Twilio was asked.
    if !edge.doors.is_good(&caller.0).await? {
        return Err(gate::ended(&caller.0, edge.clock.now()));
    }
    let linked = connectors.keep_link(&caller.0, asked).await?;
    let status = if linked.is_verified { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(json(status, whole(&linked.stored, Vec::new())?))
}

/// Leave to ask others over the network, which takes seconds: among few who do, and not among the
/// requests that are worked on. As long as `limit` then, and no longer.
pub(super) fn asking(request: &HttpRequest, limit: Duration) -> Result<Permit, ApiError> {
    let parts = request.app_data::<Data<Edge>>().zip(RequestState::of(request));
    let (edge, state) = parts.ok_or_else(edge::misassembled)?;
    let permit = edge.load.asking.enter().ok_or_else(too_many_ask)?;
    state.permit.take();
    state.wait_for(Stage::Work, limit);
    Ok(permit)
}

fn too_many_ask() -> ApiError {
    let message =
        "As many links and verifications as may be are asking Twilio at this moment. Try again";
    ApiError::new(Code::Overloaded, message)
}

/// `DELETE`: removes the link; what calls of before ask for is verified for a day, unless `at_once`.
pub(in crate::http) async fn unlink(
    caller: Caller,
    params: Params,
    connectors: Data<Connectors>,
) -> Result<HttpResponse, ApiError> {
    params.only(&["connector_id", "at_once"])?;
    let id = params.read("connector_id")?.ok_or_else(missing_connector)?;
    let at_once = match params.text("at_once")? {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(invalid("at_once", "must be true or false")),
    };
    connectors.unlink(&caller.0, &id, at_once).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn wanted(body: &Body) -> Result<Wanted, ApiError> {
    let given = Members::of_body(&body.0)?;
    check_text(&String::from_utf8_lossy(&body.0), "")?;
    given.only(&MEMBERS)?;
    let account_sid = given.parsed("account_sid")?;
    let missing =
        || invalid_at("/account_sid", "is missing: the Twilio account, AC and 32 hex digits");
    let api_key = match (given.text("api_key_sid")?, secret(&given, "api_key_secret")?) {
        (None, None) => None,
        (Some(sid), Some(secret)) => Some(api_key(sid, secret)?),
        (Some(_), None) => {
            return Err(invalid_at("/api_key_secret", "is missing beside /api_key_sid"));
        }
        (None, Some(_)) => {
            return Err(invalid_at("/api_key_sid", "is missing beside /api_key_secret"));
        }
    };
    Ok(Wanted {
        connector: given.parsed("connector_id")?,
        account_sid: account_sid.ok_or_else(missing)?,
        secrets: Secrets {
            auth_token: secret(&given, "auth_token")?,
            secondary_auth_token: secret(&given, "secondary_auth_token")?,
            api_key,
            shared_keys: given.get("shared_keys").map(shared_keys).transpose()?.unwrap_or_default(),
        },
        region: given.parsed("region")?.unwrap_or_default(),
    })
}

fn api_key(sid: String, secret: SecretText) -> Result<TwilioApiKey, ApiError> {
    let hex = sid.strip_prefix("SK").unwrap_or_default();
    if hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(TwilioApiKey { sid, secret })
    } else {
        Err(invalid_at("/api_key_sid", "must be an API key's SID: SK and 32 hex digits"))
    }
}

/// A secret that is there. Never quoted: what is malformed may still be one.
fn secret(given: &Members<'_>, name: &str) -> Result<Option<SecretText>, ApiError> {
    let pointer = format!("/{name}");
    given.text(name)?.map(|text| checked(&text, &pointer)).transpose()
}

fn checked(text: &str, pointer: &str) -> Result<SecretText, ApiError> {
    let fits = (1..=MAX_SECRET_CHARACTERS).contains(&text.len());
    if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.into());
    }
    let why =
        format!("must be 1 to {MAX_SECRET_CHARACTERS} printable ASCII characters without blanks");
    Err(invalid_at(pointer, why))
}

fn shared_keys(list: &RawValue) -> Result<Vec<SharedKey>, ApiError> {
    let wrong =
        || invalid_at("/shared_keys", "must be a list of {\"id\",\"secret\",\"algorithm\"?}");
    let list: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(|_quoting| wrong())?;
    list.into_iter().enumerate().map(|(at, key)| shared_key(at, key)).collect()
}

fn shared_key(at: usize, key: &RawValue) -> Result<SharedKey, ApiError> {
    let pointer = format!("/shared_keys/{at}");
    let wrong = |name: &str, why: &str| invalid_at(&format!("{pointer}/{name}"), why);
    let given = members::members(key.get())
        .map_err(|_quoting| invalid_at(&pointer, "must be {\"id\",\"secret\",\"algorithm\"?}"))?;
    let (mut id, mut secret, mut algorithm) = (None, None, Algorithm::HmacSha256);
    for member in given {
        let text = serde_json::from_str::<String>(member.value.get());
        let text = text.map_err(|_quoting| wrong(&member.name, "must be a string"))?;
        match member.name.as_str() {
            "id" => id = Some(text),
            "secret" => secret = Some(checked(&text, &format!("{pointer}/secret"))?),
            "algorithm" => {
                let unknown = || wrong("algorithm", "must be HMAC_SHA256 or HMAC_SHA1");
                algorithm = Algorithm::parse(&text).ok_or_else(unknown)?;
            }
            _ => return Err(invalid_at(&pointer, "takes id, secret and algorithm alone")),
        }
    }
    let is_id = |id: &String| {
        id.len() <= 128
            && id.starts_with("webhooks_sharedkey_")
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    Ok(SharedKey {
        id: id
            .filter(is_id)
            .ok_or_else(|| wrong("id", "must be a SharedKey's id: webhooks_sharedkey_…"))?,
        algorithm,
        secret: secret.ok_or_else(|| wrong("secret", "is missing"))?,
    })
}
