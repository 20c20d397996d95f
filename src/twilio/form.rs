//! [`Pairs`]: the parameters of a query or a form, decoded, in the order they came.
//!
//! Decoded here and nowhere else, from the raw bytes: nothing is dropped, trimmed, folded or made
//! UTF-8, for what Twilio signed is what it sent. Handlers read the very pairs that were verified,
//! and a parameter given twice is an error to them, not a choice: `twilio-go` takes the first value
//! and PHP the last, so a valid request with one more `To=…` would mean another thing to each.

use std::borrow::Cow;

use memchr::memchr2;
use percent_encoding::percent_decode;
use thiserror::Error;

use crate::domain::members;

/// Parameters that one request may have. Twilio's own have some thirty.
pub const MAX_PARAMETERS: usize = 1000;

/// Whether a `Content-Type` declares a form; parameters such as `charset` do not matter.
pub fn is_form(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default();
    media.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// A name and a value, decoded.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Parameters, in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Vec<Pair>);

/// Why a parameter has no one value.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unclear {
    /// It is given more than once.
    #[error("is given more than once")]
    Repeated,
    /// It is not UTF-8.
    #[error("is not UTF-8")]
    NotText,
}

impl Pairs {
    /// Decodes `application/x-www-form-urlencoded`: `+` is a space, `%XX` a byte, and a `%` that no
    /// two hex digits follow is itself.
    pub fn decode(encoded: &[u8]) -> Self {
        let parts = encoded.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
        Self(parts.map(pair).collect())
    }

    /// The top members of a JSON object that are texts, numbers or booleans; of anything else none.
    pub fn of_json(body: &[u8]) -> Self {
        let text = std::str::from_utf8(body).unwrap_or_default();
        let members = members::members(text).unwrap_or_default().into_iter();
        let pairs = members.filter_map(|member| {
            let value = members::scalar(member.value)?.into_owned();
            Some((member.name.into_bytes(), value.into_bytes()))
        });
        Self(pairs.collect())
    }

    /// These and then `others`.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// All of them, in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a parameter that must not be given twice, not even with the same value.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Unclear> {
        let mut given = self.iter().filter(|(key, _)| *key == name.as_bytes());
        let Some((_, value)) = given.next() else { return Ok(None) };
        if given.next().is_some() {
            return Err(Unclear::Repeated);
        }
        std::str::from_utf8(value).map(Some).map_err(|_not_utf8| Unclear::NotText)
    }
}

impl FromIterator<Pair> for Pairs {
    fn from_iter<T: IntoIterator<Item = Pair>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

fn pair(part: &[u8]) -> Pair {
    let mut sides = part.splitn(2, |byte| *byte == b'=');
    let mut side = || decoded(sides.next().unwrap_or_default());
    (side(), side())
}

/// One name or value, decoded.
pub(super) fn decoded(text: &[u8]) -> Vec<u8> {
    if memchr2(b'+', b'%', text).is_none() {
        return text.to_vec();
    }
    let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    Cow::from(percent_decode(&spaced)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pairs: &Pairs) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        pairs.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn nothing_is_dropped_trimmed_or_folded() {
        let pairs = Pairs::decode(b"a=1&&b=&c&=d&e=x%20+%2B%0d%0A&a=1&f=a=b&%41=%e2%82%ac&g=%zz%");
        let wanted = [
            ("a", "1"),
            ("b", ""),
            ("c", ""),
            ("", "d"),
            ("e", "x  +\r\n"),
            ("a", "1"),
            ("f", "a=b"),
            ("A", "€"),
            ("g", "%zz%"),
        ];
        assert_eq!(texts(&pairs), wanted.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(Pairs::decode(b"a=%ff").iter().next().unwrap().1, [0xff]);
        assert!(Pairs::decode(b"").is_empty());
    }

    #[test]
    fn a_parameter_given_twice_has_no_value() {
        let pairs = Pairs::decode(b"CallSid=1&CallSid=1&To=a&From=%ff");
        assert_eq!(pairs.one("CallSid"), Err(Unclear::Repeated));
        assert_eq!(pairs.one("To"), Ok(Some("a")));
        assert_eq!(pairs.one("From"), Err(Unclear::NotText));
        assert_eq!(pairs.one("Digits"), Ok(None));
    }

    #[test]
    fn a_form_is_told_by_its_media_type_alone() {
        assert!(is_form("application/x-www-form-urlencoded"));
        assert!(is_form("Application/X-WWW-Form-Urlencoded ; charset=utf-8"));
        for other in ["application/json", "multipart/form-data; boundary=x", ""] {
            assert!(!is_form(other), "{other}");
        }
    }

    #[test]
    fn json_gives_its_plain_members() {
        let pairs =
            Pairs::of_json(br#"{"id":"C\u0041","n":1.10,"b":true,"x":null,"o":{},"id":"D"}"#);
        let wanted = [("id", "CA"), ("n", "1.10"), ("b", "true"), ("id", "D")];
        assert_eq!(texts(&pairs), wanted.map(|(n, v)| (n.to_owned(), v.to_owned())));
        for other in [&b"[1]"[..], b"", b"{", b"\xff"] {
            assert!(Pairs::of_json(other).is_empty());
        }
    }
}
