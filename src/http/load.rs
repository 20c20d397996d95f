//! [`Load`]: how many requests are worked on, and how many readers wait, each within a bound of its
//! own: thousands may wait for calls to end without one request being refused for it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use prometheus_client::metrics::gauge::Gauge;

/// The two rooms of a server.
#[derive(Debug)]
pub struct Load {
    /// Requests being worked on.
    pub in_flight: Arc<Room>,
    /// Readers who wait.
    pub waiting: Arc<Room>,
}

/// Places, and how many are taken.
#[derive(Debug)]
pub struct Room {
    limit: usize,
    taken: AtomicUsize,
    gauge: Gauge,
}

/// A place in a room, until it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Room>);

impl Room {
    /// A room of `limit` places, counted in `gauge`.
    pub fn new(limit: usize, gauge: Gauge) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0), gauge })
    }

    /// Takes a place, if there is one.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        self.gauge.inc();
        let place = Place(Arc::clone(self));
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.limit).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_takes_as_many_as_it_has_places_for() {
        let gauge = Gauge::default();
        let room = Room::new(2, gauge.clone());
        let first = room.enter().unwrap();
        let second = room.enter().unwrap();
        assert!(room.enter().is_none());
        assert_eq!(gauge.get(), 2);
        drop(first);
        let third = room.enter().unwrap();
        drop((second, third));
        assert_eq!(gauge.get(), 0);
    }
}
