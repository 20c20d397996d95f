//! Waiting reads: woken by the write, bounded, over when the client or the server goes.

use std::time::Duration;
use std::time::Instant;

use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::Answer;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;

fn begin(client: &Client, query: &str) -> JoinHandle<(Answer, Duration)> {
    let (client, path) = (client.clone(), format!("/v1/handoff_state?{query}"));
    tokio::spawn(async move {
        let started = Instant::now();
        let answer = client.get(&path).await;
        (answer, started.elapsed())
    })
}

/// How many wait; none is known while the server has no place for the question.
async fn waiting(server: &Server) -> Option<u64> {
    let metrics = server.nobody().get("/metrics").await;
    let line = metrics.text().lines().find(|line| line.starts_with("baton_reads_waiting "))?;
    line.rsplit(' ').next()?.parse().ok()
}

async fn until_waiting(server: &Server, count: u64) {
    for _ in 0..500 {
        if waiting(server).await == Some(count) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} wait, not {count}", waiting(server).await);
}

const SOON: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_write_wakes_those_who_wait_for_it_and_nobody_else() {
    let server = Server::start();
    let admin = server.admin();
    let waiters: Vec<_> = (0..20).map(|_| begin(&admin, "id=CA1&wait=8")).collect();
    let other = begin(&admin, "id=CA2&wait=3");
    until_waiting(&server, 21).await;
    admin.write("CA1", r#"{"a":1}"#).await.ok(201);
    for waiter in waiters {
        let (answer, took) = waiter.await.unwrap();
        assert_eq!(answer.ok(200), json!({ "id": "CA1", "data": { "a": 1 } }));
        assert!(took < SOON, "{took:?}");
    }
    let (answer, took) = other.await.unwrap();
    answer.refused(404, "HANDOFF_NOT_FOUND");
    assert!(took >= Duration::from_secs(3));
    assert_eq!(waiting(&server).await, Some(0));
    let (answer, took) = begin(&admin, "id=CA1&wait=8").await.unwrap();
    assert!(answer.status == 200 && took < SOON, "what is there needs no wait");
}

#[tokio::test]
async fn it_waits_for_a_newer_revision_and_answers_what_there_is_when_time_is_up() {
    let server = Server::start();
    let admin = server.admin();
    let revision = admin.write(SID, "{}").await.ok(201)["revision"].as_u64().unwrap();
    let newer = format!("id={SID}&wait=8&min_revision={}", revision + 1);
    let waiter = begin(&admin, &newer);
    until_waiting(&server, 1).await;
    admin.write(SID, "{}").await.ok(200);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(waiting(&server).await, Some(1), "the same content is not newer");
    admin.patch(&format!("/v1/handoff_state?id={SID}"), r#"{"data":{"b":1}}"#).await.ok(200);
    let (answer, took) = waiter.await.unwrap();
    assert_eq!(answer.ok(200)["data"], json!({ "b": 1 }));
    assert!(took < SOON);
    let never = format!("id={SID}&wait=1&min_revision=9999999999999999");
    let (answer, took) = begin(&admin, &never).await.unwrap();
    assert_eq!(answer.ok(200)["data"], json!({ "b": 1 }));
    assert!(took >= Duration::from_secs(1));
}

#[tokio::test]
async fn who_waits_for_what_follows_is_told_at_once_that_it_is_gone() {
    let server = Server::start();
    let admin = server.admin();
    let revision = admin.write(SID, "{}").await.ok(201)["revision"].as_u64().unwrap();
    let newer = format!("id={SID}&wait=8&min_revision={}", revision + 1);
    let waiter = begin(&admin, &newer);
    until_waiting(&server, 1).await;
    admin.delete(&format!("/v1/handoff_state?id={SID}")).await.ok_text(204);
    for waiter in [waiter, begin(&admin, &newer)] {
        let (answer, took) = waiter.await.unwrap();
        answer.refused(404, "HANDOFF_ERASED");
        assert!(took < SOON, "{took:?}");
    }
    // Who waits for the call's handoff waits: it may be written again.
    let waiter = begin(&admin, &format!("id={SID}&wait=8"));
    until_waiting(&server, 1).await;
    admin.write(SID, "{}").await.ok(201);
    assert_eq!(waiter.await.unwrap().0.ok(200)["id"], SID);
}

#[tokio::test]
async fn it_waits_by_shared_id_and_by_an_alias_that_comes_later() {
    let server = Server::start();
    let admin = server.admin();
    let revision = admin.write("CA1", "{}").await.ok(201)["revision"].as_u64().unwrap();
    let shared = begin(&admin, "shared_id=S&wait=8");
    let alias = begin(&admin, "id=x&wait=8");
    let newer = begin(&admin, &format!("id=x&wait=8&min_revision={}", revision + 1));
    until_waiting(&server, 3).await;
    admin.post("/v1/handoff_state/aliases?id=CA1", &json!({ "aliases": ["x"] })).await.ok(200);
    assert_eq!(alias.await.unwrap().0.ok(200)["id"], "CA1");
    assert_eq!(waiting(&server).await, Some(2));
    server.clock.advance(Duration::from_secs(1));
    admin.put("/v1/handoff_state?id=CA1", r#"{"data":{"n":1},"shared_id":"S"}"#).await.ok(200);
    assert_eq!(newer.await.unwrap().0.ok(200)["data"], json!({ "n": 1 }));
    assert_eq!(shared.await.unwrap().0.ok(200)["id"], "CA1");
}

#[tokio::test]
async fn it_waits_by_an_alias_whose_handoff_is_gone_and_comes_again() {
    let server = Server::start();
    let admin = server.admin();
    let body = r#"{"data":{},"ttl_seconds":60}"#;
    admin.put("/v1/handoff_state?id=CA1", body).await.ok(201);
    let given = json!({ "aliases": ["x"] });
    admin.post("/v1/handoff_state/aliases?id=CA1", &given).await.ok(200);
    server.clock.advance(Duration::from_secs(60));
    let waiter = begin(&admin, "id=x&wait=8");
    until_waiting(&server, 1).await;
    admin.put("/v1/handoff_state?id=CA1", body).await.ok(201);
    let (answer, took) = waiter.await.unwrap();
    assert_eq!(answer.ok(200)["id"], "CA1");
    assert!(took < SOON);
}

#[tokio::test]
async fn those_who_wait_are_bounded_apart_and_take_no_place_from_others() {
    let server = Server::with(&["--max-waiting", "3", "--max-in-flight", "2"]);
    let admin = server.admin();
    let mut waiters = Vec::new();
    for n in 1..=3 {
        waiters.push(begin(&admin, &format!("id=CA{n}&wait=8")));
        until_waiting(&server, n).await;
    }
    let refused = admin.get("/v1/handoff_state?id=CA4&wait=8").await;
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.refused(503, "OVERLOADED").contains("BATON_MAX_WAITING"));
    for (n, waiter) in waiters.into_iter().enumerate() {
        admin.write(&format!("CA{}", n + 1), "{}").await.ok(201);
        waiter.await.unwrap().0.ok(200);
    }
    until_waiting(&server, 0).await;
}

#[tokio::test]
async fn a_key_that_waits_by_default_is_told_what_there_is_when_no_more_may_wait() {
    let server = Server::with(&["--max-waiting", "0"]);
    let defaults = json!({ "wait": 8, "miss": 200 });
    let key = server.key(json!({ "scopes": ["handoff:read"], "read_defaults": defaults })).await;
    let (answer, took) = begin(&key, "id=CA1").await.unwrap();
    assert_eq!(answer.ok(200)["found"], false);
    assert!(took < SOON);
    server.admin().get("/v1/handoff_state?id=CA1&wait=8").await.refused(503, "OVERLOADED");
}

#[tokio::test]
async fn what_is_erased_or_expires_during_a_wait_is_not_answered_at_its_end() {
    let server = Server::start();
    let admin = server.admin();
    for (id, ttl) in [("erased", 600), ("expires", 60)] {
        let body = json!({ "data": {}, "ttl_seconds": ttl }).to_string();
        admin.put(&format!("/v1/handoff_state?id={id}"), body).await.ok(201);
    }
    let newer = |id: &str| begin(&admin, &format!("id={id}&wait=2&min_revision=9999999999999999"));
    let (erased, expires) = (newer("erased"), newer("expires"));
    until_waiting(&server, 2).await;
    assert_eq!(admin.delete("/v1/handoff_state?id=erased").await.status, 204);
    server.clock.advance(Duration::from_secs(60));
    erased.await.unwrap().0.refused(404, "HANDOFF_ERASED");
    expires.await.unwrap().0.refused(404, "HANDOFF_EXPIRED");
}

#[tokio::test]
async fn a_key_revoked_during_a_wait_gets_nothing_at_its_end() {
    let server = Server::start();
    let made =
        server.admin().post("/v1/keys", &json!({ "scopes": ["handoff:read"] })).await.ok(201);
    let waiter = begin(&server.client(made["key"].as_str().unwrap()), "id=CA1&wait=8");
    until_waiting(&server, 1).await;
    let revoked = format!("/v1/keys?id={}", made["key_id"].as_str().unwrap());
    assert_eq!(server.admin().delete(&revoked).await.status, 204);
    server.admin().write("CA1", "{}").await.ok(201);
    waiter.await.unwrap().0.refused(401, "INVALID_KEY");
}

#[tokio::test]
async fn a_shared_id_of_another_project_may_still_come_in_ones_own() {
    let server = Server::start();
    let admin = server.admin();
    admin
        .put("/v1/handoff_state?id=CA1", r#"{"data":{},"shared_id":"S","project_id":"p"}"#)
        .await
        .ok(201);
    let q = server.key(json!({ "projects": ["q"], "scopes": ["handoff:read"] })).await;
    let waiter = begin(&q, "shared_id=S&wait=8");
    until_waiting(&server, 1).await;
    admin
        .put("/v1/handoff_state?id=CA2", r#"{"data":{},"shared_id":"S","project_id":"q"}"#)
        .await
        .ok(201);
    assert_eq!(waiter.await.unwrap().0.ok(200)["id"], "CA2");
    let (answer, took) = begin(&q, "id=CA1&wait=8").await.unwrap();
    answer.refused(404, "HANDOFF_IN_OTHER_PROJECT");
    assert!(took < SOON);
}

#[tokio::test]
async fn a_client_that_goes_away_gives_its_place_back() {
    let server = Server::start();
    let waiters: Vec<_> =
        (0..10).map(|n| begin(&server.admin(), &format!("id=CA{n}&wait=8"))).collect();
    until_waiting(&server, 10).await;
    waiters.iter().for_each(JoinHandle::abort);
    let started = Instant::now();
    until_waiting(&server, 0).await;
    assert!(started.elapsed() < SOON);
}

#[tokio::test]
async fn a_keys_defaults_count_where_the_request_does_not_say() {
    let server = Server::start();
    let defaults = json!({ "wait": 1, "miss": 200 });
    let key = server.key(json!({ "scopes": ["handoff:read"], "read_defaults": defaults })).await;
    let (answer, took) = begin(&key, "id=CA1").await.unwrap();
    assert_eq!(answer.ok(200), json!({ "found": false, "id": "CA1", "data": {} }));
    assert!(took >= Duration::from_secs(1));
    let (answer, took) = begin(&key, "id=CA1&wait=0&miss=404").await.unwrap();
    answer.refused(404, "HANDOFF_NOT_FOUND");
    assert!(took < Duration::from_secs(1));
    let waiter = begin(&key, "id=CA1");
    until_waiting(&server, 1).await;
    server.admin().write("CA1", "{}").await.ok(201);
    assert_eq!(waiter.await.unwrap().0.ok(200), json!({ "id": "CA1", "data": {} }));
    for bad in [
        "wait=9",
        "wait=08",
        "wait=%2B1",
        "wait=-1",
        "wait=x",
        "wait=",
        "min_revision=x",
        "wait=1&wait=2",
    ] {
        let path = format!("/v1/handoff_state?id=CA1&{bad}");
        server.admin().get(&path).await.refused(400, "INVALID_PARAMETER");
    }
}

/// What can happen to those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Write,
    Cancel,
    Expire,
    Shutdown,
}

fn orders(left: &[Event]) -> Vec<Vec<Event>> {
    if left.is_empty() {
        return vec![Vec::new()];
    }
    let begin_with = |first: &Event| {
        let rest: Vec<_> = left.iter().copied().filter(|event| event != first).collect();
        let first = *first;
        orders(&rest)
            .into_iter()
            .map(move |order| [vec![first], order].concat())
            .collect::<Vec<_>>()
    };
    left.iter().flat_map(begin_with).collect()
}

/// One waits for an id that nobody wrote, one for a newer revision of a handoff that is there for a
/// minute, one will go away.
async fn in_this_order(order: Vec<Event>) {
    let mut server = Server::with(&["--store", "memory", "--drain-seconds", "3"]);
    let admin = server.admin();
    let short = r#"{"data":{"n":1},"ttl_seconds":60}"#;
    let receipt = admin.put("/v1/handoff_state?id=there", short).await.ok(201);
    let newer = receipt["revision"].as_u64().unwrap() + 1;
    let fresh = begin(&admin, "id=fresh&wait=8");
    let newer = begin(&admin, &format!("id=there&wait=8&min_revision={newer}"));
    let goes = begin(&admin, "id=fresh&wait=8");
    until_waiting(&server, 3).await;
    for event in &order {
        match event {
            Event::Write => {
                admin.write("fresh", "{}").await.ok(201);
                let again = admin.put("/v1/handoff_state?id=there", r#"{"data":{"n":2}}"#).await;
                assert!([200, 201].contains(&again.status));
            }
            Event::Cancel => goes.abort(),
            Event::Expire => server.clock.advance(Duration::from_secs(60)),
            Event::Shutdown => {
                server.ask_to_stop(false);
                until_waiting(&server, 0).await;
                // While it drains, nobody waits.
                let (answer, took) = begin(&admin, "id=nobody&wait=8").await.unwrap();
                assert!(answer.status == 404 && took < SOON, "{order:?}");
            }
        }
    }
    let at = |event| order.iter().position(|e| *e == event).unwrap();
    let is_written = at(Event::Write) < at(Event::Shutdown);
    let is_expired = at(Event::Expire) < at(Event::Shutdown);
    let (answer, took) = fresh.await.unwrap();
    assert!(took < SOON, "{order:?}");
    assert_eq!(answer.status, if is_written { 200 } else { 404 }, "{order:?}");
    let (answer, took) = newer.await.unwrap();
    assert!(took < SOON, "{order:?}");
    let said =
        if answer.status == 200 { answer.json()["data"]["n"].to_string() } else { answer.code() };
    let wanted = match (is_written, is_expired) {
        (true, _) => "2",
        (false, true) => "HANDOFF_EXPIRED",
        (false, false) => "1",
    };
    assert_eq!(said, wanted, "{order:?}");
}

// A thread each: a server that ends blocks the one it is dropped on while it drains.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn whatever_happens_in_whatever_order_each_gets_what_there_is() {
    let all = orders(&[Event::Write, Event::Cancel, Event::Expire, Event::Shutdown]);
    assert_eq!(all.len(), 24);
    for eight in all.chunks(8) {
        let running: Vec<_> =
            eight.iter().map(|order| tokio::spawn(in_this_order(order.clone()))).collect();
        for order in running {
            order.await.unwrap();
        }
    }
}
