//! Further ids of a handoff.

use std::time::Duration;

use serde_json::json;

use crate::harness::Answer;
use crate::harness::Client;
use crate::harness::Server;

async fn name(client: &Client, id: &str, aliases: &[&str]) -> Answer {
    let path = format!("/v1/handoff_state/aliases?id={id}");
    client.post(&path, &json!({ "aliases": aliases })).await
}

#[tokio::test]
async fn a_read_by_an_alias_answers_with_the_handoff_and_says_so() {
    let server = Server::start();
    let admin = server.admin();
    admin.write("CA1", r#"{"a":1}"#).await.ok(201);
    let named = name(&admin, "CA1", &["CA2", "sip-call-id:7"]).await.ok(200);
    assert_eq!(named, json!({ "id": "CA1", "aliases": ["CA2", "sip-call-id:7"] }));
    let again = name(&admin, "CA1", &["CA2", "WT3", "CA1"]).await.ok(200);
    assert_eq!(again["aliases"], json!(["CA2", "sip-call-id:7", "WT3"]));
    for alias in ["CA2", "sip-call-id:7", "WT3"] {
        let read = admin.read(alias).await;
        assert_eq!(read.header("x-handoff-matched-by"), "alias");
        assert_eq!(read.ok(200), json!({ "id": "CA1", "data": { "a": 1 } }));
    }
    assert_eq!(admin.read("CA1").await.header("x-handoff-matched-by"), "");
    // A later write shows through; a change by the alias is a change of the handoff.
    admin.write("CA1", r#"{"a":2}"#).await.ok(200);
    admin.patch("/v1/handoff_state?id=CA2", r#"{"data":{"b":3}}"#).await.ok(200);
    assert_eq!(admin.read("WT3").await.ok(200)["data"], json!({ "a": 2, "b": 3 }));
    // A handoff of its own goes before an alias.
    admin.write("CA2", r#"{"own":true}"#).await.ok(201);
    assert_eq!(admin.read("CA2").await.ok(200)["id"], "CA2");
}

#[tokio::test]
async fn an_alias_names_one_handoff_and_a_handoff_has_eight_at_most() {
    let server = Server::start();
    let admin = server.admin();
    admin.write("CA1", "{}").await.ok(201);
    admin.write("CA2", "{}").await.ok(201);
    name(&admin, "CA1", &["x"]).await.ok(200);
    name(&admin, "CA2", &["y", "x"]).await.refused(409, "ALIAS_TAKEN");
    name(&admin, "CA2", &["CA1"]).await.refused(409, "ALIAS_TAKEN");
    admin.read("y").await.refused(404, "HANDOFF_NOT_FOUND");
    let seven = ["a", "b", "c", "d", "e", "f", "g"];
    name(&admin, "CA1", &seven).await.ok(200);
    name(&admin, "CA1", &["h"]).await.refused(422, "TOO_MANY_ALIASES");
    name(&admin, "CA1", &seven).await.ok(200);
    name(&admin, "CA9", &["z"]).await.refused(404, "HANDOFF_NOT_FOUND");
    for bad in [
        json!({}),
        json!({ "aliases": [] }),
        json!({ "aliases": ["a b"] }),
        json!({ "aliases": "x" }),
    ] {
        admin
            .post("/v1/handoff_state/aliases?id=CA1", &bad)
            .await
            .refused(400, "INVALID_PARAMETER");
    }
    let stranger = server.stranger().await;
    name(&stranger, "CA1", &["z"]).await.refused(404, "HANDOFF_NOT_FOUND");
    stranger.write("CA1", "{}").await.ok(201);
    name(&stranger, "CA1", &["x"]).await.ok(200);
    let many: Vec<_> = (0..9).map(|n| format!("m{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    name(&admin, "CA2", &many).await.refused(422, "TOO_MANY_ALIASES");
    // Given again after it has a handoff of its own, an alias is no news.
    admin.write("a", "{}").await.ok(201);
    name(&admin, "CA1", &["a"]).await.ok(200);
    let reader = server.key(json!({ "scopes": ["handoff:read"] })).await;
    name(&reader, "CA1", &["z"]).await.refused(403, "MISSING_SCOPE");
}

#[tokio::test]
async fn two_that_ask_for_one_alias_at_once_do_not_both_get_it() {
    let server = Server::start();
    let admin = server.admin();
    for id in ["CA1", "CA2"] {
        admin.write(id, "{}").await.ok(201);
    }
    for round in 0..8 {
        let alias = format!("x{round}");
        let aliases = [alias.as_str()];
        let (one, two) = tokio::join!(name(&admin, "CA1", &aliases), name(&admin, "CA2", &aliases));
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
    }
}

#[tokio::test]
async fn an_alias_goes_with_its_handoff_and_can_be_given_again() {
    let server = Server::start();
    let admin = server.admin();
    admin.write("CA1", "{}").await.ok(201);
    name(&admin, "CA1", &["x"]).await.ok(200);
    assert_eq!(admin.delete("/v1/handoff_state?id=x").await.status, 204);
    admin.read("x").await.refused(404, "HANDOFF_NOT_FOUND");
    admin.read("CA1").await.refused(404, "HANDOFF_ERASED");
    admin.write("CA1", "{}").await.ok(201);
    admin.read("x").await.refused(404, "HANDOFF_NOT_FOUND");
    let body = r#"{"data":{},"ttl_seconds":60}"#;
    admin.put("/v1/handoff_state?id=CA2", body).await.ok(201);
    name(&admin, "CA2", &["y"]).await.ok(200);
    server.clock.advance(Duration::from_secs(61));
    admin.read("y").await.refused(404, "HANDOFF_NOT_FOUND");
    name(&admin, "CA1", &["y"]).await.ok(200);
    admin.put("/v1/handoff_state?id=CA2", body).await.ok(201);
    assert_eq!(admin.read("y").await.ok(200)["id"], "CA1");
}

#[tokio::test]
async fn aliases_survive_a_restart() {
    let server = Server::start();
    server.admin().write("CA1", "{}").await.ok(201);
    name(&server.admin(), "CA1", &["x"]).await.ok(200);
    let (folder, clock) = (server.folder(), server.clock.clone());
    drop(server);
    let server = Server::on(&folder, clock, &[]);
    assert_eq!(server.admin().read("x").await.ok(200)["id"], "CA1");
}

#[tokio::test]
async fn an_alias_given_while_its_handoff_is_erased_does_not_outlive_it() {
    let server = Server::start();
    let admin = server.admin();
    for round in 0..60 {
        let (id, alias) = (format!("CA{round}"), format!("x{round}"));
        admin.write(&id, "{}").await.ok(201);
        let aliases = [alias.as_str()];
        let path = format!("/v1/handoff_state?id={id}");
        let (given, erased) = tokio::join!(name(&admin, &id, &aliases), admin.delete(&path));
        assert!([200, 404].contains(&given.status) && erased.status == 204);
        admin.write(&id, "{}").await.ok(201);
        admin.read(&alias).await.refused(404, "HANDOFF_NOT_FOUND");
    }
}
