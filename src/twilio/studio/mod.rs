//! The answer that a Studio flow can use: what Make HTTP Request parses, and Send To Flex takes.
//!
//! Flat, every key always there, one type a key, nothing null: Liquid prints a missing value as
//! nothing, and `{"x": }` is no JSON. A flow splits on `action`, and gives `flex`, whole, to Send To
//! Flex: `{{widgets.get_handoff.parsed.flex | to_json}}`. What does not fit is left out and named in
//! `flex_omitted`, never refused: the caller is on the line. (That a text is cut to its own limit, as a
//! summary is to 300 characters, its last character tells.)

use std::fmt;

use serde::Serialize;

use crate::domain::connector::destination::Destination;
use crate::domain::connector::settings::Destinations;
use crate::domain::connector::settings::Exposed;
use crate::domain::fields::Fields;
use crate::domain::fields::SUMMARY;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::STUDIO_BYTES;
use crate::domain::handoff::Status;
use crate::twilio::attributes;
use crate::twilio::attributes::About;
use crate::twilio::attributes::json;
use crate::twilio::attributes::shrink;

/// Seconds that a flow's read waits where it does not say: late agents are in time by then, and the
/// caller still hears no silence that is worth a word.
pub const WAIT_SECONDS: u8 = 3;

/// What was asked for, and by whom.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// The id, as it was asked for.
    pub id: &'a str,
    /// The other side's id, as it was asked for.
    pub shared_id: &'a str,
    /// The connector that was asked through, if one was.
    pub connector_id: &'a str,
    /// Its environment.
    pub client_env: &'a str,
    /// Where Baton is, as Twilio reaches it.
    pub public_url: &'a str,
    /// The visit of the call that is asked about; 0 when none is named.
    pub leg: u32,
    /// The caller's number, if the flow sent it.
    pub from: &'a str,
    /// Where that connector's agent may send calls.
    pub destinations: Option<&'a Destinations>,
    /// The members of `data` that the answer's `data` may hold; all of them if it is not said.
    pub expose: Option<&'a Exposed>,
}

/// What there is to answer with.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// The handoff.
    Handoff(&'a Handoff),
    /// None, and why.
    Nothing {
        /// What a flow may split on.
        status: Miss,
        /// The error code.
        error: &'a str,
    },
}

/// Why there is no handoff, in a word a flow may split on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Nobody wrote it, it was erased, or it is another project's.
    Missing,
    /// Its time is over.
    Expired,
    /// It could not be looked up.
    Error,
}

impl Miss {
    fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Expired => "expired",
            Self::Error => "error",
        }
    }
}

// `,"flex":` and `,"data":`.
const FRAME: usize = 16;

#[derive(Serialize)]
struct Answer<'a> {
    found: bool,
    status: &'a str,
    action: &'a str,
    id: &'a str,
    shared_id: &'a str,
    connector_id: &'a str,
    client_env: &'a str,
    revision: String,
    leg: String,
    destination: &'a str,
    reason: &'a str,
    priority: String,
    language: &'a str,
    verified: &'a str,
    summary: &'a str,
    written_at: String,
    error: &'a str,
    flex_omitted: &'a str,
    // And `flex` and `data`, which are appended as they are spelled: serde would read them once more.
}

/// An answer, and what it had no room for.
#[derive(Clone)]
pub struct Packed {
    /// JSON of at most 64 000 bytes.
    pub answer: String,
    /// Names, separated by commas.
    pub left_out: String,
}

// It tells of a person.
impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} bytes)", self.answer.len())
    }
}

/// The answer for a flow.
pub fn answer(asked: &Asked<'_>, found: Found<'_>) -> Packed {
    match found {
        Found::Handoff(handoff) => {
            let data = std::str::from_utf8(handoff.data()).unwrap_or("{}");
            let heading = &handoff.heading;
            let fields = Fields::of(data, SUMMARY);
            let destination = asked.destinations.and_then(|all| all.get(&fields.destination));
            let known = Known {
                found: true,
                status: heading.status.as_str(),
                action: action(heading.status, destination),
                revision: handoff.revision.to_string(),
                written_at: handoff.written_at().to_string(),
                error: "",
            };
            let shared_id = heading.shared_id.as_ref().map_or("", |id| id.as_str());
            let asked = Asked { id: heading.id.as_str(), shared_id, ..*asked };
            let shown = asked.expose.map(|expose| expose.of(data));
            let shown = shrink::numbers_as_text(shown.as_deref().unwrap_or(data));
            written(&asked, known, &fields, &shown)
        }
        Found::Nothing { status, error } => {
            let known = Known {
                found: false,
                status: status.as_str(),
                action: "fallback",
                revision: String::new(),
                written_at: String::new(),
                error,
            };
            written(asked, known, &Fields::default(), "{}")
        }
    }
}

/// What is to become of a call, in a word that a flow may split on.
pub fn action(status: Status, destination: Option<&Destination>) -> &'static str {
    match (status, destination) {
        (Status::Contained, _) => "hangup",
        (_, Some(Destination::Number(_) | Destination::Sip(_))) => "dial",
        // Also where the agent broke off: whoever takes the call has what it knew.
        (Status::Ready | Status::Failed, Some(Destination::Workflow { .. }) | None) => "enqueue",
    }
}

struct Known<'a> {
    found: bool,
    status: &'a str,
    action: &'a str,
    revision: String,
    written_at: String,
    error: &'a str,
}

fn written(asked: &Asked<'_>, known: Known<'_>, fields: &Fields, data: &str) -> Packed {
    let about = About {
        id: asked.id,
        connector_id: asked.connector_id,
        public_url: asked.public_url,
        leg: asked.leg,
        from: asked.from,
        // A flow's log keeps what it gets.
        view_link: "",
    };
    let (flex, shortened) = attributes::of_widget(&about, known.found, known.status, fields);
    let mut answer = Answer {
        found: known.found,
        status: known.status,
        action: known.action,
        id: asked.id,
        shared_id: asked.shared_id,
        connector_id: asked.connector_id,
        client_env: asked.client_env,
        revision: known.revision,
        leg: asked.leg.to_string(),
        destination: &fields.destination,
        reason: &fields.reason,
        priority: fields.priority.to_string(),
        language: &fields.language,
        verified: fields.verified.as_str(),
        summary: &fields.summary,
        written_at: known.written_at,
        error: known.error,
        flex_omitted: &shortened,
    };
    let head = json(&answer);
    let room = STUDIO_BYTES.saturating_sub(head.len() + flex.len() + FRAME);
    if data.len() <= room {
        return Packed { answer: joined(head, &flex, data), left_out: shortened };
    }
    // The names of what is left out take room themselves.
    let (data, left_out) = shrink::to_fit(data, room.saturating_sub(shrink::NAMES_BYTES));
    let omitted = [shortened.as_str()].into_iter().filter(|names| !names.is_empty());
    let omitted = omitted.chain(left_out.iter().map(String::as_str)).collect::<Vec<_>>().join(",");
    answer.flex_omitted = &omitted;
    let answer = joined(json(&answer), &flex, &data);
    Packed { answer, left_out: omitted }
}

/// `head`, an object, with `flex` and `data` as its last members.
fn joined(mut head: String, flex: &str, data: &str) -> String {
    head.reserve_exact(flex.len() + data.len() + FRAME);
    head.truncate(head.len().saturating_sub(1));
    for text in [",\"flex\":", flex, ",\"data\":", data, "}"] {
        head.push_str(text);
    }
    head
}

#[cfg(test)]
mod tests;
