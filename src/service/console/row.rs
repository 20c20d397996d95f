//! [`Row`]: a call as it is listed.

use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::handoff::Handoff;
use crate::domain::handoff_id::HandoffId;
use crate::domain::timeline::Event;
use crate::domain::timeline::What;
use crate::domain::timeline::cause::cause;
use crate::domain::timeline::known::Known;
use crate::domain::timeline::lead::Outcome;
use crate::domain::timeline::steps::Step;
use crate::domain::timeline::steps::steps;
use crate::service::timelines::story::State;
use crate::service::timelines::story::Story;

/// A call as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its handoff's id, or the one that was asked for.
    pub id: HandoffId,
    shared_id: Option<HandoffId>,
    project_id: Option<String>,
    /// The connector that it came through.
    pub connector_id: Option<ConnectorId>,
    client_env: Option<ClientEnv>,
    /// The handoff's, or why there is none: `missing`, `expired`, `erased`.
    pub status: &'static str,
    first_at: Option<Timestamp>,
    /// When anything happened last.
    pub last_at: Option<Timestamp>,
    steps: Vec<Step>,
    outcome: Option<Outcome>,
    lead_seconds: Option<f64>,
    /// What went wrong.
    pub flags: Vec<Flag>,
    cause: String,
}

/// What went wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// Somebody took it and did not see its handoff in time.
    ConnectedBlind,
    /// Its handoff was asked for a moment too early, or by an id that is nearly its own.
    NearMiss,
    /// A signature of Twilio's was refused.
    RefusedSignature,
}

impl Flag {
    /// Reads its word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "connected_blind" => Some(Self::ConnectedBlind),
            "near_miss" => Some(Self::NearMiss),
            "refused_signature" => Some(Self::RefusedSignature),
            _ => None,
        }
    }
}

impl Row {
    /// The row of a story; `near` is an id that was written and is nearly the story's own.
    pub(super) fn of(
        story: &Story,
        handoff: Option<&Handoff>,
        near: Option<&HandoffId>,
        now: Timestamp,
    ) -> Self {
        let known = known(story, near, now);
        let heading = handoff.map(|handoff| &handoff.heading);
        let of_events = story.events.iter().find_map(connector);
        // Of several who took it, the one for whom it was worst.
        let worst = story.acceptances.iter().max_by_key(|one| badness(one.outcome));
        let flags = [
            (known.is_blind(), Flag::ConnectedBlind),
            (known.is_near_miss(), Flag::NearMiss),
            (known.is_signature_refused(), Flag::RefusedSignature),
        ];
        let placed = story.events.iter().find(|event| event.project.is_some());
        let project = heading.map(|heading| heading.project.to_string());
        let project = project.or_else(|| placed?.project.as_ref().map(ToString::to_string));
        Self {
            id: story.id.clone(),
            shared_id: heading.and_then(|heading| heading.shared_id.clone()),
            project_id: project,
            connector_id: heading.and_then(|heading| heading.connector.clone()).or(of_events),
            client_env: heading
                .map_or_else(|| placed.and_then(|event| event.client_env), |own| own.client_env),
            status: heading.map_or_else(|| gone(story.state), |heading| heading.status.as_str()),
            first_at: story.events.iter().map(|event| event.at).min(),
            last_at: story.events.iter().map(last_at).max(),
            steps: steps(&story.events, &story.acceptances),
            outcome: worst.map(|worst| worst.outcome),
            lead_seconds: worst.and_then(|worst| worst.lead_seconds),
            flags: flags.into_iter().filter(|(is_so, _)| *is_so).map(|(_, flag)| flag).collect(),
            cause: cause(&known).unwrap_or_default(),
        }
    }
}

/// What a cause is told from.
pub(super) fn known<'s>(
    story: &'s Story,
    near: Option<&'s HandoffId>,
    now: Timestamp,
) -> Known<'s> {
    let near = near.map(HandoffId::as_str);
    Known { events: &story.events, acceptances: &story.acceptances, near, now }
}

fn gone(state: State) -> &'static str {
    match state {
        // It went between two looks.
        State::Live | State::Missing => "missing",
        State::Expired => "expired",
        State::Erased => "erased",
    }
}

fn connector(event: &Event) -> Option<ConnectorId> {
    let (What::Routed { connector_id, .. } | What::Taskrouter { connector_id, .. }) = &event.what
    else {
        return None;
    };
    Some(connector_id.clone())
}

fn badness(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Unknown => 0,
        Outcome::Before => 1,
        Outcome::Soon => 2,
        Outcome::Open => 3,
        Outcome::Late => 4,
        Outcome::Never => 5,
    }
}

fn last_at(event: &Event) -> Timestamp {
    if let What::Read { times, .. }
    | What::Waited { times, .. }
    | What::Missed { times, .. }
    | What::Refused { times, .. }
    | What::Packed { times, .. } = &event.what
    {
        return times.last_at;
    }
    event.at
}
