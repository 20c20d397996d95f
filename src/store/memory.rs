//! [`Memory`]: an engine that forgets. For trials (`BATON_STORE=memory`) and as the measure that
//! the durable engines are held to.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::domain::clock::Clock;
use crate::domain::clock::Timestamp;
use crate::store::journal::Journal;
use crate::store::journal::Note;
use crate::store::kv::Change;
use crate::store::kv::Delete;
use crate::store::kv::Gone;
use crate::store::kv::Kv;
use crate::store::kv::Outcome;
use crate::store::kv::Pending;
use crate::store::kv::Place;
use crate::store::kv::Put;
use crate::store::kv::Slot;
use crate::store::kv::StoreError;
use crate::store::kv::TOMBSTONE_LIFE;
use crate::store::kv::next_revision;

/// Records in this process's memory.
#[derive(Debug)]
pub struct Memory {
    clock: Clock,
    // std's Mutex: nothing awaits while it is held.
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    entries: BTreeMap<Vec<u8>, Entry>,
    sets: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    journals: BTreeMap<Vec<u8>, (Timestamp, Journal)>,
    writes: u64,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    slot: Slot,
    forgotten_at: Timestamp,
    places: Vec<Place>,
}

// Expired records and old tombstones are dropped once in so many writes.
const SWEEP_EVERY: u64 = 1024;

impl Memory {
    /// An empty engine.
    pub fn new(clock: Clock) -> Self {
        Self { clock, shelf: Mutex::default() }
    }

    fn shelf(&self) -> Result<MutexGuard<'_, Shelf>, StoreError> {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.closed { Err(StoreError::Unavailable("closed".to_owned())) } else { Ok(shelf) }
    }

    fn put_now(&self, put: Put) -> Result<Outcome, StoreError> {
        let now = self.clock.now();
        let mut shelf = self.shelf()?;
        let found = shelf.look(&put.key, now);
        let there = found.as_ref().and_then(Slot::live);
        let live = there.map(|(revision, _)| revision);
        let revision = match (put.change, live) {
            _ if !put.expect.is_met_by(there) => return Ok(Outcome::Conflict(live)),
            (Change::Lifetime, None) => return Ok(Outcome::Conflict(None)),
            (Change::Lifetime, Some(revision)) => revision,
            (Change::Content, _) => next_revision(found.as_ref().map(Slot::revision), now),
        };
        shelf.unlist(&put.key);
        let places: Vec<_> = put.members.iter().map(|member| member.place(revision)).collect();
        for place in &places {
            shelf.sets.entry(place.set.clone()).or_default().insert(place.name.clone());
        }
        let entry = Entry {
            slot: Slot::Live { revision, expires_at: put.expires_at, value: put.value },
            forgotten_at: put.expires_at.plus(TOMBSTONE_LIFE),
            places,
        };
        shelf.entries.insert(put.key, entry);
        shelf.note(&put.notes, revision, now);
        shelf.sweep(now);
        Ok(Outcome::Done(revision))
    }

    fn delete_now(&self, delete: Delete) -> Result<Outcome, StoreError> {
        let now = self.clock.now();
        let mut shelf = self.shelf()?;
        let there = shelf.look(&delete.key, now).as_ref().and_then(Slot::live);
        let live = there.map(|(revision, _)| revision);
        if live.is_none() || !delete.expect.is_met_by(there) {
            return Ok(Outcome::Conflict(live));
        }
        shelf.unlist(&delete.key);
        let revision = next_revision(live, now);
        let slot = Slot::Gone { revision, how: Gone::Erased };
        let forgotten_at = now.plus(TOMBSTONE_LIFE);
        shelf.entries.insert(delete.key, Entry { slot, forgotten_at, places: Vec::new() });
        shelf.note(&delete.notes, revision, now);
        Ok(Outcome::Done(revision))
    }
}

impl Shelf {
    fn look(&self, key: &[u8], now: Timestamp) -> Option<Slot> {
        let entry = self.entries.get(key).filter(|entry| entry.forgotten_at > now)?;
        match &entry.slot {
            Slot::Live { revision, expires_at, .. } if *expires_at <= now => {
                Some(Slot::Gone { revision: *revision, how: Gone::Expired })
            }
            slot @ (Slot::Live { .. } | Slot::Gone { .. }) => Some(slot.clone()),
        }
    }

    fn note(&mut self, notes: &[Note], revision: u64, now: Timestamp) -> Vec<bool> {
        let one = |note: &Note| {
            let (until, journal) =
                self.journals.entry(note.journal.clone()).or_insert((now, Journal::default()));
            if *until <= now {
                *journal = Journal::default();
            }
            *until = note.until.over(Some(*until));
            journal.note(note, revision)
        };
        notes.iter().map(one).collect()
    }

    fn unlist(&mut self, key: &[u8]) {
        for place in self.entries.get(key).into_iter().flat_map(|entry| &entry.places) {
            if let Some(names) = self.sets.get_mut(&place.set) {
                names.remove(&place.name);
            }
        }
    }

    fn sweep(&mut self, now: Timestamp) {
        self.writes += 1;
        if !self.writes.is_multiple_of(SWEEP_EVERY) {
            return;
        }
        let over = self.entries.iter().filter(|(_, entry)| entry.forgotten_at <= now);
        for key in over.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.unlist(&key);
            self.entries.remove(&key);
        }
        self.sets.retain(|_, names| !names.is_empty());
        self.journals.retain(|_, (until, _)| *until > now);
    }
}

impl Kv for Memory {
    fn get(&self, key: Vec<u8>) -> Pending<'_, Option<Slot>> {
        Box::pin(async move { Ok(self.shelf()?.look(&key, self.clock.now())) })
    }

    fn put(&self, put: Put) -> Pending<'_, Outcome> {
        Box::pin(async move { self.put_now(put) })
    }

    fn delete(&self, delete: Delete) -> Pending<'_, Outcome> {
        Box::pin(async move { self.delete_now(delete) })
    }

    fn members(
        &self,
        set: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Pending<'_, Vec<Vec<u8>>> {
        Box::pin(async move {
            let shelf = self.shelf()?;
            let names = shelf.sets.get(&set).into_iter().flatten();
            let later = names.filter(|name| after.as_ref().is_none_or(|after| *name > after));
            Ok(later.take(limit).cloned().collect())
        })
    }

    fn note(&self, notes: Vec<Note>) -> Pending<'_, Vec<bool>> {
        Box::pin(async move {
            let now = self.clock.now();
            let mut shelf = self.shelf()?;
            let new = shelf.note(&notes, 0, now);
            shelf.sweep(now);
            Ok(new)
        })
    }

    fn journal(&self, key: Vec<u8>) -> Pending<'_, Journal> {
        Box::pin(async move {
            let now = self.clock.now();
            let shelf = self.shelf()?;
            let found = shelf.journals.get(&key).filter(|(until, _)| *until > now);
            Ok(found.map(|(_, journal)| journal.clone()).unwrap_or_default())
        })
    }

    /// Nobody else writes here.
    fn watch(&self, _: Vec<u8>) -> Pending<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn ping(&self) -> Pending<'_, ()> {
        Box::pin(async move { self.shelf().map(|_| ()) })
    }

    fn close(&self) {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    #[tokio::test]
    async fn conforms() {
        let clock = conformance::clock();
        conformance::check(&Memory::new(clock.clone()), &clock).await;
    }
}
