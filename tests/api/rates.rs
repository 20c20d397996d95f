//! How fast a key may ask.

use std::time::Duration;

use serde_json::json;

use crate::harness::SID;
use crate::harness::Server;

#[tokio::test]
async fn a_key_that_asks_too_fast_is_told_when_to_come_back_and_others_are_not() {
    let server = Server::with(&["--rate-requests", "1", "--rate-requests-burst", "5"]);
    let (one, other) = (
        server.key(json!({ "scopes": ["handoff:read"] })).await,
        server.key(json!({ "scopes": ["handoff:read"] })).await,
    );
    for _ in 0..5 {
        one.read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
    }
    let refused = one.read(SID).await;
    assert_eq!(refused.header("retry-after"), "1");
    refused.refused(429, "RATE_LIMITED");
    // Whatever it asks for.
    one.put("/v1/handoff_state?id=CA1", "{").await.refused(429, "RATE_LIMITED");
    other.read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
    server.nobody().get("/livez").await.ok(200);
    server.nobody().get("/metrics").await.ok(200);
}

#[tokio::test]
async fn whoever_misses_many_different_ids_is_held_back_even_when_a_guess_would_hit() {
    let server = Server::with(&["--rate-misses", "1", "--rate-misses-burst", "3"]);
    let guesser =
        server.key(json!({ "scopes": ["handoff:read", "handoff:erase", "handoff:write"] })).await;
    let other = server.key(json!({ "scopes": ["handoff:read"] })).await;
    server.admin().write(SID, "{}").await.ok(201);
    for _ in 0..20 {
        guesser.read("CA1").await.refused(404, "HANDOFF_NOT_FOUND");
    }
    guesser.get("/v1/handoff_state?shared_id=CA1").await.refused(404, "HANDOFF_NOT_FOUND");
    guesser.delete("/v1/handoff_state?id=CA2").await.refused(404, "HANDOFF_NOT_FOUND");
    let refused = guesser.patch("/v1/handoff_state?id=CA3", r#"{"data":{}}"#).await;
    assert_eq!(refused.header("retry-after"), "1");
    refused.refused(429, "TOO_MANY_MISSES");
    guesser.read(SID).await.refused(429, "TOO_MANY_MISSES");
    guesser
        .get(&format!("/v1/handoff_state?id={SID}&miss=200"))
        .await
        .refused(429, "TOO_MANY_MISSES");
    // A write is no guess.
    guesser.write("CA9", "{}").await.ok(201);
    other.read(SID).await.ok(200);
    server.clock.advance(Duration::from_secs(1));
    guesser.read(SID).await.ok(200);
}

#[tokio::test]
async fn a_conditional_write_is_a_guess_as_a_read_is_and_a_waiting_read_is_one_from_its_start() {
    let server = Server::with(&["--rate-misses", "1", "--rate-misses-burst", "1"]);
    let guesser = async || {
        let scopes = ["handoff:read", "handoff:write"];
        server.key(json!({ "scopes": scopes })).await
    };
    let writer = guesser().await;
    let never = [("if-match", "\"1\"")];
    for (n, status) in [(1, 412), (2, 429), (3, 429)] {
        let path = format!("/v1/handoff_state?id=CA{n}");
        assert_eq!(writer.put_with(&path, &never, r#"{"data":{}}"#).await.status, status);
    }
    let waiter = guesser().await;
    waiter.read("CA1").await.refused(404, "HANDOFF_NOT_FOUND");
    let waits = waiter.get("/v1/handoff_state?id=CA2&wait=8").await;
    waits.refused(429, "TOO_MANY_MISSES");
}
