//! What comes late: a handoff that is written after its call's task was made, and is put into the task
//! whatever TaskRouter and whoever else writes the task do meanwhile; and what TaskRouter tells again.

use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton::store::kv::StoreError;
use serde_json::Value;
use serde_json::json;

use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::failures;
use crate::failures::Befalls;
use crate::flex_door::Desk;
use crate::harness::SID;
use crate::harness::until;
use crate::links::TOKEN;
use crate::links::by_token;
use crate::pretend_flex::PretendFlex;
use crate::pretend_flex_wire::Mood;
use crate::pretend_flex_wire::Seen;
use crate::pretend_twilio::PretendTwilio;
use crate::routing::WORKFLOW;
use crate::routing::attribute;
use crate::routing::text;
use crate::taskrouter::CALL;
use crate::taskrouter::START;
use crate::taskrouter::TASK;
use crate::taskrouter::Told;
use crate::taskrouter::WAYS;
use crate::taskrouter::WORKSPACE;
use crate::taskrouter::Way;
use crate::taskrouter::noted;
use crate::taskrouter::of_call;
use crate::taskrouter::routed;
use crate::taskrouter::set;
use crate::taskrouter::tell;
use crate::taskrouter::timeline;
use crate::twilio::ACCOUNT;
use crate::twilio::PUBLIC;
use crate::twilio::post;

const LATE: &str = r#"{"reason":"late bill","summary":"She has paid twice.","n":1.10}"#;

fn sids(n: u32) -> (String, String) {
    (format!("CA{n:032x}"), format!("WT{n:032x}"))
}

/// A call and its task: TaskRouter has it with these members besides, and has told of it.
async fn queued(desk: &Desk, n: u32, more: &str) -> (String, String) {
    let (call, task) = sids(n);
    let attributes = format!("{{\"call_sid\":\"{call}\"{more}}}");
    desk.flex.task(ACCOUNT, WORKSPACE, &task, &attributes);
    noted(desk, Way::Form, &Told::of("task.created", &task, attributes)).await;
    (call, task)
}

/// What TaskRouter was asked about a task.
fn asked(desk: &Desk, task: &str, method: &str) -> Vec<Seen> {
    let of = |seen: &Seen| seen.method == method && seen.path.ends_with(task);
    desk.flex.requests().into_iter().filter(of).collect()
}

async fn until_ready(desk: &Desk, task: &str) -> String {
    let ready = r#""handoff_status":"ready""#;
    until(async || desk.flex.shown(task).attributes.contains(ready)).await;
    desk.flex.shown(task).attributes
}

/// Another connector's task is brought up to date: what was to be done before is done by then.
async fn others_turn(desk: &Desk, n: u32) {
    let (id, token) = made(&desk.server.admin(), &reference(&format!("other-{n}"), "live")).await;
    desk.link(&token, &by_token()).await.ok(200);
    let (call, task) = sids(n);
    let attributes = json!({ "call_sid": call, "baton": { "connector_id": id } }).to_string();
    desk.flex.task(ACCOUNT, WORKSPACE, &task, &attributes);
    let told = Told::of("task.created", &task, attributes).body(Way::Form);
    let answer = tell(&desk.server.nobody(), TOKEN, &id, Way::Form, &told).await;
    assert_eq!(answer.status, 204);
    bearer(&desk.server, &token).write(&call, LATE).await.ok(201);
    until_ready(desk, &task).await;
}

#[tokio::test]
async fn a_task_gets_what_is_written_after_it_was_made_and_all_else_keeps_its_bytes() {
    let desk = Desk::open().await;
    let theirs = r#","from":"+15550100","big":123456789012345678901234567890,"n":1.10,"list":[1, 2 ],"\u00e9":"\u00e9","type":"voice","name":"Ada","conference":{"sid":"CF1"}"#;
    let shared = r#","conversations":{"conversation_id":"c-1"},"handoff_status":"missing","handoff_found":false"#;
    for (n, etag) in [(1, "\"0\""), (2, "0")] {
        let (call, task) = queued(&desk, n, &format!("{theirs}{shared}")).await;
        desk.agent().write(&call, LATE).await.ok(201);
        let attributes = until_ready(&desk, &task).await;
        let begins = format!("{{\"call_sid\":\"{call}\"{theirs},");
        assert!(attributes.starts_with(&begins), "{attributes}");
        let told: Value = serde_json::from_str(&attributes).unwrap();
        let is = |name: &str, value: Value| assert_eq!(told[name], value, "{attributes}");
        is("handoff_found", json!(true));
        is("handoff_id", json!(call));
        is("handoff_reason", json!("late bill"));
        is("handoff_summary", json!("She has paid twice."));
        is("baton", json!({ "url": PUBLIC, "connector_id": desk.id }));
        assert_eq!(told["conversations"]["conversation_id"], "c-1");
        let updates = asked(&desk, &task, "POST");
        let said = (updates[0].if_match.as_deref(), updates[0].user.as_deref());
        assert_eq!((said, updates.len()), ((Some(etag), Some(ACCOUNT)), 1));
        let is_updated = |told: &Value| {
            let mut events = told["events"].as_array().unwrap().iter();
            events.any(|event| event["event"] == "task_updated" && event["task_sid"] == task)
        };
        until(async || is_updated(&timeline(&desk.agent(), &call).await.ok(200))).await;
        desk.flex.bare_etags();
    }
}

#[tokio::test]
async fn a_task_that_is_told_of_only_after_the_handoff_was_written_is_brought_up_to_date_too() {
    let desk = Desk::open().await;
    for (n, kind, way) in [(1, "task.created", Way::Form), (2, "reservation.created", Way::Stream)]
    {
        let (call, task) = sids(n);
        let attributes = json!({ "call_sid": call, "handoff_status": "missing" }).to_string();
        desk.flex.task(ACCOUNT, WORKSPACE, &task, &attributes);
        desk.agent().write(&call, LATE).await.ok(201);
        noted(&desk, way, &Told::of(kind, &task, attributes)).await;
        until_ready(&desk, &task).await;
    }
}

#[tokio::test]
async fn whoever_else_writes_the_task_meanwhile_loses_nothing() {
    let desk = Desk::open().await;
    let (call, task) = queued(&desk, 1, "").await;
    let mut turn = 0;
    desk.flex.after_each_get(move |task| {
        turn += 1;
        if turn < 3 {
            let more = format!("{{\"theirs_{turn}\":{turn},");
            task.attributes = task.attributes.replacen('{', &more, 1);
        }
    });
    desk.agent().write(&call, LATE).await.ok(201);
    let attributes = until_ready(&desk, &task).await;
    let begins = format!("{{\"theirs_2\":2,\"theirs_1\":1,\"call_sid\":\"{call}\",");
    assert!(attributes.starts_with(&begins), "{attributes}");
    let tags: Vec<_> = asked(&desk, &task, "POST").into_iter().map(|seen| seen.if_match).collect();
    assert_eq!(tags, ["\"0\"", "\"1\"", "\"2\""].map(|tag| Some(tag.to_owned())));
}

#[tokio::test]
async fn a_task_that_never_comes_to_rest_is_given_up_and_the_next_write_tries_anew() {
    let desk = Desk::open().await;
    let (call, task) = queued(&desk, 1, "").await;
    desk.flex.fail_preconditions(usize::MAX);
    desk.agent().write(&call, LATE).await.ok(201);
    let (mut tries, mut since) = (0, Instant::now());
    // Longer than any pause between two tries.
    while since.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = asked(&desk, &task, "POST").len();
        assert!(now <= 6, "{now} tries");
        if now > tries {
            (tries, since) = (now, Instant::now());
        }
    }
    assert!(tries > 1, "{tries} tries");
    desk.flex.fail_preconditions(0);
    desk.agent().write(&call, r#"{"summary":"Anew."}"#).await.ok(200);
    assert!(until_ready(&desk, &task).await.contains("Anew."));
}

#[tokio::test]
async fn whatever_taskrouter_does_a_write_is_answered_at_once_and_no_secret_goes_astray() {
    let mut desk = Desk::open().await;
    let trap = PretendFlex::start();
    let seconds = Duration::from_secs;
    let moods = [
        Mood::Slow(seconds(3)),
        Mood::Status(401),
        Mood::Status(429),
        Mood::Status(500),
        Mood::Garbage,
        Mood::Redirect(trap.url()),
        Mood::Huge,
        Mood::Silent,
    ];
    for (n, mood) in (1..).zip(moods) {
        desk.flex.taskrouter(mood.clone());
        let (call, task) = queued(&desk, n, "").await;
        let started = Instant::now();
        desk.agent().write(&call, LATE).await.ok(201);
        assert!(started.elapsed() < seconds(1), "{mood:?}: {:?}", started.elapsed());
        until(async || !asked(&desk, &task, "GET").is_empty()).await;
        desk.agent().read(&call).await.ok(200);
    }
    assert_eq!(trap.requests(), [], "a redirect was followed");
    let mut seen = desk.server.nobody().get("/metrics").await.text().to_owned();
    desk.server.ask_to_stop(true);
    desk.server.join();
    seen.push_str(&desk.server.log.text());
    let basic = STANDARD.encode(format!("{ACCOUNT}:{TOKEN}"));
    assert!(!seen.contains(TOKEN) && !seen.contains(&basic), "{seen}");
}

#[tokio::test]
async fn what_taskrouter_cannot_take_now_it_is_given_later() {
    let desk = Desk::open().await;
    for (n, status) in [(1, 429), (2, 503)] {
        desk.flex.taskrouter(Mood::Status(status));
        let (call, task) = queued(&desk, n, "").await;
        desk.agent().write(&call, LATE).await.ok(201);
        until(async || !asked(&desk, &task, "GET").is_empty()).await;
        desk.flex.taskrouter(Mood::Answers);
        until_ready(&desk, &task).await;
    }
}

#[tokio::test]
async fn a_task_that_is_over_is_left_alone() {
    let desk = Desk::open().await;
    let mut tasks = Vec::new();
    for (n, status) in [(1, "wrapping"), (2, "completed"), (3, "canceled")] {
        let (call, task) = queued(&desk, n, "").await;
        desk.flex.change(&task, |task| task.assignment_status = status.to_owned());
        desk.agent().write(&call, LATE).await.ok(201);
        until(async || !asked(&desk, &task, "GET").is_empty()).await;
        tasks.push(task);
    }
    // Told of, it is not even looked at.
    let (call, told) = queued(&desk, 4, "").await;
    let completed = Told::of("task.completed", &told, json!({ "call_sid": call }).to_string());
    noted(&desk, Way::Stream, &completed.at(START + 1000)).await;
    desk.agent().write(&call, LATE).await.ok(201);
    others_turn(&desk, 5).await;
    assert_eq!(asked(&desk, &told, "GET"), []);
    for task in tasks.iter().chain([&told]) {
        assert_eq!(asked(&desk, task, "POST"), []);
    }
}

#[tokio::test]
async fn where_late_writes_are_off_or_nothing_is_linked_taskrouter_is_not_asked() {
    let desk = Desk::open().await;
    set(&desk, &json!({ "flex": { "late_writes": false } })).await;
    let (call, off) = queued(&desk, 1, "").await;
    desk.agent().write(&call, LATE).await.ok(201);
    let again = Told::of("reservation.created", &off, json!({ "call_sid": call }).to_string());
    noted(&desk, Way::Form, &again).await;
    others_turn(&desk, 2).await;
    set(&desk, &json!({ "flex": { "late_writes": true } })).await;
    let (call, unlinked) = queued(&desk, 3, "").await;
    desk.unlink().await;
    desk.agent().write(&call, LATE).await.ok(201);
    others_turn(&desk, 4).await;
    for task in [off, unlinked] {
        assert!(!desk.flex.requests().iter().any(|seen| seen.path.ends_with(&task)));
    }
}

/// Sends a call to its agent, who writes; the attributes of the task that it becomes then.
async fn visited(desk: &Desk, call: &str, data: &str) -> String {
    let nobody = desk.server.nobody();
    let form = format!(
        "AccountSid={ACCOUNT}&CallSid={call}&From=%2B15551234567&To=%2B15557654321&Direction=inbound&CallStatus=in-progress"
    );
    let sent = post(&nobody, TOKEN, &format!("/twilio/voice/{}", desk.id), &form).await;
    let action = attribute(sent.ok_text(200), "action");
    assert!(desk.agent().write(call, data).await.status < 202);
    let back = post(&nobody, TOKEN, action.strip_prefix(PUBLIC).unwrap(), &form).await;
    let twilios = format!("{{\"call_sid\":\"{call}\",\"from\":\"+15551234567\",\"n\":1.10,");
    text(back.ok_text(200), "Task").replacen('{', &twilios, 1)
}

#[tokio::test]
async fn a_task_that_was_made_with_its_handoff_and_one_of_an_earlier_visit_are_not_written() {
    let desk = Desk::open().await;
    let routing = json!({ "agent_url": "wss://agent.example/media" });
    set(&desk, &json!({ "routing": routing, "flex": { "workflow_sid": WORKFLOW } })).await;
    let (call, first) = sids(1);
    let (_, second) = sids(2);
    let of_first = visited(&desk, &call, r#"{"reason":"first","summary":"One."}"#).await;
    desk.flex.task(ACCOUNT, WORKSPACE, &first, &of_first);
    for kind in ["task.created", "reservation.created"] {
        noted(&desk, Way::Form, &Told::of(kind, &first, of_first.clone())).await;
    }
    until(async || asked(&desk, &first, "GET").len() == 2).await;
    let of_second = visited(&desk, &call, r#"{"reason":"second"}"#).await;
    others_turn(&desk, 3).await;
    desk.flex.task(ACCOUNT, WORKSPACE, &second, &of_second);
    let told = Told::of("task.created", &second, of_second.clone()).at(START + 1000);
    noted(&desk, Way::Form, &told).await;
    until(async || asked(&desk, &second, "GET").len() == 1).await;
    others_turn(&desk, 4).await;
    assert_eq!(asked(&desk, &second, "POST"), []);
    desk.agent().write(&call, r#"{"reason":"third"}"#).await.ok(200);
    until(async || desk.flex.shown(&second).attributes.contains("third")).await;
    assert_eq!(asked(&desk, &first, "GET").len(), 2);
    assert_eq!(asked(&desk, &first, "POST"), []);
    assert_eq!(desk.flex.shown(&first).attributes, of_first);
}

#[tokio::test]
async fn attributes_are_4096_characters_at_most_and_nothing_of_others_makes_room() {
    let desk = Desk::open().await;
    let data = json!({ "reason": "late bill", "summary": "long ".repeat(200) }).to_string();
    let mut full = Vec::new();
    for (n, room) in [(1, 2600), (2, 1200), (3, 100), (4, 0)] {
        let fixed = r#"{"call_sid":"","notes":""}"#.len() + sids(n).0.len();
        // Characters count, not bytes.
        let notes = format!(",\"notes\":\"{}\"", "é".repeat(4096 - fixed - room));
        let (call, task) = queued(&desk, n, &notes).await;
        desk.agent().write(&call, &data).await.ok(201);
        if room > 1000 {
            let attributes = until_ready(&desk, &task).await;
            let characters = attributes.chars().count();
            assert!(characters <= 4096 && attributes.contains(&notes), "{characters}");
            assert_eq!(asked(&desk, &task, "POST").len(), 1);
        } else {
            until(async || !asked(&desk, &task, "GET").is_empty()).await;
            full.push(task);
        }
    }
    others_turn(&desk, 5).await;
    for task in full {
        assert_eq!(asked(&desk, &task, "POST"), []);
    }
}

#[tokio::test]
async fn what_was_told_before_the_handoff_was_written_is_told_with_it() {
    let desk = Desk::open().await;
    let agent = desk.agent();
    noted(&desk, Way::Form, &Told::of("task.created", TASK, of_call(CALL))).await;
    let before = timeline(&agent, CALL).await.ok(200);
    assert_eq!((&before["state"], routed(&before).len()), (&json!("missing"), 1));
    agent.write(CALL, "{}").await.ok(201);
    let after = timeline(&agent, CALL).await.ok(200);
    assert_eq!((&after["state"], routed(&after)), (&json!("live"), routed(&before)));
    // Also where the call's SID turns out to be a further id.
    let other = CALL.replace('c', "d");
    let by_call = json!({ "call_sid": other }).to_string();
    noted(&desk, Way::Stream, &Told::of("task.created", TASK, by_call)).await;
    agent.write("conv-2", "{}").await.ok(201);
    agent.post("/v1/handoff_state/aliases?id=conv-2", &json!({"aliases": [other]})).await.ok(200);
    assert_eq!(routed(&timeline(&agent, "conv-2").await.ok(200)).len(), 1);
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_taken_so_that_it_comes_again_and_is_then_there_once() {
    let twilio = PretendTwilio::start();
    twilio.account(ACCOUNT, &[TOKEN]);
    let url = twilio.url();
    let flags = ["--twilio-api-url", &url, "--twilio-taskrouter-url", &url, "--public-url", PUBLIC];
    let (server, fate) = failures::server_with(&flags);
    let (id, token) = made(&server.admin(), &reference("a", "live")).await;
    let (agent, nobody) = (bearer(&server, &token), server.nobody());
    agent.post(&format!("{PATH}/link"), &by_token()).await.ok(200);
    agent.write(SID, "{}").await.ok(201);
    let told = Told::of("reservation.created", TASK, of_call(SID));
    for befalls in [
        Befalls::Fails(StoreError::Unavailable("reopening".to_owned())),
        Befalls::Fails(StoreError::Busy),
        Befalls::Fails(StoreError::Full),
        Befalls::WritesNothing,
        Befalls::Hangs,
    ] {
        fate.set(Some(befalls.clone()));
        let answer = tell(&nobody, TOKEN, &id, Way::Form, &told.body(Way::Form)).await;
        assert!(answer.status >= 500 && answer.text().is_empty(), "{befalls:?}: {answer:?}");
        fate.set(None);
        assert_eq!(routed(&timeline(&agent, SID).await.ok(200)).len(), 0);
    }
    for way in WAYS {
        assert_eq!(tell(&nobody, TOKEN, &id, way, &told.body(way)).await.status, 204);
    }
    assert_eq!(routed(&timeline(&agent, SID).await.ok(200)).len(), 1);
}

#[tokio::test]
async fn a_body_of_200_kilobytes_is_taken_and_one_of_300_is_not() {
    let desk = Desk::open().await;
    let told = Told::accepted(SID);
    for (kilobytes, status) in [(300, 413), (200, 204)] {
        let padding = "x".repeat(kilobytes * 1024 - 2000);
        let form = format!("{}&WorkerAttributes={padding}", told.body(Way::Form));
        let age = "\"task_age\":3";
        let more = format!("{age},\"worker_attributes\":\"{padding}\"");
        let stream = told.body(Way::Stream).replacen(age, &more, 1);
        for (way, body) in WAYS.into_iter().zip([form, stream]) {
            let answer = tell(&desk.server.nobody(), TOKEN, &desk.id, way, &body).await;
            assert_eq!((answer.status, answer.text()), (status, ""));
        }
        let told = timeline(&desk.agent(), SID).await.ok(200);
        assert_eq!(routed(&told).len(), usize::from(status == 204));
    }
}
