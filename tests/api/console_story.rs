//! The story of one call as operators read it; what it handed over, for whoever may see that; and how the
//! last hour went.

use std::time::Duration;

use baton::domain::timeline::lead::GRACE;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::connectors::bearer;
use crate::console_calls::Operator;
use crate::console_session::asks;
use crate::console_session::browser;
use crate::flex_door::Desk;
use crate::flex_door::OF;
use crate::harness::SID;
use crate::harness::Server;
use crate::harness::until;
use crate::receipts::RECEIPTS;
use crate::routing::CALL;
use crate::routing::FLOW;
use crate::routing::Line;
use crate::taskrouter::START;
use crate::taskrouter::TASK;
use crate::taskrouter::Told;
use crate::taskrouter::WORKSPACE;
use crate::taskrouter::Way;
use crate::taskrouter::noted;
use crate::taskrouter::of_call;
use crate::timeline::SECOND;
use crate::timeline::of;
use crate::timeline::story;
use crate::twilio::ACCOUNT;
use crate::view::view;

const STORY: &str = "/console/call";
const HOUR: &str = "/console/hour";
const MARK: &str = "CANARY4d21";

fn sentences(told: &Value) -> Vec<&str> {
    told["sentences"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_story_begins_with_the_likely_cause_and_tells_what_the_timeline_tells() {
    let server = Server::start();
    let (admin, operator) = (server.admin(), Operator::of(&server, "default").await);
    admin.read("conv-1").await.refused(404, "HANDOFF_NOT_FOUND");
    server.clock.advance(Duration::from_millis(400));
    let data = format!(r#"{{"reason":"{MARK}","phone":"+441632960123"}}"#);
    admin.write("conv-1", &data).await.ok(201);
    let given = json!({ "aliases": [SID] });
    admin.post("/v1/handoff_state/aliases?id=conv-1", &given).await.ok(200);
    let told = operator.asks(STORY, "id=conv-1").await;
    let cause = told["row"]["cause"].as_str().unwrap();
    let sentences = sentences(&told);
    assert!(sentences[0].ends_with(cause) && cause.contains("0.4 s"), "{told}");
    assert_eq!(sentences.len(), 3, "{told}");
    assert!(sentences.iter().all(|text| text.ends_with('.')), "{told}");
    assert_eq!(told["row"], operator.row("conv-1").await);
    let timeline = story(&admin, "id=conv-1").await;
    for name in ["events", "left_out", "acceptances"] {
        assert_eq!(told[name], timeline[name], "{name}");
    }
    let none = json!({ "call": null, "flow": null, "task": null });
    assert_eq!(told["links"], none);
    assert!(!told.to_string().contains(MARK) && !told.to_string().contains("960123"));
    // By an alias it is the same, and looking at it is no part of it.
    assert_eq!(operator.asks(STORY, &format!("id={SID}")).await, told);
    assert_eq!(story(&admin, "id=conv-1").await, timeline);
}

#[tokio::test]
async fn where_nothing_is_wrong_no_cause_is_told() {
    let server = Server::start();
    let (admin, operator) = (server.admin(), Operator::of(&server, "default").await);
    admin.write(SID, "{}").await.ok(201);
    admin.read(SID).await.ok(200);
    let told = operator.asks(STORY, &format!("id={SID}")).await;
    assert_eq!((&told["row"]["cause"], sentences(&told).len()), (&json!(""), 2));
    assert!(!sentences(&told)[0].contains("cause"), "{told}");
}

#[tokio::test]
async fn what_nothing_is_known_of_is_a_miss_and_another_accounts_is_no_other() {
    let server = Server::start();
    server.admin().put("/v1/acme/line/handoff_state?id=CA1", r#"{"data":{}}"#).await.ok(201);
    let browser = browser(&server, &server.admin()).await;
    let blind = async |id: &str| {
        let answer = asks(&browser, &format!("{STORY}?id={id}")).await;
        answer.refused(404, "HANDOFF_NOT_FOUND");
        let mut said = answer.json();
        said["error_id"] = json!("");
        said
    };
    assert_eq!(blind("CA1").await, blind("nowhere").await);
    for (query, code) in [("", "MISSING_ID"), ("?id=undefined", "INVALID_ID")] {
        asks(&browser, &format!("{STORY}{query}")).await.refused(400, code);
    }
}

#[tokio::test]
async fn it_leads_to_where_twilio_shows_the_call_its_flow_and_its_task() {
    let line = Line::open().await;
    let operator = Operator::of(&line.centre.server, "acme").await;
    line.visit("").await;
    let links = operator.asks(STORY, &format!("id={CALL}")).await["links"].clone();
    assert!(links["call"].as_str().unwrap().contains(CALL), "{links}");
    assert_eq!((&links["flow"], &links["task"]), (&Value::Null, &Value::Null));
    line.centre.server.clock.advance(SECOND);
    line.visit(&format!("?flow={FLOW}")).await;
    let links = operator.asks(STORY, &format!("id={CALL}")).await["links"].clone();
    assert!(links["flow"].as_str().unwrap().contains(FLOW), "{links}");
    let desk = Desk::open().await;
    let operator = Operator::of(&desk.server, "acme").await;
    noted(&desk, Way::Form, &Told::of("task.created", TASK, of_call(SID))).await;
    let links = operator.asks(STORY, &format!("id={SID}")).await["links"].clone();
    let task = links["task"].as_str().unwrap();
    assert!(task.contains(TASK) && task.contains(WORKSPACE), "{links}");
    for link in links.as_object().unwrap().values().filter_map(Value::as_str) {
        assert!(link.starts_with("https://") && link.contains("twilio.com/"), "{link}");
    }
}

#[tokio::test]
async fn what_was_handed_over_is_for_whoever_may_read_handoffs() {
    let server = Server::start();
    let admin = server.admin();
    admin.write(SID, &format!(r#"{{"reason":"{MARK}","n":1.10}}"#)).await.ok(201);
    let made = async |scopes: Value| {
        let key = server.key(json!({ "scopes": scopes })).await;
        browser(&server, &key).await
    };
    let (reader, blind) =
        (made(json!(["ops:read", "handoff:read"])).await, made(json!(["ops:read"])).await);
    let path = format!("/console/handoff?id={SID}");
    let refused = asks(&blind, &path).await;
    refused.refused(403, "MISSING_SCOPE");
    assert!(!refused.text().contains(MARK));
    let story_of = format!("{STORY}?id={SID}");
    for path in [HOUR, &story_of] {
        assert!(!asks(&blind, path).await.ok_text(200).contains(MARK), "{path}");
    }
    let shown = asks(&reader, &path).await.ok(200);
    assert_eq!(shown, view(&admin, SID).await.ok(200));
    let read = of(&story(&admin, &format!("id={SID}")).await, "read");
    let counts: Vec<_> = read.iter().map(|read| (&read["door"], &read["count"])).collect();
    // An operator who looks has no part in the story.
    assert_eq!(counts, [(&json!("key"), &json!(1))], "{read:?}");
    asks(&reader, "/console/handoff?id=none").await.refused(404, "HANDOFF_NOT_FOUND");
    admin.delete(&format!("/v1/handoff_state?id={SID}")).await.ok_text(204);
    asks(&reader, &path).await.refused(404, "HANDOFF_ERASED");
}

#[tokio::test]
async fn the_hour_is_told_minute_by_minute_also_where_nothing_happened() {
    let server = Server::start();
    let (admin, operator) = (server.admin(), Operator::of(&server, "default").await);
    let began = server.clock.now().to_string();
    let minutes = async || operator.asks(HOUR, "").await["minutes"].as_array().unwrap().clone();
    for _ in 0..5 {
        admin.read("never").await.refused(404, "HANDOFF_NOT_FOUND");
    }
    let told = operator.asks(HOUR, "").await;
    let first = &told["minutes"][0];
    assert_eq!((&told["now"], &told["since"]), (&json!(began), &json!(began)));
    assert_eq!(
        (&first["at"], &first["misses"]),
        (&json!("2026-11-22T17:02:00.000000Z"), &json!(5))
    );
    // The console's own are not counted.
    assert_eq!(first["requests"], 5, "{told}");
    assert!(first["p50_ms"].as_f64() <= first["p99_ms"].as_f64(), "{told}");
    server.clock.advance(SECOND * 180);
    let told = minutes().await;
    assert_eq!((told.len(), &told[0]["misses"]), (4, &json!(5)));
    let starts: Vec<_> = told.iter().map(|minute| minute["at"].as_str().unwrap()).collect();
    let starting = |n: u32| format!("2026-11-22T17:0{}:00.000000Z", n + 2);
    assert_eq!(starts, [0, 1, 2, 3].map(starting));
    let empty = json!({
        "at": starting(2), "requests": 0, "p50_ms": null, "p99_ms": null, "misses": 0, "before": 0,
        "within_2s": 0, "late": 0, "never": 0, "lead_p50_seconds": null,
    });
    assert_eq!(told[2], empty);
    server.clock.advance(SECOND * 7200);
    let told = operator.asks(HOUR, "").await;
    let minutes = told["minutes"].as_array().unwrap();
    assert_eq!((minutes.len(), &told["since"]), (60, &json!("2026-11-22T18:05:42.433305Z")));
    assert!(minutes.iter().all(|minute| minute["misses"] == 0), "{told}");
}

#[tokio::test]
async fn the_hour_counts_whether_context_came_in_time() {
    let desk = Desk::open().await;
    let operator = Operator::of(&desk.server, "acme").await;
    let ada = bearer(&desk.server, &desk.worker("ada"));
    let body = Some(br#"{"receipt":"rendered"}"#.to_vec());
    let path = format!("{RECEIPTS}?id={SID}");
    ada.send(Method::POST, &path, &[(OF, ACCOUNT)], body).await.ok(200);
    for (kind, after) in [("reservation.accepted", 2000), ("task.completed", 5000)] {
        noted(&desk, Way::Form, &Told::of(kind, TASK, of_call(SID)).at(START + after)).await;
    }
    desk.server.clock.advance(SECOND * 10 + GRACE * 2);
    let sums = async || {
        let told = operator.asks(HOUR, "").await;
        let minutes = told["minutes"].as_array().unwrap();
        let sum =
            |name: &str| minutes.iter().map(|minute| minute[name].as_u64().unwrap()).sum::<u64>();
        let leads = minutes.iter().filter(|minute| !minute["lead_p50_seconds"].is_null()).count();
        (["before", "within_2s", "late", "never"].map(sum), leads)
    };
    until(async || sums().await != ([0, 0, 0, 0], 0)).await;
    assert_eq!(sums().await, ([1, 0, 0, 0], 1));
}
