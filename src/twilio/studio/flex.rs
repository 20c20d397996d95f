//! [`Flex`]: the attributes of Send To Flex, 1024 characters in all.
//!
//! Counted as they may be written when Studio renders them: what is not ASCII, and `< > & ' =`, as
//! `\uXXXX`, six. Texts that never shrink are bounded, so that what must be there always fits.

use serde::Serialize;

use crate::domain::handoff::SEND_TO_FLEX_CHARACTERS;
use crate::domain::handoff::rendered_characters;
use crate::twilio::studio::Asked;
use crate::twilio::studio::fields::Fields;
use crate::twilio::studio::fields::Verified;
use crate::twilio::studio::fields::one_line;
use crate::twilio::studio::json;

// Rendered characters of texts that never shrink.
const NAME_CHARACTERS: usize = 120;
const DESTINATION_CHARACTERS: usize = 90;
// A text shorter than that tells nothing.
const WORTH_KEEPING: usize = 24;
const ELLIPSIS: usize = 6;

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
}

#[derive(Clone, Debug, Serialize)]
struct Baton<'a> {
    url: &'a str,
    connector_id: &'a str,
}

#[derive(Clone, Debug, Serialize)]
struct Conversations {
    ivr_path: String,
    ivr_time: u32,
    content: String,
}

#[derive(Clone, Debug, Serialize)]
struct Customers {
    phone: String,
}

/// What is given up, first things first, and whether a part of it is still of use.
const GIVEN_UP: [(&str, bool); 6] = [
    ("summary", true),
    ("content", true),
    ("customers", false),
    ("ivr_path", false),
    ("reason", true),
    ("language", false),
];

/// The attributes as JSON, and the names of what was shortened or left out, separated by commas.
pub(super) fn attributes(
    asked: &Asked<'_>,
    found: bool,
    status: &str,
    fields: &Fields,
) -> (String, String) {
    let phone = if fields.phone.is_empty() { asked.from } else { &fields.phone };
    let phone = one_line(phone, 64);
    let name = if fields.name.is_empty() { &phone } else { &fields.name };
    let mut flex = Flex {
        kind: "inbound",
        name: shortened(name, NAME_CHARACTERS),
        handoff_found: found,
        handoff_status: status,
        handoff_id: asked.id,
        handoff_leg: asked.leg,
        handoff_destination: shortened(&fields.destination, DESTINATION_CHARACTERS),
        handoff_reason: fields.reason.clone(),
        handoff_language: fields.language.clone(),
        handoff_verified: fields.verified == Verified::Yes,
        handoff_priority: fields.priority,
        handoff_omitted: String::new(),
        handoff_summary: fields.summary.clone(),
        baton: Baton { url: asked.public_url, connector_id: asked.connector_id },
        conversations: Conversations {
            ivr_path: fields.ivr_path.clone(),
            ivr_time: fields.ivr_time,
            content: fields.content.clone(),
        },
        customers: Customers { phone },
    };
    let mut json = json(&flex);
    for (name, shrinks) in GIVEN_UP {
        if rendered_characters(&json) <= SEND_TO_FLEX_CHARACTERS {
            break;
        }
        flex.give_up(name, shrinks);
        json = self::json(&flex);
    }
    (json, flex.handoff_omitted)
}

impl Flex<'_> {
    fn text(&mut self, name: &str) -> &mut String {
        match name {
            "summary" => &mut self.handoff_summary,
            "content" => &mut self.conversations.content,
            "customers" => &mut self.customers.phone,
            "ivr_path" => &mut self.conversations.ivr_path,
            "reason" => &mut self.handoff_reason,
            _ => &mut self.handoff_language,
        }
    }

    /// Shortens a text to what there is room for, or to nothing.
    fn give_up(&mut self, name: &str, shrinks: bool) {
        let full = std::mem::take(self.text(name));
        if full.is_empty() {
            return;
        }
        if !self.handoff_omitted.is_empty() {
            self.handoff_omitted.push(',');
        }
        self.handoff_omitted.push_str(name);
        let room = SEND_TO_FLEX_CHARACTERS.saturating_sub(rendered_characters(&json(self)));
        if shrinks && room >= WORTH_KEEPING {
            *self.text(name) = shortened(&full, room);
        }
    }
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
