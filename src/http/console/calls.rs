//! `/console/calls`, `/console/call`, `/console/handoff`, `/console/hour`: what operators see.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Data;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::json;

use crate::domain::clock::Timestamp;
use crate::domain::timeline::lead::Acceptance;
use crate::http::conditional;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::http::extract::invalid;
use crate::http::extract::missing_id;
use crate::http::timeline::ShownEvent;
use crate::http::view;
use crate::service::console::Connected;
use crate::service::console::Console;
use crate::service::console::Filter;
use crate::service::console::Flag;
use crate::service::console::Links;
use crate::service::console::MOST;
use crate::service::console::Row;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::Patience;
use crate::service::handoffs::Tells;

const PARAMETERS: [&str; 9] =
    ["account_id", "q", "connector", "status", "only", "from", "to", "after", "limit"];
const STATUSES: [&str; 6] = ["ready", "contained", "failed", "missing", "expired", "erased"];
const PAGE: usize = 100;

#[derive(Serialize)]
struct Listed<'p> {
    calls: &'p [Row],
    /// Null: that was all.
    next: Option<String>,
    connectors: Vec<Connected>,
}

#[derive(Serialize)]
struct Now<T> {
    #[serde(flatten)]
    all: T,
    now: Timestamp,
}

/// `GET /console/calls`: the account's calls, newest first; or those that `q` may mean.
pub(in crate::http) async fn list(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    console: Data<Console>,
) -> Result<HttpResponse, ApiError> {
    params.only(&PARAMETERS)?;
    let (who, account) = (&caller.0, params.account()?);
    let filter = filter(&params)?;
    let limit = params.text("limit")?.map_or(Some(PAGE), |text| text.parse().ok());
    let limit = limit.filter(|limit| (1..=MOST).contains(limit));
    let limit = limit.ok_or_else(|| invalid("limit", format!("must be from 1 to {MOST}")))?;
    let sought = params.text("q")?.filter(|text| !text.trim().is_empty());
    let page = if let Some(text) = sought {
        console.search(who, account.as_ref(), text, &filter).await?
    } else {
        let after = params.read("after")?;
        console.list(who, account.as_ref(), &filter, (after, limit)).await?
    };
    let next = page.next.map(|cursor| cursor.to_string());
    let connectors = console.connectors(who, account.as_ref()).await?;
    let listed = Listed { calls: &page.rows, next, connectors };
    // Cursors are sealed, and no two of them alike.
    let same = serde_json::to_vec(&(listed.calls, listed.next.is_some(), &listed.connectors));
    let same =
        same.map_err(|why| ApiError::new(Code::Internal, "The list failed").because(&why))?;
    let tag = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &same));
    let etag = (header::ETAG, format!("\"{tag}\""));
    if conditional::is_tagged(&request, &tag) {
        return Ok(HttpResponse::NotModified().insert_header(etag).finish());
    }
    let now = console.clock.now();
    Ok(HttpResponse::Ok().insert_header(etag).json(Now { all: listed, now }))
}

fn filter(params: &Params) -> Result<Filter, ApiError> {
    let status = params.text("status")?.map(|word| {
        let known = STATUSES.iter().find(|known| **known == word);
        let known = known.map(|known| (*known).to_owned());
        known.ok_or_else(|| invalid("status", format!("must be one of {}", STATUSES.join(", "))))
    });
    let only = params.text("only")?.map(|word| {
        Flag::parse(word).ok_or_else(|| {
            invalid("only", "must be connected_blind, near_miss or refused_signature")
        })
    });
    let moment = |name: &str| {
        let parsed = params.text(name)?.map(|text| {
            let why = "must be RFC 3339, such as 2027-01-31T00:00:00Z";
            Timestamp::parse(text).ok_or_else(|| invalid(name, why))
        });
        parsed.transpose()
    };
    Ok(Filter {
        connector: params.read("connector")?,
        status: status.transpose()?,
        only: only.transpose()?,
        from: moment("from")?,
        to: moment("to")?,
    })
}

#[derive(Serialize)]
struct Call<'c> {
    row: &'c Row,
    sentences: &'c [String],
    events: Vec<ShownEvent<'c>>,
    left_out: u32,
    acceptances: &'c [Acceptance],
    links: &'c Links,
}

/// `GET /console/call`: one call's story.
pub(in crate::http) async fn call(
    caller: Caller,
    params: Params,
    console: Data<Console>,
) -> Result<HttpResponse, ApiError> {
    params.only(&["account_id", "id"])?;
    let (id, account) = (params.id()?.ok_or_else(missing_id)?, params.account()?);
    let told = console.call(&caller.0, account.as_ref(), &id).await?;
    Ok(HttpResponse::Ok().json(Call {
        row: &told.row,
        sentences: &told.sentences,
        events: told.story.events.iter().map(ShownEvent::from).collect(),
        left_out: told.story.left_out,
        acceptances: &told.story.acceptances,
        links: &told.links,
    }))
}

/// `GET /console/handoff`: what the handoff holds, for whoever may read it.
pub(in crate::http) async fn handoff(
    caller: Caller,
    params: Params,
    handoffs: Data<Handoffs>,
    edge: Data<Edge>,
) -> Result<HttpResponse, ApiError> {
    params.only(&["account_id", "id"])?;
    let ask = params.ask()?;
    // An operator who looks is none of those whom the call's story is about.
    let once = Patience { tells: Tells::Nothing, ..Patience::default() };
    let read = handoffs.read(&caller.0, &ask, once, || Ok(None::<()>)).await?;
    let body = view::shown(read.handoff, edge.clock.now()).await?;
    Ok(HttpResponse::Ok().content_type("application/json").body(body))
}

/// `GET /console/hour`: the last hour of this server.
pub(in crate::http) async fn hour(
    params: Params,
    edge: Data<Edge>,
) -> Result<HttpResponse, ApiError> {
    params.only(&["account_id"])?;
    let (now, hour) = (edge.clock.now(), &edge.metrics.hour);
    Ok(HttpResponse::Ok().json(json!({
        "now": now,
        "since": hour.since(now),
        "minutes": hour.minutes(now),
    })))
}
