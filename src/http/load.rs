//! [`Load`]: how many requests are worked on, and how many readers wait, each within a bound of its
//! own: thousands may wait for calls to end without one request being refused for it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

/// The bounds of a server.
#[derive(Debug)]
pub struct Load {
    /// The server was told to stop: each connection's next answer is its last, so that whoever keeps it goes
    /// elsewhere before it ends.
    pub draining: Arc<AtomicBool>,
    /// Requests being worked on.
    pub in_flight: Bound,
    /// Readers who wait.
    pub waiting: Bound,
    /// Bodies that are being read before anybody knows whose they are: strangers may send them as
    /// slowly as they like, and must not keep others out by it.
    pub unproven: Bound,
    /// Flex users of whom Twilio is asked who they are, and has not said before: strangers may say that they
    /// are.
    pub strangers: Bound,
    /// Requests for which others are asked over the network, for seconds: few, and not among those that
    /// are worked on.
    pub asking: Bound,
}

impl Load {
    /// Whether connections are to end with their next answer.
    pub(super) fn is_ending(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// So many at once, and how many there are.
#[derive(Debug)]
pub struct Bound {
    permits: Arc<Semaphore>,
    gauge: Gauge,
}

/// Leave to be one of them, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    gauge: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Bound {
    /// At most `limit` at once, counted in `gauge`.
    pub fn new(limit: usize, gauge: Gauge) -> Self {
        Self { permits: Arc::new(Semaphore::new(limit)), gauge }
    }

    /// Leave to be one of them, if there is any.
    pub fn enter(&self) -> Option<Permit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        self.gauge.inc();
        Some(Permit { gauge: self.gauge.clone(), _permit: permit })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_let_in_at_once_and_counted() {
        let gauge = Gauge::default();
        let bound = Bound::new(2, gauge.clone());
        let first = bound.enter().unwrap();
        let second = bound.enter().unwrap();
        assert!(bound.enter().is_none());
        assert_eq!(gauge.get(), 2);
        drop(first);
        let third = bound.enter().unwrap();
        drop((second, third));
        assert_eq!(gauge.get(), 0);
    }
}
