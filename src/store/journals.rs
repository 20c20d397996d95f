//! [`Journals`]: what happened to handoffs, sealed, under their ids.

use aws_lc_rs::digest;

use crate::domain::account::AccountId;
use crate::domain::handoff_id::HandoffId;
use crate::domain::timeline::Event;
use crate::domain::timeline::What;
use crate::store::journal::Again;
use crate::store::journal::Note;
use crate::store::journal::Until;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::records::Store;

// As of records; never reused.
const KIND: u8 = 8;
// Of a hash that tells names apart.
const NAME_BYTES: usize = 16;

/// What happened to handoffs.
#[derive(Debug)]
pub struct Journals {
    store: Store,
}

/// What an entry is called, so that what is told twice stands once.
#[derive(Clone, Copy, Debug)]
pub enum Name<'n> {
    /// It is like no other.
    None,
    /// Told again, the first stays.
    First(&'n [&'n str]),
    /// Told again, the last stays.
    Last(&'n [&'n str]),
}

/// What is known of a handoff.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Events, in the order in which they were told first.
    pub events: Vec<Event>,
    /// How many there are no more.
    pub left_out: u32,
}

impl Journals {
    /// Those of `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// An entry of the handoff's journal, to be written with a record or by [`Journals::add`].
    pub fn note(
        &self,
        (account, id): (&AccountId, &HandoffId),
        event: &Event,
        name: Name<'_>,
        until: Until,
    ) -> Result<Note, StoreError> {
        let journal = names::timeline(account, id);
        let plain = serde_json::to_vec(event).map_err(StoreError::failed)?;
        let value = self.store.seal.seal(KIND, &journal, &plain)?.into();
        let (name, again) = match name {
            Name::None => (Vec::new(), Again::Keep),
            Name::First(parts) => (hash(parts), Again::Keep),
            Name::Last(parts) => (hash(parts), Again::Replace),
        };
        Ok(Note { journal, name, again, value, until })
    }

    /// Writes entries; of each, whether its name is new.
    pub async fn add(&self, notes: Vec<Note>) -> Result<Vec<bool>, StoreError> {
        self.store.kv.note(notes).await
    }

    /// What is known of a handoff.
    pub async fn read(&self, account: &AccountId, id: &HandoffId) -> Result<Told, StoreError> {
        let key = names::timeline(account, id);
        let journal = self.store.kv.journal(key.clone()).await?;
        let mut told = Told { events: Vec::new(), left_out: journal.left_out };
        for entry in journal.entries {
            let plain = self.store.seal.open(KIND, &key, &entry.value);
            let event = plain.ok().and_then(|plain| serde_json::from_slice::<Event>(&plain).ok());
            let Some(mut event) = event else {
                // Sealed with a key that is no more, or of a version to come.
                told.left_out = told.left_out.saturating_add(1);
                continue;
            };
            if let What::Written { revision, .. } = &mut event.what {
                *revision = entry.revision;
            }
            told.events.push(event);
        }
        Ok(told)
    }
}

/// No two lists of parts are told alike, and the parts are not told.
fn hash(parts: &[&str]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    let hash = context.finish();
    hash.as_ref().iter().take(NAME_BYTES).copied().collect()
}
