//! What is told of a handoff: by which id, to whom, how much of it, and for how long.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::failures;
use crate::failures::Befalls;
use crate::flex_door::Desk;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;
use crate::pretend_flex::WORKER;
use crate::receipts::RECEIPTS;
use crate::tokens::call_token;

pub const TIMELINE: &str = "/v1/handoff_state/timeline";
pub const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
// Longer than what is gathered waits until it is written.
const FLUSHED: Duration = Duration::from_millis(1200);

/// What a client is told.
pub async fn story(client: &Client, query: &str) -> Value {
    client.get(&format!("{TIMELINE}?{query}")).await.ok(200)
}

/// What happened, in order.
pub fn kinds(story: &Value) -> Vec<&str> {
    let events = story["events"].as_array().unwrap();
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

/// The events of one kind.
pub fn of(story: &Value, kind: &str) -> Vec<Value> {
    let events = story["events"].as_array().unwrap();
    events.iter().filter(|event| event["event"] == kind).cloned().collect()
}

/// The one event of a kind.
#[track_caller]
pub fn the(story: &Value, kind: &str) -> Value {
    let mut all = of(story, kind);
    assert_eq!(all.len(), 1, "{kind}: {story}");
    all.remove(0)
}

/// A client with a new key, and the key's id.
pub async fn key(server: &Server, wanted: &Value) -> (Client, String) {
    let made = server.admin().post("/v1/keys", wanted).await.ok(201);
    (server.client(made["key"].as_str().unwrap()), made["key_id"].as_str().unwrap().to_owned())
}

fn own() -> String {
    format!("id={SID}")
}

fn path() -> String {
    format!("{TIMELINE}?id={SID}")
}

fn handoff() -> String {
    format!("/v1/handoff_state?id={SID}")
}

#[tokio::test]
async fn a_handoff_is_told_of_by_any_of_its_ids() {
    let server = Server::start();
    let admin = server.admin();
    admin.get("/v1/handoff_state?shared_id=five9-1").await.refused(404, "HANDOFF_NOT_FOUND");
    server.clock.advance(SECOND);
    let put = "/v1/handoff_state?id=conv-1&shared_id=five9-1";
    admin.put(put, r#"{"data":{}}"#).await.ok(201);
    let given = json!({ "aliases": [SID] });
    admin.post("/v1/handoff_state/aliases?id=conv-1", &given).await.ok(200);
    server.clock.advance(SECOND);
    admin.read(SID).await.ok(200);
    let told = story(&admin, "id=conv-1").await;
    assert_eq!((&told["id"], &told["state"]), (&json!("conv-1"), &json!("live")));
    assert_eq!(kinds(&told), ["missed", "written", "read"]);
    for query in ["shared_id=five9-1", "id=x&shared_id=five9-1", &own()] {
        assert_eq!(story(&admin, query).await, told, "{query}");
    }
    let named = "id=conv-1&account_id=default&project_id=default&client_env=live";
    assert_eq!(story(&admin, named).await, told);
    admin.get(TIMELINE).await.refused(400, "MISSING_ID");
}

#[tokio::test]
async fn what_was_only_asked_for_has_a_story_and_what_nobody_knows_of_has_none() {
    let server = Server::start();
    let admin = server.admin();
    for _ in 0..2 {
        admin.get(&path()).await.refused(404, "HANDOFF_NOT_FOUND");
    }
    let first = server.clock.now().to_string();
    admin.read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
    server.clock.advance(SECOND);
    admin.get(&format!("{}&wait=1", handoff())).await.refused(404, "HANDOFF_NOT_FOUND");
    let told = story(&admin, &own()).await;
    let waited = &told["events"][0]["waited_ms"];
    assert!(waited.as_u64().unwrap() >= 900, "{told}");
    let missed = json!({
        "at": first, "event": "missed", "door": "key", "by": "admin", "reason": "never_written",
        "count": 2, "last_at": server.clock.now().to_string(), "waited_ms": waited,
    });
    let wanted = json!({
        "id": SID, "state": "missing", "events": [missed], "left_out": 0, "acceptances": [],
    });
    assert_eq!(told, wanted);
    admin.get(&format!("{TIMELINE}?id=other")).await.refused(404, "HANDOFF_NOT_FOUND");
}

#[tokio::test]
async fn what_was_erased_or_has_expired_is_told_of_for_72_hours() {
    let server = Server::start();
    let admin = server.admin();
    admin.put("/v1/handoff_state?id=erased", r#"{"data":{}}"#).await.ok(201);
    let short = r#"{"data":{},"ttl_seconds":60}"#;
    let ends = admin.put("/v1/handoff_state?id=expired", short).await.ok(201)["expires_at"].clone();
    server.clock.advance(SECOND * 10);
    let erased_at = server.clock.now().to_string();
    admin.delete("/v1/handoff_state?id=erased").await.ok_text(204);
    server.clock.advance(SECOND * 100);
    for wait in [Duration::ZERO, HOUR * 71] {
        server.clock.advance(wait);
        let erased = story(&admin, "id=erased").await;
        let by = json!({ "at": erased_at, "event": "erased", "door": "key", "by": "admin" });
        assert_eq!((&erased["state"], &erased["events"][1]), (&json!("erased"), &by));
        let expired = story(&admin, "id=expired").await;
        let end = json!({ "at": ends, "event": "expired" });
        assert_eq!((&expired["state"], &expired["events"][1]), (&json!("expired"), &end));
    }
    server.clock.advance(HOUR * 2);
    for id in ["erased", "expired"] {
        let gone = admin.get(&format!("{TIMELINE}?id={id}")).await;
        assert_eq!(gone.status, 404, "{}", gone.text());
    }
}

#[tokio::test]
async fn what_readers_did_is_forgotten_with_what_they_read() {
    let server = Server::start();
    let admin = server.admin();
    admin.put(&handoff(), r#"{"data":{},"ttl_seconds":2000000}"#).await.ok(201);
    admin.read(SID).await.ok(200);
    admin.delete(&handoff()).await.ok_text(204);
    tokio::time::sleep(FLUSHED).await;
    assert_eq!(kinds(&story(&admin, &own()).await).len(), 3);
    server.clock.advance(HOUR * 73);
    let gone = admin.get(&path()).await;
    assert_eq!(gone.status, 404, "{}", gone.text());
}

#[tokio::test]
async fn it_expired_at_the_end_of_the_life_that_was_written_last() {
    let server = Server::start();
    let admin = server.admin();
    admin.put(&handoff(), r#"{"data":{"n":1},"ttl_seconds":600}"#).await.ok(201);
    let shorter = r#"{"data":{"n":2},"ttl_seconds":60}"#;
    let ends = admin.put(&handoff(), shorter).await.ok(200)["expires_at"].clone();
    server.clock.advance(SECOND * 61);
    assert_eq!(the(&story(&admin, &own()).await, "expired")["at"], ends);
}

#[tokio::test]
async fn the_same_content_again_is_renewed_and_not_written() {
    let server = Server::start();
    let admin = server.admin();
    let mut ends = String::new();
    for status in [201, 200, 200] {
        server.clock.advance(SECOND);
        let written = admin.write(SID, r#"{"n":1.10}"#).await;
        written.ok(status);
        ends = written.header("x-handoff-expires-at").to_owned();
    }
    let told = story(&admin, &own()).await;
    assert_eq!(kinds(&told), ["written", "renewed"]);
    let at = server.clock.now().to_string();
    let renewed = json!({
        "at": at, "event": "renewed", "door": "key", "by": "admin", "expires_at": ends,
    });
    assert_eq!(told["events"][1], renewed);
    server.clock.advance(SECOND);
    let revision = admin.write(SID, "{}").await.ok(200)["revision"].clone();
    let told = story(&admin, &own()).await;
    assert_eq!(kinds(&told), ["written", "renewed", "written"]);
    let last = &told["events"][2];
    assert_eq!((&last["revision"], &last["created"]), (&revision, &json!(false)));
    assert_eq!(last["size_bytes"], 2);
}

#[tokio::test]
async fn another_accounts_story_is_told_as_if_there_were_none() {
    let server = Server::start();
    server.admin().read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
    server.admin().write(SID, "{}").await.ok(201);
    server.admin().read(SID).await.ok(200);
    let stranger = server.stranger().await;
    let blind = async |id: &str| {
        let answer = stranger.get(&format!("{TIMELINE}?id={id}")).await;
        answer.refused(404, "HANDOFF_NOT_FOUND");
        let mut said = answer.json();
        said["error_id"] = json!("");
        said
    };
    assert_eq!(blind(SID).await, blind("nowhere").await);
    let named = format!("{}&account_id=default", path());
    stranger.get(&named).await.refused(403, "ACCOUNT_NOT_ALLOWED");
    assert!(of(&story(&server.admin(), &own()).await, "refused").is_empty());
}

#[tokio::test]
async fn a_key_of_another_project_is_told_nothing() {
    let server = Server::start();
    let of_project = async |project: &str| {
        server.key(json!({ "projects": [project], "scopes": ["handoff:read"] })).await
    };
    let (p, q) = (of_project("p").await, of_project("q").await);
    let body = r#"{"data":{},"project_id":"p","ttl_seconds":60}"#;
    server.admin().put(&handoff(), body).await.ok(201);
    assert_eq!(kinds(&story(&p, &own()).await), ["written"]);
    q.get(&path()).await.refused(404, "HANDOFF_IN_OTHER_PROJECT");
    let elsewhere = format!("{}&project_id=q", path());
    server.admin().get(&elsewhere).await.refused(404, "HANDOFF_IN_OTHER_PROJECT");
    server.clock.advance(SECOND * 61);
    assert_eq!(kinds(&story(&p, &own()).await), ["written", "expired"]);
    q.get(&path()).await.refused(404, "HANDOFF_EXPIRED");
    q.get(&format!("{}&project_id=p", path())).await.refused(403, "PROJECT_NOT_ALLOWED");
}

#[tokio::test]
async fn a_call_token_is_told_of_its_own_call_alone() {
    let server = Server::start();
    let (id, token) = made(&server.admin(), &reference("a", "live")).await;
    let agent = bearer(&server, &token);
    agent.write(SID, "{}").await.ok(201);
    agent.write("other", "{}").await.ok(201);
    let given = json!({ "aliases": ["x"] });
    agent.post(&format!("/v1/handoff_state/aliases?id={SID}"), &given).await.ok(200);
    let call = bearer(&server, &call_token(&server, &id, SID, HOUR));
    assert_eq!(kinds(&story(&call, &own()).await), ["written"]);
    for query in ["id=other", "id=x", "id=none", "shared_id=other"] {
        let asked = call.get(&format!("{TIMELINE}?{query}")).await;
        asked.refused(403, "CALL_NOT_ALLOWED");
    }
}

#[tokio::test]
async fn basic_and_keys_that_may_not_read_are_refused() {
    let server = Server::start();
    server.admin().write(SID, "{}").await.ok(201);
    let reader = json!({ "scopes": ["handoff:read"] });
    let made = server.admin().post("/v1/keys", &reader).await.ok(201);
    let basic = STANDARD.encode(format!("key:{}", made["key"].as_str().unwrap()));
    let basic = server.presenting("authorization", format!("Basic {basic}"));
    basic.read(SID).await.ok(200);
    basic.get(&path()).await.refused(403, "BASIC_NOT_ALLOWED");
    let writer = server.key(json!({ "scopes": ["handoff:write", "ops:read"] })).await;
    writer.get(&path()).await.refused(403, "MISSING_SCOPE");
    server.nobody().get(&path()).await.refused(401, "MISSING_CREDENTIALS");
}

#[tokio::test]
async fn a_flex_user_is_told_of_what_their_account_is_linked_to() {
    let desk = Desk::open().await;
    let token = desk.worker("ada");
    desk.read(&token).await.ok(200);
    let told = desk.ask(&token, &path()).await.ok(200);
    assert_eq!(kinds(&told), ["written", "read"]);
    let read = the(&told, "read");
    assert_eq!((&read["door"], &read["by"]), (&json!("flex_user"), &json!(WORKER)));
    let (admin, sandbox) = (desk.server.admin(), desk.connector("line", "sandbox").await);
    admin.put("/v1/acme/fourth/handoff_state?id=fourth", r#"{"data":{}}"#).await.ok(201);
    bearer(&desk.server, &sandbox).write("sandbox", "{}").await.ok(201);
    let ask = async |id: &str| desk.ask(&token, &format!("{TIMELINE}?id={id}")).await;
    ask("fourth").await.refused(404, "HANDOFF_IN_OTHER_PROJECT");
    ask("sandbox").await.refused(404, "HANDOFF_IN_OTHER_ENVIRONMENT");
    desk.unlink().await;
    ask(SID).await.refused(403, "ACCOUNT_NOT_LINKED");
}

#[tokio::test]
async fn a_story_survives_a_restart_with_the_reads_of_its_last_second() {
    let mut first = Server::with(&["--drain-seconds", "0"]);
    let admin = first.admin();
    admin.write(SID, "{}").await.ok(201);
    let began = first.clock.now().to_string();
    for _ in 0..3 {
        admin.read(SID).await.ok(200);
        first.clock.advance(SECOND);
    }
    let before = story(&admin, &own()).await;
    first.ask_to_stop(false);
    first.join();
    let second = Server::on(&first.folder(), first.clock.clone(), &[]);
    let admin = second.admin();
    assert_eq!(story(&admin, &own()).await, before);
    admin.read(SID).await.ok(200);
    let read = the(&story(&admin, &own()).await, "read");
    assert_eq!((&read["at"], &read["count"]), (&json!(began), &json!(4)));
    assert_eq!(read["last_at"], second.clock.now().to_string());
}

#[tokio::test]
async fn misses_survive_a_restart_with_their_handoff_alone() {
    let mut first = Server::start();
    for id in ["later", "never"] {
        first.admin().read(id).await.refused(404, "HANDOFF_NOT_FOUND");
    }
    first.clock.advance(SECOND);
    first.admin().write("later", "{}").await.ok(201);
    let before = story(&first.admin(), "id=later").await;
    assert_eq!(kinds(&before), ["missed", "written"]);
    first.ask_to_stop(true);
    first.join();
    let second = Server::on(&first.folder(), first.clock.clone(), &[]);
    assert_eq!(story(&second.admin(), "id=later").await, before);
    let never = second.admin().get(&format!("{TIMELINE}?id=never")).await;
    never.refused(404, "HANDOFF_NOT_FOUND");
}

#[tokio::test]
async fn a_long_story_keeps_its_beginning_and_its_end_and_counts_the_rest() {
    let server = Server::start();
    let (admin, began) = (server.admin(), server.clock.now());
    for n in 1..=400 {
        server.clock.advance(Duration::from_millis(1));
        let body = format!(r#"{{"data":{{"n":{n}}}}}"#);
        let (status, _) = admin.bare(Method::PUT, &handoff(), Some(body)).await;
        assert_eq!(status, if n == 1 { 201 } else { 200 });
    }
    let told = story(&admin, &own()).await;
    let written = of(&told, "written");
    assert_eq!((written.len(), kinds(&told).len(), &told["left_out"]), (256, 256, &json!(144)));
    assert_eq!(written[0]["created"], true);
    let at = |n| began.plus(Duration::from_millis(n)).to_string();
    for (place, n) in [(0, 1), (127, 128), (128, 273), (255, 400)] {
        assert_eq!(written[place]["at"], at(n), "{place}");
    }
}

#[tokio::test]
async fn with_timelines_off_handoffs_go_on_and_nothing_is_told() {
    let mut off = Server::with(&["--timeline", "off"]);
    let admin = off.admin();
    admin.write(SID, "{}").await.ok(201);
    admin.read(SID).await.ok(200);
    admin.read("none").await.refused(404, "HANDOFF_NOT_FOUND");
    let told = admin.get(&path()).await.refused(404, "PATH_NOT_FOUND");
    assert!(told.contains("BATON_TIMELINE"), "{told}");
    let receipt = json!({ "receipt": "fetched" });
    let given = admin.post(&format!("{RECEIPTS}?id={SID}"), &receipt).await;
    given.refused(404, "PATH_NOT_FOUND");
    off.ask_to_stop(true);
    off.join();
    let on = Server::on(&off.folder(), off.clock.clone(), &[]);
    let told = story(&on.admin(), &own()).await;
    assert_eq!((&told["state"], &told["events"]), (&json!("live"), &json!([])));
}

#[tokio::test]
async fn reads_that_the_store_does_not_take_are_answered_and_told_of_once_it_does() {
    let (mut server, fate) = failures::server_with(&[]);
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    fate.set(Some(Befalls::WritesNothing));
    admin.read(SID).await.ok(200);
    tokio::time::sleep(FLUSHED).await;
    let before = story(&admin, &own()).await;
    assert_eq!(the(&before, "read")["count"], 1);
    fate.set(None);
    tokio::time::sleep(FLUSHED).await;
    server.ask_to_stop(true);
    server.join();
    let again = Server::on(&server.folder(), server.clock.clone(), &["--store", "embedded"]);
    assert_eq!(story(&again.admin(), &own()).await, before);
}
