//! [`Watched`]: a TCP stream that does not wait for ever.
//!
//! actix-http times the first request head of a connection and nothing else: one good request,
//! then one byte of the next, and the connection is held until the process ends; a thousand of
//! them, and nobody else gets in (facts/reliability.md §0.2). Here every wait has an end: for a
//! head, for the next request, for the client to take the answer. The body's is kept by the edge,
//! which can still answer 408.
//!
//! A stream between socket and actix, rather than a watchdog over file descriptors, because it
//! sees each byte as it comes and needs no second look at the socket.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::Sleep;

use crate::config::Edge;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::Phase;

// In this time a client takes all that is offered, or so many bytes of it. The kernel tells of room
// only when a third of a buffer of megabytes is free, so less patience would cut off steady readers.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
const WRITE_BYTES: usize = 64 << 10;
// What is read before requests are worked on. actix decodes all it is given: 128 KiB of bare
// requests would be thousands of them, in memory at once.
const READ_AT_ONCE: usize = 8 << 10;
// Requests that came with one read. Nobody who means well sends more at once than a browser would.
const PIPELINE: u32 = 32;
// From here on actix leaves what it has read undecoded until its queue is shorter.
const QUEUE: u32 = 16;
/// actix-http reckons its own deadlines from a clock that it reads every half second, so that they
/// come up to this much too soon; it is given this much more.
pub const COARSE_CLOCK: Duration = Duration::from_millis(500);
// How long the rest of a refused body is still read, so that its sender sees the refusal.
const LINGER: Duration = Duration::from_secs(1);
// actix answers 408 to a first head that does not come; that must not be cut off.
const GRACE: Duration = Duration::from_millis(1250);

/// What a connection is doing.
#[derive(Clone, Copy, Debug)]
enum Doing {
    /// Sending a request head, until then.
    Head(Instant),
    /// Being answered; the edge keeps the time.
    Request,
    /// Nothing, until then.
    Idle(Instant),
    /// Sending what nobody will read, until then.
    Closing(Instant),
}

/// The state of a connection, shared between its stream and the edge.
#[derive(Debug)]
pub struct Connection {
    doing: Cell<Doing>,
    pipelined: Cell<u32>,
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    head: Duration,
    idle: Duration,
}

impl Connection {
    /// A request head is complete. False when the last answer was given already: what actix had
    /// decoded by then is not to be worked on.
    pub fn request_begins(&self) -> bool {
        self.pipelined.set(self.pipelined.get() + 1);
        let goes_on = !matches!(self.doing.get(), Doing::Closing(_));
        if goes_on {
            self.doing.set(Doing::Request);
        }
        goes_on
    }

    /// Whether so many requests came with one read that this answer should be the last.
    pub fn is_flooded(&self) -> bool {
        self.pipelined.get() > PIPELINE
    }

    /// The answer is made; the next request may come.
    pub fn request_ends(&self) {
        self.doing.set(Doing::Idle(Instant::now() + self.limits.idle));
    }

    /// Some of an answer went out: the client is not idle while it takes it.
    fn answer_moves(&self) {
        if let Doing::Idle(_) = self.doing.get() {
            self.request_ends();
        }
    }

    /// The answer is the last: what else the client sends is not waited for. (The rest of a refused
    /// body may have no end, and actix would read on.)
    pub fn answer_is_last(&self) {
        if !matches!(self.doing.get(), Doing::Closing(_)) {
            self.doing.set(Doing::Closing(Instant::now() + LINGER));
        }
    }
}

/// Until when a client must take more than it did, and what it took so far.
#[derive(Clone, Copy, Debug)]
struct Stall {
    until: Instant,
    taken: usize,
}

impl Stall {
    fn begin() -> Self {
        Self { until: Instant::now() + WRITE_PATIENCE, taken: 0 }
    }
}

/// A TCP stream whose waits end.
#[derive(Debug)]
pub struct Watched {
    stream: TcpStream,
    connection: Rc<Connection>,
    // Made when something is first waited for, and moved only to an earlier moment: a deadline that
    // moves later, as each request's idle time does, is seen when the old one rings.
    timer: Option<Pin<Box<Sleep>>>,
    stalled: Option<Stall>,
    read: usize,
    metrics: Arc<Metrics>,
}

impl Watched {
    /// Watches `stream`.
    pub fn new(stream: TcpStream, edge: &Edge, metrics: Arc<Metrics>) -> Self {
        let limits = Limits { head: edge.head_timeout + GRACE, idle: edge.keep_alive + GRACE };
        let doing = Cell::new(Doing::Head(Instant::now() + limits.head));
        let connection = Rc::new(Connection { doing, pipelined: Cell::new(0), limits });
        Self { stream, connection, timer: None, stalled: None, read: 0, metrics }
    }

    /// The connection's state, for the edge.
    pub fn connection(&self) -> Rc<Connection> {
        Rc::clone(&self.connection)
    }

    /// Whether `deadline` has passed; if not, this task is woken when it does.
    fn is_over(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            timer.as_mut().reset(deadline);
        }
        false
    }

    fn close<T>(&self, phase: &'static str) -> Poll<io::Result<T>> {
        self.metrics.closed.get_or_create(&Phase { phase }).inc();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ends a connection whose client does not take its answers, or takes a byte now and then.
    fn watch_write(
        &mut self,
        written: Poll<io::Result<usize>>,
        offered: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(taken)) = written {
            if taken == offered {
                // What was not read meanwhile has woken nobody; nor does actix look again at what
                // it left undecoded while its queue was full.
                if self.stalled.take().is_some() || self.connection.pipelined.get() >= QUEUE {
                    self.connection.answer_moves();
                    cx.waker().wake_by_ref();
                }
            } else {
                let stall = self.stalled.get_or_insert_with(Stall::begin);
                stall.taken += taken;
                if stall.taken >= WRITE_BYTES {
                    *stall = Stall::begin();
                }
                self.connection.answer_moves();
            }
        }
        if written.is_ready() {
            return written;
        }
        let until = self.stalled.get_or_insert_with(Stall::begin).until;
        if self.is_over(until, cx) { self.close("write") } else { Poll::Pending }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Whoever takes no answers asks no more; the write that is taken at last wakes this task.
        if self.stalled.is_some() {
            return Poll::Pending;
        }
        if self.read >= READ_AT_ONCE {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.read = if read.is_ready() { self.read + buffer.filled().len() - before } else { 0 };
        if read.is_ready() {
            self.connection.pipelined.set(0);
        }
        match (read.is_ready(), self.connection.doing.get()) {
            (true, Doing::Idle(_)) => {
                let until = Instant::now() + self.connection.limits.head;
                self.connection.doing.set(Doing::Head(until));
                read
            }
            (true, Doing::Head(until)) if Instant::now() >= until => self.close("head"),
            (false, Doing::Head(until)) if self.is_over(until, cx) => self.close("head"),
            (true, Doing::Closing(until)) if Instant::now() >= until => self.close("body"),
            (false, Doing::Closing(until)) if self.is_over(until, cx) => self.close("body"),
            (false, Doing::Idle(until)) if self.is_over(until, cx) => self.close("idle"),
            _ => read,
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_write(written, bytes.len(), cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch_write(written, slices.iter().map(|slice| slice.len()).sum(), cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
