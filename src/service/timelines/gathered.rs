//! [`Gathered`]: what readers did, counted in memory, so that a read does no more than count. Written into
//! timelines once a second: of each reader first at once, and then once in [`EVERY`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use crate::domain::clock::Timestamp;
use crate::service::timelines::tally::Did;
use crate::service::timelines::tally::Tallies;
use crate::service::timelines::tally::Who;
use crate::service::timelines::tally::Whose;

/// How often the same reader of the same handoff is written.
pub(super) const EVERY: Duration = Duration::from_secs(60);

// More shards than threads, so that two readers seldom meet.
const SHARDS: usize = 64;
// Handoffs at once in each: together 65 536 of some 300 bytes.
const HANDOFFS: usize = 1024;

/// What readers did.
#[derive(Debug)]
pub(super) struct Gathered {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    // At which shard the next flush begins, so that none is always the last.
    first: AtomicUsize,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct Shard {
    handoffs: HashMap<u64, Tallies>,
    // What is to be written of; some of it perhaps not yet.
    changed: Vec<u64>,
}

impl Gathered {
    /// Nothing yet; what there is no room for is counted as `dropped`.
    pub(super) fn new(dropped: Counter) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new(), first: AtomicUsize::new(0), dropped }
    }

    /// Counts.
    pub(super) fn count(&self, whose: &Whose<'_>, who: Who<'_>, did: Did<'_>, at: Timestamp) {
        let hash = self.hasher.hash_one((whose.account, whose.id));
        let mut shard = self.shard(hash);
        let Shard { handoffs, changed } = &mut *shard;
        if handoffs.len() >= HANDOFFS && !handoffs.contains_key(&hash) {
            // Not looked for where there is surely none.
            if changed.len() < handoffs.len() {
                handoffs.retain(|_, tallies| !tallies.is_written());
            }
            if handoffs.len() >= HANDOFFS {
                self.dropped.inc();
                return;
            }
        }
        let tallies = match handoffs.entry(hash) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => place.insert(Tallies::of(whose)),
        };
        // Two of one hash: the first has it.
        if !tallies.are_of(whose) {
            return;
        }
        let was_written = tallies.is_written();
        tallies.count(whose, who, did, at);
        if was_written {
            changed.push(hash);
        }
    }

    /// What there is of a handoff that is not written yet.
    pub(super) fn of(&self, whose: &Whose<'_>) -> Option<Tallies> {
        let hash = self.hasher.hash_one((whose.account, whose.id));
        let shard = self.shard(hash);
        let there = shard.handoffs.get(&hash).filter(|tallies| tallies.are_of(whose));
        there.map(Tallies::unwritten)
    }

    /// Forgets who read a handoff that is no more.
    pub(super) fn forget(&self, whose: &Whose<'_>) {
        let hash = self.hasher.hash_one((whose.account, whose.id));
        let mut shard = self.shard(hash);
        if shard.handoffs.get(&hash).is_some_and(|tallies| tallies.are_of(whose)) {
            shard.handoffs.remove(&hash);
        }
    }

    /// Takes what is to be written at `now`, of `most` handoffs; all of it at the end. What it takes counts
    /// as written: whoever fails to write it gives it back by [`Gathered::not_written`].
    pub(super) fn take(&self, now: Timestamp, is_end: bool, most: usize) -> Vec<Tallies> {
        let mut taken = Vec::new();
        let first = self.first.fetch_add(1, Ordering::Relaxed) % SHARDS;
        for shard in self.shards.iter().cycle().skip(first).take(SHARDS) {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let Shard { handoffs, changed } = &mut *shard;
            changed.retain(|hash| {
                let Some(tallies) = handoffs.get_mut(hash) else { return false };
                if taken.len() < most {
                    let due = tallies.take(now, is_end);
                    if !due.is_empty() {
                        taken.push(due);
                    }
                }
                !tallies.is_written()
            });
        }
        taken
    }

    /// What was taken is to be written after all.
    pub(super) fn not_written(&self, taken: &[Tallies]) {
        for tallies in taken {
            let hash = self.hasher.hash_one((&tallies.account, &tallies.id));
            let mut shard = self.shard(hash);
            if let Some(there) = shard.handoffs.get_mut(&hash) {
                let was_written = there.is_written();
                there.not_written();
                if was_written {
                    shard.changed.push(hash);
                }
            }
        }
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        let [first, ..] = hash.to_ne_bytes();
        #[expect(clippy::indexing_slicing, reason = "there are so many of them")]
        let shard = &self.shards[usize::from(first) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
