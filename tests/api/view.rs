//! A handoff as a person looks at it: who calls and why, what was tried, and every member as it was
//! written; to whom, and what they are told where there is none.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton::telemetry::outbound;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::flex_door::Desk;
use crate::flex_door::OF;
use crate::harness::Answer;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;
use crate::pretend_flex::WORKER;
use crate::timeline::SECOND;
use crate::timeline::story;
use crate::timeline::the;
use crate::tokens::call_token;
use crate::twilio::ACCOUNT;

pub const VIEW: &str = "/v1/handoff_state/view";
const FLEX: &str = "https://flex.twilio.com";

/// A handoff as a client sees it.
pub async fn view(client: &Client, id: &str) -> Answer {
    client.get(&format!("{VIEW}?id={id}")).await
}

/// How much there is in a tree of fields, with all that is in them.
fn count(fields: &Value) -> u64 {
    let own = |field: &Value| 1 + field.get("fields").map_or(0, count);
    fields.as_array().unwrap().iter().map(own).sum()
}

#[tokio::test]
async fn who_calls_and_why_and_what_was_tried_come_first() {
    let server = Server::start();
    let (id, token) = made(&server.admin(), &reference("a", "live")).await;
    let agent = bearer(&server, &token);
    let data = r#"{"name":"Zoë","phone":"+441632960123","verified":true,"reason":"billing","summary":"Charged\ntwice","destination":"desk","priority":3,"language":"en-GB","tried":["Resent the invoice","Checked the balance"]}"#;
    let body = format!(r#"{{"data":{data},"shared_id":"five9-1"}}"#);
    let put = format!("/v1/handoff_state?id={SID}");
    let written = agent.put(&put, body).await.ok(201);
    server.clock.advance(SECOND);
    let answer = view(&agent, SID).await;
    let mut seen = answer.ok(200);
    let fields = seen["fields"].take();
    let names: Vec<_> = fields.as_array().unwrap().iter().map(|field| &field["name"]).collect();
    let wanted = [
        "name",
        "phone",
        "verified",
        "reason",
        "summary",
        "destination",
        "priority",
        "language",
        "tried",
    ];
    assert_eq!(names, wanted);
    assert_eq!(fields[4], json!({ "name": "summary", "kind": "string", "text": "Charged\ntwice" }));
    let wanted = json!({
        "id": SID, "shared_id": "five9-1", "project_id": "line", "connector_id": id,
        "client_env": "live", "status": "ready", "revision": written["revision"],
        "written_at": written["written_at"], "expires_at": written["expires_at"],
        "now": server.clock.now().to_string(),
        "caller": { "name": "Zoë", "phone": "+441632960123", "verified": "true" },
        "why": {
            "reason": "billing", "summary": "Charged twice", "destination": "desk", "priority": 3,
            "language": "en-GB",
        },
        "tried": ["Resent the invoice", "Checked the balance"],
        "fields": null, "fields_left_out": 0,
    });
    assert_eq!(seen, wanted);
    assert_eq!(answer.header("x-handoff-revision"), written["revision"].to_string());
    assert_eq!(answer.header("x-handoff-expires-at"), written["expires_at"]);
}

#[tokio::test]
async fn what_the_agent_does_not_say_is_empty_and_never_left_out() {
    let server = Server::start();
    let admin = server.admin();
    let data = r#"{"name":{"x":1},"reason":[],"verified":"no","priority":-1,"tried":null}"#;
    for (id, data) in [("empty", "{}"), ("odd", data)] {
        admin.write(id, data).await.ok(201);
        let seen = view(&admin, id).await.ok(200);
        let nobody = json!({ "name": "", "phone": "", "verified": "unknown" });
        assert_eq!(seen["caller"], nobody, "{id}");
        let nothing = json!({
            "reason": "", "summary": "", "destination": "", "priority": 0, "language": "",
        });
        assert_eq!((&seen["why"], &seen["tried"]), (&nothing, &json!([])), "{id}");
        assert_eq!((&seen["connector_id"], &seen["client_env"]), (&Value::Null, &Value::Null));
    }
}

#[tokio::test]
async fn every_member_is_seen_in_its_place_and_as_it_was_written() {
    let server = Server::start();
    let admin = server.admin();
    let data = r#"{ "z": 1.10, "10": 123456789012345678901234567890, "2": -0.0e+7, "a": {"b": [true, null, [], {}, "1.10"]}, "note": "a\u00e9\n\"<b>\"", "__proto__": false }"#;
    admin.write(SID, data).await.ok(201);
    let plain =
        |name: &str, kind: &str, text: &str| json!({ "name": name, "kind": kind, "text": text });
    let nest = |name: &str, kind: &str, fields: Value| json!({ "name": name, "kind": kind, "fields": fields });
    let list = json!([
        plain("0", "boolean", "true"),
        plain("1", "null", "null"),
        nest("2", "array", json!([])),
        nest("3", "object", json!([])),
        plain("4", "string", "1.10"),
    ]);
    let wanted = json!([
        plain("z", "number", "1.10"),
        plain("10", "number", "123456789012345678901234567890"),
        plain("2", "number", "-0.0e+7"),
        nest("a", "object", json!([nest("b", "array", list)])),
        plain("note", "string", "aé\n\"<b>\""),
        plain("__proto__", "boolean", "false"),
    ]);
    assert_eq!(view(&admin, SID).await.ok(200)["fields"], wanted);
}

#[tokio::test]
async fn texts_of_every_script_come_whole_and_long_ones_are_cut_only_above() {
    let server = Server::start();
    let admin = server.admin();
    let name = "Zoë 王小明 محمد 👩‍👩‍👧 \u{202e}e\u{301}";
    let long = "é".repeat(2000);
    let tried: Vec<_> = (0..30).map(|n| format!("{n} {long}")).collect();
    let data = json!({ name: name, "name": name, "summary": long, "tried": tried }).to_string();
    admin.write(SID, &data).await.ok(201);
    let seen = view(&admin, SID).await.ok(200);
    assert_eq!(seen["caller"]["name"], name);
    let fields = seen["fields"].as_array().unwrap();
    let named = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
    assert_eq!((&named(name)["text"], &named("summary")["text"]), (&json!(name), &json!(long)));
    assert_eq!(named("tried")["fields"].as_array().unwrap().len(), 30);
    let tried = seen["tried"].as_array().unwrap();
    assert_eq!(tried.len(), 20);
    for text in tried.iter().chain([&seen["why"]["summary"]]) {
        let text = text.as_str().unwrap();
        assert!(text.chars().count() == 800 && text.ends_with('…'), "{text}");
    }
}

#[tokio::test]
async fn no_more_than_twenty_thousand_are_shown_and_the_rest_is_counted() {
    let server = Server::start();
    let admin = server.admin();
    for (more, left_out) in [(19_998, 0), (19_999, 1), (25_000, 5_002)] {
        let data = format!(r#"{{"a":[{}0],"b":1}}"#, "0,".repeat(more - 1));
        let path = format!("/v1/handoff_state?id={more}");
        admin.put(&path, format!(r#"{{"data":{data}}}"#)).await.ok(201);
        let seen = view(&admin, &more.to_string()).await.ok(200);
        assert_eq!((count(&seen["fields"]), &seen["fields_left_out"]), (20_000, &json!(left_out)));
    }
}

#[tokio::test]
async fn what_is_deep_is_shown_to_its_end() {
    let server = Server::start();
    let admin = server.admin();
    let data = format!("{}[]{}", r#"{"a":"#.repeat(31), "}".repeat(31));
    admin.write(SID, &data).await.ok(201);
    assert_eq!(count(&view(&admin, SID).await.ok(200)["fields"]), 31);
}

#[tokio::test]
async fn whoever_has_it_already_is_told_so() {
    let server = Server::start();
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    let path = format!("{VIEW}?id={SID}");
    let first = view(&admin, SID).await;
    let tag = first.header("etag");
    assert_eq!(tag, format!("\"{}\"", first.ok(200)["revision"]));
    for known in [tag, "*", &format!("W/{tag}"), &format!("\"1\", {tag}")] {
        let again = admin.get_with(&path, &[("if-none-match", known)]).await;
        assert_eq!((again.status, again.text(), again.header("etag")), (304, "", tag));
    }
    let head = admin.send(Method::HEAD, &path, &[], None).await;
    assert_eq!((head.ok_text(200), head.header("etag")), ("", tag));
    admin.write(SID, r#"{"n":1}"#).await.ok(200);
    let newer = admin.get_with(&path, &[("if-none-match", tag)]).await;
    assert!(newer.ok(200)["revision"].as_u64() > first.ok(200)["revision"].as_u64());
}

#[tokio::test]
async fn it_is_waited_for_and_followed() {
    let server = Server::start();
    let admin = server.admin();
    let waits = format!("{VIEW}?id={SID}&wait=8");
    let (seen, ()) = tokio::join!(admin.get(&waits), async {
        server.until_one_waits().await;
        admin.write(SID, r#"{"n":1}"#).await.ok(201);
    });
    let tag = seen.header("etag").to_owned();
    let next = seen.ok(200)["revision"].as_u64().unwrap() + 1;
    let known = [("if-none-match", tag.as_str())];
    let follows = |seconds: u8| format!("{VIEW}?id={SID}&wait={seconds}&min_revision={next}");
    assert_eq!(admin.get_with(&follows(1), &known).await.status, 304);
    let (follow, patch) = (follows(8), format!("/v1/handoff_state?id={SID}"));
    let (newer, ()) = tokio::join!(admin.get_with(&follow, &known), async {
        server.until_one_waits().await;
        admin.patch(&patch, r#"{"data":{"n":2}}"#).await.ok(200);
    });
    assert_eq!(newer.ok(200)["fields"][0]["text"], "2");
    for wrong in ["wait=9", "wait=x", "min_revision=x"] {
        let refused = admin.get(&format!("{VIEW}?id={SID}&{wrong}")).await;
        refused.refused(400, "INVALID_PARAMETER");
    }
}

#[tokio::test]
async fn where_there_is_none_it_is_said_why_whatever_the_keys_defaults_are() {
    let server = Server::start();
    let admin = server.admin();
    admin.write("erased", "{}").await.ok(201);
    admin.delete("/v1/handoff_state?id=erased").await.ok_text(204);
    let short = r#"{"data":{},"ttl_seconds":60}"#;
    admin.put("/v1/handoff_state?id=expired", short).await.ok(201);
    admin.put("/v1/handoff_state?id=p", r#"{"data":{},"project_id":"p"}"#).await.ok(201);
    server.clock.advance(SECOND * 60);
    let scopes = ["handoff:read"];
    let defaults = json!({ "wait": 0, "miss": 200 });
    let wanted = json!({ "scopes": scopes, "projects": ["default"], "read_defaults": defaults });
    let narrow = server.key(wanted).await;
    for (id, code) in [
        ("never", "HANDOFF_NOT_FOUND"),
        ("erased", "HANDOFF_ERASED"),
        ("expired", "HANDOFF_EXPIRED"),
        ("p", "HANDOFF_IN_OTHER_PROJECT"),
    ] {
        view(&narrow, id).await.refused(404, code);
    }
    let (_, live) = made(&admin, &reference("a", "live")).await;
    let (_, sandbox) = made(&admin, &reference("a", "sandbox")).await;
    bearer(&server, &live).write(SID, "{}").await.ok(201);
    let other = view(&bearer(&server, &sandbox), SID).await;
    other.refused(404, "HANDOFF_IN_OTHER_ENVIRONMENT");
    narrow.get(VIEW).await.refused(400, "MISSING_ID");
    narrow.get(&format!("{VIEW}?id=undefined")).await.refused(400, "INVALID_ID");
}

#[tokio::test]
async fn another_accounts_cannot_be_told_from_none() {
    let server = Server::start();
    server.admin().write(SID, r#"{"canary":1}"#).await.ok(201);
    let stranger = server.stranger().await;
    let blind = async |id: &str| {
        let answer = view(&stranger, id).await;
        answer.refused(404, "HANDOFF_NOT_FOUND");
        let mut said = answer.json();
        said["error_id"] = json!("");
        said
    };
    assert_eq!(blind(SID).await, blind("CAffffffffffffffffffffffffffffffff").await);
    let named = stranger.get(&format!("{VIEW}?id={SID}&account_id=default")).await;
    named.refused(403, "ACCOUNT_NOT_ALLOWED");
}

#[tokio::test]
async fn it_is_found_by_any_of_its_ids_and_counted_as_a_read() {
    let server = Server::start();
    let admin = server.admin();
    let put = "/v1/handoff_state?id=conv-1&shared_id=five9-1";
    admin.put(put, r#"{"data":{}}"#).await.ok(201);
    let given = json!({ "aliases": [SID] });
    admin.post("/v1/handoff_state/aliases?id=conv-1", &given).await.ok(200);
    for (query, by) in
        [("id=conv-1", ""), (&*format!("id={SID}"), "alias"), ("shared_id=five9-1", "shared_id")]
    {
        let seen = admin.get(&format!("{VIEW}?{query}")).await;
        assert_eq!(seen.ok(200)["id"], "conv-1", "{query}");
        assert_eq!(seen.header("x-handoff-matched-by"), by, "{query}");
    }
    let read = the(&story(&admin, "id=conv-1").await, "read");
    assert_eq!((&read["door"], &read["count"]), (&json!("key"), &json!(3)));
}

#[tokio::test]
async fn it_opens_to_whoever_may_read_and_to_nobody_else() {
    let server = Server::start();
    let (id, token) = made(&server.admin(), &reference("a", "live")).await;
    let agent = bearer(&server, &token);
    agent.write(SID, "{}").await.ok(201);
    agent.write("other", "{}").await.ok(201);
    let call = bearer(&server, &call_token(&server, &id, SID, Duration::from_secs(60)));
    let of_acme = |scope: &str| json!({ "account_id": "acme", "scopes": [scope] });
    let made = server.admin().post("/v1/keys", &of_acme("handoff:read")).await.ok(201);
    let key = made["key"].as_str().unwrap();
    for client in [&agent, &call, &server.client(key), &bearer(&server, key)] {
        view(client, SID).await.ok(200);
    }
    view(&call, "other").await.refused(403, "CALL_NOT_ALLOWED");
    let writer = server.key(of_acme("handoff:write")).await;
    view(&writer, SID).await.refused(403, "MISSING_SCOPE");
    let basic = format!("Basic {}", STANDARD.encode(format!("key:{key}")));
    let basic = server.presenting("authorization", basic);
    view(&basic, SID).await.refused(403, "BASIC_NOT_ALLOWED");
    view(&server.nobody(), SID).await.refused(401, "MISSING_CREDENTIALS");
    view(&server.client("wrong"), SID).await.refused(401, "INVALID_KEY");
    agent.put(&format!("{VIEW}?id={SID}"), "{}").await.refused(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn a_flex_user_sees_it_from_a_page_of_flex() {
    let desk = Desk::open().await;
    let token = desk.worker("ada");
    let path = format!("{VIEW}?id={SID}");
    let ada = bearer(&desk.server, &token);
    let of_page = [("origin", FLEX), (OF, ACCOUNT)];
    let seen = ada.get_with(&path, &of_page).await;
    assert_eq!(seen.ok(200)["why"]["reason"], "billing");
    let missed = ada.get_with(&format!("{VIEW}?id=none"), &of_page).await;
    missed.refused(404, "HANDOFF_NOT_FOUND");
    for answer in [&seen, &missed] {
        let named = ["access-control-allow-origin", "vary"].map(|name| answer.header(name));
        assert_eq!(named, [FLEX, "Origin"]);
        assert!(answer.header("access-control-expose-headers").contains("etag"));
    }
    let story = story(&desk.server.admin(), &format!("id={SID}&account_id=acme")).await;
    let read = the(&story, "read");
    assert_eq!((&read["door"], &read["by"]), (&json!("flex_user"), &json!(WORKER)));
    // Sent as it is, for a preflight stands in no list of what is answered.
    let http = outbound::client(Duration::from_secs(20)).unwrap();
    for (origin, status) in [(FLEX, 204), ("https://evil.example", 403)] {
        let asks = http.request(Method::OPTIONS, format!("http://{}{path}", desk.server.address));
        let asks = asks.header("origin", origin).header("access-control-request-method", "GET");
        assert_eq!(asks.send().await.unwrap().status(), status, "{origin}");
    }
}
