//! Redis slow, silent, gone and back: what is answered meanwhile, and how soon all is well again. They need
//! redis-server, and are run by `tests/run redis`.

use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use crate::harness::Answer;
use crate::harness::SID;
use crate::harness::Server;
use crate::harness::until;
use crate::own_redis::OwnRedis;

const STALE: &str = "110 - \"Response is Stale\"";

async fn timed(asking: impl Future<Output = Answer>) -> (Answer, Duration) {
    let began = Instant::now();
    let answer = asking.await;
    (answer, began.elapsed())
}

fn server(redis: &OwnRedis, more: &[&str]) -> Server {
    let url = redis.url();
    Server::with(&[&["--store", &url], more].concat())
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn without_redis_memory_answers_for_a_while_and_says_so() {
    let mut redis = OwnRedis::start().await;
    let server = server(&redis, &["--stale-seconds", "4"]);
    let key = server.key(json!({ "scopes": ["handoff:read", "handoff:write"] })).await;
    key.write(SID, r#"{"n":1}"#).await.ok(201);
    assert_eq!(key.read(SID).await.header("warning"), "");
    redis.kill();
    let gone = Instant::now();
    let (read, took) = timed(key.read(SID)).await;
    assert_eq!(read.ok(200)["data"], json!({ "n": 1 }));
    assert_eq!(read.header("warning"), STALE);
    assert!(took < Duration::from_millis(2400), "{took:?}");
    key.read("CA-unknown").await.refused(503, "STORE_UNAVAILABLE");
    let refused = key.write(SID, r#"{"n":2}"#).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());
    // A write that failed does not take away what memory has.
    assert_eq!(key.read(SID).await.header("warning"), STALE);
    server.nobody().get("/readyz").await.ok(200);
    let metrics = server.nobody().get("/metrics").await;
    assert!(metrics.text().contains(r#"record="handoff",outcome="stale"}"#), "{}", metrics.text());
    // The breaker is open: nobody is kept waiting.
    tokio::time::sleep(Duration::from_millis(1500).saturating_sub(gone.elapsed())).await;
    let (read, took) = timed(key.read(SID)).await;
    read.ok(200);
    assert!(took < Duration::from_millis(100), "{took:?}");
    // Not for ever, though; nor are credentials.
    tokio::time::sleep(Duration::from_secs(5).saturating_sub(gone.elapsed())).await;
    key.read(SID).await.refused(503, "STORE_UNAVAILABLE");
    redis.go_on().await;
    until(async || key.read(SID).await.status == 200).await;
    let read = key.read(SID).await;
    assert_eq!((read.ok(200)["data"]["n"].clone(), read.header("warning")), (json!(1), ""));
    key.write(SID, r#"{"n":2}"#).await.ok(200);
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn a_redis_that_is_silent_holds_nobody_up_and_is_asked_again_once_it_speaks() {
    let redis = OwnRedis::start().await;
    let server = server(&redis, &[]);
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    redis.be_silent();
    let silent = Instant::now();
    let (read, took) = timed(admin.read(SID)).await;
    assert_eq!(read.header("warning"), STALE, "{}", read.text());
    assert!(took < Duration::from_millis(1300), "{took:?}");
    let quick = async || timed(admin.read(SID)).await.1 < Duration::from_millis(50);
    until(quick).await;
    assert!(silent.elapsed() < Duration::from_millis(2500), "{:?}", silent.elapsed());
    redis.speak();
    let speaks = Instant::now();
    until(async || admin.read(SID).await.header("warning").is_empty()).await;
    assert!(speaks.elapsed() < Duration::from_secs(3), "{:?}", speaks.elapsed());
    until(async || admin.write(SID, r#"{"n":1}"#).await.status == 200).await;
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn a_write_that_too_few_have_is_not_acknowledged() {
    let primary = OwnRedis::start().await;
    let mut replica = OwnRedis::replica_of(&primary).await;
    let server = server(&primary, &["--redis-replicas", "1"]);
    let admin = server.admin();
    admin.write(SID, r#"{"n":1}"#).await.ok(201);
    replica.kill();
    let (refused, took) = timed(admin.write(SID, r#"{"n":2}"#)).await;
    let told = refused.refused(503, "WRITE_NOT_CONFIRMED");
    assert!(told.contains("may be stored, or not"), "{told}");
    assert!(took < Duration::from_millis(1500), "{took:?}");
    let wanted = json!({ "scopes": ["handoff:read"] });
    admin.post("/v1/keys", &wanted).await.refused(503, "WRITE_NOT_CONFIRMED");
    // Reads go on; and the same again is confirmed once there is who may confirm it.
    assert_eq!(admin.read(SID).await.status, 200);
    replica.go_on().await;
    until(async || admin.write(SID, r#"{"n":2}"#).await.status == 200).await;
    assert_eq!(admin.read(SID).await.ok(200)["data"]["n"], json!(2));
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn who_waits_looks_again_when_it_may_have_missed_something() {
    let redis = OwnRedis::start().await;
    let writer = server(&redis, &[]);
    let reader = Server::on(&writer.folder(), writer.clock.clone(), &["--store", &redis.url()]);
    for round in 0..12 {
        let id = format!("CA{round}");
        let (client, path) = (reader.admin(), format!("/v1/handoff_state?id={id}&wait=8"));
        let waiting = tokio::spawn(async move { (client.get(&path).await, Instant::now()) });
        reader.until_one_waits().await;
        // Whatever was asked for is forgotten with the connection that asked.
        let _: i64 = redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        until(async || writer.admin().write(&id, "{}").await.status < 300).await;
        let written = Instant::now();
        let (answer, at) = waiting.await.unwrap();
        answer.ok(200);
        let took = at.saturating_duration_since(written);
        assert!(took < Duration::from_millis(1500), "round {round}: {took:?}");
    }
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn what_was_seen_to_be_erased_does_not_come_back_without_redis() {
    let mut redis = OwnRedis::start().await;
    let one = server(&redis, &[]);
    let other = Server::on(&one.folder(), one.clock.clone(), &["--store", &redis.url()]);
    one.admin().write(SID, "{}").await.ok(201);
    one.admin().write("CA1", "{}").await.ok(201);
    for id in [SID, "CA1"] {
        other.admin().read(id).await.ok(200);
    }
    one.admin().delete(&format!("/v1/handoff_state?id={SID}")).await.ok(204);
    other.admin().read(SID).await.refused(404, "HANDOFF_ERASED");
    redis.kill();
    assert_eq!(other.admin().read("CA1").await.header("warning"), STALE);
    for server in [&one, &other] {
        server.admin().read(SID).await.refused(503, "STORE_UNAVAILABLE");
    }
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn nothing_in_redis_is_in_clear() {
    let redis = OwnRedis::start().await;
    let server = server(&redis, &[]);
    let made = server.admin().post("/v1/keys", &json!({ "scopes": ["handoff:write"] })).await;
    let key = made.ok(201)["key"].as_str().unwrap().to_owned();
    server.client(&key).write(SID, r#"{"card":"CANARY-4711"}"#).await.ok(201);
    let names: Vec<Vec<u8>> = redis.ask(&["KEYS", "*"]).await;
    assert!(names.len() > 4, "{names:?}");
    let mut file = Vec::new();
    for entry in std::fs::read_dir(redis.folder().join("appendonlydir")).unwrap() {
        file.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let holds = |what: &str| file.windows(what.len()).any(|part| part == what.as_bytes());
    assert!(holds(SID), "this is where it is kept");
    assert!(!holds("CANARY-4711") && !holds(&key) && !holds(&key[15..58]) && !holds(&server.admin));
}
