//! [`TaskEvent`]: what `TaskRouter` tells of tasks and reservations: by a workspace's Event Callback, a
//! form, or by Event Streams, a JSON array of `CloudEvents`; at least once, in any order.
//!
//! Sources: Twilio's pages "Event Callbacks", "Event Delivery and Duplication" and the `TaskRouter` types of
//! Event Streams. In both, attributes are JSON as a text.

use serde_json::Map;
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;
use crate::domain::handoff_id::HandoffId;
use crate::domain::members;
use crate::domain::timeline::Worker;
use crate::domain::timeline::lead::OVER;
use crate::twilio::form::Pairs;

// What is of interest: of tasks, also their transfers.
const RESERVATION: [&str; 6] =
    ["created", "accepted", "rejected", "timeout", "canceled", "rescinded"];
const TASK: [&str; 5] = ["created", "canceled", "completed", "wrapup", "deleted"];
const TRANSFER: &str = "transfer-";
const STREAMED: &str = "com.twilio.taskrouter.";
const MAX_NAME_CHARACTERS: usize = 200;
// Events of one batch; Twilio's own are far fewer.
const MAX_EVENTS: usize = 1000;

/// Something that became of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEvent {
    /// What, in Twilio's words: `reservation.accepted`.
    pub kind: String,
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub account_sid: String,
    /// The workspace.
    pub workspace_sid: String,
    /// The task.
    pub task_sid: String,
    /// The reservation, if it is about one.
    pub reservation_sid: Option<String>,
    /// Whose that is.
    pub worker: Worker,
    /// What they say of the handoff.
    pub about: Ties,
}

/// What ties a task to a handoff.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// What the handoff may be known by: its own id first.
    pub ids: Vec<HandoffId>,
    /// The connector that the call came through.
    pub connector_id: Option<ConnectorId>,
    /// Which visit of the call it is of; 0 where none is named.
    pub leg: u32,
    /// They say that the call came through Baton.
    pub is_ours: bool,
}

/// A body that is no list of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a JSON array of CloudEvents, or more than {MAX_EVENTS}")]
pub struct NotEvents;

impl TaskEvent {
    /// Whether the task can be taken, or talked about, no more.
    pub fn ends(&self) -> bool {
        OVER.contains(&self.kind.as_str())
    }

    /// Whether somebody has taken the call.
    pub fn is_acceptance(&self) -> bool {
        self.kind == "reservation.accepted"
    }

    /// Reads a form; `None`: it tells of nothing that is of interest.
    pub fn of_form(form: &Pairs) -> Option<Self> {
        let text = |name: &str| form.one(name).ok().flatten().unwrap_or_default();
        let micros = |name, factor: u64| {
            let number: Option<u64> = text(name).parse().ok();
            number.and_then(|number| number.checked_mul(factor)).map(Timestamp::from_micros)
        };
        let at = micros("TimestampMs", 1000).or_else(|| micros("Timestamp", 1_000_000))?;
        Self::of(at, |name| match name {
            "eventtype" => text("EventType").to_owned(),
            "account_sid" => text("AccountSid").to_owned(),
            "workspace_sid" => text("WorkspaceSid").to_owned(),
            "task_sid" => text("TaskSid").to_owned(),
            "task_attributes" => text("TaskAttributes").to_owned(),
            "reservation_sid" => text("ReservationSid").to_owned(),
            "worker_sid" => text("WorkerSid").to_owned(),
            "worker_name" => text("WorkerName").to_owned(),
            _ => String::new(),
        })
    }

    /// Reads a batch of Event Streams; leaves out what is of no interest.
    pub fn of_batch(body: &[u8]) -> Result<Vec<Self>, NotEvents> {
        // serde_json's message could quote the body.
        let events: Vec<&RawValue> = serde_json::from_slice(body).map_err(|_quoting| NotEvents)?;
        if events.len() > MAX_EVENTS {
            return Err(NotEvents);
        }
        // One that cannot be read is none; the others are not lost with it.
        let read = |event: &&RawValue| serde_json::from_str::<Map<String, Value>>(event.get()).ok();
        Ok(events
            .iter()
            .filter_map(read)
            .filter_map(|event| Self::of_cloud_event(&event))
            .collect())
    }

    fn of_cloud_event(event: &Map<String, Value>) -> Option<Self> {
        let kind = event.get("type")?.as_str()?.strip_prefix(STREAMED)?;
        let data = object(event.get("data")?)?;
        let payload = object(data.get("payload")?)?;
        let at = payload
            .get("timestamp")
            .and_then(moment)
            .or_else(|| event.get("time").and_then(moment))?;
        Self::of(at, |name| match (name, payload.get(name)) {
            // The examples of Twilio's own pages disagree with themselves; the type is what they go by.
            ("eventtype", _) => kind.to_owned(),
            (_, Some(Value::String(text))) => text.clone(),
            (_, Some(object @ Value::Object(_))) => object.to_string(),
            (_, Some(_) | None) => String::new(),
        })
    }

    fn of(at: Timestamp, text: impl Fn(&str) -> String) -> Option<Self> {
        let kind = text("eventtype");
        if !is_of_interest(&kind) {
            return None;
        }
        let sid = |name, prefix| Some(text(name)).filter(|sid| is_sid(sid, prefix));
        let attributes = text("task_attributes");
        let name: String = text("worker_name").chars().take(MAX_NAME_CHARACTERS).collect();
        let is_reservation = kind.starts_with("reservation.");
        Some(Self {
            at,
            account_sid: sid("account_sid", "AC")?,
            workspace_sid: sid("workspace_sid", "WS")?,
            task_sid: sid("task_sid", "WT")?,
            reservation_sid: sid("reservation_sid", "WR").filter(|_| is_reservation),
            worker: Worker {
                worker_sid: sid("worker_sid", "WK"),
                worker: Some(name).filter(|name| !name.is_empty()),
            },
            about: Ties::of(&attributes),
            kind,
        })
    }
}

impl Ties {
    fn of(attributes: &str) -> Self {
        // Member by member: what others have written there need not be readable.
        let Ok(all) = members::members(attributes) else { return Self::default() };
        let read = |member: members::Member<'_>| {
            Some((member.name, serde_json::from_str::<Value>(member.value.get()).ok()?))
        };
        let members: Map<String, Value> = all.into_iter().filter_map(read).collect();
        let nested = |path: &[&str]| {
            let (first, rest) = path.split_first()?;
            rest.iter().try_fold(members.get(*first)?, |value, name| value.get(name))?.as_str()
        };
        let ids = [
            nested(&["handoff_id"]),
            nested(&["call_sid"]),
            // Of an outbound task, which has no call's SID of its own.
            nested(&["conference", "participants", "customer"]),
        ];
        let mut known: Vec<HandoffId> = Vec::new();
        for id in ids.into_iter().flatten().filter_map(|id| id.parse().ok()) {
            if !known.contains(&id) {
                known.push(id);
            }
        }
        let leg = members.get("handoff_leg").and_then(Value::as_u64);
        let connector_id = nested(&["baton", "connector_id"]).and_then(|id| id.parse().ok());
        Self {
            ids: known,
            is_ours: connector_id.is_some()
                || nested(&["handoff_id"]).is_some_and(|id| id.parse::<HandoffId>().is_ok()),
            connector_id,
            leg: leg.and_then(|leg| u32::try_from(leg).ok()).unwrap_or_default(),
        }
    }
}

/// An object, or one that is kept as a text.
fn object(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(members) => Some(members.clone()),
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

/// RFC 3339, or milliseconds since the epoch.
fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::parse(text),
        Value::Number(number) => {
            number.as_u64().and_then(|ms| ms.checked_mul(1000)).map(Timestamp::from_micros)
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_of_interest(kind: &str) -> bool {
    match kind.split_once('.') {
        Some(("reservation", what)) => RESERVATION.contains(&what),
        Some(("task", what)) => {
            let is_word =
                what.len() < 40 && what.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            TASK.contains(&what) || (what.starts_with(TRANSFER) && is_word)
        }
        _ => false,
    }
}

/// Whether a text is a SID: two letters and 32 hex digits.
pub fn is_sid(text: &str, prefix: &str) -> bool {
    let hex = text.strip_prefix(prefix).unwrap_or_default();
    hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef";

    fn attributes() -> String {
        format!(
            r#"{{"handoff_id":"conv-1","call_sid":"CA{HEX}","handoff_leg":2,"baton":{{"connector_id":"conn_00000000000000000001"}},"conference":{{"participants":{{"customer":"CA{HEX}"}}}}}}"#
        )
    }

    #[test]
    fn a_form_and_a_cloud_event_tell_the_same() {
        let attributes = attributes();
        let pairs = [
            ("EventType", "reservation.accepted".to_owned()),
            ("AccountSid", format!("AC{HEX}")),
            ("WorkspaceSid", format!("WS{HEX}")),
            ("TaskSid", format!("WT{HEX}")),
            ("ReservationSid", format!("WR{HEX}")),
            ("WorkerSid", format!("WK{HEX}")),
            ("WorkerName", "ada".to_owned()),
            ("TimestampMs", "1795366962433".to_owned()),
            ("Timestamp", "1795366962".to_owned()),
            ("TaskAttributes", attributes.clone()),
        ];
        let encoded = |(name, value): &(&str, String)| {
            let value =
                percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            format!("{name}={value}")
        };
        let form = pairs.iter().map(encoded).collect::<Vec<_>>().join("&");
        let by_form = TaskEvent::of_form(&Pairs::decode(form.as_bytes())).unwrap();
        let payload = serde_json::json!({
            "eventtype": "reservation.created",
            "account_sid": format!("AC{HEX}"), "workspace_sid": format!("WS{HEX}"),
            "task_sid": format!("WT{HEX}"), "reservation_sid": format!("WR{HEX}"),
            "worker_sid": format!("WK{HEX}"), "worker_name": "ada",
            "timestamp": "2026-11-22T17:02:42.433Z", "task_attributes": attributes, "task_age": 3,
        });
        let event = |payload: Value| {
            serde_json::json!([
                {"specversion": "1.0", "type": "com.twilio.taskrouter.reservation.accepted", "data": {"payload": payload}},
                {"type": "com.twilio.taskrouter.worker.activity.update", "data": {"payload": {}}},
                {"type": "com.twilio.eventstreams.test-event", "data": {"test_id": "x"}},
                {"type": 7u8.to_string()},
            ])
        };
        let streamed = TaskEvent::of_batch(event(payload.clone()).to_string().as_bytes()).unwrap();
        assert_eq!(streamed, std::slice::from_ref(&by_form));
        // Some destinations get the payload as a text.
        let as_text = event(Value::String(payload.to_string())).to_string();
        assert_eq!(TaskEvent::of_batch(as_text.as_bytes()).unwrap(), streamed);
        let ids: Vec<_> = by_form.about.ids.iter().map(HandoffId::as_str).collect();
        assert_eq!((ids.as_slice(), by_form.about.leg), (&["conv-1", &*format!("CA{HEX}")][..], 2));
        assert!(by_form.is_acceptance() && !by_form.ends());
    }

    #[test]
    fn what_is_no_event_is_none() {
        for body in ["", "{}", "7", "null"] {
            assert!(TaskEvent::of_batch(body.as_bytes()).is_err(), "{body}");
        }
        for body in ["[]", "[7]", "[[]]", r#"[{"type":"a\ud83d"}]"#] {
            assert_eq!(TaskEvent::of_batch(body.as_bytes()), Ok(Vec::new()), "{body}");
        }
        let broken = Ties::of(r#"{"notes":"a\ud83d","n":1e400,"call_sid":"CA1"}"#);
        assert_eq!(broken.ids, ["CA1".parse().unwrap()]);
        for kind in
            ["reservation.completed", "task.updated", "task.transfer-A", "worker.created", ""]
        {
            assert!(!is_of_interest(kind), "{kind}");
        }
        for kind in ["task.transfer-initiated", "task.created", "reservation.timeout"] {
            assert!(is_of_interest(kind), "{kind}");
        }
        assert_eq!(Ties::of("not json"), Ties::default());
        assert_eq!(Ties::of(r#"{"handoff_id":"undefined","call_sid":7}"#), Ties::default());
    }
}
