//! [`Feed`]: what is heard of writes in other processes over the same store.
//!
//! Each key has a generation, by a stripe of many keys; it rises when the engine tells that the key was
//! written. What was read after a watch on its key began, and whose generation still stands, is what the
//! store holds, as far as was heard; and up to when everything was heard, the engine says: it asks again
//! and again, and an answer proves that what was told before it has arrived. When it does not know any more
//! what it may have missed, all generations rise, and everyone who waits looks again.

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::store::watch::Watchers;

const STRIPES: usize = 4096;

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
        }
    }

    /// `key` was written, somewhere.
    pub fn written(&self, key: &[u8]) {
        self.stripe(key).fetch_add(1, Ordering::SeqCst);
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
        assert!(!feed.holds(b"a", mark));
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
