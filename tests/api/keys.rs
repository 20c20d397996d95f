//! Making, listing and revoking keys.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::harness::SID;
use crate::harness::Server;

#[tokio::test]
async fn a_key_is_shown_once_and_opens_what_it_was_made_for() {
    let server = Server::start();
    let wanted = json!({
        "scopes": ["handoff:read"],
        "label": "Function",
        "projects": ["default"],
        "expires_at": "2027-01-31T00:00:00Z",
        "read_defaults": { "wait": 3, "miss": 200 },
    });
    let made = server.admin().post("/v1/keys", &wanted).await.ok(201);
    let listed = server.admin().get("/v1/keys").await.ok(200);
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("key");
    assert_eq!(listed["keys"], json!([shown]));
    assert_eq!(shown["read_defaults"], json!({ "wait": 3, "miss": 200 }));
    server.admin().write(SID, "{}").await.ok(201);
    let reader = server.client(made["key"].as_str().unwrap());
    reader.read(SID).await.ok(200);
    reader.write(SID, "{}").await.refused(403, "MISSING_SCOPE");
    reader.get("/v1/keys").await.refused(403, "MISSING_SCOPE");
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_at_once() {
    let server = Server::start();
    let made =
        server.admin().post("/v1/keys", &json!({ "scopes": ["handoff:read"] })).await.ok(201);
    let reader = server.client(made["key"].as_str().unwrap());
    server.admin().write(SID, "{}").await.ok(201);
    reader.read(SID).await.ok(200);
    let path = format!("/v1/keys?id={}", made["key_id"].as_str().unwrap());
    let gone = server.admin().delete(&path).await;
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    reader.read(SID).await.refused(401, "INVALID_KEY");
    server.admin().delete(&path).await.refused(404, "KEY_NOT_FOUND");
    assert_eq!(server.admin().get("/v1/keys").await.ok(200)["keys"], json!([]));
}

#[tokio::test]
async fn an_expired_key_is_told_so() {
    let server = Server::start();
    let wanted = json!({ "scopes": ["handoff:read"], "expires_at": "2026-11-22T18:02:42Z" });
    let reader = server.key(wanted).await;
    reader.read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
    server.clock.advance(Duration::from_secs(3600));
    reader.read(SID).await.refused(401, "KEY_EXPIRED");
}

#[tokio::test]
async fn nothing_is_granted_that_the_granter_does_not_hold() {
    let server = Server::start();
    let manager = server
        .key(json!({
            "scopes": ["key:manage", "handoff:read"],
            "projects": ["a", "b"],
            "expires_at": "2027-01-01T00:00:00Z",
        }))
        .await;
    for (wanted, word) in [
        (json!({ "scopes": ["handoff:write"] }), "scopes"),
        (json!({ "scopes": ["handoff:read"], "projects": ["c"] }), "projects"),
        (json!({ "scopes": ["handoff:read"], "expires_at": "2027-01-01T00:00:01Z" }), "expires_at"),
    ] {
        let message = manager.post("/v1/keys", &wanted).await.refused(403, "GRANT_TOO_WIDE");
        assert!(message.contains(word), "{message}");
    }
    let other = json!({ "scopes": ["handoff:read"], "account_id": "other" });
    manager.post("/v1/keys", &other).await.refused(403, "ACCOUNT_NOT_ALLOWED");
    let made = manager.post("/v1/keys", &json!({ "scopes": ["handoff:read"] })).await.ok(201);
    assert_eq!(made["projects"], json!(["a", "b"]), "no more than its maker's");
    assert_eq!(made["expires_at"], "2027-01-01T00:00:00.000000Z");
}

#[tokio::test]
async fn a_manager_sees_and_revokes_only_what_it_could_have_made() {
    let server = Server::start();
    let id = |made: &Value| made["key_id"].as_str().unwrap().to_owned();
    let wide =
        id(&server.admin().post("/v1/keys", &json!({ "scopes": ["handoff:read"] })).await.ok(201));
    let foreign = json!({ "scopes": ["handoff:read"], "account_id": "other" });
    let foreign = id(&server.admin().post("/v1/keys", &foreign).await.ok(201));
    let manager = server.key(json!({ "scopes": ["key:manage"], "projects": ["a"] })).await;
    let own = id(&manager.post("/v1/keys", &json!({ "scopes": ["key:manage"] })).await.ok(201));
    let listed = manager.get("/v1/keys").await.ok(200);
    let ids: Vec<_> = listed["keys"].as_array().unwrap().iter().map(id).collect();
    assert!(ids.contains(&own) && !ids.contains(&wide) && !ids.contains(&foreign), "{ids:?}");
    for hidden in [wide, foreign.clone(), "AAAAAAAAAA".to_owned()] {
        manager.delete(&format!("/v1/keys?id={hidden}")).await.refused(404, "KEY_NOT_FOUND");
    }
    assert_eq!(manager.delete(&format!("/v1/keys?id={own}")).await.status, 204);
    let of_other = server.admin().get("/v1/keys?account_id=other").await.ok(200);
    assert_eq!(of_other["keys"].as_array().unwrap().iter().map(id).collect::<Vec<_>>(), [foreign]);
    assert_eq!(server.admin().get("/v1/keys").await.ok(200)["keys"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let server = Server::start();
    for _ in 0..103 {
        server.admin().post("/v1/keys", &json!({ "scopes": ["ops:read"] })).await.ok(201);
    }
    let first = server.admin().get("/v1/keys").await.ok(200);
    assert_eq!(first["keys"].as_array().unwrap().len(), 100);
    let next = first["next"].as_str().unwrap();
    let second = server.admin().get(&format!("/v1/keys?after={next}")).await.ok(200);
    assert_eq!((second["keys"].as_array().unwrap().len(), &second["next"]), (3, &Value::Null));
}

#[tokio::test]
async fn bad_wishes_are_refused_by_name() {
    let server = Server::start();
    for (wanted, code, word) in [
        (json!({}), "INVALID_PARAMETER", "scopes"),
        (json!({ "scopes": [] }), "INVALID_PARAMETER", "at least one"),
        (json!({ "scopes": ["handoff:all"] }), "INVALID_PARAMETER", "handoff:all"),
        (json!({ "scopes": ["ops:read"], "projects": [] }), "INVALID_PARAMETER", "projects"),
        (json!({ "scopes": ["ops:read"], "expires_at": "soon" }), "INVALID_PARAMETER", "RFC 3339"),
        (
            json!({ "scopes": ["ops:read"], "expires_at": "2026-01-01T00:00:00Z" }),
            "INVALID_PARAMETER",
            "past",
        ),
        (
            json!({ "scopes": ["ops:read"], "read_defaults": [1, 200] }),
            "INVALID_PARAMETER",
            "object",
        ),
        (json!({ "scopes": ["ops:read"], "label": "x".repeat(101) }), "INVALID_PARAMETER", "label"),
        (
            json!({ "scopes": ["ops:read"], "read_defaults": { "wait": 9 } }),
            "INVALID_PARAMETER",
            "wait",
        ),
        (
            json!({ "scopes": ["ops:read"], "read_defaults": { "miss": 500 } }),
            "INVALID_PARAMETER",
            "miss",
        ),
        (json!({ "scopes": ["ops:read"], "scope": 1 }), "UNKNOWN_PARAMETER", "scope"),
    ] {
        let message = server.admin().post("/v1/keys", &wanted).await.refused(400, code);
        assert!(message.contains(word), "{wanted}: {message}");
    }
    server.admin().delete("/v1/keys").await.refused(400, "MISSING_ID");
    server.admin().delete("/v1/keys?id=x").await.refused(400, "INVALID_PARAMETER");
}
