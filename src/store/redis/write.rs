//! What a write does, step by step: what lists it, the record with its journal, what was noted elsewhere,
//! and what lists it no more.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::Cmd;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::domain::clock::Timestamp;
use crate::store::journal::Note;
use crate::store::kv::Change;
use crate::store::kv::Delete;
use crate::store::kv::Expect;
use crate::store::kv::Order;
use crate::store::kv::Outcome;
use crate::store::kv::Place;
use crate::store::kv::Put;
use crate::store::kv::StoreError;
use crate::store::redis::PAUSE;
use crate::store::redis::Shared;
use crate::store::redis::command::ByRevision;
use crate::store::redis::command::Listing;
use crate::store::redis::fault::Fault;
use crate::store::redis::name::Kind;
use crate::store::redis::name::slot;
use crate::store::redis::reply;
use crate::store::redis::reply::Done;
use crate::store::redis::writer::Answer;
use crate::store::redis::writer::Job;

// Revisions that a record had when another was proposed, before it is left to others.
const RACES: usize = 16;

/// Held while something is written, so that closing waits for it.
struct UnderWay<'s>(&'s Shared);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.writes.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    fn begin(&self) -> Result<(UnderWay<'_>, Instant), StoreError> {
        self.writes.fetch_add(1, Ordering::AcqRel);
        let under_way = UnderWay(self);
        self.is_open()?;
        Ok((under_way, Instant::now() + self.patience))
    }

    pub(super) async fn put(self: &Arc<Self>, put: Put) -> Result<Outcome, StoreError> {
        let (_under_way, until) = self.begin()?;
        let own = slot(&self.name(Kind::Head, &put.key));
        let now = self.clock.now();
        let (with, apart) = self.beside(own, &put.notes);
        let mut revision = (!put.members.is_empty()).then(|| likely(&put, now));
        let mut listed = Vec::new();
        for _ in 0..RACES {
            let places: Vec<_> = match revision {
                Some(revision) => put.members.iter().map(|member| member.place(revision)).collect(),
                None => Vec::new(),
            };
            let listings = self.list(own, &put, (&places, revision), (now, until)).await?;
            let command = self.put_command(&put, now, (revision, &places), (&with, &listings))?;
            let mut answer = self.carry_out(own, vec![command], until).await?;
            match reply::done(answer.values.pop().unwrap_or(redis::Value::Nil))? {
                Done::Proposed(other) => {
                    listed.extend(places);
                    revision = Some(other);
                }
                Done::Written(Outcome::Conflict(live), _) => {
                    // What may be the live record's own listing stays; what surely is not goes.
                    listed.extend(places.into_iter().filter(|_| revision != live));
                    self.unlist(own, wrongly(listed, &put), revision.unwrap_or(0), until).await;
                    return Ok(Outcome::Conflict(live));
                }
                Done::Written(done, before) => {
                    let revision = self.finish(done, answer.is_confirmed, &apart, until).await?;
                    listed.extend(before);
                    listed.retain(|place| !places.contains(place));
                    self.unlist(own, listed, revision, until).await;
                    self.ring(put.rings);
                    return Ok(done);
                }
            }
        }
        Err(StoreError::Busy)
    }

    pub(super) async fn delete(self: &Arc<Self>, delete: Delete) -> Result<Outcome, StoreError> {
        let (_under_way, until) = self.begin()?;
        let own = slot(&self.name(Kind::Head, &delete.key));
        let (with, apart) = self.beside(own, &delete.notes);
        let command = self.delete_command(&delete, self.clock.now(), &with);
        let mut answer = self.carry_out(own, vec![command], until).await?;
        match reply::done(answer.values.pop().unwrap_or(redis::Value::Nil))? {
            Done::Written(done @ Outcome::Done(_), before) => {
                let revision = self.finish(done, answer.is_confirmed, &apart, until).await?;
                self.unlist(own, before, revision, until).await;
                Ok(done)
            }
            Done::Written(conflict @ Outcome::Conflict(_), _) => Ok(conflict),
            Done::Proposed(_) => Err(StoreError::Busy),
        }
    }

    pub(super) async fn note(self: &Arc<Self>, notes: Vec<Note>) -> Result<Vec<bool>, StoreError> {
        let (_under_way, until) = self.begin()?;
        self.note_all(notes, 0, until).await
    }

    /// Once a record is written: confirmed, and noted where its own slot is not. A timeline that cannot be
    /// kept holds nothing up.
    async fn finish(
        self: &Arc<Self>,
        done: Outcome,
        is_confirmed: bool,
        apart: &[Note],
        until: Instant,
    ) -> Result<u64, StoreError> {
        let (Outcome::Done(revision), true) = (done, is_confirmed) else {
            return Err(StoreError::NotConfirmed);
        };
        if !apart.is_empty()
            && let Err(why) = self.note_all(apart.to_vec(), revision, until).await
        {
            tracing::warn!(error = %why, "what was written could not be noted");
        }
        Ok(revision)
    }

    /// Notes that are written in the record's own script, and those whose journals are in other slots.
    fn beside(&self, own: u16, notes: &[Note]) -> (Vec<Note>, Vec<Note>) {
        let map = self.known.map();
        notes
            .iter()
            .cloned()
            .partition(|note| map.is_one_place(own, slot(&self.name(Kind::Journal, &note.journal))))
    }

    /// Writes entries, those of one place together.
    async fn note_all(
        self: &Arc<Self>,
        notes: Vec<Note>,
        revision: u64,
        until: Instant,
    ) -> Result<Vec<bool>, StoreError> {
        let (now, map) = (self.clock.now(), self.known.map());
        let mut places: Vec<(u16, Vec<usize>)> = Vec::new();
        for (at, note) in notes.iter().enumerate() {
            let own = slot(&self.name(Kind::Journal, &note.journal));
            match places.iter_mut().find(|(place, _)| map.is_one_place(*place, own)) {
                Some((_, at_place)) => at_place.push(at),
                None => places.push((own, vec![at])),
            }
        }
        let mut writing = JoinSet::new();
        for (own, at_place) in places {
            let there: Vec<_> = at_place.iter().filter_map(|at| notes.get(*at)).collect();
            let command = self.notes_command(&there, revision, now);
            let shared = Arc::clone(self);
            writing.spawn(async move {
                let answer = shared.carry_out(own, vec![command], until).await?;
                if !answer.is_confirmed {
                    return Err(StoreError::NotConfirmed);
                }
                let new = answer.values.into_iter().next().unwrap_or(redis::Value::Nil);
                Ok((at_place, reply::is_new(new)?))
            });
        }
        let mut all = vec![false; notes.len()];
        while let Some(written) = writing.join_next().await {
            let (at_place, new) = written.map_err(StoreError::panicked)??;
            for (at, new) in at_place.into_iter().zip(new) {
                if let Some(place) = all.get_mut(at) {
                    *place = new;
                }
            }
        }
        Ok(all)
    }

    /// Lists a record about to be written, where that is done elsewhere; answers what its own script is to
    /// list.
    async fn list(
        self: &Arc<Self>,
        own: u16,
        put: &Put,
        (places, revision): (&[Place], Option<u64>),
        (now, until): (Timestamp, Instant),
    ) -> Result<Vec<Listing>, StoreError> {
        let map = self.known.map();
        let mut here = Vec::new();
        let mut elsewhere = JoinSet::new();
        for (place, member) in places.iter().zip(&put.members) {
            let by = match member.order {
                Order::ByName => ByRevision(revision),
                Order::NewestFirst => ByRevision(None),
            };
            let (set, name) = (self.set_of(place, own), place.name.clone());
            let there = slot(&self.name(Kind::Listed, &set));
            let listing = Listing { set, name, by, ends: put.expires_at };
            if map.is_one_place(own, there) {
                here.push(listing);
                continue;
            }
            let (shared, command) = (Arc::clone(self), self.list_command(&listing, now));
            elsewhere.spawn(async move { shared.carry_out(there, vec![command], until).await });
        }
        while let Some(listed) = elsewhere.join_next().await {
            if !listed.map_err(StoreError::panicked)??.is_confirmed {
                return Err(StoreError::NotConfirmed);
            }
        }
        Ok(here)
    }

    /// What was listed is listed no more. What stays listed by mistake is passed over by readers.
    pub(super) async fn unlist(
        self: &Arc<Self>,
        own: u16,
        places: Vec<Place>,
        revision: u64,
        until: Instant,
    ) {
        let map = self.known.map();
        let mut groups: Vec<(u16, Vec<Cmd>)> = Vec::new();
        for place in places {
            let set = self.set_of(&place, own);
            let there = slot(&self.name(Kind::Listed, &set));
            let command = self.unlist_command((&set, &place.name), revision);
            match groups.iter_mut().find(|(own, _)| map.is_one_place(*own, there)) {
                Some((_, commands)) => commands.push(command),
                None => groups.push((there, vec![command])),
            }
        }
        let mut unlisting = JoinSet::new();
        for (there, commands) in groups {
            let shared = Arc::clone(self);
            unlisting.spawn(async move { shared.carry_out(there, commands, until).await });
        }
        while let Some(done) = unlisting.join_next().await {
            if let Ok(Err(why)) = done {
                tracing::warn!(error = %why, "what listed a record could not be taken away");
            }
        }
    }

    /// Wakes those who watch sets, now that what they list is there. Not waited for.
    fn ring(self: &Arc<Self>, sets: Vec<Vec<u8>>) {
        // The write may have taken all of its own time.
        let until = Instant::now() + self.patience;
        for set in sets {
            let command = self.ring_command(&set);
            let there = slot(&self.name(Kind::Bell, &set));
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(why) = shared.carry_out(there, vec![command], until).await {
                    tracing::warn!(error = %why, "those who wait elsewhere could not be woken");
                }
            });
        }
    }

    /// Has the commands carried out by whoever has the slot, wherever it is by then.
    pub(super) async fn carry_out(
        &self,
        slot: u16,
        commands: Vec<Cmd>,
        until: Instant,
    ) -> Result<Answer, StoreError> {
        let mut elsewhere = None;
        loop {
            self.is_open()?;
            let map = self.known.map();
            let (at, asking) = elsewhere.take().unwrap_or((None, false));
            let node = match &at {
                Some(at) => Some(self.known.at(at)),
                None => map.node(slot).map(Arc::clone),
            };
            let fault = match &node {
                None => Fault::NotNow("that it has nobody for a slot".to_owned()),
                Some(node) => {
                    let (answer, answered) = oneshot::channel();
                    node.write(Job { commands: commands.clone(), asking, until, answer })?;
                    let closed = || Fault::Broken("the connection to Redis is closed".to_owned());
                    match answered.await.unwrap_or_else(|_gone| Err(closed())) {
                        Ok(answer) => return Ok(answer),
                        Err(fault) => fault,
                    }
                }
            };
            if !matches!(fault, Fault::Elsewhere { asking: true, .. }) {
                self.known.complain();
            }
            let is_down = node.as_ref().is_some_and(|node| !node.is_up());
            match fault {
                Fault::Final(error) => return Err(error),
                Fault::Elsewhere { at, asking } if Instant::now() < until => {
                    elsewhere = Some((Some(at), asking));
                }
                fault if is_down || Instant::now() >= until => return Err(fault.into_error()),
                _ => sleep(PAUSE).await,
            }
        }
    }
}

/// The revision that a write most likely has.
fn likely(put: &Put, now: Timestamp) -> u64 {
    match (put.change, put.expect) {
        (Change::Lifetime, Expect::Revision(live) | Expect::Unchanged(live, _)) => live,
        (Change::Content, Expect::Revision(live) | Expect::Unchanged(live, _)) => {
            live.saturating_add(1).max(now.micros())
        }
        (_, Expect::Anything | Expect::Absent) => now.micros(),
    }
}

/// Of what was listed for a write that was not done, what nothing else can have listed: names that hold
/// the revision it was to have.
fn wrongly(listed: Vec<Place>, put: &Put) -> Vec<Place> {
    let newest_first: Vec<_> =
        put.members.iter().filter(|member| member.order == Order::NewestFirst).collect();
    let is_wrong = |place: &Place| newest_first.iter().any(|member| member.set == place.set);
    listed.into_iter().filter(is_wrong).collect()
}
