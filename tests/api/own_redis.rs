//! The Redis that is at hand, and one of a test's own, to be stopped, silenced and started again.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton::domain::random::random_text;
use tempfile::TempDir;

use crate::harness::until;

/// Settings of the Redis at hand, if there is one (`tests/run redis`): each data directory stands for a
/// store of its own, with keys as the first start would have made them.
#[expect(
    clippy::disallowed_methods,
    reason = "where the Redis is that a test runs against is no setting"
)]
pub fn shared_store(folder: &Path, flags: &[&str]) -> Vec<String> {
    let own = flags.iter().position(|flag| *flag == "--store").map(|at| flags[at + 1]);
    let Some(url) = own.map(str::to_owned).or_else(|| std::env::var("BATON_TEST_STORE").ok())
    else {
        return Vec::new();
    };
    if !url.contains("://") {
        return Vec::new();
    }
    let seal = random_text(32).unwrap();
    let keys = [("admin.key", "a1b2c3d4".repeat(8)), ("seal.key", STANDARD.encode(seal))];
    for (name, key) in keys {
        let file = folder.join(name);
        if !file.exists() {
            std::fs::write(&file, key).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    let prefix: String = folder.file_name().unwrap().to_string_lossy().replace('.', "t");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let set =
        |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let of_all = [
        ("--store", url),
        ("--redis-replicas", set("BATON_TEST_REPLICAS", "0")),
        ("--l1-ttl-ms", set("BATON_TEST_L1_TTL_MS", "0")),
    ];
    let of_all = of_all.into_iter().filter(|_| own.is_none());
    [
        ("--redis-prefix", prefix),
        ("--admin-key-file", path("admin.key")),
        ("--seal-keys-file", path("seal.key")),
    ]
    .into_iter()
    .chain(of_all)
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect()
}

/// A running redis-server.
pub struct OwnRedis {
    port: u16,
    folder: TempDir,
    of: Option<u16>,
    process: Option<Child>,
}

impl OwnRedis {
    /// A primary that keeps what it has.
    pub async fn start() -> Self {
        Self::run(None).await
    }

    /// A replica of another.
    pub async fn replica_of(primary: &Self) -> Self {
        let replica = Self::run(Some(primary.port)).await;
        until(async || {
            // Attached is not yet listening.
            primary.confirmed().await
        })
        .await;
        replica
    }

    async fn run(of: Option<u16>) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut own = Self { port, folder: tempfile::tempdir().unwrap(), of, process: None };
        own.go_on().await;
        own
    }

    /// Starts it again, with what it kept.
    pub async fn go_on(&mut self) {
        let port = self.port.to_string();
        let folder = self.folder.path().to_str().unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--dir", folder, "--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", "always", "--bind", "127.0.0.1", "--logfile", "log"]);
        command.args(["--repl-diskless-sync-delay", "0"]);
        if let Some(of) = self.of {
            command.args(["--replicaof", &format!("127.0.0.1 {of}")]);
        }
        let started = command.stdout(Stdio::null()).spawn().expect("redis-server is installed");
        self.process = Some(started);
        until(async || self.try_ask::<String>(&["PING"]).await.is_ok()).await;
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Has it neither answer nor go, until [`OwnRedis::speak`].
    pub fn be_silent(&self) {
        self.signal("-STOP");
    }

    pub fn speak(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }

    /// What it answers to a command.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).await.unwrap()
    }

    /// Whether its replica has all that it has.
    async fn confirmed(&self) -> bool {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut both = redis::pipe();
        both.cmd("SET").arg("attached").arg(1).ignore().cmd("WAIT").arg(1).arg(300);
        let (has,): (i64,) = both.query_async(&mut connection).await.unwrap();
        has == 1
    }

    async fn try_ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let asking = async {
            let mut connection = client.get_multiplexed_async_connection().await?;
            let mut command = redis::Cmd::new();
            for word in words {
                command.arg(*word);
            }
            command.query_async(&mut connection).await
        };
        tokio::time::timeout(Duration::from_secs(2), asking)
            .await
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            // Whoever is stopped is not killed by anything less.
            let _ = Command::new("kill").args(["-CONT", &process.id().to_string()]).status();
        }
        self.kill();
    }
}
