//! Settings as plain, checked data. Nothing here opens, connects or makes anything.
//!
//! [`raw::Raw`] is what was written, on the command line or in `BATON_*` variables; [`Settings`] is
//! what is used. Going from one to the other finds every fault before it reports any.

pub mod flex;
pub mod raw;
pub mod redis;
pub mod secret;
pub mod twilio;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretSlice;
use secrecy::SecretString;

use crate::config::flex::Flex;
use crate::config::raw::Raw;
use crate::config::redis::Redis;
use crate::config::secret::Secrets;
use crate::config::twilio::Given;
use crate::config::twilio::Twilio;

/// Where handoffs are kept.
#[derive(Clone, Debug)]
pub enum StoreKind {
    /// redb in the data directory.
    Embedded,
    /// This process's memory: gone when it ends.
    Memory,
    /// A Redis that other processes may share.
    Redis(Box<Redis>),
}

/// What the server runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where keys and the embedded store are.
    pub data_dir: PathBuf,
    /// Where handoffs are kept.
    pub store: StoreKind,
    /// The first admin key, when it is given and not made.
    pub admin_key: Option<SecretString>,
    /// The file it was given in, for the commands that are printed at the start.
    pub admin_key_file: Option<PathBuf>,
    /// The sealing ring, newest first, when it is given and not made.
    pub seal_keys: Option<Vec<SecretSlice<u8>>>,
    /// Signing keys (PKCS#8, Ed25519), newest first, when given and not made.
    pub signing_keys: Option<Vec<SecretSlice<u8>>>,
    /// What is logged.
    pub log: String,
    /// Bytes of handoffs kept in memory.
    pub l1_max_bytes: u64,
    /// How old what memory answers before a shared store is asked may be; zero: the store is asked first.
    pub l1_ttl: Duration,
    /// For how long memory answers when a shared store cannot.
    pub stale: Duration,
    /// How long a server that was told to stop still takes requests.
    pub drain: Duration,
    /// The life of a handoff whose writer does not say.
    pub default_ttl_seconds: u32,
    /// What it knows of Twilio.
    pub twilio: Twilio,
    /// What it knows of Flex.
    pub flex: Flex,
    /// Whether it keeps what happens to handoffs.
    pub timeline: bool,
    /// How it deals with connections and load.
    pub edge: Edge,
    /// Requests of one key, if they are limited.
    pub rate_requests: Option<Rate>,
    /// Different ids that one key asks for and misses, if they are limited.
    pub rate_misses: Option<Rate>,
}

/// So many a second in the long run, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

/// Limits on connections, requests and time.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Largest request body.
    pub max_body_bytes: usize,
    /// From a request's last byte to its answer.
    pub request_timeout: Duration,
    /// From the first byte of a request head to its last.
    pub head_timeout: Duration,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// Requests worked on at once.
    pub max_in_flight: usize,
    /// Reads that wait at once.
    pub max_waiting: usize,
    /// Open connections.
    pub max_connections: usize,
    /// Worker threads.
    pub workers: usize,
}

/// Everything that is wrong with the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} setting(s) to mend:", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for Faults {}

/// Shortest admin key, in characters.
pub const ADMIN_KEY_CHARACTERS: usize = 32;
/// Shortest life of a handoff, in seconds.
pub const MIN_TTL_SECONDS: u32 = 60;
/// Longest life of a handoff, in seconds: 30 days.
pub const MAX_TTL_SECONDS: u32 = 30 * 24 * 3600;

impl Settings {
    /// Checks what was written; reports all faults together.
    pub fn check(raw: &Raw) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let settings = Self::read(raw, &mut faults);
        match settings {
            Some(settings) if faults.0.is_empty() => Ok(settings),
            _ => Err(faults),
        }
    }

    fn read(raw: &Raw, faults: &mut Faults) -> Option<Self> {
        let listen = raw.listen.parse().ok().or_else(|| {
            faults.add("BATON_LISTEN must be an address and a port, such as 127.0.0.1:8080")
        });
        let secrets = secret::read(&raw.secrets, faults);
        let store = StoreKind::read(raw, &secrets, faults);
        let l1_ttl = faults.number("BATON_L1_TTL_MS", &raw.l1_ttl_ms, 0, 60_000);
        let stale = faults.number("BATON_STALE_SECONDS", &raw.stale_seconds, 0, 3600);
        let given = Given {
            listen,
            public_url: raw.public_url.as_deref().unwrap_or_default(),
            api_url: raw.twilio_api_url.trim(),
            retry: faults.number("BATON_TWILIO_RETRY_SECONDS", &raw.twilio_retry_seconds, 1, 3600),
            auth_tokens: secrets.auth_tokens,
            shared_keys: secrets.shared_keys,
        };
        let twilio = Twilio::read(&given, faults);
        let flex = Flex::read(raw, faults);
        let timeline = faults.switch("BATON_TIMELINE", &raw.timeline);
        let log = match tracing_subscriber::EnvFilter::try_new(&raw.log) {
            Ok(_) => Some(raw.log.clone()),
            Err(_) => faults.add(
                "BATON_LOG must be a level (error warn info debug trace) or a filter such as \
                 info,baton::access=off",
            ),
        };
        let l1_max_bytes = faults.number("BATON_L1_MAX_BYTES", &raw.l1_max_bytes, 0, u64::MAX);
        let drain = faults.number("BATON_DRAIN_SECONDS", &raw.drain_seconds, 0, 600);
        let ttl = faults.number(
            "BATON_DEFAULT_TTL_SECONDS",
            &raw.default_ttl_seconds,
            u64::from(MIN_TTL_SECONDS),
            u64::from(MAX_TTL_SECONDS),
        );
        let edge = Edge::read(raw, faults);
        StoreKind::check_time(store.as_ref(), edge.as_ref(), faults);
        let requests =
            faults.rate("BATON_RATE_REQUESTS", &raw.rate_requests, &raw.rate_requests_burst);
        let misses = faults.rate("BATON_RATE_MISSES", &raw.rate_misses, &raw.rate_misses_burst);
        Some(Self {
            listen: listen?,
            data_dir: PathBuf::from(&raw.data_dir),
            store: store?,
            admin_key: secrets.admin_key,
            admin_key_file: raw.secrets.admin_key_file.as_ref().map(PathBuf::from),
            seal_keys: secrets.seal_keys,
            signing_keys: secrets.signing_keys,
            log: log?,
            l1_max_bytes: l1_max_bytes?,
            l1_ttl: Duration::from_millis(l1_ttl?),
            stale: Duration::from_secs(stale?),
            drain: Duration::from_secs(drain?),
            default_ttl_seconds: u32::try_from(ttl?).ok()?,
            twilio,
            flex,
            timeline: timeline?,
            edge: edge?,
            rate_requests: requests?,
            rate_misses: misses?,
        })
    }
}

impl StoreKind {
    /// Whoever gives up before the store does never learns that it is silent.
    fn check_time(store: Option<&Self>, edge: Option<&Edge>, faults: &mut Faults) {
        if let (Some(Self::Redis(redis)), Some(edge)) = (store, edge)
            && redis.timeout >= edge.request_timeout
        {
            let shorter = "BATON_REDIS_TIMEOUT_MS must be less than BATON_REQUEST_TIMEOUT_MS";
            faults.0.push(shorter.to_owned());
        }
    }

    fn read(raw: &Raw, secrets: &Secrets, faults: &mut Faults) -> Option<Self> {
        match raw.store.trim() {
            "embedded" => Some(Self::Embedded),
            "memory" => Some(Self::Memory),
            store => {
                if store.contains("://") {
                    secrets.must_be_shared(faults);
                }
                let redis = Redis::read(raw, secrets.redis_password.clone(), faults);
                redis.map(|redis| Self::Redis(Box::new(redis)))
            }
        }
    }
}

impl Edge {
    fn read(raw: &Raw, faults: &mut Faults) -> Option<Self> {
        // 16 MiB: far past what any hop of a call takes, and still cheap to refuse.
        let body = faults.number("BATON_MAX_BODY_BYTES", &raw.max_body_bytes, 1024, 16 << 20);
        let request = faults.millis("BATON_REQUEST_TIMEOUT_MS", &raw.request_timeout_ms);
        let head = faults.millis("BATON_HEAD_TIMEOUT_MS", &raw.head_timeout_ms);
        let read = faults.millis("BATON_BODY_TIMEOUT_MS", &raw.body_timeout_ms);
        let idle = faults.number("BATON_KEEP_ALIVE_SECONDS", &raw.keep_alive_seconds, 1, 3600);
        let flight = faults.number("BATON_MAX_IN_FLIGHT", &raw.max_in_flight, 1, 1 << 20);
        let waiting = faults.number("BATON_MAX_WAITING", &raw.max_waiting, 0, 1 << 20);
        let open = faults.number("BATON_MAX_CONNECTIONS", &raw.max_connections, 1, 1 << 20);
        let workers = faults.number("BATON_WORKERS", &raw.workers, 0, 1024);
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Some(Self {
            max_body_bytes: usize::try_from(body?).ok()?,
            request_timeout: request?,
            head_timeout: head?,
            body_timeout: read?,
            keep_alive: Duration::from_secs(idle?),
            max_in_flight: usize::try_from(flight?).ok()?,
            max_waiting: usize::try_from(waiting?).ok()?,
            max_connections: usize::try_from(open?).ok()?,
            workers: match usize::try_from(workers?).ok()? {
                0 => cores(),
                some => some,
            },
        })
    }
}

impl Faults {
    fn add<T>(&mut self, fault: impl Into<String>) -> Option<T> {
        self.0.push(fault.into());
        None
    }

    fn switch(&mut self, name: &str, text: &str) -> Option<bool> {
        match text.trim() {
            "on" => Some(true),
            "off" => Some(false),
            _ => self.add(format!("{name} must be on or off")),
        }
    }

    fn number(&mut self, name: &str, text: &str, least: u64, most: u64) -> Option<u64> {
        match text.trim().parse() {
            Ok(number) if (least..=most).contains(&number) => Some(number),
            _ if most == u64::MAX => self.add(format!("{name} must be a number, {least} or more")),
            _ => self.add(format!("{name} must be a number from {least} to {most}")),
        }
    }

    /// A rate and its burst; `Some(None)` is no limit, by a rate of 0. A burst of 0 is a fault: it
    /// might be meant as the strictest limit, and there is none that is not a refusal of all.
    #[expect(clippy::option_option, reason = "no limit is a setting, a fault is none")]
    fn rate(&mut self, name: &str, rate: &str, burst: &str) -> Option<Option<Rate>> {
        // Beyond a thousand million a second there are no nanoseconds between two.
        let rate = self.number(name, rate, 0, 1_000_000_000);
        let burst = self.number(&format!("{name}_BURST"), burst, 1, 1_000_000_000);
        let number = |number: u64| u32::try_from(number).ok().map(NonZeroU32::new);
        let (per_second, burst) = (number(rate?)?, number(burst?)?);
        Some(per_second.zip(burst).map(|(per_second, burst)| Rate { per_second, burst }))
    }

    fn millis(&mut self, name: &str, text: &str) -> Option<Duration> {
        self.number(name, text, 10, 600_000).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        raw: Raw,
    }

    fn check(flags: &[&str]) -> Result<Settings, Faults> {
        let line = [&["baton"], flags].concat();
        Settings::check(&Line::try_parse_from(line).unwrap().raw)
    }

    #[test]
    fn with_no_settings_at_all_it_runs_on_the_embedded_store_on_loopback() {
        let settings = check(&[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert!(matches!(settings.store, StoreKind::Embedded));
        assert!(settings.admin_key.is_none() && settings.seal_keys.is_none());
        assert_eq!(settings.edge.max_body_bytes, 262_144);
    }

    #[test]
    fn all_faults_come_in_one_report() {
        let report =
            check(&["--listen", "here", "--store", "paper", "--workers", "-1", "--log", "a=b=c"])
                .unwrap_err()
                .to_string();
        assert_eq!(
            report,
            "4 setting(s) to mend:\n  \
             BATON_LISTEN must be an address and a port, such as 127.0.0.1:8080\n  \
             BATON_STORE must be embedded, memory, or a Redis: redis://host:6379, \
             redis+sentinel://host:26379,host:26379/mymaster or redis-cluster://host:6379,host:6379, \
             each also with rediss for TLS and user:password@ before the host\n  \
             BATON_LOG must be a level (error warn info debug trace) or a filter such as info,baton::access=off\n  \
             BATON_WORKERS must be a number from 0 to 1024"
        );
    }

    #[test]
    fn limits_hold_at_both_ends() {
        assert!(check(&["--default-ttl-seconds", "60"]).is_ok());
        assert!(check(&["--default-ttl-seconds", "59"]).is_err());
        assert!(check(&["--default-ttl-seconds", "2592000"]).is_ok());
        assert!(check(&["--default-ttl-seconds", "2592001"]).is_err());
    }
}
