//! [`Acceptance`]: whether who took a call saw its context, and how long before or after.
//!
//! It is told from the events alone, whatever order they came in. `TaskRouter`'s word on when a call was
//! taken counts before a plugin's. Where nobody has said so it is unknown, and never in time.

use std::time::Duration;

use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;
use crate::domain::timeline::Event;
use crate::domain::timeline::Receipt;
use crate::domain::timeline::What;
use crate::domain::timeline::Worker;

/// How late context may be and still count as there when the conversation began.
pub const SOON: Duration = Duration::from_secs(2);
/// How long an outcome must stand before it is counted: what was told later may have happened before.
pub const GRACE: Duration = Duration::from_secs(30);
/// After how long without a word of the other it is settled that there was none.
pub const LONGEST: Duration = Duration::from_secs(15 * 60);

/// `TaskRouter`'s words after which there is no conversation any more.
pub const OVER: [&str; 4] = ["task.completed", "task.canceled", "task.wrapup", "task.deleted"];

/// A call that was taken, or a context that was seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Acceptance {
    /// Who took it.
    #[serde(flatten)]
    pub worker: Worker,
    /// The task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_sid: Option<String>,
    /// When it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
    /// When the context was seen first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendered_at: Option<Timestamp>,
    /// Seconds from the one to the other; below zero: it was seen before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lead_seconds: Option<f64>,
    /// What that comes to.
    pub outcome: Outcome,
    /// The connector that the call came through, if it is known.
    #[serde(skip)]
    pub connector: Option<ConnectorId>,
    /// From when on the outcome counts.
    #[serde(skip)]
    pub settles_at: Timestamp,
}

/// Whether context came in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was seen before the call was taken.
    Before,
    /// At most [`SOON`] after.
    #[serde(rename = "within_2s")]
    Soon,
    /// Later.
    Late,
    /// Never: whoever took the call was connected blind.
    Never,
    /// It was seen; whether the call was taken nobody has said.
    Unknown,
    /// The call is taken; it is not over, and the context not seen.
    Open,
}

impl Outcome {
    /// The word as it stands in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Soon => "within_2s",
            Self::Late => "late",
            Self::Never => "never",
            Self::Unknown => "unknown",
            Self::Open => "open",
        }
    }
}

impl Acceptance {
    /// Whether it may be the one of this name: what one of them does not say may be anything.
    pub fn may_be(&self, name: &str) -> bool {
        let (worker, task) = name.split_once('|').unwrap_or_default();
        let agree = |own: &Option<String>, named: &str| {
            named.is_empty() || own.as_ref().is_none_or(|own| own == named)
        };
        agree(&self.worker.worker_sid, worker) && agree(&self.task_sid, task)
    }

    /// What it is called: of one worker and one task there is one.
    pub fn name(&self) -> String {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{}|{}", text(&self.worker.worker_sid), text(&self.task_sid))
    }
}

/// Something that a worker did for a task, first then.
#[derive(Clone, Debug)]
struct Did {
    worker: Worker,
    task_sid: Option<String>,
    connector: Option<ConnectorId>,
    at: Timestamp,
}

impl Did {
    /// Whether it may have been the same worker and the same task; what nobody said may be anything.
    fn may_be_of(&self, other: &Self) -> bool {
        let agree = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        agree(&self.worker.worker_sid, &other.worker.worker_sid)
            && agree(&self.task_sid, &other.task_sid)
    }

    fn is_of(&self, other: &Self) -> bool {
        self.worker.worker_sid == other.worker.worker_sid && self.task_sid == other.task_sid
    }
}

/// Every acceptance that `events` tell of, as they stand at `now`.
pub fn acceptances(events: &[Event], now: Timestamp) -> Vec<Acceptance> {
    let mut accepted = Vec::new();
    events.iter().filter_map(by_taskrouter).for_each(|did| first(&mut accepted, did));
    let mut said = Vec::new();
    let receipts = |receipt| events.iter().filter_map(move |event| by_receipt(event, receipt));
    receipts(Receipt::Accepted).for_each(|did| first(&mut said, did));
    for did in said {
        if !accepted.iter().any(|known| known.may_be_of(&did)) {
            accepted.push(did);
        }
    }
    let mut rendered = Vec::new();
    receipts(Receipt::Rendered).for_each(|did| first(&mut rendered, did));
    let is_seen = |did: &Did| accepted.iter().any(|known| known.may_be_of(did));
    let unknown = rendered.iter().filter(|did| !is_seen(did)).map(unknown);
    let taken = accepted.iter().map(|did| {
        let seen = rendered.iter().filter(|seen| seen.may_be_of(did)).map(|seen| seen.at).min();
        taken(did, seen, over(events, did), now)
    });
    let mut all: Vec<_> = taken.chain(unknown).collect();
    all.sort_by_key(|one| (one.accepted_at.or(one.rendered_at), one.name()));
    all
}

/// Keeps of what is the same the earliest.
fn first(all: &mut Vec<Did>, did: Did) {
    match all.iter_mut().find(|known| known.is_of(&did)) {
        Some(known) if did.at < known.at => *known = did,
        Some(_) => {}
        None => all.push(did),
    }
}

fn by_taskrouter(event: &Event) -> Option<Did> {
    let What::Taskrouter { kind, task_sid, worker, connector_id, .. } = &event.what else {
        return None;
    };
    (kind == "reservation.accepted").then(|| Did {
        worker: worker.clone(),
        task_sid: Some(task_sid.clone()),
        connector: Some(connector_id.clone()),
        at: event.at,
    })
}

fn by_receipt(event: &Event, wanted: Receipt) -> Option<Did> {
    let What::Receipt { receipt, worker, task_sid, .. } = &event.what else { return None };
    (*receipt == wanted).then(|| Did {
        worker: worker.clone(),
        task_sid: task_sid.clone(),
        connector: None,
        at: event.at,
    })
}

/// When the conversation was over, if it is.
fn over(events: &[Event], did: &Did) -> Option<Timestamp> {
    let ends = |event: &&Event| {
        if let What::Taskrouter { kind, task_sid, .. } = &event.what {
            let is_its = did.task_sid.as_ref().is_none_or(|own| own == task_sid);
            return is_its && OVER.contains(&kind.as_str());
        }
        matches!(event.what, What::CallStatus { .. })
    };
    events.iter().filter(ends).map(|event| event.at).filter(|at| *at >= did.at).min()
}

fn taken(
    did: &Did,
    seen: Option<Timestamp>,
    over: Option<Timestamp>,
    now: Timestamp,
) -> Acceptance {
    let latest = did.at.plus(LONGEST);
    let (outcome, settles_at) = match (seen, over) {
        (Some(seen), _) if seen <= did.at => (Outcome::Before, did.at.plus(GRACE)),
        (Some(seen), _) if seen <= did.at.plus(SOON) => (Outcome::Soon, seen.plus(GRACE)),
        (Some(seen), _) => (Outcome::Late, seen.plus(GRACE)),
        (None, Some(over)) => (Outcome::Never, over.plus(GRACE).min(latest)),
        (None, None) if now >= latest => (Outcome::Never, latest),
        (None, None) => (Outcome::Open, latest),
    };
    Acceptance {
        lead_seconds: seen.map(|seen| seconds(did.at, seen)),
        accepted_at: Some(did.at),
        rendered_at: seen,
        outcome,
        settles_at,
        ..of(did)
    }
}

fn unknown(did: &Did) -> Acceptance {
    Acceptance {
        rendered_at: Some(did.at),
        outcome: Outcome::Unknown,
        settles_at: did.at.plus(LONGEST),
        ..of(did)
    }
}

fn of(did: &Did) -> Acceptance {
    Acceptance {
        worker: did.worker.clone(),
        task_sid: did.task_sid.clone(),
        accepted_at: None,
        rendered_at: None,
        lead_seconds: None,
        outcome: Outcome::Open,
        connector: did.connector.clone(),
        settles_at: Timestamp::NEVER,
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    if to >= from { to.until(from).as_secs_f64() } else { -from.until(to).as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::timeline::By;
    use crate::domain::timeline::Door;

    fn worker(sid: &str) -> Worker {
        Worker { worker_sid: (!sid.is_empty()).then(|| sid.to_owned()), worker: None }
    }

    fn event(second: u64, what: What) -> Event {
        Event {
            at: Timestamp::from_micros(second * 1_000_000),
            project: None,
            client_env: None,
            what,
        }
    }

    fn router(second: u64, kind: &str, task: &str, by: &str) -> Event {
        let connector_id = "conn_00000000000000000001".parse().unwrap();
        let (kind, task_sid, worker) = (kind.to_owned(), task.to_owned(), worker(by));
        let reservation_sid = None;
        event(second, What::Taskrouter { kind, task_sid, reservation_sid, worker, connector_id })
    }

    fn receipt(second: u64, receipt: Receipt, task: &str, by: &str) -> Event {
        let worker = worker(by);
        let task_sid = (!task.is_empty()).then(|| task.to_owned());
        let by = By { door: Door::FlexUser, by: by.to_owned() };
        event(second, What::Receipt { receipt, by, worker, task_sid })
    }

    fn told(events: &[Event], now: u64) -> Vec<(String, &'static str, Option<f64>)> {
        let all = acceptances(events, Timestamp::from_micros(now * 1_000_000));
        all.iter().map(|one| (one.name(), one.outcome.as_str(), one.lead_seconds)).collect()
    }

    #[test]
    fn it_is_before_soon_late_or_never() {
        let accepted = router(100, "reservation.accepted", "WT1", "WK1");
        let seen = |second| receipt(second, Receipt::Rendered, "WT1", "WK1");
        let name = || "WK1|WT1".to_owned();
        for (second, outcome, lead) in [
            (90, "before", -10.0),
            (100, "before", 0.0),
            (102, "within_2s", 2.0),
            (103, "late", 3.0),
        ] {
            let expected = vec![(name(), outcome, Some(lead))];
            assert_eq!(told(&[accepted.clone(), seen(second)], 110), expected);
            assert_eq!(told(&[seen(second), accepted.clone(), seen(second + 50)], 110), expected);
        }
        let open = [accepted.clone()];
        assert_eq!(told(&open, 110), [(name(), "open", None)]);
        assert_eq!(told(&open, 1000), [(name(), "never", None)]);
        let over = [accepted, router(105, "task.completed", "WT1", "")];
        assert_eq!(told(&over, 110), [(name(), "never", None)]);
    }

    #[test]
    fn who_else_sees_it_is_not_whoever_took_the_call() {
        let events = [
            router(100, "reservation.accepted", "WT1", "WK1"),
            receipt(90, Receipt::Rendered, "WT1", "WK2"),
        ];
        let never = ("WK1|WT1".to_owned(), "never", None);
        assert_eq!(told(&events, 2000), [("WK2|WT1".to_owned(), "unknown", None), never]);
    }

    #[test]
    fn taskrouters_word_counts_before_the_plugins_and_either_is_enough() {
        let seen = receipt(101, Receipt::Rendered, "", "WK1");
        let said = receipt(104, Receipt::Accepted, "WT1", "WK1");
        let alone = [seen.clone(), said.clone()];
        assert_eq!(told(&alone, 110), [("WK1|WT1".to_owned(), "before", Some(-3.0))]);
        let both = [said, router(100, "reservation.accepted", "WT1", "WK1"), seen];
        assert_eq!(told(&both, 110), [("WK1|WT1".to_owned(), "within_2s", Some(1.0))]);
    }

    #[test]
    fn whether_a_call_was_taken_that_nobody_told_of_is_unknown() {
        let seen = [receipt(100, Receipt::Rendered, "WT1", "WK1")];
        let all = acceptances(&seen, Timestamp::from_micros(0));
        assert_eq!((all[0].outcome, all[0].settles_at), {
            (Outcome::Unknown, Timestamp::from_micros(1000 * 1_000_000))
        });
    }

    #[test]
    fn every_order_tells_the_same() {
        let events = [
            router(100, "reservation.accepted", "WT1", "WK1"),
            router(130, "reservation.accepted", "WT1", "WK2"),
            receipt(99, Receipt::Rendered, "WT1", "WK1"),
            receipt(135, Receipt::Rendered, "", "WK2"),
            receipt(101, Receipt::Accepted, "WT1", "WK1"),
            router(200, "task.completed", "WT1", ""),
        ];
        let expected = told(&events, 300);
        assert_eq!(expected.len(), 2);
        for turn in 0..events.len() {
            let mut turned = events.to_vec();
            turned.rotate_left(turn);
            turned.extend(turned.clone());
            assert_eq!(told(&turned, 300), expected);
            turned.reverse();
            assert_eq!(told(&turned, 300), expected);
        }
    }
}
