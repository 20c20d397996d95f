//! [`Watchers`]: who waits for a record to be written, woken by the write and by nothing else.
//!
//! A waiter registers before it looks, so a write between its look and its wait has rung already
//! and the wait ends at once. A ring takes the bells away: a woken waiter looks again and, if it
//! must wait on, registers anew; so neither many waiters of one call nor waiters that gave up make
//! a later write slow. Who waits for a newer revision sleeps through older ones, or thousands who
//! wait for one that never comes would all look again at every write.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

// More than threads that ring or register at once.
const STRIPES: usize = 64;

type Bells = HashMap<Arc<[u8]>, Vec<Bell>>;

/// One who is to be woken.
#[derive(Debug)]
struct Bell {
    min_revision: u64,
    notify: Arc<Notify>,
}

/// Everyone who waits for something to be written in this process.
#[derive(Debug)]
pub struct Watchers {
    // std's Mutex: nothing awaits while it is held.
    stripes: Box<[Mutex<Bells>]>,
    hasher: RandomState,
    closed: AtomicBool,
}

/// One who waits. Dropping it ends the wait and leaves nothing behind.
#[derive(Debug)]
pub struct Watch<'w> {
    watchers: &'w Watchers,
    keys: Vec<Arc<[u8]>>,
    min_revision: u64,
    notify: Arc<Notify>,
}

impl Default for Watchers {
    fn default() -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Self { stripes, hasher: RandomState::new(), closed: AtomicBool::new(false) }
    }
}

impl Watchers {
    /// Begins to watch `key` for `min_revision` or a newer one. Look after this, not before.
    pub fn watch(&self, key: Vec<u8>, min_revision: u64) -> Watch<'_> {
        // One key mostly.
        let (keys, notify) = (Vec::with_capacity(1), Arc::new(Notify::new()));
        let mut watch = Watch { watchers: self, keys, min_revision, notify };
        watch.also(key);
        watch
    }

    /// Wakes everyone who watches `key` for `revision` or an older one.
    pub fn ring(&self, key: &[u8], revision: u64) {
        let mut bells = self.bells(key);
        let Some(waiting) = bells.get_mut(key) else { return };
        waiting.retain(|bell| {
            let waits_on = bell.min_revision > revision;
            if !waits_on {
                bell.notify.notify_one();
            }
            waits_on
        });
        if waiting.is_empty() {
            bells.remove(key);
        }
    }

    /// Wakes everyone; from now on nobody waits.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.ring_all();
    }

    /// Wakes everyone.
    pub fn ring_all(&self) {
        for stripe in &self.stripes {
            let bells = std::mem::take(&mut *stripe.lock().unwrap_or_else(PoisonError::into_inner));
            bells.into_values().flatten().for_each(|bell| bell.notify.notify_one());
        }
    }

    /// Whether waiting is over for good.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn bells(&self, key: &[u8]) -> MutexGuard<'_, Bells> {
        let [first, ..] = self.hasher.hash_one(key).to_ne_bytes();
        #[expect(clippy::indexing_slicing, reason = "there are STRIPES of them")]
        let stripe = &self.stripes[usize::from(first) % STRIPES];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch<'_> {
    /// Watches `key` too.
    pub fn also(&mut self, key: Vec<u8>) {
        let key: Arc<[u8]> = key.into();
        let mut bells = self.watchers.bells(&key);
        let bell = Bell { min_revision: self.min_revision, notify: Arc::clone(&self.notify) };
        bells.entry(Arc::clone(&key)).or_default().push(bell);
        drop(bells);
        self.keys.push(key);
    }

    /// What it watches.
    pub fn keys(&self) -> &[Arc<[u8]>] {
        &self.keys
    }

    /// Waits until one of the keys is written, or nobody waits any more.
    pub async fn rung(&self) {
        // Closing sets its mark before it rings: whoever registered too late for the ring sees it.
        if !self.watchers.is_closed() {
            self.notify.notified().await;
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        for key in &self.keys {
            let mut bells = self.watchers.bells(key);
            let Some(waiting) = bells.get_mut(key) else { continue };
            if let Some(own) =
                waiting.iter().position(|bell| Arc::ptr_eq(&bell.notify, &self.notify))
            {
                waiting.swap_remove(own);
            }
            if waiting.is_empty() {
                bells.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    fn watching(watchers: &Watchers) -> usize {
        watchers
            .stripes
            .iter()
            .map(|s| s.lock().unwrap().values().map(Vec::len).sum::<usize>())
            .sum()
    }

    async fn is_rung(watch: &Watch<'_>) -> bool {
        tokio::time::timeout(Duration::from_secs(1), watch.rung()).await.is_ok()
    }

    fn watch<'w>(watchers: &'w Watchers, keys: &[&str]) -> Watch<'w> {
        let mut watch = watchers.watch(keys[0].into(), 0);
        keys[1..].iter().for_each(|key| watch.also((*key).into()));
        watch
    }

    #[tokio::test(start_paused = true)]
    async fn a_ring_wakes_those_of_its_key_even_when_they_wait_only_afterwards() {
        let watchers = Watchers::default();
        let (first, second) = (watch(&watchers, &["a"]), watch(&watchers, &["x", "a"]));
        let other = watch(&watchers, &["b"]);
        watchers.ring(b"a", 1);
        assert!(is_rung(&first).await && is_rung(&second).await);
        assert!(!is_rung(&other).await);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_a_newer_revision_sleeps_through_older_ones() {
        let watchers = Watchers::default();
        let newer = watchers.watch(b"a".to_vec(), 7);
        watchers.ring(b"a", 6);
        assert!(!is_rung(&newer).await);
        watchers.ring(b"a", 7);
        assert!(is_rung(&newer).await);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_waiting_leaves_nothing_behind() {
        let watchers = Watchers::default();
        let goes = watch(&watchers, &["a", "b"]);
        let stays = watch(&watchers, &["a"]);
        assert_eq!(watching(&watchers), 3);
        watchers.ring(b"b", 1);
        drop(goes);
        assert_eq!(watching(&watchers), 1);
        watchers.ring(b"a", 1);
        assert!(is_rung(&stays).await);
        drop(stays);
        assert_eq!(watching(&watchers), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_wakes_everyone_and_nobody_waits_afterwards() {
        let watchers = Watchers::default();
        let before = watchers.watch(b"a".to_vec(), u64::MAX);
        watchers.close();
        let after = watch(&watchers, &["a"]);
        assert!(is_rung(&before).await && is_rung(&after).await);
    }
}
