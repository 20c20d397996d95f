//! Attributes of a task that was made before its handoff was written.

use std::fmt;

use serde_json::Map;
use serde_json::Value;

use crate::domain::connector::settings;
use crate::domain::merge::merge;
use crate::twilio::attributes::About;
use crate::twilio::attributes::TASK_CHARACTERS;
use crate::twilio::attributes::of_task;

/// What `TaskRouter` takes of attributes in all.
const MOST_CHARACTERS: usize = 4096;

// What routing has gone by already, and what people may have changed since.
const NOT_AGAIN: [&str; 2] = ["type", "name"];

/// Attributes of a task, and what they have no room for.
#[derive(Clone)]
pub struct Updated {
    /// A JSON object of at most 4096 characters.
    pub attributes: String,
    /// Names, separated by commas.
    pub left_out: String,
}

// It tells of a person.
impl fmt::Debug for Updated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Updated({} characters)", self.attributes.len())
    }
}

/// A task's attributes with what a handoff says: keys of ours alone, all others byte for byte as they were.
/// `None` where that changes nothing, or there is no room for any of it.
pub fn updated(
    before: &str,
    about: &About<'_>,
    (status, data): (&str, &str),
    exposed: &settings::Flex,
) -> Option<Updated> {
    // What cannot be read cannot be kept as it is either.
    let is_nothing = ["", "null"].contains(&before.trim());
    let before = if is_nothing { "{}" } else { before };
    let there: Map<String, Value> = serde_json::from_str(before).ok()?;
    let mut most = TASK_CHARACTERS;
    loop {
        let (ours, left_out) = of_task(about, status, Some(data), exposed, most);
        let attributes = merge(before, &patch(&ours, &there, exposed)?)?;
        let characters = attributes.chars().count();
        if characters <= MOST_CHARACTERS {
            return Some(Updated { attributes, left_out });
        }
        // Again with as much less as there was too much.
        most = most.checked_sub(characters - MOST_CHARACTERS).filter(|most| *most > 0)?;
    }
}

/// What turns attributes that are there into `ours`.
fn patch(ours: &str, there: &Map<String, Value>, exposed: &settings::Flex) -> Option<String> {
    let mut patch: Map<String, Value> = serde_json::from_str(ours).ok()?;
    patch.retain(|name, _| !NOT_AGAIN.contains(&name.as_str()));
    // Of what was exposed before and is not in `data` any more nothing stays.
    if let (Some(Value::Object(new)), Some(Value::Object(old))) =
        (patch.get_mut("handoff"), there.get("handoff"))
    {
        for gone in old.keys() {
            new.entry(gone.clone()).or_insert(Value::Null);
        }
    }
    // It was made with the task, and is taken out once its connector wants none there.
    if let (false, Some(Value::Object(baton))) = (exposed.view_link, patch.get_mut("baton")) {
        baton.insert("view_link".to_owned(), Value::Null);
    }
    // Twilio knew it when the task was made, and says nothing of it now.
    if let Some(Value::Object(customers)) = patch.get_mut("customers") {
        customers.retain(|_, value| value != "");
    }
    Some(Value::Object(patch).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About<'_> = About {
        id: "CA0123456789abcdef0123456789abcdef",
        connector_id: "conn_00000000000000000001",
        public_url: "https://baton.example.com",
        leg: 1,
        from: "",
        view_link: "",
    };

    fn flex() -> settings::Flex {
        serde_json::from_str(r#"{"expose":["a"]}"#).unwrap()
    }

    #[test]
    fn only_our_keys_change() {
        let missing =
            of_task(&About { from: "+15550100", ..ABOUT }, "missing", None, &flex(), 2600).0;
        let twilios = r#""call_sid":"CA1","big":123456789012345678901234567890,"n":1.10,"type":"voice","name":"Ada","conference":{"sid":"CF1"},"#;
        let before = missing
            .replacen('{', &format!("{{{twilios}"), 1)
            .replacen(r#""type":"inbound","#, "", 1)
            .replacen(r#""name":"+15550100","#, "", 1)
            .replacen(r#""handoff":{}"#, r#""handoff":{"old":1}"#, 1);
        let data = r#"{"summary":"Late bill","a":"x"}"#;
        let after = updated(&before, &ABOUT, ("ready", data), &flex()).unwrap().attributes;
        let read: Value = serde_json::from_str(&after).unwrap();
        assert!(after.starts_with(&format!("{{{twilios}")), "{after}");
        assert_eq!(read["handoff_status"], "ready");
        assert_eq!(read["handoff_summary"], "Late bill");
        assert_eq!(read["handoff"], serde_json::json!({"a": "x"}));
        assert_eq!(read["customers"]["phone"], "+15550100");
        assert!(updated(&after, &ABOUT, ("ready", data), &flex()).is_none(), "nothing is new");
    }

    #[test]
    fn what_cannot_be_read_is_left_as_it_is() {
        for before in [r#"{"keep":"a\ud83d"}"#, r#"{"n":1e400}"#, "[1]", "\"x\"", "{}{", "7"] {
            assert!(updated(before, &ABOUT, ("ready", "{}"), &flex()).is_none(), "{before}");
        }
        for nothing in ["", "null", "{}"] {
            assert!(updated(nothing, &ABOUT, ("ready", "{}"), &flex()).is_some(), "{nothing}");
        }
    }

    #[test]
    fn what_others_have_filled_leaves_less_room() {
        let filled = |room: usize| format!(r#"{{"notes":"{}"}}"#, "x".repeat(4096 - room));
        let data = format!(r#"{{"summary":"{}"}}"#, "long ".repeat(200));
        let Updated { attributes: after, left_out } =
            updated(&filled(1000), &ABOUT, ("ready", &data), &flex()).unwrap();
        assert_eq!(left_out, "summary");
        assert!(after.chars().count() <= 4096);
        let read: Value = serde_json::from_str(&after).unwrap();
        assert!(!read["handoff_summary"].as_str().unwrap().is_empty());
        assert!(updated(&filled(100), &ABOUT, ("ready", &data), &flex()).is_none());
    }
}
