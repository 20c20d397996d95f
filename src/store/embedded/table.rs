//! The tables of the embedded store, and what a write does to them inside one transaction.

use redb::Database;
use redb::ReadableDatabase;
use redb::ReadableTable;
use redb::Table;
use redb::TableDefinition;
use redb::WriteTransaction;

use crate::domain::clock::Timestamp;
use crate::store::embedded::row::Row;
use crate::store::journal::Journal;
use crate::store::journal::Note;
use crate::store::kv::Change;
use crate::store::kv::Delete;
use crate::store::kv::Gone;
use crate::store::kv::Outcome;
use crate::store::kv::Put;
use crate::store::kv::StoreError;
use crate::store::kv::TOMBSTONE_LIFE;
use crate::store::kv::next_revision;

/// Key → row.
pub(super) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// When → key of the row to look at then. One entry a row.
const EXPIRY: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("expiry");
/// (Set, name) of every record that lives.
pub(super) const MEMBERS: TableDefinition<'_, (&[u8], &[u8]), ()> = TableDefinition::new("members");

/// A sweep looks at no more rows than this in one transaction, so that writers wait little.
pub(super) const SWEEP_ROWS: usize = 512;

/// Whether a sweep at `now` would find anything.
pub(super) fn is_due(database: &Database, now: Timestamp) -> Result<bool, redb::Error> {
    let transaction = database.begin_read()?;
    let expiry = transaction.open_table(EXPIRY)?;
    let first = expiry.first()?;
    Ok(first.is_some_and(|(place, _)| place.value().0 <= now.micros()))
}

/// The tables, open for writing.
pub(super) struct Tables<'t> {
    records: Table<'t, &'static [u8], &'static [u8]>,
    expiry: Table<'t, (u64, &'static [u8]), ()>,
    members: Table<'t, (&'static [u8], &'static [u8]), ()>,
}

impl<'t> Tables<'t> {
    /// Opens them, and makes those that are not there.
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            expiry: transaction.open_table(EXPIRY)?,
            members: transaction.open_table(MEMBERS)?,
        })
    }

    /// Applies a write at `now`.
    pub(super) fn put(&mut self, put: &Put, now: Timestamp) -> Result<Outcome, TableError> {
        let found = self.row(&put.key)?;
        let there = live(found.as_ref(), now);
        let live = there.map(|(revision, _)| revision);
        let remembered = found.as_ref().map(|row| row.revision);
        let revision = match (put.change, live) {
            _ if !put.expect.is_met_by(there) => return Ok(Outcome::Conflict(live)),
            (Change::Lifetime, None) => return Ok(Outcome::Conflict(None)),
            (Change::Lifetime, Some(revision)) => revision,
            (Change::Content, _) => next_revision(remembered, now),
        };
        let row = Row {
            gone: None,
            revision,
            expires_at: put.expires_at,
            entry_at: put.expires_at,
            places: put.members.iter().map(|member| member.place(revision)).collect(),
            value: put.value.clone(),
        };
        self.replace(&put.key, found.as_ref(), row)?;
        self.note(&put.notes, revision, now)?;
        Ok(Outcome::Done(revision))
    }

    /// Applies a deletion at `now`.
    pub(super) fn delete(
        &mut self,
        delete: &Delete,
        now: Timestamp,
    ) -> Result<Outcome, TableError> {
        let found = self.row(&delete.key)?;
        let there = live(found.as_ref(), now);
        let live = there.map(|(revision, _)| revision);
        if live.is_none() || !delete.expect.is_met_by(there) {
            return Ok(Outcome::Conflict(live));
        }
        let revision = next_revision(live, now);
        let forgotten_at = now.plus(TOMBSTONE_LIFE);
        self.replace(&delete.key, found.as_ref(), tombstone(Gone::Erased, revision, forgotten_at))?;
        self.note(&delete.notes, revision, now)?;
        Ok(Outcome::Done(revision))
    }

    /// Writes entries of journals at `now`, with the revision of the record that they go with. A journal is
    /// one row: it is short, and read whole.
    pub(super) fn note(
        &mut self,
        notes: &[Note],
        revision: u64,
        now: Timestamp,
    ) -> Result<Vec<bool>, TableError> {
        let mut new = Vec::with_capacity(notes.len());
        for note in notes {
            let found = self.row(&note.journal)?;
            let live = found.as_ref().filter(|row| row.gone.is_none() && row.expires_at > now);
            let mut journal = match live {
                Some(row) => Journal::decode(&row.value),
                None => Journal::default(),
            };
            new.push(journal.note(note, revision));
            let until = note.until.over(live.map(|row| row.expires_at));
            let row = Row {
                gone: None,
                revision: next_revision(found.as_ref().map(|row| row.revision), now),
                expires_at: until,
                entry_at: until,
                places: Vec::new(),
                value: journal.encode()?.into(),
            };
            self.replace(&note.journal, found.as_ref(), row)?;
        }
        Ok(new)
    }

    /// Turns records whose time is over into tombstones and forgets old tombstones; answers how
    /// many entries it looked at.
    pub(super) fn sweep(&mut self, now: Timestamp) -> Result<usize, TableError> {
        let mut due = Vec::new();
        let later: (u64, &[u8]) = (now.micros().saturating_add(1), &[]);
        for entry in self.expiry.range(..later)?.take(SWEEP_ROWS) {
            let (place, _) = entry?;
            let (at, key) = place.value();
            due.push((at, key.to_vec()));
        }
        for (at, key) in &due {
            let row = self.row(key);
            if let Err(TableError::Row(error)) = &row {
                // Left where it is, for whoever mends it; looked at no more.
                tracing::error!(%error, "the sweep met a row that cannot be read");
                self.expiry.remove((*at, key.as_slice()))?;
                continue;
            }
            match row? {
                Some(row) if row.expires_at > now => self.replace_entry(key, *at, row)?,
                Some(row) if row.gone.is_none() => {
                    let forgotten_at = row.expires_at.plus(TOMBSTONE_LIFE);
                    let grave = tombstone(Gone::Expired, row.revision, forgotten_at);
                    self.replace(key, Some(&row), grave)?;
                }
                Some(_) => {
                    self.records.remove(key.as_slice())?;
                    self.expiry.remove((*at, key.as_slice()))?;
                }
                None => {
                    self.expiry.remove((*at, key.as_slice()))?;
                }
            }
        }
        Ok(due.len())
    }

    pub(super) fn row(&self, key: &[u8]) -> Result<Option<Row>, TableError> {
        match self.records.get(key)? {
            Some(bytes) => Ok(Some(Row::decode(bytes.value())?)),
            None => Ok(None),
        }
    }

    /// Puts `row` in the place of `before`, and the indices in step.
    pub(super) fn replace(
        &mut self,
        key: &[u8],
        before: Option<&Row>,
        mut row: Row,
    ) -> Result<(), TableError> {
        let entry = before.map(|before| before.entry_at);
        match entry {
            Some(at) if at <= row.entry_at && row.gone.is_none() => row.entry_at = at,
            Some(at) => {
                self.expiry.remove((at.micros(), key))?;
                self.expiry.insert((row.entry_at.micros(), key), ())?;
            }
            None => {
                self.expiry.insert((row.entry_at.micros(), key), ())?;
            }
        }
        let old = before.map(|before| before.places.as_slice()).unwrap_or_default();
        if old != row.places.as_slice() {
            for place in old {
                self.members.remove((place.set.as_slice(), place.name.as_slice()))?;
            }
            for place in &row.places {
                self.members.insert((place.set.as_slice(), place.name.as_slice()), ())?;
            }
        }
        self.records.insert(key, row.encode()?.as_slice())?;
        Ok(())
    }

    /// Lists a row that lives longer than its entry says where it belongs.
    fn replace_entry(&mut self, key: &[u8], at: u64, mut row: Row) -> Result<(), TableError> {
        self.expiry.remove((at, key))?;
        row.entry_at = row.expires_at;
        self.expiry.insert((row.entry_at.micros(), key), ())?;
        self.records.insert(key, row.encode()?.as_slice())?;
        Ok(())
    }
}

/// Revision and end of a record that lives.
fn live(row: Option<&Row>, now: Timestamp) -> Option<(u64, Timestamp)> {
    let row = row.filter(|row| row.gone.is_none() && row.expires_at > now)?;
    Some((row.revision, row.expires_at))
}

fn tombstone(how: Gone, revision: u64, forgotten_at: Timestamp) -> Row {
    Row {
        gone: Some(how),
        revision,
        expires_at: forgotten_at,
        entry_at: forgotten_at,
        places: Vec::new(),
        value: bytes::Bytes::new(),
    }
}

/// What can go wrong inside a transaction: the file, or a row that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    #[error(transparent)]
    File(#[from] redb::StorageError),
    #[error(transparent)]
    Row(#[from] StoreError),
}
