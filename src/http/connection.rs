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

// What a client may take to accept more of an answer.
const WRITE_STALL: Duration = Duration::from_secs(5);
/// actix-http reckons its own deadlines from a clock that it reads every half second, so that they
/// come up to this much too soon; it is given this much more.
pub const COARSE_CLOCK: Duration = Duration::from_millis(500);
// Long enough for a client that is still sending to read its refusal.
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
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    head: Duration,
    idle: Duration,
}

impl Connection {
    /// A request head is complete.
    pub fn request_begins(&self) {
        self.doing.set(Doing::Request);
    }

    /// The answer is made; the next request may come.
    pub fn request_ends(&self) {
        self.doing.set(Doing::Idle(Instant::now() + self.limits.idle));
    }

    /// The answer is a refusal, and the rest of the body may have no end: actix would read on and
    /// wait for it.
    pub fn request_was_refused(&self) {
        self.doing.set(Doing::Closing(Instant::now() + LINGER));
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
    stalled_until: Option<Instant>,
    metrics: Arc<Metrics>,
}

impl Watched {
    /// Watches `stream`.
    pub fn new(stream: TcpStream, edge: &Edge, metrics: Arc<Metrics>) -> Self {
        let limits = Limits { head: edge.head_timeout + GRACE, idle: edge.keep_alive + GRACE };
        let doing = Cell::new(Doing::Head(Instant::now() + limits.head));
        let connection = Rc::new(Connection { doing, limits });
        Self { stream, connection, timer: None, stalled_until: None, metrics }
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

    /// Ends a connection whose client does not take its answers: all that was offered within
    /// [`WRITE_STALL`], not a byte now and then.
    fn watch_write(
        &mut self,
        written: Poll<io::Result<usize>>,
        offered: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(taken)) if taken < offered => {
                self.stalled_until.get_or_insert_with(|| Instant::now() + WRITE_STALL);
                return written;
            }
            Poll::Ready(_) => {
                self.stalled_until = None;
                return written;
            }
            Poll::Pending => {}
        }
        let until = *self.stalled_until.get_or_insert_with(|| Instant::now() + WRITE_STALL);
        if self.is_over(until, cx) { self.close("write") } else { Poll::Pending }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
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
