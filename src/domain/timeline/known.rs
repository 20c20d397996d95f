//! [`Known`]: what a handoff's timeline tells, asked in the words in which causes are told.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::timeline::Action;
use crate::domain::timeline::By;
use crate::domain::timeline::Door;
use crate::domain::timeline::Event;
use crate::domain::timeline::Times;
use crate::domain::timeline::What;
use crate::domain::timeline::lead::Acceptance;
use crate::domain::timeline::lead::Outcome;
use crate::domain::timeline::lead::SOON;

/// A handoff that was asked for in vain and written so soon after was asked for too early.
pub const NEAR: Duration = Duration::from_secs(60);

// With which Flex users are refused, and nobody else.
const OF_FLEX: [&str; 2] = ["ROLE_NOT_ALLOWED", "ACCOUNT_NOT_LINKED"];
pub(super) const SIGNATURES: [&str; 2] = ["INVALID_SIGNATURE", "SIGNATURE_REFUSED"];

/// What a cause is told from.
#[derive(Clone, Copy, Debug)]
pub struct Known<'k> {
    /// What happened, in order.
    pub events: &'k [Event],
    /// Who took the call, and whether they saw it.
    pub acceptances: &'k [Acceptance],
    /// An id that was written and is nearly the one that was asked for.
    pub near: Option<&'k str>,
    /// What time it is.
    pub now: Timestamp,
}

/// Somebody asked in vain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Miss<'k> {
    pub(super) by: &'k By,
    pub(super) reason: &'k str,
    pub(super) last: Timestamp,
    pub(super) waited_ms: Option<u64>,
}

impl<'k> Known<'k> {
    pub(super) fn misses(&self) -> impl Iterator<Item = Miss<'k>> {
        self.events.iter().filter_map(|event| {
            let What::Missed { by, reason, times, waited_ms } = &event.what else { return None };
            Some(Miss { by, reason, last: times.last_at, waited_ms: *waited_ms })
        })
    }

    pub(super) fn written(&self) -> impl Iterator<Item = Timestamp> {
        let written = |event: &Event| matches!(event.what, What::Written { .. });
        self.events.iter().filter(move |event| written(event)).map(|event| event.at)
    }

    /// Whether somebody is the agent that writes it: agents look at what they wrote.
    pub(super) fn wrote(&self, who: &By) -> bool {
        who.door == Door::CallToken
            && self.happened(|what| matches!(what, What::Written { by, .. } if by == who))
    }

    /// Whether somebody got it, first at `until` or before.
    pub(super) fn got(&self, who: &By, until: Timestamp) -> bool {
        self.events.iter().any(|event| {
            event.at <= until && matches!(&event.what, What::Read { by, .. } if by == who)
        })
    }

    /// Who asked in vain and did not get it soon after, and how long before it was written.
    pub(super) fn too_early(&self) -> Option<(Miss<'k>, Duration)> {
        let next = |miss: &Miss<'_>| self.written().filter(|at| *at >= miss.last).min();
        let gap = |miss: Miss<'k>| next(&miss).map(|at| (miss, at.until(miss.last)));
        let is_loss = |(miss, gap): &(Miss<'k>, Duration)| {
            let got = || self.got(miss.by, miss.last.plus(*gap + SOON));
            *gap <= NEAR && !self.wrote(miss.by) && !got()
        };
        self.misses().filter_map(gap).filter(is_loss).min_by_key(|(_, gap)| *gap)
    }

    /// Whether a Studio flow had the call, as far as is known: else what Twilio asked was the call's own
    /// `TwiML`.
    pub(super) fn has_flow(&self) -> bool {
        has_flow(self.events)
    }

    /// Who did something, in a word.
    pub(super) fn who(&self, by: &By) -> String {
        match by.door {
            Door::Key => format!("The key {}", by.by),
            Door::ConnectorToken => "Whoever holds the Connector Token".to_owned(),
            Door::CallToken => "The agent".to_owned(),
            Door::Twilio if self.has_flow() => "Studio".to_owned(),
            Door::Twilio => "Twilio".to_owned(),
            Door::FlexUser => format!("Flex user {}", by.by),
            Door::ViewLink => "Whoever has the view link".to_owned(),
        }
    }

    /// Whether it was asked for in vain, and nearly not.
    pub fn is_near_miss(&self) -> bool {
        self.too_early().is_some() || (self.near.is_some() && self.misses().next().is_some())
    }

    /// Whether a signature of Twilio's was refused.
    pub fn is_signature_refused(&self) -> bool {
        self.refused().any(|(code, _)| SIGNATURES.contains(&code))
    }

    /// Whether somebody took the call and did not see it in time.
    pub fn is_blind(&self) -> bool {
        self.acceptances.iter().any(|one| match one.outcome {
            Outcome::Late | Outcome::Never => true,
            // Not seen so far, and too late already.
            Outcome::Open => one.accepted_at.is_some_and(|at| at.plus(SOON) < self.now),
            Outcome::Before | Outcome::Soon | Outcome::Unknown => false,
        })
    }

    /// Codes, each with when a request was refused with it last.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&'k str, Timestamp)> {
        self.events.iter().filter_map(|event| {
            let What::Refused { reason, times, .. } = &event.what else { return None };
            Some((reason.as_str(), times.last_at))
        })
    }

    /// Whether somebody got in after all who may have been refused so.
    pub(super) fn is_over(&self, code: &str, refused: Timestamp) -> bool {
        let is_of_flex = OF_FLEX.contains(&code);
        self.happened(|what| {
            if let What::Read { by, .. } = what {
                return !is_of_flex || by.door == Door::FlexUser;
            }
            // A client that uses HTTP Basic is refused once before it shows its key.
            let has_shown = |times: &Times| !is_of_flex && times.last_at >= refused;
            matches!(what, What::Missed { times, .. } if has_shown(times))
        })
    }

    pub(super) fn happened(&self, is_it: impl Fn(&What) -> bool) -> bool {
        self.events.iter().any(|event| is_it(&event.what))
    }
}

/// Whether a Studio flow had the call. Where it did not come by a voice webhook, what Twilio asks is Studio.
pub(super) fn has_flow(events: &[Event]) -> bool {
    let is_of_voice = |event: &&Event| matches!(event.what, What::Routed { .. });
    let mut routed = events.iter().filter(is_of_voice).peekable();
    let is_of_flow = |event: &Event| {
        matches!(
            event.what,
            What::Routed { flow_sid: Some(_), .. } | What::Routed { action: Action::Flow, .. }
        )
    };
    routed.peek().is_none() || routed.any(is_of_flow)
}
