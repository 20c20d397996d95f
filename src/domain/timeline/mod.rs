//! [`Event`]: what happened to a handoff, without anything that it holds.

pub mod cause;
pub mod known;
pub mod lead;
pub mod steps;
pub mod tell;

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::environment::ClientEnv;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When: of what is gathered, when it happened first.
    pub at: Timestamp,
    /// The project that it happened in, where that is known: others are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// That project's environment, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_env: Option<ClientEnv>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The call was sent somewhere.
    Routed {
        /// The visit.
        leg: u32,
        /// Where to.
        action: Action,
        /// Through which connector.
        connector_id: ConnectorId,
        /// The Studio flow that sent it, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flow_sid: Option<String>,
    },
    /// The handoff was put where it has little room.
    Packed {
        /// Where: a `task`, or the answer for `studio`.
        #[serde(rename = "for")]
        into: Target,
        /// What was shortened or left out.
        left_out: Vec<String>,
        /// How often.
        #[serde(flatten)]
        times: Times,
    },
    /// It was written.
    Written {
        /// By whom.
        #[serde(flatten)]
        by: By,
        /// The revision; the engine decides it, so it is told when the event is read.
        #[serde(default)]
        revision: u64,
        /// Bytes of `data`.
        size_bytes: u64,
        /// Nothing was there before.
        created: bool,
        /// Until when it lives.
        expires_at: Timestamp,
    },
    /// The same was written again.
    Renewed {
        /// By whom.
        #[serde(flatten)]
        by: By,
        /// Until when it lives.
        expires_at: Timestamp,
    },
    /// Its call ended: it is kept until then at least.
    Held {
        /// Until when.
        until: Timestamp,
    },
    /// It was read.
    Read {
        /// By whom.
        #[serde(flatten)]
        by: By,
        /// How often.
        #[serde(flatten)]
        times: Times,
    },
    /// A reader waited for it, and got it.
    Waited {
        /// Who.
        #[serde(flatten)]
        by: By,
        /// How often.
        #[serde(flatten)]
        times: Times,
        /// How long at most.
        waited_ms: u64,
    },
    /// It was asked for and not there.
    Missed {
        /// By whom.
        #[serde(flatten)]
        by: By,
        /// Why it was not: `never_written`, `expired`, `erased`, `in_other_project`,
        /// `in_other_environment`; `earlier_visit`: only what the call's visit before this one left.
        reason: String,
        /// How often.
        #[serde(flatten)]
        times: Times,
        /// How long it was waited for at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waited_ms: Option<u64>,
    },
    /// A request for it was refused.
    Refused {
        /// Whose, if that is known.
        #[serde(flatten)]
        by: Option<By>,
        /// The error code of the answer.
        reason: String,
        /// How often.
        #[serde(flatten)]
        times: Times,
    },
    /// A reader says what became of it.
    Receipt {
        /// What.
        receipt: Receipt,
        /// Who says so.
        #[serde(flatten)]
        by: By,
        /// The worker, as Twilio names who asked.
        #[serde(flatten)]
        worker: Worker,
        /// The task that it was for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task_sid: Option<String>,
    },
    /// Something became of its task, as `TaskRouter` tells it.
    Taskrouter {
        /// What, in Twilio's words: `reservation.accepted`.
        #[serde(rename = "type")]
        kind: String,
        /// The task.
        task_sid: String,
        /// The reservation, if it is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reservation_sid: Option<String>,
        /// Whose.
        #[serde(flatten)]
        worker: Worker,
        /// The connector that the call came through.
        connector_id: ConnectorId,
    },
    /// The call ended, or was never one.
    CallStatus {
        /// Twilio's word.
        status: String,
    },
    /// The agent was not reached, or broke off.
    AgentFailed {
        /// In which visit.
        leg: u32,
    },
    /// The task was given what was written after it was made.
    TaskUpdated {
        /// Which.
        task_sid: String,
    },
    /// Its time was over.
    Expired,
    /// It was erased.
    Erased {
        /// By whom.
        #[serde(flatten)]
        by: By,
    },
    /// An acceptance was counted; nobody is told.
    Counted {
        /// Which.
        acceptance: String,
    },
}

impl What {
    /// That a handoff was put where not all of it has room; `None` where all has. `left_out`: names,
    /// separated by commas.
    pub fn packed(into: Target, left_out: &str, at: Timestamp) -> Option<Self> {
        let names = left_out.split(',').filter(|name| !name.is_empty());
        let left_out: Vec<_> = names.map(str::to_owned).collect();
        let times = Times::once(at);
        (!left_out.is_empty()).then_some(Self::Packed { into, left_out, times })
    }
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct By {
    /// The door they came in by.
    pub door: Door,
    /// As they stand in logs.
    pub by: String,
}

/// How somebody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// With an API key.
    Key,
    /// With a Connector Token.
    ConnectorToken,
    /// With a call token.
    CallToken,
    /// With Twilio's signature.
    Twilio,
    /// With a Flex user's token.
    FlexUser,
    /// With a view link.
    ViewLink,
}

/// How often something happened that began at the event's `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// So often.
    pub count: u64,
    /// Last then.
    pub last_at: Timestamp,
}

impl Times {
    /// Once.
    pub fn once(at: Timestamp) -> Self {
        Self { count: 1, last_at: at }
    }
}

/// Where a call was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// To its agent.
    ToAgent,
    /// Into a queue of Flex.
    Enqueue,
    /// To a number or an address.
    Dial,
    /// To an address, by REFER.
    Refer,
    /// To its end.
    Hangup,
    /// Back into its Studio flow.
    Flow,
    /// To whom the connector, or the number, names for when nobody else takes it.
    Fallback,
}

/// Where a handoff was put that has little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The attributes of a task.
    Task,
    /// The answer that a Studio flow gets.
    Studio,
}

/// What a reader says became of a handoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// It was fetched for somebody.
    Fetched,
    /// Somebody sees it.
    Rendered,
    /// The worker took the call.
    Accepted,
    /// The worker says that they have read it.
    Acknowledged,
}

impl Receipt {
    /// The word as it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Rendered => "rendered",
            Self::Accepted => "accepted",
            Self::Acknowledged => "acknowledged",
        }
    }

    /// Reads it.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Fetched, Self::Rendered, Self::Accepted, Self::Acknowledged];
        all.into_iter().find(|receipt| receipt.as_str() == word)
    }
}

/// A worker of `TaskRouter`, as far as it is known.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// `WK` and 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_sid: Option<String>,
    /// Their identity in Flex, or their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

// Whoever is named there is a person.
impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Worker({})", self.worker_sid.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_back_and_have_no_member_twice() {
        let by = || By { door: Door::FlexUser, by: "WK1".to_owned() };
        let times = Times::once(Timestamp::from_micros(7));
        let worker = Worker { worker_sid: Some("WK1".to_owned()), worker: None };
        let connector_id: ConnectorId = "conn_00000000000000000001".parse().unwrap();
        let all = [
            What::Routed {
                leg: 1,
                action: Action::ToAgent,
                connector_id: connector_id.clone(),
                flow_sid: None,
            },
            What::Packed { into: Target::Task, left_out: vec!["summary".to_owned()], times },
            What::Written {
                by: by(),
                revision: 3,
                size_bytes: 2,
                created: true,
                expires_at: Timestamp::from_micros(9),
            },
            What::Missed { by: by(), reason: "expired".to_owned(), times, waited_ms: Some(1) },
            What::Refused { by: None, reason: "X".to_owned(), times },
            What::Refused { by: Some(by()), reason: "X".to_owned(), times },
            What::Receipt {
                receipt: Receipt::Rendered,
                by: by(),
                worker: worker.clone(),
                task_sid: None,
            },
            What::Taskrouter {
                kind: "task.created".to_owned(),
                task_sid: "WT1".to_owned(),
                reservation_sid: None,
                worker,
                connector_id,
            },
            What::Expired,
            What::Erased { by: by() },
        ];
        for what in all {
            let event = Event {
                at: Timestamp::from_micros(1_795_366_962_433_305),
                project: Some(ProjectId::default()),
                client_env: None,
                what,
            };
            let text = serde_json::to_string(&event).unwrap();
            assert!(text.starts_with(r#"{"at":"2026-11-22T"#), "{text}");
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "{text}");
        }
    }
}
