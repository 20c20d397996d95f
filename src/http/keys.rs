//! `/v1/keys`: making, listing and revoking API keys.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::api_key::KeyId;
use crate::domain::clock::Timestamp;
use crate::domain::principal::Projects;
use crate::domain::principal::ReadDefaults;
use crate::domain::principal::Scope;
use crate::http::body::Body;
use crate::http::body::Members;
use crate::http::body::invalid_at;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::http::extract::invalid;
use crate::http::handoff_state::MAX_WAIT;
use crate::service::keys::Grant;
use crate::service::keys::Keys;
use crate::store::record::StoredKey;

const MAX_LABEL: usize = 100;
const MAX_PROJECTS: usize = 100;

/// What a caller asks for.
#[derive(Deserialize)]
struct Wanted {
    account_id: Option<AccountId>,
    projects: Option<Vec<ProjectId>>,
    scopes: Vec<Scope>,
    #[serde(default)]
    label: String,
    expires_at: Option<String>,
}

const MEMBERS: [&str; 6] =
    ["account_id", "projects", "scopes", "label", "expires_at", "read_defaults"];

#[derive(Clone, Copy, Serialize)]
struct ReadDefaultsJson {
    wait: u8,
    miss: u16,
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

/// `GET`: the keys of the account whose projects the caller reaches.
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
    let text = params.text("id")?.ok_or_else(missing)?;
    let id: KeyId = text.parse().map_err(|_bad_id| {
        invalid("id", "is not a key's id: ten letters and digits, as `GET /v1/keys` lists it")
    })?;
    keys.revoke(&caller.0, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn grant(body: &Body) -> Result<Grant, ApiError> {
    let members = Members::of_body(&body.0)?;
    members.only(&MEMBERS)?;
    // serde's message names the member and what it takes; it quotes the caller to the caller.
    let wanted: Wanted = serde_json::from_slice(&body.0).map_err(|why| {
        ApiError::new(Code::InvalidParameter, format!("The body cannot be read: {why}"))
    })?;
    if wanted.scopes.is_empty() {
        let known = Scope::ALL.map(Scope::as_str).join(", ");
        return Err(invalid("scopes", format!("must name at least one of {known}")));
    }
    if wanted.projects.as_ref().is_some_and(|some| !(1..=MAX_PROJECTS).contains(&some.len())) {
        let why = format!("must name 1 to {MAX_PROJECTS}; leave it out for all");
        return Err(invalid("projects", why));
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
        projects: wanted.projects.map(once).map(Projects::Only),
        scopes: once(wanted.scopes),
        label: wanted.label,
        expires_at: wanted.expires_at.map(moment).transpose()?,
        read_defaults: members
            .get("read_defaults")
            .map(|_| read_defaults(&members))
            .transpose()?
            .unwrap_or_default(),
    })
}

fn read_defaults(members: &Members<'_>) -> Result<ReadDefaults, ApiError> {
    let given = members.object("read_defaults", "/read_defaults")?;
    given.only(&["wait", "miss"])?;
    let wait = given.get("wait").map_or(Ok(0), |wait| wait.get().parse());
    let wait = wait.ok().filter(|wait| *wait <= MAX_WAIT).ok_or_else(|| {
        invalid_at(
            "/read_defaults/wait",
            format!("must be a whole number from 0 to {MAX_WAIT}, seconds"),
        )
    })?;
    match given.get("miss").map_or("404", RawValue::get) {
        "200" => Ok(ReadDefaults { wait, miss_200: true }),
        "404" => Ok(ReadDefaults { wait, miss_200: false }),
        _ => Err(invalid_at("/read_defaults/miss", "must be 200 or 404")),
    }
}

/// Each only once, in order.
fn once<T: PartialEq>(many: Vec<T>) -> Vec<T> {
    many.into_iter().fold(Vec::new(), |mut kept, one| {
        if !kept.contains(&one) {
            kept.push(one);
        }
        kept
    })
}
