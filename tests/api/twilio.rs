//! Twilio's door: what a signature opens, and what it costs to be refused.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use baton::domain::algorithm::Algorithm;
use baton::twilio::form::Pairs;
use baton::twilio::signature;
use baton::twilio::signature::Secret;
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::Answer;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;

pub const ACCOUNT: &str = "AC11111111111111111111111111111111";
pub const OTHER: &str = "AC22222222222222222222222222222222";
pub const PUBLIC: &str = "https://voice.example.com";
pub const STUDIO: &str = "/twilio/studio/handoff";
const CHECK: &str = "/twilio/check";
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Settings that a server verifies signatures with, and the folder they are in.
pub struct Twilio {
    _folder: TempDir,
    flags: Vec<String>,
}

impl Twilio {
    pub fn new(public_url: &str, tokens: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let shared = format!("{ACCOUNT}:webhooks_sharedkey_1:HMAC_SHA256=shared");
        let flags = vec![
            "--public-url".to_owned(),
            public_url.to_owned(),
            "--twilio-auth-tokens-file".to_owned(),
            file("tokens", tokens),
            "--twilio-shared-keys-file".to_owned(),
            file("keys", &shared),
        ];
        Self { _folder: folder, flags }
    }

    pub fn flags<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        self.flags.iter().map(String::as_str).chain(more.iter().copied()).collect()
    }
}

pub fn server_with(more: &[&str]) -> (Server, Twilio) {
    let twilio = Twilio::new(PUBLIC, &format!("{ACCOUNT}=current,old {OTHER}=other"));
    (Server::with(&twilio.flags(more)), twilio)
}

pub fn server() -> (Server, Twilio) {
    server_with(&[])
}

pub fn sign(token: &str, url: &str, form: &str) -> String {
    let secret = Secret::new("", Algorithm::HmacSha1, token);
    signature::sign(&secret, url, &Pairs::decode(form.as_bytes()))
}

/// A GET that Twilio signed.
pub async fn get(client: &Client, token: &str, target: &str) -> Answer {
    let signature = sign(token, &format!("{PUBLIC}{target}"), "");
    client.get_with(target, &[("x-twilio-signature", &signature)]).await
}

/// A form that Twilio signed.
pub async fn post(client: &Client, token: &str, target: &str, form: &str) -> Answer {
    let signature = sign(token, &format!("{PUBLIC}{target}"), form);
    let headers = [("x-twilio-signature", signature.as_str()), ("content-type", FORM)];
    client.send(Method::POST, target, &headers, Some(form.as_bytes().to_vec())).await
}

fn refused_bare(answer: &Answer) {
    assert_eq!((answer.status, answer.text()), (403, ""));
}

#[tokio::test]
async fn a_webhook_is_let_in_by_the_signature_of_its_account_and_by_nothing_else() {
    let (server, _twilio) = server();
    let nobody = server.nobody();
    let form = format!("AccountSid={ACCOUNT}&CallSid={SID}&From=%2B15551234567");
    for token in ["current", "old"] {
        let answer = post(&nobody, token, CHECK, &form).await;
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("<Say>"), "{}", answer.text());
    }
    get(&nobody, "current", &format!("{CHECK}?{form}")).await.ok_text(200);
    // Another account's token, no account, twice the same, no form; an API key opens nothing here.
    refused_bare(&post(&nobody, "other", CHECK, &form).await);
    refused_bare(&post(&nobody, "current", CHECK, &form.replace(ACCOUNT, OTHER)).await);
    refused_bare(&post(&nobody, "current", CHECK, &format!("CallSid={SID}")).await);
    refused_bare(&post(&nobody, "current", CHECK, &format!("{form}&CallSid={SID}")).await);
    refused_bare(&post(&nobody, "current", &format!("{CHECK}?CallSid={SID}"), &form).await);
    refused_bare(&server.admin().get(CHECK).await);
    let body = format!("{{\"AccountSid\":\"{ACCOUNT}\"}}");
    let target = format!("{CHECK}?bodySHA256={}", signature::body_hash(body.as_bytes()));
    let signature = sign("current", &format!("{PUBLIC}{target}"), "");
    let headers =
        [("x-twilio-signature", signature.as_str()), ("content-type", "application/json")];
    let answer = nobody.send(Method::POST, &target, &headers, Some(body.into_bytes())).await;
    refused_bare(&answer);
    let metrics = nobody.get("/metrics").await.text().to_owned();
    assert!(metrics.contains("baton_twilio_signatures_total{outcome=\"verified\"} 2"), "{metrics}");
    assert!(metrics.contains("baton_twilio_signatures_total{outcome=\"verified_previous\"} 1"));
    assert!(metrics.contains("baton_twilio_signatures_total{outcome=\"refused\"} 7"));
}

/// What the server says to a head, with a body that is never sent.
fn said_to(server: &Server, method: &str, target: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: voice.example.com\r\nContent-Type: {FORM}\r\nContent-Length: 100\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut said = vec![0; 4096];
    let read = stream.read(&mut said).unwrap();
    String::from_utf8_lossy(&said[..read]).into_owned()
}

#[test]
fn a_webhook_without_one_possible_signature_is_refused_before_its_body_is_read() {
    let (server, _twilio) = server();
    let good = sign("current", &format!("{PUBLIC}{CHECK}"), "");
    let header = |value: &str| format!("X-Twilio-Signature: {value}\r\n");
    for headers in [
        String::new(),
        header(""),
        header("x"),
        header(&good[1..]),
        header(&format!("{good},{good}")),
        header(&good) + &header(&good),
        header("") + &header(&good),
    ] {
        let started = Instant::now();
        let said = said_to(&server, "POST", CHECK, &headers);
        assert!(said.starts_with("HTTP/1.1 403 "), "{headers}: {said}");
        assert!(said.ends_with("\r\n\r\n"), "a body: {said}");
        assert!(started.elapsed() < Duration::from_secs(2), "{headers}: it waited for the body");
    }
    // The same head with one signature is read on.
    let (quick, _twilio) = server_with(&["--body-timeout-ms", "300"]);
    let said = said_to(&quick, "POST", CHECK, &header(&good));
    assert!(said.starts_with("HTTP/1.1 408 ") && said.ends_with("\r\n\r\n"), "{said}");
}

#[tokio::test]
async fn a_webhooks_body_is_64_kilobytes_at_most() {
    let (server, _twilio) = server();
    let nobody = server.nobody();
    let fixed = format!("AccountSid={ACCOUNT}&x=");
    let fits = format!("{fixed}{}", "x".repeat(64 * 1024 - fixed.len()));
    post(&nobody, "current", CHECK, &fits).await.ok_text(200);
    let answer = post(&nobody, "current", CHECK, &format!("{fits}x")).await;
    assert_eq!((answer.status, answer.text()), (413, ""));
    let studio = format!("id={SID}&x={}", "x".repeat(64 * 1024));
    post(&nobody, "current", STUDIO, &studio).await.refused(413, "BODY_TOO_LARGE");
}

#[tokio::test]
async fn a_webhook_is_refused_where_no_token_is_set() {
    let server = Server::start();
    let form = format!("AccountSid={ACCOUNT}");
    let signature = sign("", &format!("http://{}{CHECK}", server.address), &form);
    let headers = [("x-twilio-signature", signature.as_str()), ("content-type", FORM)];
    let body = Some(form.into_bytes());
    refused_bare(&server.nobody().send(Method::POST, CHECK, &headers, body).await);
    // The Studio route is then opened by keys alone, and the signature that Twilio adds is no key.
    let target = format!("{STUDIO}?id={SID}");
    get(&server.nobody(), "current", &target).await.refused(401, "MISSING_CREDENTIALS");
    server.admin().get(&format!("{target}&wait=0")).await.ok(200);
}

#[tokio::test]
async fn a_shared_key_signs_as_it_is_configured() {
    let (server, _twilio) = server();
    let target = format!("{STUDIO}?id={SID}&wait=0");
    let secret = Secret::new("", Algorithm::HmacSha256, "shared");
    let good = signature::sign(&secret, &format!("{PUBLIC}{target}"), &Pairs::default());
    let ask = async |settings: &str| {
        let settings = ("x-twilio-webhooks-signature-settings", settings);
        server.nobody().get_with(&target, &[("x-twilio-signature", &good), settings]).await
    };
    ask("key=webhooks_sharedkey_1,algorithm=HMAC_SHA256").await.ok(200);
    for other in [
        "key=webhooks_sharedkey_2,algorithm=HMAC_SHA256",
        "key=webhooks_sharedkey_1,algorithm=HMAC_SHA1",
        "key=webhooks_sharedkey_1,algorithm=none",
        "algorithm=HMAC_SHA256",
        "",
    ] {
        ask(other).await.refused(401, "INVALID_SIGNATURE");
    }
}

#[tokio::test]
async fn a_request_of_very_many_parameters_is_not_looked_at() {
    let (server, _twilio) = server();
    let nobody = server.nobody();
    let many = |count: usize| format!("AccountSid={ACCOUNT}{}", "&a".repeat(count - 1));
    post(&nobody, "current", CHECK, &many(1000)).await.ok_text(200);
    let answer = post(&nobody, "current", CHECK, &many(1001)).await;
    assert_eq!((answer.status, answer.text()), (413, ""));
    post(&nobody, "current", &format!("{STUDIO}?a&b"), &many(999))
        .await
        .refused(413, "BODY_TOO_LARGE");
    let started = Instant::now();
    let signature = "A".repeat(28);
    let headers = [("x-twilio-signature", signature.as_str()), ("content-type", FORM)];
    for _ in 0..20 {
        let body = Some("a&".repeat(32_000).into_bytes());
        let target = format!("{CHECK}?a&b&c&d&e");
        let answer = nobody.send(Method::POST, &target, &headers, body).await;
        assert_eq!(answer.status, 413);
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn strangers_whose_bodies_never_come_keep_nobody_else_out() {
    let (server, _twilio) = server_with(&["--max-in-flight", "4"]);
    let head = format!(
        "POST {CHECK} HTTP/1.1\r\nHost: h\r\nX-Twilio-Signature: {}\r\nContent-Length: 10\r\n\r\n",
        "A".repeat(28)
    );
    let stranger = || {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
        stream
    };
    let _strangers = [stranger(), stranger(), stranger(), stranger()];
    let nobody = server.nobody();
    while !nobody.get("/metrics").await.text().contains("webhook_bodies_unproven 4\n") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The fifth is told that there are too many such bodies.
    let mut said = [0; 12];
    stranger().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"HTTP/1.1 503");
    server.admin().read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
    server.admin().write(SID, "{}").await.ok(201);
}

/// The recorded vectors have paths of their own: each is sent to the path that is there, signed anew
/// over what it was signed over but for that path. Their recorded signatures are checked in
/// tests/cli, through `baton sign check`.
#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_vectors_over_http() {
    // At once, for a call that nobody wrote about is waited for.
    let mut all = tokio::task::JoinSet::new();
    for line in include_str!("../vectors/twilio-signature.jsonl").lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let url = vector["url"].as_str().unwrap();
        if vector["actix_reachable"] != false && !url.contains('@') && url.is_ascii() {
            all.spawn(over_http(vector));
        }
    }
    assert!(all.len() >= 40, "{}", all.len());
    all.join_all().await;
}

async fn over_http(vector: Value) {
    let (origin, target) = moved(vector["url"].as_str().unwrap());
    let token = vector["auth_token"].as_str().unwrap();
    let pairs: Pairs = vector["params"].as_array().into_iter().flatten().map(pair).collect();
    let over = vector["signed_url"].as_str().map(moved).map(|(origin, target)| origin + &target);
    let secret = Secret::new("", Algorithm::HmacSha1, token);
    let signature = over.map(|over| signature::sign(&secret, &over, &pairs));
    let signature = signature.or_else(|| vector["signature"].as_str().map(str::to_owned));
    let twilio = Twilio::new(&origin, &format!("{ACCOUNT}={token}"));
    let server = Server::with(&twilio.flags(&[]));
    let mut headers = vec![("content-type", vector["content_type"].as_str().unwrap())];
    let shown = signature.as_deref().filter(|signature| !signature.is_empty());
    headers.extend(shown.map(|signature| ("x-twilio-signature", signature)));
    let body = vector["body"].as_str().map_or_else(|| encoded(&pairs), str::to_owned);
    let answer =
        server.nobody().send(Method::POST, &target, &headers, Some(body.into_bytes())).await;
    // Let in, it is asked for an id, or answered about the CallSid that is there.
    let wanted: &[u16] = if vector["valid"] == true { &[200, 400] } else { &[401] };
    assert!(wanted.contains(&answer.status), "{}: {}", vector["name"], answer.text());
}

/// The origin of a URL, and its target with the path that is there.
fn moved(url: &str) -> (String, String) {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let query = rest.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
    (format!("{scheme}://{authority}"), format!("{STUDIO}{query}"))
}

fn pair(value: &Value) -> (Vec<u8>, Vec<u8>) {
    let text = |at: usize| value[at].as_str().unwrap().as_bytes().to_vec();
    // An account of the vector's own would be refused before its signature is looked at.
    if value[0] == "AccountSid" { (text(0), ACCOUNT.into()) } else { (text(0), text(1)) }
}

fn encoded(pairs: &Pairs) -> String {
    let escaped = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("%{b:02X}")).collect() };
    let pairs = pairs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}
