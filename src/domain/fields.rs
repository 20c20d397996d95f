//! [`Fields`]: what a flow and a task need of `data`, under the names that agents give it. `PolyAI`'s
//! own examples write `handoff_reason`, `handoff_to`, `handoff_reason_summary` and
//! `successfully_identified` (facts/polyai.md §1, §5).

use crate::domain::members;

/// Longest summary of Studio's answer, in characters.
pub const SUMMARY: usize = 300;
/// Longest summary of a task's attributes, in characters.
pub const TASK_SUMMARY: usize = 800;
const MAX_TEXT: usize = 120;
const MAX_NAME: usize = 64;

/// Whether the caller was identified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verified {
    /// They were.
    Yes,
    /// They were not.
    No,
    /// The agent does not say.
    #[default]
    Unknown,
}

impl Verified {
    /// The word as flows and pages get it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "true",
            Self::No => "false",
            Self::Unknown => "unknown",
        }
    }
}

/// Plain texts of one line each; empty where `data` has nothing of the kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Where the agent sends the call.
    pub destination: String,
    /// Why, in a word.
    pub reason: String,
    /// What is spoken.
    pub language: String,
    /// What it is about, in sentences.
    pub summary: String,
    /// The caller's name.
    pub name: String,
    /// The caller's number.
    pub phone: String,
    /// What it is about, in words.
    pub content: String,
    /// The way through the agent's menus.
    pub ivr_path: String,
    /// Seconds spent there.
    pub ivr_time: u32,
    /// Higher goes first, as at `TaskRouter`: 0 to 2³¹ − 1.
    pub priority: u32,
    /// Whether the caller was identified.
    pub verified: Verified,
}

impl Fields {
    /// What `data` has of it, with a summary of at most `summary` characters.
    pub fn of(data: &str, summary: usize) -> Self {
        let members = members::members(data).unwrap_or_default();
        let of = |name: &str| members.iter().find(|member| member.name == name);
        let plain = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| members::scalar(of(name)?.value).filter(|text| !text.is_empty()))
        };
        let text = |names: &[&str], most: usize| {
            plain(names).map(|text| one_line(&text, most)).unwrap_or_default()
        };
        let number = |name: &str| plain(&[name]).and_then(|text| whole(&text)).unwrap_or_default();
        let verified = plain(&["verified", "successfully_identified"]);
        Self {
            destination: text(&["destination", "handoff_to"], MAX_NAME),
            reason: text(&["reason", "handoff_reason"], MAX_TEXT),
            language: text(&["language", "asr_lang_code"], MAX_NAME),
            summary: text(&["summary", "handoff_summary", "handoff_reason_summary"], summary),
            name: text(&["name", "customer_name"], MAX_NAME),
            phone: text(&["phone", "customer_phone"], MAX_NAME),
            content: text(&["content", "topic", "intent"], MAX_TEXT),
            ivr_path: text(&["ivr_path"], MAX_TEXT),
            ivr_time: number("ivr_time"),
            priority: number("priority"),
            verified: match verified.map(|text| text.to_ascii_lowercase()).as_deref() {
                Some("true") => Verified::Yes,
                Some("false") => Verified::No,
                _ => Verified::Unknown,
            },
        }
    }
}

/// Where the agent sends the call, in its own words; empty where it does not say.
pub fn destination(data: &str) -> String {
    Fields::of(data, SUMMARY).destination
}

/// A number from 0 to 2³¹ − 1, without what stands behind its point: Python writes `5.0`.
fn whole(text: &str) -> Option<u32> {
    let (digits, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
    let is_number = fraction.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| is_number && i32::try_from(*number).is_ok())
}

/// A text on one line, of at most `most` characters.
pub fn one_line(text: &str, most: usize) -> String {
    let is_gap = |c: char| c.is_whitespace() || c.is_control();
    let words = text.split(is_gap).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    let mut cut: String = line.chars().take(most - 1).collect();
    cut.truncate(cut.trim_end().len());
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_under_the_names_that_agents_give_them() {
        let fields = Fields::of(
            r#"{"handoff_to":"billing","handoff_reason":"SPEAK_TO","successfully_identified":"true",
                "handoff_reason_summary":"Line one\n\tline two","priority":"5","name":"Zoë","ivr_time":7}"#,
            SUMMARY,
        );
        assert_eq!(fields.destination, "billing");
        assert_eq!(fields.reason, "SPEAK_TO");
        assert_eq!(fields.summary, "Line one line two");
        assert_eq!((fields.priority, fields.ivr_time), (5, 7));
        assert_eq!(fields.verified, Verified::Yes);
        assert_eq!(fields.name, "Zoë");
    }

    #[test]
    fn what_is_of_another_kind_is_text_or_nothing() {
        let fields = Fields::of(
            r#"{"reason":7,"destination":{"x":1},"handoff_to":"b","summary":["a"],"priority":-1,"verified":"no","language":null}"#,
            SUMMARY,
        );
        assert_eq!((fields.reason.as_str(), fields.destination.as_str()), ("7", "b"));
        assert_eq!((fields.summary.as_str(), fields.language.as_str()), ("", ""));
        assert_eq!((fields.priority, fields.verified), (0, Verified::Unknown));
        assert_eq!(Fields::of("[]", SUMMARY), Fields::default());
        // As Python writes them.
        let fields = Fields::of(r#"{"priority":5.0,"ivr_time":12.7,"verified":"True"}"#, SUMMARY);
        assert_eq!((fields.priority, fields.ivr_time, fields.verified), (5, 12, Verified::Yes));
        assert_eq!(Fields::of(r#"{"priority":"5.x"}"#, SUMMARY).priority, 0);
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(one_line("abc def", 7), "abc def");
        assert_eq!(one_line("abc def", 6), "abc d…");
        assert_eq!(one_line("abc def", 5), "abc…");
        assert_eq!(one_line(&"é".repeat(301), 300).chars().count(), 300);
    }
}
