//! [`L1`]: hot records in memory, never older than what this process acknowledged.
//!
//! # Why not moka's own `try_get_with` and `invalidate`
//!
//! A load that began before a write can land after it and put the old value back; moka keeps it
//! until it expires. So a value enters only through `L1::upsert`, under moka's lock for its key,
//! and four guards hold there:
//!
//! 1. *Generations.* A counter per stripe of keys is raised before and after each store write. A
//!    load notes it first and may fill only if it still stands: no write began or ended meanwhile.
//!    (A tombstone in the cache would not do: moka may turn any entry away.) A writer keeps its own
//!    value only after the second raise, and only if no other write overlapped its own or came
//!    since; else it forgets the key.
//! 2. *Newest revision wins*, should two fills of one generation meet.
//! 3. *Flights are keyed by generation.* Concurrent misses for one key share one load, but a reader
//!    who comes after a write never joins a load from before it.
//! 4. *Expiry is checked on every hit* against our clock; moka's own is only for its memory.
//!
//! Misses are never kept: the write usually lands within seconds of the first read.
//!
//! All this is about writes of this process. Where others write to the same store, what is kept has a
//! [`Mark`] of what was heard of them, and [`crate::store::records`] decides for what it is still good.

use std::fmt;
use std::future::Future;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use moka::Expiry;
use moka::future::Cache;
use moka::ops::compute::Op;

use crate::domain::clock::Clock;
use crate::store::feed::Mark;
use crate::store::kv::Gone;
use crate::store::kv::StoreError;
use crate::store::record::Record;

// More stripes than writes in flight, so that a write rarely turns away a fill of another key.
const STRIPES: usize = 4096;

type Key = Vec<u8>;

/// What a look-up found.
#[derive(Debug)]
pub enum Found<V> {
    /// A record.
    Live(Arc<V>),
    /// A record as it was a while ago: the store cannot be asked.
    Stale(Arc<V>),
    /// The memory of one.
    Gone(Gone),
    /// Nothing.
    Never,
}

impl<V> Clone for Found<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Live(value) => Self::Live(Arc::clone(value)),
            Self::Stale(value) => Self::Stale(Arc::clone(value)),
            Self::Gone(how) => Self::Gone(*how),
            Self::Never => Self::Never,
        }
    }
}

impl<V> Found<V> {
    /// The record, if there is one.
    pub fn live(self) -> Option<Arc<V>> {
        match self {
            Self::Live(value) | Self::Stale(value) => Some(value),
            Self::Gone(_) | Self::Never => None,
        }
    }
}

/// A record in memory.
#[derive(Debug)]
pub(super) struct Kept<V> {
    /// The record.
    pub(super) value: Arc<V>,
    /// What was heard of its key before it was read; `None`: nothing is heard of it.
    pub(super) mark: Option<Mark>,
    /// When reading it began, or it was written.
    pub(super) at: Instant,
}

impl<V> Clone for Kept<V> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), mark: self.mark, at: self.at }
    }
}

/// What a load knew when it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filling {
    /// The generation of the key.
    pub(super) generation: u64,
    /// What was heard of it; `None`: nothing is.
    pub(super) mark: Option<Mark>,
    /// When.
    pub(super) began: Instant,
}

/// What whoever asks has heard of a key, and about when: those who share a load have heard the same of it, at
/// about the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Heard {
    /// What.
    pub(super) mark: Mark,
    /// When, in [`JOINED`]s.
    pub(super) about: u64,
}

/// By how much later than its beginning others may join a load of what others write, too.
pub(super) const JOINED: Duration = Duration::from_millis(200);

/// Records in memory, bounded in bytes.
pub struct L1<V> {
    clock: Clock,
    values: Cache<Key, Kept<V>>,
    // Capacity 0: keeps nothing, but still makes one flight of many.
    flights: Cache<(Key, u64, Option<Heard>), Found<V>>,
    stripes: Box<[AtomicU64]>,
    hasher: RandomState,
    is_shared: bool,
    #[cfg(test)]
    off: Option<Guard>,
}

/// The guards of the room's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    Generation,
    NewestWins,
    FlightByGeneration,
    Expiry,
}

/// Held while a store write is under way; [`Writing::ended`] or dropping it says that it has ended.
#[derive(Debug)]
pub struct Writing<'c> {
    stripe: &'c AtomicU64,
    began: u64,
}

impl Writing<'_> {
    /// Says that the write has ended; answers the generation from which its value may be kept, or
    /// `None` when another write of the stripe began or ended meanwhile: which of the two the
    /// engine did last, nobody here knows.
    pub fn ended(self) -> Option<u64> {
        let ended = self.began.wrapping_add(1);
        let alone =
            self.stripe.compare_exchange(self.began, ended, Ordering::SeqCst, Ordering::SeqCst);
        let kept = alone.is_ok().then_some(ended);
        if kept.is_some() {
            // Raised already, just now and at one stroke with the look.
            std::mem::forget(self);
        }
        kept
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.stripe.fetch_add(1, Ordering::SeqCst);
    }
}

struct Lifetime(Clock);

impl<V: Record> Expiry<Key, Kept<V>> for Lifetime {
    fn expire_after_create(&self, _: &Key, kept: &Kept<V>, _: Instant) -> Option<Duration> {
        Some(kept.value.expires_at().until(self.0.now()))
    }

    fn expire_after_update(
        &self,
        _: &Key,
        kept: &Kept<V>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.value.expires_at().until(self.0.now()))
    }
}

impl<V> fmt::Debug for L1<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("L1")
    }
}

impl<V: Record> L1<V> {
    /// An empty cache of at most `max_bytes`; `is_shared`: others write to the store.
    pub fn new(max_bytes: u64, clock: Clock, is_shared: bool) -> Self {
        let weigh = |key: &Key, kept: &Kept<V>| {
            u32::try_from(key.len() + kept.value.weight()).unwrap_or(u32::MAX)
        };
        Self {
            values: Cache::builder()
                .max_capacity(max_bytes)
                .weigher(weigh)
                .expire_after(Lifetime(clock.clone()))
                .build(),
            clock,
            flights: Cache::new(0),
            stripes: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            is_shared,
            #[cfg(test)]
            off: None,
        }
    }

    /// The record under `key`, from memory if it is there.
    pub async fn hit(&self, key: &[u8]) -> Option<Arc<V>> {
        self.kept(key).await.map(|kept| kept.value)
    }

    /// The same, with what is known of it.
    pub(super) async fn kept(&self, key: &[u8]) -> Option<Kept<V>> {
        // Boxed: moka's future is 750 bytes, and readers who wait would hold room for two of them.
        let kept = Box::pin(self.values.get(key)).await?;
        let lives = kept.value.expires_at() > self.clock.now() || !self.is_on(Guard::Expiry);
        lives.then_some(kept)
    }

    /// The record under `key` by `load`, after [`L1::hit`] had none. Concurrent callers share one
    /// load.
    pub async fn read<F>(&self, key: &[u8], load: F) -> Result<Found<V>, StoreError>
    where
        F: Future<Output = Result<Found<V>, StoreError>>,
    {
        self.read_marked(key, None, |_| true, async { Ok((load.await?, None)) }).await
    }

    /// The same where others write too: by a load that answers the mark under which it read, if anything
    /// is heard of the key. Those who share a load have heard the same of it.
    pub(super) async fn read_marked<F>(
        &self,
        key: &[u8],
        heard: Option<Heard>,
        is_good: impl Fn(&Kept<V>) -> bool,
        load: F,
    ) -> Result<Found<V>, StoreError>
    where
        F: Future<Output = Result<(Found<V>, Option<Mark>), StoreError>>,
    {
        let generation = self.generation(key);
        let flight = if self.is_on(Guard::FlightByGeneration) { generation } else { 0 };
        let flight = (key.to_vec(), flight, heard);
        let work = async {
            // Whoever missed just before a flight ended begins another just after.
            if let Some(kept) = self.kept(key).await.filter(&is_good) {
                return Ok(Found::Live(kept.value));
            }
            let began = Instant::now();
            let (found, mark) = load.await?;
            self.fill(key, &found, Filling { generation, mark, began }).await;
            Ok(found)
        };
        self.flights
            .try_get_with(flight, work)
            .await
            .map_err(|e: Arc<StoreError>| StoreError::clone(&e))
    }

    /// Says that a store write to `key` begins. Hold the answer until the write has ended.
    pub fn writing(&self, key: &[u8]) -> Writing<'_> {
        let stripe = self.stripe(key);
        let began = stripe.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        Writing { stripe, began }
    }

    /// Keeps a value that was just written, given what [`Writing::ended`] answered.
    pub async fn keep(&self, key: &[u8], value: &Arc<V>, ended: Option<u64>) {
        match ended {
            Some(generation) => {
                let filling = Filling { generation, mark: None, began: Instant::now() };
                self.upsert(key, value, filling, Op::Remove).await;
            }
            None => self.forget(key).await,
        }
    }

    /// Has what is kept of `key` stand for a store that does not answer, and answer nobody first.
    pub(super) async fn doubt(&self, key: &[u8]) {
        let unmarked = |entry: moka::Entry<Key, Kept<V>>| Kept { mark: None, ..entry.into_value() };
        let doubted = |present: Option<_>| async {
            present.map_or(Op::Nop, |entry| Op::Put(unmarked(entry)))
        };
        self.values.entry_by_ref(key).and_compute_with(doubted).await;
    }

    /// Forgets `key`, under the same lock as [`L1::keep`]. Call it after [`Writing::ended`].
    pub async fn forget(&self, key: &[u8]) {
        self.values.entry_by_ref(key).and_compute_with(|_| async { Op::Remove }).await;
    }

    /// The generation of a key, to be taken before it is loaded.
    pub(super) fn generation(&self, key: &[u8]) -> u64 {
        self.stripe(key).load(Ordering::SeqCst)
    }

    /// Keeps what a load found; forgets what it found to be gone.
    pub(super) async fn fill(&self, key: &[u8], found: &Found<V>, filling: Filling) {
        match found {
            Found::Live(value) => self.upsert(key, value, filling, Op::Nop).await,
            Found::Gone(_) | Found::Never if self.is_shared => self.forget(key).await,
            Found::Gone(_) | Found::Never | Found::Stale(_) => {}
        }
    }

    /// Puts `value` in unless something newer is there; does `otherwise` when the generation is
    /// another than `generation`.
    async fn upsert(
        &self,
        key: &[u8],
        value: &Arc<V>,
        Filling { generation, mark, began }: Filling,
        otherwise: Op<Kept<V>>,
    ) {
        let stripe = self.stripe(key);
        self.values
            .entry_by_ref(key)
            .and_compute_with(|present| async {
                let newer = |there: &Kept<V>| there.value.revision() > value.revision();
                // Where others write, a failover may take back what was not confirmed: there the last
                // read counts, and marks tell what is old.
                let is_older = !self.is_shared && present.is_some_and(|entry| newer(entry.value()));
                let still = stripe.load(Ordering::SeqCst) == generation;
                match () {
                    () if !still && self.is_on(Guard::Generation) => otherwise,
                    () if is_older && self.is_on(Guard::NewestWins) => Op::Nop,
                    () => Op::Put(Kept { value: Arc::clone(value), mark, at: began }),
                }
            })
            .await;
    }

    fn stripe(&self, key: &[u8]) -> &AtomicU64 {
        let [first, second, ..] = self.hasher.hash_one(key).to_ne_bytes();
        let at = usize::from(u16::from_ne_bytes([first, second])) % STRIPES;
        #[expect(clippy::indexing_slicing, reason = "there are STRIPES of them")]
        &self.stripes[at]
    }
}

impl<V> L1<V> {
    /// Always true, but in a test that turns the guard off to show that it is needed.
    fn is_on(&self, guard: Guard) -> bool {
        #[cfg(test)]
        if self.off == Some(guard) {
            return false;
        }
        let (_, _) = (self, guard);
        true
    }
}

#[cfg(test)]
mod tests;
