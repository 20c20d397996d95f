//! `/v1/keys`: making, listing and revoking API keys.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Deserialize;
use serde::Serialize;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::api_key::KeyId;
use crate::domain::clock::Timestamp;
use crate::domain::principal::Projects;
use crate::domain::principal::ReadDefaults;
use crate::domain::principal::Scope;
use crate::http::body::Body;
use crate::http::body::Members;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::http::extract::invalid;
use crate::service::keys::Grant;
use crate::service::keys::Keys;
use crate::store::record::StoredKey;

const MAX_LABEL: usize = 100;
const MAX_WAIT: u8 = 8;

/// What a caller asks for.
#[derive(Deserialize)]
struct Wanted {
    account_id: Option<AccountId>,
    projects: Option<Vec<ProjectId>>,
    scopes: Vec<Scope>,
    #[serde(default)]
    label: String,
    expires_at: Option<String>,
    read_defaults: Option<ReadDefaultsJson>,
}

const MEMBERS: [&str; 6] =
    ["account_id", "projects", "scopes", "label", "expires_at", "read_defaults"];

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadDefaultsJson {
    #[serde(default)]
    wait: u8,
    #[serde(default = "not_found")]
    miss: u16,
}

fn not_found() -> u16 {
    404
}

/// A key as it is shown; never its secret.
#[derive(Serialize)]
struct Shown<'k> {
    key_id: &'k KeyId,
    account_id: &'k AccountId,
    /// Null: all.
    projects: Option<&'k [ProjectId]>,
    scopes: &'k [Scope],
    label: &'k str,
    created_at: String,
    expires_at: Option<String>,
    read_defaults: ReadDefaultsJson,
}

#[derive(Serialize)]
struct MadeJson<'k> {
    #[serde(flatten)]
    shown: Shown<'k>,
    /// The whole key, this once.
    key: &'k str,
}

#[derive(Serialize)]
struct PageJson<'k> {
    keys: Vec<Shown<'k>>,
    /// Null: that was all.
    next: Option<&'k KeyId>,
}

impl<'k> Shown<'k> {
    fn of(stored: &'k StoredKey) -> Self {
        let record = &stored.record;
        let shown = |micros| Timestamp::from_micros(micros).to_string();
        Self {
            key_id: &record.id,
            account_id: &record.account,
            projects: match &record.projects {
                Projects::All => None,
                Projects::Only(some) => Some(some),
            },
            scopes: &record.scopes,
            label: &record.label,
            created_at: shown(record.created_at),
            expires_at: record.expires_at.map(shown),
            read_defaults: ReadDefaultsJson {
                wait: record.read_defaults.wait,
                miss: if record.read_defaults.miss_200 { 200 } else { 404 },
            },
        }
    }
}

/// `POST`: makes a key and shows it, this once.
pub(super) async fn create(
    caller: Caller,
    params: Params,
    body: Body,
    keys: Data<Keys>,
) -> Result<HttpResponse, ApiError> {
    params.only(&[])?;
    let made = keys.create(&caller.0, grant(&body)?).await?;
    let shown = Shown::of(&made.stored);
    Ok(HttpResponse::Created().json(MadeJson { shown, key: made.key.expose() }))
}

/// `GET`: the keys that the caller could have made.
pub(super) async fn list(
    caller: Caller,
    params: Params,
    keys: Data<Keys>,
) -> Result<HttpResponse, ApiError> {
    let after = params.read("after")?;
    let page = keys.list(&caller.0, params.account()?.as_ref(), after.as_ref()).await?;
    let shown = page.keys.iter().map(|stored| Shown::of(stored)).collect();
    Ok(HttpResponse::Ok().json(PageJson { keys: shown, next: page.next.as_ref() }))
}

/// `DELETE`: revokes a key.
pub(super) async fn revoke(
    caller: Caller,
    params: Params,
    keys: Data<Keys>,
) -> Result<HttpResponse, ApiError> {
    params.only(&["id"])?;
    let missing = || {
        ApiError::new(
            Code::MissingId,
            "Parameter `id` is missing: the key's id, as `GET /v1/keys` lists it",
        )
    };
    let id: KeyId = params.read("id")?.ok_or_else(missing)?;
    keys.revoke(&caller.0, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn grant(body: &Body) -> Result<Grant, ApiError> {
    Members::of_body(&body.0)?.only(&MEMBERS)?;
    // serde's message names the member and what it takes; it quotes the caller to the caller.
    let wanted: Wanted = serde_json::from_slice(&body.0).map_err(|why| {
        ApiError::new(Code::InvalidParameter, format!("The body cannot be read: {why}"))
    })?;
    if wanted.scopes.is_empty() {
        let known = Scope::ALL.map(Scope::as_str).join(", ");
        return Err(invalid("scopes", format!("must name at least one of {known}")));
    }
    if wanted.projects.as_ref().is_some_and(Vec::is_empty) {
        return Err(invalid("projects", "must name at least one; leave it out for all"));
    }
    if wanted.label.chars().count() > MAX_LABEL || wanted.label.chars().any(char::is_control) {
        let why = format!("must be at most {MAX_LABEL} characters, without control characters");
        return Err(invalid("label", why));
    }
    let moment = |text: String| {
        let why = "must be RFC 3339, such as 2027-01-31T00:00:00Z";
        Timestamp::parse(&text).ok_or_else(|| invalid("expires_at", why))
    };
    Ok(Grant {
        account: wanted.account_id,
        projects: wanted.projects.map(Projects::Only),
        scopes: wanted.scopes,
        label: wanted.label,
        expires_at: wanted.expires_at.map(moment).transpose()?,
        read_defaults: wanted.read_defaults.map(read_defaults).transpose()?.unwrap_or_default(),
    })
}

fn read_defaults(json: ReadDefaultsJson) -> Result<ReadDefaults, ApiError> {
    match json {
        ReadDefaultsJson { wait, .. } if wait > MAX_WAIT => {
            Err(invalid("read_defaults.wait", format!("must be 0 to {MAX_WAIT} seconds")))
        }
        ReadDefaultsJson { wait, miss: 200 } => Ok(ReadDefaults { wait, miss_200: true }),
        ReadDefaultsJson { wait, miss: 404 } => Ok(ReadDefaults { wait, miss_200: false }),
        ReadDefaultsJson { .. } => Err(invalid("read_defaults.miss", "must be 200 or 404")),
    }
}
