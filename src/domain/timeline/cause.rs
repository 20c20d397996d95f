//! [`cause`]: why a handoff did not reach the human in time, as far as its timeline tells: the likeliest
//! cause and what to do about it, in one sentence.

use std::time::Duration;

use crate::domain::timeline::Door;
use crate::domain::timeline::What;
use crate::domain::timeline::known::Known;
use crate::domain::timeline::known::Miss;
use crate::domain::timeline::known::SIGNATURES;
use crate::domain::timeline::lead::Outcome;

/// The likeliest cause of what went wrong; `None` where nothing did, as far as is known.
pub fn cause(known: &Known<'_>) -> Option<String> {
    by_refusal(known)
        .or_else(|| known.too_early().map(|(miss, gap)| told_too_early(known, &miss, gap)))
        .or_else(|| by_miss(known))
        .or_else(|| by_agent(known))
        .or_else(|| by_acceptance(known))
}

fn by_refusal(known: &Known<'_>) -> Option<String> {
    let still = known.refused().filter(|(code, refused)| !known.is_over(code, *refused));
    let (code, _) = still.max_by_key(|(_, refused)| *refused)?;
    Some(match code {
        code if SIGNATURES.contains(&code) => "A request for it with Twilio's signature was refused: the Auth Token or BATON_PUBLIC_URL is not the one that Twilio signs with; `baton sign explain` says which.".to_owned(),
        "MISSING_CREDENTIALS" => "It was asked for without a credential: set the key in the Function's environment, or sign the widget's request.".to_owned(),
        "ROLE_NOT_ALLOWED" => "Flex users asked for it whose role may not read: name the role in BATON_FLEX_ROLES.".to_owned(),
        "ACCOUNT_NOT_LINKED" => "Flex users of a Twilio account asked for it that no connector is linked to: link it.".to_owned(),
        "INVALID_KEY" | "KEY_EXPIRED" | "INVALID_TOKEN" | "TOKEN_EXPIRED" => format!("Whoever asked for it was refused with {code}: the credential is mistyped, revoked or over."),
        code => format!("Whoever asked for it was refused with {code}."),
    })
}

fn told_too_early(known: &Known<'_>, miss: &Miss<'_>, gap: Duration) -> String {
    let (who, gap) = (known.who(miss.by), seconds(gap));
    if miss.by.door == Door::Twilio && !known.has_flow() {
        return format!(
            "The call went on {gap} before the agent wrote: let the agent write before it lets go of the call."
        );
    }
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
    let misses = known.misses().filter(|miss| !known.wrote(miss.by));
    let miss = misses.max_by_key(|miss| miss.last)?;
    let got_since = |what: &What| matches!(what, What::Read { times, by } if times.last_at >= miss.last && !known.wrote(by));
    if known.happened(got_since) {
        return None;
    }
    let who = known.who(miss.by);
    if let Some(near) = known.near {
        return Some(format!(
            "{who} asked for this id, and what was written is {near}: the two differ in case, or by one character."
        ));
    }
    Some(match miss.reason {
        "expired" => format!("{who} asked after it had expired: give it a longer ttl_seconds, or the connector a task_hold."),
        "erased" => format!("{who} asked after it was erased."),
        "in_other_project" => {
            format!("{who} asked with a credential of another project than it was written in.")
        }
        "in_other_environment" => {
            format!("{who} asked in another environment (client_env) than it was written in.")
        }
        "earlier_visit" => "The agent wrote nothing in the call's last visit; what is there is of the visit before.".to_owned(),
        _ => nobody_wrote(known, &miss, &who),
    })
}

fn nobody_wrote(known: &Known<'_>, miss: &Miss<'_>, who: &str) -> String {
    if known.written().any(|at| at > miss.last) {
        return format!("{who} asked more than a minute before the agent wrote.");
    }
    if known.written().next().is_some() {
        return format!(
            "{who} asked by an id that does not lead to it: ask by its own, by an alias, or by it as shared_id."
        );
    }
    if known.happened(|what| matches!(what, What::AgentFailed { .. })) {
        return "The agent was not reached, or broke off, and wrote nothing.".to_owned();
    }
    if known.happened(|what| matches!(what, What::Routed { .. })) {
        return "The agent got the call and wrote no handoff: see that it writes with the call token, before it lets go of the call.".to_owned();
    }
    format!(
        "{who} asked, and nobody has written under this id: see that the agent writes under the call's SID, or gives its own id as shared_id."
    )
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
    let taken = known.acceptances.iter().filter_map(|one| one.accepted_at).min();
    if taken.is_some_and(|taken| known.written().all(|at| at > taken)) {
        return Some("The call was taken before the agent wrote: let it write before it lets go of the call.".to_owned());
    }
    Some("Whoever took the call has not seen the handoff: see that the Flex plugin or the panel is there for whoever takes such calls.".to_owned())
}

/// A span as people say it.
pub(super) fn seconds(span: Duration) -> String {
    match span.as_secs() {
        0 if span.as_millis() < 50 && !span.is_zero() => format!("{} ms", span.as_millis().max(1)),
        ..10 => format!("{:.1} s", span.as_secs_f64()),
        10..120 => format!("{} s", span.as_secs()),
        120..7200 => format!("{} min", span.as_secs() / 60),
        hours => format!("{} h", hours / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::timeline::Action;
    use crate::domain::timeline::By;
    use crate::domain::timeline::Event;
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

    fn read(millis: u64, door: Door) -> Event {
        let times = Times::once(Timestamp::from_micros(millis * 1000));
        event(millis, What::Read { by: by(door), times })
    }

    fn refused(millis: u64, code: &str) -> Event {
        let times = Times::once(Timestamp::from_micros(millis * 1000));
        event(millis, What::Refused { by: None, reason: code.to_owned(), times })
    }

    #[test]
    fn whoever_got_it_after_all_lost_nothing() {
        let retried = [
            missed(1000, Door::FlexUser, "never_written", Some(8000)),
            written(1300),
            read(1400, Door::FlexUser),
        ];
        assert_eq!(told(&retried, None), (String::new(), false, false));
        // The agent that looks before it writes.
        let own = [missed(1000, Door::CallToken, "never_written", None), written(1400)];
        assert_eq!(told(&own, None), (String::new(), false, false));
        // Of two visits the second one's.
        let second = [
            written(1000),
            read(1100, Door::Twilio),
            missed(9000, Door::Twilio, "earlier_visit", None),
            written(9400),
        ];
        assert!(told(&second[2..], None).0.starts_with("Studio asked 0.4 s before"));
    }

    #[test]
    fn a_refusal_counts_until_whoever_was_refused_gets_in() {
        let basic = [
            refused(1000, "MISSING_CREDENTIALS"),
            missed(1010, Door::Key, "never_written", None),
            written(1400),
        ];
        assert!(told(&basic, None).0.starts_with("The key abc asked 0.4 s before"));
        let flex = [written(0), read(500, Door::Twilio), refused(1000, "ROLE_NOT_ALLOWED")];
        assert!(told(&flex, None).0.contains("BATON_FLEX_ROLES"));
    }

    #[test]
    fn a_call_without_a_flow_is_told_no_flow() {
        let connector_id = "conn_00000000000000000001".parse().unwrap();
        let action = Action::ToAgent;
        let routed = event(0, What::Routed { leg: 1, action, connector_id, flow_sid: None });
        let events =
            [routed, missed(4000, Door::Twilio, "never_written", Some(3000)), written(4400)];
        assert!(told(&events, None).0.starts_with("The call went on 0.4 s before the agent wrote"));
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
        assert!(never.contains("has not seen the handoff") && blind, "{never}");
        let (early, ..) = told(&[said(500, Receipt::Accepted), written(9000)], None);
        assert!(early.starts_with("The call was taken before the agent wrote"), "{early}");
        let in_time = [written(0), said(500, Receipt::Rendered), said(1000, Receipt::Accepted)];
        assert_eq!(told(&in_time, None), (String::new(), false, false));
    }
}
