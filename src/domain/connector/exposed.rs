//! [`HandoffApi`]: what of an agent's flat state is exposed, as `PolyAI`'s own `handoff_api` has it:
//! the keys that are listed, renamed, `null` where the state has none.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::connector::address::Unfit;
use crate::domain::members;
use crate::domain::members::Member;

const MAX_KEYS: usize = 200;
const MAX_KEY_CHARACTERS: usize = 128;

/// Which keys of the state are exposed, and as what.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Given", into = "Given")]
pub struct HandoffApi {
    /// Name in the state, and JSON text of the name that clients see.
    keys: Vec<(String, String)>,
    given: Given,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    state_keys: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    aliases: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shared_id_state_key: Option<String>,
}

/// What a flat state exposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The object for clients; what is in it is spelled as in the state.
    pub data: String,
    /// The other side's id, where the state has one; a text without its quotes, all else as spelled.
    pub shared_id: Option<String>,
}

impl HandoffApi {
    /// Whether the key of a state is among those that are exposed.
    pub fn lists(&self, key: &str) -> bool {
        self.given.state_keys.iter().any(|listed| listed == key)
    }

    /// The key of a state that holds the other side's id; empty when there is none.
    pub fn shared_id_key(&self) -> &str {
        self.given.shared_id_state_key.as_deref().unwrap_or_default()
    }

    /// What `state` exposes: a JSON object, no key of it twice.
    pub fn expose(&self, state: &str) -> Result<Exposed, serde_json::Error> {
        let members = members::members(state)?;
        let by_name: BTreeMap<&str, &RawValue> =
            members.iter().map(|Member { name, value, .. }| (name.as_str(), *value)).collect();
        let value = |name: &str| by_name.get(name).map(|value| value.get());
        let listed = self.keys.iter();
        let exposed = listed.map(|(name, key)| (key.as_str(), value(name).unwrap_or("null")));
        let data = members::object(exposed);
        let shared_id = self.given.shared_id_state_key.as_deref().and_then(value);
        let shared_id = shared_id.filter(|value| !["null", "\"\""].contains(value));
        let shared_id =
            shared_id.map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()));
        Ok(Exposed { data, shared_id })
    }
}

impl TryFrom<Given> for HandoffApi {
    type Error = Unfit;

    fn try_from(given: Given) -> Result<Self, Unfit> {
        let Given { state_keys, aliases, shared_id_state_key } = &given;
        let is_name = |name: &String| {
            (1..=MAX_KEY_CHARACTERS).contains(&name.chars().count())
                && !name.chars().any(char::is_control)
        };
        let names = state_keys.iter().chain(aliases.values()).chain(shared_id_state_key);
        if state_keys.len() > MAX_KEYS || !names.into_iter().all(is_name) {
            return Err(Unfit(format!(
                "must list at most {MAX_KEYS} keys of 1 to {MAX_KEY_CHARACTERS} characters, without control characters"
            )));
        }
        if let Some(stray) = aliases.keys().find(|key| !state_keys.contains(key)) {
            return Err(Unfit(format!("has an alias for {stray}, which is not in state_keys")));
        }
        let shown = |name: &String| aliases.get(name).unwrap_or(name).clone();
        let mut all = BTreeSet::new();
        if let Some(twice) = state_keys.iter().map(shown).find(|name| !all.insert(name.clone())) {
            return Err(Unfit(format!("exposes two keys as {twice}")));
        }
        let spelled =
            |name: &String| (name.clone(), serde_json::Value::from(shown(name)).to_string());
        let keys = state_keys.iter().map(spelled).collect();
        Ok(Self { keys, given })
    }
}

impl From<HandoffApi> for Given {
    fn from(api: HandoffApi) -> Self {
        api.given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(text: &str) -> Result<HandoffApi, String> {
        serde_json::from_str(text).map_err(|why| why.to_string())
    }

    #[test]
    fn listed_keys_are_exposed_renamed_and_null_when_unset() {
        let api = api(r#"{"state_keys":["a","b","gone"],"aliases":{"b":"the \"b\""},"shared_id_state_key":"session"}"#).unwrap();
        let state = r#"{ "b" : 1.10, "secret":"x", "a":{"n":12345678901234567890123}, "session":"five9-1" }"#;
        let exposed = api.expose(state).unwrap();
        assert_eq!(
            exposed.data,
            r#"{"a":{"n":12345678901234567890123},"the \"b\"":1.10,"gone":null}"#
        );
        assert_eq!(exposed.shared_id, Some("five9-1".to_owned()));
        assert_eq!(api.expose(r#"{"session":42}"#).unwrap().shared_id, Some("42".to_owned()));
        for none in [r#"{"session":null}"#, r#"{"session":""}"#] {
            assert_eq!(api.expose(none).unwrap().shared_id, None);
        }
        assert_eq!(api.expose("{}").unwrap().data, r#"{"a":null,"the \"b\"":null,"gone":null}"#);
    }

    #[test]
    fn a_list_that_contradicts_itself_is_refused() {
        for text in [
            r#"{}"#,
            r#"{"state_keys":["a"],"aliases":{"b":"c"}}"#,
            r#"{"state_keys":["a","a"]}"#,
            r#"{"state_keys":["a","b"],"aliases":{"a":"b"}}"#,
            r#"{"state_keys":[""]}"#,
            r#"{"state_keys":["a"],"other":1}"#,
        ] {
            assert!(api(text).is_err(), "{text}");
        }
        let text = r#"{"state_keys":["a"],"aliases":{"a":"b"}}"#;
        assert_eq!(serde_json::to_string(&api(text).unwrap()).unwrap(), text);
    }
}
