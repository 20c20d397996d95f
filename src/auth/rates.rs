//! [`Rates`]: how fast a credential may ask (GCRA, by governor), and how many different ids it may
//! miss. The second is what makes guessing ids slow: whoever is let in may ask often, but somebody
//! who asks for what is not there, again and again and for another id each time, is guessing.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::Hash;
use std::hash::RandomState;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use governor::DefaultKeyedRateLimiter;
use governor::Quota;
use governor::clock::Clock as _;
use governor::clock::DefaultClock;
use thiserror::Error;

/// So many a second in the long run, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// `None` when either is 0: no limit.
    pub fn of(per_second: u32, burst: u32) -> Option<Self> {
        Some(Self { per_second: NonZeroU32::new(per_second)?, burst: NonZeroU32::new(burst)? })
    }
}

/// Asked too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TooFast {
    /// Too many requests.
    #[error("too many requests")]
    Requests(Duration),
    /// Too many different ids that are not there.
    #[error("too many different ids that are not there")]
    Misses(Duration),
}

// Ids that were missed lately. A slot that another id took is forgotten, and counts anew.
const REMEMBERED: usize = 1 << 16;

/// The limits of every credential, by its name.
#[derive(Debug)]
pub struct Rates {
    requests: Option<Limiter>,
    misses: Option<Limiter>,
    missed: Box<[AtomicU64]>,
    // Who has missed too much, until when; and how many they are, so that a read need not look.
    held_back: Mutex<HashMap<String, Instant>>,
    held_back_count: AtomicUsize,
    hasher: RandomState,
}

#[derive(Debug)]
struct Limiter(DefaultKeyedRateLimiter<String>);

impl Limiter {
    fn new(rate: Rate) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self(DefaultKeyedRateLimiter::keyed(quota))
    }

    /// Takes one; else how long until there is one.
    fn take(&self, name: &String) -> Result<(), Duration> {
        let now = || DefaultClock::default().now();
        self.0.check_key(name).map_err(|until| until.wait_time_from(now()))
    }
}

impl Rates {
    /// Limits on requests and on different ids that are not there; `None` is no limit.
    pub fn new(requests: Option<Rate>, misses: Option<Rate>) -> Self {
        Self {
            requests: requests.map(Limiter::new),
            misses: misses.map(Limiter::new),
            missed: (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect(),
            held_back: Mutex::default(),
            held_back_count: AtomicUsize::new(0),
            hasher: RandomState::new(),
        }
    }

    /// Counts a request.
    pub fn request(&self, name: &String) -> Result<(), TooFast> {
        let taken = self.requests.as_ref().map_or(Ok(()), |limiter| limiter.take(name));
        taken.map_err(TooFast::Requests)
    }

    /// Asked before a look-up: whether misses of before do not hold this credential back. It is
    /// asked before, not after, or a guess that hits would be answered at any speed.
    pub fn may_look(&self, name: &str) -> Result<(), TooFast> {
        if self.held_back_count.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let mut held_back = self.held_back.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = held_back.get(name) else { return Ok(()) };
        let wait = until.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            held_back.remove(name);
            self.held_back_count.store(held_back.len(), Ordering::Relaxed);
            return Ok(());
        }
        Err(TooFast::Misses(wait))
    }

    /// Counts an id that is not there, unless it was counted lately.
    pub fn missed(&self, name: &String, id: impl Hash) -> Result<(), TooFast> {
        let Some(limiter) = &self.misses else { return Ok(()) };
        if self.is_remembered(name, id) {
            return Ok(());
        }
        let Err(wait) = limiter.take(name) else { return Ok(()) };
        let mut held_back = self.held_back.lock().unwrap_or_else(PoisonError::into_inner);
        held_back.insert(name.clone(), Instant::now() + wait);
        self.held_back_count.store(held_back.len(), Ordering::Relaxed);
        Err(TooFast::Misses(wait))
    }

    fn is_remembered(&self, name: &str, id: impl Hash) -> bool {
        let hash = self.hasher.hash_one((name, id));
        let at = usize::try_from(hash).unwrap_or(0) % REMEMBERED;
        let slot = self.missed.get(at);
        slot.is_some_and(|slot| slot.swap(hash, Ordering::Relaxed) == hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(requests: u32, misses: u32) -> Rates {
        Rates::new(Rate::of(1, requests), Rate::of(1, misses))
    }

    #[test]
    fn a_burst_is_taken_and_what_comes_after_is_told_when_to_come_back() {
        let rates = rates(3, 0);
        let (one, other) = ("one".to_owned(), "other".to_owned());
        for _ in 0..3 {
            rates.request(&one).unwrap();
        }
        let Err(TooFast::Requests(wait)) = rates.request(&one) else { panic!("taken") };
        assert!(wait <= Duration::from_secs(1) && !wait.is_zero(), "{wait:?}");
        rates.request(&other).unwrap();
    }

    #[test]
    fn only_different_ids_count_as_misses_and_too_many_of_them_hold_back_every_look() {
        let rates = rates(0, 2);
        let (one, other) = ("one".to_owned(), "other".to_owned());
        for _ in 0..9 {
            rates.missed(&one, "a").unwrap();
        }
        rates.missed(&one, "b").unwrap();
        rates.may_look(&one).unwrap();
        assert!(matches!(rates.missed(&one, "c"), Err(TooFast::Misses(_))));
        assert!(matches!(rates.may_look(&one), Err(TooFast::Misses(_))));
        rates.may_look(&other).unwrap();
        rates.missed(&other, "a").unwrap();
        std::thread::sleep(Duration::from_millis(1001));
        rates.may_look(&one).unwrap();
    }

    #[test]
    fn no_limit_is_none() {
        let rates = rates(0, 0);
        let one = "one".to_owned();
        for id in 0..1000 {
            rates.request(&one).unwrap();
            rates.missed(&one, id).unwrap();
        }
        rates.may_look(&one).unwrap();
    }
}
