//! [`Settings`]: what of a connector may be changed.
//!
//! What is kept is read by the same rules as what is sent: a limit may be widened and a member added,
//! but to narrow one needs a reader of its own for what is there already.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use serde_path_to_error::Segment;
use thiserror::Error;

use crate::domain::connector::address::Unfit;
use crate::domain::connector::address::WaitUrl;
use crate::domain::connector::address::WorkflowSid;
use crate::domain::connector::address::plain;
use crate::domain::connector::destination::Destination;
use crate::domain::connector::destination::Fallback;
use crate::domain::connector::exposed::HandoffApi;
use crate::domain::connector::extra_info::ExtraInfo;
use crate::domain::connector::routing::MASK;
use crate::domain::connector::routing::Routing;
use crate::domain::members;
use crate::domain::members::Member;
use crate::domain::merge::merge;

const MAX_NAME_CHARACTERS: usize = 100;
const MAX_VARIANT_CHARACTERS: usize = 128;
const MAX_DESTINATIONS: usize = 200;
const MAX_KEY_CHARACTERS: usize = 64;
const MAX_EXPOSED: usize = 100;
const MAX_MEMBER_CHARACTERS: usize = 128;

/// The members of [`Settings`], as the API has them.
pub const MEMBERS: [&str; 9] = [
    "name",
    "variant_id",
    "extra_info",
    "routing",
    "destinations",
    "fallback",
    "handoff_api",
    "flex",
    "studio",
];

/// What of a connector may be changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What people call it; one of each name in an environment of a project.
    pub name: Name,
    /// `PolyAI`'s variant; empty when there is none.
    #[serde(default)]
    pub variant_id: VariantId,
    /// Languages, and what else a client sends.
    #[serde(default)]
    pub extra_info: ExtraInfo,
    /// How calls reach the agent.
    #[serde(default)]
    pub routing: Routing,
    /// Where the agent may send calls, by the keys it names.
    #[serde(default)]
    pub destinations: Destinations,
    /// What becomes of a call when nothing else can be done for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// What of an agent's flat state is exposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff_api: Option<HandoffApi>,
    /// What Flex gets.
    #[serde(default)]
    pub flex: Flex,
    /// What Studio gets.
    #[serde(default)]
    pub studio: Studio,
}

/// Why a text is no settings of a connector.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{pointer}: {why}")]
pub struct BadSettings {
    /// JSON pointer to the place.
    pub pointer: String,
    /// What is wrong there.
    pub why: String,
}

impl Settings {
    /// Reads JSON text, no key of which stands twice.
    pub fn read(text: &str) -> Result<Self, BadSettings> {
        let mut reader = serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let pointer = error.path().iter().map(escaped).collect::<String>();
            let why = error.inner().to_string();
            // Without the position: it is one in a text that the caller may not have sent.
            let why = why.split(" at line ").next().unwrap_or_default();
            match why.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
                Some(name) => BadSettings {
                    pointer: format!("{pointer}/{name}"),
                    why: "is missing".to_owned(),
                },
                None => BadSettings { pointer, why: plain(why) },
            }
        })
    }

    /// JSON text of all of it, with a mask in the place of each secret.
    pub fn masked(&self) -> Result<String, serde_json::Error> {
        let text = serde_json::to_string(self)?;
        let headers = self.routing.sip.iter().flat_map(|sip| sip.headers.keys());
        let masks: BTreeMap<_, _> = headers.map(|name| (name, MASK)).collect();
        if masks.is_empty() {
            return Ok(text);
        }
        let mask = serde_json::json!({ "routing": { "sip": { "headers": masks } } });
        Ok(merge(&text, &mask.to_string()).unwrap_or(text))
    }
}

/// A step of a path as one of a JSON pointer (RFC 6901).
fn escaped(step: &Segment) -> String {
    match step {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    }
}

/// A connector's name: 1–100 characters, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = Unfit;

    fn try_from(text: String) -> Result<Self, Unfit> {
        let fits = (1..=MAX_NAME_CHARACTERS).contains(&text.trim().chars().count());
        if !fits || text.chars().any(char::is_control) {
            return Err(Unfit(format!(
                "must be 1 to {MAX_NAME_CHARACTERS} characters, without control characters"
            )));
        }
        Ok(Self(text.trim().to_owned()))
    }
}

/// A variant of a project; may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Option<String>")]
pub struct VariantId(String);

impl VariantId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<Option<String>> for VariantId {
    type Error = Unfit;

    fn try_from(text: Option<String>) -> Result<Self, Unfit> {
        let text = text.unwrap_or_default();
        if text.len() > MAX_VARIANT_CHARACTERS || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Unfit(format!(
                "must be at most {MAX_VARIANT_CHARACTERS} printable ASCII characters without blanks; empty for none"
            )));
        }
        Ok(Self(text))
    }
}

/// Where the agent may send calls, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Destination>")]
pub struct Destinations(BTreeMap<String, Destination>);

impl TryFrom<BTreeMap<String, Destination>> for Destinations {
    type Error = Unfit;

    fn try_from(given: BTreeMap<String, Destination>) -> Result<Self, Unfit> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let is_key =
            |key: &String| (1..=MAX_KEY_CHARACTERS).contains(&key.len()) && key.bytes().all(plain);
        if given.len() > MAX_DESTINATIONS || !given.keys().all(is_key) {
            return Err(Unfit(format!(
                "must be at most {MAX_DESTINATIONS}, each under a key of 1 to {MAX_KEY_CHARACTERS} of A–Z a–z 0–9 . _ -"
            )));
        }
        Ok(Self(given))
    }
}

impl Destinations {
    /// The destination of a key.
    pub fn get(&self, key: &str) -> Option<&Destination> {
        self.0.get(key)
    }
}

/// What Flex gets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flex {
    /// The workflow of calls whose handoff names no destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_sid: Option<WorkflowSid>,
    /// What callers hear while they wait for a person: `TwiML` of a queue; Twilio's own if none is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_url: Option<WaitUrl>,
    /// Members of `data` that tasks carry.
    pub expose: Exposed,
    /// Flex Insights: `conversation_attribute_1` to `_10`, and the member of `data` that each gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub insights: BTreeMap<Insight, MemberName>,
    /// Whether a task carries a view link of its call's handoff: whoever sees the task's attributes can
    /// then see the handoff.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub view_link: bool,
    /// Whether a task is given what was written after it was made.
    #[serde(skip_serializing_if = "LateWrites::is_on")]
    pub late_writes: LateWrites,
}

/// Whether tasks are given what is written late: they are unless it is turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LateWrites(bool);

impl LateWrites {
    /// Whether they are.
    pub fn is_on(&self) -> bool {
        self.0
    }
}

impl Default for LateWrites {
    fn default() -> Self {
        Self(true)
    }
}

impl Flex {
    /// The attributes of Flex Insights that `data`, an object, has a text, a number or a boolean for.
    pub fn insights(&self, data: &str) -> Vec<(String, String)> {
        if self.insights.is_empty() {
            return Vec::new();
        }
        let members = members::members(data).unwrap_or_default();
        let text = |name: &MemberName| {
            let member = members.iter().find(|member| member.name == name.0)?;
            members::scalar(member.value).map(Cow::into_owned)
        };
        let given = self.insights.iter();
        given.filter_map(|(insight, name)| Some((insight.0.clone(), text(name)?))).collect()
    }
}

/// One of Flex Insights' ten free attributes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Insight(String);

impl TryFrom<String> for Insight {
    type Error = Unfit;

    fn try_from(text: String) -> Result<Self, Unfit> {
        let number = text.strip_prefix("conversation_attribute_").unwrap_or_default();
        if (1..=10).any(|known: u8| known.to_string() == number) {
            Ok(Self(text))
        } else {
            Err(Unfit::new("must be conversation_attribute_1 to conversation_attribute_10"))
        }
    }
}

/// The name of a member of `data`: 1–128 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct MemberName(String);

impl TryFrom<String> for MemberName {
    type Error = Unfit;

    fn try_from(text: String) -> Result<Self, Unfit> {
        if (1..=MAX_MEMBER_CHARACTERS).contains(&text.chars().count()) {
            Ok(Self(text))
        } else {
            Err(Unfit(format!("must be a member's name, 1 to {MAX_MEMBER_CHARACTERS} characters")))
        }
    }
}

/// What Studio gets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Studio {
    /// Members of `data` that the answer to a flow carries in its `data`; all of them when this is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expose: Option<Exposed>,
}

/// Members of `data`, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<MemberName>")]
pub struct Exposed(Vec<MemberName>);

impl Exposed {
    /// Of an object, the members that are named, as they are spelled.
    pub fn of(&self, data: &str) -> String {
        let members = members::members(data).unwrap_or_default();
        let is_named = |member: &&Member<'_>| self.0.iter().any(|name| name.0 == member.name);
        let named = members.iter().filter(is_named);
        members::object(named.map(|member| (member.key, member.value.get())))
    }
}

impl TryFrom<Vec<MemberName>> for Exposed {
    type Error = Unfit;

    fn try_from(names: Vec<MemberName>) -> Result<Self, Unfit> {
        if names.len() > MAX_EXPOSED {
            return Err(Unfit(format!("must be at most {MAX_EXPOSED} names")));
        }
        Ok(Self(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        serde_json::from_str(text).map_err(|why| why.to_string())
    }

    #[test]
    fn a_name_is_enough_and_all_else_has_its_default() {
        let settings = read(r#"{"name":" Front desk "}"#).unwrap();
        assert_eq!(settings.name.as_str(), "Front desk");
        assert_eq!(settings.variant_id.as_str(), "");
        let null = read(r#"{"name":"a","variant_id":null}"#).unwrap();
        assert_eq!(null.variant_id.as_str(), "");
        for text in [
            "{}",
            r#"{"name":""}"#,
            r#"{"name":"a","colour":"red"}"#,
            r#"{"name":"a","variant_id":"a b"}"#,
            r#"{"name":"a","destinations":{"a b":{"number":"+441632960000"}}}"#,
            r#"{"name":"a","flex":{"insights":{"conversation_attribute_11":"x"}}}"#,
            r#"{"name":"a","studio":{"expose":[""]}}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_of_it_reads_back_and_secrets_are_masked_where_it_is_shown() {
        let text = r#"{"name":"a","variant_id":"v","extra_info":{"n":1.10},"routing":{"mode":"sip","sip":{"uri":"sip:a@b","headers":{"X-PolyAi-Auth-Token":"hunter2"}}},"destinations":{"billing":{"number":"+441632960000"}},"fallback":{"say":"Sorry"},"handoff_api":{"state_keys":["a"]},"flex":{"expose":["a"],"insights":{"conversation_attribute_1":"a"}},"studio":{"expose":[]}}"#;
        let settings = read(text).unwrap();
        let kept = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::to_string(&read(&kept).unwrap()).unwrap(), kept);
        assert!(kept.contains("hunter2") && kept.contains(r#"{"n":1.10}"#));
        let shown = settings.masked().unwrap();
        assert!(!shown.contains("hunter2") && shown.contains(r#""X-PolyAi-Auth-Token":"***""#));
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
