//! JSON Merge Patch of `data`.

use std::time::Duration;

use serde_json::json;

use crate::harness::SID;
use crate::harness::Server;

fn path() -> String {
    format!("/v1/handoff_state?id={SID}")
}

#[tokio::test]
async fn members_are_set_and_removed_and_the_others_keep_their_bytes() {
    let server = Server::start();
    let admin = server.admin();
    let data =
        r#"{"n":1.10,"big":123456789012345678901234567890,"o":{ "k":1e2,"l":[ 1 ]},"draft":"x"}"#;
    let first = admin.write(SID, data).await.ok(201);
    let patch = r#"{"data":{"verified":true,"draft":null,"o":{"m":"\u00e9"}}}"#;
    let receipt = admin.patch(&path(), patch).await.ok(200);
    assert!(receipt["revision"].as_u64() > first["revision"].as_u64());
    assert_eq!((&receipt["created"], &receipt["changed"]), (&json!(false), &json!(true)));
    let merged = r#"{"n":1.10,"big":123456789012345678901234567890,"o":{"k":1e2,"l":[ 1 ],"m":"\u00e9"},"verified":true}"#;
    assert_eq!(admin.read(SID).await.text(), format!("{{\"id\":\"{SID}\",\"data\":{merged}}}"));
    // PolyAI's form, and the bare patch by its media type.
    admin.patch(&path(), r#"{"context":{"state":{"handoff":{"a":1}}}}"#).await.ok(200);
    let bare = [("content-type", "application/merge-patch+json; charset=utf-8")];
    let body = br#" {"a":2,"verified":null} "#.to_vec();
    let patched = admin.send(reqwest::Method::PATCH, &path(), &bare, Some(body)).await;
    patched.ok(200);
    let read = admin.read(SID).await.ok(200);
    assert_eq!((&read["data"]["a"], read["data"].get("verified")), (&json!(2), None));
    let wrapped = br#"{"data":{"a":3}}"#.to_vec();
    let refused = admin.send(reqwest::Method::PATCH, &path(), &bare, Some(wrapped)).await;
    assert!(refused.refused(400, "INVALID_PARAMETER").contains("/data"));
    let unwrapped = admin.patch(&path(), r#"{"a":3}"#).await;
    assert!(unwrapped.refused(400, "UNKNOWN_PARAMETER").contains("merge-patch+json"));
    assert_eq!(admin.read(SID).await.ok(200), read);
}

#[tokio::test]
async fn the_life_begins_anew_with_the_ttl_it_had_and_nothing_changed_keeps_the_revision() {
    let server = Server::start();
    let admin = server.admin();
    let body = r#"{"data":{"a": 1},"ttl_seconds":600,"shared_id":"S","status":"failed"}"#;
    let first = admin.put(&path(), body).await.ok(201);
    server.clock.advance(Duration::from_secs(599));
    let same = admin.patch(&path(), r#"{"data":{"a":1,"z":null}}"#).await.ok(200);
    assert_eq!((&same["changed"], &same["revision"]), (&json!(false), &first["revision"]));
    server.clock.advance(Duration::from_secs(599));
    let patched = admin.patch(&path(), r#"{"data":{"a":2}}"#).await.ok(200);
    assert_eq!((&patched["status"], &patched["shared_id"]), (&json!("failed"), &json!("S")));
    server.clock.advance(Duration::from_secs(600));
    admin.patch(&path(), r#"{"data":{"a":3}}"#).await.refused(404, "HANDOFF_EXPIRED");
    admin.read(SID).await.refused(404, "HANDOFF_EXPIRED");
}

#[tokio::test]
async fn status_follows_data_where_the_patch_changes_what_it_tells_and_both_can_be_named() {
    let server = Server::start();
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    let status = async |body: &str| admin.patch(&path(), body).await.ok(200)["status"].clone();
    assert_eq!(status(r#"{"data":{"contained":true}}"#).await, "contained");
    assert_eq!(status(r#"{"data":{"a":1}}"#).await, "contained");
    assert_eq!(status(r#"{"data":{"contained":null}}"#).await, "ready");
    assert_eq!(status(r#"{"status":"failed"}"#).await, "failed");
    assert_eq!(status(r#"{"data":{"a":2}}"#).await, "failed");
    admin.patch(&path(), r#"{"shared_id":"S"}"#).await.ok(200);
    assert_eq!(admin.read(SID).await.ok(200)["shared_id"], "S");
    admin.patch(&path(), r#"{"shared_id":null}"#).await.ok(200);
    assert_eq!(admin.read(SID).await.ok(200).get("shared_id"), None);
}

#[tokio::test]
async fn a_bad_patch_changes_nothing() {
    let server = Server::with(&["--max-body-bytes", "2048"]);
    let admin = server.admin();
    admin.patch(&path(), r#"{"data":{}}"#).await.refused(404, "HANDOFF_NOT_FOUND");
    admin.write(SID, &format!("{{\"a\":\"{}\"}}", "x".repeat(1500))).await.ok(201);
    let before = admin.read(SID).await;
    let large = format!("{{\"data\":{{\"b\":\"{}\"}}}}", "y".repeat(1500));
    assert!(admin.patch(&path(), large).await.refused(413, "BODY_TOO_LARGE").contains("2048"));
    admin.patch(&path(), r#"{"data":{"b":1,"b":2}}"#).await.refused(422, "DUPLICATE_KEY");
    admin.patch(&path(), r#"{"data":[]}"#).await.refused(422, "NOT_AN_OBJECT");
    admin.patch(&path(), r#"{"data":{"b":}}"#).await.refused(400, "INVALID_JSON");
    admin.patch(&path(), r#"{"ttl_seconds":60}"#).await.refused(400, "UNKNOWN_PARAMETER");
    let revision = before.header("x-handoff-revision").parse::<u64>().unwrap();
    let stale = format!("\"{}\"", revision - 1);
    let refused = admin
        .send(
            reqwest::Method::PATCH,
            &path(),
            &[("if-match", &stale)],
            Some(br#"{"data":{}}"#.to_vec()),
        )
        .await;
    refused.refused(412, "PRECONDITION_FAILED");
    let after = admin.read(SID).await;
    assert_eq!((after.text(), after.header("etag")), (before.text(), before.header("etag")));
}

#[tokio::test]
async fn patches_that_meet_are_all_there_afterwards() {
    let server = Server::start();
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    let patches = (0..150).map(|n| {
        let admin = admin.clone();
        tokio::spawn(async move {
            admin.patch(&path(), format!("{{\"data\":{{\"k{n}\":{n}}}}}")).await.ok(200)
        })
    });
    for patch in patches.collect::<Vec<_>>() {
        patch.await.unwrap();
    }
    let read = admin.read(SID).await.ok(200);
    let wanted: serde_json::Map<_, _> = (0..150).map(|n| (format!("k{n}"), json!(n))).collect();
    assert_eq!(read["data"], serde_json::Value::Object(wanted));
}
