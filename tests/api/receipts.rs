//! What readers say became of a handoff.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use tokio::task::JoinSet;

use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::failures;
use crate::failures::Befalls;
use crate::flex_door::Desk;
use crate::flex_door::HOUR;
use crate::flex_door::OF;
use crate::flex_door::jwe;
use crate::harness::Answer;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;
use crate::pretend_flex::IDENTITY;
use crate::pretend_flex::WORKER;
use crate::pretend_flex::good;
use crate::timeline::SECOND;
use crate::timeline::TIMELINE;
use crate::timeline::of;
use crate::timeline::story;
use crate::timeline::the;
use crate::tokens::call_token;
use crate::twilio::ACCOUNT;

pub const RECEIPTS: &str = "/v1/handoff_state/receipts";
const KINDS: [&str; 4] = ["fetched", "rendered", "accepted", "acknowledged"];
const TASK: &str = "WT0123456789abcdef0123456789abcdef";
const OTHER_TASK: &str = "WTffffffffffffffffffffffffffffffff";
const OTHER_WORKER: &str = "WKffffffffffffffffffffffffffffffff";

fn own() -> String {
    format!("id={SID}")
}

fn handoff() -> String {
    format!("/v1/handoff_state?id={SID}")
}

fn rendered() -> Value {
    json!({ "receipt": "rendered" })
}

/// Says something of a handoff.
async fn give(client: &Client, query: &str, body: &Value) -> Answer {
    client.post(&format!("{RECEIPTS}?{query}"), body).await
}

/// The same of [`SID`]'s as a Flex user.
async fn give_as(desk: &Desk, token: &str, body: &Value) -> Answer {
    let path = format!("{RECEIPTS}?id={SID}");
    let body = Some(body.to_string().into_bytes());
    bearer(&desk.server, token).send(Method::POST, &path, &[(OF, ACCOUNT)], body).await
}

/// The token of another worker than [`WORKER`].
fn eve(desk: &Desk) -> String {
    let end = desk.server.clock.now().plus(Duration::from_secs(HOUR));
    let mut answer = good(&end.to_string(), &["agent"]);
    answer["worker_sid"] = json!(OTHER_WORKER);
    answer["identity"] = json!("eve");
    desk.flex.token(ACCOUNT, &jwe("eve"), answer);
    jwe("eve")
}

async fn told(desk: &Desk) -> Value {
    let query = format!("id={SID}&account_id=acme");
    story(&desk.server.admin(), &query).await
}

#[tokio::test]
async fn each_kind_is_kept_and_told() {
    let server = Server::start();
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    let mut wanted = Vec::new();
    for kind in KINDS {
        server.clock.advance(SECOND);
        let at = server.clock.now().to_string();
        let given = give(&admin, &own(), &json!({ "receipt": kind })).await.ok(200);
        assert_eq!(given, json!({ "id": SID, "receipt": kind, "at": at, "first": true }));
        wanted.push(json!({
            "at": at, "event": "receipt", "receipt": kind, "door": "key", "by": "admin",
        }));
    }
    assert_eq!(of(&story(&admin, &own()).await, "receipt"), wanted);
}

#[tokio::test]
async fn said_again_it_is_what_it_was_also_after_a_restart() {
    let mut server = Server::start();
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    let mut first = give(&admin, &own(), &rendered()).await.ok(200);
    first["first"] = json!(false);
    for _ in 0..2 {
        server.clock.advance(SECOND);
        assert_eq!(give(&admin, &own(), &rendered()).await.ok(200), first);
    }
    server.ask_to_stop(true);
    server.join();
    let second = Server::on(&server.folder(), server.clock.clone(), &[]);
    let admin = second.admin();
    assert_eq!(give(&admin, &own(), &rendered()).await.ok(200), first);
    assert_eq!(the(&story(&admin, &own()).await, "receipt")["at"], first["at"]);
}

#[tokio::test]
async fn another_task_another_worker_and_another_key_are_their_own() {
    let desk = Desk::open().await;
    let (ada, eve) = (desk.worker("ada"), eve(&desk));
    let mut wanted = Vec::new();
    for task in [None, Some(TASK), Some(OTHER_TASK)] {
        let body = json!({ "receipt": "rendered", "task_sid": task });
        for (token, sid, name) in [(&ada, WORKER, IDENTITY), (&eve, OTHER_WORKER, "eve")] {
            let at = desk.server.clock.now().to_string();
            for first in [true, false] {
                let given = give_as(&desk, token, &body).await.ok(200);
                assert_eq!((&given["first"], &given["at"]), (&json!(first), &json!(at)));
                desk.server.clock.advance(SECOND);
            }
            let mut event = json!({
                "at": at, "event": "receipt", "receipt": "rendered", "door": "flex_user",
                "by": sid, "worker_sid": sid, "worker": name,
            });
            if let Some(task) = task {
                event["task_sid"] = json!(task);
            }
            wanted.push(event);
        }
    }
    assert_eq!(of(&told(&desk).await, "receipt"), wanted);
    let reader = json!({ "account_id": "acme", "scopes": ["handoff:read"] });
    let (one, two) = (desk.server.key(reader.clone()).await, desk.server.key(reader).await);
    for key in [one, two] {
        assert_eq!(give(&key, &own(), &rendered()).await.ok(200)["first"], true);
    }
}

#[tokio::test]
async fn who_the_worker_is_comes_from_the_token_alone() {
    let desk = Desk::open().await;
    let ada = desk.worker("ada");
    for (name, value) in
        [("worker_sid", OTHER_WORKER), ("worker", "eve"), ("by", "eve"), ("at", "2026-01-01")]
    {
        let mut body = rendered();
        body[name] = json!(value);
        give_as(&desk, &ada, &body).await.refused(400, "UNKNOWN_PARAMETER");
        give(&desk.agent(), &own(), &body).await.refused(400, "UNKNOWN_PARAMETER");
    }
    give(&desk.agent(), &own(), &rendered()).await.ok(200);
    let receipt = the(&told(&desk).await, "receipt");
    let (door, by) = (json!("connector_token"), json!(desk.id));
    assert_eq!((&receipt["door"], &receipt["by"]), (&door, &by));
    assert_eq!((receipt.get("worker_sid"), receipt.get("worker")), (None, None));
}

#[tokio::test]
async fn what_is_no_receipt_is_refused_and_nothing_is_kept() {
    let server = Server::start();
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    for body in [
        json!({}),
        json!({ "receipt": null }),
        json!({ "receipt": "seen" }),
        json!({ "receipt": "Rendered" }),
        json!({ "receipt": 7 }),
        json!({ "receipt": "rendered", "task_sid": "" }),
        json!({ "receipt": "rendered", "task_sid": "WT1" }),
        json!({ "receipt": "rendered", "task_sid": TASK.replace("WT", "WK") }),
        json!({ "receipt": "rendered", "task_sid": format!("{TASK}0") }),
        json!({ "receipt": "rendered", "task_sid": 7 }),
    ] {
        give(&admin, &own(), &body).await.refused(400, "INVALID_PARAMETER");
    }
    for (body, status, code) in [
        ("x", 400, "INVALID_JSON"),
        ("", 400, "INVALID_JSON"),
        ("[]", 422, "NOT_AN_OBJECT"),
        (r#"{"receipt":"rendered","receipt":"fetched"}"#, 422, "DUPLICATE_KEY"),
    ] {
        let path = format!("{RECEIPTS}?id={SID}");
        let given = admin.send(Method::POST, &path, &[], Some(body.as_bytes().to_vec())).await;
        given.refused(status, code);
    }
    for (query, code) in [
        ("", "MISSING_ID"),
        (&format!("id={SID}&shared_id=x"), "INVALID_PARAMETER"),
        (&format!("id={SID}&receipt=rendered"), "UNKNOWN_PARAMETER"),
        (&format!("id={SID}&wait=1"), "UNKNOWN_PARAMETER"),
    ] {
        give(&admin, query, &rendered()).await.refused(400, code);
    }
    assert!(of(&story(&admin, &own()).await, "receipt").is_empty());
}

#[tokio::test]
async fn nothing_is_kept_of_what_is_not_there() {
    let server = Server::start();
    let admin = server.admin();
    give(&admin, "id=never", &rendered()).await.refused(404, "HANDOFF_NOT_FOUND");
    give(&admin, "shared_id=never", &rendered()).await.refused(404, "HANDOFF_NOT_FOUND");
    admin.write("erased", "{}").await.ok(201);
    admin.delete("/v1/handoff_state?id=erased").await.ok_text(204);
    give(&admin, "id=erased", &rendered()).await.refused(404, "HANDOFF_ERASED");
    let short = r#"{"data":{},"ttl_seconds":60,"project_id":"p"}"#;
    admin.put(&handoff(), short).await.ok(201);
    let narrow = server.key(json!({ "projects": ["q"], "scopes": ["handoff:read"] })).await;
    give(&narrow, &own(), &rendered()).await.refused(404, "HANDOFF_IN_OTHER_PROJECT");
    let stranger = server.stranger().await;
    give(&stranger, &own(), &rendered()).await.refused(404, "HANDOFF_NOT_FOUND");
    server.clock.advance(SECOND * 61);
    give(&admin, &own(), &rendered()).await.refused(404, "HANDOFF_EXPIRED");
    assert!(of(&story(&admin, &own()).await, "receipt").is_empty());
    admin.get(&format!("{TIMELINE}?id=never")).await.refused(404, "HANDOFF_NOT_FOUND");
}

#[tokio::test]
async fn any_id_of_the_handoff_is_as_good() {
    let server = Server::start();
    let admin = server.admin();
    let put = "/v1/handoff_state?id=conv-1&shared_id=five9-1";
    admin.put(put, r#"{"data":{}}"#).await.ok(201);
    let given = json!({ "aliases": [SID] });
    admin.post("/v1/handoff_state/aliases?id=conv-1", &given).await.ok(200);
    for (n, query) in ["shared_id=five9-1", &own(), "id=conv-1"].into_iter().enumerate() {
        let given = give(&admin, query, &rendered()).await.ok(200);
        let wanted = (&json!("conv-1"), &json!(n == 0));
        assert_eq!((&given["id"], &given["first"]), wanted, "{query}");
    }
    the(&story(&admin, "id=conv-1").await, "receipt");
}

#[tokio::test]
async fn whoever_may_read_it_may_say_so_and_nobody_else() {
    let server = Server::start();
    let (id, token) = made(&server.admin(), &reference("a", "live")).await;
    let agent = bearer(&server, &token);
    agent.write(SID, "{}").await.ok(201);
    agent.write("other", "{}").await.ok(201);
    let call = bearer(&server, &call_token(&server, &id, SID, Duration::from_secs(60)));
    give(&call, &own(), &rendered()).await.ok(200);
    give(&call, "id=other", &rendered()).await.refused(403, "CALL_NOT_ALLOWED");
    give(&agent, "id=other", &rendered()).await.ok(200);
    let of_acme = |scope: &str| json!({ "account_id": "acme", "scopes": [scope] });
    let writer = server.key(of_acme("handoff:write")).await;
    give(&writer, &own(), &rendered()).await.refused(403, "MISSING_SCOPE");
    let made = server.admin().post("/v1/keys", &of_acme("handoff:read")).await.ok(201);
    let basic = STANDARD.encode(format!("key:{}", made["key"].as_str().unwrap()));
    let basic = server.presenting("authorization", format!("Basic {basic}"));
    give(&basic, &own(), &rendered()).await.refused(403, "BASIC_NOT_ALLOWED");
    give(&server.nobody(), &own(), &rendered()).await.refused(401, "MISSING_CREDENTIALS");
}

#[tokio::test]
async fn of_twenty_at_once_one_is_the_first() {
    let server = Server::start();
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    let mut giving = JoinSet::new();
    for _ in 0..20 {
        let admin = admin.clone();
        giving.spawn(async move { give(&admin, &own(), &rendered()).await.ok(200) });
    }
    let given = giving.join_all().await;
    assert_eq!(given.iter().filter(|given| given["first"] == true).count(), 1);
    assert!(given.iter().all(|other| other["at"] == given[0]["at"]));
    the(&story(&admin, &own()).await, "receipt");
}

#[tokio::test]
async fn what_the_store_does_not_take_is_not_said_to_be_kept() {
    let (server, fate) = failures::server_with(&[]);
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    fate.set(Some(Befalls::WritesNothing));
    give(&admin, &own(), &rendered()).await.refused(507, "STORE_FULL");
    fate.set(None);
    server.clock.advance(SECOND);
    let given = give(&admin, &own(), &rendered()).await.ok(200);
    let at = server.clock.now().to_string();
    assert_eq!((&given["first"], &given["at"]), (&json!(true), &json!(at)));
}

#[tokio::test]
async fn who_took_the_call_and_saw_its_context_when_is_told() {
    let desk = Desk::open().await;
    let (ada, eve) = (desk.worker("ada"), eve(&desk));
    let (began, clock) = (desk.server.clock.now(), &desk.server.clock);
    let say = async |token: &str, kind: &str| {
        let body = json!({ "receipt": kind, "task_sid": TASK });
        give_as(&desk, token, &body).await.ok(200);
    };
    say(&ada, "rendered").await;
    clock.advance(SECOND * 3);
    say(&ada, "accepted").await;
    clock.advance(SECOND);
    say(&eve, "accepted").await;
    let open = told(&desk).await["acceptances"][1].clone();
    assert_eq!((&open["outcome"], open.get("rendered_at")), (&json!("open"), None));
    clock.advance(SECOND * 5);
    say(&eve, "rendered").await;
    let at = |seconds: u32| began.plus(SECOND * seconds).to_string();
    let wanted = json!([
        {
            "worker_sid": WORKER, "worker": IDENTITY, "task_sid": TASK, "accepted_at": at(3),
            "rendered_at": at(0), "lead_seconds": -3.0, "outcome": "before",
        },
        {
            "worker_sid": OTHER_WORKER, "worker": "eve", "task_sid": TASK, "accepted_at": at(4),
            "rendered_at": at(9), "lead_seconds": 5.0, "outcome": "late",
        },
    ]);
    assert_eq!(told(&desk).await["acceptances"], wanted);
}
