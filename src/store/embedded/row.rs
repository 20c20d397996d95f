//! The rows of the embedded store: engine's own fields before the bytes it keeps for others.
//!
//! `kind u8 · revision u64 · expires_at u64 · entry_at u64 · places u32 · places · value`, numbers
//! big-endian. `entry_at` is where the expiry index lists the row: never later than `expires_at`,
//! so that a life made longer touches no index; the sweep moves the entry when it meets it.

use bytes::Bytes;

use crate::domain::clock::Timestamp;
use crate::store::kv::Gone;
use crate::store::kv::Place;
use crate::store::kv::Slot;
use crate::store::kv::StoreError;

const LIVE: u8 = 0;
const ERASED: u8 = 1;
const EXPIRED: u8 = 2;

/// A row of the records table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// `None`: a record. Otherwise a tombstone, and why.
    pub(super) gone: Option<Gone>,
    pub(super) revision: u64,
    /// Of a record, when it ends; of a tombstone, when it is forgotten.
    pub(super) expires_at: Timestamp,
    pub(super) entry_at: Timestamp,
    pub(super) places: Vec<Place>,
    pub(super) value: Bytes,
}

impl Row {
    /// The row as bytes.
    pub(super) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(StoreError::failed);
        let mut listed = Vec::new();
        for Place { set, name } in &self.places {
            for part in [set, name] {
                listed.extend_from_slice(&length(part)?.to_be_bytes());
                listed.extend_from_slice(part);
            }
        }
        let mut bytes = Vec::with_capacity(29 + listed.len() + self.value.len());
        bytes.push(match self.gone {
            None => LIVE,
            Some(Gone::Erased) => ERASED,
            Some(Gone::Expired) => EXPIRED,
        });
        bytes.extend_from_slice(&self.revision.to_be_bytes());
        bytes.extend_from_slice(&self.expires_at.micros().to_be_bytes());
        bytes.extend_from_slice(&self.entry_at.micros().to_be_bytes());
        bytes.extend_from_slice(&length(&listed)?.to_be_bytes());
        bytes.extend_from_slice(&listed);
        bytes.extend_from_slice(&self.value);
        Ok(bytes)
    }

    /// Reads a row; foreign bytes are an error, never a panic.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::read(bytes).ok_or_else(|| StoreError::Unreadable("a row is damaged".to_owned()))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let gone = match *kind {
            LIVE => None,
            ERASED => Some(Gone::Erased),
            EXPIRED => Some(Gone::Expired),
            _ => return None,
        };
        let (revision, rest) = number(rest)?;
        let (expires_at, rest) = number(rest)?;
        let (entry_at, rest) = number(rest)?;
        let (mut listed, value) = part(rest)?;
        let mut places = Vec::new();
        while !listed.is_empty() {
            let (set, after) = part(listed)?;
            let (name, after) = part(after)?;
            places.push(Place { set: set.to_vec(), name: name.to_vec() });
            listed = after;
        }
        Some(Self {
            gone,
            revision,
            expires_at: Timestamp::from_micros(expires_at),
            entry_at: Timestamp::from_micros(entry_at),
            places,
            value: Bytes::copy_from_slice(value),
        })
    }

    /// What a reader sees of it at `now`.
    pub(super) fn slot(self, now: Timestamp) -> Option<Slot> {
        let Self { revision, expires_at, value, .. } = self;
        match self.gone {
            Some(_) if expires_at <= now => None,
            Some(how) => Some(Slot::Gone { revision, how }),
            None if expires_at > now => Some(Slot::Live { revision, expires_at, value }),
            None if expires_at.plus(crate::store::kv::TOMBSTONE_LIFE) <= now => None,
            None => Some(Slot::Gone { revision, how: Gone::Expired }),
        }
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(places: Vec<Place>, value: Vec<u8>) -> Row {
        Row {
            gone: None,
            revision: 7,
            expires_at: Timestamp::from_micros(9),
            entry_at: Timestamp::from_micros(8),
            places,
            value: value.into(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_row_reads_back(value: Vec<u8>, places: Vec<(Vec<u8>, Vec<u8>)>) {
            let places = places.into_iter().map(|(set, name)| Place { set, name }).collect();
            let row = row(places, value);
            prop_assert_eq!(Row::decode(&row.encode().unwrap()).unwrap(), row);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes: Vec<u8>, cut in 0_usize..60) {
            let _ = Row::decode(&bytes);
            let whole = row(vec![Place { set: vec![1], name: vec![2; 9] }], vec![3; 9]).encode().unwrap();
            let _ = Row::decode(&whole[..cut.min(whole.len())]);
        }
    }
}
