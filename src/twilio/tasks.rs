//! [`TaskApi`]: `TaskRouter`'s REST API, as far as a task's attributes go. They are replaced whole, so they
//! are read first, and written only if nobody else has changed the task meanwhile (`If-Match`).

use std::fmt;

use reqwest::Client;
use reqwest::Method;
use reqwest::RequestBuilder;
use reqwest::StatusCode;
use reqwest::header;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use thiserror::Error;

use crate::domain::connector::link::Link;
use crate::domain::connector::link::Region;
use crate::telemetry::outbound;
use crate::twilio::rest::Credentials;
use crate::twilio::rest::LIMIT;
use crate::twilio::rest::body;
use crate::twilio::rest::unreached;

/// Where Twilio's `TaskRouter` is, in the region that is meant where none is named.
pub const TASKROUTER_URL: &str = "https://taskrouter.twilio.com";

const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Asks `TaskRouter`.
#[derive(Clone, Debug)]
pub struct TaskApi {
    base: String,
    // None where there are no CA certificates.
    client: Option<Client>,
}

/// Which task.
#[derive(Clone, Copy, Debug)]
pub struct TaskAt<'t> {
    /// Its workspace.
    pub workspace_sid: &'t str,
    /// Itself.
    pub task_sid: &'t str,
}

/// A task.
#[derive(Clone)]
pub struct Task {
    /// A JSON object.
    pub attributes: String,
    /// `pending reserved assigned wrapping completed canceled`.
    pub assignment_status: String,
    etag: HeaderValue,
}

// It tells of a person.
impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({})", self.assignment_status)
    }
}

/// Why nothing was done.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TaskError {
    /// There is no such task any more.
    #[error("the task is gone")]
    Gone,
    /// Somebody else has changed it since it was read.
    #[error("somebody else has changed the task")]
    Changed,
    /// Twilio will not, however often it is asked.
    #[error("Twilio answered {0}")]
    Refused(StatusCode),
    /// Twilio was not reached, or has no answer now.
    #[error("{0}")]
    Later(String),
}

#[derive(Deserialize)]
struct Answer {
    sid: String,
    #[serde(default)]
    attributes: Option<String>,
    #[serde(default)]
    assignment_status: String,
}

impl TaskApi {
    /// Asks at `base`; [`TASKROUTER_URL`] stands for Twilio's own hosts, one a region.
    pub fn new(base: &str) -> Self {
        let client = outbound::client(LIMIT).map_err(|why| {
            tracing::warn!(%why, "Twilio's TaskRouter cannot be asked; are there CA certificates on this system?");
        });
        Self { base: base.trim_end_matches('/').to_owned(), client: client.ok() }
    }

    /// A task as it is now.
    pub async fn read(&self, link: &Link, at: TaskAt<'_>) -> Result<Task, TaskError> {
        let answer =
            self.request(Method::GET, link, at)?.send().await.map_err(|why| later(&why))?;
        let status = answer.status();
        // Sent back as it came: nowhere is it written whether it stands in quotation marks.
        let etag = answer.headers().get(header::ETAG).cloned();
        let body = body(answer, MAX_ANSWER_BYTES).await;
        let body = body.map_err(|why| TaskError::Later(why.to_string()))?;
        done(status)?;
        let not_its = || TaskError::Later("an answer that is not Twilio's".to_owned());
        let read: Answer = serde_json::from_slice(&body).map_err(|_quoting| not_its())?;
        if read.sid != at.task_sid {
            return Err(not_its());
        }
        Ok(Task {
            attributes: read.attributes.unwrap_or_default(),
            assignment_status: read.assignment_status,
            etag: etag.ok_or_else(not_its)?,
        })
    }

    /// Replaces the attributes of a task that was read before.
    pub async fn write(
        &self,
        link: &Link,
        at: TaskAt<'_>,
        read: &Task,
        attributes: &str,
    ) -> Result<(), TaskError> {
        let request = self.request(Method::POST, link, at)?;
        let request = request.header(header::IF_MATCH, read.etag.clone());
        let answer = request.form(&[("Attributes", attributes)]).send().await;
        done(answer.map_err(|why| later(&why))?.status())
    }

    fn request(
        &self,
        method: Method,
        link: &Link,
        at: TaskAt<'_>,
    ) -> Result<RequestBuilder, TaskError> {
        let none = || TaskError::Later("no CA certificates on this system".to_owned());
        let client = self.client.as_ref().ok_or_else(none)?;
        let by = Credentials::of(&link.account_sid, &link.secrets);
        let by = by.ok_or(TaskError::Refused(StatusCode::UNAUTHORIZED))?;
        let TaskAt { workspace_sid, task_sid } = at;
        let url =
            format!("{}/v1/Workspaces/{workspace_sid}/Tasks/{task_sid}", self.host(link.region));
        Ok(client.request(method, url).basic_auth(by.user, Some(by.password)))
    }

    /// Credentials belong to one region, and so does the host that takes them.
    fn host(&self, region: Region) -> &str {
        match region {
            Region::Ie1 if self.base == TASKROUTER_URL => {
                "https://taskrouter.dublin.ie1.twilio.com"
            }
            Region::Au1 if self.base == TASKROUTER_URL => {
                "https://taskrouter.sydney.au1.twilio.com"
            }
            Region::Us1 | Region::Ie1 | Region::Au1 => &self.base,
        }
    }
}

fn done(status: StatusCode) -> Result<(), TaskError> {
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::NOT_FOUND => Err(TaskError::Gone),
        StatusCode::PRECONDITION_FAILED => Err(TaskError::Changed),
        StatusCode::TOO_MANY_REQUESTS => Err(TaskError::Later(format!("Twilio answered {status}"))),
        other if other.is_client_error() => Err(TaskError::Refused(other)),
        other => Err(TaskError::Later(format!("Twilio answered {other}"))),
    }
}

fn later(why: &reqwest::Error) -> TaskError {
    TaskError::Later(unreached(why).to_string())
}
