//! [`Attributes`]: what Flex is told of a call, and whether it is what the agent wrote.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;

use crate::cli::call::agent;
use crate::domain::handoff::SEND_TO_FLEX_CHARACTERS;
use crate::domain::handoff::rendered_characters;
use crate::twilio::attributes::TASK_CHARACTERS;

/// Attributes as they were answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    /// Of what.
    what: &'static str,
    most: usize,
    json: String,
    /// Names of what was left out, separated by commas.
    omitted: String,
}

/// What attributes should say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'e> {
    /// The call.
    pub(super) call: &'e str,
    /// The visit.
    pub(super) leg: u32,
    /// In a word, what there is.
    pub(super) status: &'static str,
    /// The handoff, if it should be there.
    pub(super) data: Option<&'e Value>,
}

impl Attributes {
    /// Those of a `<Task>`.
    pub(super) fn of_task(json: &str) -> Result<Self, String> {
        let read = read(json)?;
        let omitted = text(&read, "handoff_omitted").to_owned();
        Ok(Self { what: "task", most: TASK_CHARACTERS, json: json.to_owned(), omitted })
    }

    /// Those of Send To Flex.
    pub(super) fn of_flow(answer: &FlowAnswer<'_>) -> Self {
        let (json, omitted) = (answer.flex.get().to_owned(), answer.flex_omitted.clone());
        Self { what: "flex", most: SEND_TO_FLEX_CHARACTERS, json, omitted }
    }

    /// Whether they are what they should be.
    pub(super) fn check(&self, expected: &Expected<'_>) -> Result<(), String> {
        let wrong = |why: String| format!("{}: {why}", self.what);
        let read = read(&self.json).map_err(wrong)?;
        let characters = rendered_characters(&self.json);
        if characters > self.most {
            let most = self.most;
            return Err(wrong(format!("{characters} characters, and Twilio takes {most}")));
        }
        let wanted = [
            ("handoff_found", json!(expected.data.is_some())),
            ("handoff_status", json!(expected.status)),
            ("handoff_id", json!(expected.call)),
            ("handoff_leg", json!(expected.leg)),
        ];
        let of_data = ["reason", "summary"].iter().filter_map(|name| {
            let value = expected.data?.get(*name)?.clone();
            let is_whole = !self.omitted.split(',').any(|omitted| omitted == *name);
            is_whole.then_some((*name, value))
        });
        let of_data = of_data.map(|(name, value)| match name {
            "reason" => ("handoff_reason", value),
            _ => ("handoff_summary", value),
        });
        for (name, wanted) in wanted.into_iter().chain(of_data) {
            let is = read.get(name).unwrap_or(&Value::Null);
            if *is != wanted {
                return Err(wrong(format!("{name} is {is}, and should be {wanted}")));
            }
        }
        let others = [1, 2].into_iter().filter(|leg| *leg != expected.leg);
        if others.map(agent::summary).any(|summary| self.json.contains(summary)) {
            return Err(wrong(
                "it tells what was written for another visit of the call".to_owned(),
            ));
        }
        Ok(())
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, most, json, omitted } = self;
        let omitted = if omitted.is_empty() { "nothing" } else { omitted.as_str() };
        let characters = rendered_characters(json);
        write!(f, "{what:<7} {characters} of {most} characters; left out: {omitted}\n{json}")
    }
}

fn read(json: &str) -> Result<Value, String> {
    let read = serde_json::from_str::<Value>(json).ok().filter(Value::is_object);
    read.ok_or_else(|| "the attributes are no JSON object".to_owned())
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What a flow is answered.
#[derive(Deserialize)]
pub(super) struct FlowAnswer<'b> {
    pub(super) status: String,
    pub(super) action: String,
    flex_omitted: String,
    #[serde(borrow)]
    flex: &'b RawValue,
}

impl<'b> FlowAnswer<'b> {
    /// Reads it.
    pub(super) fn read(body: &'b str) -> Result<Self, String> {
        serde_json::from_str(body).map_err(|why| format!("not what a flow is answered: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "CA0123456789abcdef0123456789abcdef";

    fn task(leg: u32, of: u32) -> Attributes {
        let data = agent::handoff(of, false);
        let json = json!({
            "handoff_found": true, "handoff_status": "ready", "handoff_id": CALL, "handoff_leg": leg,
            "handoff_reason": data["reason"], "handoff_summary": data["summary"], "handoff_omitted": "",
        });
        Attributes::of_task(&json.to_string()).unwrap()
    }

    #[test]
    fn attributes_are_those_of_the_visit_and_of_no_other() {
        let first = agent::handoff(1, false);
        let expected = Expected { call: CALL, leg: 1, status: "ready", data: Some(&first) };
        assert_eq!(task(1, 1).check(&expected), Ok(()));
        for (attributes, expected) in [
            (task(2, 1), expected),
            (task(1, 2), expected),
            (task(1, 1), Expected { status: "missing", ..expected }),
            (task(1, 1), Expected { data: None, ..expected }),
        ] {
            assert!(attributes.check(&expected).is_err(), "{attributes} {expected:?}");
        }
    }

    #[test]
    fn attributes_are_shown_as_they_are_with_their_size_and_what_was_left_out() {
        let body = r#"{"found":true,"status":"ready","action":"enqueue","flex_omitted":"summary,content","flex":{"b": 1,"a":"<"}}"#;
        let answer = FlowAnswer::read(body).unwrap();
        assert_eq!((answer.status.as_str(), answer.action.as_str()), ("ready", "enqueue"));
        assert_eq!(
            Attributes::of_flow(&answer).to_string(),
            "flex    21 of 1024 characters; left out: summary,content\n{\"b\": 1,\"a\":\"<\"}"
        );
    }
}
