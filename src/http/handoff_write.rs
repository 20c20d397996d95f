//! Reading what a writer sends: a whole handoff, or a change of one.

use actix_web::HttpRequest;
use actix_web::http::header;
use serde_json::value::RawValue;

use crate::config::MAX_TTL_SECONDS;
use crate::config::MIN_TTL_SECONDS;
use crate::domain::connector::exposed::HandoffApi;
use crate::domain::handoff::Status;
use crate::http::body::Body;
use crate::http::body::Members;
use crate::http::body::check_data;
use crate::http::body::check_text;
use crate::http::body::invalid_at;
use crate::http::conditional;
use crate::http::error::ApiError;
use crate::http::extract::Params;
use crate::http::extract::missing_id;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Patch;
use crate::service::handoffs::SharedId;
use crate::service::handoffs::Write;

const QUERY: [&str; 5] = ["id", "shared_id", "account_id", "project_id", "client_env"];
const WRITE: [&str; 9] = [
    "data",
    "context",
    "id",
    "shared_id",
    "account_id",
    "project_id",
    "client_env",
    "ttl_seconds",
    "status",
];
const PATCH: [&str; 4] = ["data", "context", "shared_id", "status"];
const MERGE_PATCH: &[u8] = b"application/merge-patch+json";

/// Reads both forms of a write: `{"data":{…}}` with what goes with it, and `PolyAI`'s own
/// `{"context":{"state":{"handoff":{…}}}}`; where `exposing` says which keys of a flat state are
/// exposed, the state is what those are taken from.
pub(super) fn write(
    params: &Params,
    request: &HttpRequest,
    body: &Body,
    exposing: Option<&HandoffApi>,
) -> Result<Write, ApiError> {
    params.only(&QUERY)?;
    let members = Members::of_body(&body.0)?;
    members.only(&WRITE)?;
    let missing = || {
        invalid_at(
            "/data",
            "is missing; send {\"data\":{…}} or {\"context\":{\"state\":{\"handoff\":{…}}}}",
        )
    };
    let (data, of_state) = match exposing {
        Some(api) if is_flat_state(api, &members) => exposed(api, &members)?,
        _ => (data(&members)?.ok_or_else(missing)?, SharedId::Keep),
    };
    let id = agreed("id", params.id()?, members.parsed("id")?)?;
    let shared_id = match shared_id(params, &members)? {
        SharedId::Keep => of_state,
        said @ (SharedId::Clear | SharedId::Set(_)) => said,
    };
    let by = match (id, &shared_id) {
        (Some(id), _) => By::Id(id),
        (None, SharedId::Set(shared_id)) => By::SharedId(shared_id.clone()),
        (None, SharedId::Keep | SharedId::Clear) => return Err(missing_id()),
    };
    let ask = params.about(by)?;
    Ok(Write {
        ask: Ask {
            account: agreed("account_id", ask.account, members.parsed("account_id")?)?,
            project: agreed("project_id", ask.project, members.parsed("project_id")?)?,
            client_env: agreed("client_env", ask.client_env, members.parsed("client_env")?)?,
            by: ask.by,
        },
        shared_id,
        data,
        status: status(&members)?,
        ttl_seconds: ttl(&members)?,
        precondition: conditional::precondition(request)?,
    })
}

/// Reads a change: the members of a write that change something, with a JSON Merge Patch (RFC 7396)
/// in the place of `data`; or, sent as `application/merge-patch+json`, the patch of `data` itself.
pub(super) fn patch(
    params: &Params,
    request: &HttpRequest,
    body: &Body,
    exposing: Option<&HandoffApi>,
) -> Result<Patch, ApiError> {
    params.only(&QUERY)?;
    let ask = params.ask_for_one()?;
    let precondition = conditional::precondition(request)?;
    if is_merge_patch(request) {
        let members = Members::of_body(&body.0)?;
        let data = bare(&members, body)?;
        return Ok(Patch { ask, shared_id: SharedId::Keep, data, status: None, precondition });
    }
    let members = Members::of_body(&body.0)?;
    members.only(&PATCH).map_err(|mut refused| {
        refused.message.push_str(
            ". A patch of `data` stands in /data; or send it alone as application/merge-patch+json",
        );
        refused
    })?;
    if exposing.is_some() && members.get("context").is_some() {
        return Err(invalid_at(
            "/context",
            "cannot be told from a change of single keys: this connector exposes keys of a flat state (handoff_api). Send the whole state with PUT, or what changes as /data",
        ));
    }
    let shared_id = if members.has_null("shared_id") {
        SharedId::Clear
    } else {
        members.parsed("shared_id")?.map_or(SharedId::Keep, SharedId::Set)
    };
    Ok(Patch { ask, shared_id, data: data(&members)?, status: status(&members)?, precondition })
}

/// A patch without anything around it. A wrapper that came along all the same would end up inside
/// `data`, where no reader looks for it.
fn bare(members: &Members<'_>, body: &Body) -> Result<Option<String>, ApiError> {
    if let Some(wrapper) = members.is_only(&["data", "context"]) {
        return Err(invalid_at(
            &format!("/{wrapper}"),
            "is all that the patch holds. As application/merge-patch+json the body is the patch of `data` itself: send what is inside, or send it as application/json",
        ));
    }
    let text = String::from_utf8_lossy(&body.0);
    let text = text.trim_ascii();
    check_text(text, "")?;
    Ok(Some(text.to_owned()))
}

fn is_merge_patch(request: &HttpRequest) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
    let kind = kind.and_then(|kind| kind.split(|b| *b == b';').next());
    kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(MERGE_PATCH))
}

/// The object that either form holds, checked.
fn data(members: &Members<'_>) -> Result<Option<String>, ApiError> {
    let (data, pointer) = match (members.get("data"), members.get("context")) {
        (Some(data), None) => (data, "/data"),
        (None, Some(_)) => {
            let state = members.object("context", "/context")?.object("state", "/context/state")?;
            let missing = || {
                invalid_at(
                    "/context/state/handoff",
                    "is missing. (A flat state is taken with a token of a connector whose handoff_api says which keys of it are exposed)",
                )
            };
            (state.get("handoff").ok_or_else(missing)?, "/context/state/handoff")
        }
        (Some(_), Some(_)) => {
            return Err(invalid_at(
                "/data",
                "stands beside /context; send one of them, they exclude each other",
            ));
        }
        (None, None) => return Ok(None),
    };
    check_data(data, pointer)?;
    Ok(Some(data.get().to_owned()))
}

/// Whether a body holds a flat state. One with nothing in it but an object `handoff` is the nested form,
/// unless that is a key that is exposed.
fn is_flat_state(api: &HandoffApi, members: &Members<'_>) -> bool {
    if members.get("data").is_some() || members.get("context").is_none() {
        return false;
    }
    let state = members.object("context", "").and_then(|context| context.object("state", ""));
    let is_nested = |state: &Members<'_>| state.is_only(&["handoff"]).is_some();
    api.lists("handoff") || !state.is_ok_and(|state| is_nested(&state))
}

/// What a connector exposes of a flat state, and the other side's id in it.
fn exposed(api: &HandoffApi, members: &Members<'_>) -> Result<(String, SharedId), ApiError> {
    let context = members.object("context", "/context")?;
    context.object("state", "/context/state")?;
    let state = context.get("state").map_or("{}", RawValue::get);
    check_text(state, "/context/state")?;
    let unreadable = |_| invalid_at("/context/state", "must be an object");
    let exposed = api.expose(state).map_err(unreadable)?;
    let read = |text: String| {
        let why = |why| invalid_at(&format!("/context/state/{}", api.shared_id_key()), why);
        text.parse().map(SharedId::Set).map_err(why)
    };
    Ok((exposed.data, exposed.shared_id.map(read).transpose()?.unwrap_or_default()))
}

fn shared_id(params: &Params, members: &Members<'_>) -> Result<SharedId, ApiError> {
    let named = agreed("shared_id", params.shared_id()?, members.parsed("shared_id")?)?;
    match (named, members.has_null("shared_id")) {
        (Some(_), true) => Err(invalid_at("/shared_id", "differs from the query's")),
        (Some(shared_id), false) => Ok(SharedId::Set(shared_id)),
        (None, true) => Ok(SharedId::Clear),
        (None, false) => Ok(SharedId::Keep),
    }
}

fn status(members: &Members<'_>) -> Result<Option<Status>, ApiError> {
    let unknown = || invalid_at("/status", "must be ready, contained or failed");
    let read = |word: String| Status::parse(&word).ok_or_else(unknown);
    members.text("status")?.map(read).transpose()
}

/// What query and body say together.
fn agreed<T: PartialEq>(
    name: &str,
    query: Option<T>,
    body: Option<T>,
) -> Result<Option<T>, ApiError> {
    match (query, body) {
        (Some(query), Some(body)) if query != body => {
            Err(invalid_at(&format!("/{name}"), "differs from the query's or the path's"))
        }
        (query, body) => Ok(query.or(body)),
    }
}

fn ttl(members: &Members<'_>) -> Result<Option<u32>, ApiError> {
    let range = MIN_TTL_SECONDS..=MAX_TTL_SECONDS;
    let read = |text: &str| text.parse().ok().filter(|ttl| range.contains(ttl));
    let Some(value) = members.get("ttl_seconds") else { return Ok(None) };
    match read(value.get()) {
        Some(ttl) => Ok(Some(ttl)),
        None => Err(invalid_at(
            "/ttl_seconds",
            format!("must be a whole number from {MIN_TTL_SECONDS} to {MAX_TTL_SECONDS}"),
        )),
    }
}
