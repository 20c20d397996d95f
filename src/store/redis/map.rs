//! [`Map`]: which server has which slot.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use redis::Cmd;
use redis::RedisError;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use crate::config::redis::Address;
use crate::config::redis::Topology;
use crate::store::redis::dial::Dial;
use crate::store::redis::fault::harmless;
use crate::store::redis::name::SLOTS;
use crate::store::redis::node::Node;

// For a server to say who has what.
const PATIENCE: Duration = Duration::from_millis(750);

/// Which server has which slot.
#[derive(Debug)]
pub(super) struct Map {
    nodes: Vec<Arc<Node>>,
    // Of each slot, its place in `nodes`; empty: there is one node, and it has all.
    slots: Vec<u16>,
}

/// Where primaries are, and which slots each has.
#[derive(Debug)]
pub(super) struct Found {
    primaries: Vec<Address>,
    slots: Vec<u16>,
}

const NOBODY: u16 = u16::MAX;

impl Map {
    /// A map of what was found; `node` gives the node of an address.
    pub(super) fn new(found: Found, mut node: impl FnMut(&Address) -> Arc<Node>) -> Self {
        Self { nodes: found.primaries.iter().map(&mut node).collect(), slots: found.slots }
    }

    /// A map without servers.
    pub(super) fn nobody() -> Self {
        Self { nodes: Vec::new(), slots: Vec::new() }
    }

    /// Who has a slot; `None`: nobody, at the moment.
    pub(super) fn node(&self, slot: u16) -> Option<&Arc<Node>> {
        let at = if self.slots.is_empty() { 0 } else { *self.slots.get(usize::from(slot))? };
        self.nodes.get(usize::from(at))
    }

    /// Every primary.
    pub(super) fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Whether keys of two slots can be changed by one script.
    pub(super) fn is_one_place(&self, one: u16, other: u16) -> bool {
        self.slots.is_empty() || one == other
    }

    /// Whether this is what was found, too.
    pub(super) fn is_as(&self, found: &Found) -> bool {
        self.slots == found.slots
            && self.nodes.iter().map(|node| &node.address).eq(found.primaries.iter())
    }
}

/// Asks who has what; of those that may be asked, the first that knows is believed.
pub(super) async fn find(
    dial: &Arc<Dial>,
    topology: &Topology,
    known: &[Address],
) -> Result<Found, String> {
    match topology {
        Topology::Standalone(address) => {
            Ok(Found { primaries: vec![address.clone()], slots: Vec::new() })
        }
        Topology::Sentinel { sentinels, master } => {
            named_by_sentinels(dial, sentinels, master).await
        }
        Topology::Cluster(seeds) => {
            let mut why = "no server of the cluster answers".to_owned();
            let mut asked = HashSet::new();
            for address in
                known.iter().chain(seeds).filter(|address| asked.insert((*address).clone()))
            {
                match slots(dial, address).await {
                    Ok(found) => return Ok(found),
                    Err(not) => why = format!("{address}: {not}"),
                }
            }
            Err(why)
        }
    }
}

/// The primary that was made so last, of those that Sentinels name: one that was cut off names the one
/// before.
async fn named_by_sentinels(
    dial: &Arc<Dial>,
    sentinels: &[Address],
    master: &str,
) -> Result<Found, String> {
    let mut asking = JoinSet::new();
    for sentinel in sentinels {
        let (dial, sentinel, master) = (Arc::clone(dial), sentinel.clone(), master.to_owned());
        asking.spawn(async move {
            let said = named_by(&dial, &sentinel, &master).await;
            said.map_err(|not| format!("the Sentinel {sentinel}: {}", harmless(&not)))
        });
    }
    let mut newest = None;
    let mut why = format!("no Sentinel knows a primary {master}");
    while let Some(said) = asking.join_next().await {
        match said {
            Ok(Ok(named)) => newest = newest.max(named),
            Ok(Err(not)) => why = not,
            Err(panicked) => why = panicked.to_string(),
        }
    }
    let (_, address) = newest.ok_or(why)?;
    Ok(Found { primaries: vec![address], slots: Vec::new() })
}

/// The primary that a Sentinel names, if it is one, and how often another was made so before.
async fn named_by(
    dial: &Dial,
    sentinel: &Address,
    master: &str,
) -> Result<Option<(u64, Address)>, RedisError> {
    let mut connection = dial.sentinel(sentinel, PATIENCE).await?;
    let mut asked = redis::cmd("SENTINEL");
    asked.arg("MASTER").arg(master);
    let known: HashMap<String, Value> = asked.query_async(&mut connection).await?;
    let said = |name: &str| known.get(name).and_then(text);
    let number = |name: &str| said(name)?.parse::<u64>().ok();
    let port = number("port").and_then(|port| u16::try_from(port).ok());
    let (Some(host), Some(port), Some(epoch)) = (said("ip"), port, number("config-epoch")) else {
        return Ok(None);
    };
    let address = Address { host, port };
    let mut connection = dial.connect(&address, PATIENCE).await?;
    Ok(role(&mut connection).await?.is_primary.then_some((epoch, address)))
}

/// What a server says it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role {
    /// A primary, and no replica.
    pub(super) is_primary: bool,
    /// Replicas that are attached to it.
    pub(super) replicas: usize,
}

pub(super) async fn role(connection: &mut MultiplexedConnection) -> Result<Role, RedisError> {
    let answer: Value = redis::cmd("ROLE").query_async(connection).await?;
    let Value::Array(parts) = answer else { return Ok(Role { is_primary: false, replicas: 0 }) };
    let is_primary = parts.first().and_then(text).is_some_and(|role| role == "master");
    let replicas = match parts.get(2) {
        Some(Value::Array(replicas)) => replicas.len(),
        _ => 0,
    };
    Ok(Role { is_primary, replicas })
}

/// What a cluster's server knows of the slots. One that was cut off from the others says so and is not
/// believed.
async fn slots(dial: &Dial, at: &Address) -> Result<Found, String> {
    let said = |error: RedisError| harmless(&error);
    let mut connection = dial.connect(at, PATIENCE).await.map_err(said)?;
    let info: String =
        cmd(&["CLUSTER", "INFO"]).query_async(&mut connection).await.map_err(said)?;
    if !info.contains("cluster_state:ok") {
        return Err("it says that the cluster is down".to_owned());
    }
    let answer: Value =
        cmd(&["CLUSTER", "SLOTS"]).query_async(&mut connection).await.map_err(said)?;
    read_slots(&answer, at).ok_or_else(|| "what it says of its slots cannot be read".to_owned())
}

fn cmd(words: &[&str]) -> Cmd {
    let mut cmd = Cmd::new();
    for word in words {
        cmd.arg(*word);
    }
    cmd
}

fn read_slots(answer: &Value, asked: &Address) -> Option<Found> {
    let Value::Array(ranges) = answer else { return None };
    let mut found = Found { primaries: Vec::new(), slots: vec![NOBODY; usize::from(SLOTS)] };
    for range in ranges {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(from), Value::Int(to), Value::Array(primary), ..] = parts.as_slice() else {
            return None;
        };
        let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
        // A server that does not know its own name is where it was found.
        let host = text(host)
            .filter(|host| !host.is_empty() && host != "?")
            .unwrap_or_else(|| asked.host.clone());
        let address = Address { host, port: u16::try_from(*port).ok()? };
        let known = found.primaries.iter().position(|known| *known == address);
        let at = known.unwrap_or_else(|| {
            found.primaries.push(address);
            found.primaries.len() - 1
        });
        let range = usize::try_from(*from).ok()?..=usize::try_from(*to).ok()?;
        found.slots.get_mut(range)?.fill(u16::try_from(at).ok()?);
    }
    Some(found)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_a_cluster_are_read() {
        let server = |host: &str, port| {
            Value::Array(vec![
                Value::BulkString(host.into()),
                Value::Int(port),
                Value::BulkString(b"id".to_vec()),
            ])
        };
        let range = |from, to, primary| {
            Value::Array(vec![Value::Int(from), Value::Int(to), primary, server("replica", 1)])
        };
        let asked = Address { host: "asked".to_owned(), port: 1 };
        let answer = Value::Array(vec![
            range(0, 99, server("a", 7)),
            range(100, 100, server("", 8)),
            range(200, 16383, server("a", 7)),
        ]);
        let found = read_slots(&answer, &asked).unwrap();
        let address = |host: &str, port| Address { host: host.to_owned(), port };
        assert_eq!(found.primaries, [address("a", 7), address("asked", 8)]);
        assert_eq!((found.slots[99], found.slots[100], found.slots[101]), (0, 1, NOBODY));
        assert_eq!(found.slots[16383], 0);
        assert!(read_slots(&Value::Nil, &asked).is_none());
        assert!(read_slots(&Value::Array(vec![range(0, 16384, server("a", 7))]), &asked).is_none());
    }
}
