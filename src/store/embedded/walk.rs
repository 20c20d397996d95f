//! Everything there is, whole.

use redb::ReadableDatabase;

use crate::domain::clock::Timestamp;
use crate::store::embedded::Embedded;
use crate::store::embedded::file;
use crate::store::embedded::row::Row;
use crate::store::embedded::table::RECORDS;
use crate::store::embedded::table::TableError;
use crate::store::embedded::table::Tables;
use crate::store::embedded::writer::Job;
use crate::store::journal::Journal;
use crate::store::kv::Pending;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::whole::Over;
use crate::store::whole::Page;
use crate::store::whole::Portable;
use crate::store::whole::Whole;

// Rows read in one step.
const PAGE: usize = 512;

impl Portable for Embedded {
    /// In the order of keys; a cursor is the last key.
    fn walk(&self, from: Option<Vec<u8>>) -> Pending<'_, Page> {
        self.read(move |database| {
            let transaction = database.begin_read().map_err(file::explain)?;
            let records = transaction.open_table(RECORDS).map_err(file::explain)?;
            let mut page = Vec::new();
            for entry in
                records.range(from.as_deref().unwrap_or_default()..).map_err(file::explain)?
            {
                let (key, row) = entry.map_err(file::explain)?;
                if from.as_deref() != Some(key.value()) {
                    page.push(whole(key.value(), Row::decode(row.value())?));
                }
                if page.len() == PAGE {
                    return Ok((page, Some(key.value().to_vec())));
                }
            }
            Ok((page, None))
        })
    }

    fn restore(&self, whole: Whole, over: Over) -> Pending<'_, bool> {
        Box::pin(self.write(|answer| Job::Restore(whole, over, answer)))
    }
}

fn whole(key: &[u8], row: Row) -> Whole {
    let key = key.to_vec();
    let Row { gone, revision, expires_at: ends, places, value, .. } = row;
    if gone.is_none() && names::is_journal(&key) {
        return Whole::Journal { key, ends, version: revision, journal: Journal::decode(&value) };
    }
    Whole::Record { key, revision, ends, gone, places, value }
}

impl Tables<'_> {
    /// Puts something back as it was; whether it did.
    pub(super) fn restore(
        &mut self,
        back: &Whole,
        over: &Over,
        now: Timestamp,
    ) -> Result<bool, TableError> {
        let (Whole::Record { key, .. } | Whole::Journal { key, .. }) = back;
        let there = self.row(key)?;
        let is_met = match (over, &there) {
            (Over::Same(same), Some(there)) => whole(key, there.clone()) == *same,
            (Over::Same(_), None) => false,
            (Over::Older, None) => true,
            (Over::Older, Some(there)) => is_older(there, back, now),
        };
        if is_met {
            self.replace(key, there.as_ref(), row(back)?)?;
        }
        Ok(is_met)
    }
}

/// A journal only grows; a record's revision does.
fn is_older(there: &Row, back: &Whole, now: Timestamp) -> bool {
    match back {
        Whole::Record { revision, .. } => there.revision < *revision,
        Whole::Journal { .. } if there.gone.is_some() || there.expires_at <= now => true,
        Whole::Journal { journal, .. } => count(&Journal::decode(&there.value)) < count(journal),
    }
}

fn count(journal: &Journal) -> usize {
    journal.entries.len() + usize::try_from(journal.left_out).unwrap_or(usize::MAX)
}

fn row(back: &Whole) -> Result<Row, StoreError> {
    Ok(match back {
        Whole::Record { revision, ends, gone, places, value, .. } => Row {
            gone: *gone,
            revision: *revision,
            expires_at: *ends,
            entry_at: *ends,
            places: places.clone(),
            value: value.clone(),
        },
        Whole::Journal { ends, version, journal, .. } => Row {
            gone: None,
            revision: version.saturating_add(1),
            expires_at: *ends,
            entry_at: *ends,
            places: Vec::new(),
            value: journal.encode()?.into(),
        },
    })
}
