//! [`Member`]: the members of a JSON object, each as it is spelled, so that what is not looked into
//! keeps its bytes.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

/// A member of an object: its name, and how name and value are spelled.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Its name, decoded.
    pub name: String,
    /// Its name as JSON text.
    pub key: &'a str,
    /// Its value as JSON text.
    pub value: &'a RawValue,
}

/// The members of `object`, in order; a name given twice stands twice. Fails on what is not one
/// JSON object and nothing else.
pub fn members(object: &str) -> Result<Vec<Member<'_>>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(object);
    let members = reader.deserialize_map(Collect)?;
    reader.end().map(|()| members)
}

/// A text, a number or a boolean as text; of anything else, none.
pub fn scalar(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(json).ok().map(Cow::Owned),
        b'{' | b'[' | b'n' => None,
        _ => Some(json.into()),
    }
}

/// An object of `members`, as they are spelled.
pub fn object<'m>(members: impl Iterator<Item = (&'m str, &'m str)>) -> String {
    let mut text = String::from("{");
    for (key, value) in members {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(key);
        text.push(':');
        text.push_str(value);
    }
    text.push('}');
    text
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            let name = serde_json::from_str(key.get()).map_err(serde::de::Error::custom)?;
            members.push(Member { name, key: key.get(), value });
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_spelling_and_stand_as_often_as_they_are_given() {
        let text = r#" { "a" : 1.10, "\u0061":[1, 2] } "#;
        let read = members(text).unwrap();
        let names: Vec<_> = read.iter().map(|m| (m.name.as_str(), m.key, m.value.get())).collect();
        assert_eq!(names, [("a", "\"a\"", "1.10"), ("a", "\"\\u0061\"", "[1, 2]")]);
        let again = object(read.iter().map(|m| (m.key, m.value.get())));
        assert_eq!(again, r#"{"a":1.10,"\u0061":[1, 2]}"#);
        for text in ["[]", "{} {}", "{", "", "1"] {
            assert!(members(text).is_err(), "{text}");
        }
    }
}
