//! The one writer of the embedded store: many writes, one durable commit.
//!
//! It takes what is queued and commits it together, and never waits for company: alone, a write
//! goes at once; under load, the next group gathers while this one is being synced.
//!
//! After an I/O error or on a full disk redb refuses every write on that handle until the file is
//! closed and opened again. Reads on it still work, so it is kept for them until a probe file
//! shows that the disk takes bytes again; then the writer closes and reopens it.

use std::fs::File;
use std::io::Write;
use std::panic;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::domain::clock::Clock;
use crate::store::embedded::Shared;
use crate::store::embedded::file;
use crate::store::embedded::table;
use crate::store::embedded::table::TableError;
use crate::store::embedded::table::Tables;
use crate::store::journal::Note;
use crate::store::kv::Delete;
use crate::store::kv::Outcome;
use crate::store::kv::Put;
use crate::store::kv::StoreError;
use crate::store::whole::Over;
use crate::store::whole::Whole;

/// Something to write, and where its answer goes.
pub(super) enum Job {
    Put(Put, oneshot::Sender<Result<Outcome, StoreError>>),
    Delete(Delete, oneshot::Sender<Result<Outcome, StoreError>>),
    Note(Vec<Note>, oneshot::Sender<Result<Vec<bool>, StoreError>>),
    Restore(Whole, Over, oneshot::Sender<Result<bool, StoreError>>),
}

/// What became of a job.
enum Done {
    Written(Outcome),
    Noted(Vec<bool>),
    Restored(bool),
}

// More than this in one commit gains little and makes the first of them wait.
const GROUP: usize = 256;
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);
// What the probe must be able to write before the file is opened again: reopening after an error
// rewrites redb's header and allocator state, and must not itself run into the full disk.
const PROBE_BYTES: usize = 1 << 20;

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) path: PathBuf,
    pub(super) clock: Clock,
    pub(super) jobs: Receiver<Job>,
}

impl Writer {
    /// Runs until every sender is gone and the queue is empty.
    pub(super) fn run(self) {
        let _gone = WhenGone(Arc::clone(&self.shared));
        let mut next_sweep = Instant::now() + SWEEP_EVERY;
        loop {
            match self.jobs.recv_timeout(next_sweep.saturating_duration_since(Instant::now())) {
                Ok(job) => {
                    let mut group = vec![job];
                    group.extend(self.jobs.try_iter().take(GROUP - 1));
                    self.surviving(|| self.write(group));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= next_sweep {
                // A sweep that found a full load goes on after the next group.
                let more = self.surviving(|| self.sweep()).unwrap_or(false);
                next_sweep = Instant::now() + if more { Duration::ZERO } else { SWEEP_EVERY };
            }
        }
    }

    /// Runs `work`; a panic in it (redb's, on a damaged page) is a failed commit like any other. Those
    /// who waited are told by their answers' channels closing.
    fn surviving<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let done = panic::catch_unwind(AssertUnwindSafe(work));
        if done.is_err() {
            self.recover(&StoreError::Unavailable("the writer panicked".to_owned()));
        }
        done.ok()
    }

    fn write(&self, group: Vec<Job>) {
        let size = group.len();
        let answers = self.commit(|tables, clock| {
            group.iter().map(|job| job.apply(tables, clock)).collect::<Result<Vec<_>, _>>()
        });
        match answers {
            Ok(answers) => {
                self.shared.meter.commits.inc();
                self.shared.meter.writes.inc_by(u64::try_from(size).unwrap_or(0));
                for (job, answer) in group.into_iter().zip(answers) {
                    job.answer(answer);
                }
            }
            Err(error) => {
                for job in group {
                    job.answer(Err(error.clone()));
                }
                self.recover(&error);
            }
        }
    }

    /// Buries what has ended; true when there is more. Nothing due costs one read and no commit.
    fn sweep(&self) -> bool {
        let guard = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let due = guard.as_ref().map(|database| table::is_due(database, self.clock.now()));
        drop(guard);
        match due {
            None | Some(Ok(false)) => return false,
            Some(Ok(true) | Err(_)) => {}
        }
        match self.commit(|tables, clock| tables.sweep(clock.now())) {
            Ok(swept) => swept >= table::SWEEP_ROWS,
            Err(error) => {
                self.recover(&error);
                false
            }
        }
    }

    /// Runs `work` in a transaction and commits it durably: fsynced in two phases, so that no
    /// crafted value can pass for a commit, and with the allocator saved, so that opening after a
    /// crash takes no longer when the file is large.
    fn commit<T>(
        &self,
        work: impl FnOnce(&mut Tables<'_>, &Clock) -> Result<T, TableError>,
    ) -> Result<T, StoreError> {
        let guard = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = guard.as_ref() else {
            return Err(StoreError::Unavailable("reopening".to_owned()));
        };
        let mut transaction = database.begin_write().map_err(file::explain)?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        let done = {
            let mut tables = Tables::open(&transaction).map_err(file::explain)?;
            work(&mut tables, &self.clock).map_err(|error| match error {
                TableError::File(error) => file::explain(error),
                TableError::Row(error) => error,
            })?
        };
        transaction.commit().map_err(file::explain)?;
        Ok(done)
    }

    /// Waits until the disk takes bytes, then opens the file anew. What is queued meanwhile is
    /// answered with why not.
    fn recover(&self, why: &StoreError) {
        self.shared.set_writable(false);
        tracing::error!(error = %why, "the store cannot be written; trying to reopen it");
        let mut wait = FIRST_RETRY;
        let mut told = why.to_string();
        while let Err(why) = self.probe().and_then(|()| self.reopen()) {
            if told != why.to_string() {
                told = why.to_string();
                tracing::error!(error = told, "the store does not reopen yet");
            }
            let retry = Instant::now() + wait;
            wait = (wait * 2).min(LAST_RETRY);
            loop {
                match self.jobs.recv_timeout(retry.saturating_duration_since(Instant::now())) {
                    Ok(job) => job.answer(Err(why.clone())),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
        self.shared.set_writable(true);
        self.shared.meter.reopened.inc();
        tracing::info!("the store is open again; nothing acknowledged was lost");
    }

    fn probe(&self) -> Result<(), StoreError> {
        let probe = self.path.with_extension("probe");
        let bytes = vec![0x5a; PROBE_BYTES];
        let wrote = File::create(&probe)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        let removed = std::fs::remove_file(&probe);
        wrote.and(removed).map_err(|error| file::explain(redb::StorageError::Io(error)))
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut guard = self.shared.database.write().unwrap_or_else(PoisonError::into_inner);
        // The old handle holds the file's lock, so it goes first.
        *guard = None;
        let opened = panic::catch_unwind(AssertUnwindSafe(|| file::open(&self.path)));
        let panicked = || StoreError::Unavailable("opening the file panicked".to_owned());
        *guard = Some(opened.map_err(|_withheld| panicked())??);
        Ok(())
    }
}

impl Job {
    /// Does it. A row that cannot be read is an answer to this job alone; only a failing file fails
    /// the group.
    fn apply(
        &self,
        tables: &mut Tables<'_>,
        clock: &Clock,
    ) -> Result<Result<Done, StoreError>, TableError> {
        let now = clock.now();
        let done = match self {
            Self::Put(put, _) => tables.put(put, now).map(Done::Written),
            Self::Delete(delete, _) => tables.delete(delete, now).map(Done::Written),
            Self::Note(notes, _) => tables.note(notes, 0, now).map(Done::Noted),
            Self::Restore(whole, over, _) => tables.restore(whole, over, now).map(Done::Restored),
        };
        match done {
            Ok(done) => Ok(Ok(done)),
            Err(TableError::Row(unreadable)) => Ok(Err(unreadable)),
            Err(failing @ TableError::File(_)) => Err(failing),
        }
    }

    fn answer(self, done: Result<Done, StoreError>) {
        // A caller that has gone away needs no answer.
        match (self, done) {
            (Self::Put(_, to) | Self::Delete(_, to), Ok(Done::Written(outcome))) => {
                let _ = to.send(Ok(outcome));
            }
            (Self::Note(_, to), Ok(Done::Noted(new))) => {
                let _ = to.send(Ok(new));
            }
            (Self::Put(_, to) | Self::Delete(_, to), Err(why)) => {
                let _ = to.send(Err(why));
            }
            (Self::Note(_, to), Err(why)) => {
                let _ = to.send(Err(why));
            }
            (Self::Restore(_, _, to), Ok(Done::Restored(did))) => {
                let _ = to.send(Ok(did));
            }
            (Self::Restore(_, _, to), Err(why)) => {
                let _ = to.send(Err(why));
            }
            // A job is answered with what it did.
            (_, Ok(_)) => {}
        }
    }
}

/// Says that nobody writes any more, however the writer ended.
struct WhenGone(Arc<Shared>);

impl Drop for WhenGone {
    fn drop(&mut self) {
        self.0.set_writable(false);
    }
}
