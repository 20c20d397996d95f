//! [`Node`]: one primary: who reads from it, who writes to it, and whether it answers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::Cmd;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::sync::OnceCell;
use tokio::sync::mpsc;

use crate::config::redis::Address;
use crate::store::kv::StoreError;
use crate::store::redis::dial::Dial;
use crate::store::redis::fault::Fault;
use crate::store::redis::writer::Job;

// Names nodes apart, also those of one address at different times.
static COUNTED: AtomicU64 = AtomicU64::new(0);

type Reader = Arc<OnceCell<MultiplexedConnection>>;

/// A thread's connection to a node.
#[derive(Default)]
struct Mine {
    turn: u64,
    reader: Reader,
    // Whether the node is still there.
    node: Weak<AtomicU64>,
}

thread_local! {
    // Each thread reads over its own connections, whose work is done where their answers are waited for:
    // a connection for all would have every answer cross two threads.
    static READERS: RefCell<HashMap<(u64, tokio::runtime::Id), Mine>> = RefCell::default();
}

/// One primary.
pub(super) struct Node {
    /// Where it is.
    pub(super) address: Address,
    number: u64,
    dial: Arc<Dial>,
    answers_in: Duration,
    is_up: AtomicBool,
    // Of its connections, which are all anew after it was away.
    turn: Arc<AtomicU64>,
    jobs: mpsc::Sender<Job>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.address)
    }
}

impl Node {
    /// A node that is taken to answer; its writer takes `jobs`.
    pub(super) fn new(
        address: Address,
        dial: Arc<Dial>,
        answers_in: Duration,
        (turn, jobs): (Arc<AtomicU64>, mpsc::Sender<Job>),
    ) -> Self {
        let number = COUNTED.fetch_add(1, Ordering::Relaxed);
        Self { address, number, dial, answers_in, is_up: AtomicBool::new(true), turn, jobs }
    }

    /// Whether it answered when it was last asked. While it did not, nobody else asks: this is the breaker.
    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }

    /// Notes whether it answers; whether that is news.
    pub(super) fn set_up(&self, is_up: bool) -> bool {
        self.is_up.swap(is_up, Ordering::AcqRel) != is_up
    }

    /// It was away, or may have been: whoever has a connection to it makes a new one.
    pub(super) fn begin_anew(&self) {
        self.turn.fetch_add(1, Ordering::AcqRel);
    }

    /// Why nobody asks it.
    pub(super) fn down(&self) -> StoreError {
        StoreError::Unavailable(format!("Redis at {} does not answer", self.address))
    }

    /// Asks for something that changes nothing.
    pub(super) async fn query(&self, cmd: &Cmd, asking: bool) -> Result<Value, Fault> {
        if !self.is_up() {
            return Err(Fault::Final(self.down()));
        }
        let reader = self.reader();
        let connect = || self.dial.connect(&self.address, self.answers_in);
        let connection =
            reader.get_or_try_init(connect).await.map_err(|error| Fault::of(&error))?;
        let mut connection = connection.clone();
        let answer = if asking {
            let mut both = redis::pipe();
            both.cmd("ASKING").add_command(cmd.clone());
            let answers = connection.send_packed_commands(&both, 0, 2).await;
            answers.map(|mut answers| answers.pop().unwrap_or(Value::Nil))
        } else {
            connection.send_packed_command(cmd).await
        };
        match answer {
            Ok(value) => Fault::in_answer(value),
            Err(error) if error.is_timeout() => {
                // Nothing may ever come over it again. Whoever asked has no time left.
                self.let_go(&reader);
                let late = "Redis does not answer in time".to_owned();
                Err(Fault::Final(StoreError::Unavailable(late)))
            }
            Err(error) => {
                let fault = Fault::of(&error);
                if let Fault::Broken(_) = fault {
                    self.let_go(&reader);
                }
                Err(fault)
            }
        }
    }

    /// Has its writer write.
    pub(super) fn write(&self, job: Job) -> Result<(), StoreError> {
        if !self.is_up() {
            return Err(self.down());
        }
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Unavailable("closed".to_owned()),
        })
    }

    /// This thread's connection; a new one when the primary was away since it was made.
    fn reader(&self) -> Reader {
        let place = (self.number, tokio::runtime::Handle::current().id());
        let turn = self.turn.load(Ordering::Acquire);
        READERS.with_borrow_mut(|readers| {
            if !readers.contains_key(&place) {
                // Nobody asks a node that is gone, and its connection would stay open.
                readers.retain(|_, mine| mine.node.strong_count() > 0);
            }
            let mine = readers.entry(place).or_default();
            if mine.turn != turn || mine.node.strong_count() == 0 {
                *mine = Mine { turn, reader: Reader::default(), node: Arc::downgrade(&self.turn) };
            }
            Arc::clone(&mine.reader)
        })
    }

    /// The next reader connects anew.
    fn let_go(&self, reader: &Reader) {
        let place = (self.number, tokio::runtime::Handle::current().id());
        READERS.with_borrow_mut(|readers| {
            if readers.get(&place).is_some_and(|mine| Arc::ptr_eq(&mine.reader, reader)) {
                readers.remove(&place);
            }
        });
    }
}
