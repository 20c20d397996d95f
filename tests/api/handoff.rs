//! Writing a call's handoff and reading it.

use std::time::Duration;

use serde_json::json;

use crate::harness::SID;
use crate::harness::Server;

fn path(id: &str) -> String {
    format!("/v1/handoff_state?id={id}")
}

#[tokio::test]
async fn what_was_written_is_read_byte_for_byte() {
    let server = Server::start();
    let data = r#"{ "n" : 1.10,"big":123456789012345678901234567890, "s":"\u00e9é 😀 שלום" , "o":{"a":[ ]}}"#;
    let written = server.admin().write(SID, data).await;
    let receipt = written.ok(201);
    assert_eq!((&receipt["created"], &receipt["changed"]), (&json!(true), &json!(true)));
    assert_eq!(receipt["size_bytes"], data.len());
    let read = server.admin().read(SID).await;
    assert_eq!(read.status, 200);
    assert_eq!(read.text(), format!("{{\"id\":\"{SID}\",\"data\":{data}}}"));
    assert_eq!(read.header("etag"), format!("\"{}\"", receipt["revision"]));
    assert_eq!(read.header("x-handoff-revision"), receipt["revision"].to_string());
    assert_eq!(read.header("x-handoff-written-at"), receipt["written_at"].as_str().unwrap());
    assert_eq!(read.header("x-handoff-expires-at"), receipt["expires_at"].as_str().unwrap());
}

#[tokio::test]
async fn a_read_shows_id_shared_id_and_data_and_nothing_else() {
    let server = Server::start();
    let body =
        json!({ "data": {}, "shared_id": "five9-17", "status": "failed", "ttl_seconds": 60 });
    server.admin().put(&path(SID), body.to_string()).await.ok(201);
    let read = server.admin().read(SID).await.ok(200);
    assert_eq!(read, json!({ "id": SID, "shared_id": "five9-17", "data": {} }));
}

#[tokio::test]
async fn polyais_own_form_is_taken_with_whatever_else_the_context_holds() {
    let server = Server::start();
    let body = r#"{"context":{"turn":7,"state":{"lang":"en","handoff":{"reason":"billing"}}},"shared_id":null}"#;
    server.admin().put(&path(SID), body).await.ok(201);
    assert_eq!(server.admin().read(SID).await.ok(200)["data"], json!({ "reason": "billing" }));
}

#[tokio::test]
async fn the_same_content_again_keeps_the_revision_and_renews_the_life() {
    let server = Server::start();
    let admin = server.admin();
    let first = admin.write(SID, r#"{"a":1}"#).await.ok(201);
    server.clock.advance(Duration::from_secs(3600));
    let again = admin.write(SID, r#"{"a":1}"#).await.ok(200);
    assert_eq!((&again["created"], &again["changed"]), (&json!(false), &json!(false)));
    assert_eq!(again["revision"], first["revision"]);
    assert_eq!(again["written_at"], first["written_at"]);
    assert!(again["expires_at"].as_str() > first["expires_at"].as_str());
    assert_eq!(
        admin.read(SID).await.header("x-handoff-expires-at"),
        again["expires_at"].as_str().unwrap()
    );
    let other = admin.write(SID, r#"{"a": 1}"#).await.ok(200);
    assert_eq!(other["changed"], true, "other bytes are other content");
    assert!(other["revision"].as_u64() > first["revision"].as_u64());
}

#[tokio::test]
async fn a_reader_who_has_the_revision_gets_304_and_no_body() {
    let server = Server::start();
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    let tag = admin.read(SID).await.header("etag").to_owned();
    let again = admin.get_with(&path(SID), &[("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.header("etag"), again.body.len()), (304, tag.as_str(), 0));
    admin.write(SID, r#"{"a":1}"#).await.ok(200);
    assert_eq!(admin.get_with(&path(SID), &[("if-none-match", &tag)]).await.status, 200);
}

#[tokio::test]
async fn a_writer_may_say_what_must_be_there() {
    let server = Server::start();
    let admin = server.admin();
    let put = async |name: &str, value: &str, data: &str| {
        admin.put_with(&path(SID), &[(name, value)], format!("{{\"data\":{data}}}")).await
    };
    put("if-match", "*", "{}").await.refused(412, "PRECONDITION_FAILED");
    put("if-match", "\"1\"", "{}").await.refused(412, "PRECONDITION_FAILED");
    let first = put("if-none-match", "*", "{}").await.ok(201)["revision"].to_string();
    let refused = put("if-none-match", "*", r#"{"a":1}"#).await;
    refused.refused(412, "PRECONDITION_FAILED");
    assert_eq!(refused.header("etag"), format!("\"{first}\""));
    let second = put("if-match", &format!("\"{first}\""), r#"{"a":2}"#).await.ok(200)["revision"]
        .to_string();
    let stale = put("if-match", &format!("\"{first}\""), r#"{"a":3}"#).await;
    assert!(stale.refused(412, "PRECONDITION_FAILED").contains(&second));
    put("if-match", "*", r#"{"a":4}"#).await.ok(200);
    assert_eq!(admin.read(SID).await.ok(200)["data"], json!({ "a": 4 }));
}

#[tokio::test]
async fn of_many_writers_with_one_condition_exactly_one_wins() {
    let server = Server::start();
    let admin = server.admin();
    let writers = (0..20).map(|n| {
        let admin = admin.clone();
        tokio::spawn(async move {
            let body = format!("{{\"data\":{{\"n\":{n}}}}}");
            admin.put_with(&path(SID), &[("if-none-match", "*")], body).await.status
        })
    });
    let mut statuses = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        statuses.push(writer.await.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 412].contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn a_handoff_lives_as_long_as_its_writer_says_and_then_is_said_to_have_expired() {
    let server = Server::start();
    let admin = server.admin();
    admin.put(&path(SID), r#"{"data":{},"ttl_seconds":60}"#).await.ok(201);
    server.clock.advance(Duration::from_millis(59_999));
    admin.read(SID).await.ok(200);
    server.clock.advance(Duration::from_millis(1));
    admin.read(SID).await.refused(404, "HANDOFF_EXPIRED");
    server.clock.advance(Duration::from_secs(72 * 3600));
    admin.read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
    admin.write(SID, "{}").await.ok(201);
    server.clock.advance(Duration::from_secs(86_400));
    admin.read(SID).await.refused(404, "HANDOFF_EXPIRED");
}

#[tokio::test]
async fn the_receipt_tells_what_the_handoff_fits() {
    let server = Server::start();
    let fits = async |length: usize| {
        let data = format!("{{\"a\":\"{}\"}}", "x".repeat(length));
        server.admin().write(SID, &data).await.json()["fits"].clone()
    };
    assert_eq!(fits(10).await, json!({ "studio": true, "flex_task": true, "send_to_flex": true }));
    assert_eq!(
        fits(2000).await,
        json!({ "studio": true, "flex_task": true, "send_to_flex": false })
    );
    assert_eq!(
        fits(9000).await,
        json!({ "studio": true, "flex_task": false, "send_to_flex": false })
    );
    assert_eq!(
        fits(70_000).await,
        json!({ "studio": false, "flex_task": false, "send_to_flex": false })
    );
}

#[tokio::test]
async fn a_contained_call_is_told_by_its_data_or_by_its_writer() {
    let server = Server::start();
    let status =
        async |body: &str| server.admin().put(&path(SID), body).await.json()["status"].clone();
    assert_eq!(status(r#"{"data":{"contained":"true"}}"#).await, "contained");
    assert_eq!(status(r#"{"data":{"contained":true},"status":"ready"}"#).await, "ready");
    assert_eq!(status(r#"{"data":{}}"#).await, "ready");
}

#[tokio::test]
async fn ids_are_case_sensitive_and_unknown_parameters_of_a_read_are_ignored() {
    let server = Server::start();
    server.admin().write("CaseMatters", "{}").await.ok(201);
    server.admin().read("casematters").await.refused(404, "HANDOFF_NOT_FOUND");
    server.admin().get("/v1/handoff_state?id=CaseMatters&utm=1&wait=3").await.ok(200);
}

#[tokio::test]
async fn head_answers_what_get_would_without_its_body() {
    let server = Server::start();
    server.admin().write(SID, "{}").await.ok(201);
    let head = server.admin().send(reqwest::Method::HEAD, &path(SID), &[], None).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("etag").starts_with('"'));
}
