//! `data` as a flow can take it: numbers that its parser would round as text, and in no more bytes
//! than there is room for.

use std::borrow::Cow;
use std::cmp::Reverse;

use memchr::memchr2;

use crate::domain::members;
use crate::domain::members::Member;

// Beyond 2^53 not every whole number is a float.
const EXACT: u64 = 1 << 53;
/// Room for the names of members that are left out.
pub(in crate::twilio) const NAMES_BYTES: usize = 1000;
const NAME_CHARACTERS: usize = 40;

/// JSON in which whole numbers beyond 2⁵³ are texts of the same digits; else the very bytes.
pub(in crate::twilio) fn numbers_as_text(json: &str) -> Cow<'_, str> {
    let mut changed = String::new();
    let mut copied = 0;
    let mut in_text = false;
    let mut at = 0;
    let bytes = json.as_bytes();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            _ if in_text => {
                // Most of it is text.
                let rest = bytes.get(at..).unwrap_or_default();
                at += memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                continue;
            }
            b'-' | b'0'..=b'9' => {
                let rest = json.get(at..).unwrap_or_default();
                let is_of_number = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
                let number = rest.split(|c| !is_of_number(c)).next().unwrap_or_default();
                if is_beyond(number) {
                    changed.push_str(json.get(copied..at).unwrap_or_default());
                    changed.push('"');
                    changed.push_str(number);
                    changed.push('"');
                    copied = at + number.len();
                }
                at += number.len();
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return json.into();
    }
    changed.push_str(json.get(copied..).unwrap_or_default());
    changed.into()
}

fn is_beyond(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    // What u64 cannot hold is beyond as well.
    is_whole && digits.parse::<u64>().map_or(true, |whole| whole > EXACT)
}

/// `data` in at most `room` bytes: its largest top members are left out, and named as `data.<name>`.
pub(in crate::twilio) fn to_fit(data: &str, room: usize) -> (String, Vec<String>) {
    let members = members::members(data).unwrap_or_default();
    let bytes = |member: &Member<'_>| member.key.len() + member.value.get().len() + 2;
    let mut largest: Vec<usize> = (0..members.len()).collect();
    largest.sort_by_key(|at| Reverse(members.get(*at).map_or(0, bytes)));
    let mut size = 2 + members.iter().map(bytes).sum::<usize>();
    let mut is_left_out = vec![false; members.len()];
    let mut names = Vec::new();
    for at in largest {
        if size <= room {
            break;
        }
        if let (Some(member), Some(left_out)) = (members.get(at), is_left_out.get_mut(at)) {
            size -= bytes(member);
            *left_out = true;
            names.push(format!("data.{}", plain(&member.name)));
        }
    }
    let kept = members.iter().zip(&is_left_out).filter(|(_, left_out)| !**left_out);
    let data = members::object(kept.map(|(member, _)| (member.key, member.value.get())));
    (data, within(names))
}

/// A member's name in a list: nothing in it that JSON would write longer.
fn plain(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-. ".contains(c);
    name.chars().take(NAME_CHARACTERS).map(|c| if is_plain(c) { c } else { '?' }).collect()
}

/// As many names as there is room for; the last tells how many more.
fn within(names: Vec<String>) -> Vec<String> {
    let mut bytes = 0;
    let fits = |name: &&String| {
        bytes += name.len() + 1;
        bytes < NAMES_BYTES - 40
    };
    let listed = names.iter().take_while(fits).count();
    let more = names.len() - listed;
    let mut names = names;
    names.truncate(listed);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_whole_numbers_that_a_float_cannot_hold_become_text() {
        for (json, written) in [
            (r#"{"n":9007199254740992}"#, r#"{"n":9007199254740992}"#),
            (r#"{"n":9007199254740993}"#, r#"{"n":"9007199254740993"}"#),
            (r#"[-9007199254740993,1]"#, r#"["-9007199254740993",1]"#),
            (
                r#"{"n": 123456789012345678901234567890 }"#,
                r#"{"n": "123456789012345678901234567890" }"#,
            ),
            (r#"{"n":1.5,"e":1e300,"z":-0}"#, r#"{"n":1.5,"e":1e300,"z":-0}"#),
            (
                r#"{"a\"9007199254740993":"9007199254740993\\"}"#,
                r#"{"a\"9007199254740993":"9007199254740993\\"}"#,
            ),
        ] {
            assert_eq!(numbers_as_text(json), written);
        }
    }

    #[test]
    fn the_largest_members_are_left_out_first() {
        let data = format!(
            r#"{{"a":1,"big":"{}","b":[2],"bigger":"{}"}}"#,
            "x".repeat(50),
            "y".repeat(90)
        );
        let (kept, names) = to_fit(&data, 100);
        assert_eq!((kept.len() <= 100, names), (true, vec!["data.bigger".to_owned()]));
        let (kept, names) = to_fit(&data, 20);
        assert_eq!((kept.as_str(), names.len()), (r#"{"a":1,"b":[2]}"#, 2));
        assert_eq!(to_fit(&data, 0).0, "{}");
        let many: Vec<_> = (0..9000).map(|n| format!("\"member {n}\":1")).collect();
        let many = format!("{{{}}}", many.join(","));
        let (kept, names) = to_fit(&many, 100);
        assert!(kept.len() <= 100 && names.join(",").len() < NAMES_BYTES);
        assert!(names.last().unwrap().ends_with("more"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_made_of_json_is_json(numbers in prop::collection::vec(any::<i128>(), 0..9), text in "\\PC{0,9}", room in 0_usize..200) {
            let data = serde_json::json!({ "t": text, "n": numbers.iter().map(ToString::to_string).collect::<Vec<_>>() });
            let digits = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let data = format!("{{\"all\":{data},\"digits\":[{digits}]}}");
            let texts = numbers_as_text(&data);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&texts).is_ok());
            let (kept, _) = to_fit(&texts, room);
            prop_assert!(serde_json::from_str::<serde_json::Map<_, _>>(&kept).is_ok());
            prop_assert!(kept.len() <= room.max(2));
        }
    }
}
