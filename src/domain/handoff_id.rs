//! [`HandoffId`]: the key of a handoff, usually a Twilio `CallSid`.
//!
//! `PolyAI` also keys handoffs by conversation ids of several shapes (`CONV-…`, UUIDs,
//! `AS_CHAT_…`), so the id is opaque. What never is an id is the text that a caller's bug leaves
//! behind (`undefined`, unrendered Liquid): stored under such a key, one call's context would be
//! read by the next caller with the same bug.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

/// Longest id, in characters.
pub const MAX_ID_CHARACTERS: usize = 128;

/// An id of a handoff: 1–128 of `A–Z a–z 0–9 . _ : -`, case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HandoffId(Arc<str>);

/// Why a text is not an id, in words for the person whose caller sent it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BadHandoffId {
    /// Nothing there.
    #[error(
        "is empty: the caller had no value to send. In a Twilio Function, check that `call_sid` is among the parameters of the Run Function widget ({{{{trigger.call.CallSid}}}})"
    )]
    Empty,
    /// The text a language prints for a missing value.
    #[error(
        "is the literal `{literal}`, which {origin}. Pass the call's SID on: in Studio {{{{trigger.call.CallSid}}}}, in TwiML webhooks the parameter `CallSid`"
    )]
    Literal {
        /// The text.
        literal: &'static str,
        /// Where it comes from.
        origin: &'static str,
    },
    /// A template that nobody rendered.
    #[error(
        "holds unrendered Liquid ({{{{…}}}}): the template was sent as text. Put it into a widget field that Studio renders, spelled like {{{{trigger.call.CallSid}}}}"
    )]
    Liquid,
    /// Too long.
    #[error("is {0} characters long; at most {MAX_ID_CHARACTERS} are taken")]
    TooLong(usize),
    /// A character outside the set.
    #[error("holds a character outside A–Z a–z 0–9 . _ : - at position {0}")]
    Character(usize),
}

const LITERALS: &[(&str, &str)] = &[
    ("undefined", "JavaScript prints for a variable that was never set"),
    ("null", "JSON and JavaScript print for no value"),
    ("None", "Python prints for no value"),
    ("NaN", "JavaScript prints when a text was used as a number"),
];

impl HandoffId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a Twilio `CallSid` (`CA` and 32 hex digits), which may stand in a log whole;
    /// other ids may be made from personal data and are hashed there.
    pub fn is_call_sid(&self) -> bool {
        let hex = self.0.strip_prefix("CA").unwrap_or("");
        hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
    }
}

impl FromStr for HandoffId {
    type Err = BadHandoffId;

    fn from_str(text: &str) -> Result<Self, BadHandoffId> {
        if text.is_empty() {
            return Err(BadHandoffId::Empty);
        }
        if let Some((literal, origin)) = LITERALS.iter().find(|(literal, _)| *literal == text) {
            return Err(BadHandoffId::Literal { literal, origin });
        }
        if text.contains("{{") || text.contains("}}") {
            return Err(BadHandoffId::Liquid);
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        if let Some(position) = text.bytes().position(|b| !allowed(b)) {
            return Err(BadHandoffId::Character(position));
        }
        if text.len() > MAX_ID_CHARACTERS {
            return Err(BadHandoffId::TooLong(text.len()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for HandoffId {
    type Error = BadHandoffId;

    fn try_from(text: String) -> Result<Self, BadHandoffId> {
        text.parse()
    }
}

impl From<HandoffId> for String {
    fn from(id: HandoffId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for HandoffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_published_shape_of_id_is_taken() {
        for id in [
            "CA0123456789abcdef0123456789abcdef",
            "CONV-1234567890",
            "AS_CHAT_6f1c2a9e-1111-2222-3333-444455556666",
            "OUT-6f1c2a9e",
            "tr:leg.2",
            "undefined2",
        ] {
            assert_eq!(id.parse::<HandoffId>().unwrap().as_str(), id);
        }
    }

    #[test]
    fn what_a_callers_bug_leaves_behind_is_refused_by_name() {
        for (text, word) in [
            ("", "empty"),
            ("undefined", "JavaScript"),
            ("null", "JSON"),
            ("None", "Python"),
            ("NaN", "number"),
            ("{{trigger.call.CallSid}}", "Liquid"),
            ("CA{{x", "Liquid"),
            ("a b", "position 1"),
            ("CA\u{e9}", "position 2"),
        ] {
            let why = text.parse::<HandoffId>().unwrap_err().to_string();
            assert!(why.contains(word), "{text:?}: {why}");
        }
        assert_eq!("x".repeat(129).parse::<HandoffId>(), Err(BadHandoffId::TooLong(129)));
    }

    #[test]
    fn only_ca_and_32_hex_digits_is_a_call_sid() {
        let is = |text: &str| text.parse::<HandoffId>().unwrap().is_call_sid();
        assert!(is("CA0123456789abcdef0123456789abcdef"));
        assert!(!is("CA0123456789abcdef0123456789abcdeg"));
        assert!(!is("CA0123"));
        assert!(!is("AC0123456789abcdef0123456789abcdef"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_outside_the_set_gets_in(text in "\\PC{0,140}") {
            let ours = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
            if let Ok(id) = text.parse::<HandoffId>() {
                prop_assert_eq!(id.as_str(), &text);
                prop_assert!((1..=128).contains(&text.len()) && text.chars().all(ours));
            }
        }

        #[test]
        fn everything_inside_the_set_gets_in(text in "[A-Za-z0-9._:-]{1,128}") {
            prop_assume!(!["undefined", "null", "None", "NaN"].contains(&text.as_str()));
            prop_assert!(text.parse::<HandoffId>().is_ok());
        }
    }
}
