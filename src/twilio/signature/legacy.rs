//! A query as Node's legacy `querystring.stringify(querystring.parse(query))` writes it: the form in
//! which back ends sign that pass URLs through it, and which twilio-node therefore tries last.
//! Source: Node's documentation of `querystring`, and what it does (tests/twilio compares).

use std::collections::HashMap;

use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;

use crate::twilio::form::decoded;

// `parse` reads no more pairs than that.
const MAX_PAIRS: usize = 1000;
/// What `querystring.escape` leaves, as `encodeURIComponent` does.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// `query`, decoded and encoded again.
pub(super) fn reencoded(query: &str) -> String {
    // A JavaScript object: values by name, small whole numbers first, then names as they came.
    let mut names: Vec<String> = Vec::new();
    let mut values: HashMap<String, Vec<String>> = HashMap::new();
    for part in query.split('&').filter(|part| !part.is_empty()).take(MAX_PAIRS) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let name = text(name);
        let of_name = values.entry(name.clone()).or_insert_with(|| {
            names.push(name);
            Vec::new()
        });
        of_name.push(text(value));
    }
    names.sort_by_key(|name| index(name).map_or((true, 0), |index| (false, index)));
    let pairs = names.iter().flat_map(|name| {
        let written = move |value: &String| format!("{}={}", escaped(name), escaped(value));
        values.get(name).into_iter().flatten().map(written)
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// A name that JavaScript takes for an index: a whole number below 2³² − 1, spelled plainly.
fn index(name: &str) -> Option<u32> {
    let index: u32 = name.parse().ok()?;
    (index < u32::MAX && index.to_string() == name).then_some(index)
}

fn text(encoded: &str) -> String {
    String::from_utf8_lossy(&decoded(encoded.as_bytes())).into_owned()
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, &ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_written_as_node_would() {
        // What Node 20 prints for each.
        for (query, written) in [
            ("a=x+y&b=%27&c=%41%2f", "a=x%20y&b='&c=A%2F"),
            ("a&b=&=c&&d", "a=&b=&=c&d="),
            ("b=1&a=2&b=3", "b=1&b=3&a=2"),
            ("z=1&10=a&9=b&01=c", "9=b&10=a&z=1&01=c"),
            ("a=~!*()'-_.\"<>", "a=~!*()'-_.%22%3C%3E"),
            ("a=%zz&b=%e2%82", "a=%25zz&b=%EF%BF%BD"),
            ("é=ü", "%C3%A9=%C3%BC"),
            ("a=b=c", "a=b%3Dc"),
        ] {
            assert_eq!(reencoded(query), written, "{query}");
        }
    }
}
