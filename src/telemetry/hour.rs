//! [`Hour`]: the last hour of this process, minute by minute: how fast it answered, what was asked for in
//! vain, whether context came in time. For the console; what is to be kept longer is in the metrics.

use std::array;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::timeline::lead::Outcome;

const MINUTES: usize = 60;
const MINUTE: u64 = 60_000_000;
// Milliseconds: each a third or so above the one before.
const LATENCIES: [f64; 27] = [
    0.03, 0.04, 0.055, 0.075, 0.1, 0.13, 0.18, 0.24, 0.32, 0.42, 0.56, 0.75, 1.0, 1.3, 1.8, 2.4,
    3.2, 4.2, 7.5, 13.0, 24.0, 42.0, 75.0, 240.0, 750.0, 2400.0, 10_000.0,
];
// Seconds.
const LEADS: [f64; 17] = [
    -60.0, -30.0, -20.0, -10.0, -7.0, -5.0, -3.0, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
    60.0,
];

/// The last hour of this process.
#[derive(Debug)]
pub struct Hour {
    since: Timestamp,
    counts: Counts,
    minutes: Mutex<Minutes>,
}

/// What is counted since the start.
#[derive(Debug)]
struct Counts {
    latencies: [AtomicU64; LATENCIES.len()],
    leads: [AtomicU64; LEADS.len()],
    misses: AtomicU64,
    // Before, within two seconds, late, never.
    outcomes: [AtomicU64; 4],
}

/// What was counted by then, or within a minute.
#[derive(Clone, Copy, Debug)]
struct Taken {
    latencies: [u64; LATENCIES.len()],
    leads: [u64; LEADS.len()],
    misses: u64,
    outcomes: [u64; 4],
}

#[derive(Debug)]
struct Minutes {
    // The minute that is under way, since the epoch, and what was counted when it began.
    current: u64,
    began_with: Taken,
    past: VecDeque<(u64, Taken)>,
}

/// One minute.
#[derive(Clone, Debug, Serialize)]
pub struct Minute {
    at: Timestamp,
    requests: u64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    misses: u64,
    before: u64,
    within_2s: u64,
    late: u64,
    never: u64,
    lead_p50_seconds: Option<f64>,
}

impl Hour {
    /// Nothing yet.
    pub fn new(now: Timestamp) -> Self {
        let counts = Counts {
            latencies: array::from_fn(|_| AtomicU64::new(0)),
            leads: array::from_fn(|_| AtomicU64::new(0)),
            misses: AtomicU64::new(0),
            outcomes: array::from_fn(|_| AtomicU64::new(0)),
        };
        let (current, began_with) = (now.micros() / MINUTE, counts.taken());
        let minutes = Mutex::new(Minutes { current, began_with, past: VecDeque::new() });
        Self { since: now, counts, minutes }
    }

    /// An answer that took so many seconds.
    pub fn answered(&self, seconds: f64) {
        count(&self.counts.latencies, &LATENCIES, seconds * 1000.0);
    }

    /// Something was asked for in vain.
    pub fn missed(&self) {
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// A call was taken.
    pub fn accepted(&self, outcome: Outcome, lead_seconds: Option<f64>) {
        let [before, soon, late, never] = &self.counts.outcomes;
        let counter = match outcome {
            Outcome::Before => Some(before),
            Outcome::Soon => Some(soon),
            Outcome::Late => Some(late),
            Outcome::Never => Some(never),
            Outcome::Unknown | Outcome::Open => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(seconds) = lead_seconds {
            count(&self.counts.leads, &LEADS, seconds);
        }
    }

    /// Ends the minute, if it is over; to be called once a second or so.
    pub fn tick(&self, now: Timestamp) {
        let minute = now.micros() / MINUTE;
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        // Another may have read the clock a moment later, and ended the minute before.
        if minute == minutes.current || minute + 1 == minutes.current {
            return;
        }
        let taken = self.counts.taken();
        let past = (minutes.current, taken.since(&minutes.began_with));
        minutes.past.push_back(past);
        (minutes.current, minutes.began_with) = (minute, taken);
        // The clock may have been set back.
        minutes.past.retain(|(at, _)| {
            *at < minute && at + u64::try_from(MINUTES).unwrap_or(u64::MAX) > minute
        });
    }

    /// From when on it tells of.
    pub fn since(&self, now: Timestamp) -> Timestamp {
        let earliest = now.micros().saturating_sub(60 * MINUTE);
        self.since.max(Timestamp::from_micros(earliest))
    }

    /// Its minutes, oldest first, the last of them under way; those without an answer too.
    pub fn minutes(&self, now: Timestamp) -> Vec<Minute> {
        self.tick(now);
        let minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let first = self.since(now).micros() / MINUTE;
        let last = minutes.current;
        let of = |minute: u64| {
            if minute == last {
                return self.counts.taken().since(&minutes.began_with);
            }
            let past = minutes.past.iter().find(|(at, _)| *at == minute);
            past.map_or_else(Taken::none, |(_, taken)| *taken)
        };
        let shown = first.max((last + 1).saturating_sub(60))..=last;
        shown.map(|minute| Minute::of(minute, &of(minute))).collect()
    }
}

impl Counts {
    fn taken(&self) -> Taken {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Taken {
            latencies: self.latencies.each_ref().map(load),
            leads: self.leads.each_ref().map(load),
            misses: load(&self.misses),
            outcomes: self.outcomes.each_ref().map(load),
        }
    }
}

impl Taken {
    fn none() -> Self {
        Self { latencies: [0; _], leads: [0; _], misses: 0, outcomes: [0; 4] }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            latencies: less(self.latencies, before.latencies),
            leads: less(self.leads, before.leads),
            misses: self.misses.saturating_sub(before.misses),
            outcomes: less(self.outcomes, before.outcomes),
        }
    }
}

impl Minute {
    fn of(minute: u64, taken: &Taken) -> Self {
        let [before, within_2s, late, never] = taken.outcomes;
        Self {
            at: Timestamp::from_micros(minute * MINUTE),
            requests: taken.latencies.iter().sum(),
            p50_ms: quantile(&taken.latencies, &LATENCIES, 50),
            p99_ms: quantile(&taken.latencies, &LATENCIES, 99),
            misses: taken.misses,
            before,
            within_2s,
            late,
            never,
            lead_p50_seconds: quantile(&taken.leads, &LEADS, 50),
        }
    }
}

fn less<const N: usize>(now: [u64; N], before: [u64; N]) -> [u64; N] {
    let mut less = now;
    less.iter_mut().zip(before).for_each(|(now, before)| *now = now.saturating_sub(before));
    less
}

/// Counts a value below the first bound that is not below it; beyond all, with the last.
fn count(counters: &[AtomicU64], bounds: &[f64], value: f64) {
    let place = bounds.partition_point(|bound| *bound < value).min(bounds.len() - 1);
    if let Some(counter) = counters.get(place) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The bound below which so many of a hundred are; `None` of none.
fn quantile(counts: &[u64], bounds: &[f64], percent: u64) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    let rank = (all * percent).div_ceil(100).max(1);
    let mut below = 0;
    let reached = counts.iter().zip(bounds).find(|(count, _)| {
        below += *count;
        below >= rank
    });
    reached.filter(|_| all > 0).map(|(_, bound)| *bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> Timestamp {
        Timestamp::from_micros(minute * MINUTE + 1)
    }

    #[test]
    fn each_minute_has_its_own_and_an_hour_is_told() {
        let hour = Hour::new(at(1000));
        hour.answered(0.000_2);
        hour.answered(0.000_2);
        hour.answered(0.5);
        hour.missed();
        hour.tick(at(1001));
        hour.accepted(Outcome::Before, Some(-4.0));
        hour.accepted(Outcome::Never, None);
        let minutes = hour.minutes(at(1002));
        assert_eq!(minutes.len(), 3);
        assert_eq!((minutes[0].requests, minutes[0].misses), (3, 1));
        assert_eq!((minutes[0].p50_ms, minutes[0].p99_ms), (Some(0.24), Some(750.0)));
        assert_eq!((minutes[1].before, minutes[1].never, minutes[1].requests), (1, 1, 0));
        assert_eq!((minutes[1].lead_p50_seconds, minutes[1].p50_ms), (Some(-3.0), None));
        assert_eq!(minutes[2].requests, 0);
        let later = hour.minutes(at(1061));
        assert_eq!((later.len(), later[0].never), (60, 0));
        assert_eq!(later[59].at, Timestamp::from_micros(1061 * MINUTE));
    }
}
