//! [`Stop`]: who may ask a server to stop.

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::oneshot;

/// Asks a server to stop.
#[derive(Debug)]
pub enum Stop {
    /// SIGTERM drains first; SIGINT (Ctrl-C) does not; a second one of either ends the process.
    Signals,
    /// A test. True: without draining.
    When(oneshot::Receiver<bool>),
}

impl Stop {
    /// Waits until it is asked; true when there is nobody to drain for.
    pub(super) async fn asked(self) -> bool {
        match self {
            Self::When(asked) => asked.await.unwrap_or(true),
            Self::Signals => by_signal().await,
        }
    }
}

async fn by_signal() -> bool {
    let streams = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = streams else {
        tracing::error!("cannot listen for signals; only SIGKILL stops this server");
        return std::future::pending().await;
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
