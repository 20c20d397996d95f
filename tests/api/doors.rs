//! Every route × every credential, and what a foreign account can tell.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;

use baton::http::gate::Door;
use baton::http::routes::ROUTES;
use reqwest::Method;

use crate::contract;
use crate::harness::Answer;
use crate::harness::SID;
use crate::harness::Server;

fn basic(key: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("key:{key}")))
}

/// Keys that open nothing, each as a caller would present it.
fn bad_keys(good: &str) -> Vec<String> {
    let (body, sum) = good.split_at(good.len() - 6);
    let mut mistyped = body.to_owned();
    mistyped.replace_range(20..21, if &body[20..21] == "a" { "b" } else { "a" });
    let other_server = "btk_0000000000_0000000000000000000000000000000000000000000_KMSVHT";
    vec![
        "nonsense".to_owned(),
        format!("{mistyped}{sum}"),
        good[..40].to_owned(),
        format!("{good}x"),
        other_server.to_owned(),
        "bta_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        "a.b.c".to_owned(),
    ]
}

#[tokio::test]
async fn every_route_behind_a_door_refuses_nobody_and_bad_keys() {
    let server = Server::start();
    let good =
        server.admin().post("/v1/keys", &json!({ "scopes": ["handoff:read"] })).await.ok(201);
    let good = good["key"].as_str().unwrap();
    for route in ROUTES.iter().filter(|route| matches!(route.door, Door::Key | Door::KeyOrBasic)) {
        for (method, _) in route.methods {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let path = contract::filled_in(route.path);
            let path = format!("{path}?id={SID}");
            let body = || Some(b"{\"data\":{}}".to_vec());
            let nobody = server.nobody().send(method.clone(), &path, &[], body()).await;
            nobody.refused(401, "MISSING_CREDENTIALS");
            assert!(!nobody.header("www-authenticate").is_empty());
            for key in bad_keys(good) {
                for client in [
                    server.client(&key),
                    server.presenting("authorization", format!("Bearer {key}")),
                ] {
                    client
                        .send(method.clone(), &path, &[], body())
                        .await
                        .refused(401, "INVALID_KEY");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_key_is_taken_as_header_and_as_bearer_but_not_as_both() {
    let server = Server::start();
    server.admin().write(SID, "{}").await.ok(201);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        server
            .presenting("authorization", format!("{scheme} {}", server.admin))
            .read(SID)
            .await
            .ok(200);
    }
    let path = format!("/v1/handoff_state?id={SID}");
    let bearer = format!("Bearer {}", server.admin);
    for (name, value) in [("authorization", bearer.as_str()), ("x-api-key", server.admin.as_str())]
    {
        let twice = server.admin().get_with(&path, &[(name, value)]).await;
        twice.refused(400, "AMBIGUOUS_CREDENTIALS");
    }
    server.presenting("authorization", "Digest x").read(SID).await.refused(401, "INVALID_KEY");
    server.presenting("x-api-key", "").read(SID).await.refused(401, "MISSING_CREDENTIALS");
}

#[tokio::test]
async fn basic_opens_reads_of_a_handoff_to_keys_that_may_do_nothing_else() {
    let server = Server::start();
    server.admin().write(SID, "{}").await.ok(201);
    let make = async |scopes: &[&str]| {
        let made = server.admin().post("/v1/keys", &json!({ "scopes": scopes })).await.ok(201);
        made["key"].as_str().unwrap().to_owned()
    };
    let narrow = make(&["handoff:read"]).await;
    let reader = server.presenting("authorization", basic(&narrow));
    reader.read(SID).await.ok(200);
    reader.write(SID, "{}").await.refused(403, "BASIC_NOT_ALLOWED");
    reader.get("/v1/keys").await.refused(403, "BASIC_NOT_ALLOWED");
    for wide in [make(&["handoff:read", "handoff:write"]).await, server.admin.clone()] {
        server
            .presenting("authorization", basic(&wide))
            .read(SID)
            .await
            .refused(403, "BASIC_NOT_ALLOWED");
    }
    for junk in ["Basic", "Basic %%%", "Basic bm9jb2xvbg=="] {
        let answer = server.presenting("authorization", junk).read(SID).await;
        assert_eq!(answer.status, 401, "{junk}");
    }
}

#[tokio::test]
async fn only_reads_ask_for_basic_and_never_a_browsers_page() {
    let server = Server::start();
    let asks = |answer: &Answer| answer.header("www-authenticate").starts_with("Basic");
    let path = format!("/v1/handoff_state?id={SID}");
    assert!(asks(&server.nobody().get(&path).await));
    let page = [("origin", "https://flex.twilio.com")];
    assert!(!asks(&server.nobody().get_with(&path, &page).await));
    assert!(!asks(&server.nobody().put(&path, "{}").await));
    assert!(!asks(&server.nobody().get("/v1/keys").await));
}

/// The part of a refusal that may differ between two requests is its correlation id.
fn masked(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let mut body = answer.json();
    body["error_id"] = Value::Null;
    let varies = ["x-polyai-correlation-id", "date"];
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !varies.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (answer.status, headers, body)
}

#[tokio::test]
async fn another_accounts_handoff_cannot_be_told_from_none() {
    let server = Server::start();
    server.admin().write(SID, r#"{"secret":1}"#).await.ok(201);
    let stranger = server.stranger().await;
    let foreign = stranger.read(SID).await;
    let absent = stranger.read("CAffffffffffffffffffffffffffffffff").await;
    foreign.refused(404, "HANDOFF_NOT_FOUND");
    assert_eq!(masked(&foreign), masked(&absent));
    let named = stranger.get(&format!("/v1/handoff_state?id={SID}&account_id=default")).await;
    named.refused(403, "ACCOUNT_NOT_ALLOWED");
    stranger.write(SID, r#"{"mine":1}"#).await.ok(201);
    assert_eq!(server.admin().read(SID).await.ok(200)["data"], json!({ "secret": 1 }));
    assert_eq!(stranger.read(SID).await.ok(200)["data"], json!({ "mine": 1 }));
}

#[tokio::test]
async fn the_admin_acts_for_any_account_that_a_query_or_body_names() {
    let server = Server::start();
    let admin = server.admin();
    let path = format!("/v1/handoff_state?id={SID}&account_id=acme");
    assert_eq!(admin.put(&path, "{\"data\":{}}").await.ok(201)["account_id"], "acme");
    admin.get(&path).await.ok(200);
    admin.read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
    let body = r#"{"data":{},"account_id":"other"}"#;
    admin.put(&path, body).await.refused(400, "INVALID_PARAMETER");
    let unscoped = format!("/v1/handoff_state?id={SID}");
    assert_eq!(admin.put(&unscoped, body).await.ok(201)["account_id"], "other");
}

#[tokio::test]
async fn a_key_of_some_projects_reaches_no_others() {
    let server = Server::start();
    let admin = server.admin();
    let path = format!("/v1/handoff_state?id={SID}");
    admin.put(&path, r#"{"data":{},"project_id":"support"}"#).await.ok(201);
    let scopes = json!(["handoff:read", "handoff:write"]);
    let sales = server.key(json!({ "scopes": scopes, "projects": ["sales"] })).await;
    let support = server.key(json!({ "scopes": scopes, "projects": ["support"] })).await;
    support.read(SID).await.ok(200);
    sales.read(SID).await.refused(404, "HANDOFF_IN_OTHER_PROJECT");
    sales
        .put(&path, r#"{"data":{},"project_id":"sales"}"#)
        .await
        .refused(409, "HELD_BY_OTHER_PROJECT");
    sales
        .put(&path, r#"{"data":{},"project_id":"support"}"#)
        .await
        .refused(403, "PROJECT_NOT_ALLOWED");
    sales.put(&path, r#"{"data":{}}"#).await.refused(403, "PROJECT_NOT_ALLOWED");
    assert_eq!(admin.read(SID).await.ok(200)["data"], json!({}));
}

#[tokio::test]
async fn another_spelling_of_a_path_is_no_way_round_its_door() {
    let server = Server::start();
    let proxied = [("x-forwarded-for", "203.0.113.9")];
    for path in ["/metric%73", "/%6detrics", "//metrics", "/metrics/", "/METRICS"] {
        server.nobody().get_with(path, &proxied).await.refused(404, "PATH_NOT_FOUND");
    }
    server
        .admin()
        .get(&format!("/v1/handoff%5Fstate?id={SID}"))
        .await
        .refused(404, "PATH_NOT_FOUND");
}

#[tokio::test]
async fn metrics_are_for_this_machine_and_for_operators() {
    let server = Server::start();
    server.admin().write(SID, "{}").await.ok(201);
    let metrics = server.nobody().get("/metrics").await;
    let line =
        "baton_http_requests_total{route=\"/v1/handoff_state\",method=\"PUT\",status=\"201\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    for header in ["x-forwarded-for", "forwarded", "x-real-ip", "via"] {
        let proxied = server.nobody().get_with("/metrics", &[(header, "203.0.113.9")]).await;
        proxied.refused(401, "MISSING_CREDENTIALS");
    }
    let reader = server.key(json!({ "scopes": ["handoff:read"] })).await;
    reader.get("/metrics").await.refused(403, "MISSING_SCOPE");
    let operator = server.key(json!({ "scopes": ["ops:read"] })).await;
    assert_eq!(operator.get_with("/metrics", &[("via", "1.1 proxy")]).await.status, 200);
}
