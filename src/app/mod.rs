//! Builds everything once, and runs it until it is told to stop. The only room that knows all
//! others.

pub mod engines;
pub mod first_start;
mod linked;
mod listener;
mod parts;
mod shared;
pub mod shutdown;

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use actix_http::HttpService;
use actix_server::Server;
use actix_server::ServerBuilder;
use actix_service::ServiceFactoryExt;
use actix_service::boxed;
use actix_service::fn_service;
use actix_service::map_config;
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::channel;
use tokio::sync::oneshot;
use tracing_actix_web::TracingLogger;

use crate::app::first_start::Keys as StartKeys;
use crate::app::first_start::NoKeys;
use crate::app::linked::Linked;
use crate::app::listener::connections;
use crate::app::listener::listen;
use crate::app::listener::local_urls;
use crate::app::shared::Shared;
use crate::app::shutdown::Stop;
use crate::auth::api_key::KeyDoor;
use crate::auth::jwt::BadSigningKey;
use crate::auth::rates::Rates;
use crate::config::Settings;
use crate::config::StoreKind;
use crate::domain::api_key::KeyHash;
use crate::domain::clock::Clock;
use crate::http::access::AccessLog;
use crate::http::connection::COARSE_CLOCK;
use crate::http::connection::Watched;
use crate::http::edge;
use crate::http::health::Readiness;
use crate::http::pages::Pages;
use crate::http::span::RootSpan;
use crate::service::handoffs::Changed;
use crate::service::keys::Keys;
use crate::service::tasks::bring_up_to_date;
use crate::store::embedded::Embedded;
use crate::store::feed::Feed;
use crate::store::kv::Kv;
use crate::store::kv::StoreError;
use crate::store::memory::Memory;
use crate::store::record::StoredKey;
use crate::store::records::Records;
use crate::store::records::Sharing;
use crate::store::records::Store;
use crate::store::redis::Redis;
use crate::store::ring;
use crate::store::watch::Watchers;
use crate::telemetry::logging::Sink;
use crate::telemetry::metrics::Metrics;

use secrecy::ExposeSecret;

/// The embedded store's file in the data directory.
pub const STORE_FILE: &str = "baton.redb";
// Writes that tasks are still to be brought up to date with.
const CHANGES: usize = 4096;
// Memory for keys in use; a key takes a kilobyte.
const KEYS_L1_BYTES: u64 = 8 << 20;
// How old a key or a connector that memory answers for may be where others change them too. What is
// revoked on one machine is heard of on the others at once, and believed no longer than this if not.
const CREDENTIALS_FIRST: Duration = Duration::from_secs(1);
// For a store that others share to confirm the first writes.
const START_PATIENCE: Duration = Duration::from_secs(10);
// Threads that read the store's file. More would only wait for the same disk, each with its stack;
// tokio would start 512.
const READERS_A_WORKER: usize = 8;
// What in-flight requests may still take once the listener is closed; they have their own deadline.
const FINISH: Duration = Duration::from_secs(10);

/// Why a server did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// It cannot listen.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The data directory cannot be used.
    #[error("cannot use the data directory {0}: {1}")]
    DataDir(String, #[source] io::Error),
    /// Its keys cannot be had.
    #[error(transparent)]
    Keys(#[from] NoKeys),
    /// Its signing keys are none.
    #[error("BATON_SIGNING_KEYS: {0}")]
    SigningKeys(#[source] BadSigningKey),
    /// The store does not open.
    #[error("cannot open the store: {0}")]
    Store(#[from] StoreError),
}

/// A server that is bound and built, and not yet running.
#[derive(Debug)]
pub struct App {
    listener: TcpListener,
    settings: Settings,
    shared: Shared,
    changes: Receiver<Changed>,
    watchers: Arc<Watchers>,
    metrics: Arc<Metrics>,
    start_keys: StartKeys,
}

impl App {
    /// Binds, opens and builds. Blocks; opening a store takes milliseconds.
    pub fn build(settings: Settings, clock: Clock, log: Sink) -> Result<Self, StartError> {
        Self::build_over(settings, clock, log, |kv| kv)
    }

    /// The same, with `around` put around the engine: how tests make it slow or broken.
    pub fn build_over(
        settings: Settings,
        clock: Clock,
        log: Sink,
        around: impl FnOnce(Arc<dyn Kv>) -> Arc<dyn Kv>,
    ) -> Result<Self, StartError> {
        // First, so that a second server finds the port taken before it touches the store.
        let listener = listen(settings.listen)?;
        if !matches!(settings.store, StoreKind::Redis(_)) {
            let private = DirBuilder::new().recursive(true).mode(0o700).create(&settings.data_dir);
            private
                .map_err(|why| StartError::DataDir(settings.data_dir.display().to_string(), why))?;
        }
        let start_keys = StartKeys::find_or_make(&settings)?;
        let metrics = Arc::new(Metrics::new(log.dropped(), clock.now()));
        let watchers = Arc::<Watchers>::default();
        let (kv, sharing) = open_store(&settings, &clock, &metrics, &watchers)?;
        let kv = around(kv);
        let seal = Arc::new(start_keys.seal()?);
        block_on(patiently(|| ring::check(kv.as_ref(), &seal)))?;
        let store = Store {
            kv: Arc::clone(&kv),
            seal: Arc::clone(&seal),
            clock: clock.clone(),
            watchers: Arc::clone(&watchers),
            sharing,
        };
        let keys = Records::<StoredKey>::new(store.clone(), KEYS_L1_BYTES, metrics.look_ups("key"));
        let keys = Arc::new(keys.first_for(CREDENTIALS_FIRST));
        let linked = Linked::new(&settings, &store, local_urls(&listener), &metrics)?;
        let (requests, misses) = (settings.rate_requests, settings.rate_misses);
        let rates = Arc::new(Rates::new(requests, misses, clock.clone()));
        let admin = KeyHash::of(start_keys.admin_key.expose_secret());
        let marks = seal.derive(b"baton admin key marks")?;
        let doors = linked
            .doors(&settings, KeyDoor::new(Arc::clone(&keys), (admin, &marks), clock.clone()))?;
        let access = AccessLog::new(log, &seal.derive(b"baton access log ids")?);
        let edge = parts::edge(&settings, &linked, (doors, access), (&metrics, &rates));
        let (changed, changes) = channel(CHANGES);
        let handoffs = parts::handoffs(&settings, store, &linked, (&metrics, rates), changed);
        let handoffs = Arc::new(handoffs);
        let calls = linked.calls(Arc::clone(&handoffs), &metrics)?;
        let tasks = linked.tasks(&settings, Arc::clone(&handoffs), &metrics);
        let views = linked.view_links(&settings, Arc::clone(&handoffs));
        let console = linked.console(Arc::clone(&handoffs), &metrics);
        let connectors = linked.use_cases(&settings, Arc::clone(&keys));
        if settings.twilio.verifies() && settings.twilio.public_urls.is_empty() {
            let url = edge.twilio.public_url();
            tracing::warn!(
                url,
                "signatures are checked as if Twilio had asked for {url}; set BATON_PUBLIC_URL"
            );
        }
        let draining = Arc::clone(&edge.load.draining);
        let shared = Shared {
            edge: Data::new(edge),
            readiness: Data::new(Readiness { draining, store: kv }),
            handoffs: Data::from(handoffs),
            calls: Data::new(calls),
            tasks: Data::new(tasks),
            keys: Data::new(Keys::new(keys, clock)),
            connectors: Data::new(connectors),
            pages: Data::new(Pages::new(&settings.flex.frame_ancestors)),
            views: Data::new(views),
            console: Data::new(console),
        };
        Ok(Self { listener, settings, shared, changes, watchers, metrics, start_keys })
    }

    /// Where it listens; the real port when it was asked for port 0.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(self.settings.listen)
    }

    /// The keys it starts with.
    pub fn start_keys(&self) -> &StartKeys {
        &self.start_keys
    }

    /// Serves until `stop`: then `/readyz` turns 503 while requests are still taken for the drain
    /// time, in-flight requests finish, queued writes are committed, and it returns.
    pub async fn run(mut self, stop: Stop) -> io::Result<()> {
        let readiness = self.shared.readiness.clone();
        let drain = self.settings.drain;
        let watchers = Arc::clone(&self.watchers);
        let (connectors, every) = (self.shared.connectors.clone(), self.settings.twilio.retry);
        let handoffs = self.shared.handoffs.clone().into_inner();
        let tasks = self.shared.tasks.clone().into_inner();
        let (_, none) = channel(1);
        let changes = std::mem::replace(&mut self.changes, none);
        let server = self.serve()?;
        let handle = server.handle();
        let confirming = actix_web::rt::spawn(connectors.into_inner().confirm_links(every));
        let (stop_keeping, no_more) = oneshot::channel();
        let keeping = actix_web::rt::spawn(Arc::clone(&handoffs).keep_timelines(no_more));
        let updating = actix_web::rt::spawn(bring_up_to_date(tasks, changes));
        let stopping = async {
            let at_once = stop.asked().await;
            readiness.draining.store(true, Ordering::Release);
            // Readers who wait are answered at once with what there is, and nobody waits any more.
            watchers.close();
            if !at_once {
                tracing::info!(seconds = drain.as_secs(), "asked to stop; still taking requests");
                tokio::time::sleep(drain).await;
            }
            // Not awaited: the server itself is, below.
            drop(handle.stop(true));
        };
        // The server ends once it was stopped, or on a fault of its own: then nobody need ask.
        let mut server = std::pin::pin!(server);
        let outcome = tokio::select! {
            outcome = &mut server => outcome,
            () = stopping => server.await,
        };
        confirming.abort();
        updating.abort();
        drop(stop_keeping);
        let _ = tokio::time::timeout(FINISH, keeping).await;
        // What readers did in the last second.
        let _ = tokio::time::timeout(FINISH, handoffs.flush_timelines()).await;
        let store = Arc::clone(&readiness.store);
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        tracing::info!("stopped; everything acknowledged is stored");
        outcome.and(closed.map_err(io::Error::other))
    }

    /// What `HttpServer` does, with a stream of our own between socket and actix.
    fn serve(self) -> io::Result<Server> {
        let limits = self.settings.edge.clone();
        let builder = ServerBuilder::new()
            .workers(limits.workers)
            .max_concurrent_connections((connections(&limits) / limits.workers).max(1))
            .worker_max_blocking_threads(READERS_A_WORKER)
            .shutdown_timeout(FINISH.as_secs())
            .disable_signals();
        let shutdown = builder.graceful_shutdown_signal();
        let Self { listener, shared, metrics, .. } = self;
        let server = builder.listen("baton", listener, move || {
            let app = actix_web::App::new()
                .configure(|config| shared.clone().mount(config))
                .wrap(from_fn(edge::around))
                .wrap(TracingLogger::<RootSpan>::new());
            let shutdown = shutdown.clone();
            let http = HttpService::build()
                .graceful_shutdown_signal(move || {
                    let signal = shutdown.clone();
                    async move { signal.notified().await }
                })
                .keep_alive(limits.keep_alive + COARSE_CLOCK)
                .client_request_timeout(limits.head_timeout + COARSE_CLOCK)
                .client_disconnect_timeout(Duration::from_secs(1))
                .h1_allow_half_closed(false)
                .on_connect_ext(|stream: &Watched, extensions| {
                    extensions.insert(stream.connection());
                })
                .h1(map_config(app, |()| AppConfig::default()));
            let (limits, metrics) = (limits.clone(), Arc::clone(&metrics));
            fn_service(move |stream: TcpStream| {
                let watched = stream.set_nodelay(true).and_then(|()| stream.peer_addr());
                let watched = watched.map(|peer| (stream, peer));
                let (limits, metrics) = (limits.clone(), Arc::clone(&metrics));
                async move {
                    // A client that is gone already has nothing to be told.
                    let (stream, peer) = watched.map_err(|_gone| ())?;
                    Ok((Watched::new(stream, &limits, metrics), Some(peer)))
                }
            })
            // Boxed, or actix-server keeps room for a whole connection twice.
            .and_then(boxed::factory(http.map_err(|_connection_error| ())))
        })?;
        Ok(server.run())
    }
}

fn open_store(
    settings: &Settings,
    clock: &Clock,
    metrics: &Metrics,
    watchers: &Arc<Watchers>,
) -> Result<(Arc<dyn Kv>, Option<Sharing>), StoreError> {
    metrics.store.writable.set(1);
    let (clock, meter) = (clock.clone(), metrics.store.clone());
    Ok(match &settings.store {
        StoreKind::Memory => (Arc::new(Memory::new(clock)), None),
        StoreKind::Embedded => {
            let file = settings.data_dir.join(STORE_FILE);
            (Arc::new(Embedded::open(&file, clock, meter)?), None)
        }
        StoreKind::Redis(redis) => {
            let feed = Arc::new(Feed::new(Arc::clone(watchers)));
            let engine = Redis::open((**redis).clone(), clock, meter, Arc::clone(&feed))?;
            (Arc::new(engine), Some(Sharing { feed, stale: settings.stale }))
        }
    })
}

/// What a start needs of the store, which may be failing over just then.
async fn patiently<T, F>(work: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let end = Instant::now() + START_PATIENCE;
    loop {
        match work().await {
            Err(StoreError::NotConfirmed | StoreError::Busy) if Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            done => return done,
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    actix_web::rt::System::new().block_on(future)
}
