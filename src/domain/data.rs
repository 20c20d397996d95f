//! What may be kept as the `data` of a handoff: a JSON object, checked and then never touched.
//!
//! The check walks the text once and keeps nothing: what is stored and returned are the very bytes
//! that came, so that a 30-digit account number and `1.10` survive. What a reader could take in
//! two ways (a key given twice) or not at all (nesting without end, half a surrogate pair) is
//! refused here, with a JSON pointer to the place, rather than at the moment an agent's screen
//! pops.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;

use serde::de::DeserializeSeed;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use thiserror::Error;

/// Deepest nesting of `data`; depth 1 is its top.
pub const MAX_DEPTH: usize = 32;

/// Why a text cannot be the `data` of a handoff.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{problem} at {}", if pointer.is_empty() { "the top of `data`" } else { pointer })]
pub struct BadData {
    /// RFC 6901 pointer into `data`; empty is its top.
    pub pointer: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with `data`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Problem {
    /// The top level is an array, a string, a number, `true`, `false` or `null`.
    #[error("`data` must be a JSON object; found something else")]
    NotAnObject,
    /// The same key twice in one object.
    #[error("a key is given twice; readers would disagree about which one counts")]
    DuplicateKey,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Not JSON.
    #[error("not valid JSON ({0})")]
    Syntax(String),
}

/// Checks that `json` is an object of bounded depth without duplicate keys.
pub fn check(json: &str) -> Result<(), BadData> {
    let walk = Walk::default();
    if !json.trim_ascii_start().starts_with('{') {
        return Err(BadData { pointer: String::new(), problem: Problem::NotAnObject });
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    Level { walk: &walk, depth: 1 }
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(|error| walk.explain(&error))
}

/// Where the walk stands, and what stopped it. A failed walk leaves its path behind: that is the
/// pointer.
#[derive(Default)]
struct Walk {
    path: RefCell<Vec<Step>>,
    found: RefCell<Option<Problem>>,
}

#[derive(Clone)]
enum Step {
    Key(Rc<str>),
    Index(usize),
}

impl Walk {
    fn stop<E: serde::de::Error>(&self, problem: Problem) -> E {
        *self.found.borrow_mut() = Some(problem);
        E::custom("stopped")
    }

    fn explain(&self, error: &serde_json::Error) -> BadData {
        let mut pointer = String::new();
        for step in self.path.borrow().iter() {
            pointer.push('/');
            match step {
                Step::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
                Step::Index(index) => pointer.push_str(&index.to_string()),
            }
        }
        let problem = self.found.borrow_mut().take();
        BadData { pointer, problem: problem.unwrap_or_else(|| Problem::Syntax(error.to_string())) }
    }
}

#[derive(Clone, Copy)]
struct Level<'w> {
    walk: &'w Walk,
    depth: usize,
}

impl Level<'_> {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth > MAX_DEPTH {
            return Err(self.walk.stop(Problem::TooDeep));
        }
        Ok(Self { walk: self.walk, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let below = self.below::<A::Error>()?;
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let key: Rc<str> = key.into();
            self.walk.path.borrow_mut().push(Step::Key(Rc::clone(&key)));
            if !seen.insert(key) {
                return Err(self.walk.stop(Problem::DuplicateKey));
            }
            map.next_value_seed(below)?;
            self.walk.path.borrow_mut().pop();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let below = self.below::<A::Error>()?;
        let mut index = 0;
        loop {
            self.walk.path.borrow_mut().push(Step::Index(index));
            if list.next_element_seed(below)?.is_none() {
                self.walk.path.borrow_mut().pop();
                return Ok(());
            }
            self.walk.path.borrow_mut().pop();
            index += 1;
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        if number.is_finite() { Ok(()) } else { Err(E::custom("number out of range")) }
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(json: &str) -> (String, Problem) {
        let bad = check(json).unwrap_err();
        (bad.pointer, bad.problem)
    }

    #[test]
    fn an_object_of_any_values_is_taken() {
        for json in ["{}", r#" {"a":[1,-2,1.10,123456789012345678901234567890,"\ud83d\ude00"]}"#] {
            assert_eq!(check(json), Ok(()));
        }
    }

    #[test]
    fn anything_but_an_object_is_refused() {
        for json in ["[]", "\"a\"", "1", "null", "true", ""] {
            assert_eq!(refused(json), (String::new(), Problem::NotAnObject), "{json}");
        }
    }

    #[test]
    fn a_key_given_twice_is_refused_where_it_stands() {
        assert_eq!(
            refused(r#"{"a":[{},{"b/c":1,"b\u002fc":2}]}"#),
            ("/a/1/b~1c".to_owned(), Problem::DuplicateKey)
        );
        assert_eq!(check(r#"{"a":{"k":1},"b":{"k":1}}"#), Ok(()));
    }

    #[test]
    fn depth_32_is_taken_and_33_is_not() {
        let nested = |depth: usize| {
            format!("{}{}", "{\"k\":".repeat(depth - 1), "{}") + &"}".repeat(depth - 1)
        };
        assert_eq!(check(&nested(32)), Ok(()));
        let (pointer, problem) = refused(&nested(33));
        assert_eq!(problem, Problem::TooDeep);
        assert_eq!(pointer, "/k".repeat(32));
        let lists =
            |depth: usize| format!("{{\"k\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert_eq!(check(&lists(32)), Ok(()));
        assert_eq!(refused(&lists(33)).1, Problem::TooDeep);
    }

    #[test]
    fn broken_json_is_refused_with_its_place() {
        for json in [r#"{"a":{"b":"\ud800"}}"#, r#"{"a":{"b":1e400}}"#, r#"{"a":{"b":tru}}"#] {
            let (pointer, problem) = refused(json);
            assert_eq!(pointer, "/a/b", "{json}");
            assert!(matches!(problem, Problem::Syntax(_)), "{json}: {problem}");
        }
        assert!(matches!(refused("{} {}").1, Problem::Syntax(_)));
        assert!(matches!(refused(r#"{"a":1"#).1, Problem::Syntax(_)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_panics_and_what_passes_is_json(text in "\\PC{0,60}", braces in "[{}\\[\\]:,\"a1 ]{0,40}") {
            for json in [text, braces] {
                if check(&json).is_ok() {
                    prop_assert!(serde_json::from_str::<serde_json::Map<_, _>>(&json).is_ok());
                }
            }
        }
    }
}
