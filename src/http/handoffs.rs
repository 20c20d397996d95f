//! `/v1/handoffs`, for operators: what there is, and erasing much of it at once; and the further ids
//! of a handoff.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Status;
use crate::domain::handoff_id::HandoffId;
use crate::http::body::Body;
use crate::http::body::Members;
use crate::http::body::invalid_at;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::http::extract::invalid;
use crate::service::handoffs::Filter;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::Whole;

/// A handoff as it is listed; never its `data`.
#[derive(Serialize)]
struct Shown<'h> {
    id: &'h HandoffId,
    shared_id: Option<&'h HandoffId>,
    project_id: &'h ProjectId,
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

#[derive(Serialize)]
struct ErasedJson {
    erased: usize,
    done: bool,
}

/// `DELETE`: erases all that carry a shared id, or a whole project or account.
pub(super) async fn erase(
    caller: Caller,
    params: Params,
    handoffs: Data<Handoffs>,
    edge: Data<Edge>,
) -> Result<HttpResponse, ApiError> {
    params.only(&["shared_id", "project_id", "account_id", "confirm"])?;
    let (account, project) = (params.account()?, params.project()?);
    let whole = whole(&params, account.as_ref(), project)?;
    // Asked again, it goes on where this leaves off; so it leaves off while it can still say so.
    let until = Instant::now() + edge.limits.request_timeout / 2;
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

#[derive(Serialize)]
struct NamedJson<'a> {
    id: &'a HandoffId,
    aliases: &'a [HandoffId],
}

/// `POST /v1/handoff_state/aliases`: gives a handoff further ids.
pub(super) async fn name(
    caller: Caller,
    params: Params,
    body: Body,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    params.only(&["id", "shared_id", "account_id", "project_id"])?;
    let ask = params.ask_for_one()?;
    let members = Members::of_body(&body.0)?;
    members.only(&["aliases"])?;
    let named = handoffs.name(&caller.0, &ask, &aliases(&members)?).await?;
    let record = &named.record;
    Ok(HttpResponse::Ok().json(NamedJson { id: &record.id, aliases: &record.aliases }))
}

fn aliases(members: &Members<'_>) -> Result<Vec<HandoffId>, ApiError> {
    let wrong = || invalid_at("/aliases", "must be a list of one id or more");
    let texts = members.get("aliases").map(RawValue::get).ok_or_else(wrong)?;
    let texts: Vec<String> = serde_json::from_str(texts).map_err(|_wrong_type| wrong())?;
    if texts.is_empty() {
        return Err(wrong());
    }
    let read = |(at, text): (usize, String)| {
        text.parse().map_err(|why| invalid_at(&format!("/aliases/{at}"), why))
    };
    texts.into_iter().enumerate().map(read).collect()
}
