//! Every spelling that PolyAI has published, with every door.

use reqwest::Method;
use serde_json::json;

use crate::harness::SID;
use crate::harness::Server;

const SPELLINGS: [&str; 4] = [
    "/v1/handoff_state",
    "/v1/acme/line/handoff_state",
    "/v3/acme/line/handoff_state",
    "/acme/line/handoff_state",
];

async fn keys(server: &Server) -> (String, String) {
    let make = async |scopes: &[&str]| {
        let wanted = json!({ "account_id": "acme", "projects": ["line"], "scopes": scopes });
        let made = server.admin().post("/v1/keys", &wanted).await.ok(201);
        made["key"].as_str().unwrap().to_owned()
    };
    (make(&["handoff:read"]).await, make(&["handoff:write", "handoff:erase"]).await)
}

#[tokio::test]
async fn every_spelling_takes_every_method_and_all_are_one_resource() {
    let server = Server::start();
    let (reads, writes) = keys(&server).await;
    let (reader, writer) = (server.client(&reads), server.client(&writes));
    for (n, spelling) in SPELLINGS.iter().enumerate() {
        let id = format!("{spelling}?id=CA{n}");
        let project = if n == 0 { "&project_id=line" } else { "" };
        writer.put(&format!("{id}{project}"), r#"{"data":{"a":1}}"#).await.ok(201);
        let body = json!({ "data": { "a": 2 } });
        writer.post(&format!("{id}{project}"), &body).await.ok(200);
        writer.patch(&id, r#"{"data":{"b":3}}"#).await.ok(200);
        for other in SPELLINGS {
            let read = reader.get(&format!("{other}?id=CA{n}")).await.ok(200);
            assert_eq!(read, json!({ "id": format!("CA{n}"), "data": { "a": 2, "b": 3 } }));
        }
        assert_eq!(reader.send(Method::HEAD, &id, &[], None).await.status, 200);
        assert_eq!(writer.delete(&id).await.status, 204);
        for other in SPELLINGS {
            reader.get(&format!("{other}?id=CA{n}")).await.refused(404, "HANDOFF_ERASED");
        }
    }
}

#[tokio::test]
async fn every_spelling_has_the_same_doors() {
    let server = Server::start();
    let (reads, writes) = keys(&server).await;
    let writer = server.client(&writes);
    writer
        .put("/v1/acme/line/handoff_state?id=CA1", r#"{"data":{},"shared_id":"S1"}"#)
        .await
        .ok(201);
    let stranger = server.stranger().await;
    let basic = |key: &str| {
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("u:{key}"));
        server.presenting("authorization", format!("Basic {pair}"))
    };
    for spelling in SPELLINGS {
        let path = format!("{spelling}?id=CA1");
        for client in [
            server.client(&reads),
            server.presenting("authorization", format!("Bearer {reads}")),
            basic(&reads),
        ] {
            client.get(&path).await.ok(200);
        }
        server.nobody().get(&path).await.refused(401, "MISSING_CREDENTIALS");
        server.client(&reads).put(&path, "{}").await.refused(403, "MISSING_SCOPE");
        server.client(&reads).delete(&path).await.refused(403, "MISSING_SCOPE");
        writer.get(&path).await.refused(403, "MISSING_SCOPE");
        basic(&writes).delete(&path).await.refused(403, "BASIC_NOT_ALLOWED");
        let foreign = stranger.get(&path).await;
        if spelling == SPELLINGS[0] {
            foreign.refused(404, "HANDOFF_NOT_FOUND");
        } else {
            foreign.refused(403, "ACCOUNT_NOT_ALLOWED");
        }
    }
}

#[tokio::test]
async fn post_handoff_reads_by_a_body_with_bearer() {
    let server = Server::start();
    let (reads, writes) = keys(&server).await;
    let path = "/v1/acme/line/handoff_state?id=CA1";
    server
        .client(&writes)
        .put(path, r#"{"data":{"contained":"false"},"shared_id":"five9-1"}"#)
        .await
        .ok(201);
    let five9 = server.presenting("authorization", format!("Bearer {reads}"));
    let read = five9.post("/handoff", &json!({ "shared_id": "five9-1" })).await;
    assert_eq!(read.header("x-handoff-matched-by"), "shared_id");
    assert_eq!(
        read.ok(200),
        json!({ "id": "CA1", "shared_id": "five9-1", "data": { "contained": "false" } })
    );
    five9.post("/handoff", &json!({ "id": "CA1", "language": "en" })).await.ok(200);
    five9
        .post("/handoff", &json!({ "shared_id": "five9-2" }))
        .await
        .refused(404, "HANDOFF_NOT_FOUND");
    five9.post("/handoff?miss=200", &json!({ "shared_id": "five9-2" })).await.ok(200);
    five9.post("/handoff", &json!({})).await.refused(400, "MISSING_ID");
    five9.post("/handoff", &json!({ "shared_id": "{{x}}" })).await.refused(400, "INVALID_ID");
    // What a template leaves empty is not there; what does not count is not looked at.
    five9.post("/handoff", &json!({ "shared_id": "", "id": "CA1" })).await.ok(200);
    five9.get("/v1/handoff_state?shared_id=five9-1&id=undefined").await.ok(200);
    five9.get("/v1/handoff_state?shared_id=&id=CA1").await.ok(200);
    five9.get("/v1/handoff_state?shared_id=").await.refused(400, "INVALID_ID");
    server.nobody().post("/handoff", &json!({})).await.refused(401, "MISSING_CREDENTIALS");
    server.client(&writes).post("/handoff", &json!({})).await.refused(403, "MISSING_SCOPE");
}

#[tokio::test]
async fn path_query_and_body_must_agree_and_the_path_holds_a_read_to_its_project() {
    let server = Server::start();
    let admin = server.admin();
    let path = "/v1/acme/line/handoff_state?id=CA1";
    admin.put(path, r#"{"data":{}}"#).await.ok(201);
    admin.get("/v1/acme/other/handoff_state?id=CA1").await.refused(404, "HANDOFF_IN_OTHER_PROJECT");
    admin
        .put("/v1/acme/other/handoff_state?id=CA1", r#"{"data":{}}"#)
        .await
        .refused(409, "HELD_BY_OTHER_PROJECT");
    admin
        .delete("/v1/acme/other/handoff_state?id=CA1")
        .await
        .refused(404, "HANDOFF_IN_OTHER_PROJECT");
    admin.get("/v1/other/line/handoff_state?id=CA1").await.refused(404, "HANDOFF_NOT_FOUND");
    admin.get(&format!("{path}&project_id=other")).await.refused(400, "INVALID_PARAMETER");
    admin.put(path, r#"{"data":{},"account_id":"other"}"#).await.refused(400, "INVALID_PARAMETER");
    admin.get(&format!("{path}&project_id=line&account_id=acme")).await.ok(200);
    let narrow = json!({ "account_id": "acme", "projects": ["line"], "scopes": ["handoff:read"] });
    let narrow = server.key(narrow).await;
    narrow.get("/v1/acme/other/handoff_state?id=CA1").await.refused(403, "PROJECT_NOT_ALLOWED");
    for reserved in ["/v1/v1/line/handoff_state?id=a", "/v1/acme/handoff_state?id=a"] {
        admin.get(reserved).await.refused(400, "INVALID_PARAMETER");
    }
    admin.get("/v1/acme/line/handoff%5Fstate?id=CA1").await.refused(404, "PATH_NOT_FOUND");
    admin.get("/v1/ac%6De/line/handoff_state?id=CA1").await.refused(404, "PATH_NOT_FOUND");
    admin.write(SID, "{}").await.ok(201);
}
