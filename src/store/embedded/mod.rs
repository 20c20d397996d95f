//! [`Embedded`]: the engine of one process, on redb.
//!
//! # Why redb
//!
//! Of the embedded stores that were measured it writes slowest per byte and reads fastest, is one
//! crate, and is the one whose crash safety was shown over 600 000 acknowledged transactions under
//! simulated power cuts. 4.6 at least: it mends a damaged file opening as an empty one.

mod file;
mod row;
mod table;
mod walk;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::TrySendError;
use std::thread;
use std::thread::JoinHandle;

use redb::Database;
use redb::ReadableDatabase;
use tokio::sync::oneshot;

use crate::domain::clock::Clock;
use crate::store::embedded::row::Row;
use crate::store::embedded::table::MEMBERS;
use crate::store::embedded::table::RECORDS;
use crate::store::embedded::writer::Job;
use crate::store::embedded::writer::Writer;
use crate::store::journal::Journal;
use crate::store::journal::Note;
use crate::store::kv::Delete;
use crate::store::kv::Kv;
use crate::store::kv::Outcome;
use crate::store::kv::Pending;
use crate::store::kv::Put;
use crate::store::kv::Slot;
use crate::store::kv::StoreError;
use crate::telemetry::metrics::StoreMeter;

// A few groups wait while one is being synced; more would only time out in the queue.
const QUEUE: usize = 1024;

/// The engine: readers in any thread, one writer thread.
pub struct Embedded {
    clock: Clock,
    shared: Arc<Shared>,
    queue: Mutex<Option<SyncSender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What readers and the writer share.
struct Shared {
    // The writer alone replaces it; readers hold the lock for one read.
    database: RwLock<Option<Database>>,
    writable: AtomicBool,
    meter: StoreMeter,
}

impl Shared {
    fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Ordering::Release);
        self.meter.writable.set(writable.into());
    }
}

impl Embedded {
    /// Opens the store at `path`, a file, and makes it when it is not there.
    pub fn open(path: &Path, clock: Clock, meter: StoreMeter) -> Result<Self, StoreError> {
        let database = file::open_or_create(path)?;
        let shared = Arc::new(Shared {
            database: RwLock::new(Some(database)),
            writable: AtomicBool::new(true),
            meter,
        });
        let (queue, jobs) = std::sync::mpsc::sync_channel(QUEUE);
        let writer = Writer {
            shared: Arc::clone(&shared),
            path: path.to_path_buf(),
            clock: clock.clone(),
            jobs,
        };
        let thread = thread::Builder::new().name("baton-writer".to_owned());
        let handle = thread.spawn(move || writer.run()).map_err(StoreError::failed)?;
        Ok(Self { clock, shared, queue: Mutex::new(Some(queue)), writer: Mutex::new(Some(handle)) })
    }

    /// Reads off the async threads: a page that is not cached is a disk read.
    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Pending<'_, T> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || {
                let guard = shared.database.read().unwrap_or_else(PoisonError::into_inner);
                let reopening = || StoreError::Unavailable("reopening".to_owned());
                work(guard.as_ref().ok_or_else(reopening)?)
            });
            read.await.map_err(StoreError::panicked)?
        })
    }

    async fn write<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("closed".to_owned());
        let (answer, answered) = oneshot::channel();
        let queued = match self.queue.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(queue) => queue.try_send(job(answer)),
            None => return Err(closed()),
        };
        match queued {
            Ok(()) => answered.await.unwrap_or_else(|_| Err(closed())),
            Err(TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(closed()),
        }
    }
}

impl Kv for Embedded {
    fn get(&self, key: Vec<u8>) -> Pending<'_, Option<Slot>> {
        let clock = self.clock.clone();
        self.shared.meter.reads.inc();
        self.read(move |database| {
            let transaction = database.begin_read().map_err(file::explain)?;
            let records = transaction.open_table(RECORDS).map_err(file::explain)?;
            match records.get(key.as_slice()).map_err(file::explain)? {
                Some(bytes) => Ok(Row::decode(bytes.value())?.slot(clock.now())),
                None => Ok(None),
            }
        })
    }

    fn put(&self, put: Put) -> Pending<'_, Outcome> {
        Box::pin(self.write(|answer| Job::Put(put, answer)))
    }

    fn delete(&self, delete: Delete) -> Pending<'_, Outcome> {
        Box::pin(self.write(|answer| Job::Delete(delete, answer)))
    }

    fn members(
        &self,
        set: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Pending<'_, Vec<Vec<u8>>> {
        self.shared.meter.reads.inc();
        self.read(move |database| {
            let transaction = database.begin_read().map_err(file::explain)?;
            let members = transaction.open_table(MEMBERS).map_err(file::explain)?;
            let from = after.unwrap_or_default();
            let mut names = Vec::new();
            for entry in
                members.range((set.as_slice(), from.as_slice())..).map_err(file::explain)?
            {
                let (place, _) = entry.map_err(file::explain)?;
                let (listed_in, name) = place.value();
                if listed_in != set.as_slice() || names.len() == limit {
                    break;
                }
                if name != from.as_slice() {
                    names.push(name.to_vec());
                }
            }
            Ok(names)
        })
    }

    fn note(&self, notes: Vec<Note>) -> Pending<'_, Vec<bool>> {
        Box::pin(self.write(|answer| Job::Note(notes, answer)))
    }

    fn journal(&self, key: Vec<u8>) -> Pending<'_, Journal> {
        let reading = self.get(key);
        Box::pin(async move {
            match reading.await? {
                Some(Slot::Live { value, .. }) => Ok(Journal::decode(&value)),
                Some(Slot::Gone { .. }) | None => Ok(Journal::default()),
            }
        })
    }

    /// Nobody else writes here.
    fn watch(&self, _: Vec<u8>) -> Pending<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn ping(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            if self.shared.writable.load(Ordering::Acquire) {
                Ok(())
            } else {
                Err(StoreError::Unavailable("writes fail; reads go on".to_owned()))
            }
        })
    }

    fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
        self.shared.database.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Embedded")
    }
}

#[cfg(test)]
mod tests;
