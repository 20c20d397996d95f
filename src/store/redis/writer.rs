//! The writer of one primary: many writes in one go on a connection of its own, confirmed by one `WAIT`.
//!
//! It takes what is queued and sends it together, and never waits for company. `WAIT` counts the replicas
//! that have all that was written on its connection; on one that others use it would hold them up. What was
//! sent and not answered, or answered and not confirmed, may be stored or not: those who asked are told so.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::Cmd;
use redis::Pipeline;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::config::redis::Address;
use crate::store::kv::StoreError;
use crate::store::redis::dial::Dial;
use crate::store::redis::fault::Fault;
use crate::store::redis::script;
use crate::telemetry::metrics::StoreMeter;

/// Writes that wait for one writer; more would only time out.
pub(super) const QUEUE: usize = 4096;
// Commands sent together; a group that is larger makes the first of it wait.
const GROUP: usize = 512;

/// Commands to be carried out one after the other, and where their answers go.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) commands: Vec<Cmd>,
    /// The slot is just being moved here.
    pub(super) asking: bool,
    /// Whoever asked has given up by then.
    pub(super) until: Instant,
    pub(super) answer: oneshot::Sender<Result<Answer, Fault>>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// To each command.
    pub(super) values: Vec<Value>,
    /// Whether as many replicas have it as must.
    pub(super) is_confirmed: bool,
}

impl Job {
    fn refuse(self, fault: &Fault) {
        // Whoever asked may be gone.
        let _ = self.answer.send(Err(fault.clone()));
    }
}

/// What a writer works with.
pub(super) struct Writer {
    pub(super) address: Address,
    pub(super) dial: Arc<Dial>,
    pub(super) jobs: mpsc::Receiver<Job>,
    /// Of its connection: another when the primary was away.
    pub(super) turn: Arc<AtomicU64>,
    pub(super) replicas: u32,
    pub(super) answers_in: Duration,
    pub(super) meter: StoreMeter,
}

impl Writer {
    /// Runs until nobody can send it anything more, and all is done.
    pub(super) async fn run(mut self) {
        let mut connection = None;
        let mut turn = self.turn.load(Ordering::Acquire);
        while let Some(first) = self.jobs.recv().await {
            let mut size = first.commands.len();
            let mut group = vec![first];
            while size < GROUP
                && let Ok(job) = self.jobs.try_recv()
            {
                size += job.commands.len();
                group.push(job);
            }
            let now = Instant::now();
            let (group, late) = group.into_iter().partition::<Vec<_>, _>(|job| job.until > now);
            for job in late {
                job.refuse(&Fault::Final(StoreError::Busy));
            }
            if std::mem::replace(&mut turn, self.turn.load(Ordering::Acquire)) != turn {
                connection = None;
            }
            if !group.is_empty() {
                self.send(&mut connection, group).await;
            }
        }
    }

    async fn send(&self, kept: &mut Option<MultiplexedConnection>, group: Vec<Job>) {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => match self.connect().await {
                Ok(connection) => connection,
                Err(fault) => return group.into_iter().for_each(|job| job.refuse(&fault)),
            },
        };
        let (pipe, count) = self.pipe(&group);
        // The connection's own deadline begins when the commands are queued: a little later than this one.
        let sent = timeout(self.answers_in, connection.send_packed_commands(&pipe, 0, count)).await;
        let answers = match sent {
            Ok(Ok(answers)) if answers.len() == count => answers,
            // Sent or not, carried out or not: nobody knows. What is written next goes another way, so
            // that it is not held up behind this.
            Ok(Ok(_) | Err(_)) | Err(_) => {
                let unknown = Fault::Final(StoreError::NotConfirmed);
                return group.into_iter().for_each(|job| job.refuse(&unknown));
            }
        };
        self.meter.commits.inc();
        self.meter.writes.inc_by(u64::try_from(group.len()).unwrap_or(0));
        let knows_scripts = self.answer(group, answers);
        // A connection begins by loading them.
        *kept = knows_scripts.then_some(connection);
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Fault> {
        let broken = |error| Fault::of(&error);
        let dialled = self.dial.connect(&self.address, self.answers_in).await;
        let mut connection = dialled.map_err(broken)?;
        let mut load = redis::pipe();
        for script in script::all() {
            load.cmd("SCRIPT").arg("LOAD").arg(script.source());
        }
        let () = load.query_async(&mut connection).await.map_err(broken)?;
        Ok(connection)
    }

    /// Gives everyone their answers; whether the server knows the scripts.
    fn answer(&self, group: Vec<Job>, mut answers: Vec<Value>) -> bool {
        let has = match self.replicas {
            0 => Some(Value::Int(0)),
            _ => answers.pop(),
        };
        let is_confirmed = matches!(has, Some(Value::Int(has)) if has >= i64::from(self.replicas));
        let mut knows_scripts = true;
        let mut answers = answers.into_iter();
        for job in group {
            let count = job.commands.len() * if job.asking { 2 } else { 1 };
            let every = if job.asking { 2 } else { 1 };
            // All of them, before any is looked at: what is left would be taken for the next one's.
            let own: Vec<_> = answers.by_ref().take(count).collect();
            let own = own.into_iter().skip(every - 1).step_by(every);
            let values = own.map(Fault::in_answer).collect::<Result<Vec<_>, _>>();
            knows_scripts &= !matches!(values, Err(Fault::NoScript));
            let _ = job.answer.send(values.map(|values| Answer { values, is_confirmed }));
        }
        knows_scripts
    }

    fn pipe(&self, group: &[Job]) -> (Pipeline, usize) {
        let mut pipe = redis::pipe();
        let mut count = 0;
        for job in group {
            for command in &job.commands {
                if job.asking {
                    pipe.cmd("ASKING");
                    count += 1;
                }
                pipe.add_command(command.clone());
                count += 1;
            }
        }
        if self.replicas > 0 {
            // What is left of the time once the answer has come back.
            let patience = self.answers_in.mul_f64(0.8).as_millis();
            pipe.cmd("WAIT").arg(self.replicas).arg(u64::try_from(patience).unwrap_or(u64::MAX));
            count += 1;
        }
        (pipe, count)
    }
}
