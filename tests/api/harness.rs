//! A server of a test's own, and a client that checks every answer against the contract.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use baton::app::App;
use baton::app::shutdown::Stop;
use baton::config::Settings;
use baton::config::raw::Raw;
use baton::domain::clock::Clock;
use baton::domain::clock::Timestamp;
use baton::store::kv::Kv;
use baton::telemetry::logging;
use baton::telemetry::logging::Sink;
use baton::telemetry::outbound;
use clap::Parser;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::contract;
use crate::own_redis::shared_store;

pub const SID: &str = "CA0123456789abcdef0123456789abcdef";

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    pub admin: String,
    pub clock: Clock,
    pub log: Log,
    folder: Option<Arc<TempDir>>,
    stop: Option<oneshot::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
}

/// What a server logged.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    raw: Raw,
}

impl Server {
    /// A server with the settings that a first start has.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A server with these flags besides.
    pub fn with(flags: &[&str]) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let start = Timestamp::from_micros(1_795_366_962_433_305);
        Self::on(&folder, Clock::fixed(start), flags)
    }

    /// A server with something around its engine, and these flags besides.
    pub fn over(
        around: impl FnOnce(Arc<dyn Kv>) -> Arc<dyn Kv> + Send + 'static,
        flags: &[&str],
    ) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let start = Timestamp::from_micros(1_795_366_962_433_305);
        Self::run(&folder, Clock::fixed(start), flags, around)
    }

    /// A server on a data directory that may have been used before.
    pub fn on(folder: &Arc<TempDir>, clock: Clock, flags: &[&str]) -> Self {
        Self::run(folder, clock, flags, |kv| kv)
    }

    fn run(
        folder: &Arc<TempDir>,
        clock: Clock,
        flags: &[&str],
        around: impl FnOnce(Arc<dyn Kv>) -> Arc<dyn Kv> + Send + 'static,
    ) -> Self {
        let data_dir = folder.path().to_str().unwrap();
        let base = ["baton", "--listen", "127.0.0.1:0", "--data-dir", data_dir, "--workers", "2"];
        let base = base.map(str::to_owned).into_iter().chain(shared_store(folder.path(), flags));
        let line = Line::parse_from(base.chain(flags.iter().map(|flag| (*flag).to_owned())));
        let settings = Settings::check(&line.raw).unwrap();
        let log = Log::default();
        let sink = Sink::start(log.clone()).unwrap();
        logging::install("info", &sink);
        let (stop, asked) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let server_clock = clock.clone();
        let thread = thread::spawn(move || {
            let app = App::build_over(settings, server_clock, sink.clone(), around).unwrap();
            tell.send(app.address()).unwrap();
            actix_web::rt::System::new().block_on(app.run(Stop::When(asked))).unwrap();
            sink.flush();
        });
        let address = told.recv().expect("the server starts");
        let admin = std::fs::read_to_string(folder.path().join("admin.key")).unwrap();
        Self {
            address,
            admin: admin.trim().to_owned(),
            clock,
            log,
            folder: Some(Arc::clone(folder)),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where its data is.
    pub fn folder(&self) -> Arc<TempDir> {
        Arc::clone(self.folder.as_ref().unwrap())
    }

    pub fn data_dir(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Asks it to stop; true: without draining.
    pub fn ask_to_stop(&mut self, at_once: bool) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(at_once);
        }
    }

    /// Waits until it has stopped.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ends well");
        }
    }

    /// The admin.
    pub fn admin(&self) -> Client {
        self.client(&self.admin)
    }

    /// A client with a key.
    pub fn client(&self, key: &str) -> Client {
        Client::new(self.address, Some(("x-api-key", key.to_owned())))
    }

    /// A client that presents nothing.
    pub fn nobody(&self) -> Client {
        Client::new(self.address, None)
    }

    /// A client with a header of its choice as its credential.
    pub fn presenting(&self, name: &'static str, value: impl Into<String>) -> Client {
        Client::new(self.address, Some((name, value.into())))
    }

    /// A client with a new key.
    pub async fn key(&self, wanted: Value) -> Client {
        let made = self.admin().post("/v1/keys", &wanted).await.ok(201);
        self.client(made["key"].as_str().unwrap())
    }

    /// A client of another account, with every scope.
    pub async fn stranger(&self) -> Client {
        let scopes = ["handoff:read", "handoff:write", "handoff:erase", "key:manage", "ops:read"];
        self.key(json!({ "account_id": "stranger", "scopes": scopes })).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ask_to_stop(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Someone who sends requests.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    credential: Option<(&'static str, String)>,
}

impl Client {
    fn new(address: SocketAddr, credential: Option<(&'static str, String)>) -> Self {
        Self { http: outbound::client(Duration::from_secs(20)).unwrap(), address, credential }
    }

    /// Sends a request and checks the answer against the contract.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let mut request =
            self.http.request(method.clone(), format!("http://{}{path}", self.address));
        if let Some((name, value)) = &self.credential {
            request = request.header(*name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let body = answer.bytes().await.unwrap().to_vec();
        let answer = Answer { status, headers, body };
        contract::check(&method, path, &answer);
        answer
    }

    /// Sends a request whose answer is not held to the contract: where there are very many.
    pub async fn bare(&self, method: Method, path: &str, body: Option<String>) -> (u16, Value) {
        self.bare_with(method, path, &[], body).await
    }

    pub async fn bare_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.http.request(method, url);
        for (name, value) in self.credential.iter().map(|(n, v)| (*n, v.as_str())) {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, None).await
    }

    pub async fn put(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send(Method::PUT, path, &[], Some(body.into())).await
    }

    pub async fn put_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        self.send(Method::PUT, path, headers, Some(body.into())).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body.to_string().into_bytes())).await
    }

    pub async fn patch(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send(Method::PATCH, path, &[], Some(body.into())).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], None).await
    }

    /// Reads the handoff of a call.
    pub async fn read(&self, id: &str) -> Answer {
        self.get(&format!("/v1/handoff_state?id={id}")).await
    }

    /// Writes the handoff of a call.
    pub async fn write(&self, id: &str, data: &str) -> Answer {
        self.put(&format!("/v1/handoff_state?id={id}"), format!("{{\"data\":{data}}}")).await
    }
}

/// An answer that keeps the contract.
#[derive(Debug)]
#[must_use]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn code(&self) -> String {
        self.json()["error_code"].as_str().unwrap_or_default().to_owned()
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// The text of an answer that must have this status.
    #[track_caller]
    pub fn ok_text(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.text());
        self.text()
    }

    /// The message of a refusal that must have this status and code.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> String {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text());
        self.json()["error_message"].as_str().unwrap().to_owned()
    }
}

impl Answer {
    /// Reads an answer off the wire, whole, and checks it against the contract.
    pub fn from_wire(method: &Method, path: &str, said: &str) -> Self {
        let (head, body) = said.split_once("\r\n\r\n").expect("a whole head");
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            let name = reqwest::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, value.parse().unwrap())
        };
        let headers = lines.map(header).collect();
        let answer = Self { status, headers, body: body.as_bytes().to_vec() };
        contract::check(method, path, &answer);
        answer
    }
}

/// Waits until something is so, for as long as anything here may take.
pub async fn until(is_so: impl AsyncFn() -> bool) {
    let started = std::time::Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < Duration::from_secs(20), "it did not come to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Server {
    /// Waits until a reader waits.
    pub async fn until_one_waits(&self) {
        let nobody = self.nobody();
        until(async || nobody.get("/metrics").await.text().contains("baton_reads_waiting 1")).await;
    }
}
