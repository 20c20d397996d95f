//! What an operator should know of the servers, looked up once at the start. What the user may not ask is
//! passed over.

use redis::Value;
use redis::aio::MultiplexedConnection;

use crate::config::redis::Redis as Settings;
use crate::config::redis::Topology;
use crate::store::redis::dial::Dial;
use crate::store::redis::fault::harmless;
use crate::store::redis::map;
use crate::store::redis::node::Node;

// The first that has all that is asked of it.
const OLDEST: u32 = 7;

/// Refuses a server that is too old; warns of what may lose what was acknowledged.
pub(super) async fn at(dial: &Dial, settings: &Settings, node: &Node) -> Result<(), String> {
    let failed = |error| harmless(&error);
    let mut connection = dial.connect(&node.address, settings.timeout).await.map_err(failed)?;
    let info: String = redis::cmd("INFO").query_async(&mut connection).await.map_err(failed)?;
    let version = field(&info, "redis_version").unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < OLDEST) {
        return Err(format!(
            "Redis at {} is {version}; it must be {OLDEST} or newer",
            node.address
        ));
    }
    let fsync = setting(&mut connection, "appendfsync").await;
    let replicas = may_become_primary(dial, settings, &mut connection).await;
    for warning in warnings(settings, &info, fsync.as_deref(), replicas) {
        tracing::warn!(address = %node.address, "{warning}");
    }
    Ok(())
}

/// What may lose what was acknowledged.
fn warnings(
    settings: &Settings,
    info: &str,
    fsync: Option<&str>,
    replicas: Option<u32>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let wanted = settings.replicas;
    if field(info, "aof_enabled") == Some("0") {
        warnings.push(
            "Redis keeps no append-only file: what was acknowledged is lost when it stops. Set appendonly yes".to_owned(),
        );
    } else if wanted == 0 && fsync.is_some_and(|fsync| fsync != "always") {
        warnings.push(
            "Redis syncs its file once a second or less: what was acknowledged in the last one is lost when its machine stops. Set appendfsync always, or have replicas confirm with BATON_REDIS_REPLICAS".to_owned(),
        );
    }
    if let Some(replicas) = replicas.filter(|replicas| *replicas > wanted) {
        warnings.push(format!(
            "{replicas} replicas may become primary and BATON_REDIS_REPLICAS is {wanted}: one that lacks an acknowledged write may be chosen. Set it to {replicas}, or replica-priority 0 on the others"
        ));
    }
    let evicts = field(info, "maxmemory_policy").is_some_and(|policy| policy != "noeviction");
    if evicts && field(info, "maxmemory").is_some_and(|bytes| bytes != "0") {
        warnings.push(
            "Redis evicts keys when its memory is full, and handoffs with them. Set maxmemory-policy noeviction".to_owned(),
        );
    }
    warnings
}

fn field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

async fn setting(connection: &mut MultiplexedConnection, name: &str) -> Option<String> {
    let asked = redis::cmd("CONFIG").arg("GET").arg(name).query_async(connection).await;
    asked
        .ok()
        .and_then(|found: Vec<(String, String)>| found.into_iter().next())
        .map(|(_, value)| value)
}

/// How many replicas may be made primary: Sentinels know which may not.
async fn may_become_primary(
    dial: &Dial,
    settings: &Settings,
    connection: &mut MultiplexedConnection,
) -> Option<u32> {
    let attached = map::role(connection).await.ok()?.replicas;
    let attached = u32::try_from(attached).ok()?;
    let Topology::Sentinel { sentinels, master } = &settings.topology else {
        return Some(attached);
    };
    let mut sentinel = dial.sentinel(sentinels.first()?, settings.timeout).await.ok()?;
    let mut asked = redis::cmd("SENTINEL");
    asked.arg("REPLICAS").arg(master);
    let known: Vec<Vec<(String, Value)>> = asked.query_async(&mut sentinel).await.ok()?;
    let never = |replica: &Vec<(String, Value)>| {
        let priority = replica.iter().find(|(name, _)| name == "slave-priority");
        matches!(priority, Some((_, Value::BulkString(bytes))) if bytes == b"0")
    };
    Some(u32::try_from(known.iter().filter(|replica| !never(replica)).count()).ok()?.min(attached))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::redis::Address;

    #[test]
    fn what_may_lose_writes_is_warned_of() {
        let settings = |replicas| Settings {
            topology: Topology::Standalone(Address { host: "r".to_owned(), port: 1 }),
            is_tls: false,
            ca: None,
            username: None,
            password: None,
            database: 0,
            prefix: "baton".to_owned(),
            replicas,
            timeout: std::time::Duration::from_secs(1),
        };
        let info = |aof: u8, policy: &str| {
            format!(
                "redis_version:7.0.15\r\naof_enabled:{aof}\r\nmaxmemory:9\r\nmaxmemory_policy:{policy}\r\n"
            )
        };
        let words = |replicas, aof, policy: &str, fsync, attached| {
            warnings(&settings(replicas), &info(aof, policy), fsync, attached).join(" ")
        };
        assert_eq!(words(2, 1, "noeviction", Some("everysec"), Some(2)), "");
        assert_eq!(words(0, 1, "noeviction", Some("always"), Some(0)), "");
        assert!(words(0, 1, "noeviction", Some("everysec"), None).contains("appendfsync always"));
        assert!(words(1, 0, "noeviction", None, None).contains("appendonly yes"));
        assert!(words(1, 1, "noeviction", None, Some(2)).contains("BATON_REDIS_REPLICAS is 1"));
        assert!(words(1, 1, "allkeys-lru", None, None).contains("noeviction"));
    }
}
