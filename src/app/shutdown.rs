//! [`Stop`]: who may ask a server to stop.

use std::io;

use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::oneshot;

/// Asks a server to stop.
#[derive(Debug)]
pub enum Stop {
    /// The process's signals; made by [`Stop::on_signals`].
    Signals {
        /// Drains first.
        terminate: Signal,
        /// Does not drain.
        interrupt: Signal,
    },
    /// A test. True: without draining.
    When(oneshot::Receiver<bool>),
}

impl Stop {
    /// SIGTERM drains first; SIGINT (Ctrl-C) does not; a second one of either ends the process. They
    /// are listened for from here on. Needs a tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self::Signals { terminate, interrupt })
    }

    /// Waits until it is asked; true when there is nobody to drain for.
    pub(super) async fn asked(self) -> bool {
        let (mut terminate, mut interrupt) = match self {
            Self::When(asked) => return asked.await.unwrap_or(true),
            Self::Signals { terminate, interrupt } => (terminate, interrupt),
        };
        let at_once = tokio::select! {
            _ = terminate.recv() => false,
            _ = interrupt.recv() => true,
        };
        actix_web::rt::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // What is acknowledged is stored already; nothing else is owed to anybody.
            std::process::exit(1);
        });
        at_once
    }
}
