//! What a read that finds nothing is told.

use std::time::Duration;
use std::time::Instant;

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::SID;
use crate::harness::Server;

#[tokio::test]
async fn a_404_says_which() {
    let server = Server::start();
    let admin = server.admin();
    let path = |id: &str| format!("/v1/handoff_state?id={id}");
    admin.read("CA1").await.refused(404, "HANDOFF_NOT_FOUND");
    admin.put(&path("CA2"), r#"{"data":{},"ttl_seconds":60}"#).await.ok(201);
    admin.write("CA3", "{}").await.ok(201);
    assert_eq!(admin.delete(&path("CA3")).await.status, 204);
    admin.put(&path("CA4"), r#"{"data":{},"project_id":"p"}"#).await.ok(201);
    server.clock.advance(Duration::from_secs(60));
    admin.read("CA2").await.refused(404, "HANDOFF_EXPIRED");
    admin.read("CA3").await.refused(404, "HANDOFF_ERASED");
    let narrow = server.key(json!({ "projects": ["q"], "scopes": ["handoff:read"] })).await;
    narrow.read("CA4").await.refused(404, "HANDOFF_IN_OTHER_PROJECT");
    admin.get("/v1/handoff_state?shared_id=S").await.refused(404, "HANDOFF_NOT_FOUND");
    let none = admin.get("/v1/handoff_state").await.refused(400, "MISSING_ID");
    assert!(none.contains("shared_id"));
    // Written again, it is there again, and newer.
    admin.write("CA3", "{}").await.ok(201);
    admin.read("CA3").await.ok(200);
}

#[tokio::test]
async fn a_miss_of_200_is_found_false_and_says_why_in_a_header() {
    let server = Server::start();
    let admin = server.admin();
    let missed = admin.get(&format!("/v1/handoff_state?id={SID}&miss=200")).await;
    assert_eq!(missed.header("x-handoff-miss"), "HANDOFF_NOT_FOUND");
    assert_eq!(missed.ok(200), json!({ "found": false, "id": SID, "data": {} }));
    let missed = admin.get("/v1/handoff_state?shared_id=S&miss=200").await.ok(200);
    assert_eq!(missed, json!({ "found": false, "id": null, "shared_id": "S", "data": {} }));
    admin.write(SID, "{}").await.ok(201);
    let found = admin.get(&format!("/v1/handoff_state?id={SID}&miss=200")).await.ok(200);
    assert_eq!(found, json!({ "id": SID, "data": {} }));
    // What is no miss stays what it is.
    admin.get("/v1/handoff_state?id=undefined&miss=200").await.refused(400, "INVALID_ID");
    admin
        .get(&format!("/v1/handoff_state?id={SID}&miss=20"))
        .await
        .refused(400, "INVALID_PARAMETER");
    server
        .nobody()
        .get("/v1/handoff_state?id=a&miss=200")
        .await
        .refused(401, "MISSING_CREDENTIALS");
}

#[tokio::test]
async fn a_near_miss_is_named_to_those_who_may_see_it() {
    let server = Server::start();
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    for slip in [SID.to_lowercase(), SID[..33].to_owned(), SID.replace('7', "8")] {
        let told = admin.read(&slip).await.refused(404, "HANDOFF_NOT_FOUND");
        let named = told.contains(SID);
        assert_eq!(named, slip != SID.replace('7', "8"), "{slip}: {told}");
    }
    let slip = &SID[1..];
    let project = server.key(json!({ "projects": ["q"], "scopes": ["handoff:read"] })).await;
    for other in [server.stranger().await, project] {
        assert!(!other.read(slip).await.refused(404, "HANDOFF_NOT_FOUND").contains(SID));
    }
    let erased = admin.delete(&format!("/v1/handoff_state?id={SID}")).await;
    assert_eq!(erased.status, 204);
    assert!(!admin.read(slip).await.refused(404, "HANDOFF_NOT_FOUND").contains(SID));
    admin.write(SID, "{}").await.ok(201);
    assert!(admin.read(slip).await.text().contains(SID));
    server.clock.advance(Duration::from_secs(600));
    assert!(!admin.read(slip).await.text().contains(SID));
}

/// Sends requests over one connection, and tells how long each took.
struct Wire(TcpStream, String);

impl Wire {
    async fn took(&mut self, id: &str) -> (Duration, String) {
        let request = format!(
            "GET /v1/handoff_state?id={id} HTTP/1.1\r\nhost: b\r\nx-api-key: {}\r\n\r\n",
            self.1
        );
        let started = Instant::now();
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 4096];
        let length = self.0.read(&mut answer).await.unwrap();
        (started.elapsed(), String::from_utf8_lossy(&answer[..length]).into_owned())
    }
}

#[tokio::test]
async fn another_accounts_handoff_is_not_told_from_none_by_what_is_said_or_how_long_it_takes() {
    let server = Server::with(&["--rate-misses", "0", "--rate-requests", "0"]);
    let wanted = json!({ "account_id": "own", "scopes": ["handoff:read"] });
    let made = server.admin().post("/v1/keys", &wanted).await.ok(201);
    let key = made["key"].as_str().unwrap().to_owned();
    // Large ones and small ones of the other account, all in memory.
    for n in 0..64 {
        let data = format!("{{\"a\":\"{}\"}}", "x".repeat(if n % 2 == 0 { 1 } else { 50_000 }));
        server.admin().write(&format!("foreign-{n:03}"), &data).await.ok(201);
    }
    let mut wire = Wire(TcpStream::connect(server.address).await.unwrap(), key);
    let blind = |said: &str| {
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        let mut body: serde_json::Value = serde_json::from_str(body).unwrap();
        body["error_id"] = json!("");
        let named =
            |line: &&str| !line.starts_with("x-polyai-correlation-id") && !line.starts_with("date");
        (head.split("\r\n").filter(named).map(str::to_owned).collect::<Vec<_>>(), body)
    };
    // A round is a fixed sample; a machine that is busy with other things may spoil one.
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let (mut foreign, mut absent) = (Vec::new(), Vec::new());
        for n in 0..1500 {
            // Each goes first every other time: whoever does finds the server asleep.
            let mut said = Vec::new();
            for turn in 0..2 {
                let is_foreign = (turn + n) % 2 == 0;
                let whose = if is_foreign { "foreign" } else { "nowhere" };
                let (took, answer) = wire.took(&format!("{whose}-{:03}", n % 64)).await;
                if is_foreign { &mut foreign } else { &mut absent }.push(took);
                said.push(answer);
            }
            if n < 64 {
                assert_eq!(blind(&said[0]), blind(&said[1]));
            }
        }
        let median = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64()
        };
        ratios.push(median(foreign) / median(absent));
        if (0.95..=1.05).contains(ratios.last().unwrap()) {
            return;
        }
    }
    panic!("foreign takes {ratios:?} of the time of absent, at the medians of 1500 reads each");
}
