//! Look-ups by the other side's id.

use std::time::Duration;

use serde_json::json;

use crate::harness::Client;
use crate::harness::Server;

async fn put(server: &Server, client: &Client, query: &str, body: &str) -> u16 {
    server.clock.advance(Duration::from_millis(1));
    client.put(&format!("/v1/handoff_state?{query}"), body).await.status
}

async fn found(client: &Client, query: &str) -> String {
    let read = client.get(&format!("/v1/handoff_state?{query}")).await;
    match read.status {
        200 => read.json()["id"].as_str().unwrap().to_owned(),
        _ => read.code(),
    }
}

#[tokio::test]
async fn the_newest_that_carries_it_answers_and_erasing_uncovers_the_one_before() {
    let server = Server::start();
    let admin = server.admin();
    for id in ["CA1", "CA2", "CA3"] {
        assert_eq!(
            put(&server, &admin, &format!("id={id}"), r#"{"data":{},"shared_id":"S"}"#).await,
            201
        );
    }
    let read = admin.get("/v1/handoff_state?shared_id=S").await;
    assert_eq!(read.header("x-handoff-matched-by"), "shared_id");
    assert_eq!(read.ok(200), json!({ "id": "CA3", "shared_id": "S", "data": {} }));
    // It wins where both are given.
    assert_eq!(found(&admin, "id=CA1&shared_id=S").await, "CA3");
    assert_eq!(found(&admin, "id=CA1&shared_id=T").await, "HANDOFF_NOT_FOUND");
    // Other content makes CA1 the newest; the same content again does not.
    put(&server, &admin, "id=CA1", r#"{"data":{"a":1},"shared_id":"S"}"#).await;
    put(&server, &admin, "id=CA2", r#"{"data":{},"shared_id":"S"}"#).await;
    assert_eq!(found(&admin, "shared_id=S").await, "CA1");
    for (erased, uncovered) in [("CA1", "CA3"), ("CA3", "CA2"), ("CA2", "HANDOFF_NOT_FOUND")] {
        assert_eq!(admin.delete(&format!("/v1/handoff_state?id={erased}")).await.status, 204);
        assert_eq!(found(&admin, "shared_id=S").await, uncovered);
    }
}

#[tokio::test]
async fn both_ids_are_known_after_a_write_by_either() {
    let server = Server::start();
    let admin = server.admin();
    assert_eq!(put(&server, &admin, "id=CA1&shared_id=S", r#"{"data":{"n":1}}"#).await, 201);
    assert_eq!(put(&server, &admin, "shared_id=S", r#"{"data":{"n":2}}"#).await, 200);
    for query in ["id=CA1", "shared_id=S"] {
        let read = admin.get(&format!("/v1/handoff_state?{query}")).await.ok(200);
        assert_eq!(read, json!({ "id": "CA1", "shared_id": "S", "data": { "n": 2 } }));
    }
    // A later write that does not name it keeps it; another takes its place; null takes it away.
    assert_eq!(put(&server, &admin, "id=CA1", r#"{"data":{"n":3}}"#).await, 200);
    assert_eq!(found(&admin, "shared_id=S").await, "CA1");
    put(&server, &admin, "id=CA1", r#"{"data":{"n":3},"shared_id":"T"}"#).await;
    assert_eq!(found(&admin, "shared_id=S").await, "HANDOFF_NOT_FOUND");
    assert_eq!(found(&admin, "shared_id=T").await, "CA1");
    put(&server, &admin, "id=CA1", r#"{"data":{"n":3},"shared_id":null}"#).await;
    assert_eq!(found(&admin, "shared_id=T").await, "HANDOFF_NOT_FOUND");
    // By the shared id alone, where nothing carries it, it is the id as well.
    assert_eq!(put(&server, &admin, "shared_id=NEW", r#"{"data":{"n":4}}"#).await, 201);
    for query in ["id=NEW", "shared_id=NEW"] {
        assert_eq!(found(&admin, query).await, "NEW");
    }
    // Round trip: what a read answers can be written.
    assert_eq!(
        put(&server, &admin, "id=CA9", r#"{"id":"CA9","shared_id":"S9","data":{}}"#).await,
        201
    );
    assert_eq!(put(&server, &admin, "id=CA9", r#"{"id":"CA8","data":{}}"#).await, 400);
    assert_eq!(
        put(&server, &admin, "id=CA9&shared_id=S8", r#"{"shared_id":"S9","data":{}}"#).await,
        400
    );
    assert_eq!(put(&server, &admin, "account_id=acme", r#"{"id":"CA9","data":{}}"#).await, 201);
}

#[tokio::test]
async fn a_key_finds_the_newest_of_its_own_projects() {
    let server = Server::start();
    let admin = server.admin();
    put(&server, &admin, "id=CA1", r#"{"data":{},"shared_id":"S","project_id":"p"}"#).await;
    put(&server, &admin, "id=CA2", r#"{"data":{},"shared_id":"S","project_id":"q"}"#).await;
    let of = async |project: &str| {
        server.key(json!({ "projects": [project], "scopes": ["handoff:read"] })).await
    };
    assert_eq!(found(&of("p").await, "shared_id=S").await, "CA1");
    assert_eq!(found(&of("q").await, "shared_id=S").await, "CA2");
    assert_eq!(found(&of("r").await, "shared_id=S").await, "HANDOFF_IN_OTHER_PROJECT");
    assert_eq!(found(&admin, "shared_id=S&project_id=p").await, "CA1");
    assert_eq!(found(&server.stranger().await, "shared_id=S").await, "HANDOFF_NOT_FOUND");
}

#[tokio::test]
async fn what_expired_carries_it_no_more_and_what_changes_or_erases_takes_one_id() {
    let server = Server::start();
    let admin = server.admin();
    put(&server, &admin, "id=CA1", r#"{"data":{},"shared_id":"S","ttl_seconds":600}"#).await;
    put(&server, &admin, "id=CA2", r#"{"data":{},"shared_id":"S","ttl_seconds":60}"#).await;
    assert_eq!(found(&admin, "shared_id=S").await, "CA2");
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(found(&admin, "shared_id=S").await, "CA1");
    let both = "/v1/handoff_state?id=CA1&shared_id=S";
    admin.delete(both).await.refused(400, "INVALID_PARAMETER");
    admin.patch(both, r#"{"data":{}}"#).await.refused(400, "INVALID_PARAMETER");
    let empty = "/v1/handoff_state?id=CA1&shared_id=";
    admin.patch(empty, r#"{"data":{"a":0}}"#).await.ok(200);
    admin.patch("/v1/handoff_state?shared_id=S", r#"{"data":{"a":1}}"#).await.ok(200);
    assert_eq!(admin.read("CA1").await.ok(200)["data"], json!({ "a": 1 }));
    assert_eq!(admin.delete("/v1/handoff_state?shared_id=S").await.status, 204);
    admin.read("CA1").await.refused(404, "HANDOFF_ERASED");
    admin.delete("/v1/handoff_state?id=CA1").await.refused(404, "HANDOFF_ERASED");
}

#[tokio::test]
async fn what_carries_it_no_more_is_not_erased_by_it() {
    let server = Server::start();
    let admin = server.admin();
    for round in 0..40 {
        let id = format!("/v1/handoff_state?id=CA{round}");
        let shared = format!("/v1/handoff_state?shared_id=S{round}");
        let body = format!("{{\"data\":{{}},\"shared_id\":\"S{round}\"}}");
        admin.put(&id, body).await.ok(201);
        let (moved, erased) =
            tokio::join!(admin.patch(&id, r#"{"shared_id":"T"}"#), admin.delete(&shared));
        // Whichever was first, the other did not find it.
        assert!(
            matches!((moved.status, erased.status), (200, 404) | (404, 204)),
            "{} {}",
            moved.status,
            erased.status
        );
    }
}
