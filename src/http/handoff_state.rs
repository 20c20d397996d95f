//! `/v1/handoff_state`: the Handoff API.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::http::header::HeaderName;
use actix_web::web::Data;
use serde::Serialize;

use crate::config::MAX_TTL_SECONDS;
use crate::config::MIN_TTL_SECONDS;
use crate::domain::handoff::Fits;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Status;
use crate::domain::handoff_id::HandoffId;
use crate::http::body::Body;
use crate::http::body::Members;
use crate::http::body::check_data;
use crate::http::body::invalid_at;
use crate::http::conditional;
use crate::http::error::ApiError;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::Stored;
use crate::service::handoffs::Write;

const REVISION: HeaderName = HeaderName::from_static("x-handoff-revision");
const WRITTEN_AT: HeaderName = HeaderName::from_static("x-handoff-written-at");
const EXPIRES_AT: HeaderName = HeaderName::from_static("x-handoff-expires-at");

/// `GET`: the handoff, its `data` byte for byte as it was written. The body holds `id`, `shared_id`
/// and `data` and nothing else: clients spread it into places with limits.
pub(super) async fn read(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    let handoff = handoffs.read(&caller.0, params.account()?.as_ref(), &params.id()?).await?;
    if conditional::is_known(&request, handoff.revision) {
        return Ok(about(StatusCode::NOT_MODIFIED, &handoff).finish());
    }
    let mut answer = about(StatusCode::OK, &handoff);
    Ok(answer.insert_header((header::CONTENT_TYPE, "application/json")).body(handoff.document()))
}

/// `PUT`: stores or replaces the handoff.
pub(super) async fn write(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    body: Body,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    let write = parse(&params, &request, &body)?;
    let Stored { handoff, created, changed } = handoffs.write(&caller.0, write).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(about(status, &handoff).json(Receipt::of(&handoff, created, changed)))
}

/// The answer to a write.
#[derive(Serialize)]
struct Receipt<'h> {
    id: &'h str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_id: Option<&'h str>,
    account_id: &'h str,
    project_id: &'h str,
    status: Status,
    revision: u64,
    created: bool,
    changed: bool,
    written_at: String,
    expires_at: String,
    size_bytes: usize,
    fits: Fits,
}

impl<'h> Receipt<'h> {
    fn of(handoff: &'h Handoff, created: bool, changed: bool) -> Self {
        let heading = &handoff.heading;
        Self {
            id: heading.id.as_str(),
            shared_id: heading.shared_id.as_ref().map(HandoffId::as_str),
            account_id: heading.account.as_str(),
            project_id: heading.project.as_str(),
            status: heading.status,
            revision: handoff.revision,
            created,
            changed,
            written_at: handoff.written_at().to_string(),
            expires_at: handoff.expires_at.to_string(),
            size_bytes: handoff.data().len(),
            fits: Fits::of(handoff),
        }
    }
}

/// An answer with the headers that tell of a handoff.
fn about(status: StatusCode, handoff: &Handoff) -> HttpResponseBuilder {
    let mut answer = HttpResponseBuilder::new(status);
    answer
        .insert_header((header::ETAG, conditional::tag(handoff.revision)))
        .insert_header((REVISION, handoff.revision))
        .insert_header((WRITTEN_AT, handoff.written_at().to_string()))
        .insert_header((EXPIRES_AT, handoff.expires_at.to_string()));
    answer
}

const QUERY: [&str; 3] = ["id", "account_id", "project_id"];
const BODY: [&str; 7] =
    ["data", "context", "shared_id", "account_id", "project_id", "ttl_seconds", "status"];

/// Reads both forms of a write: `{"data":{…}}` with what goes with it, and `PolyAI`'s own
/// `{"context":{"state":{"handoff":{…}}}}`.
fn parse(params: &Params, request: &HttpRequest, body: &Body) -> Result<Write, ApiError> {
    params.only(&QUERY)?;
    let id = params.id()?;
    let members = Members::of_body(&body.0)?;
    members.only(&BODY)?;
    let (data, pointer) = match (members.get("data"), members.get("context")) {
        (Some(data), None) => (data, "/data"),
        (None, Some(_)) => {
            let state = members.object("context", "/context")?.object("state", "/context/state")?;
            let missing = || invalid_at("/context/state/handoff", "is missing");
            (state.get("handoff").ok_or_else(missing)?, "/context/state/handoff")
        }
        (Some(_), Some(_)) => {
            return Err(invalid_at(
                "/data",
                "stands beside /context; send one of them, they exclude each other",
            ));
        }
        (None, None) => {
            return Err(invalid_at(
                "/data",
                "is missing; send {\"data\":{…}} or {\"context\":{\"state\":{\"handoff\":{…}}}}",
            ));
        }
    };
    check_data(data, pointer)?;
    let status = members.text("status")?.map(|word| {
        let unknown = || invalid_at("/status", "must be ready, contained or failed");
        Status::parse(&word).ok_or_else(unknown)
    });
    Ok(Write {
        account: agreed("account_id", params.account()?, members.parsed("account_id")?)?,
        id,
        project: agreed("project_id", params.read("project_id")?, members.parsed("project_id")?)?,
        shared_id: members.parsed("shared_id")?,
        data: data.get().to_owned(),
        status: status.transpose()?,
        ttl_seconds: ttl(&members)?,
        precondition: conditional::precondition(request)?,
    })
}

/// What query and body say together.
fn agreed<T: PartialEq>(
    name: &str,
    query: Option<T>,
    body: Option<T>,
) -> Result<Option<T>, ApiError> {
    match (query, body) {
        (Some(query), Some(body)) if query != body => {
            Err(invalid_at(&format!("/{name}"), "differs from the query's"))
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
