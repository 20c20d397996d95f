//! [`Story`]: what is known of a handoff, in order, each thing once.

use crate::domain::clock::Timestamp;
use crate::domain::handoff_id::HandoffId;
use crate::domain::timeline::Action;
use crate::domain::timeline::By;
use crate::domain::timeline::Event;
use crate::domain::timeline::Times;
use crate::domain::timeline::What;
use crate::domain::timeline::lead::Acceptance;
use crate::store::kv::Gone;

/// What is known of a handoff.
#[derive(Clone, Debug)]
pub struct Story {
    /// Its own id, or the one that was asked for where it is not there.
    pub id: HandoffId,
    /// Whether it is there.
    pub state: State,
    /// What happened, oldest first.
    pub events: Vec<Event>,
    /// How much more did.
    pub left_out: u32,
    /// Who took the call, and whether they saw it.
    pub acceptances: Vec<Acceptance>,
}

/// Whether a handoff is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Live,
    /// Its time was over.
    Expired,
    /// It was erased.
    Erased,
    /// It was never written, as far as anybody remembers.
    Missing,
}

impl From<Gone> for State {
    fn from(how: Gone) -> Self {
        match how {
            Gone::Erased => Self::Erased,
            Gone::Expired => Self::Expired,
        }
    }
}

impl State {
    /// The word as it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired",
            Self::Erased => "erased",
            Self::Missing => "missing",
        }
    }
}

/// Events in order, each once. What was counted in parts is added up: parts that began at one moment are the
/// same, written twice.
pub(in crate::service) fn in_order(events: Vec<Event>, state: State) -> Vec<Event> {
    let mut told: Vec<Event> = Vec::with_capacity(events.len());
    let mut parts: Vec<(Part, Times, Event)> = Vec::new();
    for event in events {
        if let Some((own, times)) = part(&event.what) {
            let same = |(known, _, other): &&mut (Part, Times, Event)| {
                *known == own && other.at == event.at
            };
            match parts.iter_mut().find(same) {
                Some(known) if known.1.count < times.count => *known = (own, times, event),
                Some(_) => {}
                None => parts.push((own, times, event)),
            }
        } else if !matches!(event.what, What::Counted { .. }) {
            once(&mut told, event);
        }
    }
    for (own, _, event) in parts {
        let same = |known: &&mut Event| part(&known.what).is_some_and(|(known, _)| known == own);
        match told.iter_mut().find(same) {
            Some(known) => add(known, &event),
            None => told.push(event),
        }
    }
    if state == State::Expired {
        told.extend(expired(&told));
    }
    told.sort_by_cached_key(place);
    told
}

/// Where an event stands: of one moment, in the order in which things happen, whatever was told first.
fn place(event: &Event) -> (Timestamp, u8, u64, String) {
    const BEGINNINGS: [&str; 2] = ["task.created", "reservation.created"];
    let (rank, revision) = match &event.what {
        What::Refused { .. } | What::Missed { .. } => (0, 0),
        What::Routed { action: Action::ToAgent, .. } => (1, 0),
        What::Written { revision, .. } => (2, *revision),
        What::Renewed { .. } | What::Packed { .. } | What::Held { .. } => (3, 0),
        What::Read { .. } | What::Waited { .. } => (4, 0),
        What::Routed { .. } | What::AgentFailed { .. } => (5, 0),
        What::Taskrouter { kind, .. } if BEGINNINGS.contains(&kind.as_str()) => {
            (6, u64::from(*kind != BEGINNINGS[0]))
        }
        What::TaskUpdated { .. } | What::Receipt { .. } => (7, 0),
        What::Taskrouter { .. } => (8, 0),
        What::CallStatus { .. } | What::Counted { .. } => (9, 0),
        What::Expired | What::Erased { .. } => (10, 0),
    };
    let text = serde_json::to_string(&event.what).unwrap_or_default();
    (event.at, rank, revision, text)
}

/// What `TaskRouter` tells by two ways, or twice, is told of its earliest moment.
fn once(told: &mut Vec<Event>, event: Event) {
    let own = task_event(&event.what);
    let is_same =
        |known: &&mut Event| **known == event || (own.is_some() && task_event(&known.what) == own);
    match told.iter_mut().find(is_same) {
        Some(known) if event.at < known.at => *known = event,
        Some(_) => {}
        None => told.push(event),
    }
}

/// What tells an event of a task from others. There may be several transfers of one task.
fn task_event(what: &What) -> Option<(String, String, Option<String>)> {
    let What::Taskrouter { kind, task_sid, reservation_sid, .. } = what else { return None };
    let is_one = !kind.starts_with("task.transfer");
    is_one.then(|| (kind.clone(), task_sid.clone(), reservation_sid.clone()))
}

/// When it expired: at the end of the life that was told last.
fn expired(told: &[Event]) -> Option<Event> {
    let last = told.iter().filter_map(|event| {
        if let What::Held { until } = &event.what {
            return Some((event.at, *until));
        }
        let (What::Written { expires_at, .. } | What::Renewed { expires_at, .. }) = &event.what
        else {
            return None;
        };
        Some((event.at, *expires_at))
    });
    // Of one moment the one that was told last.
    let (_, at) = last.max_by_key(|(told_at, _)| *told_at)?;
    let (project, client_env) = (None, None);
    Some(Event { at, project, client_env, what: What::Expired })
}

/// What was counted in parts.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    kind: &'static str,
    by: Option<By>,
    of: String,
}

/// What tells what was counted from what else was, and how often it was.
fn part(what: &What) -> Option<(Part, Times)> {
    let part = |kind, by: Option<&By>, of: &str| Part { kind, by: by.cloned(), of: of.to_owned() };
    if let What::Read { by, times } = what {
        return Some((part("read", Some(by), ""), *times));
    }
    if let What::Waited { by, times, .. } = what {
        return Some((part("waited", Some(by), ""), *times));
    }
    if let What::Missed { by, reason, times, .. } = what {
        return Some((part("missed", Some(by), reason), *times));
    }
    if let What::Refused { by, reason, times } = what {
        return Some((part("refused", by.as_ref(), reason), *times));
    }
    let What::Packed { into, left_out, times } = what else { return None };
    Some((part("packed", None, &format!("{into:?} {}", left_out.join(","))), *times))
}

/// Adds what was counted elsewhere, or later.
fn add(known: &mut Event, more: &Event) {
    let Some((_, times_of_more)) = part(&more.what) else { return };
    known.at = known.at.min(more.at);
    if let (What::Waited { waited_ms: known, .. }, What::Waited { waited_ms: more, .. }) =
        (&mut known.what, &more.what)
    {
        *known = (*known).max(*more);
    }
    if let (What::Missed { waited_ms: known, .. }, What::Missed { waited_ms: more, .. }) =
        (&mut known.what, &more.what)
    {
        *known = (*known).max(*more);
    }
    if let What::Read { times, .. }
    | What::Waited { times, .. }
    | What::Missed { times, .. }
    | What::Refused { times, .. }
    | What::Packed { times, .. } = &mut known.what
    {
        times.count = times.count.saturating_add(times_of_more.count);
        times.last_at = times.last_at.max(times_of_more.last_at);
    }
}
