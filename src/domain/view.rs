//! [`View`]: a handoff as a person reads it: who is calling, why, what was tried, and then every member of
//! `data`, in its order, each spelled as it was written: a browser would read `1.10` as 1.1, and round what
//! has more than 15 digits.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::fields::Fields;
use crate::domain::fields::TASK_SUMMARY;
use crate::domain::fields::Verified;
use crate::domain::fields::one_line;
use crate::domain::members;

/// Most members that are shown, counted at all depths.
pub const MOST: usize = 20_000;

const MOST_TRIED: usize = 20;
// Under which names agents say what they have tried, and what each of it was.
const TRIED: [&str; 6] =
    ["tried", "what_was_tried", "attempted", "actions_taken", "steps_taken", "actions"];
const STEP: [&str; 6] = ["summary", "description", "action", "step", "name", "text"];

/// A handoff as a person reads it. Texts are of one line, and empty where `data` has nothing of the kind.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    caller: Caller,
    why: Why,
    tried: Vec<String>,
    fields: Vec<Field>,
    fields_left_out: usize,
}

#[derive(Clone, Debug, Serialize)]
struct Caller {
    name: String,
    phone: String,
    verified: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct Why {
    reason: String,
    summary: String,
    destination: String,
    priority: u32,
    language: String,
}

/// A member of an object, or an element of an array under its place.
#[derive(Clone, Debug, Serialize)]
struct Field {
    name: String,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<Field>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl View {
    /// What there is to see of `data`.
    pub fn of(data: &str) -> Self {
        let known = Fields::of(data, TASK_SUMMARY);
        let mut room = Room { left: MOST, left_out: 0 };
        let fields = room.of_object(data);
        let verified: Verified = known.verified;
        Self {
            caller: Caller { name: known.name, phone: known.phone, verified: verified.as_str() },
            why: Why {
                reason: known.reason,
                summary: known.summary,
                destination: known.destination,
                priority: known.priority,
                language: known.language,
            },
            tried: tried(data),
            fields,
            fields_left_out: room.left_out,
        }
    }
}

/// How many more are shown, and how many are not.
struct Room {
    left: usize,
    left_out: usize,
}

impl Room {
    fn of_object(&mut self, json: &str) -> Vec<Field> {
        let members = members::members(json).unwrap_or_default();
        self.of_all(members.into_iter().map(|member| (member.name, member.value)))
    }

    fn of_array(&mut self, json: &str) -> Vec<Field> {
        let elements = elements(json).into_iter().enumerate();
        self.of_all(elements.map(|(place, value)| (place.to_string(), value)))
    }

    fn of_all<'v>(&mut self, all: impl Iterator<Item = (String, &'v RawValue)>) -> Vec<Field> {
        let mut fields = Vec::new();
        for (name, value) in all {
            if self.left == 0 {
                self.left_out += 1;
                continue;
            }
            self.left -= 1;
            fields.push(self.field(name, value));
        }
        fields
    }

    fn field(&mut self, name: String, value: &RawValue) -> Field {
        let json = value.get();
        let kind = match json.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        };
        let (text, fields) = match kind {
            Kind::Object => (None, Some(self.of_object(json))),
            Kind::Array => (None, Some(self.of_array(json))),
            Kind::String => (Some(serde_json::from_str(json).unwrap_or_default()), None),
            Kind::Number | Kind::Boolean | Kind::Null => (Some(json.to_owned()), None),
        };
        Field { name, kind, text, fields }
    }
}

fn elements(json: &str) -> Vec<&RawValue> {
    serde_json::from_str(json).unwrap_or_default()
}

/// What was tried: a list of texts, or of objects that hold one; or one text.
fn tried(data: &str) -> Vec<String> {
    let members = members::members(data).unwrap_or_default();
    let of = |name: &&str| members.iter().find(|member| member.name == *name);
    let steps = |value: &RawValue| -> Vec<String> {
        if value.get().starts_with('[') {
            elements(value.get()).into_iter().filter_map(step).take(MOST_TRIED).collect()
        } else {
            step(value).into_iter().collect()
        }
    };
    let found = TRIED.iter().filter_map(of).map(|member| steps(member.value));
    found.into_iter().find(|steps| !steps.is_empty()).unwrap_or_default()
}

fn step(value: &RawValue) -> Option<String> {
    let text = members::scalar(value).map(Cow::into_owned).or_else(|| {
        let members = members::members(value.get()).ok()?;
        let of = |name: &&str| members.iter().find(|member| member.name == *name);
        let text = STEP.iter().filter_map(of).find_map(|member| members::scalar(member.value));
        text.map(Cow::into_owned)
    })?;
    Some(one_line(&text, TASK_SUMMARY)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(data: &str) -> serde_json::Value {
        serde_json::to_value(View::of(data)).unwrap()
    }

    #[test]
    fn every_member_is_shown_in_its_order_as_it_was_written() {
        let data =
            r#"{"b":1.10,"a":{"2":"x","1":[true,null,12345678901234567890123]},"__proto__":"<b>"}"#;
        assert_eq!(
            serde_json::to_string(&View::of(data).fields).unwrap(),
            r#"[{"name":"b","kind":"number","text":"1.10"},{"name":"a","kind":"object","fields":[{"name":"2","kind":"string","text":"x"},{"name":"1","kind":"array","fields":[{"name":"0","kind":"boolean","text":"true"},{"name":"1","kind":"null","text":"null"},{"name":"2","kind":"number","text":"12345678901234567890123"}]}]},{"name":"__proto__","kind":"string","text":"<b>"}]"#
        );
    }

    #[test]
    fn who_why_and_what_was_tried_come_first() {
        let view = shown(
            r#"{"name":"Zoë","phone":"+441632960000","verified":true,"handoff_reason":"billing",
                "summary":"Invoice\n17","tried":["Resent it",{"step":"Checked  it"},7,[],""]}"#,
        );
        assert_eq!(
            view["caller"],
            serde_json::json!({"name":"Zoë","phone":"+441632960000","verified":"true"})
        );
        assert_eq!(view["why"]["summary"], "Invoice 17");
        assert_eq!(view["tried"], serde_json::json!(["Resent it", "Checked it", "7"]));
        assert_eq!(shown(r#"{"tried":[],"actions":"Reset it"}"#)["tried"][0], "Reset it");
        assert_eq!(shown("{}")["caller"]["verified"], "unknown");
    }

    #[test]
    fn what_would_be_too_much_is_counted() {
        let data = format!(r#"{{"a":[{}0],"b":1}}"#, "0,".repeat(MOST));
        let view = View::of(&data);
        assert_eq!((view.fields.len(), view.fields_left_out), (1, 3));
    }
}
