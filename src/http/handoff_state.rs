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
use tokio::time::Instant;

use crate::domain::connector::ConnectorId;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::connector::exposed::HandoffApi;
use crate::domain::handoff::Fits;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Status;
use crate::domain::handoff_id::HandoffId;
use crate::http::body::Body;
use crate::http::body::Members;
use crate::http::conditional;
use crate::http::edge;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::http::extract::invalid;
use crate::http::extract::missing_id;
use crate::http::gate;
use crate::http::handoff_write;
use crate::http::request::RequestState;
use crate::http::request::Stage;
use crate::service::error::Miss;
use crate::service::error::ServiceError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::MatchedBy;
use crate::service::handoffs::Patience;
use crate::service::handoffs::Read;
use crate::service::handoffs::Stored;
use crate::service::handoffs::Tells;
use crate::store::connector::StoredConnector;

const REVISION: HeaderName = HeaderName::from_static("x-handoff-revision");
const WRITTEN_AT: HeaderName = HeaderName::from_static("x-handoff-written-at");
const EXPIRES_AT: HeaderName = HeaderName::from_static("x-handoff-expires-at");
const MATCHED_BY: HeaderName = HeaderName::from_static("x-handoff-matched-by");
const MISS: HeaderName = HeaderName::from_static("x-handoff-miss");

/// Longest a read may wait, in seconds: Studio's Make HTTP Request gives up after ten.
pub(super) const MAX_WAIT: u8 = 8;
// What the last look of a wait may take, so that Studio's ten seconds are kept.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// How a read behaves, as its parameters say, and where they do not, its key's defaults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// How long at most.
    pub(super) wait: Duration,
    /// It waits because its key does, not because the request asks for it.
    pub(super) waits_by_default: bool,
    /// For which revision.
    pub(super) min_revision: Option<u64>,
    /// One that is older is another visit's.
    pub(super) is_of_visit: bool,
    /// A miss is an answer.
    pub(super) miss_200: bool,
}

impl Options {
    pub(super) fn of(caller: &Caller, params: &Params) -> Result<Self, ApiError> {
        let defaults = caller.0.read_defaults;
        let asked = params.text("wait")?;
        let wait = match asked {
            None => defaults.wait,
            Some(text) => {
                (0..=MAX_WAIT).find(|wait| wait.to_string() == text).ok_or_else(|| {
                    invalid("wait", format!("must be a whole number from 0 to {MAX_WAIT}, seconds"))
                })?
            }
        };
        let miss_200 = match params.text("miss")? {
            None => defaults.miss_200,
            Some("200") => true,
            Some("404") => false,
            Some(_) => return Err(invalid("miss", "must be 200 or 404")),
        };
        let whole = |_| invalid("min_revision", "must be a revision: a whole number");
        let min_revision = params.text("min_revision")?.map(|text| text.parse().map_err(whole));
        Ok(Self {
            wait: Duration::from_secs(u64::from(wait)),
            waits_by_default: asked.is_none(),
            min_revision: min_revision.transpose()?,
            is_of_visit: false,
            miss_200,
        })
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
    let options = Options::of(&caller, &params)?;
    // Read; and not to be held by thousands who wait.
    drop(params);
    let found = find(&caller, &ask, options, &request, &handoffs).await?;
    Ok(match found {
        Ok(read) if conditional::is_known(&request, read.handoff.revision) => {
            found_as(StatusCode::NOT_MODIFIED, &read).finish()
        }
        Ok(read) => whole(&read),
        Err(miss) => missed(&ask, miss),
    })
}

/// `POST /handoff`: the same, by `{"shared_id":…}` or `{"id":…}` in a body, and without conditions.
pub(super) async fn read_by_body(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    body: Body,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    let members = Members::of_body(&body.0)?;
    let by = match members.id("shared_id")? {
        Some(shared_id) => By::SharedId(shared_id),
        None => By::Id(members.id("id")?.ok_or_else(missing_id)?),
    };
    let ask = params.about(by)?;
    let options = Options::of(&caller, &params)?;
    let found = find(&caller, &ask, options, &request, &handoffs).await?;
    Ok(found.map_or_else(|miss| missed(&ask, miss), |read| whole(&read)))
}

/// The handoff, or, where a miss is to be a 200, the miss.
pub(super) async fn find(
    caller: &Caller,
    ask: &Ask,
    options: Options,
    request: &HttpRequest,
    handoffs: &Handoffs,
) -> Result<Result<Read, Miss>, ApiError> {
    let parts = request.app_data::<Data<Edge>>().zip(RequestState::of(request));
    let (edge, state) = parts.ok_or_else(edge::misassembled)?;
    let until = state.started + options.wait;
    let patience = Patience {
        until: (!options.wait.is_zero()).then_some(until),
        min_revision: options.min_revision,
        is_strict: options.is_of_visit,
        tells: Tells::All,
    };
    let enter = || match edge.load.waiting.enter() {
        Some(permit) => {
            // Its place in flight is for others meanwhile.
            state.permit.take();
            state.waiting_since.set(Some(Instant::now()));
            let last_look = edge.limits.request_timeout.min(LAST_LOOK);
            state.wait_for(Stage::Work, until.duration_since(Instant::now()) + last_look);
            Ok(Some(permit))
        }
        // A client that did not ask to wait is told what there is, as without its key's default.
        None if options.waits_by_default => Ok(None),
        None => Err(ServiceError::TooManyWait),
    };
    let found = handoffs.read(&caller.0, ask, patience, enter).await;
    if state.waiting_since.get().is_some() && !edge.doors.is_good(&caller.0).await? {
        return Err(gate::ended(&caller.0, edge.clock.now()));
    }
    match found {
        Ok(read) => Ok(Ok(read)),
        Err(ServiceError::NoHandoff(miss)) if options.miss_200 => Ok(Err(miss)),
        Err(error) => Err(error.into()),
    }
}

/// A handoff, whole.
fn whole(read: &Read) -> HttpResponse {
    let mut answer = found_as(StatusCode::OK, read);
    let json = (header::CONTENT_TYPE, "application/json");
    answer.insert_header(json).body(read.handoff.document())
}

/// An answer with the headers that tell of a handoff, and by what it was found.
pub(super) fn found_as(status: StatusCode, read: &Read) -> HttpResponseBuilder {
    let mut answer = about(status, &read.handoff);
    match read.matched_by {
        MatchedBy::Id => {}
        MatchedBy::SharedId => drop(answer.insert_header((MATCHED_BY, "shared_id"))),
        MatchedBy::Alias => drop(answer.insert_header((MATCHED_BY, "alias"))),
    }
    if read.is_stale {
        answer.insert_header((header::WARNING, "110 - \"Response is Stale\""));
    }
    answer
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
    let connector = handoffs.connector_of(&caller.0).await?;
    let write = handoff_write::write(&params, &request, &body, exposing(connector.as_deref()))?;
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
    let connector = handoffs.connector_of(&caller.0).await?;
    let patch = handoff_write::patch(&params, &request, &body, exposing(connector.as_deref()))?;
    Ok(receipt(&handoffs.patch(&caller.0, patch).await?))
}

/// What a connector exposes of its agent's flat state, if it says.
fn exposing(connector: Option<&StoredConnector>) -> Option<&HandoffApi> {
    connector.and_then(|connector| connector.record.settings.handoff_api.as_ref())
}

/// `DELETE`: erases the handoff.
pub(super) async fn erase(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    params.only(&["id", "shared_id", "account_id", "project_id", "client_env"])?;
    let ask = params.ask_for_one()?;
    let precondition = conditional::precondition(&request)?;
    handoffs.into_inner().erase(&caller.0, &ask, &precondition).await?;
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
    #[serde(skip_serializing_if = "Option::is_none")]
    connector_id: Option<&'h ConnectorId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_env: Option<ClientEnv>,
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
            connector_id: heading.connector.as_ref(),
            client_env: heading.client_env,
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
