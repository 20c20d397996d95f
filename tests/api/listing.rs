//! Listing for operators, and erasing much at once.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::failures;
use crate::failures::Befalls;
use crate::harness::Client;
use crate::harness::Server;

async fn fill(server: &Server, count: usize) {
    let admin = server.admin();
    for n in 0..count {
        server.clock.advance(Duration::from_millis(1));
        let project = if n % 3 == 0 { "p" } else { "q" };
        let status = if n % 5 == 0 { "failed" } else { "ready" };
        let body = json!({ "data": { "secret": "payload" }, "project_id": project, "status": status, "shared_id": format!("S{}", n % 7) });
        admin.put(&format!("/v1/handoff_state?id=CA{n}"), body.to_string()).await.ok(201);
    }
}

/// Every id that a listing shows, page by page.
async fn ids(client: &Client, query: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut after = String::new();
    loop {
        let page = client.get(&format!("/v1/handoffs?{query}{after}")).await;
        assert!(!page.text().contains("payload"));
        let page = page.ok(200);
        let shown = page["handoffs"].as_array().unwrap();
        ids.extend(shown.iter().map(|h| h["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn everything_is_listed_once_newest_first_and_by_project_and_status() {
    let server = Server::start();
    fill(&server, 230).await;
    let admin = server.admin();
    let all: Vec<_> = (0..230).rev().map(|n| format!("CA{n}")).collect();
    assert_eq!(ids(&admin, "").await, all);
    let of = |keep: fn(usize) -> bool| {
        (0..230).rev().filter(|n| keep(*n)).map(|n| format!("CA{n}")).collect::<Vec<_>>()
    };
    assert_eq!(ids(&admin, "project_id=p").await, of(|n| n % 3 == 0));
    assert_eq!(ids(&admin, "status=failed").await, of(|n| n % 5 == 0));
    assert_eq!(ids(&admin, "project_id=q&status=failed").await, of(|n| n % 3 != 0 && n % 5 == 0));
    assert_eq!(ids(&admin, "project_id=nobody").await, [""; 0]);
    let narrow = server.key(json!({ "projects": ["p"], "scopes": ["ops:read"] })).await;
    assert_eq!(ids(&narrow, "").await, of(|n| n % 3 == 0));
    narrow.get("/v1/handoffs?project_id=q").await.refused(403, "PROJECT_NOT_ALLOWED");
    assert_eq!(ids(&server.stranger().await, "").await, [""; 0]);
    let reader = server.key(json!({ "scopes": ["handoff:read"] })).await;
    reader.get("/v1/handoffs").await.refused(403, "MISSING_SCOPE");
    let next = admin.get("/v1/handoffs").await.ok(200)["next"].as_str().unwrap().to_owned();
    server
        .stranger()
        .await
        .get(&format!("/v1/handoffs?after={next}"))
        .await
        .refused(400, "INVALID_PARAMETER");
    admin.get("/v1/handoffs?after=x").await.refused(400, "INVALID_PARAMETER");
    admin.get("/v1/handoffs?status=x").await.refused(400, "INVALID_PARAMETER");
    admin.get("/v1/handoffs?id=x").await.refused(400, "UNKNOWN_PARAMETER");
    let first = &admin.get("/v1/handoffs").await.ok(200)["handoffs"][0];
    let read = admin.read("CA229").await;
    assert_eq!(first["revision"].to_string(), read.header("x-handoff-revision"));
    assert_eq!(first["size_bytes"], r#"{"secret":"payload"}"#.len());
}

async fn erase(client: &Client, query: &str) -> Value {
    client.delete(&format!("/v1/handoffs?{query}")).await.ok(200)
}

#[tokio::test]
async fn all_of_a_shared_id_a_project_or_an_account_is_erased_once_it_is_confirmed() {
    let server = Server::start();
    fill(&server, 60).await;
    let admin = server.admin();
    let stranger = server.stranger().await;
    stranger.write("CA1", "{}").await.ok(201);
    assert_eq!(erase(&admin, "shared_id=S1").await, json!({ "erased": 9, "done": true }));
    admin.read("CA1").await.refused(404, "HANDOFF_ERASED");
    admin.get("/v1/handoff_state?shared_id=S1").await.refused(404, "HANDOFF_NOT_FOUND");
    for query in ["project_id=p", "project_id=p&confirm=q", "account_id=default"] {
        admin.delete(&format!("/v1/handoffs?{query}")).await.refused(400, "CONFIRMATION_NEEDED");
    }
    admin.delete("/v1/handoffs").await.refused(400, "MISSING_ID");
    admin
        .delete("/v1/handoffs?project_id=p&shared_id=S2&confirm=p")
        .await
        .refused(400, "INVALID_PARAMETER");
    let narrow =
        server.key(json!({ "projects": ["p"], "scopes": ["handoff:erase", "handoff:read"] })).await;
    narrow.delete("/v1/handoffs?project_id=q&confirm=q").await.refused(403, "PROJECT_NOT_ALLOWED");
    narrow
        .delete("/v1/handoffs?account_id=default&confirm=default")
        .await
        .refused(403, "PROJECT_NOT_ALLOWED");
    let of_s2_and_p = (0..60).filter(|n| n % 7 == 2 && n % 3 == 0).count();
    assert_eq!(erase(&narrow, "shared_id=S2").await["erased"], of_s2_and_p);
    let left: BTreeSet<_> = (0..60).filter(|n| n % 7 != 1 && !(n % 7 == 2 && n % 3 == 0)).collect();
    let of_p = left.iter().filter(|n| *n % 3 == 0).count();
    assert_eq!(
        erase(&narrow, "project_id=p&confirm=p").await,
        json!({ "erased": of_p, "done": true })
    );
    assert_eq!(
        erase(&admin, "account_id=default&confirm=default").await["erased"],
        left.len() - of_p
    );
    assert_eq!(ids(&admin, "").await, [""; 0]);
    stranger.read("CA1").await.ok(200);
}

#[tokio::test]
async fn erasing_leaves_off_in_time_and_goes_on_when_asked_again() {
    let flags = ["--request-timeout-ms", "300", "--store", "memory"];
    let (server, fate) = failures::server_with(&flags);
    fill(&server, 600).await;
    fate.set(Some(Befalls::DeletesSlowly(Duration::from_millis(350))));
    let admin = server.admin();
    let (mut erased, mut asked) = (0, 0);
    loop {
        let answer = erase(&admin, "account_id=default&confirm=default").await;
        erased += answer["erased"].as_u64().unwrap();
        asked += 1;
        if answer["done"] == true {
            break;
        }
    }
    assert_eq!(erased, 600);
    assert!(asked > 1, "it was to be too much for one request");
    assert_eq!(ids(&admin, "").await, [""; 0]);
}

#[tokio::test]
async fn the_aliases_of_what_expired_are_erased_too() {
    let server = Server::start();
    let admin = server.admin();
    admin.put("/v1/handoff_state?id=CA1", r#"{"data":{},"ttl_seconds":60}"#).await.ok(201);
    let given = json!({ "aliases": ["x"] });
    admin.post("/v1/handoff_state/aliases?id=CA1", &given).await.ok(200);
    server.clock.advance(Duration::from_secs(60));
    erase(&admin, "account_id=default&confirm=default").await;
    admin.write("CA1", "{}").await.ok(201);
    admin.read("x").await.refused(404, "HANDOFF_NOT_FOUND");
}
