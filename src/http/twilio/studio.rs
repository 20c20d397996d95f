//! `/twilio/studio/handoff`: the handoff of a call, as a Studio flow can use it. A flow can split on
//! an answer and on nothing else, so a miss is an answer, and so is a store that fails or hangs.

use std::pin::pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Data;

use crate::domain::connector::Connector;
use crate::domain::handoff_id::HandoffId;
use crate::http::edge;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::Caller;
use crate::http::extract::invalid;
use crate::http::extract::wrong_id;
use crate::http::handoff_state;
use crate::http::handoff_state::MAX_WAIT;
use crate::http::handoff_state::Options;
use crate::http::request::RequestState;
use crate::service::error::ConnectorError;
use crate::service::error::Miss;
use crate::service::error::Missing;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::Read;
use crate::store::connector::StoredConnector;
use crate::telemetry::metrics::Code as Label;
use crate::twilio::attributes;
use crate::twilio::form::Pairs;
use crate::twilio::studio;
use crate::twilio::studio::Asked;
use crate::twilio::studio::Found;

/// `GET`, `POST`: 200 whatever there is, in one shape.
pub(in crate::http) async fn handoff(
    caller: Caller,
    request: HttpRequest,
    handoffs: Data<Handoffs>,
) -> Result<HttpResponse, ApiError> {
    let parts = request.app_data::<Data<Edge>>().zip(RequestState::of(&request));
    let (edge, state) = parts.ok_or_else(edge::misassembled)?;
    let pairs = state.parameters.get().ok_or_else(edge::misassembled)?;
    let connector = connector(&caller, &request, &state)?;
    let through = connector.as_ref().map(|found| &found.record);
    let ask = ask(pairs, through)?;
    let after = after(pairs)?;
    let min_revision = after.map(|after| after.saturating_add(1));
    let options =
        Options { wait: wait(&caller, pairs)?, min_revision, is_of_visit: true, ..PATIENT };
    let (By::Id(id) | By::SharedId(id)) = &ask.by;
    // Set once: a request is about one handoff.
    let _ = state.subject.set(id.clone());
    let (id, shared_id) = match &ask.by {
        By::Id(id) => (id.as_str(), ""),
        By::SharedId(id) => ("", id.as_str()),
    };
    let asked = Asked {
        id,
        shared_id,
        connector_id: through.map_or("", |connector| connector.id.as_str()),
        client_env: through.map_or("", |connector| connector.client_env.as_str()),
        public_url: edge.twilio.public_url(),
        leg: text(pairs, "leg")?.and_then(|leg| leg.parse().ok()).unwrap_or_default(),
        from: text(pairs, "From")?.unwrap_or_default(),
        destinations: through.map(|connector| &connector.settings.destinations),
        expose: through.and_then(|connector| connector.settings.studio.expose.as_ref()),
    };
    let work = pin!(handoff_state::find(&caller, &ask, options, &request, &handoffs));
    // The edge's own deadline, a moment before the edge: its answer would be one a flow cannot read.
    let found = edge::within(&state, work).await;
    let found = found.unwrap_or_else(|_late| Err(edge::deadline_exceeded()));
    // One of an earlier visit is none of this one's.
    let is_older = |read: &Read| after.is_some_and(|after| read.handoff.revision <= after);
    let answer = match &found {
        Ok(Ok(read)) if is_older(read) => {
            studio::answer(&asked, nothing(&Miss::of(Missing::NeverWritten)))
        }
        Ok(Ok(read)) => {
            let packed = studio::answer(&asked, Found::Handoff(&read.handoff));
            if !packed.left_out.is_empty() {
                let (heading, expires_at) = (&read.handoff.heading, read.handoff.expires_at);
                edge.timelines.packed(heading, expires_at, &kinds(&packed.left_out));
            }
            packed
        }
        Ok(Err(miss)) => studio::answer(&asked, nothing(miss)),
        Err(refused) if refused.code.status().is_server_error() => {
            let cause = refused.cause().unwrap_or_default();
            let correlation_id = &state.correlation_id;
            tracing::error!(correlation_id, cause, "a flow was told {}: {cause}", refused.code);
            edge.metrics.refused.get_or_create(&Label { code: refused.code.as_str() }).inc();
            let (status, error) = (studio::Miss::Error, refused.code.as_str());
            studio::answer(&asked, Found::Nothing { status, error })
        }
        Err(refused) => return Err(refused.clone()),
    };
    // Bare: whether Studio parses `application/json; charset=…` is nowhere written.
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .body(answer.answer))
}

/// A flow is never refused because too many wait; it is then told what there is.
const PATIENT: Options = Options {
    wait: Duration::ZERO,
    waits_by_default: true,
    min_revision: None,
    is_of_visit: false,
    miss_200: true,
};

fn nothing_named() -> ApiError {
    ApiError::new(
        Code::MissingId,
        "Parameter `id` is missing. In the widget's HTTP parameters, give `id` = {{trigger.call.CallSid}}",
    )
}

/// The connector that is asked through, if one is. Another's is as if it were not there.
pub(super) fn connector(
    caller: &Caller,
    request: &HttpRequest,
    state: &RequestState,
) -> Result<Option<Arc<StoredConnector>>, ApiError> {
    if request.match_info().get("connector_id").is_none() {
        return Ok(None);
    }
    let is_in_reach = |found: &&Arc<StoredConnector>| {
        let Connector { account, project, .. } = &found.record;
        caller.0.account(Some(account)).is_some() && caller.0.projects.include(project)
    };
    let found = state.connector.get().filter(is_in_reach);
    Ok(Some(found.cloned().ok_or(ConnectorError::NotFound)?))
}

fn ask(pairs: &Pairs, connector: Option<&Connector>) -> Result<Ask, ApiError> {
    let id = |name: &str| -> Result<Option<HandoffId>, ApiError> {
        text(pairs, name)?.map(|text| text.parse().map_err(|why| wrong_id(name, why))).transpose()
    };
    // Twilio's own name last: it is what a flow has at hand, and what its webhooks carry anyway.
    let by = match id("shared_id")? {
        Some(shared_id) => By::SharedId(shared_id),
        None => match id("id")? {
            Some(id) => By::Id(id),
            None => By::Id(id("CallSid")?.ok_or_else(nothing_named)?),
        },
    };
    Ok(Ask {
        account: of_connector(pairs, "account_id", connector.map(|its| &its.account))?,
        project: of_connector(pairs, "project_id", connector.map(|its| &its.project))?,
        client_env: of_connector(pairs, "client_env", connector.map(|its| &its.client_env))?,
        by,
    })
}

/// What a flow names must be its connector's, where it asks through one.
fn of_connector<T>(pairs: &Pairs, name: &str, own: Option<&T>) -> Result<Option<T>, ApiError>
where
    T: FromStr + PartialEq + Clone,
    T::Err: std::fmt::Display,
{
    let named = text(pairs, name)?;
    let named =
        named.map(|text| text.parse::<T>().map_err(|why| invalid(name, why))).transpose()?;
    match (named, own) {
        (Some(named), Some(own)) if named != *own => {
            Err(invalid(name, "is not that of the connector in the path"))
        }
        (named, own) => Ok(named.or_else(|| own.cloned())),
    }
}

/// As long as the flow says, or else its key, or else three seconds; never longer than Studio waits.
fn wait(caller: &Caller, pairs: &Pairs) -> Result<Duration, ApiError> {
    let seconds = match (text(pairs, "wait")?, caller.0.read_defaults.wait) {
        (None, 0) => studio::WAIT_SECONDS,
        (None, of_key) => of_key,
        (Some(text), _) if text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().unwrap_or(MAX_WAIT)
        }
        (Some(_), _) => return Err(invalid("wait", "must be a whole number of seconds")),
    };
    Ok(Duration::from_secs(seconds.min(MAX_WAIT).into()))
}

/// The revision that was there when the call was sent to its agent.
fn after(pairs: &Pairs) -> Result<Option<u64>, ApiError> {
    let whole = |_| invalid("after", "must be a revision: a whole number");
    text(pairs, "after")?.map(|text| text.parse().map_err(whole)).transpose()
}

/// A parameter that is not empty: Studio renders what it does not know as nothing.
fn text<'p>(pairs: &'p Pairs, name: &str) -> Result<Option<&'p str>, ApiError> {
    let text = pairs.one(name).map_err(|unclear| invalid(name, unclear))?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// What was left out, without the names of what an agent wrote: a name may be what it stands for.
fn kinds(left_out: &str) -> String {
    let is_ours = |name: &&str| attributes::PARTS.contains(name);
    let ours = left_out.split(',').filter(is_ours);
    let data = left_out.split(',').any(|name| !is_ours(&name)).then_some("data");
    ours.chain(data).collect::<Vec<_>>().join(",")
}

fn nothing(miss: &Miss) -> Found<'static> {
    let status = match miss.why {
        Missing::Expired => studio::Miss::Expired,
        Missing::NeverWritten
        | Missing::Erased
        | Missing::InOtherProject
        | Missing::InOtherEnvironment => studio::Miss::Missing,
    };
    Found::Nothing { status, error: ApiError::from(miss.clone()).code.as_str() }
}
