//! [`Records`]: typed records over an engine: sealed, cached, written so that a caller who goes
//! away half-way changes nothing about what L1 holds.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::domain::clock::Clock;
use crate::store::feed::Feed;
use crate::store::journal::Note;
use crate::store::kv::Change;
use crate::store::kv::Delete;
use crate::store::kv::Expect;
use crate::store::kv::Kv;
use crate::store::kv::Outcome;
use crate::store::kv::Put;
use crate::store::kv::Slot;
use crate::store::kv::StoreError;
use crate::store::l1::Filling;
use crate::store::l1::Found;
use crate::store::l1::Heard;
use crate::store::l1::JOINED;
use crate::store::l1::Kept;
use crate::store::l1::L1;
use crate::store::record::Record;
use crate::store::seal::Seal;
use crate::store::watch::Watch;
use crate::store::watch::Watchers;
use crate::telemetry::metrics::LookUps;

/// What records of all types share.
#[derive(Clone, Debug)]
pub struct Store {
    /// The engine.
    pub kv: Arc<dyn Kv>,
    /// What seals every record.
    pub seal: Arc<Seal>,
    /// What time it is.
    pub clock: Clock,
    /// Who waits for a write.
    pub watchers: Arc<Watchers>,
    /// Where other processes write to the engine too.
    pub sharing: Option<Sharing>,
}

/// How far memory is believed where other processes write to the same store.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// What is heard of their writes.
    pub feed: Arc<Feed>,
    /// For how long memory answers when the engine cannot.
    pub stale: Duration,
}

/// Records of one type.
#[derive(Debug)]
pub struct Records<V> {
    store: Store,
    l1: L1<V>,
    look_ups: LookUps,
    // Where others write: how old what memory answers first may be; zero: the engine is asked.
    first: Duration,
}

/// What became of a typed write.
#[derive(Debug)]
pub enum Written<V> {
    /// Done, durably.
    Done(Arc<V>),
    /// Somebody else was first; read again.
    Conflict,
}

impl<V: Record> Records<V> {
    /// Records in `store`, at most `l1_bytes` of them in memory.
    pub fn new(store: Store, l1_bytes: u64, look_ups: LookUps) -> Self {
        let l1 = L1::new(l1_bytes, store.clock.clone(), store.sharing.is_some());
        Self { store, l1, look_ups, first: Duration::ZERO }
    }

    /// Where other processes write too, memory answers first for so long, as long as nothing is heard of
    /// a write. (Where none does, it always answers first.)
    #[must_use]
    pub fn first_for(self, first: Duration) -> Self {
        Self { first, ..self }
    }

    /// Watches `key`: the watch is rung when it, or what rings it, is written with `min_revision`
    /// or a newer one.
    pub fn watch(&self, key: Vec<u8>, min_revision: u64) -> Watch<'_> {
        self.store.watchers.watch(key, min_revision)
    }

    /// Has the engine tell of writes of other processes to what is watched; whether it does.
    pub async fn heed(&self, watch: &Watch<'_>) -> bool {
        let mut is_heard = true;
        if self.store.sharing.is_some() {
            for key in watch.keys() {
                is_heard &= self.store.kv.watch(key.to_vec()).await.is_ok();
            }
        }
        is_heard
    }

    /// Whether other processes write to the store, too.
    pub fn is_shared(&self) -> bool {
        self.store.sharing.is_some()
    }

    /// What seals these records, for what else must not be read or made up outside.
    pub fn seal(&self) -> &Seal {
        &self.store.seal
    }

    /// Whether the time of waiting is over: the server stops.
    pub fn is_closing(&self) -> bool {
        self.store.watchers.is_closed()
    }

    /// The record under `key`, if it is in memory and memory answers first.
    pub async fn cached(&self, key: &[u8]) -> Option<Arc<V>> {
        let value = self.first(key).await?;
        self.look_ups.hits.inc();
        Some(value)
    }

    async fn first(&self, key: &[u8]) -> Option<Arc<V>> {
        let Some(sharing) = &self.store.sharing else { return self.l1.hit(key).await };
        if self.first.is_zero() {
            return None;
        }
        let kept = self.l1.kept(key).await?;
        self.is_good(sharing, key, &kept).then_some(kept.value)
    }

    /// Whether what is kept is what the engine holds, as far as was heard, and not too old.
    fn is_good(&self, sharing: &Sharing, key: &[u8], kept: &Kept<V>) -> bool {
        kept.mark.is_some_and(|mark| sharing.feed.holds(key, mark))
            && kept.at.elapsed() < self.first
    }

    /// The record under `key`, from memory if it is there.
    pub async fn get(&self, key: &[u8]) -> Result<Found<V>, StoreError> {
        if let Some(value) = self.cached(key).await {
            return Ok(Found::Live(value));
        }
        self.look_ups.misses.inc();
        // Boxed, for it is large and seldom: unboxed, every request and every reader who waits
        // would have room for it.
        match &self.store.sharing {
            None => Box::pin(self.l1.read(key, self.load(key))).await,
            Some(sharing) => Box::pin(self.get_shared(sharing, key)).await,
        }
    }

    /// The record under `key` as the engine has it; when it cannot be asked, as it was a while ago.
    async fn get_shared(&self, sharing: &Sharing, key: &[u8]) -> Result<Found<V>, StoreError> {
        let found = if self.first.is_zero() {
            // Nobody shares a look with one that began before a write on another machine.
            self.ask(sharing, key).await
        } else {
            let mark = sharing.feed.mark(key);
            let load = async {
                let is_heard = self.store.kv.watch(key.to_vec()).await.is_ok();
                Ok((self.load(key).await?, is_heard.then_some(mark)))
            };
            let is_good = |kept: &Kept<V>| self.is_good(sharing, key, kept);
            let heard = Heard { mark, about: sharing.feed.about(JOINED) };
            self.l1.read_marked(key, Some(heard), is_good, load).await
        };
        match found {
            // What does not open is no answer that others could have in its place.
            Err(why @ StoreError::Unreadable(_)) => Err(why),
            Err(why) => match self.l1.kept(key).await {
                // What was listened to, and heard to be written since, is another by now, or gone.
                Some(kept)
                    if kept.mark.is_some() && sharing.feed.is_written_since(key, kept.at) =>
                {
                    Err(why)
                }
                Some(kept) if kept.at.elapsed() < sharing.stale => {
                    self.look_ups.stale.inc();
                    Ok(Found::Stale(kept.value))
                }
                Some(_) | None => Err(why),
            },
            found => found,
        }
    }

    /// Asks the engine: whether what memory has is still it, or for all of it.
    async fn ask(&self, sharing: &Sharing, key: &[u8]) -> Result<Found<V>, StoreError> {
        let (generation, began) = (self.l1.generation(key), Instant::now());
        let filling = Filling { generation, mark: None, began };
        if let Some(Kept { value, at, .. }) = self.l1.kept(key).await {
            let (revision, ends) = (value.revision(), value.expires_at());
            if self.store.kv.is_still(key.to_vec(), revision, ends).await? {
                let found = Found::Live(value);
                // That it was so just now counts once it may be needed; to put it there costs more than
                // to look.
                if at.elapsed() > sharing.stale / 8 {
                    self.l1.fill(key, &found, filling).await;
                }
                return Ok(found);
            }
        }
        let found = self.load(key).await?;
        self.l1.fill(key, &found, filling).await;
        Ok(found)
    }

    /// The record under `key`, for a listing: from memory if it is there, and not kept there if not,
    /// or a listing would push out what is hot.
    pub async fn glance(&self, key: &[u8]) -> Result<Found<V>, StoreError> {
        match self.first(key).await {
            Some(value) => Ok(Found::Live(value)),
            None => self.load(key).await,
        }
    }

    /// The record under `key` as the engine has it, whatever memory says.
    pub async fn load(&self, key: &[u8]) -> Result<Found<V>, StoreError> {
        match self.store.kv.get(key.to_vec()).await? {
            Some(Slot::Live { revision, expires_at, value }) => {
                // Nobody else has it, so it is opened where it is.
                let sealed = value.try_into_mut().unwrap_or_else(|shared| shared.as_ref().into());
                let plain = self.store.seal.open_in_place(V::KIND, key, sealed)?;
                Ok(Found::Live(Arc::new(V::decode(plain, revision, expires_at)?)))
            }
            Some(Slot::Gone { how, .. }) => Ok(Found::Gone(how)),
            None => Ok(Found::Never),
        }
    }

    /// What an index set lists, in its order.
    pub async fn members(
        &self,
        set: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.store.kv.members(set, after, limit).await
    }

    /// Writes `value` under `key` and wakes who watches it. Goes on to its end, L1 included, when the
    /// caller goes away: what L1 holds must not depend on who is still listening.
    pub async fn put(
        self: &Arc<Self>,
        key: Vec<u8>,
        value: V,
        expect: Expect,
        change: Change,
    ) -> Result<Written<V>, StoreError> {
        self.put_noting(key, value, (expect, change), Vec::new()).await
    }

    /// The same, with what is noted of it in its transaction.
    pub async fn put_noting(
        self: &Arc<Self>,
        key: Vec<u8>,
        mut value: V,
        (expect, change): (Expect, Change),
        notes: Vec<Note>,
    ) -> Result<Written<V>, StoreError> {
        let records = Arc::clone(self);
        let sealed = self.store.seal.seal(V::KIND, &key, &value.encode()?)?;
        let members = value.members();
        let expires_at = value.expires_at();
        let rings = match self.store.sharing {
            Some(_) => value.rings().into_iter().map(|(rung, _)| rung).collect(),
            None => Vec::new(),
        };
        let put = Put {
            key: key.clone(),
            value: sealed.into(),
            expires_at,
            expect,
            change,
            members,
            rings,
            notes,
        };
        let write = tokio::spawn(async move {
            let writing = records.l1.writing(&key);
            let outcome = records.store.kv.put(put).await;
            let generation = writing.ended();
            match outcome {
                Ok(Outcome::Done(revision)) => {
                    value.stamp(revision);
                    let value = Arc::new(value);
                    records.l1.keep(&key, &value, generation).await;
                    records.store.watchers.ring(&key, revision);
                    for (rung, revision) in value.rings() {
                        records.store.watchers.ring(&rung, revision);
                    }
                    Ok(Written::Done(value))
                }
                Ok(Outcome::Conflict(_)) => {
                    records.l1.forget(&key).await;
                    Ok(Written::Conflict)
                }
                Err(error) => {
                    records.doubt(&key).await;
                    Err(error)
                }
            }
        });
        write.await.map_err(StoreError::panicked)?
    }

    /// Deletes what is under `key`.
    pub async fn delete(
        self: &Arc<Self>,
        key: Vec<u8>,
        expect: Expect,
    ) -> Result<Outcome, StoreError> {
        self.delete_noting(key, expect, Vec::new()).await
    }

    /// The same, with what is noted of it in its transaction.
    pub async fn delete_noting(
        self: &Arc<Self>,
        key: Vec<u8>,
        expect: Expect,
        notes: Vec<Note>,
    ) -> Result<Outcome, StoreError> {
        let records = Arc::clone(self);
        let write = tokio::spawn(async move {
            let writing = records.l1.writing(&key);
            let delete = Delete { key: key.clone(), expect, notes };
            let outcome = records.store.kv.delete(delete).await;
            writing.ended();
            match outcome {
                Ok(_) => records.l1.forget(&key).await,
                Err(_) => records.doubt(&key).await,
            }
            if let Ok(Outcome::Done(revision)) = outcome {
                records.store.watchers.ring(&key, revision);
            }
            outcome
        });
        write.await.map_err(StoreError::panicked)?
    }
}

impl<V: Record> Records<V> {
    /// Nobody knows whether `key` was written. What memory holds of it answers nobody first any more; where
    /// the engine may not answer for a while, it is kept for that.
    async fn doubt(&self, key: &[u8]) {
        match &self.store.sharing {
            None => self.l1.forget(key).await,
            Some(_) => self.l1.doubt(key).await,
        }
    }
}

#[cfg(test)]
mod tests;
