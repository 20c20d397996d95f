//! [`Step`]: a timeline as a picture shows it: of each kind of thing when it happened first, and how often.

use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::timeline::Action;
use crate::domain::timeline::By;
use crate::domain::timeline::Door;
use crate::domain::timeline::Event;
use crate::domain::timeline::Receipt;
use crate::domain::timeline::What;
use crate::domain::timeline::known::has_flow;
use crate::domain::timeline::lead::Acceptance;

/// One kind of thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What kind.
    pub step: Kind,
    /// When first.
    pub at: Timestamp,
    /// How often.
    pub count: u64,
    /// Who did it first; empty where that says nothing.
    pub by: &'static str,
}

/// A kind of thing that happens to a handoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The call was sent to its agent.
    Voice,
    /// The handoff was written.
    Written,
    /// Somebody asked for it, whether it was there or not.
    Asked,
    /// It was not there.
    Missed,
    /// A request for it was refused.
    Refused,
    /// Somebody got it.
    Read,
    /// Somebody took the call.
    Accepted,
    /// Somebody saw it.
    Rendered,
    /// The call, or its task, was over.
    Ended,
}

/// The picture of `events`, in order of time; who took the call is told by `acceptances`, for `TaskRouter`
/// and a plugin may both say so.
pub fn steps(events: &[Event], acceptances: &[Acceptance]) -> Vec<Step> {
    let twilio = if has_flow(events) { "studio" } else { "twilio" };
    let mut steps: Vec<Step> = Vec::new();
    for event in events {
        for (step, count, by) in kinds(&event.what).into_iter().flatten() {
            let by = by.map_or("", |by| word(by.door, twilio));
            match steps.iter_mut().find(|known| known.step == step) {
                Some(known) => {
                    if event.at < known.at {
                        (known.at, known.by) = (event.at, by);
                    }
                    known.count = known.count.saturating_add(count);
                }
                None => steps.push(Step { step, at: event.at, count, by }),
            }
        }
    }
    let taken: Vec<_> = acceptances.iter().filter_map(|one| one.accepted_at).collect();
    let count = u64::try_from(taken.len()).unwrap_or(u64::MAX);
    let step = Kind::Accepted;
    steps.extend(taken.into_iter().min().map(|at| Step { step, at, count, by: "" }));
    steps.sort_by_key(|step| (step.at, step.step));
    steps
}

type Counted<'e> = Option<(Kind, u64, Option<&'e By>)>;

/// What kinds of thing an event is, two at most.
fn kinds(what: &What) -> [Counted<'_>; 2] {
    let one = |kind, by| [Some((kind, 1, by)), None];
    match what {
        What::Routed { action: Action::ToAgent, .. } => one(Kind::Voice, None),
        What::Written { by, .. } => one(Kind::Written, Some(by)),
        // Whoever waited has read as well.
        What::Read { by, times } => {
            [Some((Kind::Asked, times.count, Some(by))), Some((Kind::Read, times.count, Some(by)))]
        }
        What::Missed { by, times, .. } => [
            Some((Kind::Asked, times.count, Some(by))),
            Some((Kind::Missed, times.count, Some(by))),
        ],
        What::Refused { by, times, .. } => [Some((Kind::Refused, times.count, by.as_ref())), None],
        What::Receipt { receipt: Receipt::Rendered, by, .. } => one(Kind::Rendered, Some(by)),
        What::Taskrouter { kind, .. } if kind == "task.completed" || kind == "task.canceled" => {
            one(Kind::Ended, None)
        }
        What::CallStatus { .. } => one(Kind::Ended, None),
        What::Routed { .. }
        | What::Packed { .. }
        | What::Renewed { .. }
        | What::Held { .. }
        | What::Waited { .. }
        | What::Receipt { .. }
        | What::Taskrouter { .. }
        | What::AgentFailed { .. }
        | What::TaskUpdated { .. }
        | What::Expired
        | What::Erased { .. }
        | What::Counted { .. } => [None, None],
    }
}

/// A door's word; Twilio's own is that of whoever asked by its signature.
fn word(door: Door, twilio: &'static str) -> &'static str {
    match door {
        Door::Key => "key",
        Door::ConnectorToken => "connector_token",
        Door::CallToken => "call_token",
        Door::Twilio => twilio,
        Door::FlexUser => "flex_user",
        Door::ViewLink => "view_link",
    }
}
