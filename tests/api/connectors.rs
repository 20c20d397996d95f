//! Connectors: made as the reference's curl makes them, changed, listed, deleted.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;

pub const PATH: &str = "/api/v1/connector";

/// A connector as the reference's curl makes it.
pub fn reference(name: &str, env: &str) -> Value {
    json!({
        "name": name,
        "account_id": "acme",
        "project_id": "line",
        "client_env": env,
        "variant_id": "",
        "extra_info": {
            "telephony": {
                "asr_lang_code": "en-GB",
                "tts_lang_code": "en-GB",
                "twilio_partnership": true
            }
        }
    })
}

/// Makes one; its id and its token.
pub async fn made(client: &Client, wanted: &Value) -> (String, String) {
    let made = client.post(PATH, wanted).await.ok(201);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("connector_id"), text("connector_token"))
}

/// Who presents a token.
pub fn bearer(server: &Server, token: &str) -> Client {
    server.presenting("authorization", format!("Bearer {token}"))
}

#[tokio::test]
async fn get_with_a_body_makes_one_as_the_reference_does_and_post_does_too() {
    let server = Server::start();
    let admin = server.admin();
    let body = reference("Front desk", "live").to_string().into_bytes();
    let json = [("content-type", "application/json")];
    let made = admin.send(Method::GET, PATH, &json, Some(body)).await.ok(201);
    assert_eq!(made["connector_token"], made["connection_token"]);
    assert_eq!(made["extra_info"]["telephony"]["twilio_partnership"], true);
    let id = made["connector_id"].as_str().unwrap();
    let path = format!("{PATH}/{id}");
    // The token is shown that once.
    let shown = admin.get(&path).await;
    shown.ok(200);
    assert!(!shown.text().contains("eyJ") && !shown.text().contains("connector_token"));
    let again = admin.post(PATH, &reference("Front desk", "live")).await;
    assert!(again.refused(409, "CONNECTOR_EXISTS").contains(id));
    // A HEAD makes none: nobody would see its token.
    let body = reference("Headless", "live").to_string().into_bytes();
    assert_eq!(admin.send(Method::HEAD, PATH, &json, Some(body)).await.status, 200);
    let listed = admin.get(&format!("{PATH}?name=Headless")).await.ok(200);
    assert_eq!(listed["connectors"], serde_json::json!([]));
    // Another environment, another project, another account: another connector.
    admin.post(PATH, &reference("Front desk", "sandbox")).await.ok(201);
    for (name, value) in [("project_id", "other"), ("account_id", "other")] {
        let mut other = reference("Front desk", "live");
        other[name] = json!(value);
        admin.post(PATH, &other).await.ok(201);
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_its_place_and_nothing_is_made() {
    let server = Server::start();
    let admin = server.admin();
    for (place, value, pointer) in [
        ("/name", json!(""), "/name"),
        ("/name", json!(7), "/name"),
        ("/client_env", json!("production"), "/client_env"),
        ("/account_id", json!("[ACCOUNT_ID]"), "/account_id"),
        ("/project_id", json!("v1"), "/project_id"),
        ("/variant_id", json!("a b"), "/variant_id"),
        ("/extra_info", json!([]), "/extra_info"),
        (
            "/extra_info/telephony/asr_lang_code",
            json!("en_GB"),
            "/extra_info is wrong: telephony.asr_lang_code must be",
        ),
        ("/routing", json!({"mode": "fax"}), "/routing/mode"),
        ("/routing", json!({"agent_url": "https://a"}), "/routing/agent_url"),
        (
            "/routing",
            json!({"sip": {"uri": "sip:a@b", "headers": {"X-A": 5}}}),
            "/routing/sip/headers/X-A",
        ),
        ("/destinations", json!({"billing": {"number": "911"}}), "/destinations/billing"),
        ("/fallback", json!({"dial": "+441632960000"}), "/fallback"),
        ("/handoff_api", json!({"state_keys": ["a", "a"]}), "/handoff_api"),
        ("/flex", json!({"insights": {"attribute_1": "a"}}), "/flex/insights"),
        ("/studio", json!({"expose": "a"}), "/studio/expose"),
    ] {
        let mut body = reference("Front desk", "live");
        match body.pointer_mut(place) {
            Some(there) => *there = value,
            None => body[&place[1..]] = value,
        }
        let told = admin.post(PATH, &body).await.refused(400, "INVALID_PARAMETER");
        assert!(told.contains(pointer), "{pointer}: {told}");
    }
    let mut body = reference("Front desk", "live");
    body["colour"] = json!("red");
    admin.post(PATH, &body).await.refused(400, "UNKNOWN_PARAMETER");
    for missing in ["name", "project_id", "client_env"] {
        let mut body = reference("Front desk", "live");
        body.as_object_mut().unwrap().remove(missing);
        let told = admin.post(PATH, &body).await.refused(400, "INVALID_PARAMETER");
        assert!(told.contains(missing), "{told}");
    }
    let twice = br#"{"name":"a","name":"b"}"#.to_vec();
    admin.send(Method::POST, PATH, &[], Some(twice)).await.refused(422, "DUPLICATE_KEY");
    assert_eq!(admin.get(PATH).await.ok(200)["connectors"], json!([]));
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_refuses_what_it_does_not_know() {
    let server = Server::start();
    let admin = server.admin();
    let mut wanted = reference("Front desk", "live");
    wanted["routing"] = json!({"mode": "sip", "sip": {"uri": "sip:a@b", "headers": {"X-PolyAi-Auth-Token": "hunter2"}}});
    let (id, _) = made(&admin, &wanted).await;
    let path = format!("{PATH}/{id}");
    let patch = async |body: Value| admin.patch(&path, body.to_string()).await;
    let changed = patch(json!({"routing": {"greeting": "Hello"}, "fallback": {"say": "Sorry"}}));
    let changed = changed.await.ok(200);
    assert_eq!(changed["routing"]["greeting"], "Hello");
    assert_eq!(changed["routing"]["sip"]["headers"]["X-PolyAi-Auth-Token"], "***");
    assert_eq!(changed["extra_info"]["telephony"]["asr_lang_code"], "en-GB");
    assert_eq!(patch(json!({"fallback": null})).await.ok(200).get("fallback"), None);
    // What is shown for a secret is none.
    let masked = json!({"routing": {"sip": {"headers": {"X-PolyAi-Auth-Token": "***"}}}});
    assert!(patch(masked).await.refused(400, "INVALID_PARAMETER").contains("stands for"));
    for (body, code) in [
        (json!({"colour": "red"}), "UNKNOWN_PARAMETER"),
        (json!({"client_env": "sandbox"}), "UNKNOWN_PARAMETER"),
        (json!({"routing": {"colour": "red"}}), "INVALID_PARAMETER"),
        (json!({"name": null}), "INVALID_PARAMETER"),
    ] {
        patch(body).await.refused(400, code);
    }
    // A name that is free is taken, and the one before is free again.
    let (other, _) = made(&admin, &reference("Back office", "live")).await;
    let taken = patch(json!({"name": "Back office"})).await;
    assert!(taken.refused(409, "CONNECTOR_EXISTS").contains(&other));
    assert_eq!(patch(json!({"name": "Reception"})).await.ok(200)["name"], "Reception");
    made(&admin, &reference("Front desk", "live")).await;
}

#[tokio::test]
async fn listing_goes_by_account_project_environment_and_name() {
    let server = Server::start();
    let admin = server.admin();
    for at in 0..103 {
        made(&admin, &reference(&format!("c{at}"), if at % 2 == 0 { "live" } else { "sandbox" }))
            .await;
    }
    let mut other = reference("c1", "live");
    other["account_id"] = json!("stranger");
    let (foreign, _) = made(&admin, &other).await;
    let count = async |query: &str| {
        let (mut found, mut after) = (0, String::new());
        loop {
            let page = admin.get(&format!("{PATH}?{query}{after}")).await.ok(200);
            found += page["connectors"].as_array().unwrap().len();
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return found,
            }
        }
    };
    assert_eq!(count("").await, 104);
    assert_eq!(count("account_id=acme").await, 103);
    assert_eq!(count("account_id=acme&client_env=live").await, 52);
    assert_eq!(count("account_id=acme&name=c7").await, 1);
    assert_eq!(count("account_id=acme&project_id=nope").await, 0);
    admin.get(&format!("{PATH}?colour=red")).await.refused(400, "UNKNOWN_PARAMETER");
    // A key sees its own account's, and of its own projects.
    let scopes = json!(["connector:manage", "handoff:read", "handoff:write"]);
    let own = server.key(json!({"account_id": "acme", "scopes": scopes})).await;
    own.get(&format!("{PATH}/{foreign}")).await.refused(404, "CONNECTOR_NOT_FOUND");
    own.get(&format!("{PATH}?account_id=stranger")).await.refused(403, "ACCOUNT_NOT_ALLOWED");
    assert_eq!(own.get(PATH).await.ok(200)["connectors"].as_array().unwrap().len(), 100);
    let narrow =
        server.key(json!({"account_id": "acme", "projects": ["other"], "scopes": scopes})).await;
    assert_eq!(narrow.get(PATH).await.ok(200)["connectors"], json!([]));
    narrow.post(PATH, &reference("x", "live")).await.refused(403, "PROJECT_NOT_ALLOWED");
}

#[tokio::test]
async fn whoever_makes_a_token_holds_what_it_grants() {
    let server = Server::start();
    let (id, _) = made(&server.admin(), &reference("there", "live")).await;
    for scopes in [json!(["connector:manage"]), json!(["connector:manage", "handoff:read"])] {
        let key = server.key(json!({"account_id": "acme", "scopes": scopes})).await;
        key.post(PATH, &reference("a", "live")).await.refused(403, "MISSING_SCOPE");
        let rotate = key.post(&format!("{PATH}/{id}/token"), &json!({})).await;
        rotate.refused(403, "MISSING_SCOPE");
        let link = json!({
            "connector_id": id,
            "account_sid": "AC0123456789abcdef0123456789abcdef",
            "auth_token": "t",
        });
        key.post(&format!("{PATH}/link"), &link).await.refused(403, "MISSING_SCOPE");
        key.get(&format!("{PATH}/{id}")).await.ok(200);
    }
    let key = json!({
        "account_id": "acme",
        "scopes": ["connector:manage", "handoff:read", "handoff:write"],
        "expires_at": "2026-11-30T00:00:00Z",
    });
    let brief = server.key(key).await;
    let made = brief.post(PATH, &reference("a", "live")).await.ok(201);
    assert_eq!(made["token_expires_at"], "2026-11-30T00:00:00.000000Z");
}

#[tokio::test]
async fn a_deleted_connectors_token_dies_at_once_and_its_handoffs_live_on() {
    let server = Server::start();
    let admin = server.admin();
    let (id, token) = made(&admin, &reference("Front desk", "live")).await;
    let agent = bearer(&server, &token);
    agent.write(SID, r#"{"a":1}"#).await.ok(201);
    admin.delete(&format!("{PATH}/{id}")).await.ok_text(204);
    agent.read(SID).await.refused(401, "INVALID_TOKEN");
    agent.write(SID, "{}").await.refused(401, "INVALID_TOKEN");
    let read = admin.get(&format!("/v1/acme/line/handoff_state?id={SID}")).await.ok(200);
    assert_eq!(read["data"], json!({"a": 1}));
    admin.delete(&format!("{PATH}/{id}")).await.refused(404, "CONNECTOR_NOT_FOUND");
    made(&admin, &reference("Front desk", "live")).await;
}

#[tokio::test]
async fn connectors_and_tokens_survive_a_restart() {
    let mut server = Server::start();
    let (id, token) = made(&server.admin(), &reference("Front desk", "live")).await;
    let (folder, clock) = (server.folder(), server.clock.clone());
    server.ask_to_stop(true);
    server.join();
    let server = Server::on(&folder, clock, &[]);
    bearer(&server, &token).write(SID, "{}").await.ok(201);
    server.admin().get(&format!("{PATH}/{id}")).await.ok(200);
    let again = server.admin().post(PATH, &reference("Front desk", "live")).await;
    assert!(again.refused(409, "CONNECTOR_EXISTS").contains(&id));
}

#[tokio::test]
async fn two_who_make_one_of_the_same_name_at_once_get_one() {
    let server = Server::start();
    let admin = server.admin();
    for round in 0..20 {
        let wanted = reference(&format!("c{round}"), "live");
        let (one, two) = tokio::join!(admin.post(PATH, &wanted), admin.post(PATH, &wanted));
        let made = [&one, &two].iter().filter(|answer| answer.status == 201).count();
        assert_eq!(made, 1, "{} {}", one.text(), two.text());
    }
}

#[tokio::test]
async fn anothers_connector_is_as_if_it_were_not_there() {
    let server = Server::start();
    let admin = server.admin();
    let (id, token) = made(&admin, &reference("a", "live")).await;
    let before = admin.get(&format!("{PATH}/{id}")).await.text().to_owned();
    let scopes = json!(["connector:manage", "handoff:read", "handoff:write"]);
    let far = [
        json!({"account_id": "stranger", "scopes": scopes}),
        json!({"account_id": "acme", "projects": ["other"], "scopes": scopes}),
    ];
    for far in far {
        let far = server.key(far).await;
        let link = json!({
            "connector_id": id,
            "account_sid": "AC0123456789abcdef0123456789abcdef",
            "auth_token": "t",
        });
        for answer in [
            far.get(&format!("{PATH}/{id}")).await,
            far.patch(&format!("{PATH}/{id}"), "{}").await,
            far.delete(&format!("{PATH}/{id}")).await,
            far.get(&format!("{PATH}/{id}/token")).await,
            far.post(&format!("{PATH}/{id}/token"), &json!({})).await,
            far.get(&format!("{PATH}/{id}/verify")).await,
            far.post(&format!("{PATH}/link"), &link).await,
            far.delete(&format!("{PATH}/link?connector_id={id}")).await,
        ] {
            answer.refused(404, "CONNECTOR_NOT_FOUND");
        }
    }
    assert_eq!(admin.get(&format!("{PATH}/{id}")).await.text(), before);
    bearer(&server, &token).write(SID, "{}").await.ok(201);
}

#[tokio::test]
async fn a_name_that_is_changed_twice_at_once_is_still_one_connectors() {
    let server = Server::start();
    let admin = server.admin();
    let (id, _) = made(&admin, &reference("a", "live")).await;
    let path = format!("{PATH}/{id}");
    for _ in 0..60 {
        let (there, away) = tokio::join!(
            admin.patch(&path, r#"{"name":"a","variant_id":"v"}"#),
            admin.patch(&path, r#"{"name":"b"}"#)
        );
        there.ok(200);
        away.ok(200);
        let name = admin.get(&path).await.ok(200)["name"].as_str().unwrap().to_owned();
        admin.post(PATH, &reference(&name, "live")).await.refused(409, "CONNECTOR_EXISTS");
        admin.patch(&path, r#"{"name":"a"}"#).await.ok(200);
    }
}

#[tokio::test]
async fn a_secret_is_not_quoted_and_not_sent_elsewhere() {
    let server = Server::start();
    let admin = server.admin();
    let mut wanted = reference("a", "live");
    wanted["routing"] = json!({"sip": {"uri": "sip:a@b", "headers": {"X-A": "hunter2"}}});
    let (id, _) = made(&admin, &wanted).await;
    let patch = async |routing: Value| {
        let body = json!({ "routing": routing }).to_string();
        admin.patch(&format!("{PATH}/{id}"), body).await
    };
    for (place, value) in [
        ("fallback", json!("hunter2")),
        ("destinations", json!({"a": "hunter2"})),
        ("handoff_api", json!({"state_keys": "hunter2"})),
        ("studio", json!({"expose": "hunter2"})),
        ("flex", json!("hunter2")),
        ("extra_info", json!({"telephony": "hunter2"})),
    ] {
        let body = json!({ place: value }).to_string();
        let told = admin.patch(&format!("{PATH}/{id}"), body).await;
        assert!(!told.refused(400, "INVALID_PARAMETER").contains("hunter2"), "{}", told.text());
    }
    for misplaced in [
        json!({"mode": "hunter2"}),
        json!("hunter2"),
        json!({"sip": "hunter2"}),
        json!({"sip": {"uri": "sip:a@b", "headers": "hunter2"}}),
        json!({"sip": {"uri": "sip:a@b", "headers": {"X-A": ["hunter2"]}}}),
    ] {
        let told = patch(misplaced).await.refused(400, "INVALID_PARAMETER");
        assert!(!told.contains("hunter2"), "{told}");
    }
    // Whoever cannot read it must not have it sent to a host of his own.
    let told = patch(json!({"sip": {"uri": "sip:a@evil"}})).await;
    assert!(told.refused(400, "INVALID_PARAMETER").contains("given anew"));
    patch(json!({"sip": {"uri": "sip:a@c", "headers": {"X-A": "another"}}})).await.ok(200);
    patch(json!({"sip": {"uri": "sip:a@d", "headers": {"X-A": null}}})).await.ok(200);
}
