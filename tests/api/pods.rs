//! Several servers over one Redis act as one. They need one, and are run by `tests/run redis`.

use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::blind::hangs_up;
use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;
use crate::harness::until;
use crate::timeline::kinds;
use crate::timeline::story;
use crate::twilio::ACCOUNT;
use crate::twilio::PUBLIC;
use crate::twilio::Twilio;
use crate::twilio::post;

const WITHIN: Duration = Duration::from_secs(1);

/// Servers over one store.
fn pods<const N: usize>(flags: &[&str]) -> [Server; N] {
    let first = Server::with(flags);
    let (folder, clock) = (first.folder(), first.clock.clone());
    let mut all = vec![first];
    all.extend((1..N).map(|_| Server::on(&folder, clock.clone(), flags)));
    all.try_into().unwrap_or_else(|_| unreachable!("there are N"))
}

/// How long it takes until something is so on another server.
async fn how_long(is_so: impl AsyncFn() -> bool) -> Duration {
    let began = Instant::now();
    until(is_so).await;
    began.elapsed()
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn what_one_wrote_all_read_and_what_one_erased_is_erased() {
    let [a, b, c] = pods::<3>(&[]);
    for round in 0..30 {
        let data = format!("{{\"n\":{round}}}");
        let [writer, reader, other] = match round % 3 {
            0 => [&a, &b, &c],
            1 => [&b, &c, &a],
            _ => [&c, &a, &b],
        };
        let written = writer.admin().write(SID, &data).await;
        assert!(written.status < 300, "{}", written.text());
        for pod in [reader, other, writer] {
            let read = pod.admin().read(SID).await;
            assert_eq!(read.ok(200)["data"]["n"], json!(round));
            assert_eq!(read.header("etag"), written.header("etag"));
        }
        if round % 5 == 4 {
            reader.admin().delete(&format!("/v1/handoff_state?id={SID}")).await.ok(204);
            for pod in [writer, other, reader] {
                pod.admin().read(SID).await.refused(404, "HANDOFF_ERASED");
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn of_two_who_write_at_once_one_wins_and_nothing_is_lost() {
    let [a, b] = pods::<2>(&[]);
    a.admin().write(SID, r#"{"n":0}"#).await.ok(201);
    let count = async |server: &Server| {
        let mut done = 0;
        while done < 25 {
            let read = server.admin().read(SID).await;
            let next = read.ok(200)["data"]["n"].as_u64().unwrap() + 1;
            let tag = read.header("etag").to_owned();
            let path = format!("/v1/handoff_state?id={SID}");
            let body = format!("{{\"data\":{{\"n\":{next}}}}}");
            match server.admin().put_with(&path, &[("if-match", &tag)], body).await.status {
                200 => done += 1,
                status => assert_eq!(status, 412),
            }
        }
    };
    tokio::join!(count(&a), count(&b));
    assert_eq!(a.admin().read(SID).await.ok(200)["data"]["n"], json!(50));
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn who_waits_at_one_is_woken_by_a_write_at_another() {
    let [a, b] = pods::<2>(&[]);
    let begin = |query: &str| {
        let (client, path) = (b.admin(), format!("/v1/handoff_state?{query}"));
        tokio::spawn(async move { (client.get(&path).await, Instant::now()) })
    };
    let aliased = "CAffffffffffffffffffffffffffffffff";
    a.admin().write(aliased, "{}").await.ok(201);
    let revision: u64 = a.admin().read(aliased).await.header("x-handoff-revision").parse().unwrap();
    let newer = revision + 1;
    let waiters = [
        begin(&format!("id={SID}&wait=8")),
        begin("shared_id=five9-1&wait=8"),
        begin("id=other-name&wait=8"),
        begin(&format!("id={aliased}&wait=8&min_revision={newer}")),
    ];
    until(async || b.nobody().get("/metrics").await.text().contains("baton_reads_waiting 4")).await;
    // Registered with Redis, too.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    a.admin().write(SID, r#"{"woken":true}"#).await.ok(201);
    let body = r#"{"data":{},"shared_id":"five9-1"}"#;
    a.admin().put("/v1/handoff_state?id=CA77", body).await.ok(201);
    let path = format!("/v1/handoff_state/aliases?id={aliased}");
    a.admin().post(&path, &json!({ "aliases": ["other-name"] })).await.ok(200);
    a.admin().write(aliased, r#"{"n":2}"#).await.ok(200);
    for waiter in waiters {
        let (answer, at) = waiter.await.unwrap();
        answer.ok(200);
        assert!(at - began < WITHIN, "{:?}", at - began);
    }
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn what_is_revoked_at_one_is_refused_by_all_within_a_second() {
    let [a, b] = pods::<2>(&[]);
    let admin = a.admin();
    let key = admin.post("/v1/keys", &json!({ "scopes": ["handoff:read"] })).await.ok(201);
    let (connector, token) = made(&admin, &reference("a", "live")).await;
    a.admin().write(SID, "{}").await.ok(201);
    let by_key = b.client(key["key"].as_str().unwrap());
    let by_token = bearer(&b, &token);
    // Used, and so remembered.
    for _ in 0..3 {
        by_key.read(SID).await.ok(200);
        assert_eq!(by_token.read("CA1").await.status, 404);
    }
    let path = format!("/v1/keys?id={}", key["key_id"].as_str().unwrap());
    admin.delete(&path).await.ok(204);
    let took = how_long(async || by_key.read(SID).await.status == 401).await;
    assert!(took < WITHIN, "a key: {took:?}");
    let rotated =
        admin.post(&format!("{PATH}/{connector}/token"), &json!({ "grace_seconds": 0 })).await;
    assert!(rotated.status < 300, "{}", rotated.text());
    let took = how_long(async || by_token.read("CA1").await.status == 401).await;
    assert!(took < WITHIN, "a token: {took:?}");
    let next = rotated.json()["connector_token"].as_str().unwrap_or_default().to_owned();
    let by_token = bearer(&b, &next);
    assert_eq!(by_token.read("CA1").await.status, 404, "{}", rotated.text());
    let deleted = admin.delete(&format!("{PATH}/{connector}")).await;
    assert!(deleted.status < 300, "{}", deleted.text());
    let took = how_long(async || by_token.read("CA1").await.status == 401).await;
    assert!(took < WITHIN, "a connector: {took:?}");
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn aliases_added_at_two_are_all_kept_and_none_is_given_twice() {
    let [a, b] = pods::<2>(&[]);
    let add = async |server: &Server, id: &str, alias: &str| {
        let path = format!("/v1/handoff_state/aliases?id={id}");
        server.admin().post(&path, &json!({ "aliases": [alias] })).await.status
    };
    for round in 0..15 {
        let (one, other) = (format!("CA1-{round}"), format!("CA2-{round}"));
        a.admin().write(&one, r#"{"n":1}"#).await.ok(201);
        a.admin().write(&other, r#"{"n":2}"#).await.ok(201);
        // To one handoff, at two servers.
        let (x, y) = (format!("x{round}"), format!("y{round}"));
        let added = tokio::join!(add(&a, &one, &x), add(&b, &one, &y));
        assert_eq!(added, (200, 200));
        for alias in [&x, &y] {
            assert_eq!(b.admin().read(alias).await.ok(200)["data"]["n"], json!(1), "{alias}");
        }
        // One alias to two handoffs.
        let z = format!("z{round}");
        let (first, second) = tokio::join!(add(&a, &one, &z), add(&b, &other, &z));
        assert!(first == 409 || second == 409, "round {round}: {first} and {second}");
        let read = a.admin().read(&z).await;
        match (first, second) {
            (200, _) => assert_eq!(read.ok(200)["data"]["n"], json!(1)),
            (_, 200) => assert_eq!(read.ok(200)["data"]["n"], json!(2)),
            _ => assert_eq!(read.status, 404),
        }
    }
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn a_webhook_sent_again_to_another_gets_the_first_answer() {
    let twilio = Twilio::new(PUBLIC, &format!("{ACCOUNT}=current"));
    let [a, b] = pods::<2>(&twilio.flags(&[]));
    let id = hangs_up(&a).await;
    let form = format!("AccountSid={ACCOUNT}&CallSid={SID}&CallStatus=in-progress");
    let target = format!("/twilio/voice/{id}");
    let first = post(&a.nobody(), "current", &target, &form).await.ok_text(200).to_owned();
    let again = post(&b.nobody(), "current", &target, &form).await;
    assert_eq!(again.ok_text(200), first);
    // And another request is another visit.
    let other = post(&b.nobody(), "current", &target, &format!("{form}&n=2")).await;
    assert!(other.ok_text(200).contains("leg=2"), "{}", other.text());
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn what_happened_at_each_is_one_story() {
    let [a, b] = pods::<2>(&[]);
    a.admin().write(SID, "{}").await.ok(201);
    b.admin().write(SID, r#"{"n":1}"#).await.ok(200);
    let receipts = format!("/v1/handoff_state/receipts?id={SID}");
    let told = b.admin().post(&receipts, &json!({ "receipt": "acknowledged" })).await;
    assert!(told.status < 300, "{}", told.text());
    a.admin().read(SID).await.ok(200);
    b.admin().read(SID).await.ok(200);
    let id = format!("id={SID}");
    until(async || {
        let told = story(&a.admin(), &id).await;
        let kinds = kinds(&told);
        kinds.iter().filter(|kind| **kind == "written").count() == 2
            && kinds.contains(&"read")
            && told["events"].to_string().contains("acknowledged")
    })
    .await;
    assert_eq!(story(&a.admin(), &id).await["events"], story(&b.admin(), &id).await["events"]);
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn lists_are_the_same_everywhere_and_hold_each_once() {
    let [a, b] = pods::<2>(&[]);
    for n in 0..40 {
        let server = if n % 2 == 0 { &a } else { &b };
        let body = json!({ "data": { "n": n }, "shared_id": format!("s{}", n % 4) }).to_string();
        server.admin().put(&format!("/v1/handoff_state?id=CA{n}"), body.clone()).await.ok(201);
        // Written anew, it is listed at another place.
        server.clock.advance(Duration::from_millis(1));
        let body = body.replace("\"n\"", "\"m\"");
        server.admin().put(&format!("/v1/handoff_state?id=CA{n}"), body).await.ok(200);
    }
    for server in [&a, &b] {
        let (status, listed) = list(&server.admin()).await;
        assert_eq!(status, 200, "{listed}");
        let ids: Vec<_> =
            listed["handoffs"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
        let newest_first: Vec<_> = (0..40).rev().map(|n| json!(format!("CA{n}"))).collect();
        assert_eq!(ids, newest_first);
        let shared = server.admin().get("/v1/handoff_state?shared_id=s3").await;
        assert_eq!(shared.ok(200)["id"], "CA39");
    }
}

async fn list(client: &Client) -> (u16, Value) {
    client.bare(Method::GET, "/v1/handoffs", None).await
}
