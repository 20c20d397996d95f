//! [`cause`]: why a handoff did not reach the human in time, as far as its timeline tells: the likeliest
//! cause and what to do about it, in one sentence.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::timeline::By;
use crate::domain::timeline::Door;
use crate::domain::timeline::Event;
use crate::domain::timeline::What;
use crate::domain::timeline::lead::Acceptance;
use crate::domain::timeline::lead::Outcome;
use crate::domain::timeline::lead::SOON;

/// A handoff that was asked for in vain and written so soon after was asked for too early.
pub const NEAR: Duration = Duration::from_secs(60);

const SIGNATURES: [&str; 2] = ["INVALID_SIGNATURE", "SIGNATURE_REFUSED"];

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
struct Miss<'k> {
    by: &'k By,
    reason: &'k str,
    first: Timestamp,
    last: Timestamp,
    waited_ms: Option<u64>,
}

impl<'k> Known<'k> {
    fn misses(&self) -> impl Iterator<Item = Miss<'k>> {
        self.events.iter().filter_map(|event| {
            let What::Missed { by, reason, times, waited_ms } = &event.what else { return None };
            let (first, last) = (event.at, times.last_at);
            Some(Miss { by, reason, first, last, waited_ms: *waited_ms })
        })
    }

    fn written(&self) -> impl Iterator<Item = Timestamp> {
        let written = |event: &Event| matches!(event.what, What::Written { .. });
        self.events.iter().filter(move |event| written(event)).map(|event| event.at)
    }

    /// Who asked in vain, and how long before it was written.
    fn too_early(&self) -> Option<(Miss<'k>, Duration)> {
        let first = self.written().min()?;
        let early = self.misses().filter(|miss| miss.first <= first);
        let early = early.map(|miss| (miss, first.until(miss.last.min(first))));
        early.filter(|(_, gap)| *gap <= NEAR).min_by_key(|(_, gap)| *gap)
    }

    /// Whether it was asked for in vain, and nearly not.
    pub fn is_near_miss(&self) -> bool {
        self.too_early().is_some() || (self.near.is_some() && self.misses().next().is_some())
    }

    /// Whether a signature of Twilio's was refused.
    pub fn is_signature_refused(&self) -> bool {
        self.refused().any(|code| SIGNATURES.contains(&code))
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

    fn refused(&self) -> impl Iterator<Item = &'k str> {
        self.events.iter().filter_map(|event| {
            let What::Refused { reason, .. } = &event.what else { return None };
            Some(reason.as_str())
        })
    }

    fn happened(&self, is_it: impl Fn(&What) -> bool) -> bool {
        self.events.iter().any(|event| is_it(&event.what))
    }
}

/// The likeliest cause of what went wrong; `None` where nothing did, as far as is known.
pub fn cause(known: &Known<'_>) -> Option<String> {
    by_refusal(known)
        .or_else(|| known.too_early().map(|(miss, gap)| told_too_early(&miss, gap)))
        .or_else(|| by_miss(known))
        .or_else(|| by_agent(known))
        .or_else(|| by_acceptance(known))
        .or_else(|| by_room(known))
}

fn by_refusal(known: &Known<'_>) -> Option<String> {
    if known.happened(|what| matches!(what, What::Read { .. })) {
        // Whoever was refused, or somebody else, got it after all.
        return None;
    }
    let code = known.refused().last()?;
    Some(match code {
        code if SIGNATURES.contains(&code) => "A request for it with Twilio's signature was refused: the Auth Token or BATON_PUBLIC_URL is not the one that Twilio signs with; `baton sign explain` says which.".to_owned(),
        "MISSING_CREDENTIALS" => "It was asked for without a credential: set the key in the Function's environment, or sign the widget's request.".to_owned(),
        "ROLE_NOT_ALLOWED" => "Flex users asked for it whose role may not read: name the role in BATON_FLEX_ROLES.".to_owned(),
        "ACCOUNT_NOT_LINKED" => "Flex users of a Twilio account asked for it that no connector is linked to: link it.".to_owned(),
        "INVALID_KEY" | "KEY_EXPIRED" | "INVALID_TOKEN" | "TOKEN_EXPIRED" => format!("Whoever asked for it was refused with {code}: the credential is mistyped, revoked or over."),
        code => format!("Whoever asked for it was refused with {code}."),
    })
}

fn told_too_early(miss: &Miss<'_>, gap: Duration) -> String {
    let (who, gap) = (who(miss.by), seconds(gap));
    match miss.waited_ms {
        Some(waited) if waited >= 100 => {
            let waited = seconds(Duration::from_millis(waited));
            format!(
                "{who} waited {waited} and gave up {gap} before the agent wrote: wait longer, or let the agent write before it lets go of the call."
            )
        }
        _ if miss.by.door == Door::Twilio => {
            format!("{who} asked {gap} before the agent wrote; the flow does not wait: add wait=3.")
        }
        _ => format!("{who} asked {gap} before the agent wrote, and did not wait: add wait=3."),
    }
}

fn by_miss(known: &Known<'_>) -> Option<String> {
    let miss = known.misses().last()?;
    if known.happened(|what| matches!(what, What::Read { .. })) {
        return None;
    }
    let who = who(miss.by);
    if let Some(near) = known.near {
        return Some(format!(
            "{who} asked for this id, and what was written is {near}: the two differ in case, or by one character."
        ));
    }
    Some(match miss.reason {
        "expired" => format!("{who} asked after it had expired: give it a longer ttl_seconds, or the connector a task_hold."),
        "erased" => format!("{who} asked after it was erased."),
        "in_other_project" => format!("{who} asked with a credential of another project than it was written in."),
        "in_other_environment" => format!("{who} asked in another environment (client_env) than it was written in."),
        "earlier_visit" => "The agent wrote nothing in the call's last visit; what is there is of the visit before.".to_owned(),
        _ if known.written().next().is_some() => format!("{who} asked more than a minute before the agent wrote."),
        _ if known.happened(|what| matches!(what, What::AgentFailed { .. })) => {
            "The agent was not reached, or broke off, and wrote nothing.".to_owned()
        }
        _ if known.happened(|what| matches!(what, What::Routed { .. })) => {
            "The agent got the call and wrote no handoff: see that it writes with the call token, before it lets go of the call.".to_owned()
        }
        _ => format!("{who} asked, and nobody has written under this id: see that the agent writes under the call's SID, or gives its own id as shared_id."),
    })
}

fn by_agent(known: &Known<'_>) -> Option<String> {
    let has_failed = known.happened(|what| matches!(what, What::AgentFailed { .. }));
    (has_failed && known.written().next().is_none())
        .then(|| "The agent was not reached, or broke off, and wrote nothing.".to_owned())
}

fn by_acceptance(known: &Known<'_>) -> Option<String> {
    if !known.is_blind() {
        return None;
    }
    let late = known.acceptances.iter().find(|one| one.outcome == Outcome::Late);
    if let Some(late) = late.and_then(|late| late.lead_seconds) {
        let late = seconds(Duration::from_secs_f64(late.max(0.0)));
        return Some(format!(
            "Whoever took the call saw it {late} after: see when it was written, and whether Flex waited for it."
        ));
    }
    if known.written().next().is_none() {
        return Some("The call was taken and nobody had written a handoff.".to_owned());
    }
    Some("The call was taken and nobody has seen the handoff: see that the Flex plugin or the panel is there for whoever takes such calls.".to_owned())
}

fn by_room(known: &Known<'_>) -> Option<String> {
    let left_out = known.events.iter().find_map(|event| {
        let What::Packed { left_out, .. } = &event.what else { return None };
        Some(left_out.join(", "))
    })?;
    Some(format!(
        "It was passed on without all of it, for want of room: {left_out}. The panel shows the whole."
    ))
}

/// Who did something, in a word.
pub(super) fn who(by: &By) -> String {
    match by.door {
        Door::Key => format!("The key {}", by.by),
        Door::ConnectorToken => "Whoever holds the Connector Token".to_owned(),
        Door::CallToken => "The agent".to_owned(),
        Door::Twilio => "Studio".to_owned(),
        Door::FlexUser => format!("Flex user {}", by.by),
        Door::ViewLink => "Whoever has the view link".to_owned(),
    }
}

/// A span as people say it.
pub(super) fn seconds(span: Duration) -> String {
    match span.as_secs() {
        ..10 => format!("{:.1} s", span.as_secs_f64()),
        10..120 => format!("{} s", span.as_secs()),
        120..7200 => format!("{} min", span.as_secs() / 60),
        hours => format!("{} h", hours / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::timeline::Receipt;
    use crate::domain::timeline::Times;
    use crate::domain::timeline::Worker;
    use crate::domain::timeline::lead::acceptances;

    fn event(millis: u64, what: What) -> Event {
        let at = Timestamp::from_micros(millis * 1000);
        Event { at, project: None, client_env: None, what }
    }

    fn by(door: Door) -> By {
        By { door, by: "abc".to_owned() }
    }

    fn missed(millis: u64, door: Door, reason: &str, waited_ms: Option<u64>) -> Event {
        let times = Times::once(Timestamp::from_micros(millis * 1000));
        event(millis, What::Missed { by: by(door), reason: reason.to_owned(), times, waited_ms })
    }

    fn written(millis: u64) -> Event {
        let expires_at = Timestamp::NEVER;
        let by = by(Door::CallToken);
        event(millis, What::Written { by, revision: 1, size_bytes: 2, created: true, expires_at })
    }

    fn said(millis: u64, receipt: Receipt) -> Event {
        let (by, worker) = (by(Door::FlexUser), Worker::default());
        event(millis, What::Receipt { receipt, by, worker, task_sid: None })
    }

    fn told(events: &[Event], near: Option<&str>) -> (String, bool, bool) {
        let now = Timestamp::from_micros(100_000_000);
        let acceptances = acceptances(events, now);
        let known = Known { events, acceptances: &acceptances, near, now };
        (cause(&known).unwrap_or_default(), known.is_near_miss(), known.is_blind())
    }

    #[test]
    fn studio_asked_a_moment_too_early() {
        let events = [missed(1000, Door::Twilio, "never_written", None), written(1400)];
        let (told, near, _) = told(&events, None);
        assert_eq!(
            told,
            "Studio asked 0.4 s before the agent wrote; the flow does not wait: add wait=3."
        );
        assert!(near);
    }

    #[test]
    fn whoever_waited_is_told_to_wait_longer() {
        let events = [missed(1000, Door::Key, "never_written", Some(3000)), written(5000)];
        let told = told(&events, None).0;
        assert!(told.starts_with("The key abc waited 3.0 s and gave up 4.0 s before"), "{told}");
    }

    #[test]
    fn nobody_wrote_or_wrote_another_id() {
        let events = [missed(1000, Door::Key, "never_written", None)];
        assert!(told(&events, None).0.contains("nobody has written under this id"));
        let (told, near, _) = told(&events, Some("CA2"));
        assert!(told.contains("what was written is CA2") && near, "{told}");
    }

    #[test]
    fn who_took_the_call_saw_it_late_or_never() {
        let seen = [written(0), said(1000, Receipt::Accepted), said(9000, Receipt::Rendered)];
        let (late, _, blind) = told(&seen, None);
        assert!(late.starts_with("Whoever took the call saw it 8.0 s after") && blind, "{late}");
        let (never, _, blind) = told(&seen[..2], None);
        assert!(never.contains("nobody has seen the handoff") && blind, "{never}");
        let in_time = [written(0), said(500, Receipt::Rendered), said(1000, Receipt::Accepted)];
        assert_eq!(told(&in_time, None), (String::new(), false, false));
    }
}
