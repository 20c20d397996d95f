//! [`Journal`]: what happened to something, in order: a capped list of [`Entry`]s under one key, which
//! lives as long as the longest of them asks for.
//!
//! An entry may have a name: written again under it, it stays as it was, or is replaced, so that what is
//! told twice stands once. When there are too many, the first half stays and of the others the oldest
//! goes, for a story needs its beginning and its end; how many went is counted.

use bytes::Bytes;

use crate::domain::clock::Timestamp;
use crate::store::kv::StoreError;

/// Entries of one journal.
pub const MAX_ENTRIES: usize = 256;
/// Bytes of one journal's entries.
pub const MAX_BYTES: usize = 96 * 1024;
const VERSION: u8 = 1;
// Those that stay, whatever comes after them.
const FIRST: usize = MAX_ENTRIES / 2;

/// An entry about to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The journal's key.
    pub journal: Vec<u8>,
    /// The entry's name; empty: it is never the same as another.
    pub name: Vec<u8>,
    /// What becomes of the one of that name.
    pub again: Again,
    /// What it says.
    pub value: Bytes,
    /// Until when the journal is kept.
    pub until: Until,
}

/// What becomes of an entry whose name is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It stays.
    Keep,
    /// It is replaced.
    Replace,
}

/// Until when a journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Then at least.
    AtLeast(Timestamp),
    /// Then, even if it was to be kept longer.
    Exactly(Timestamp),
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// The revision of the record that it was written with; 0 where it was written alone.
    pub revision: u64,
    /// What it says.
    pub value: Bytes,
}

/// What is kept under a journal's key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// Entries that had to go.
    pub left_out: u32,
    /// Those that are there, in the order in which they were written first.
    pub entries: Vec<Entry>,
}

impl Journal {
    /// Writes an entry; whether its name is new.
    pub(crate) fn note(&mut self, note: &Note, revision: u64) -> bool {
        let entry = Entry { name: note.name.clone(), revision, value: note.value.clone() };
        let same = |there: &&mut Entry| !note.name.is_empty() && there.name == note.name;
        if let Some(there) = self.entries.iter_mut().find(same) {
            if note.again == Again::Replace {
                *there = entry;
            }
            return false;
        }
        self.entries.push(entry);
        while self.entries.len() > MAX_ENTRIES || self.bytes() > MAX_BYTES {
            let oldest = FIRST.min(self.entries.len().saturating_sub(1));
            self.entries.remove(oldest);
            self.left_out = self.left_out.saturating_add(1);
        }
        true
    }

    pub(crate) fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.name.len() + entry.value.len() + 16).sum()
    }

    /// As bytes: `version u8 · left_out u32`, then of each entry `name · revision u64 · value`, numbers big-endian, each
    /// of what varies behind its length (`u32`).
    pub(crate) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::with_capacity(5 + self.bytes());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.left_out.to_be_bytes());
        for Entry { name, revision, value } in &self.entries {
            put(&mut bytes, name)?;
            bytes.extend_from_slice(&revision.to_be_bytes());
            put(&mut bytes, value)?;
        }
        Ok(bytes)
    }

    /// Reads [`Journal::encode`]'s bytes. Of what cannot be read no more is known than that it is there: the
    /// record that a journal goes with counts for more than its past.
    pub(crate) fn decode(bytes: &Bytes) -> Self {
        Self::read(bytes).unwrap_or_else(|| {
            tracing::error!("a journal cannot be read, and begins anew");
            Self { left_out: 1, entries: Vec::new() }
        })
    }

    fn read(bytes: &Bytes) -> Option<Self> {
        let (left_out, mut rest) = bytes.strip_prefix(&[VERSION])?.split_first_chunk()?;
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let (name, after) = take(rest)?;
            let (revision, after) = after.split_first_chunk()?;
            let (value, after) = take(after)?;
            let revision = u64::from_be_bytes(*revision);
            entries.push(Entry { name: name.to_vec(), revision, value: bytes.slice_ref(value) });
            rest = after;
        }
        Some(Self { left_out: u32::from_be_bytes(*left_out), entries })
    }
}

impl Until {
    /// Until when a journal is kept that was to be kept until `before`.
    pub(crate) fn over(self, before: Option<Timestamp>) -> Timestamp {
        match self {
            Self::AtLeast(until) => before.map_or(until, |before| before.max(until)),
            Self::Exactly(until) => until,
        }
    }
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) -> Result<(), StoreError> {
    let length = u32::try_from(part.len()).map_err(StoreError::failed)?;
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(part);
    Ok(())
}

fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn note(name: &str, again: Again, value: String) -> Note {
        Note {
            journal: b"j".to_vec(),
            name: name.as_bytes().to_vec(),
            again,
            value: value.into(),
            until: Until::AtLeast(Timestamp::NEVER),
        }
    }

    #[test]
    fn a_full_journal_keeps_its_beginning_and_its_end() {
        let mut journal = Journal::default();
        for n in 0..1000 {
            assert!(journal.note(&note("", Again::Keep, n.to_string()), 0));
        }
        assert_eq!((journal.entries.len(), journal.left_out), (MAX_ENTRIES, 744));
        let value = |at: usize| String::from_utf8_lossy(&journal.entries[at].value).into_owned();
        assert_eq!((value(0), value(127), value(128), value(255)), {
            ("0".to_owned(), "127".to_owned(), "872".to_owned(), "999".to_owned())
        });
        let large = "x".repeat(MAX_BYTES / 2);
        journal.note(&note("", Again::Keep, large.clone()), 0);
        journal.note(&note("", Again::Keep, large), 0);
        assert!(journal.bytes() <= MAX_BYTES);
    }

    #[test]
    fn what_is_told_twice_stands_once() {
        let mut journal = Journal::default();
        assert!(journal.note(&note("a", Again::Keep, "1".to_owned()), 7));
        assert!(!journal.note(&note("a", Again::Keep, "2".to_owned()), 8));
        assert_eq!((journal.entries[0].revision, &journal.entries[0].value[..]), (7, &b"1"[..]));
        assert!(!journal.note(&note("a", Again::Replace, "3".to_owned()), 9));
        assert_eq!((journal.entries.len(), &journal.entries[0].value[..]), (1, &b"3"[..]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_journal_reads_back(left_out: u32, parts: Vec<(Vec<u8>, u64, Vec<u8>)>) {
            let entry = |(name, revision, value): (_, _, Vec<u8>)| Entry { name, revision, value: value.into() };
            let journal = Journal { left_out, entries: parts.into_iter().map(entry).collect() };
            prop_assert_eq!(Journal::decode(&journal.encode().unwrap().into()), journal);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Journal::decode(&bytes.into());
        }
    }
}
