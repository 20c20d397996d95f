//! The handoff of a call, under every spelling of the Handoff API.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::http::header::HeaderName;
use actix_web::web::Data;
use serde::Serialize;

use crate::domain::handoff::Fits;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Status;
use crate::domain::handoff_id::HandoffId;
use crate::http::body::Body;
use crate::http::body::Members;
use crate::http::conditional;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::http::extract::invalid;
use crate::http::extract::missing_id;
use crate::http::handoff_write;
use crate::http::load::Place;
use crate::http::request::RequestState;
use crate::http::request::Stage;
use crate::service::error::Miss;
use crate::service::error::ServiceError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::MatchedBy;
use crate::service::handoffs::Patience;
use crate::service::handoffs::Stored;

const REVISION: HeaderName = HeaderName::from_static("x-handoff-revision");
const WRITTEN_AT: HeaderName = HeaderName::from_static("x-handoff-written-at");
const EXPIRES_AT: HeaderName = HeaderName::from_static("x-handoff-expires-at");
const MATCHED_BY: HeaderName = HeaderName::from_static("x-handoff-matched-by");
const MISS: HeaderName = HeaderName::from_static("x-handoff-miss");

/// Longest a read may wait, in seconds: Studio's Make HTTP Request gives up after ten.
pub(super) const MAX_WAIT: u8 = 8;

/// How a read behaves, as its parameters say, and where they do not, its key's defaults.
#[derive(Clone, Copy, Debug)]
struct Manner {
    patience: Patience,
    miss_200: bool,
}

impl Manner {
    fn of(caller: &Caller, params: &Params) -> Result<Self, ApiError> {
        let defaults = caller.0.read_defaults;
        let wait = match params.text("wait")? {
            None => defaults.wait,
            Some(text) => text.parse().ok().filter(|wait| *wait <= MAX_WAIT).ok_or_else(|| {
                invalid("wait", format!("must be a whole number from 0 to {MAX_WAIT}, seconds"))
            })?,
        };
        let miss_200 = match params.text("miss")? {
            None => defaults.miss_200,
            Some("200") => true,
            Some("404") => false,
            Some(_) => return Err(invalid("miss", "must be 200 or 404")),
        };
        let whole = |_| invalid("min_revision", "must be a revision: a whole number");
        let min_revision = params.text("min_revision")?.map(|text| text.parse().map_err(whole));
        let wait = Duration::from_secs(u64::from(wait));
        Ok(Self { patience: Patience { wait, min_revision: min_revision.transpose()? }, miss_200 })
    }
}

/// `GET`: the handoff, its `data` byte for byte as it was written. The body holds `id`, `shared_id`
/// and `data` and nothing else: clients spread it into places with limits.
pub(super) async fn read(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    let ask = params.ask()?;
    let manner = Manner::of(&caller, &params)?;
    answer(&caller, &ask, manner, &request, &handoffs).await
}

/// `POST /handoff`: the same, by `{"shared_id":…}` or `{"id":…}` in a body.
pub(super) async fn read_by_body(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    body: Body,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    let members = Members::of_body(&body.0)?;
    let by = match (members.parsed("shared_id")?, members.parsed("id")?) {
        (Some(shared_id), _) => By::SharedId(shared_id),
        (None, Some(id)) => By::Id(id),
        (None, None) => return Err(missing_id()),
    };
    let ask = params.about(by)?;
    let manner = Manner::of(&caller, &params)?;
    answer(&caller, &ask, manner, &request, &handoffs).await
}

async fn answer(
    caller: &Caller,
    ask: &Ask,
    manner: Manner,
    request: &HttpRequest,
    handoffs: &Handoffs,
) -> Result<HttpResponse, ApiError> {
    let enter = || begin_to_wait(request, manner.patience.wait);
    let read = match handoffs.read(&caller.0, ask, manner.patience, enter).await {
        Ok(read) => read,
        Err(ServiceError::NoHandoff(miss)) if manner.miss_200 => return Ok(missed(ask, miss)),
        Err(error) => return Err(error.into()),
    };
    let handoff = &read.handoff;
    let is_known = conditional::is_known(request, handoff.revision);
    let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let mut answer = about(status, handoff);
    match read.matched_by {
        MatchedBy::Id => {}
        MatchedBy::SharedId => drop(answer.insert_header((MATCHED_BY, "shared_id"))),
        MatchedBy::Alias => drop(answer.insert_header((MATCHED_BY, "alias"))),
    }
    if is_known {
        return Ok(answer.finish());
    }
    Ok(answer.insert_header((header::CONTENT_TYPE, "application/json")).body(handoff.document()))
}

/// Gives a request's place in flight to others while it waits, and takes one among those who wait.
fn begin_to_wait(request: &HttpRequest, wait: Duration) -> Result<Place, ServiceError> {
    let edge = request.app_data::<Data<Edge>>().zip(RequestState::of(request));
    let (edge, state) = edge.ok_or(ServiceError::TooManyWait)?;
    let place = edge.load.waiting.enter().ok_or(ServiceError::TooManyWait)?;
    state.place.take();
    state.wait_for(Stage::Work, wait + edge.limits.request_timeout);
    Ok(place)
}

/// A miss for clients that take every status but 200 for a failure of their own.
fn missed(ask: &Ask, miss: Miss) -> HttpResponse {
    let code = ApiError::from(miss).code;
    let (id, shared_id) = match &ask.by {
        By::Id(id) => (Some(id), None),
        By::SharedId(shared_id) => (None, Some(shared_id)),
    };
    HttpResponse::Ok().insert_header((MISS, code.as_str())).json(Missed {
        found: false,
        id,
        shared_id,
        data: serde_json::Map::new(),
    })
}

#[derive(Serialize)]
struct Missed<'a> {
    found: bool,
    id: Option<&'a HandoffId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_id: Option<&'a HandoffId>,
    data: serde_json::Map<String, serde_json::Value>,
}

/// `PUT`, `POST`: stores or replaces the handoff.
pub(super) async fn write(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    body: Body,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    let write = handoff_write::write(&params, &request, &body)?;
    Ok(receipt(&handoffs.write(&caller.0, write).await?))
}

/// `PATCH`: changes members of the handoff's `data`.
pub(super) async fn patch(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    body: Body,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    let patch = handoff_write::patch(&params, &request, &body)?;
    Ok(receipt(&handoffs.patch(&caller.0, patch).await?))
}

/// `DELETE`: erases the handoff.
pub(super) async fn erase(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    params.only(&["id", "shared_id", "account_id", "project_id"])?;
    let ask = params.ask_for_one()?;
    handoffs.erase(&caller.0, &ask, &conditional::precondition(&request)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn receipt(stored: &Stored) -> HttpResponse {
    let status = if stored.created { StatusCode::CREATED } else { StatusCode::OK };
    about(status, &stored.handoff).json(Receipt::of(stored))
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
    fn of(stored: &'h Stored) -> Self {
        let Stored { handoff, created, changed } = stored;
        let heading = &handoff.heading;
        Self {
            id: heading.id.as_str(),
            shared_id: heading.shared_id.as_ref().map(HandoffId::as_str),
            account_id: heading.account.as_str(),
            project_id: heading.project.as_str(),
            status: heading.status,
            revision: handoff.revision,
            created: *created,
            changed: *changed,
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
