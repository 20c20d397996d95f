//! [`tell`]: a handoff's story in sentences, each with how long after the first thing it happened.

use crate::domain::clock::Timestamp;
use crate::domain::timeline::Action;
use crate::domain::timeline::By;
use crate::domain::timeline::Receipt;
use crate::domain::timeline::Target;
use crate::domain::timeline::Times;
use crate::domain::timeline::What;
use crate::domain::timeline::Worker;
use crate::domain::timeline::cause::cause;
use crate::domain::timeline::cause::seconds;
use crate::domain::timeline::known::Known;

/// The story, the likely cause of what went wrong first, if anything did.
pub fn tell(known: &Known<'_>) -> Vec<String> {
    let cause = cause(known).map(|cause| format!("Likely cause: {cause}"));
    let first = known.events.first().map(|event| event.at);
    let sentences = known.events.iter().filter_map(|event| {
        let what = sentence(known, &event.what)?;
        Some(format!("{} {what}", offset(first.unwrap_or(event.at), event.at)))
    });
    cause.into_iter().chain(sentences).collect()
}

fn offset(first: Timestamp, at: Timestamp) -> String {
    format!("+{}:", seconds(at.until(first)))
}

fn sentence(known: &Known<'_>, what: &What) -> Option<String> {
    let who = |by: &By| known.who(by);
    Some(match what {
        What::Routed { leg, action, .. } => routed(*leg, *action),
        What::Packed { into, left_out, times } => {
            let into = match into {
                Target::Task => "the task's attributes",
                Target::Studio => "Studio's answer",
            };
            format!("There was no room in {into} for {}{}.", left_out.join(", "), often(times))
        }
        What::Written { by, size_bytes, created, .. } => {
            let verb = if *created { "wrote" } else { "rewrote" };
            format!("{} {verb} the handoff, {size_bytes} bytes.", who(by))
        }
        What::Renewed { by, .. } => format!("{} wrote the same again.", who(by)),
        What::Held { .. } => "The call ended; the handoff is kept for its task.".to_owned(),
        What::Read { by, times } => format!("{} read it{}.", who(by), often(times)),
        What::Waited { by, waited_ms, .. } => {
            let waited = std::time::Duration::from_millis(*waited_ms);
            format!("{} had waited for it, {} at most.", who(by), seconds(waited))
        }
        What::Missed { by, reason, times, waited_ms } => {
            let waited = waited_ms.map(std::time::Duration::from_millis).map(seconds);
            let waited = waited.map(|waited| format!(", and waited {waited}")).unwrap_or_default();
            format!(
                "{} asked in vain{}{waited}: {}.",
                who(by),
                often(times),
                reason.replace('_', " ")
            )
        }
        What::Refused { by, reason, times } => {
            let whose = by
                .as_ref()
                .map_or_else(|| "A request".to_owned(), |by| format!("{}'s request", who(by)));
            format!("{whose} was refused{}: {reason}.", often(times))
        }
        What::Receipt { receipt, by, worker, .. } => {
            let who = named(worker).unwrap_or_else(|| who(by));
            let did = match receipt {
                Receipt::Fetched => "fetched it",
                Receipt::Rendered => "sees it",
                Receipt::Accepted => "took the call",
                Receipt::Acknowledged => "has read it",
            };
            format!("{who} {did}.")
        }
        What::Taskrouter { kind, worker, .. } => {
            let whose = named(worker).map(|who| format!(" ({who})")).unwrap_or_default();
            format!("TaskRouter: {kind}{whose}.")
        }
        What::CallStatus { status } => format!("The call's status is {status}."),
        What::AgentFailed { leg } => {
            format!("In visit {leg} the agent was not reached, or broke off.")
        }
        What::TaskUpdated { .. } => "The task was given what was written late.".to_owned(),
        What::Expired => "The handoff expired.".to_owned(),
        What::Erased { by } => format!("{} erased it.", who(by)),
        What::Counted { .. } => return None,
    })
}

fn routed(leg: u32, action: Action) -> String {
    match action {
        Action::ToAgent if leg > 1 => format!("The call was sent to its agent again, visit {leg}."),
        Action::ToAgent => "The call was sent to its agent.".to_owned(),
        Action::Enqueue => "The call was put into a queue of Flex.".to_owned(),
        Action::Dial => "The call was put through.".to_owned(),
        Action::Refer => "The call was referred to an address.".to_owned(),
        Action::Hangup => "The call was ended: no human was needed.".to_owned(),
        Action::Flow => "The call went back into its Studio flow.".to_owned(),
        Action::Fallback => "The call went to the fallback.".to_owned(),
    }
}

fn often(times: &Times) -> String {
    match times.count {
        0 | 1 => String::new(),
        2 => ", twice".to_owned(),
        count => format!(", {count} times"),
    }
}

fn named(worker: &Worker) -> Option<String> {
    worker.worker.clone().or_else(|| worker.worker_sid.clone()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::timeline::Door;
    use crate::domain::timeline::Event;

    #[test]
    fn the_cause_comes_first_and_each_thing_has_its_offset() {
        let at = |millis: u64| Timestamp::from_micros(millis * 1000);
        let event = |millis, what| Event { at: at(millis), project: None, client_env: None, what };
        let studio = By { door: Door::Twilio, by: "AC1".to_owned() };
        let agent = By { door: Door::CallToken, by: "conn:CA1".to_owned() };
        let events = [
            event(
                1000,
                What::Missed {
                    by: studio,
                    reason: "never_written".to_owned(),
                    times: Times { count: 2, last_at: at(1100) },
                    waited_ms: None,
                },
            ),
            event(
                1500,
                What::Written {
                    by: agent,
                    revision: 1,
                    size_bytes: 12,
                    created: true,
                    expires_at: Timestamp::NEVER,
                },
            ),
        ];
        let known = Known { events: &events, acceptances: &[], near: None, now: at(9000) };
        assert_eq!(
            tell(&known),
            [
                "Likely cause: Studio asked 0.4 s before the agent wrote; the flow does not wait: add wait=3.",
                "+0.0 s: Studio asked in vain, twice: never written.",
                "+0.5 s: The agent wrote the handoff, 12 bytes.",
            ]
        );
    }
}
