//! [`Handoff`]: the context of one call, with the answer to a plain read rendered once.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::handoff_id::HandoffId;

/// What became of the call, as the agent tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A person should take the call.
    #[default]
    Ready,
    /// The agent settled it; no human is needed.
    Contained,
    /// The agent broke off.
    Failed,
}

impl Status {
    /// The word as it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Contained => "contained",
            Self::Failed => "failed",
        }
    }

    /// Reads `ready`, `contained` or `failed`.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Ready, Self::Contained, Self::Failed].into_iter().find(|s| s.as_str() == word)
    }

    /// The status of a write that names none: `contained` when `data.contained` is `true` or
    /// `"true"` (the member Five9 flows split on), else `ready`.
    pub fn told_by(data: &str) -> Self {
        #[derive(Deserialize)]
        struct Told<'a> {
            #[serde(borrow)]
            contained: Option<&'a RawValue>,
        }
        let told = serde_json::from_str::<Told<'_>>(data).ok().and_then(|told| told.contained);
        match told.map(RawValue::get) {
            Some("true" | "\"true\"") => Self::Contained,
            _ => Self::Ready,
        }
    }
}

/// Everything of a handoff but `data`, its revision and its expiry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// The key within the account.
    pub id: HandoffId,
    /// Whose it is.
    pub account: AccountId,
    /// Which project's it is.
    pub project: ProjectId,
    /// The id of the other side, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shared_id: Option<HandoffId>,
    /// What became of the call.
    pub status: Status,
    /// How long it lives after each write, in seconds.
    pub ttl_seconds: u32,
    /// The connector whose agent wrote it, if one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connector: Option<ConnectorId>,
    /// That connector's environment.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_env: Option<ClientEnv>,
    /// Its call has visited an agent again since it was written: whoever writes the same again means the
    /// new visit.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub left_over: bool,
    /// How long it lives after each write at least, in seconds, now that its call has ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held_seconds: Option<u32>,
    /// The mark of the caller's number, where `data` has it: not the number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub caller: Option<String>,
}

/// The context of one call as it is kept.
#[derive(Clone, Debug)]
pub struct Handoff {
    /// Ids, status, lifetime.
    pub heading: Heading,
    /// Grows with every change of content, also across delete and re-create; microseconds since
    /// the epoch unless two changes fell into one, so it also tells when the content was written.
    pub revision: u64,
    /// From when on it cannot be read.
    pub expires_at: Timestamp,
    document: Bytes,
    data: Range<usize>,
}

impl Handoff {
    /// A handoff of `data`, which [`crate::domain::data::check`] has passed.
    pub fn new(heading: Heading, data: &str, revision: u64, expires_at: Timestamp) -> Self {
        let id = heading.id.as_str();
        let mut document = String::with_capacity(data.len() + id.len() + 64);
        // Ids need no escaping: their alphabet has no character that JSON escapes.
        document.push_str("{\"id\":\"");
        document.push_str(id);
        if let Some(shared_id) = &heading.shared_id {
            document.push_str("\",\"shared_id\":\"");
            document.push_str(shared_id.as_str());
        }
        document.push_str("\",\"data\":");
        let start = document.len();
        document.push_str(data);
        let data = start..document.len();
        document.push('}');
        Self { heading, revision, expires_at, document: document.into(), data }
    }

    /// The body of a plain read: `{"id", "shared_id"?, "data"}`. Shared, not copied.
    pub fn document(&self) -> Bytes {
        self.document.clone()
    }

    /// `data`, byte for byte as it was written.
    pub fn data(&self) -> &[u8] {
        self.document.get(self.data.clone()).unwrap_or_default()
    }

    /// When the content was last changed.
    pub fn written_at(&self) -> Timestamp {
        Timestamp::from_micros(self.revision)
    }

    /// Whether a write of this content would change nothing: same bytes, `shared_id`, status and
    /// connector, of the same visit of its call.
    pub fn holds(&self, heading: &Heading, data: &str) -> bool {
        self.data() == data.as_bytes()
            && self.heading.shared_id == heading.shared_id
            && self.heading.status == heading.status
            && self.heading.connector == heading.connector
            && self.heading.client_env == heading.client_env
            && !self.heading.left_over
    }
}

/// Which of the next hops can take a handoff as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fits {
    /// The answer to a plain read against the 64 kB of Studio's Make HTTP Request widget. Twilio
    /// does not say which kB; the smaller reading, 64 000 bytes, is safe in both.
    pub studio: bool,
    /// `data` against the 4096 characters of a Flex task's attributes (white space counted,
    /// characters outside the basic plane as two).
    pub flex_task: bool,
    /// `data` against the 1024 characters of the Send To Flex widget, where `< > & ' =` and what
    /// is not ASCII may be written as `\uXXXX` and so count six.
    pub send_to_flex: bool,
}

/// Bytes that Studio's Make HTTP Request widget takes.
pub const STUDIO_BYTES: usize = 64_000;
/// Characters of a Flex task's attributes.
pub const FLEX_TASK_CHARACTERS: usize = 4096;
/// Characters of the Send To Flex widget's attributes.
pub const SEND_TO_FLEX_CHARACTERS: usize = 1024;

impl Fits {
    /// What a handoff fits.
    pub fn of(handoff: &Handoff) -> Self {
        let data = std::str::from_utf8(handoff.data()).unwrap_or_default();
        Self {
            studio: handoff.document.len() <= STUDIO_BYTES,
            flex_task: data.encode_utf16().count() <= FLEX_TASK_CHARACTERS,
            send_to_flex: rendered_characters(data) <= SEND_TO_FLEX_CHARACTERS,
        }
    }
}

/// Characters of JSON where `< > & ' =`, and what is not ASCII, are written as `\uXXXX`: how the
/// Send To Flex widget may render it.
pub fn rendered_characters(json: &str) -> usize {
    let is_escaped = |byte: &u8| b"<>&'=".contains(byte);
    let escaped = json.bytes().filter(is_escaped).count();
    let plain = if json.is_ascii() {
        json.len()
    } else {
        json.chars().map(|c| if c.is_ascii() { 1 } else { 6 * c.len_utf16() }).sum()
    };
    plain + 5 * escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handoff(data: &str, shared_id: Option<&str>) -> Handoff {
        let heading = Heading {
            id: "CA1".parse().unwrap(),
            account: AccountId::default(),
            project: ProjectId::default(),
            shared_id: shared_id.map(|id| id.parse().unwrap()),
            status: Status::Ready,
            ttl_seconds: 60,
            connector: None,
            client_env: None,
            left_over: false,
            held_seconds: None,
            caller: None,
        };
        Handoff::new(heading, data, 7, Timestamp::NEVER)
    }

    #[test]
    fn the_document_holds_id_shared_id_and_the_very_bytes_of_data() {
        let data = r#"{ "n": 1.10, "big":123456789012345678901234567890 }"#;
        let plain = handoff(data, None);
        assert_eq!(plain.document(), format!("{{\"id\":\"CA1\",\"data\":{data}}}"));
        assert_eq!(plain.data(), data.as_bytes());
        let shared = handoff(data, Some("five9-1"));
        assert_eq!(
            shared.document(),
            format!("{{\"id\":\"CA1\",\"shared_id\":\"five9-1\",\"data\":{data}}}")
        );
        assert_eq!(shared.data(), data.as_bytes());
    }

    #[test]
    fn contained_is_told_by_data() {
        assert_eq!(Status::told_by(r#"{"contained":true}"#), Status::Contained);
        assert_eq!(Status::told_by(r#"{"contained":"true"}"#), Status::Contained);
        assert_eq!(Status::told_by(r#"{"contained":"false"}"#), Status::Ready);
        assert_eq!(Status::told_by(r#"{"x":{"contained":true}}"#), Status::Ready);
    }

    #[test]
    fn the_size_report_counts_as_each_hop_counts() {
        let of = |filler: &str, times: usize| {
            Fits::of(&handoff(&format!("{{\"a\":\"{}\"}}", filler.repeat(times)), None))
        };
        assert_eq!(of("x", 1016), Fits { studio: true, flex_task: true, send_to_flex: true });
        assert!(!of("x", 1017).send_to_flex);
        assert!(of("é", 169).send_to_flex && !of("é", 170).send_to_flex);
        assert!(of("=", 169).send_to_flex && !of("=", 170).send_to_flex);
        assert!(of("x", 4088).flex_task && !of("x", 4089).flex_task);
        assert!(of("😀", 2044).flex_task && !of("😀", 2045).flex_task);
        assert!(of("x", 63_970).studio && !of("x", 64_000).studio);
    }
}
