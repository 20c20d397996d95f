//! [`Feed`]: what is heard of writes in other processes over the same store.
//!
//! Each key has a generation, by a stripe of many keys; it rises when the engine tells that the key was
//! written. What was read after a watch on its key began, and whose generation still stands, is what the
//! store holds, as far as was heard; and up to when everything was heard, the engine says: it asks again
//! and again, and an answer proves that what was told before it has arrived. When it does not know any more
//! what it may have missed, all generations rise, and everyone who waits looks again.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::store::watch::Watchers;

const STRIPES: usize = 4096;
// Keys of each part of those that were written lately.
const LATELY: usize = 1 << 16;

/// What is heard of writes elsewhere.
#[derive(Debug)]
pub struct Feed {
    watchers: Arc<Watchers>,
    stripes: Box<[AtomicU64]>,
    // Raised when anything may have been missed.
    losses: AtomicU64,
    started: Instant,
    // Milliseconds after `started`.
    heard_until: AtomicU64,
    hasher: RandomState,
    // Stripes are shared by many keys; this tells one from the other.
    lately: Mutex<Lately>,
}

/// The last hundred thousand keys that were written, by their hash, and when. In two parts, of which the older
/// goes as a whole.
#[derive(Debug, Default)]
struct Lately {
    newer: HashMap<u64, Instant>,
    older: HashMap<u64, Instant>,
}

impl Lately {
    fn note(&mut self, hash: u64, at: Instant) {
        if self.newer.len() >= LATELY {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(hash, at);
    }

    fn of(&self, hash: u64) -> Option<Instant> {
        self.newer.get(&hash).or_else(|| self.older.get(&hash)).copied()
    }
}

/// What was heard of a key when it was about to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    generation: u64,
    losses: u64,
}

impl Feed {
    /// A feed that has heard nothing yet and wakes `watchers`.
    pub fn new(watchers: Arc<Watchers>) -> Self {
        Self {
            watchers,
            stripes: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            losses: AtomicU64::new(0),
            started: Instant::now(),
            heard_until: AtomicU64::new(0),
            hasher: RandomState::new(),
            lately: Mutex::default(),
        }
    }

    /// `key` was written, somewhere.
    pub fn written(&self, key: &[u8]) {
        self.stripe(key).fetch_add(1, Ordering::SeqCst);
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.note(self.hasher.hash_one(key), Instant::now());
        drop(lately);
        // Of which revision is not told.
        self.watchers.ring(key, u64::MAX);
    }

    /// Something may have been missed.
    pub fn lost(&self) {
        self.heard_until.store(0, Ordering::SeqCst);
        self.losses.fetch_add(1, Ordering::SeqCst);
        self.watchers.ring_all();
    }

    /// What was asked for at `asked` has been answered: all that was written before then has been told. It
    /// is good for `good_for` from then on.
    pub fn heard(&self, asked: Instant, good_for: Duration) {
        let until = asked.saturating_duration_since(self.started) + good_for;
        self.heard_until
            .store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// To be taken before a watch on `key` begins.
    pub fn mark(&self, key: &[u8]) -> Mark {
        Mark {
            generation: self.stripe(key).load(Ordering::SeqCst),
            losses: self.losses.load(Ordering::SeqCst),
        }
    }

    /// Whether `key` was heard to be written after `then`.
    pub fn is_written_since(&self, key: &[u8], then: Instant) -> bool {
        let lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.of(self.hasher.hash_one(key)).is_some_and(|at| at > then)
    }

    /// About what time it is, in so many.
    pub fn about(&self, so_many: Duration) -> u64 {
        let now = self.started.elapsed().as_millis() / so_many.as_millis().max(1);
        u64::try_from(now).unwrap_or(u64::MAX)
    }

    /// Whether what was read under a mark is what the store holds, as far as anybody can have heard.
    pub fn holds(&self, key: &[u8], mark: Mark) -> bool {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        now < self.heard_until.load(Ordering::SeqCst) && self.mark(key) == mark
    }

    fn stripe(&self, key: &[u8]) -> &AtomicU64 {
        let [first, second, ..] = self.hasher.hash_one(key).to_ne_bytes();
        let at = usize::from(u16::from_ne_bytes([first, second])) % STRIPES;
        #[expect(clippy::indexing_slicing, reason = "there are STRIPES of them")]
        &self.stripes[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_holds_until_it_is_written_or_nothing_is_heard_any_more() {
        let feed = Feed::new(Arc::default());
        let (now, long) = (Instant::now(), Duration::from_secs(60));
        let mark = feed.mark(b"a");
        assert!(!feed.holds(b"a", mark), "nothing was heard yet");
        feed.heard(now, long);
        assert!(feed.holds(b"a", mark));
        feed.written(b"a");
        assert!(!feed.holds(b"a", mark) && feed.is_written_since(b"a", now));
        assert!(!feed.is_written_since(b"b", now));
        let mark = feed.mark(b"a");
        feed.heard(now, Duration::ZERO);
        assert!(!feed.holds(b"a", mark), "too long ago");
        feed.heard(now, long);
        assert!(feed.holds(b"a", mark));
        feed.lost();
        feed.heard(now, long);
        assert!(!feed.holds(b"a", mark), "something may have been missed");
    }

    #[tokio::test]
    async fn who_waits_looks_again_when_something_may_have_been_missed() {
        let watchers = Arc::<Watchers>::default();
        let feed = Feed::new(Arc::clone(&watchers));
        let watch = watchers.watch(b"k".to_vec(), 9);
        feed.lost();
        tokio::time::timeout(Duration::from_secs(5), watch.rung()).await.unwrap();
        let watch = watchers.watch(b"k".to_vec(), 9);
        feed.written(b"k");
        tokio::time::timeout(Duration::from_secs(5), watch.rung()).await.unwrap();
        assert!(!watchers.is_closed());
    }
}
