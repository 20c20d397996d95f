//! [`Rates`]: how fast a credential may ask (GCRA, by governor), and how many different ids it may
//! miss. The second is what makes guessing ids slow: whoever is let in may ask often, but somebody
//! who asks for what is not there, again and again and for another id each time, is guessing.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::Hash;
use std::hash::RandomState;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use governor::Quota;
use governor::RateLimiter;
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use thiserror::Error;

use crate::config::Rate;
use crate::domain::clock::Clock;

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
// Keys that have not asked for a while are forgotten once in so many requests.
const FORGET_EVERY: u64 = 1 << 20;
// Nobody is held back for longer.
const LONGEST: Duration = Duration::from_secs(600);

/// The limits of every credential, by its name.
#[derive(Debug)]
pub struct Rates {
    requests: Option<Limiter>,
    misses: Option<Limiter>,
    requests_counted: AtomicU64,
    missed: Box<[AtomicU64]>,
    // Who has missed too much, until when; and how many they are, so that a read need not look.
    held_back: Mutex<HashMap<String, Duration>>,
    held_back_count: AtomicUsize,
    hasher: RandomState,
    clock: Clock,
}

/// Time as governor asks for it: ours, so that a test can hold it still.
#[derive(Clone, Debug)]
struct Ticks(Clock);

impl governor::clock::Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.running().into()
    }
}

type Spent = RateLimiter<String, DashMapStateStore<String>, Ticks, NoOpMiddleware<Nanos>>;

#[derive(Debug)]
struct Limiter {
    spent: Spent,
    clock: Ticks,
    period: Duration,
}

impl Limiter {
    fn new(rate: Rate, clock: &Clock) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        let clock = Ticks(clock.clone());
        let spent = RateLimiter::new(quota, DashMapStateStore::default(), clock.clone());
        Self { spent, clock, period: quota.replenish_interval() }
    }

    /// Takes one; else how long until there is one.
    fn take(&self, name: &String) -> Result<(), Duration> {
        self.spent.check_key(name).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

impl Rates {
    /// Limits on requests and on different ids that are not there; `None` is no limit.
    pub fn new(requests: Option<Rate>, misses: Option<Rate>, clock: Clock) -> Self {
        Self {
            requests: requests.map(|rate| Limiter::new(rate, &clock)),
            misses: misses.map(|rate| Limiter::new(rate, &clock)),
            requests_counted: AtomicU64::new(0),
            missed: (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect(),
            held_back: Mutex::default(),
            held_back_count: AtomicUsize::new(0),
            hasher: RandomState::new(),
            clock,
        }
    }

    /// Counts a request.
    pub fn request(&self, name: &String) -> Result<(), TooFast> {
        let Some(limiter) = &self.requests else { return Ok(()) };
        if self.requests_counted.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1
        {
            limiter.spent.retain_recent();
            self.misses.iter().for_each(|limiter| limiter.spent.retain_recent());
        }
        limiter.take(name).map_err(TooFast::Requests)
    }

    /// Asked before a look-up: whether misses of before do not hold this credential back. It is
    /// asked before, not after, or a guess that hits would be answered at any speed.
    pub fn may_look(&self, name: &str) -> Result<(), TooFast> {
        if self.held_back_count.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let mut held_back = self.held_back.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = held_back.get(name) else { return Ok(()) };
        let wait = until.saturating_sub(self.clock.running());
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
        let now = self.clock.running();
        let mut held_back = self.held_back.lock().unwrap_or_else(PoisonError::into_inner);
        held_back.retain(|_, until| *until > now);
        // Those who guessed at once, before any of them was held back, pay for each guess.
        let until = held_back.get(name).map_or(now + wait, |until| *until + limiter.period);
        let until = until.min(now + LONGEST);
        held_back.insert(name.clone(), until);
        self.held_back_count.store(held_back.len(), Ordering::Relaxed);
        Err(TooFast::Misses(until.saturating_sub(now)))
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
    use std::num::NonZeroU32;

    use super::*;
    use crate::domain::clock::Timestamp;

    fn rates(requests: u32, misses: u32) -> (Rates, Clock) {
        let clock = Clock::fixed(Timestamp::from_micros(1_000_000));
        let rate = |burst| {
            let per_second = NonZeroU32::MIN;
            NonZeroU32::new(burst).map(|burst| Rate { per_second, burst })
        };
        (Rates::new(rate(requests), rate(misses), clock.clone()), clock)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_taken_and_what_comes_after_is_told_when_to_come_back() {
        let (rates, clock) = rates(3, 0);
        let (one, other) = ("one".to_owned(), "other".to_owned());
        for _ in 0..3 {
            rates.request(&one).unwrap();
        }
        assert_eq!(rates.request(&one), Err(TooFast::Requests(SECOND)));
        rates.request(&other).unwrap();
        clock.advance(SECOND);
        rates.request(&one).unwrap();
        assert_eq!(rates.request(&one), Err(TooFast::Requests(SECOND)));
    }

    #[test]
    fn only_different_ids_count_as_misses_and_too_many_of_them_hold_back_every_look() {
        let (rates, clock) = rates(0, 2);
        let (one, other) = ("one".to_owned(), "other".to_owned());
        for _ in 0..9 {
            rates.missed(&one, "a").unwrap();
        }
        rates.missed(&one, "b").unwrap();
        rates.may_look(&one).unwrap();
        assert_eq!(rates.missed(&one, "c"), Err(TooFast::Misses(SECOND)));
        assert_eq!(rates.may_look(&one), Err(TooFast::Misses(SECOND)));
        rates.may_look(&other).unwrap();
        rates.missed(&other, "a").unwrap();
        clock.advance(SECOND);
        rates.may_look(&one).unwrap();
    }

    #[test]
    fn guesses_that_were_under_way_together_are_paid_for_one_by_one() {
        let (rates, clock) = rates(0, 1);
        let one = "one".to_owned();
        rates.missed(&one, 0).unwrap();
        for guess in 1..=5_u32 {
            assert_eq!(rates.missed(&one, guess), Err(TooFast::Misses(SECOND * guess)));
        }
        clock.advance(SECOND * 4);
        assert_eq!(rates.may_look(&one), Err(TooFast::Misses(SECOND)));
        clock.advance(SECOND);
        rates.may_look(&one).unwrap();
        for guess in 10..2000 {
            let _ = rates.missed(&one, guess);
        }
        assert_eq!(rates.may_look(&one), Err(TooFast::Misses(LONGEST)));
    }

    #[test]
    fn no_limit_is_none() {
        let (rates, _) = rates(0, 0);
        let one = "one".to_owned();
        for id in 0..1000 {
            rates.request(&one).unwrap();
            rates.missed(&one, id).unwrap();
        }
        rates.may_look(&one).unwrap();
    }
}
