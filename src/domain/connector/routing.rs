//! [`Routing`]: how a call of a connector reaches the agent, and what holds meanwhile.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::connector::address::AgentUrl;
use crate::domain::connector::address::Line;
use crate::domain::connector::address::SipUri;
use crate::domain::connector::address::Unfit;
use crate::domain::secret_text::SecretText;

/// What stands for a secret where it is shown; as a new value it is refused.
pub const MASK: &str = "***";

// Twilio's error 21227: URI and headers of a SIP call together.
const MAX_SIP_CHARACTERS: usize = 1024;
/// Shortest and longest time that a handoff is held after its call, in seconds: 24 h and 14 days.
pub const TASK_HOLD_SECONDS: std::ops::RangeInclusive<u32> = 86_400..=1_209_600;

/// How a call reaches the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Routing {
    /// By what.
    pub mode: Mode,
    /// Where its media stream goes, in mode `stream`.
    pub agent_url: Option<AgentUrl>,
    /// What the caller hears first, if anything.
    pub greeting: Line,
    /// Where it goes in mode `sip`.
    pub sip: Option<Sip>,
    /// What becomes of a call whose agent wrote no handoff in time.
    pub on_missing: OnMissing,
    /// While a call lives, only its call token and the Connector Token write its handoff.
    pub call_token_only: bool,
    /// How long the handoff is held after the call, in seconds; callback tasks live that long.
    pub task_hold_seconds: TaskHold,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            mode: Mode::Stream,
            agent_url: None,
            greeting: Line::default(),
            sip: None,
            on_missing: OnMissing::Enqueue,
            call_token_only: false,
            task_hold_seconds: TaskHold::default(),
        }
    }
}

/// By what a call reaches the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `<Connect><Stream>`.
    Stream,
    /// `<Dial><Sip>`.
    Sip,
    /// `<Connect connectorId>`, as the reference prints it; Twilio does nothing with it.
    Compat,
}

/// What becomes of a call without a handoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMissing {
    /// A human takes it.
    Enqueue,
    /// It ends.
    Hangup,
}

/// A SIP agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "GivenSip")]
pub struct Sip {
    /// Where it is.
    pub uri: SipUri,
    /// Headers that the call carries; their values are kept like passwords.
    pub headers: BTreeMap<String, SecretText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenSip {
    uri: SipUri,
    #[serde(default)]
    headers: BTreeMap<String, SecretText>,
}

impl TryFrom<GivenSip> for Sip {
    type Error = Unfit;

    fn try_from(given: GivenSip) -> Result<Self, Unfit> {
        let GivenSip { uri, headers } = given;
        let is_name = |name: &str| {
            let rest = name.get(..2).filter(|x| x.eq_ignore_ascii_case("x-")).and(name.get(2..));
            rest.is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
        };
        if !headers.keys().all(|name| is_name(name)) {
            return Err(Unfit::new(
                "names a header that is not X- with letters, digits and - (Twilio passes on no others)",
            ));
        }
        let is_value = |value: &SecretText| value.expose().bytes().all(|b| b.is_ascii_graphic());
        if headers.values().any(|value| value.expose().is_empty() || !is_value(value)) {
            return Err(Unfit::new(
                "has a header whose value is not printable ASCII without blanks",
            ));
        }
        if headers.values().any(|value| value.expose() == MASK) {
            return Err(Unfit(format!(
                "has {MASK} for a header's value: that stands for the one that is kept. Leave the header out to keep it, null takes it away"
            )));
        }
        let of_headers = headers.iter().map(|(name, value)| name.len() + value.expose().len() + 2);
        if uri.as_str().len() + of_headers.sum::<usize>() > MAX_SIP_CHARACTERS {
            return Err(Unfit(format!(
                "is longer than the {MAX_SIP_CHARACTERS} characters that Twilio takes of URI and headers (error 21227)"
            )));
        }
        Ok(Self { uri, headers })
    }
}

/// How long a handoff is held after its call, in seconds: [`TASK_HOLD_SECONDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32")]
pub struct TaskHold(pub u32);

impl Default for TaskHold {
    fn default() -> Self {
        Self(*TASK_HOLD_SECONDS.start())
    }
}

impl TryFrom<u32> for TaskHold {
    type Error = Unfit;

    fn try_from(seconds: u32) -> Result<Self, Unfit> {
        let (least, most) = TASK_HOLD_SECONDS.into_inner();
        if TASK_HOLD_SECONDS.contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(Unfit(format!("must be {least} to {most} seconds")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads<T: serde::de::DeserializeOwned>(text: &str) -> bool {
        serde_json::from_str::<T>(text).is_ok()
    }

    #[test]
    fn sip_headers_are_x_headers_within_what_twilio_takes_and_do_not_print() {
        let sip = |headers: &str| {
            serde_json::from_str::<Sip>(&format!(r#"{{"uri":"sip:a@b","headers":{headers}}}"#))
        };
        let read = sip(r#"{"X-PolyAi-Auth-Token":"hunter2"}"#).unwrap();
        assert!(!format!("{read:?}").contains("hunter2"));
        let long = format!(r#"{{"X-A":"{}"}}"#, "x".repeat(1015));
        for headers in [
            r#"{"Authorization":"x"}"#,
            r#"{"X-":"x"}"#,
            r#"{"X-A":""}"#,
            r#"{"X-A":"a b"}"#,
            r#"{"X-A":"***"}"#,
            &long,
        ] {
            assert!(sip(headers).is_err(), "{headers}");
        }
    }

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_unknown_is_refused() {
        let routing: Routing = serde_json::from_str("{}").unwrap();
        assert_eq!((routing.mode, routing.on_missing), (Mode::Stream, OnMissing::Enqueue));
        for text in [
            r#"{"agent":"x"}"#,
            r#"{"mode":"fax"}"#,
            r#"{"task_hold_seconds":1}"#,
            r#"{"agent_url":"https://x"}"#,
        ] {
            assert!(!reads::<Routing>(text), "{text}");
        }
    }
}
