//! [`Call`]: what is known of a call that was sent to a connector's agent: how often, which of those
//! visits failed or came back, and whether the call has ended.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;
use crate::domain::handoff_id::HandoffId;

/// How long a webhook that is sent again gets the answer that it got first. Twilio repeats what was not
/// answered within 15 seconds.
pub const ANSWER_LIFE: Duration = Duration::from_secs(60);
/// How long a call token is good after its call has ended: agents finish what they were writing.
pub const AFTERMATH: Duration = Duration::from_secs(15 * 60);
/// How long a call is remembered after what was last heard of it. No call of Twilio's is longer.
pub const CALL_LIFE: Duration = Duration::from_secs(24 * 3600);

// Of one call, within a minute.
const MAX_ANSWERS: usize = 4;

/// A call as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The connector that was asked about it.
    pub connector: ConnectorId,
    /// Its SID.
    pub id: HandoffId,
    /// Whose it is; calls of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<(AccountId, ProjectId)>,
    /// When it was heard of first, in microseconds since the epoch.
    #[serde(default)]
    pub began_at: u64,
    /// The mark of the caller's number, if they have one: not the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// The linked Twilio account that began it; empty where a secret from the settings did.
    #[serde(default)]
    pub account_sid: String,
    /// How often it was sent there.
    pub legs: u32,
    /// The newest leg that came back from the agent; 0 when none did.
    #[serde(default)]
    pub returned_leg: u32,
    /// The newest leg whose agent failed; 0 when none did.
    #[serde(default)]
    pub failed_leg: u32,
    /// When it ended, in microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// Until when it is remembered at least, in microseconds since the epoch: as long as its handoff, or a
    /// visit that is asked for again would be its first.
    #[serde(default)]
    pub keep_until: u64,
    /// What its last visits were answered, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Sent>,
}

/// What a visit was answered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The fingerprint of the request.
    pub fingerprint: String,
    /// When, in microseconds since the epoch.
    pub at: u64,
    /// Which leg it began.
    pub leg: u32,
    /// The answer: `TwiML`.
    pub answer: String,
}

// An answer holds the call's token, and the agent's own secrets.
impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sent(leg {}, {} bytes)", self.leg, self.answer.len())
    }
}

impl Call {
    /// A call that nothing is known of.
    pub fn new(connector: ConnectorId, id: HandoffId, account_sid: &str) -> Self {
        Self {
            connector,
            id,
            of: None,
            began_at: 0,
            caller: None,
            account_sid: account_sid.to_owned(),
            legs: 0,
            returned_leg: 0,
            failed_leg: 0,
            ended_at: None,
            keep_until: 0,
            answers: Vec::new(),
        }
    }

    /// What a request was answered that was sent before, less than [`ANSWER_LIFE`] ago.
    pub fn answer_to(&self, fingerprint: &str, now: Timestamp) -> Option<&str> {
        let is_it = |sent: &&Sent| sent.fingerprint == fingerprint && is_fresh(sent, now);
        self.answers.iter().find(is_it).map(|sent| sent.answer.as_str())
    }

    /// The same call once it was sent to the agent once more.
    #[must_use]
    pub fn sent(&self, fingerprint: &str, answer: &str, now: Timestamp) -> Self {
        let leg = self.legs.saturating_add(1);
        let sent = Sent {
            fingerprint: fingerprint.to_owned(),
            at: now.micros(),
            leg,
            answer: answer.to_owned(),
        };
        let before = self.answers.iter().filter(|sent| is_fresh(sent, now)).cloned();
        let answers = std::iter::once(sent).chain(before).take(MAX_ANSWERS).collect();
        Self { legs: leg, answers, ..self.clone() }
    }

    /// The same call once a leg has come back from the agent; `None` where that is known, or there was no
    /// such leg. Who asks as that leg did then repeats nothing: the call visits the agent again.
    pub fn returned(&self, leg: u32) -> Option<Self> {
        let is_new = leg > self.returned_leg && leg <= self.legs;
        let answers = self.answers.iter().filter(|sent| sent.leg > leg).cloned().collect();
        is_new.then(|| Self { returned_leg: leg, answers, ..self.clone() })
    }

    /// The same call once a leg's agent has failed, likewise.
    pub fn failed(&self, leg: u32) -> Option<Self> {
        let is_new = leg > self.failed_leg && leg <= self.legs;
        is_new.then(|| Self { failed_leg: leg, ..self.clone() })
    }

    /// Whether a leg's agent has failed.
    pub fn has_failed(&self, leg: u32) -> bool {
        leg > 0 && self.failed_leg == leg
    }

    /// The same call once it has ended, likewise; its handoff may live until `keep_until`.
    pub fn ended(&self, now: Timestamp, keep_until: Timestamp) -> Option<Self> {
        let ended = Self {
            ended_at: Some(now.micros()),
            keep_until: keep_until.micros(),
            answers: Vec::new(),
            ..self.clone()
        };
        self.ended_at.is_none().then_some(ended)
    }

    /// Until when a token of this call is good, if the call has ended.
    pub fn tokens_end_at(&self) -> Option<Timestamp> {
        self.ended_at.map(|ended_at| Timestamp::from_micros(ended_at).plus(AFTERMATH))
    }
}

fn is_fresh(sent: &Sent, now: Timestamp) -> bool {
    Timestamp::from_micros(sent.at).plus(ANSWER_LIFE) > now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_gets_its_first_answer_for_a_minute_unless_its_leg_came_back() {
        let id = "CA0123456789abcdef0123456789abcdef".parse().unwrap();
        let new = Call::new(ConnectorId::random().unwrap(), id, "");
        let now = Timestamp::from_micros(1_000_000);
        let first = new.sent("f", "<a/>", now);
        assert_eq!((first.legs, first.answer_to("f", now)), (1, Some("<a/>")));
        assert_eq!(first.answer_to("g", now), None);
        assert_eq!(first.answer_to("f", now.plus(ANSWER_LIFE)), None);
        let back = first.returned(1).unwrap();
        assert_eq!(
            (back.answer_to("f", now), back.returned(1), back.answers.len()),
            (None, None, 0)
        );
        // Of legs that were not there nothing can be told, or they would not be noticed when they are.
        assert_eq!((first.returned(2), first.failed(2), first.returned(0)), (None, None, None));
        assert!(first.failed(1).unwrap().failed(1).is_none());
        assert!(first.ended(now, now).unwrap().ended(now, now).is_none());
        let second = back.sent("f", "<b/>", now);
        assert_eq!((second.legs, second.answer_to("f", now)), (2, Some("<b/>")));
        let many = (0..9).fold(first, |call, _| call.sent("f", "", now));
        assert_eq!((many.legs, many.answers.len()), (10, MAX_ANSWERS));
    }
}
