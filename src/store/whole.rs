//! [`Portable`]: what an engine holds, whole, to be copied to another or sealed anew. Not for requests: a walk
//! goes through everything.

use bytes::Bytes;

use crate::domain::clock::Timestamp;
use crate::store::journal::Journal;
use crate::store::kv::Gone;
use crate::store::kv::Kv;
use crate::store::kv::Pending;
use crate::store::kv::Place;

/// All that an engine holds under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whole {
    /// A record, or the memory of one.
    Record {
        /// Its key.
        key: Vec<u8>,
        /// Its revision.
        revision: u64,
        /// When it ends; of a tombstone, when it is forgotten.
        ends: Timestamp,
        /// What became of it; `None`: it lives, or has ended and was not buried yet.
        gone: Option<Gone>,
        /// What lists it.
        places: Vec<Place>,
        /// Its bytes.
        value: Bytes,
    },
    /// A journal.
    Journal {
        /// Its key.
        key: Vec<u8>,
        /// Until when it is kept.
        ends: Timestamp,
        /// A number that another change makes another.
        version: u64,
        /// What it holds.
        journal: Journal,
    },
}

/// Over what something is put back.
#[derive(Clone, Debug)]
pub enum Over {
    /// What is older, or nothing.
    Older,
    /// Exactly this, so that nothing that came meanwhile is lost.
    Same(Whole),
}

/// A walk's page: what it found, and where it goes on; `None`: that was all.
pub type Page = (Vec<Whole>, Option<Vec<u8>>);

/// An engine that can be read whole.
pub trait Portable: Kv {
    /// What there is, page by page; something twice at most, and what changes meanwhile or not.
    fn walk(&self, from: Option<Vec<u8>>) -> Pending<'_, Page>;

    /// Puts something back as it was, with its revision and its end; whether it did.
    fn restore(&self, whole: Whole, over: Over) -> Pending<'_, bool>;
}
