//! [`Redis`]: the engine that several processes share: Redis 7 or later, or Valkey; one server, a primary that
//! Sentinels watch over, or a Cluster.
//!
//! * Reads ask the primary, over a connection of the thread's own (`node`).
//! * Writes are scripts: a record, and the journal that is in its slot, change together or not at all. They
//!   go through one writer for each primary (`writer`), which has them confirmed by `WAIT`.
//! * What sets list is in the sets' own slots, and what lists all that an account has in parts among those of
//!   its records. It is written before the record and taken out after it, so
//!   that a record is never without its listing; readers verify. Where a set lists the newest first, the
//!   record's revision is proposed beforehand, for its listing holds it.
//! * Time is the caller's clock; Redis's own only lets go of what is over: a value with its life, its head
//!   72 hours later.
//! * `keeper` knows who has what and whether they answer, and hears of what others write.
//!
//! Why not the crate's own clients for Sentinel and Cluster: they send `WAIT` to every primary and over
//! connections that others use, and tell of no invalidation which connection it came by.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what the crate's values may be is an open set"
)]

mod command;
mod dial;
mod fault;
mod keeper;
mod look;
mod map;
mod name;
mod node;
mod reply;
mod script;
mod walk;
mod write;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use redis::Cmd;
use redis::Value;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::config::redis::Redis as Settings;
use crate::domain::clock::Clock;
use crate::domain::clock::Timestamp;
use crate::store::feed::Feed;
use crate::store::journal::Journal;
use crate::store::journal::Note;
use crate::store::kv::Delete;
use crate::store::kv::Kv;
use crate::store::kv::Outcome;
use crate::store::kv::Pending;
use crate::store::kv::Put;
use crate::store::kv::Slot;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::redis::fault::Fault;
use crate::store::redis::keeper::Keeper;
use crate::store::redis::keeper::Known;
use crate::store::redis::name::Kind;
use crate::store::redis::name::Names;
use crate::store::redis::name::slot;
use crate::telemetry::metrics::StoreMeter;

// Until what is being moved, or failing over, is looked for again.
const PAUSE: Duration = Duration::from_millis(15);
// What is being written when the server stops may take so long.
const LAST_WRITES: Duration = Duration::from_secs(3);

/// The engine.
pub struct Redis {
    shared: Arc<Shared>,
    closing: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

/// What all that is under way shares.
struct Shared {
    names: Names,
    clock: Clock,
    known: Arc<Known>,
    patience: Duration,
    meter: StoreMeter,
    is_closed: AtomicBool,
    writes: AtomicUsize,
}

impl Redis {
    /// Finds the servers and keeps up with them, in a thread of its own.
    pub fn open(
        settings: Settings,
        clock: Clock,
        meter: StoreMeter,
        feed: Arc<Feed>,
    ) -> Result<Self, StoreError> {
        let names = Names::new(&settings.prefix);
        let patience = settings.timeout;
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let beginning = Keeper::begin(settings, names.clone(), feed, meter.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StoreError::failed)?;
        let work = move || {
            runtime.block_on(async move {
                match beginning.await {
                    Ok((keeper, known)) => {
                        let _ = tell.send(Ok(known));
                        tokio::select! {
                            () = keeper.keep() => {}
                            _ = stopped => {}
                        }
                    }
                    Err(why) => drop(tell.send(Err(StoreError::Unavailable(why)))),
                }
            });
        };
        let thread = thread::Builder::new().name("baton-redis".to_owned());
        let handle = thread.spawn(work).map_err(StoreError::failed)?;
        let gone = |_| StoreError::Unavailable("the Redis thread ended".to_owned());
        let known = told.recv().map_err(gone)??;
        let (is_closed, writes) = (AtomicBool::new(false), AtomicUsize::new(0));
        let shared = Shared { names, clock, known, patience, meter, is_closed, writes };
        Ok(Self { shared: Arc::new(shared), closing: Mutex::new(Some((stop, handle))) })
    }
}

impl Shared {
    /// Asks whoever has the slot, wherever it is by then, for something that changes nothing.
    async fn query(&self, slot: u16, cmd: &Cmd) -> Result<Value, StoreError> {
        self.meter.reads.inc();
        self.is_open()?;
        let map = self.known.map();
        // Nearly always this is all. The connection has its own deadline.
        let fault = match map.node(slot) {
            Some(node) => match node.query(cmd, false).await {
                Ok(value) => return Ok(value),
                Err(fault) => fault,
            },
            None => Fault::NotNow("that it has nobody for a slot".to_owned()),
        };
        let late = |_| StoreError::Unavailable("Redis does not answer in time".to_owned());
        Box::pin(timeout(self.patience, self.query_again(slot, cmd, fault))).await.map_err(late)?
    }

    async fn query_again(
        &self,
        slot: u16,
        cmd: &Cmd,
        mut fault: Fault,
    ) -> Result<Value, StoreError> {
        loop {
            let mut elsewhere = (None, false);
            match fault {
                Fault::Final(error) => return Err(error),
                Fault::Elsewhere { at, asking } => elsewhere = (Some(at), asking),
                Fault::NotNow(_) | Fault::NoScript | Fault::Broken(_) => sleep(PAUSE).await,
            }
            if !elsewhere.1 {
                self.known.complain();
            }
            self.is_open()?;
            let map = self.known.map();
            let node = match &elsewhere.0 {
                Some(at) => Some(self.known.at(at)),
                None => map.node(slot).map(Arc::clone),
            };
            fault = match node {
                Some(node) => match node.query(cmd, elsewhere.1).await {
                    Ok(value) => return Ok(value),
                    Err(fault) => fault,
                },
                None => Fault::NotNow("that it has nobody for a slot".to_owned()),
            };
        }
    }

    fn is_open(&self) -> Result<(), StoreError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable("closed".to_owned()));
        }
        Ok(())
    }

    fn name(&self, kind: Kind, key: &[u8]) -> Vec<u8> {
        self.names.name(kind, key)
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Slot>, StoreError> {
        let (value, head) = (self.name(Kind::Value, key), self.name(Kind::Head, key));
        let mut cmd = redis::cmd("MGET");
        cmd.arg(value.as_slice()).arg(head.as_slice());
        let answer = self.query(slot(&value), &cmd).await?;
        reply::slot(answer, self.clock.now())
    }

    /// By its head alone.
    async fn is_still(
        &self,
        key: &[u8],
        revision: u64,
        ends: Timestamp,
    ) -> Result<bool, StoreError> {
        let head = self.name(Kind::Head, key);
        let mut cmd = redis::cmd("GET");
        cmd.arg(head.as_slice());
        let there = reply::live(self.query(slot(&head), &cmd).await?, self.clock.now())?;
        Ok(there == Some((revision, ends)))
    }

    /// Of a set in parts, the first of what all of them list.
    async fn members(
        self: &Arc<Self>,
        set: &[u8],
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        if !names::is_wide(set) {
            return self.members_of(set, after, limit).await;
        }
        let mut asking = JoinSet::new();
        for part in self.names.parts(set) {
            let (shared, after) = (Arc::clone(self), after.clone());
            asking.spawn(async move { shared.members_of(&part, after, limit).await });
        }
        let mut all = Vec::new();
        while let Some(listed) = asking.join_next().await {
            all.extend(listed.map_err(StoreError::panicked)??);
        }
        all.sort_unstable();
        all.truncate(limit);
        Ok(all)
    }

    async fn members_of(
        &self,
        set: &[u8],
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let listed = self.name(Kind::Listed, set);
        let from = after.map_or_else(|| b"-".to_vec(), |after| [b"(", after.as_slice()].concat());
        let mut cmd = redis::cmd("ZRANGE");
        cmd.arg(listed.as_slice()).arg(from).arg("+").arg("BYLEX").arg("LIMIT").arg(0).arg(limit);
        reply::names(self.query(slot(&listed), &cmd).await?)
    }

    async fn journal(&self, key: &[u8]) -> Result<Journal, StoreError> {
        let name = self.name(Kind::Journal, key);
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(name.as_slice());
        reply::journal(self.query(slot(&name), &cmd).await?, self.clock.now())
    }

    /// Has Redis tell of the next write to `key`, be it a record, a set, or what rings one.
    async fn watch(&self, key: &[u8]) -> Result<(), StoreError> {
        let head = self.name(Kind::Head, key);
        let unheard = || StoreError::Unavailable("Redis is not heard at the moment".to_owned());
        let map = self.known.map();
        let node = map.node(slot(&head)).ok_or_else(unheard)?;
        let mut listener = self.known.listener(&node.address).ok_or_else(unheard)?;
        let mut pipe = redis::pipe();
        pipe.cmd("CLIENT").arg("CACHING").arg("YES").ignore();
        pipe.cmd("EXISTS").arg(head.as_slice());
        for kind in [Kind::Listed, Kind::Bell] {
            pipe.arg(self.name(kind, key));
        }
        let asked: Result<(u64,), _> = pipe.query_async(&mut listener).await;
        asked.map(|_| ()).map_err(|error| {
            self.known.complain();
            Fault::of(&error).into_error()
        })
    }
}

impl Kv for Redis {
    fn get(&self, key: Vec<u8>) -> Pending<'_, Option<Slot>> {
        Box::pin(async move { self.shared.get(&key).await })
    }

    fn is_still(&self, key: Vec<u8>, revision: u64, ends: Timestamp) -> Pending<'_, bool> {
        Box::pin(async move { self.shared.is_still(&key, revision, ends).await })
    }

    fn put(&self, put: Put) -> Pending<'_, Outcome> {
        Box::pin(async move { self.shared.put(put).await })
    }

    fn delete(&self, delete: Delete) -> Pending<'_, Outcome> {
        Box::pin(async move { self.shared.delete(delete).await })
    }

    fn members(
        &self,
        set: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Pending<'_, Vec<Vec<u8>>> {
        Box::pin(async move { self.shared.members(&set, after, limit).await })
    }

    fn note(&self, notes: Vec<Note>) -> Pending<'_, Vec<bool>> {
        Box::pin(async move { self.shared.note(notes).await })
    }

    fn journal(&self, key: Vec<u8>) -> Pending<'_, Journal> {
        Box::pin(async move { self.shared.journal(&key).await })
    }

    fn watch(&self, key: Vec<u8>) -> Pending<'_, ()> {
        Box::pin(async move { self.shared.watch(&key).await })
    }

    /// Always well while it is open: without Redis there is still what memory holds, and every process over
    /// it would say no at once.
    fn ping(&self) -> Pending<'_, ()> {
        Box::pin(async move { self.shared.is_open() })
    }

    fn close(&self) {
        let end = std::time::Instant::now() + LAST_WRITES;
        while self.shared.writes.load(Ordering::Acquire) > 0 && std::time::Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
        self.shared.is_closed.store(true, Ordering::Release);
        let closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, handle)) = closing {
            drop(stop);
            let _ = handle.join();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis")
    }
}

#[cfg(test)]
mod tests;
