//! [`Clock`]: the one place that asks what time it is, so that a test can hold time still.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;
use std::time::UNIX_EPOCH;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Error;

/// A moment: microseconds since 1970-01-01T00:00:00Z. Prints as RFC 3339 with microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Later than anything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `micros` microseconds after the epoch.
    pub fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub fn micros(self) -> u64 {
        self.0
    }

    /// This moment and `by` more; saturates at [`Timestamp::NEVER`].
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long it is until this moment, seen from `now`; zero when it has passed.
    pub fn until(self, now: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(now.0))
    }

    /// Reads RFC 3339, such as `2026-11-22T16:10:20Z`.
    pub fn parse(text: &str) -> Option<Self> {
        let moment: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(moment.as_microsecond()).ok().map(Self)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        let not_one = || D::Error::custom("not a moment");
        if text == "never" { Ok(Self::NEVER) } else { Self::parse(&text).ok_or_else(not_one) }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_microsecond(micros) {
            Ok(moment) => write!(f, "{moment:.6}"),
            Err(_) => f.write_str("never"),
        }
    }
}

/// The time of day: the system's, or one a test moves by hand.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `at` until [`Clock::advance`] moves it.
    pub fn fixed(at: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicU64::new(at.0))))
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        if let Some(held) = &self.0 {
            return Timestamp(held.load(Ordering::SeqCst));
        }
        #[expect(clippy::disallowed_methods, reason = "this is the clock everyone else asks")]
        let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp(since.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long this clock has run: never goes back, whatever happens to the time of day.
    pub fn running(&self) -> Duration {
        static STARTED: OnceLock<Instant> = OnceLock::new();
        match &self.0 {
            Some(held) => Duration::from_micros(held.load(Ordering::SeqCst)),
            None => STARTED.get_or_init(Instant::now).elapsed(),
        }
    }

    /// Moves a fixed clock forward; a system clock is not moved.
    pub fn advance(&self, by: Duration) {
        if let Some(held) = &self.0 {
            held.fetch_add(u64::try_from(by.as_micros()).unwrap_or(0), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_as_rfc_3339_and_reads_back() {
        let moment = Timestamp::from_micros(1_763_827_820_000_042);
        assert_eq!(moment.to_string(), "2025-11-22T16:10:20.000042Z");
        assert_eq!(Timestamp::parse(&moment.to_string()), Some(moment));
        assert_eq!(Timestamp::parse("yesterday"), None);
        assert_eq!(Timestamp::NEVER.to_string(), "never");
    }

    #[test]
    fn a_fixed_clock_moves_only_by_hand() {
        let clock = Clock::fixed(Timestamp::from_micros(7));
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now().micros(), 1_000_007);
        assert_eq!(clock.running(), Duration::from_micros(1_000_007));
        assert!(Clock::system().running() <= Clock::system().running());
    }
}
