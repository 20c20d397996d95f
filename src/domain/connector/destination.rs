//! [`Destination`] and [`Fallback`]: where calls go from the agent. The agent names destinations by
//! their keys alone, so that no prompt can make it dial.

use serde::Deserialize;
use serde::Serialize;

use crate::domain::connector::address::Line;
use crate::domain::connector::address::PhoneNumber;
use crate::domain::connector::address::SipUri;
use crate::domain::connector::address::Unfit;
use crate::domain::connector::address::WorkflowSid;

/// Where the agent sends a call that it hands off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "GivenDestination", into = "GivenDestination")]
pub enum Destination {
    /// A TaskRouter workflow of Flex.
    Workflow {
        /// `WW` and 32 hex digits.
        sid: WorkflowSid,
        /// The task's priority; Twilio's own default if none is set.
        priority: Option<u32>,
        /// How long the task lives, in seconds; Twilio's own default if none is set.
        timeout_seconds: Option<u32>,
    },
    /// A telephone number.
    Number(PhoneNumber),
    /// A SIP address.
    Sip(SipUri),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenDestination {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workflow_sid: Option<WorkflowSid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<PhoneNumber>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sip_uri: Option<SipUri>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<u32>,
}

impl TryFrom<GivenDestination> for Destination {
    type Error = Unfit;

    fn try_from(given: GivenDestination) -> Result<Self, Unfit> {
        let GivenDestination { workflow_sid, number, sip_uri, priority, timeout_seconds } = given;
        let is_plain = priority.is_none() && timeout_seconds.is_none();
        match (workflow_sid, number, sip_uri) {
            (Some(sid), None, None) => Ok(Self::Workflow { sid, priority, timeout_seconds }),
            (None, Some(number), None) if is_plain => Ok(Self::Number(number)),
            (None, None, Some(uri)) if is_plain => Ok(Self::Sip(uri)),
            (None, Some(_), None) | (None, None, Some(_)) => {
                Err(Unfit::new("takes priority and timeout_seconds only beside workflow_sid"))
            }
            _ => Err(Unfit::new("must have exactly one of workflow_sid, number and sip_uri")),
        }
    }
}

impl From<Destination> for GivenDestination {
    fn from(destination: Destination) -> Self {
        let mut given = Self {
            workflow_sid: None,
            number: None,
            sip_uri: None,
            priority: None,
            timeout_seconds: None,
        };
        match destination {
            Destination::Workflow { sid, priority, timeout_seconds } => {
                given = Self { workflow_sid: Some(sid), priority, timeout_seconds, ..given };
            }
            Destination::Number(number) => given.number = Some(number),
            Destination::Sip(uri) => given.sip_uri = Some(uri),
        }
        given
    }
}

/// What becomes of a call when nothing else can be done for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fallback {
    /// What the caller hears.
    pub say: Line,
    /// Who is called then; else the call ends.
    pub number: Option<PhoneNumber>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads<T: serde::de::DeserializeOwned>(text: &str) -> bool {
        serde_json::from_str::<T>(text).is_ok()
    }

    #[test]
    fn a_destination_is_one_thing() {
        let sid = format!("WW{}", "0a".repeat(16));
        let workflow = format!(r#"{{"workflow_sid":"{sid}","priority":5}}"#);
        let read: Destination = serde_json::from_str(&workflow).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), workflow);
        assert!(reads::<Destination>(r#"{"number":"+441632960000"}"#));
        assert!(reads::<Destination>(r#"{"sip_uri":"sip:a@b"}"#));
        for text in [
            "{}".to_owned(),
            r#"{"number":"+441632960000","priority":1}"#.to_owned(),
            r#"{"number":"+441632960000","sip_uri":"sip:a@b"}"#.to_owned(),
            r#"{"queue":"x"}"#.to_owned(),
            r#"{"number":"911"}"#.to_owned(),
        ] {
            assert!(!reads::<Destination>(&text), "{text}");
        }
    }
}
