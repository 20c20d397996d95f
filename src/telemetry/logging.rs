//! JSON lines on standard error, written off the request path.
//!
//! A line is appended to a buffer in memory and a thread of its own writes it out: a request never
//! waits for whoever reads the log. When that reader is so slow that the buffer is full, lines are
//! dropped and counted; the service goes on.

use std::collections::VecDeque;
use std::io;
use std::io::Write;
use std::panic;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::domain::clock::Clock;

const BUFFER_BYTES: usize = 8 << 20;
// Long enough to write many lines at once, short enough to watch.
const GATHER: Duration = Duration::from_millis(20);

/// Where log lines go.
#[derive(Clone, Debug, Default)]
pub struct Sink(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    // Only for the writer to sleep on while there is nothing to write.
    filled: Condvar,
    written: Condvar,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    writing: bool,
}

impl Sink {
    /// A sink whose lines `out` gets, on a thread of its own.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let sink = Self::default();
        let shared = Arc::clone(&sink.0);
        thread::Builder::new().name("baton-log".to_owned()).spawn(move || shared.write_out(out))?;
        Ok(sink)
    }

    /// Takes one whole line, newline included.
    pub fn line(&self, line: &[u8]) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.lines.len() + line.len() > BUFFER_BYTES {
            self.0.dropped.inc();
            return;
        }
        let first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if first {
            self.0.filled.notify_one();
        }
    }

    /// Waits until all lines taken so far are written, a second at most.
    pub fn flush(&self) {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = |w: &mut Waiting| !w.lines.is_empty() || w.writing;
        let _ = self.0.written.wait_timeout_while(waiting, Duration::from_secs(1), busy);
    }

    /// Lines dropped because nobody took them.
    pub fn dropped(&self) -> Counter {
        self.0.dropped.clone()
    }
}

impl Shared {
    fn write_out(&self, mut out: impl Write) {
        let mut lines = Vec::new();
        loop {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let empty = |w: &mut Waiting| w.lines.is_empty();
            let mut waiting =
                self.filled.wait_while(waiting, empty).unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut waiting.lines, &mut lines);
            waiting.writing = true;
            drop(waiting);
            // A log that cannot be written has nowhere to say so.
            let _ = out.write_all(&lines).and_then(|()| out.flush());
            lines.clear();
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).writing = false;
            self.written.notify_all();
            thread::sleep(GATHER);
        }
    }
}

impl Write for &Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'s> MakeWriter<'s> for Sink {
    type Writer = &'s Sink;

    fn make_writer(&'s self) -> Self::Writer {
        self
    }
}

/// Lets something be told so many times a second and no more, in any second.
#[derive(Debug)]
pub struct Seldom {
    most: usize,
    clock: Clock,
    told: Mutex<VecDeque<Duration>>,
}

impl Seldom {
    /// At most `most` times a second.
    pub fn new(most: usize, clock: Clock) -> Self {
        Self { most, clock, told: Mutex::default() }
    }

    /// Whether it may be told now; if so, it counts as told.
    pub fn may(&self) -> bool {
        let now = self.clock.running();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|at| now.saturating_sub(*at) < Duration::from_secs(1));
        let may = told.len() < self.most;
        if may {
            told.push_back(now);
        }
        may
    }
}

/// Sends this process's events to `sink` as JSON. A filter that does not parse logs at `info`.
pub fn install(filter: &str, sink: &Sink) {
    let mut filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // Its lines are about what strangers send: one an error, with nobody let in yet.
    if let Ok(quiet) = "actix_http=off".parse() {
        filter = filter.add_directive(quiet);
    }
    let events = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_env_filter(filter)
        .with_writer(sink.clone());
    // A second server in one process (as in tests) logs through the first one's subscriber.
    let _ = events.try_init();
}

/// Makes panics tell where but not what: a message may quote what was being worked on.
pub fn withhold_panics() {
    panic::set_hook(Box::new(|info| {
        let at = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "a task panicked; its message is withheld, for it may quote a payload");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    #[derive(Clone, Default)]
    struct Taken(Arc<Mutex<Vec<u8>>>);

    impl Write for Taken {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_taken_is_written_in_order() {
        let taken = Taken::default();
        let sink = Sink::start(taken.clone()).unwrap();
        let lines = (0..1000).map(|n| format!("line {n}\n")).collect::<Vec<_>>();
        for line in &lines {
            sink.line(line.as_bytes());
        }
        sink.flush();
        assert_eq!(String::from_utf8(taken.0.lock().unwrap().clone()).unwrap(), lines.concat());
    }

    #[test]
    fn what_is_told_seldom_is_told_so_often_in_any_second() {
        let clock = Clock::fixed(Timestamp::from_micros(0));
        let seldom = Seldom::new(2, clock.clone());
        assert!(seldom.may());
        clock.advance(Duration::from_millis(900));
        assert!(seldom.may() && !seldom.may());
        clock.advance(Duration::from_millis(100));
        assert!(seldom.may() && !seldom.may());
    }

    #[test]
    fn lines_nobody_takes_are_dropped_and_counted_and_nobody_waits() {
        let sink = Sink::default();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..10 {
            sink.line(&line);
        }
        assert_eq!(sink.dropped().get(), 2);
    }
}
