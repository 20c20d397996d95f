//! The attributes of a Flex task, as Send To Flex takes them, 1024 characters in all, and as `<Task>`
//! does, of whose 4096 Twilio's own parameters of the call take up to 1 300.
//!
//! Counted as they may be written when Studio renders them: what is not ASCII, and `< > & ' =`, as
//! `\uXXXX`, six. Texts that never shrink are bounded, so that what must be there always fits; a task
//! that is too large is not made at all, and the caller is lost.
//!
//! Only names of ours stand at the top: what an agent wrote stands under `handoff`, so that none of
//! Twilio's own (`call_sid`, `from`, `direction` …) can be written over.

pub(super) mod shrink;
pub mod task;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::connector::settings;
use crate::domain::fields::Fields;
use crate::domain::fields::TASK_SUMMARY;
use crate::domain::fields::Verified;
use crate::domain::fields::one_line;
use crate::domain::handoff::SEND_TO_FLEX_CHARACTERS;
use crate::domain::handoff::rendered_characters;

// Rendered characters of texts that never shrink.
const NAME_CHARACTERS: usize = 120;
const DESTINATION_CHARACTERS: usize = 90;
// A text shorter than that tells nothing.
const WORTH_KEEPING: usize = 24;
const ELLIPSIS: usize = 6;
/// Characters of a task's attributes in all: Twilio's own parameters of the call are part of its 4096.
pub const TASK_CHARACTERS: usize = 2600;
// Of a task: what it may carry of `data`, and one attribute of Flex Insights.
const EXPOSED_CHARACTERS: usize = 1200;
const INSIGHT_CHARACTERS: usize = 100;

/// Which call attributes are about, and whose.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// The call's SID, or by what else its handoff was asked for.
    pub id: &'a str,
    /// The connector that was asked through, if one was.
    pub connector_id: &'a str,
    /// Where Baton is, as Twilio reaches it.
    pub public_url: &'a str,
    /// The visit of the call that is asked about; 0 when none is named.
    pub leg: u32,
    /// The caller's number, if it is known.
    pub from: &'a str,
    /// A link to the panel that opens by itself; empty where the connector wants none.
    pub view_link: &'a str,
}

/// The attributes of a task, as `TaskRouter` and Flex Insights name them.
#[derive(Clone, Debug, Serialize)]
struct Flex<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    handoff_found: bool,
    handoff_status: &'a str,
    handoff_id: &'a str,
    handoff_leg: u32,
    handoff_destination: String,
    handoff_reason: String,
    handoff_language: String,
    handoff_verified: bool,
    handoff_priority: u32,
    handoff_omitted: String,
    handoff_summary: String,
    baton: Baton<'a>,
    conversations: Conversations,
    customers: Customers,
    /// What a task carries of `data`; Send To Flex has no room for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    handoff: Option<Box<RawValue>>,
}

#[derive(Clone, Debug, Serialize)]
struct Baton<'a> {
    url: &'a str,
    connector_id: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    view_link: String,
}

#[derive(Clone, Debug, Serialize)]
struct Conversations {
    ivr_path: String,
    ivr_time: u32,
    content: String,
    #[serde(flatten)]
    insights: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize)]
struct Customers {
    phone: String,
}

/// What is given up, first things first, and whether a part of it is still of use.
const GIVEN_UP: [(&str, bool); 9] = [
    ("summary", true),
    ("content", true),
    ("customers", false),
    ("ivr_path", false),
    ("handoff", true),
    ("insights", false),
    ("reason", true),
    ("language", false),
    ("view_link", false),
];

/// The names of what may be given up: ours, and none of an agent's.
pub const PARTS: [&str; 9] = [
    "summary",
    "content",
    "customers",
    "ivr_path",
    "handoff",
    "insights",
    "reason",
    "language",
    "view_link",
];

/// The attributes for Send To Flex as JSON, and the names of what was shortened or left out, separated
/// by commas.
pub(super) fn of_widget(
    about: &About<'_>,
    found: bool,
    status: &str,
    fields: &Fields,
) -> (String, String) {
    Flex::new(about, found, status, fields).within(SEND_TO_FLEX_CHARACTERS)
}

/// The attributes of `<Task>` as JSON, for the handoff whose `data` is given, if there is one: with the
/// members of it that `exposed` names; and the names of what was shortened or left out, separated by commas.
pub fn of_task(
    about: &About<'_>,
    status: &str,
    data: Option<&str>,
    exposed: &settings::Flex,
    most: usize,
) -> (String, String) {
    let json = data.unwrap_or("{}");
    let fields = Fields::of(json, TASK_SUMMARY);
    let mut flex = Flex::new(about, data.is_some(), status, &fields);
    let shown = exposed.expose.of(json);
    let shown = shrink::numbers_as_text(&shown);
    let (shown, left_out) = exposed_within(&shown, EXPOSED_CHARACTERS);
    flex.handoff = RawValue::from_string(shown).ok();
    flex.handoff_omitted = left_out.join(",");
    let insights = exposed.insights(json).into_iter();
    let insights = insights.map(|(name, text)| (name, one_line(&text, INSIGHT_CHARACTERS)));
    flex.conversations.insights = insights.collect();
    let (json, omitted) = flex.within(most);
    // XML cannot hold them, and JSON can say them.
    (json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff"), omitted)
}

/// As many members of an object as are rendered in `room` characters, and the names of the others.
fn exposed_within(object: &str, room: usize) -> (String, Vec<String>) {
    let mut bytes = room;
    loop {
        let (kept, left_out) = shrink::to_fit(object, bytes);
        let rendered = rendered_characters(&kept);
        if rendered <= room || kept.len() <= 2 {
            return (kept, left_out);
        }
        // Fewer bytes by as much as it is rendered too long.
        bytes = (kept.len() * room / rendered).min(kept.len() - 1);
    }
}

impl<'a> Flex<'a> {
    fn new(about: &About<'a>, found: bool, status: &'a str, fields: &Fields) -> Self {
        let phone = if fields.phone.is_empty() { about.from } else { &fields.phone };
        let phone = one_line(phone, 64);
        let name = if fields.name.is_empty() { &phone } else { &fields.name };
        Self {
            kind: "inbound",
            name: shortened(name, NAME_CHARACTERS),
            handoff_found: found,
            handoff_status: status,
            handoff_id: about.id,
            handoff_leg: about.leg,
            handoff_destination: shortened(&fields.destination, DESTINATION_CHARACTERS),
            handoff_reason: fields.reason.clone(),
            handoff_language: fields.language.clone(),
            handoff_verified: fields.verified == Verified::Yes,
            handoff_priority: fields.priority,
            handoff_omitted: String::new(),
            handoff_summary: fields.summary.clone(),
            baton: Baton {
                url: about.public_url,
                connector_id: about.connector_id,
                view_link: about.view_link.to_owned(),
            },
            conversations: Conversations {
                ivr_path: fields.ivr_path.clone(),
                ivr_time: fields.ivr_time,
                content: fields.content.clone(),
                insights: BTreeMap::new(),
            },
            customers: Customers { phone },
            handoff: None,
        }
    }

    /// JSON of at most `most` characters, and what was given up for it.
    fn within(mut self, most: usize) -> (String, String) {
        let mut json = json(&self);
        for (name, shrinks) in GIVEN_UP {
            if rendered_characters(&json) <= most {
                break;
            }
            self.give_up(name, shrinks, most);
            json = self::json(&self);
        }
        (json, self.handoff_omitted)
    }

    fn text(&mut self, name: &str) -> &mut String {
        match name {
            "summary" => &mut self.handoff_summary,
            "content" => &mut self.conversations.content,
            "customers" => &mut self.customers.phone,
            "ivr_path" => &mut self.conversations.ivr_path,
            "reason" => &mut self.handoff_reason,
            "view_link" => &mut self.baton.view_link,
            _ => &mut self.handoff_language,
        }
    }

    /// Shortens a part to what there is room for, or to nothing.
    fn give_up(&mut self, name: &str, shrinks: bool, most: usize) {
        match name {
            "insights" if self.conversations.insights.is_empty() => {}
            "insights" => {
                self.conversations.insights.clear();
                self.tell(name);
            }
            "handoff" => self.give_up_members(most),
            _ => self.give_up_text(name, shrinks, most),
        }
    }

    fn give_up_members(&mut self, most: usize) {
        let Some(full) = self.handoff.take() else { return };
        self.handoff = RawValue::from_string("{}".to_owned()).ok();
        if full.get() == "{}" {
            return;
        }
        self.tell("handoff");
        let room = self.room(most);
        let (kept, _) = exposed_within(full.get(), room + 2);
        if let Ok(kept) = RawValue::from_string(kept) {
            self.handoff = Some(kept);
        }
    }

    fn give_up_text(&mut self, name: &str, shrinks: bool, most: usize) {
        let full = std::mem::take(self.text(name));
        if full.is_empty() {
            return;
        }
        self.tell(name);
        let room = self.room(most);
        if shrinks && room >= WORTH_KEEPING {
            *self.text(name) = shortened(&full, room);
        }
    }

    fn tell(&mut self, name: &str) {
        if !self.handoff_omitted.is_empty() {
            self.handoff_omitted.push(',');
        }
        self.handoff_omitted.push_str(name);
    }

    fn room(&self, most: usize) -> usize {
        most.saturating_sub(rendered_characters(&json(self)))
    }
}

/// What is written in one go: these are some 600 bytes.
pub(super) fn json(value: &(impl Serialize + ?Sized)) -> String {
    let mut json = Vec::with_capacity(1024);
    // Writing texts and numbers to memory does not fail.
    let _ = serde_json::to_writer(&mut json, value);
    String::from_utf8(json).unwrap_or_default()
}

/// As much of a text as is rendered in `room` characters, cut between words where there are any.
fn shortened(text: &str, room: usize) -> String {
    let cost = |text: &str| {
        let json = json(text);
        rendered_characters(&json).saturating_sub(2)
    };
    if cost(text) <= room {
        return text.to_owned();
    }
    let mut spent = ELLIPSIS;
    let mut kept = 0;
    let mut last_gap = 0;
    for (at, c) in text.char_indices() {
        spent += cost(c.encode_utf8(&mut [0; 4]));
        if spent > room {
            break;
        }
        if c == ' ' {
            last_gap = at;
        }
        kept = at + c.len_utf8();
    }
    // A cut in the first half of the room would be for the sake of one long word.
    let end = if last_gap * 2 >= kept { last_gap } else { kept };
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_its_room_between_words() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("one two three", 12), "one…");
        assert_eq!(shortened("one two three four", 17), "one two…");
        assert_eq!(shortened("ééé", 17), "é…");
        assert_eq!(shortened("\"\"\"\"\"\"\"\"", 11), "\"\"…");
    }
}
