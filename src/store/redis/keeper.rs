//! The keeper: finds out again and again who has what, whether each server answers, and hears what they
//! tell of writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use std::time::Instant;

use redis::PushInfo;
use redis::PushKind;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::redis::Address;
use crate::config::redis::Redis as Settings;
use crate::store::feed::Feed;
use crate::store::redis::dial::Dial;
use crate::store::redis::look;
use crate::store::redis::map;
use crate::store::redis::map::Found;
use crate::store::redis::map::Map;
use crate::store::redis::name::Names;
use crate::store::redis::node::Node;
use crate::store::redis::writer::QUEUE;
use crate::store::redis::writer::Writer;
use crate::telemetry::metrics::StoreMeter;

// How often every server is asked whether it is there.
const BEAT: Duration = Duration::from_millis(400);
// By how much the next answer may be late before what was heard is not believed any more.
const GRACE: Duration = Duration::from_millis(400);
// Between two complaints that are looked into.
const COMPLAINTS: Duration = Duration::from_millis(100);
// Beats until it is asked again who has what, if nobody complains before.
const BEATS_A_MAP: u32 = 3;

/// What everyone knows of the servers.
#[derive(Debug)]
pub(super) struct Known {
    map: RwLock<Arc<Map>>,
    // Of whom only a redirection tells: a server that is being given its first slots.
    strangers: Mutex<HashMap<Address, Arc<Node>>>,
    makes: Nodes,
    listeners: RwLock<HashMap<Address, MultiplexedConnection>>,
    complaint: Notify,
}

impl Known {
    /// Who has what, as far as is known.
    pub(super) fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The connection on which a server tells of writes.
    pub(super) fn listener(&self, at: &Address) -> Option<MultiplexedConnection> {
        self.listeners.read().unwrap_or_else(PoisonError::into_inner).get(at).cloned()
    }

    /// The node at an address that a server named.
    pub(super) fn at(&self, address: &Address) -> Arc<Node> {
        let map = self.map();
        if let Some(node) = map.nodes().iter().find(|node| node.address == *address) {
            return Arc::clone(node);
        }
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(strangers.entry(address.clone()).or_insert_with(|| self.makes.node(address)))
    }

    /// Something is not as it was thought to be: the keeper looks at once.
    pub(super) fn complain(&self) {
        self.complaint.notify_one();
    }
}

/// What nodes are made of; their writers run where the keeper does.
#[derive(Debug)]
struct Nodes {
    settings: Settings,
    dial: Arc<Dial>,
    meter: StoreMeter,
    runtime: Handle,
}

impl Nodes {
    fn node(&self, address: &Address) -> Arc<Node> {
        let (sender, jobs) = mpsc::channel(QUEUE);
        let turn = Arc::<AtomicU64>::default();
        let writer = Writer {
            address: address.clone(),
            dial: Arc::clone(&self.dial),
            jobs,
            turn: Arc::clone(&turn),
            replicas: self.settings.replicas,
            answers_in: self.settings.timeout,
            meter: self.meter.clone(),
        };
        self.runtime.spawn(writer.run());
        let dial = Arc::clone(&self.dial);
        Arc::new(Node::new(address.clone(), dial, self.settings.timeout, (turn, sender)))
    }
}

/// The keeper of the servers.
pub(super) struct Keeper {
    names: Names,
    feed: Arc<Feed>,
    known: Arc<Known>,
}

impl Keeper {
    /// Finds the servers for the first time.
    pub(super) async fn begin(
        settings: Settings,
        names: Names,
        feed: Arc<Feed>,
        meter: StoreMeter,
    ) -> Result<(Self, Arc<Known>), String> {
        let dial = Arc::new(Dial::new(settings.clone()));
        let found = map::find(&dial, &settings.topology, &[]).await?;
        let empty = Map::nobody();
        let makes = Nodes { settings, dial, meter, runtime: Handle::current() };
        let known = Arc::new(Known {
            map: RwLock::new(Arc::new(empty)),
            strangers: Mutex::default(),
            makes,
            listeners: RwLock::default(),
            complaint: Notify::new(),
        });
        let keeper = Self { names, feed, known: Arc::clone(&known) };
        keeper.replace(found);
        if keeper.beat().await {
            for node in known.map().nodes() {
                look::at(&known.makes.dial, &known.makes.settings, node).await?;
            }
            return Ok((keeper, known));
        }
        let map = known.map();
        let down = map.nodes().iter().find(|node| !node.is_up());
        let at = down.map(|node| node.address.to_string()).unwrap_or_default();
        Err(format!("Redis at {at} does not answer, or is no primary"))
    }

    /// Keeps at it for ever.
    pub(super) async fn keep(self) {
        let mut beats = 0;
        loop {
            let was_told = timeout(BEAT, self.known.complaint.notified()).await.is_ok();
            beats += 1;
            let all_is_well = self.beat().await;
            if was_told || !all_is_well || beats >= BEATS_A_MAP {
                beats = 0;
                self.look().await;
            }
            if was_told {
                // A thousand who complain at once are one.
                tokio::time::sleep(COMPLAINTS).await;
            }
        }
    }

    async fn look(&self) {
        let known: Vec<_> =
            self.known.map().nodes().iter().map(|node| node.address.clone()).collect();
        match map::find(&self.known.makes.dial, &self.known.makes.settings.topology, &known).await {
            Ok(found) if self.known.map().is_as(&found) => {}
            Ok(found) => {
                self.replace(found);
                self.beat().await;
            }
            Err(why) => tracing::warn!(why, "who keeps what in Redis cannot be found out"),
        }
    }

    fn replace(&self, found: Found) {
        let before = self.known.map();
        let map = Map::new(found, |address| {
            let there = before.nodes().iter().find(|node| node.address == *address);
            there.map_or_else(|| self.known.makes.node(address), Arc::clone)
        });
        let primaries: Vec<_> = map.nodes().iter().map(|node| node.address.to_string()).collect();
        tracing::info!(primaries = primaries.join(" "), "Redis");
        let is_gone = |at: &Address| !map.nodes().iter().any(|node| node.address == *at);
        let mut listeners = self.listeners();
        listeners.retain(|at, _| !is_gone(at));
        drop(listeners);
        *self.known.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
        self.known.strangers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.feed.lost();
    }

    /// Asks every server whether it is there; whether all are, and are primaries.
    async fn beat(&self) -> bool {
        let asked = Instant::now();
        let map = self.known.map();
        let mut asking = JoinSet::new();
        for node in map.nodes() {
            let (node, dial) = (Arc::clone(node), Arc::clone(&self.known.makes.dial));
            let kept = self.known.listener(&node.address);
            let heard = self.hearer(node.address.clone());
            let patience = self.known.makes.settings.timeout;
            asking.spawn(async move {
                let answered = ask(&dial, &node, kept, patience, heard).await;
                (node, answered)
            });
        }
        let mut all = true;
        while let Some(answered) = asking.join_next().await {
            let Ok((node, answered)) = answered else { continue };
            all &= answered.is_some();
            self.note(&node, answered);
        }
        self.known.makes.meter.writable.set(all.into());
        if all {
            self.feed.heard(asked, BEAT + GRACE);
        }
        all
    }

    fn note(&self, node: &Arc<Node>, answered: Option<(MultiplexedConnection, bool)>) {
        let is_up = answered.is_some();
        let mut listeners = self.listeners();
        let is_new = match answered {
            Some((connection, is_new)) => {
                listeners.insert(node.address.clone(), connection);
                is_new
            }
            None => listeners.remove(&node.address).is_some(),
        };
        drop(listeners);
        if is_new {
            node.begin_anew();
            self.feed.lost();
        }
        if node.set_up(is_up) {
            let address = &node.address;
            if is_up {
                tracing::info!(%address, "Redis answers again");
            } else {
                tracing::error!(%address, "Redis does not answer, or is no primary any more");
            }
        }
    }

    fn listeners(
        &self,
    ) -> std::sync::RwLockWriteGuard<'_, HashMap<Address, MultiplexedConnection>> {
        self.known.listeners.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to do with what a server tells.
    fn hearer(&self, at: Address) -> impl Fn(PushInfo) + Send + Sync + 'static {
        let (feed, names, known) =
            (Arc::clone(&self.feed), self.names.clone(), Arc::clone(&self.known));
        move |info| match (info.kind, info.data.as_slice()) {
            (PushKind::Invalidate, [Value::Array(keys)]) => {
                for key in keys {
                    if let Value::BulkString(name) = key
                        && let Some((_, key)) = names.read(name)
                    {
                        feed.written(&key);
                    }
                }
            }
            // Everything was flushed; or it is the end of the connection.
            (PushKind::Invalidate | PushKind::Disconnection, _) => {
                tracing::debug!(%at, "Redis tells of nothing more here");
                feed.lost();
                known.complain();
            }
            _ => {}
        }
    }
}

/// Asks a server whether it is there and a primary, on the connection on which it tells of writes; answers
/// that, and whether it is a new one.
async fn ask(
    dial: &Dial,
    node: &Node,
    kept: Option<MultiplexedConnection>,
    patience: Duration,
    heard: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Option<(MultiplexedConnection, bool)> {
    if let Some(mut kept) = kept {
        match timeout(patience, map::role(&mut kept)).await {
            Ok(Ok(role)) => return role.is_primary.then_some((kept, false)),
            // One that broke is made anew at once.
            Ok(Err(broken)) if !broken.is_timeout() => {}
            Ok(Err(_)) | Err(_) => return None,
        }
    }
    let begin = async {
        let mut connection = dial.listen(&node.address, patience, heard).await.ok()?;
        let mut track = redis::cmd("CLIENT");
        track.arg("TRACKING").arg("ON").arg("OPTIN");
        let () = track.query_async(&mut connection).await.ok()?;
        let role = map::role(&mut connection).await.ok()?;
        role.is_primary.then_some((connection, true))
    };
    timeout(patience, begin).await.unwrap_or(None)
}
