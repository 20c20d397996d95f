//! Where Redis is, and how it is dealt with.

use std::fmt;
use std::fs;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use crate::config::Faults;
use crate::config::raw::Raw;
use crate::config::secret;

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Its name or IP address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// How many servers there are, and how the one to be asked is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One primary.
    Standalone(Address),
    /// The primary that Sentinels name.
    Sentinel {
        /// The Sentinels.
        sentinels: Vec<Address>,
        /// What they call the primary.
        master: String,
    },
    /// A Redis Cluster; some of its servers.
    Cluster(Vec<Address>),
}

/// A Redis, or a Valkey.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Its servers.
    pub topology: Topology,
    /// Whether they speak TLS.
    pub is_tls: bool,
    /// The certificate authority that signed for them, in PEM, if it is not one of the system's.
    pub ca: Option<Vec<u8>>,
    /// The user, if not the default one.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// The database; a cluster has only 0.
    pub database: i64,
    /// What begins the name of every key.
    pub prefix: String,
    /// How many replicas must have a write before it is acknowledged.
    pub replicas: u32,
    /// What it may take to answer.
    pub timeout: Duration,
}

// Forms, so that a complaint shows how it is done.
const FORMS: &str = "BATON_STORE must be embedded, memory, or a Redis: redis://host:6379, \
     redis+sentinel://host:26379,host:26379/mymaster or redis-cluster://host:6379,host:6379, each also with \
     rediss for TLS and user:password@ before the host";

impl Redis {
    /// The Redis of `url`, and of the settings that go with one.
    pub fn at(raw: &Raw, url: &str) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let password = secret::read(&raw.secrets, &mut faults).redis_password;
        let raw = Raw { store: url.to_owned(), ..raw.clone() };
        let redis = Self::read(&raw, password, &mut faults);
        redis.filter(|_| faults.0.is_empty()).ok_or(faults)
    }

    /// Reads what was set; `None` with a fault when there is something to mend.
    pub(super) fn read(
        raw: &Raw,
        password: Option<SecretString>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let found = read_url(raw.store.trim());
        let prefix = Some(raw.redis_prefix.trim().to_owned())
            .filter(|prefix| is_prefix(prefix))
            .or_else(|| faults.add("BATON_REDIS_PREFIX must be 1 to 32 letters, digits, - . or _"));
        let replicas = faults.number("BATON_REDIS_REPLICAS", &raw.redis_replicas, 0, 16);
        let timeout = faults.millis("BATON_REDIS_TIMEOUT_MS", &raw.redis_timeout_ms);
        let ca = match &raw.redis_ca_file {
            None => Some(None),
            Some(file) => match fs::read(file) {
                Ok(pem) => Some(Some(pem)),
                Err(why) => faults.add(format!("BATON_REDIS_CA_FILE: cannot read {file}: {why}")),
            },
        };
        let Some(url) = found else { return faults.add(FORMS) };
        if url.password.is_some() && password.is_some() {
            return faults.add(
                "BATON_REDIS_PASSWORD is set, and BATON_STORE holds a password too; give one",
            );
        }
        Some(Self {
            topology: url.topology,
            is_tls: url.is_tls,
            ca: ca?,
            username: url.username,
            password: url.password.or(password),
            database: url.database,
            prefix: prefix?,
            replicas: u32::try_from(replicas?).ok()?,
            timeout: timeout?,
        })
    }
}

struct Url {
    topology: Topology,
    is_tls: bool,
    username: Option<String>,
    password: Option<SecretString>,
    database: i64,
}

/// Reads a URL; not the `url` crate's, for there may be several hosts.
fn read_url(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://")?;
    let (kind, is_tls) = match scheme {
        "redis" => ("", false),
        "rediss" => ("", true),
        "redis+sentinel" => ("sentinel", false),
        "rediss+sentinel" => ("sentinel", true),
        "redis-cluster" => ("cluster", false),
        "rediss-cluster" => ("cluster", true),
        _ => return None,
    };
    let (user, rest) =
        rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
    let (username, password) = match user {
        None => (None, None),
        Some(user) => {
            let (name, password) = user.split_once(':')?;
            let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(Into::into);
            let name: String = decoded(name)?;
            let password: String = decoded(password)?;
            (Some(name).filter(|name| !name.is_empty()), Some(password.into()))
        }
    };
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let default = if kind == "sentinel" { 26379 } else { 6379 };
    let addresses =
        hosts.split(',').map(|host| address(host, default)).collect::<Option<Vec<_>>>()?;
    let number = |text: &str| {
        if text.is_empty() { Some(0) } else { text.parse::<u16>().ok().map(i64::from) }
    };
    let (topology, database) = match kind {
        "sentinel" => {
            let (master, database) = path.split_once('/').unwrap_or((path, ""));
            let master = Some(master.to_owned()).filter(|master| !master.is_empty())?;
            (Topology::Sentinel { sentinels: addresses, master }, number(database)?)
        }
        "cluster" => {
            (Topology::Cluster(addresses), number(path).filter(|database| *database == 0)?)
        }
        _ => {
            let [address] = <[Address; 1]>::try_from(addresses).ok()?;
            (Topology::Standalone(address), number(path)?)
        }
    };
    Some(Url { topology, is_tls, username, password, database })
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn address(text: &str, default: u16) -> Option<Address> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_host =
        !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/?#@".contains(c));
    let port = port.map_or(Some(default), |port| port.parse().ok().filter(|port| *port != 0))?;
    is_host.then(|| Address { host: host.to_owned(), port })
}

fn is_prefix(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn every_form_is_read() {
        let at = |host: &str, port| Address { host: host.to_owned(), port };
        let url = read_url("rediss://ann:p%40ss@cache.example.com/3").unwrap();
        assert_eq!(url.topology, Topology::Standalone(at("cache.example.com", 6379)));
        assert_eq!((url.is_tls, url.database), (true, 3));
        assert_eq!(url.username.as_deref(), Some("ann"));
        assert_eq!(url.password.unwrap().expose_secret(), "p@ss");
        let url = read_url("redis+sentinel://:secret@a,b:1234/mymaster").unwrap();
        let sentinels = vec![at("a", 26379), at("b", 1234)];
        assert_eq!(url.topology, Topology::Sentinel { sentinels, master: "mymaster".to_owned() });
        assert_eq!((url.username, url.is_tls), (None, false));
        let url = read_url("redis-cluster://[::1]:7000,c").unwrap();
        assert_eq!(url.topology, Topology::Cluster(vec![at("::1", 7000), at("c", 6379)]));
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "redis://",
            "redis://a,b",
            "redis://a:0",
            "redis://a:b",
            "redis://a/x",
            "redis://user@a",
            "redis+sentinel://a:1",
            "redis-cluster://a/1",
            "http://a",
            "redis",
        ] {
            assert!(read_url(text).is_none(), "{text}");
        }
    }
}
