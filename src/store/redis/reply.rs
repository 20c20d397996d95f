//! What Redis answers, read. What cannot be read is an error, never a panic.

use bytes::Bytes;
use redis::Value;

use crate::domain::clock::Timestamp;
use crate::store::journal::Entry;
use crate::store::journal::Journal;
use crate::store::kv::Gone;
use crate::store::kv::Outcome;
use crate::store::kv::Place;
use crate::store::kv::Slot;
use crate::store::kv::StoreError;
use crate::store::kv::TOMBSTONE_LIFE;
use crate::store::whole::Whole;

/// What is known of a record: `state:revision:ends:places`.
struct Head<'h> {
    is_erased: bool,
    revision: u64,
    ends: Timestamp,
    places: &'h [u8],
}

impl<'h> Head<'h> {
    fn read(bytes: &'h [u8]) -> Option<Self> {
        let mut parts = bytes.splitn(4, |byte| *byte == b':');
        let is_erased = match parts.next()? {
            b"L" => false,
            b"E" => true,
            _ => return None,
        };
        let (revision, ends) = (number(parts.next()?)?, number(parts.next()?)?);
        let places = parts.next()?;
        Some(Self { is_erased, revision, ends: Timestamp::from_micros(ends), places })
    }
}

/// What is under a key: from its value and its head.
pub(super) fn slot(answer: Value, now: Timestamp) -> Result<Option<Slot>, StoreError> {
    let [value, head] = array(answer)?.try_into().map_err(|_parts| damaged())?;
    let Some(head) = bytes(head)? else { return Ok(None) };
    let head = Head::read(&head).ok_or_else(damaged)?;
    let Head { is_erased, revision, ends, .. } = head;
    if is_erased {
        return Ok((ends > now).then_some(Slot::Gone { revision, how: Gone::Erased }));
    }
    match bytes(value)? {
        Some(value) if ends > now => {
            Ok(Some(Slot::Live { revision, expires_at: ends, value: value.into() }))
        }
        _ if ends.plus(TOMBSTONE_LIFE) <= now => Ok(None),
        _ => Ok(Some(Slot::Gone { revision, how: Gone::Expired })),
    }
}

/// Revision and end of the record whose head this is, if it lives.
pub(super) fn live(head: Value, now: Timestamp) -> Result<Option<(u64, Timestamp)>, StoreError> {
    let Some(head) = bytes(head)? else { return Ok(None) };
    let Head { is_erased, revision, ends, .. } = Head::read(&head).ok_or_else(damaged)?;
    Ok((!is_erased && ends > now).then_some((revision, ends)))
}

/// What is under a key, whole, be its time over or not.
pub(super) fn whole(answer: Value, key: Vec<u8>) -> Result<Option<Whole>, StoreError> {
    let [value, head] = array(answer)?.try_into().map_err(|_parts| damaged())?;
    let Some(head) = bytes(head)? else { return Ok(None) };
    let head = Head::read(&head).ok_or_else(damaged)?;
    let value = bytes(value)?.unwrap_or_default().into();
    let Head { revision, ends, .. } = head;
    let gone = head.is_erased.then_some(Gone::Erased);
    Ok(Some(Whole::Record { key, revision, ends, gone, places: places(head.places)?, value }))
}

/// A page of a scan: where it goes on, and names.
pub(super) fn scanned(answer: Value) -> Result<(String, Vec<Vec<u8>>), StoreError> {
    let [cursor, found] = array(answer)?.try_into().map_err(|_parts| damaged())?;
    let cursor =
        String::from_utf8(bytes(cursor)?.unwrap_or_default()).map_err(|_not_text| damaged())?;
    Ok((cursor, names(found)?))
}

/// What became of a write.
pub(super) enum Done {
    /// This; and what listed the record before it, if it was done.
    Written(Outcome, Vec<Place>),
    /// It would have had this revision, and another was proposed.
    Proposed(u64),
}

pub(super) fn done(answer: Value) -> Result<Done, StoreError> {
    let mut parts = array(answer)?.into_iter();
    let mut part = || parts.next().map_or(Ok(None), bytes);
    let (kind, revision) = (part()?.unwrap_or_default(), part()?.unwrap_or_default());
    match kind.as_slice() {
        b"D" => {
            let before = places(&part()?.unwrap_or_default())?;
            Ok(Done::Written(Outcome::Done(number(&revision).ok_or_else(damaged)?), before))
        }
        b"C" => Ok(Done::Written(Outcome::Conflict(number(&revision)), Vec::new())),
        b"P" => Ok(Done::Proposed(number(&revision).ok_or_else(damaged)?)),
        _ => Err(damaged()),
    }
}

pub(super) fn names(answer: Value) -> Result<Vec<Vec<u8>>, StoreError> {
    array(answer)?.into_iter().map(|name| bytes(name)?.ok_or_else(damaged)).collect()
}

/// Of each entry, whether its name was new.
pub(super) fn is_new(answer: Value) -> Result<Vec<bool>, StoreError> {
    array(answer)?.into_iter().map(|new| Ok(new == Value::Int(1))).collect()
}

/// A journal, if its time is not over.
pub(super) fn journal(answer: Value, now: Timestamp) -> Result<Journal, StoreError> {
    let kept = kept(answer)?;
    Ok(kept.filter(|kept| kept.ends > now).map(|kept| kept.journal).unwrap_or_default())
}

/// A journal as it is kept.
pub(super) struct Kept {
    pub(super) journal: Journal,
    pub(super) ends: Timestamp,
    pub(super) changes: u64,
}

pub(super) fn kept(answer: Value) -> Result<Option<Kept>, StoreError> {
    let fields = match answer {
        Value::Map(fields) => fields,
        Value::Array(parts) if parts.is_empty() => Vec::new(),
        _ => return Err(damaged()),
    };
    let mut whole = None;
    let mut entries = Vec::new();
    for (field, value) in fields {
        let (field, value) = (bytes(field)?.unwrap_or_default(), bytes(value)?.unwrap_or_default());
        match field.split_first() {
            Some((b'm', b"")) => whole = Some(value),
            Some((b'e', at)) => {
                let at = number(at).ok_or_else(damaged)?;
                entries.push((at, entry(&value.into()).ok_or_else(damaged)?));
            }
            _ => {}
        }
    }
    let Some(whole) = whole else { return Ok(None) };
    let whole: Option<Vec<_>> = whole.split(|byte| *byte == b':').map(number).collect();
    let Some([_, _, gone, _, changes, ends]) = whole.as_deref() else { return Err(damaged()) };
    entries.sort_unstable_by_key(|(at, _)| *at);
    let left_out = u32::try_from(*gone).unwrap_or(u32::MAX);
    let entries = entries.into_iter().map(|(_, entry)| entry).collect();
    let journal = Journal { left_out, entries };
    Ok(Some(Kept { journal, ends: Timestamp::from_micros(*ends), changes: *changes }))
}

fn entry(bytes: &Bytes) -> Option<Entry> {
    let mut parts = bytes.splitn(3, |byte| *byte == b':');
    let (revision, length) = (number(parts.next()?)?, number(parts.next()?)?);
    let (name, value) = parts.next()?.split_at_checked(usize::try_from(length).ok()?)?;
    Some(Entry { name: name.to_vec(), revision, value: bytes.slice_ref(value) })
}

/// Places, each part behind its length (`u32`, big-endian).
pub(super) fn written_places(places: &[Place]) -> Result<Vec<u8>, StoreError> {
    let mut written = Vec::new();
    for part in places.iter().flat_map(|Place { set, name }| [set, name]) {
        let length = u32::try_from(part.len()).map_err(StoreError::failed)?;
        written.extend_from_slice(&length.to_be_bytes());
        written.extend_from_slice(part);
    }
    Ok(written)
}

pub(super) fn places(mut written: &[u8]) -> Result<Vec<Place>, StoreError> {
    let mut places = Vec::new();
    while !written.is_empty() {
        let (set, rest) = part(written).ok_or_else(damaged)?;
        let (name, rest) = part(rest).ok_or_else(damaged)?;
        places.push(Place { set: set.to_vec(), name: name.to_vec() });
        written = rest;
    }
    Ok(places)
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn array(answer: Value) -> Result<Vec<Value>, StoreError> {
    match answer {
        Value::Array(parts) => Ok(parts),
        _ => Err(damaged()),
    }
}

fn bytes(value: Value) -> Result<Option<Vec<u8>>, StoreError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        _ => Err(damaged()),
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn damaged() -> StoreError {
    StoreError::Unreadable("Redis answered something else than was asked for".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn places_read_back(parts: Vec<(Vec<u8>, Vec<u8>)>) {
            let listed: Vec<_> = parts.into_iter().map(|(set, name)| Place { set, name }).collect();
            prop_assert_eq!(places(&written_places(&listed).unwrap()).unwrap(), listed);
        }

        #[test]
        fn foreign_bytes_never_panic(one: Vec<u8>, other: Vec<u8>) {
            let now = Timestamp::from_micros(1);
            let values = || vec![Value::BulkString(one.clone()), Value::BulkString(other.clone())];
            let _ = slot(Value::Array(values()), now);
            let _ = done(Value::Array(values()));
            let _ = places(&one);
            let fields = vec![(Value::BulkString(one.clone()), Value::BulkString(other.clone()))];
            let _ = journal(Value::Map(fields), now);
        }
    }
}
