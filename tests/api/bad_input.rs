//! Every refusal is the envelope with a stable code and a message that says what to do, and nothing
//! is stored.

use reqwest::Method;

use crate::harness::SID;
use crate::harness::Server;

/// Sends a body, expects a refusal that mentions `word`, and that nothing was stored.
async fn refused(server: &Server, body: impl Into<Vec<u8>>, status: u16, code: &str, word: &str) {
    let answer = server.admin().put(&format!("/v1/handoff_state?id={SID}"), body).await;
    let message = answer.refused(status, code);
    assert!(message.contains(word), "{code}: {message}");
    server.admin().read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be() {
    let server = Server::start();
    refused(&server, "", 400, "INVALID_JSON", "JSON").await;
    refused(&server, "data=1", 400, "INVALID_JSON", "line 1").await;
    refused(&server, "{\"data\":{}", 400, "INVALID_JSON", "EOF").await;
    refused(&server, "{\"data\":{}} x", 400, "INVALID_JSON", "trailing").await;
    refused(&server, "[{\"data\":{}}]", 422, "NOT_AN_OBJECT", "object").await;
    refused(&server, "\"text\"", 422, "NOT_AN_OBJECT", "object").await;
    refused(&server, "{\"data\":[]}", 422, "NOT_AN_OBJECT", "/data").await;
    refused(&server, "{\"data\":\"{}\"}", 422, "NOT_AN_OBJECT", "/data").await;
    refused(&server, b"{\"data\":{\"a\":\"\xff\"}}", 400, "INVALID_UTF8", "byte 14").await;
    refused(&server, r#"{"data":{"a":{"b":"\ud800"}}}"#, 400, "INVALID_JSON", "/data/a/b").await;
    refused(&server, r#"{"data":{"a":[0,{"k":1,"k":2}]}}"#, 422, "DUPLICATE_KEY", "/data/a/1/k")
        .await;
    refused(&server, r#"{"data":{},"data":{}}"#, 422, "DUPLICATE_KEY", "/data").await;
    refused(&server, r#"{"data":null}"#, 400, "INVALID_PARAMETER", "/data").await;
    refused(
        &server,
        r#"{"context":{"state":{}}}"#,
        400,
        "INVALID_PARAMETER",
        "/context/state/handoff",
    )
    .await;
    refused(&server, r#"{"context":7}"#, 400, "INVALID_PARAMETER", "/context").await;
    refused(
        &server,
        r#"{"data":{},"context":{"state":{"handoff":{}}}}"#,
        400,
        "INVALID_PARAMETER",
        "exclude",
    )
    .await;
    refused(&server, r#"{"data":{},"ttl":60}"#, 400, "UNKNOWN_PARAMETER", "ttl_seconds").await;
}

#[tokio::test]
async fn depth_32_is_taken_and_33_is_not() {
    let server = Server::start();
    let nested = |depth: usize| {
        format!("{{\"data\":{}{}}}", "{\"k\":".repeat(depth - 1) + "{}", "}".repeat(depth - 1))
    };
    refused(&server, nested(33), 422, "TOO_DEEP", "/data/k").await;
    refused(&server, nested(200), 422, "TOO_DEEP", "").await;
    server.admin().put(&format!("/v1/handoff_state?id={SID}"), nested(32)).await.ok(201);
}

#[tokio::test]
async fn a_body_of_256_kib_is_taken_and_one_byte_more_is_not() {
    let server = Server::start();
    let body = |length: usize| format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(length - 17));
    assert_eq!(body(262_144).len(), 262_144);
    refused(&server, body(262_145), 413, "BODY_TOO_LARGE", "262144").await;
    server.admin().put(&format!("/v1/handoff_state?id={SID}"), body(262_144)).await.ok(201);
    assert_eq!(
        server.admin().read(SID).await.ok(200)["data"]["a"].as_str().unwrap().len(),
        262_127
    );
}

#[tokio::test]
async fn compressed_bodies_are_refused_before_they_are_read() {
    let server = Server::start();
    for encoding in ["gzip", "br", "zstd", "deflate", "x-gzip", "gzip, br", "identity, gzip"] {
        let headers = [("content-encoding", encoding)];
        let path = format!("/v1/handoff_state?id={SID}");
        let answer = server.admin().put_with(&path, &headers, "not even compressed").await;
        answer.refused(415, "UNSUPPORTED_ENCODING");
    }
    let headers = [("content-encoding", "identity")];
    let path = format!("/v1/handoff_state?id={SID}");
    server.admin().put_with(&path, &headers, "{\"data\":{}}").await.ok(201);
}

#[tokio::test]
async fn members_of_the_wrong_type_are_named() {
    let server = Server::start();
    for (member, word) in [
        ("\"ttl_seconds\":\"3600\"", "/ttl_seconds must be a whole number from 60 to 2592000"),
        ("\"ttl_seconds\":59", "/ttl_seconds"),
        ("\"ttl_seconds\":2592001", "/ttl_seconds"),
        ("\"ttl_seconds\":60.5", "/ttl_seconds"),
        ("\"status\":\"done\"", "/status must be ready, contained or failed"),
        ("\"status\":1", "/status must be a string"),
        ("\"shared_id\":12", "/shared_id must be a string"),
        ("\"shared_id\":\"\"", "/shared_id is empty"),
        ("\"shared_id\":\"{{x}}\"", "/shared_id holds unrendered Liquid"),
        ("\"project_id\":\"v1\"", "/project_id must not be one of"),
        ("\"account_id\":\"a b\"", "/account_id must be 1 to 64"),
    ] {
        refused(&server, format!("{{\"data\":{{}},{member}}}"), 400, "INVALID_PARAMETER", word)
            .await;
    }
}

#[tokio::test]
async fn ids_that_a_callers_bug_left_behind_are_named_as_such() {
    let server = Server::start();
    for (query, code, word) in [
        ("", "MISSING_ID", "?id=CA"),
        ("?ID=CA1", "MISSING_ID", "`id` is missing"),
        ("?id=", "INVALID_ID", "is empty"),
        ("?id=undefined", "INVALID_ID", "JavaScript"),
        ("?id=null", "INVALID_ID", "JSON"),
        ("?id=None", "INVALID_ID", "Python"),
        ("?id=NaN", "INVALID_ID", "number"),
        ("?id=%7B%7Btrigger.call.CallSid%7D%7D", "INVALID_ID", "Liquid"),
        ("?id=a%20b", "INVALID_ID", "position 1"),
        ("?id=a%2Fb", "INVALID_ID", "position 1"),
        ("?id=%ff", "INVALID_ID", "position 0"),
        ("?id=a&id=b", "INVALID_PARAMETER", "more than once"),
    ] {
        let path = format!("/v1/handoff_state{query}");
        let message = server.admin().get(&path).await.refused(400, code);
        assert!(message.contains(word), "{query}: {message}");
        if !query.contains("ID=") {
            server.admin().put(&path, "{\"data\":{}}").await.refused(400, code);
        }
    }
    let long = "x".repeat(129);
    server.admin().read(&long).await.refused(400, "INVALID_ID");
    server.admin().write(&long[..128], "{}").await.ok(201);
}

#[tokio::test]
async fn an_unknown_parameter_of_a_write_is_refused_by_name() {
    let server = Server::start();
    let path = format!("/v1/handoff_state?id={SID}&ttl_seconds=60");
    let message =
        server.admin().put(&path, "{\"data\":{}}").await.refused(400, "UNKNOWN_PARAMETER");
    assert!(message.contains("`ttl_seconds`"), "{message}");
}

#[tokio::test]
async fn wrong_methods_and_paths_are_told_what_there_is() {
    let server = Server::start();
    for (method, path, allow) in [
        (Method::TRACE, "/v1/handoff_state?id=x", "GET, HEAD, PUT, POST, PATCH, DELETE"),
        (Method::PUT, "/v1/keys", "GET, HEAD, POST, DELETE"),
        (Method::POST, "/livez", "GET, HEAD"),
    ] {
        let answer = server.admin().send(method, path, &[], None).await;
        answer.refused(405, "METHOD_NOT_ALLOWED");
        assert_eq!(answer.header("allow"), allow);
    }
    for path in ["/", "/v1", "/v1/handoff_state/", "/v1/handoff_states", "/v2/handoff_state", "//"]
    {
        server.admin().get(path).await.refused(404, "PATH_NOT_FOUND");
    }
}

#[tokio::test]
async fn conditions_that_contradict_are_refused() {
    let server = Server::start();
    let path = format!("/v1/handoff_state?id={SID}");
    let both = [("if-match", "*"), ("if-none-match", "*")];
    server.admin().put_with(&path, &both, "{\"data\":{}}").await.refused(400, "INVALID_PARAMETER");
    let listed = [("if-none-match", "\"1\"")];
    server
        .admin()
        .put_with(&path, &listed, "{\"data\":{}}")
        .await
        .refused(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn a_body_of_very_many_members_costs_no_more_than_its_size() {
    let server = Server::start();
    let members: Vec<_> = (0..22_000).map(|n| format!("\"{n}\":1")).collect();
    let started = std::time::Instant::now();
    let flat = format!("{{{}}}", members.join(","));
    let path = format!("/v1/handoff_state?id={SID}");
    server.admin().put(&path, flat.clone()).await.refused(400, "UNKNOWN_PARAMETER");
    server.admin().put(&path, format!("{{\"data\":{flat}}}")).await.ok(201);
    assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
}
