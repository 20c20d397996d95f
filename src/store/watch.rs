//! [`Watchers`]: who waits for a record to be written, woken by the write and by nothing else.
//!
//! A waiter registers before it looks, so a write between its look and its wait has rung already
//! and the wait ends at once. A ring takes the bells away: a woken waiter looks again and, if it
//! must wait on, registers anew; so neither many waiters of one call nor waiters that gave up make
//! a later write slow.

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

type Bells = HashMap<Arc<[u8]>, Vec<Arc<Notify>>>;

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
    bell: Arc<Notify>,
}

impl Default for Watchers {
    fn default() -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Self { stripes, hasher: RandomState::new(), closed: AtomicBool::new(false) }
    }
}

impl Watchers {
    /// Begins to watch `keys`. Look after this, not before.
    pub fn watch(&self, keys: impl IntoIterator<Item = Vec<u8>>) -> Watch<'_> {
        // Mostly one.
        let keys_watched = Vec::with_capacity(1);
        let mut watch = Watch { watchers: self, keys: keys_watched, bell: Arc::new(Notify::new()) };
        keys.into_iter().for_each(|key| watch.also(key));
        watch
    }

    /// Wakes everyone who watches `key`.
    pub fn ring(&self, key: &[u8]) {
        let rung = self.bells(key).remove(key);
        rung.into_iter().flatten().for_each(|bell| bell.notify_one());
    }

    /// Wakes everyone; from now on nobody waits.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for stripe in &self.stripes {
            let bells = std::mem::take(&mut *stripe.lock().unwrap_or_else(PoisonError::into_inner));
            bells.into_values().flatten().for_each(|bell| bell.notify_one());
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
        bells.entry(Arc::clone(&key)).or_default().push(Arc::clone(&self.bell));
        drop(bells);
        self.keys.push(key);
    }

    /// Waits until one of the keys is written, or nobody waits any more.
    pub async fn rung(&self) {
        // Closing sets its mark before it rings: whoever registered too late for the ring sees it.
        if !self.watchers.is_closed() {
            self.bell.notified().await;
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        for key in &self.keys {
            let mut bells = self.watchers.bells(key);
            let Some(waiting) = bells.get_mut(key) else { continue };
            if let Some(own) = waiting.iter().position(|bell| Arc::ptr_eq(bell, &self.bell)) {
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

    #[tokio::test(start_paused = true)]
    async fn a_ring_wakes_those_of_its_key_even_when_they_wait_only_afterwards() {
        let watchers = Watchers::default();
        let first = watchers.watch([b"a".to_vec()]);
        let second = watchers.watch([b"x".to_vec(), b"a".to_vec()]);
        let other = watchers.watch([b"b".to_vec()]);
        watchers.ring(b"a");
        assert!(is_rung(&first).await && is_rung(&second).await);
        assert!(!is_rung(&other).await);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_waiting_leaves_nothing_behind() {
        let watchers = Watchers::default();
        let watch = watchers.watch([b"a".to_vec(), b"b".to_vec()]);
        let stays = watchers.watch([b"a".to_vec()]);
        assert_eq!(watching(&watchers), 3);
        watchers.ring(b"b");
        drop(watch);
        assert_eq!(watching(&watchers), 1);
        watchers.ring(b"a");
        assert!(is_rung(&stays).await);
        drop(stays);
        assert_eq!(watching(&watchers), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_wakes_everyone_and_nobody_waits_afterwards() {
        let watchers = Watchers::default();
        let before = watchers.watch([b"a".to_vec()]);
        watchers.close();
        let after = watchers.watch([b"a".to_vec()]);
        assert!(is_rung(&before).await && is_rung(&after).await);
    }
}
