//! JSON Merge Patch (RFC 7396) that leaves what it does not touch as it was, byte for byte: a
//! 30-digit account number beside the member that is patched must not pass through a float.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::domain::members;
use crate::domain::members::Member;

/// `target` with `patch` applied; `None` when that changes nothing. Both are objects that
/// [`crate::domain::data::check`] has passed; anything else counts as an empty one, as in the RFC's
/// own text.
pub fn merge(target: &str, patch: &str) -> Option<String> {
    let mut members: Vec<Option<Kept<'_>>> = members(target).into_iter().map(Some).collect();
    // By name, for a patch of thousands over thousands must not look at each pair.
    let named =
        |(at, member): (usize, &Option<Kept<'_>>)| Some((member.as_ref()?.name.clone(), at));
    let places: HashMap<String, usize> = members.iter().enumerate().filter_map(named).collect();
    let mut is_changed = false;
    for Kept { name, key, value } in self::members(patch) {
        let is_null = value == "null";
        let there = places.get(&name).and_then(|at| members.get_mut(*at));
        match there {
            None if is_null => continue,
            None => members.push(Some(Kept { name, key, value: without_nulls(value) })),
            Some(there) if is_null => *there = None,
            Some(there) => match there.as_mut().map(|known| replacement(&known.value, value)) {
                Some(Some(replaced)) => {
                    *there = there.take().map(|known| Kept { value: replaced, ..known });
                }
                Some(None) | None => continue,
            },
        }
        is_changed = true;
    }
    is_changed.then(|| written(members.iter().flatten()))
}

/// What takes the place of `known`; `None` when it may stay.
fn replacement<'a>(known: &str, new: Cow<'a, str>) -> Option<Cow<'a, str>> {
    match (is_object(known), is_object(&new)) {
        (true, true) => merge(known, &new).map(Cow::Owned),
        (false, true) => Some(without_nulls(new)),
        (_, false) => (known != new).then_some(new),
    }
}

/// A value as a patch adds it: a null in it says that a member shall not be there.
fn without_nulls(value: Cow<'_, str>) -> Cow<'_, str> {
    if is_object(&value) {
        Cow::Owned(merge("{}", &value).unwrap_or_else(|| "{}".to_owned()))
    } else {
        value
    }
}

fn is_object(value: &str) -> bool {
    value.starts_with('{')
}

fn written<'m>(members: impl Iterator<Item = &'m Kept<'m>>) -> String {
    members::object(members.map(|kept| (kept.key, kept.value.as_ref())))
}

/// A member of the target or of the patch, whose value may come to be another.
struct Kept<'a> {
    name: String,
    key: &'a str,
    value: Cow<'a, str>,
}

fn members(object: &str) -> Vec<Kept<'_>> {
    let kept = |Member { name, key, value }| Kept { name, key, value: RawValue::get(value).into() };
    members::members(object).unwrap_or_default().into_iter().map(kept).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_example_of_the_rfc_that_patches_an_object_with_an_object() {
        // RFC 7396, appendix A.
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merge(target, patch).as_deref(), Some(result), "{target} {patch}");
        }
    }

    #[test]
    fn what_is_not_touched_keeps_its_bytes() {
        let target = r#"{ "n": 1.10, "big":123456789012345678901234567890, "u\u0061":"\u00e9 ", "o": { "k" : 1e2, "l":[ 1 ] }, "x":1 }"#;
        let merged = merge(target, r#"{"x":2,"o":{"m":0.10}}"#).unwrap();
        assert_eq!(
            merged,
            r#"{"n":1.10,"big":123456789012345678901234567890,"u\u0061":"\u00e9 ","o":{"k":1e2,"l":[ 1 ],"m":0.10},"x":2}"#
        );
        assert_eq!(merge(target, r#"{"ua":null}"#).unwrap().matches("ua").count(), 0);
    }

    #[test]
    fn a_patch_that_changes_nothing_is_told() {
        let target = r#"{ "a": {"b": 1}, "c": null }"#;
        for patch in ["{}", r#"{"z":null}"#, r#"{"a":{}}"#, r#"{"a":{"b":1,"y":null}}"#] {
            assert_eq!(merge(target, patch), None, "{patch}");
        }
    }

    #[test]
    fn thousands_over_thousands_are_merged_at_once() {
        let object = |from: usize| {
            let members: Vec<_> = (from..from + 20_000).map(|n| format!("\"{n}\":1")).collect();
            format!("{{{}}}", members.join(","))
        };
        let started = std::time::Instant::now();
        let merged = merge(&object(0), &object(10_000)).unwrap();
        assert_eq!(merged.matches(':').count(), 30_000);
        // Pair by pair it takes a minute in a debug build.
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    }

    /// The RFC's pseudo-code, over parsed values.
    fn model(target: Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut object = target.as_object().cloned().unwrap_or_default();
        for (name, value) in patch {
            let there = object.remove(name);
            if !value.is_null() {
                object.insert(name.clone(), model(there.unwrap_or(Value::Null), value));
            }
        }
        Value::Object(object)
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z\"\\\\é]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                object_of(inner),
            ]
        })
    }

    fn object_of(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
        let members = prop::collection::hash_map("[ab\"é]{1,2}", inner, 0..4);
        members.prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_merges_as_the_rfc_says(target in object_of(value()), patch in object_of(value())) {
            let merged = merge(&target.to_string(), &patch.to_string());
            let merged = merged.map_or(target.clone(), |text| serde_json::from_str(&text).unwrap());
            prop_assert_eq!(merged, model(target, &patch));
        }
    }
}
