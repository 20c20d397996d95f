//! `/v1/handoffs`, for operators: what there is, and erasing much of it at once.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use tokio::time::Instant;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Status;
use crate::domain::handoff_id::HandoffId;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::http::extract::invalid;
use crate::http::request::RequestState;
use crate::http::request::Stage;
use crate::service::handoffs::Filter;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::Whole;

/// A handoff as it is listed; never its `data`.
#[derive(Serialize)]
struct Shown<'h> {
    id: &'h HandoffId,
    shared_id: Option<&'h HandoffId>,
    project_id: &'h ProjectId,
    connector_id: Option<&'h ConnectorId>,
    client_env: Option<ClientEnv>,
    status: Status,
    revision: u64,
    written_at: String,
    expires_at: String,
    size_bytes: usize,
}

#[derive(Serialize)]
struct PageJson<'h> {
    handoffs: Vec<Shown<'h>>,
    /// Null: that was all.
    next: Option<String>,
}

impl<'h> Shown<'h> {
    fn of(handoff: &'h Handoff) -> Self {
        let heading = &handoff.heading;
        Self {
            id: &heading.id,
            shared_id: heading.shared_id.as_ref(),
            project_id: &heading.project,
            connector_id: heading.connector.as_ref(),
            client_env: heading.client_env,
            status: heading.status,
            revision: handoff.revision,
            written_at: handoff.written_at().to_string(),
            expires_at: handoff.expires_at.to_string(),
            size_bytes: handoff.data().len(),
        }
    }
}

/// `GET`: the account's handoffs, newest first.
pub(super) async fn list(
    caller: Caller,
    params: Params,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    params.only(&["account_id", "project_id", "status", "after"])?;
    let unknown = || invalid("status", "must be ready, contained or failed");
    let status = params.text("status")?.map(|word| Status::parse(word).ok_or_else(unknown));
    let filter = Filter {
        account: params.account()?,
        project: params.project()?,
        status: status.transpose()?,
    };
    let page = handoffs.list(&caller.0, &filter, params.read("after")?).await?;
    let shown = page.handoffs.iter().map(|handoff| Shown::of(handoff)).collect();
    let next = page.next.map(|cursor| cursor.to_string());
    Ok(HttpResponse::Ok().json(PageJson { handoffs: shown, next }))
}

// So many times as long as another request may erasing take: with the defaults 7.5 s.
const ERASE_FOR: u32 = 3;

#[derive(Serialize)]
struct ErasedJson {
    erased: usize,
    done: bool,
}

/// `DELETE`: erases all that carry a shared id, or a whole project or account.
pub(super) async fn erase(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    handoffs: Data<Handoffs>,
    edge: Data<Edge>,
) -> Result<HttpResponse, ApiError> {
    params.only(&["shared_id", "project_id", "account_id", "confirm"])?;
    let (account, project) = (params.account()?, params.project()?);
    let whole = whole(&params, account.as_ref(), project)?;
    // Asked again, it goes on where this leaves off; so it leaves off while it can still say so.
    let limit = edge.limits.request_timeout;
    let until = Instant::now() + limit * ERASE_FOR;
    if let Some(state) = RequestState::of(&request) {
        state.wait_for(Stage::Work, limit * (ERASE_FOR + 1));
    }
    let handoffs = handoffs.into_inner();
    let erased = handoffs.erase_whole(&caller.0, account.as_ref(), &whole, until).await?;
    Ok(HttpResponse::Ok().json(ErasedJson { erased: erased.count, done: erased.done }))
}

fn whole(
    params: &Params,
    account: Option<&AccountId>,
    project: Option<ProjectId>,
) -> Result<Whole, ApiError> {
    match (params.shared_id()?, project, account) {
        (Some(_), Some(_), _) => {
            Err(invalid("project_id", "stands beside `shared_id`; give one of them"))
        }
        (Some(shared_id), None, _) => Ok(Whole::SharedId(shared_id)),
        (None, Some(project), _) => {
            confirmed(params, "project_id", project.as_str())?;
            Ok(Whole::Project(project))
        }
        (None, None, Some(account)) => {
            confirmed(params, "account_id", account.as_str())?;
            Ok(Whole::Account)
        }
        (None, None, None) => Err(ApiError::new(
            Code::MissingId,
            "Say what is to be erased: `shared_id`, or `project_id` or `account_id` with `confirm`. One handoff is erased by DELETE /v1/handoff_state?id=…",
        )),
    }
}

fn confirmed(params: &Params, name: &str, whole: &str) -> Result<(), ApiError> {
    if params.text("confirm")? == Some(whole) {
        return Ok(());
    }
    Err(ApiError::new(
        Code::ConfirmationNeeded,
        format!("This erases every handoff of {name} {whole}. Repeat its name in `confirm`"),
    ))
}
