//! The listener: where it is, how many wait for it, how many connections it may have.

use std::net::SocketAddr;
use std::net::TcpListener;

use crate::app::StartError;
use crate::config;
use crate::domain::public_url::PublicUrl;

// Files that are not connections: the store, the log, the listener; and each worker's own.
const FILES_KEPT_BACK: u64 = 64;
const FILES_A_WORKER: u64 = 8;
const BACKLOG: i32 = 2048;

/// What a server that listens to this machine alone calls itself, as long as nobody says where Twilio
/// reaches it. (One that listens to others does not start with secrets of Twilio and no public URL.)
pub(super) fn local_urls(listener: &TcpListener) -> Vec<PublicUrl> {
    let Ok(address) = listener.local_addr() else { return Vec::new() };
    let urls = [format!("http://{address}"), format!("http://localhost:{}", address.port())];
    urls.iter().filter_map(|url| url.parse().ok()).collect()
}

pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(address).map_err(|why| StartError::Listen(address, why))?;
    // std's own queue of 128 is soon full when a proxy's clients all come back at once.
    rustix::net::listen(&listener, BACKLOG)
        .map_err(|why| StartError::Listen(address, why.into()))?;
    listener.set_nonblocking(true).map_err(|why| StartError::Listen(address, why))?;
    Ok(listener)
}

/// As many connections as are wanted and as the limit on open files allows, once raised as far as
/// it goes.
pub(super) fn connections(limits: &config::Edge) -> usize {
    use rustix::process::Resource::Nofile;
    let mut files = rustix::process::getrlimit(Nofile);
    files.current = files.maximum;
    // A limit that cannot be raised is the limit.
    let _ = rustix::process::setrlimit(Nofile, files);
    let allowed = rustix::process::getrlimit(Nofile).current.unwrap_or(u64::MAX);
    let workers = u64::try_from(limits.workers).unwrap_or(u64::MAX);
    let kept_back = FILES_KEPT_BACK.saturating_add(workers.saturating_mul(FILES_A_WORKER));
    let spare = allowed.saturating_sub(kept_back).max(1);
    limits.max_connections.min(usize::try_from(spare).unwrap_or(usize::MAX))
}
