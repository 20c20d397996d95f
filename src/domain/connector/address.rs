//! Addresses and lines as Twilio takes them: [`AgentUrl`], [`WaitUrl`], [`SipUri`], [`PhoneNumber`],
//! [`WorkflowSid`], [`ChannelSid`], [`Line`].

use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

const MAX_URL_CHARACTERS: usize = 500;
const MAX_LINE_CHARACTERS: usize = 500;

/// Why something of a connector's settings cannot be what it is meant for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Unfit(pub(super) String);

impl Unfit {
    pub(super) fn new(why: &str) -> Self {
        Self(why.to_owned())
    }
}

/// What serde says of a value, in plain words and without the value: it may be a secret that stands where
/// it does not belong. Our own sentences stay as they are.
pub(super) fn plain(why: &str) -> String {
    let is_serdes = ["invalid", "unknown", "expected"].iter().any(|word| why.starts_with(word));
    match why.split_once(", expected ") {
        _ if !is_serdes => why.to_owned(),
        Some((before, known)) if before.starts_with("unknown field") => {
            format!("has a member that is not known; known are {known}")
        }
        Some((_, expected)) => format!("must be {expected}"),
        None => "is not what it should be".to_owned(),
    }
}

macro_rules! texts {
    ($($(#[$attribute:meta])+ $name:ident: $why:literal, $fits:expr;)+) => {$(
        $(#[$attribute])+
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Unfit;

            fn from_str(text: &str) -> Result<Self, Unfit> {
                let fits: fn(&str) -> bool = $fits;
                if fits(text) { Ok(Self(text.to_owned())) } else { Err(Unfit::new($why)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Unfit;

            fn try_from(text: String) -> Result<Self, Unfit> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }
    )+};
}

texts! {
    /// Where an agent takes a media stream. Twilio takes `wss://` alone, and no query.
    AgentUrl: "must be wss://host[:port][/path], at most 500 characters, without user, query or fragment", |text| {
        let rest = text.strip_prefix("wss://").unwrap_or_default();
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit_once(':').map_or(authority, |(host, _port)| host);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:[]%!$&()*+,;=".contains(&b);
        !host.is_empty() && text.len() <= MAX_URL_CHARACTERS && rest.bytes().all(plain)
    };
    /// Where Twilio gets what a caller hears who waits in a queue.
    WaitUrl: "must be https://host[:port][/path][?query], at most 500 characters, without user or fragment", |text| {
        let rest = text.strip_prefix("https://").unwrap_or_default();
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:[]%!$&()*+,;=?@".contains(&b);
        !authority.is_empty() && !authority.contains('@') && text.len() <= MAX_URL_CHARACTERS
            && rest.bytes().all(plain)
    };
    /// A SIP address.
    SipUri: "must be sip:user@host without a password, at most 255 characters, parameters after ; and no ?", |text| {
        let rest = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:"));
        let (user, host) = rest.and_then(|rest| rest.split_once('@')).unwrap_or_default();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]%!$()*+,;=".contains(&b);
        let is_whole = !user.is_empty() && !host.is_empty() && text.len() <= 255;
        is_whole && !user.contains(':') && user.bytes().all(plain) && host.bytes().all(plain)
    };
    /// A telephone number, E.164.
    PhoneNumber: "must be a number in E.164 form, such as +441632960000", |text| {
        let digits = text.strip_prefix('+').unwrap_or_default();
        (7..=15).contains(&digits.len()) && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit())
    };
    /// A TaskRouter workflow.
    WorkflowSid: "must be a workflow's SID: WW and 32 hex digits", |text| {
        let hex = text.strip_prefix("WW").unwrap_or_default();
        hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
    };
    /// A `TaskRouter` task channel.
    ChannelSid: "must be a task channel's SID: TC and 32 hex digits", |text| {
        let hex = text.strip_prefix("TC").unwrap_or_default();
        hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
    };
    /// What is said to a caller; may be empty.
    #[derive(Default)]
    Line: "must be at most 500 characters, without control characters", |text| {
        text.chars().count() <= MAX_LINE_CHARACTERS && !text.chars().any(char::is_control)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serde_says_is_told_without_the_value() {
        for (said, told) in [
            (r#"invalid type: string "hunter2", expected a map"#, "must be a map"),
            ("unknown variant `hunter2`, expected `a` or `b`", "must be `a` or `b`"),
            (
                "unknown field `hunter2`, expected `a`",
                "has a member that is not known; known are `a`",
            ),
            ("invalid value: hunter2", "is not what it should be"),
            ("must be wss://…", "must be wss://…"),
        ] {
            assert_eq!(plain(said), told);
        }
    }

    #[test]
    fn addresses_are_what_twilio_takes() {
        for url in ["wss://a.example/x", "wss://a.example:8443", "wss://[::1]/a"] {
            assert!(url.parse::<AgentUrl>().is_ok(), "{url}");
        }
        for url in [
            "",
            "wss://",
            "ws://a.example",
            "https://a",
            "wss://a?b=c",
            "wss://u@a",
            "wss://:8443",
            "wss://a b",
        ] {
            assert!(url.parse::<AgentUrl>().is_err(), "{url}");
        }
        for uri in ["sip:agent@sip.example.com", "sips:a@b", "sip:a@b;transport=tls"] {
            assert!(uri.parse::<SipUri>().is_ok(), "{uri}");
        }
        for uri in
            ["sip:b", "tel:+1", "sip:a@b?X-H=1", "sip:@b", "sip:a@b@c", "sip:a@b c", "sip:a:p@b"]
        {
            assert!(uri.parse::<SipUri>().is_err(), "{uri}");
        }
        assert!("+441632960000".parse::<PhoneNumber>().is_ok());
        for number in ["441632960000", "+0441632960", "+44 1632", "+4416329600001234"] {
            assert!(number.parse::<PhoneNumber>().is_err(), "{number}");
        }
    }
}
