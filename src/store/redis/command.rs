//! The commands of a write, with what their scripts are told.

use redis::Cmd;

use crate::domain::clock::Timestamp;
use crate::store::journal::Again;
use crate::store::journal::Note;
use crate::store::journal::Until;
use crate::store::kv::Change;
use crate::store::kv::Delete;
use crate::store::kv::Expect;
use crate::store::kv::Place;
use crate::store::kv::Put;
use crate::store::kv::StoreError;
use crate::store::kv::TOMBSTONE_LIFE;
use crate::store::names;
use crate::store::redis::Shared;
use crate::store::redis::name::Kind;
use crate::store::redis::reply;
use crate::store::redis::script;

// By how much a listing outlives its record: the clocks of callers and of Redis differ a little.
const LISTED_LONGER_MS: u64 = 60_000;
// Whoever waits longer than this looks again by itself.
const BELL_MS: u64 = 60_000;

/// A name about to be listed.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    /// The set, or its part.
    pub(super) set: Vec<u8>,
    /// The name.
    pub(super) name: Vec<u8>,
    /// By what.
    pub(super) by: ByRevision,
    /// Until when.
    pub(super) ends: Timestamp,
}

/// The revision that lists a name which may come back after it went; none where the name holds it itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByRevision(pub(super) Option<u64>);

impl Shared {
    pub(super) fn put_command(
        &self,
        put: &Put,
        now: Timestamp,
        (revision, places): (Option<u64>, &[Place]),
        (notes, listings): (&[Note], &[Listing]),
    ) -> Result<Cmd, StoreError> {
        let change = match put.change {
            Change::Content => "c",
            Change::Lifetime => "l",
        };
        let life = life(put.expires_at, now);
        let tombstone = u64::try_from(TOMBSTONE_LIFE.as_millis()).unwrap_or(0);
        let head_life = life.map(|life| life.saturating_add(tombstone));
        let mut keys = self.keys(&put.key, notes);
        keys.extend(listings.iter().flat_map(|listing| self.keys_of_set(&listing.set)));
        let mut cmd = script::PUT.on(&keys);
        cmd.arg(now.micros()).arg(optional(revision)).arg(expected(put.expect)).arg(change);
        cmd.arg(put.expires_at.micros()).arg(optional(life)).arg(optional(head_life));
        cmd.arg(reply::written_places(places)?).arg(put.value.as_ref()).arg(notes.len());
        for note in notes {
            tell(&mut cmd, note, now);
        }
        for listing in listings {
            list(&mut cmd, listing, now);
        }
        Ok(cmd)
    }

    pub(super) fn delete_command(&self, delete: &Delete, now: Timestamp, notes: &[Note]) -> Cmd {
        let forgotten_at = now.plus(TOMBSTONE_LIFE);
        let mut cmd = script::DELETE.on(&self.keys(&delete.key, notes));
        cmd.arg(now.micros()).arg(expected(delete.expect));
        cmd.arg(forgotten_at.micros()).arg(optional(life(forgotten_at, now)));
        for note in notes {
            tell(&mut cmd, note, now);
        }
        cmd
    }

    pub(super) fn notes_command(&self, notes: &[&Note], revision: u64, now: Timestamp) -> Cmd {
        let keys: Vec<_> =
            notes.iter().map(|note| self.name(Kind::Journal, &note.journal)).collect();
        let mut cmd = script::NOTES.on(&keys);
        cmd.arg(now.micros()).arg(revision);
        for note in notes {
            tell(&mut cmd, note, now);
        }
        cmd
    }

    pub(super) fn list_command(&self, listing: &Listing, now: Timestamp) -> Cmd {
        let mut cmd = script::LIST.on(&self.keys_of_set(&listing.set));
        list(&mut cmd, listing, now);
        cmd
    }

    pub(super) fn unlist_command(&self, (set, name): (&[u8], &[u8]), revision: u64) -> Cmd {
        let mut cmd = script::UNLIST.on(&self.keys_of_set(set));
        cmd.arg(name).arg(revision);
        cmd
    }

    pub(super) fn ring_command(&self, set: &[u8]) -> Cmd {
        let mut cmd = redis::cmd("SET");
        cmd.arg(self.name(Kind::Bell, set)).arg("").arg("PX").arg(BELL_MS);
        cmd
    }

    fn keys(&self, key: &[u8], notes: &[Note]) -> Vec<Vec<u8>> {
        let own = [Kind::Value, Kind::Head].map(|kind| self.name(kind, key));
        let journals = notes.iter().map(|note| self.name(Kind::Journal, &note.journal));
        own.into_iter().chain(journals).collect()
    }

    /// The set, or its part for records of slots near `near`, that lists at a place.
    pub(super) fn set_of(&self, place: &Place, near: u16) -> Vec<u8> {
        if names::is_wide(&place.set) {
            self.names.part(&place.set, near)
        } else {
            place.set.clone()
        }
    }

    pub(super) fn keys_of_set(&self, set: &[u8]) -> [Vec<u8>; 3] {
        [Kind::Listed, Kind::Ends, Kind::By].map(|kind| self.name(kind, set))
    }
}

fn tell(cmd: &mut Cmd, note: &Note, now: Timestamp) {
    let again = match note.again {
        Again::Keep => "k",
        Again::Replace => "r",
    };
    let (at_least, ends) = match note.until {
        Until::AtLeast(ends) => (1, ends),
        Until::Exactly(ends) => (0, ends),
    };
    cmd.arg(note.name.as_slice()).arg(again).arg(note.value.as_ref());
    cmd.arg(at_least).arg(ends.micros()).arg(optional(life(ends, now)));
}

fn list(cmd: &mut Cmd, Listing { name, by, ends, .. }: &Listing, now: Timestamp) {
    let life = life(*ends, now).map(|life| life.saturating_add(LISTED_LONGER_MS));
    cmd.arg(name.as_slice()).arg(optional(life)).arg(optional(by.0));
}

fn expected(expect: Expect) -> String {
    match expect {
        Expect::Anything => "*".to_owned(),
        Expect::Absent => "-".to_owned(),
        Expect::Revision(revision) => revision.to_string(),
        Expect::Unchanged(revision, ends) => format!("{revision}:{}", ends.micros()),
    }
}

/// Milliseconds from now; `None`: for ever.
pub(super) fn life(ends: Timestamp, now: Timestamp) -> Option<u64> {
    if ends == Timestamp::NEVER {
        return None;
    }
    // Redis takes no life of 0; what is over already is over by its head.
    Some(
        u64::try_from(ends.until(now).as_millis())
            .unwrap_or(u64::MAX >> 12)
            .clamp(1, u64::MAX >> 12),
    )
}

pub(super) fn optional(number: Option<u64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}
