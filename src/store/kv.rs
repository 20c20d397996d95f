//! [`Kv`]: the narrow waist between the service and an engine.
//!
//! Bytes under keys, each with a revision that only grows and a moment at which it ends. The engine
//! hands out revisions in the same transaction as the write, `max(previous + 1, now in µs)`, and
//! remembers the previous one through deletion and expiry (a tombstone, kept
//! [`TOMBSTONE_LIFE`]), so that a record made anew is newer than the one that was deleted.
//!
//! What is written here is heard of through [`crate::store::watch`]. With a record, in its transaction, or
//! alone, entries of a [`Journal`] may be written.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::domain::clock::Timestamp;
use crate::store::journal::Journal;
use crate::store::journal::Note;

/// How long a deleted or expired record is remembered, so that a miss can say what became of it.
pub const TOMBSTONE_LIFE: Duration = Duration::from_secs(72 * 3600);

/// The answer of an engine, when it is there.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What an engine holds under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A record.
    Live {
        /// Its revision.
        revision: u64,
        /// From when on it is gone.
        expires_at: Timestamp,
        /// Its bytes.
        value: Bytes,
    },
    /// The memory of a record.
    Gone {
        /// The last revision it had.
        revision: u64,
        /// What became of it.
        how: Gone,
    },
}

impl Slot {
    /// The revision, of the record or of what is remembered of it.
    pub fn revision(&self) -> u64 {
        match self {
            Self::Live { revision, .. } | Self::Gone { revision, .. } => *revision,
        }
    }

    /// Revision and end, if a record is there.
    pub fn live(&self) -> Option<(u64, Timestamp)> {
        match self {
            Self::Live { revision, expires_at, .. } => Some((*revision, *expires_at)),
            Self::Gone { .. } => None,
        }
    }

    /// The revision, if a record is there.
    pub fn live_revision(&self) -> Option<u64> {
        match self {
            Self::Live { revision, .. } => Some(*revision),
            Self::Gone { .. } => None,
        }
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It was deleted.
    Erased,
    /// Its time was over.
    Expired,
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there.
    Anything,
    /// No live record; a deletion that expects this deletes nothing.
    Absent,
    /// A live record of this revision.
    Revision(u64),
    /// The same, and of this end: nobody has made its life another meanwhile, which keeps the revision.
    Unchanged(u64, Timestamp),
}

impl Expect {
    /// Whether a slot whose live record has revision and end `found` meets the expectation.
    pub fn is_met_by(self, found: Option<(u64, Timestamp)>) -> bool {
        match self {
            Self::Anything => true,
            Self::Absent => found.is_none(),
            Self::Revision(wanted) => found.is_some_and(|(revision, _)| revision == wanted),
            Self::Unchanged(revision, ends) => found == Some((revision, ends)),
        }
    }
}

/// What a write does to the revision of the record it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// New content: a new revision.
    Content,
    /// The same content for longer: the revision stays. Needs a live record.
    Lifetime,
}

/// A member of an index set: `set` lists `name` for as long as the record it came with lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The set's key.
    pub set: Vec<u8>,
    /// The member's name.
    pub name: Vec<u8>,
    /// Where the set lists it.
    pub order: Order,
}

/// Where a set lists a member. Sets list in byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By its name.
    ByName,
    /// Before all whose records have an older revision; it is listed as `!revision · name`, which
    /// [`newest_first`] takes apart.
    NewestFirst,
}

/// What a set lists, where: the engine makes it once it knows the revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The set's key.
    pub set: Vec<u8>,
    /// What it lists.
    pub name: Vec<u8>,
}

impl Member {
    /// Its place while its record has `revision`.
    pub fn place(&self, revision: u64) -> Place {
        let mut name = Vec::with_capacity(8 + self.name.len());
        if self.order == Order::NewestFirst {
            name.extend_from_slice(&(!revision).to_be_bytes());
        }
        name.extend_from_slice(&self.name);
        Place { set: self.set.clone(), name }
    }
}

/// The revision and the name of what a set lists [`Order::NewestFirst`].
pub fn newest_first(listed: &[u8]) -> Option<(u64, &[u8])> {
    let (revision, name) = listed.split_first_chunk()?;
    Some((!u64::from_be_bytes(*revision), name))
}

/// A write.
#[derive(Clone, Debug)]
pub struct Put {
    /// Under which key.
    pub key: Vec<u8>,
    /// What.
    pub value: Bytes,
    /// Until when.
    pub expires_at: Timestamp,
    /// Over what.
    pub expect: Expect,
    /// With what revision.
    pub change: Change,
    /// The index sets that list it from now on; earlier ones that are not here list it no more.
    pub members: Vec<Member>,
    /// Sets whose watchers in other processes are rung once it is done.
    pub rings: Vec<Vec<u8>>,
    /// What is noted of it, if it is done.
    pub notes: Vec<Note>,
}

/// A deletion. Leaves a tombstone; index sets list the record no more.
#[derive(Clone, Debug)]
pub struct Delete {
    /// Under which key.
    pub key: Vec<u8>,
    /// Over what.
    pub expect: Expect,
    /// What is noted of it, if it is done.
    pub notes: Vec<Note>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, durably; this is the revision now (of the record, or of its tombstone).
    Done(u64),
    /// Not done: the expectation was not met. The live revision that was found.
    Conflict(Option<u64>),
}

/// The revision of the next write over `found`.
pub(crate) fn next_revision(found: Option<u64>, now: Timestamp) -> u64 {
    now.micros().max(found.map_or(0, |previous| previous.saturating_add(1)))
}

/// An engine failed; nothing was acknowledged.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// No room on the disk.
    #[error("the disk is full")]
    Full,
    /// More writes are queued than can be done in time.
    #[error("too many writes are waiting")]
    Busy,
    /// It was sent, and too few servers said in time that they have it: it may be stored, or not.
    #[error("the write was not confirmed")]
    NotConfirmed,
    /// The engine is closed or reopening.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The engine reported an error.
    #[error("the store failed: {0}")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// What is stored cannot be opened or read: wrong key ring, a crossed reply, or damage.
    #[error("a stored record cannot be read: {0}")]
    Unreadable(String),
}

impl StoreError {
    /// A task of ours panicked. What it said is withheld: it may quote what was being worked on.
    pub fn panicked(_: tokio::task::JoinError) -> Self {
        Self::Unavailable("a task panicked".to_owned())
    }

    /// An engine's own error.
    pub fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed(Arc::new(error))
    }
}

/// An engine: bytes that survive it.
pub trait Kv: fmt::Debug + Send + Sync {
    /// What is under `key`; `None` when nothing is remembered. A record whose time is over is
    /// [`Slot::Gone`] at once, swept or not.
    fn get(&self, key: Vec<u8>) -> Pending<'_, Option<Slot>>;

    /// Whether the record under `key` is still that of this revision and end, which is cheaper to say where
    /// the record itself would come from afar.
    fn is_still(&self, key: Vec<u8>, revision: u64, ends: Timestamp) -> Pending<'_, bool> {
        let reading = self.get(key);
        Box::pin(async move {
            let there = reading.await?.and_then(|slot| slot.live());
            Ok(there == Some((revision, ends)))
        })
    }

    /// Writes, durably before it answers.
    fn put(&self, put: Put) -> Pending<'_, Outcome>;

    /// Deletes, durably before it answers. Nothing there is a conflict with `None`.
    fn delete(&self, delete: Delete) -> Pending<'_, Outcome>;

    /// Names in `set` after `after`, in byte order, at most `limit`. Names of records that ended
    /// may still be listed for a while; verify on read.
    fn members(
        &self,
        set: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Pending<'_, Vec<Vec<u8>>>;

    /// Writes entries of journals, durably before it answers; of each, whether its name is new.
    fn note(&self, notes: Vec<Note>) -> Pending<'_, Vec<bool>>;

    /// What a journal holds; nothing once its time is over.
    fn journal(&self, key: Vec<u8>) -> Pending<'_, Journal>;

    /// Has the engine tell [`crate::store::feed::Feed`] when another process next writes `key`, a record's, a
    /// set's, or what [`Put::rings`]. Once: begin anew before looking again. At once where there is no other.
    fn watch(&self, key: Vec<u8>) -> Pending<'_, ()>;

    /// Whether it can take writes now.
    fn ping(&self) -> Pending<'_, ()>;

    /// Finishes queued writes and closes. Later calls answer [`StoreError::Unavailable`].
    fn close(&self);
}
