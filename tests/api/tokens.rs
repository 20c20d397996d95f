//! Connector Tokens and call tokens: every token at every route, for one's own and for others' calls,
//! projects, accounts and environments; and every way to forge one.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton::auth::call_token::CallTokens;
use baton::domain::connector::ConnectorId;
use baton::http::gate::Door;
use baton::http::routes::ROUTES;
use baton::store::seal::Seal;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::contract;
use crate::harness::Answer;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;

const OTHER_SID: &str = "CAffffffffffffffffffffffffffffffff";

/// A call token of a connector, as the server itself makes them.
pub fn call_token(server: &Server, connector: &str, call: &str, life: Duration) -> String {
    let key = std::fs::read_to_string(server.data_dir().join("seal.key")).unwrap();
    let seal = Seal::new(vec![STANDARD.decode(key.trim()).unwrap().into()]).unwrap();
    let connector: ConnectorId = connector.parse().unwrap();
    let tokens = CallTokens::new(&seal).unwrap();
    let token =
        tokens.mint(&connector, (&call.parse().unwrap(), 1), server.clock.now(), life).unwrap();
    token.expose_secret().to_owned()
}

/// What a credential meets at every route behind a door for holders of secrets: code by route.
pub async fn at_every_route(client: &Client, connector: &str) -> Vec<(String, u16, String)> {
    let mut met = Vec::new();
    for route in ROUTES.iter().filter(|route| route.door != Door::Open) {
        // All but signing in needs a session there, and looks at nothing else.
        let is_console = route.door == Door::Console;
        let from_page: &[_] = if is_console { &[("sec-fetch-site", "same-origin")] } else { &[] };
        for (method, _) in
            route.methods.iter().filter(|(method, _)| !is_console || *method == "POST")
        {
            let path = route.path.replace("{connector_id}", connector);
            let mut path = contract::filled_in(&path);
            if !path.starts_with("/api/") {
                path.push_str(&format!("?id={SID}"));
            }
            let body = (*method != "GET").then(|| b"{\"data\":{}}".to_vec());
            let verb = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = client.send(verb, &path, from_page, body).await;
            met.push((format!("{method} {}", route.path), answer.status, answer.code()));
        }
    }
    met
}

/// What a good token of a connector meets at a route: status, and code where it is refused.
/// Only Twilio's signature opens it; whoever else asks is told nothing.
pub fn is_webhook(route: &str) -> bool {
    route.starts_with("/twilio/") && !route.starts_with("/twilio/studio/")
}

fn expected(method: &str, route: &str, is_call: bool) -> (u16, &'static str) {
    const HANDOFF: &str = "handoff_state";
    match (method, route) {
        ("DELETE", "/api/v1/connector/link" | "/v1/keys" | "/v1/handoffs") => {
            (403, "MISSING_SCOPE")
        }
        ("DELETE", _) => (403, "MISSING_SCOPE"),
        ("PUT" | "POST" | "PATCH", _) if route.ends_with(HANDOFF) => (200, ""),
        ("GET", _) if route.ends_with(HANDOFF) => (200, ""),
        ("GET", "/v1/handoff_state/timeline" | "/v1/handoff_state/view") => (200, ""),
        ("POST", "/v1/view_links") => (400, "UNKNOWN_PARAMETER"),
        ("POST", "/v1/handoff_state/receipts") => (400, "UNKNOWN_PARAMETER"),
        // A body that names no id: it is read, so the token was let in.
        ("POST", "/handoff") => (400, "MISSING_ID"),
        ("POST", "/v1/handoff_state/aliases") if is_call => (403, "CALL_NOT_ALLOWED"),
        ("POST", "/v1/handoff_state/aliases") => (400, "UNKNOWN_PARAMETER"),
        (_, "/twilio/studio/handoff" | "/twilio/studio/handoff/{connector_id}") => (200, ""),
        _ if is_webhook(route) => (403, ""),
        ("POST", "/api/v1/connector/link") => (400, "UNKNOWN_PARAMETER"),
        ("GET", "/api/v1/connector/{connector_id}/verify") if is_call => (403, "CALL_NOT_ALLOWED"),
        ("GET", "/api/v1/connector/{connector_id}/verify") => (200, ""),
        _ => (403, "MISSING_SCOPE"),
    }
}

#[tokio::test]
async fn a_token_that_is_good_opens_reads_and_writes_of_its_own_and_nothing_else() {
    let server = Server::start();
    let (id, token) = made(&server.admin(), &reference("a", "live")).await;
    bearer(&server, &token).write(SID, r#"{"data":1}"#).await.ok(201);
    let call = call_token(&server, &id, SID, Duration::from_secs(3600));
    for (token, is_call) in [(token, false), (call, true)] {
        for (at, status, code) in at_every_route(&bearer(&server, &token), &id).await {
            let (method, route) = at.split_once(' ').unwrap();
            let route = if is_call && route == "/v1/handoff_state/aliases" {
                assert!(["CALL_NOT_ALLOWED", "UNKNOWN_PARAMETER"].contains(&code.as_str()));
                continue;
            } else {
                route
            };
            assert_eq!((status, code.as_str()), expected(method, route, is_call), "{at}");
        }
    }
}

#[tokio::test]
async fn a_connector_token_reaches_its_account_project_and_environment() {
    let server = Server::start();
    let admin = server.admin();
    let (_, live) = made(&admin, &reference("a", "live")).await;
    let (_, sandbox) = made(&admin, &reference("a", "sandbox")).await;
    let mut other = reference("a", "live");
    other["project_id"] = json!("other");
    let (_, other_project) = made(&admin, &other).await;
    other["account_id"] = json!("stranger");
    let (_, stranger) = made(&admin, &other).await;
    let [live, sandbox, other_project, stranger] =
        [live, sandbox, other_project, stranger].map(|token| bearer(&server, &token));
    let path = format!("/v1/handoff_state?id={SID}");
    live.write(SID, r#"{"a":1}"#).await.ok(201);
    // Another environment's token: refused, whatever it asks for.
    sandbox.read(SID).await.refused(404, "HANDOFF_IN_OTHER_ENVIRONMENT");
    sandbox.get(&format!("{path}&wait=1")).await.refused(404, "HANDOFF_IN_OTHER_ENVIRONMENT");
    sandbox.write(SID, "{}").await.refused(409, "HELD_BY_OTHER_ENVIRONMENT");
    sandbox.patch(&path, r#"{"data":{}}"#).await.refused(404, "HANDOFF_IN_OTHER_ENVIRONMENT");
    sandbox.get(&format!("{path}&client_env=live")).await.refused(403, "ENVIRONMENT_NOT_ALLOWED");
    let asked = r#"{"data":{},"client_env":"live"}"#;
    sandbox.put(&path, asked).await.refused(403, "ENVIRONMENT_NOT_ALLOWED");
    // Another project's.
    other_project.read(SID).await.refused(404, "HANDOFF_IN_OTHER_PROJECT");
    other_project.write(SID, "{}").await.refused(409, "HELD_BY_OTHER_PROJECT");
    let named = format!("/v1/acme/line/handoff_state?id={SID}");
    other_project.get(&named).await.refused(403, "PROJECT_NOT_ALLOWED");
    // Another account's: as if there were nothing.
    stranger.read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
    stranger.get(&named).await.refused(403, "ACCOUNT_NOT_ALLOWED");
    stranger.write(SID, "{}").await.ok(201);
    assert_eq!(live.read(SID).await.json()["data"], json!({"a": 1}));
    // By shared id each finds its own environment's.
    let shared = |sid: &str| format!("/v1/handoff_state?id={sid}&shared_id=five9-1");
    live.put(&shared("L1"), r#"{"data":{"env":"live"}}"#).await.ok(201);
    sandbox.put(&shared("S1"), r#"{"data":{"env":"sandbox"}}"#).await.ok(201);
    for (client, env) in [(&live, "live"), (&sandbox, "sandbox")] {
        let found = client.get("/v1/handoff_state?shared_id=five9-1").await.ok(200);
        assert_eq!(found["data"]["env"], env);
    }
    // What a key wrote is of no environment, and no token takes it from the others.
    let free = "CAdddddddddddddddddddddddddddddddd";
    admin
        .put(&format!("/v1/acme/line/handoff_state?id={free}"), r#"{"data":{"k":1}}"#)
        .await
        .ok(201);
    let changed = format!("/v1/handoff_state?id={free}");
    sandbox.patch(&changed, r#"{"data":{"s":1}}"#).await.ok(200);
    live.patch(&changed, r#"{"data":{"l":1}}"#).await.ok(200);
    assert_eq!(sandbox.read(free).await.json()["data"], json!({"k": 1, "s": 1, "l": 1}));
    // An alias of one environment is not in the way of a call of another.
    let coming = "CAcccccccccccccccccccccccccccccccc";
    let alias = json!({"aliases": [coming]});
    sandbox.post("/v1/handoff_state/aliases?id=S1", &alias).await.ok(200);
    sandbox.read(coming).await.ok(200);
    live.read(coming).await.refused(404, "HANDOFF_NOT_FOUND");
    let waiting = format!("/v1/handoff_state?id={coming}&wait=5");
    let (waited, _) = tokio::join!(live.get(&waiting), async {
        server.until_one_waits().await;
        live.write(coming, r#"{"live":true}"#).await.ok(201)
    });
    assert_eq!(waited.ok(200)["data"], json!({"live": true}));
    // A key reaches all of them, and may ask for one environment.
    let key = server.key(json!({"account_id": "acme", "scopes": ["handoff:read"]})).await;
    key.read(SID).await.ok(200);
    let sandbox_only = key.get(&format!("{path}&client_env=sandbox")).await;
    sandbox_only.refused(404, "HANDOFF_IN_OTHER_ENVIRONMENT");
}

#[tokio::test]
async fn a_call_token_opens_its_own_call_by_its_sid() {
    let server = Server::start();
    let (id, token) = made(&server.admin(), &reference("a", "live")).await;
    let token = bearer(&server, &token);
    let call = call_token(&server, &id, SID, Duration::from_secs(3600));
    let call = bearer(&server, &call);
    call.read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
    let neighbour = format!("{}0", &SID[..33]);
    token.write(&neighbour, "{}").await.ok(201);
    let told = call.read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
    assert!(!told.contains(&neighbour), "{told}");
    call.write(SID, r#"{"a":1}"#).await.ok(201);
    call.read(SID).await.ok(200);
    call.patch(&format!("/v1/handoff_state?id={SID}"), r#"{"data":{"b":2}}"#).await.ok(200);
    token
        .put(&format!("/v1/handoff_state?id={OTHER_SID}&shared_id=s1"), r#"{"data":{}}"#)
        .await
        .ok(201);
    for path in [
        format!("/v1/handoff_state?id={OTHER_SID}"),
        format!("/v1/handoff_state?id={SID}0"),
        "/v1/handoff_state?shared_id=s1".to_owned(),
        format!("/v1/handoff_state?id={SID}&shared_id=s1"),
    ] {
        call.get(&path).await.refused(403, "CALL_NOT_ALLOWED");
    }
    call.write(OTHER_SID, "{}").await.refused(403, "CALL_NOT_ALLOWED");
    call.put("/v1/handoff_state?shared_id=s1", r#"{"data":{}}"#)
        .await
        .refused(403, "CALL_NOT_ALLOWED");
    let link = json!({"account_sid": "AC0123456789abcdef0123456789abcdef", "auth_token": "t"});
    call.post(&format!("{PATH}/link"), &link).await.refused(403, "CALL_NOT_ALLOWED");
    call.get(&format!("{PATH}/{id}/verify")).await.refused(403, "CALL_NOT_ALLOWED");
    // It answers to no other ids, and is found by none.
    let alias = format!("/v1/handoff_state/aliases?id={SID}");
    let aliases = json!({"aliases": [OTHER_SID.replace('f', "e")]});
    call.post(&alias, &aliases).await.refused(403, "CALL_NOT_ALLOWED");
    token.post(&alias, &aliases).await.ok(200);
    let named = call_token(&server, &id, &OTHER_SID.replace('f', "e"), Duration::from_secs(60));
    bearer(&server, &named)
        .read(&OTHER_SID.replace('f', "e"))
        .await
        .refused(404, "HANDOFF_NOT_FOUND");
    // Four hours at most, whatever it was made for.
    let long = call_token(&server, &id, SID, Duration::from_secs(100 * 3600));
    server.clock.advance(Duration::from_secs(4 * 3600 - 60));
    bearer(&server, &long).read(SID).await.ok(200);
    call.read(SID).await.refused(401, "TOKEN_EXPIRED");
    server.clock.advance(Duration::from_secs(60));
    bearer(&server, &long).read(SID).await.refused(401, "TOKEN_EXPIRED");
    server.admin().delete(&format!("{PATH}/{id}")).await.ok_text(204);
    let gone = call_token(&server, &id, SID, Duration::from_secs(60));
    bearer(&server, &gone).read(SID).await.refused(401, "INVALID_TOKEN");
}

#[tokio::test]
async fn while_a_connector_says_so_only_its_own_tokens_write_its_calls() {
    let server = Server::start();
    let mut wanted = reference("a", "live");
    wanted["routing"] = json!({"call_token_only": true});
    let (id, own) = made(&server.admin(), &wanted).await;
    let (_, beside) = made(&server.admin(), &reference("b", "live")).await;
    let scopes = ["handoff:read", "handoff:write"];
    let key =
        server.key(json!({"account_id": "acme", "projects": ["line"], "scopes": scopes})).await;
    let call = bearer(&server, &call_token(&server, &id, SID, Duration::from_secs(60)));
    let put = r#"{"data":{"a":1},"project_id":"line"}"#;
    let path = format!("/v1/handoff_state?id={SID}");
    bearer(&server, &own).put(&path, put).await.ok(201);
    for client in [&key, &bearer(&server, &beside)] {
        client
            .put(&path, r#"{"data":{"a":2},"project_id":"line"}"#)
            .await
            .refused(403, "CALL_TOKEN_ONLY");
        client.patch(&path, r#"{"data":{"a":2}}"#).await.refused(403, "CALL_TOKEN_ONLY");
        client.read(SID).await.ok(200);
    }
    call.put(&path, r#"{"data":{"a":3}}"#).await.ok(200);
    server
        .admin()
        .patch(&format!("{PATH}/{id}"), r#"{"routing":{"call_token_only":false}}"#)
        .await
        .ok(200);
    key.put(&path, r#"{"data":{"a":4},"project_id":"line"}"#).await.ok(200);
}

#[tokio::test]
async fn after_rotation_both_work_for_the_grace_and_then_the_new_one_alone() {
    let server = Server::start();
    let admin = server.admin();
    let (id, old) = made(&admin, &reference("a", "live")).await;
    let path = format!("{PATH}/{id}/token");
    let issued = admin.post(&path, &json!({"grace_seconds": 60})).await.ok(201);
    let new = issued["connector_token"].as_str().unwrap().to_owned();
    bearer(&server, &old).write(SID, "{}").await.ok(201);
    bearer(&server, &new).read(SID).await.ok(200);
    let listed = admin.get(&path).await;
    let tokens = listed.ok(200)["tokens"].clone();
    assert_eq!(tokens[0]["token_id"], issued["token_id"]);
    assert_eq!((&tokens[0]["replaced"], &tokens[1]["replaced"]), (&json!(false), &json!(true)));
    assert!(!listed.text().contains("eyJ"));
    server.clock.advance(Duration::from_secs(60));
    bearer(&server, &old).read(SID).await.refused(401, "TOKEN_EXPIRED");
    bearer(&server, &new).read(SID).await.ok(200);
    assert_eq!(admin.get(&path).await.ok(200)["tokens"].as_array().unwrap().len(), 1);
    // Without grace at once; and it is listed no more.
    admin.post(&path, &json!({"grace_seconds": 0})).await.ok(201);
    bearer(&server, &new).read(SID).await.refused(401, "INVALID_TOKEN");
    for wrong in
        [json!({"grace_seconds": -1}), json!({"grace_seconds": 2_592_001}), json!({"x": 1})]
    {
        assert_eq!(admin.post(&path, &wrong).await.status, 400);
    }
    // Many that live are cut to five.
    for _ in 0..7 {
        admin.post(&path, &json!({})).await.ok(201);
    }
    assert_eq!(admin.get(&path).await.ok(200)["tokens"].as_array().unwrap().len(), 5);
    let last = admin.post(&path, &json!({})).await.ok(201);
    let last = bearer(&server, last["connector_token"].as_str().unwrap());
    server.clock.advance(Duration::from_secs(365 * 24 * 3600 - 1));
    last.write(SID, "{}").await.ok(201);
    server.clock.advance(Duration::from_secs(1));
    last.read(SID).await.refused(401, "TOKEN_EXPIRED");
    assert_eq!(admin.get(&path).await.ok(200)["tokens"], json!([]));
}

/// Reads with a token that waits, lets something happen meanwhile, and then writes what it waits for.
async fn meanwhile(server: &Server, token: &str, happens: impl AsyncFnOnce()) -> Answer {
    let waiting = bearer(server, token);
    let path = format!("/v1/handoff_state?id={SID}&wait=5");
    let read = tokio::spawn(async move { waiting.get(&path).await });
    server.until_one_waits().await;
    happens().await;
    let written = format!("/v1/acme/line/handoff_state?id={SID}");
    server.admin().put(&written, r#"{"data":{}}"#).await.ok(201);
    server.admin().delete(&written).await.ok_text(204);
    read.await.unwrap()
}

#[tokio::test]
async fn a_token_that_dies_while_its_reader_waits_tells_nothing() {
    let server = Server::start();
    let admin = server.admin();
    let (id, token) = made(&admin, &reference("a", "live")).await;
    let rotate = async || {
        admin.post(&format!("{PATH}/{id}/token"), &json!({"grace_seconds": 0})).await.ok(201);
    };
    meanwhile(&server, &token, rotate).await.refused(401, "INVALID_TOKEN");
    let brief = call_token(&server, &id, SID, Duration::from_secs(60));
    let over = async || server.clock.advance(Duration::from_secs(60));
    meanwhile(&server, &brief, over).await.refused(401, "TOKEN_EXPIRED");
    let call = call_token(&server, &id, SID, Duration::from_secs(60));
    let delete = async || {
        admin.delete(&format!("{PATH}/{id}")).await.ok_text(204);
    };
    meanwhile(&server, &call, delete).await.refused(401, "INVALID_TOKEN");
}
