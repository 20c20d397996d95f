//! What is told of a call on its way, and of whoever was refused.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::SID;
use crate::harness::Server;
use crate::harness::until;
use crate::links::TOKEN;
use crate::routing::CALL;
use crate::routing::FLOW;
use crate::routing::Line;
use crate::routing::attribute;
use crate::routing::task;
use crate::timeline::SECOND;
use crate::timeline::TIMELINE;
use crate::timeline::key;
use crate::timeline::kinds;
use crate::timeline::of;
use crate::timeline::story;
use crate::timeline::the;
use crate::twilio::ACCOUNT;
use crate::twilio::get;

const MARK: &str = "CANARY51c7";

fn own() -> String {
    format!("id={CALL}")
}

fn handoff() -> String {
    format!("/v1/handoff_state?id={SID}")
}

/// What happened, in order: what happened at one moment together.
fn steps(story: &Value) -> Vec<String> {
    let mut steps: Vec<(&Value, Vec<&str>)> = Vec::new();
    for (event, kind) in story["events"].as_array().unwrap().iter().zip(kinds(story)) {
        match steps.last_mut() {
            Some((at, together)) if **at == event["at"] => together.push(kind),
            _ => steps.push((&event["at"], vec![kind])),
        }
    }
    assert!(steps.is_sorted_by_key(|(at, _)| at.as_str()), "{story}");
    let joined = |(_, mut together): (_, Vec<&str>)| {
        together.sort_unstable();
        together.join(" ")
    };
    steps.into_iter().map(joined).collect()
}

/// Where a call went: by visit.
fn routes(story: &Value) -> Vec<(u64, String)> {
    let route = |routed: &Value| {
        (routed["leg"].as_u64().unwrap(), routed["action"].as_str().unwrap().to_owned())
    };
    of(story, "routed").iter().map(route).collect()
}

#[tokio::test]
async fn a_whole_call_is_one_story_in_order_without_anything_that_it_handed_over() {
    let mut line = Line::with(json!({ "flex": { "expose": ["long"] } })).await;
    let server = &line.centre.server;
    let (id, clock) = (&line.centre.id, &server.clock);
    let reader = json!({ "account_id": "acme", "scopes": ["handoff:read"] });
    let ((one, one_id), (two, two_id)) = (key(server, &reader).await, key(server, &reader).await);
    let visit = line.visit("").await;
    clock.advance(SECOND);
    let missed_at = clock.now();
    for _ in 0..3 {
        one.read(CALL).await.refused(404, "HANDOFF_NOT_FOUND");
        clock.advance(SECOND);
    }
    let written_at = clock.now().to_string();
    let data = json!({ "reason": MARK, "name": MARK, MARK: 1, "long": MARK.repeat(400) });
    let data = data.to_string();
    let waits = format!("/v1/handoff_state?id={CALL}&wait=8");
    let (waited, written) = tokio::join!(one.get(&waits), async {
        server.until_one_waits().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        line.agent_writes(&visit, &data).await
    });
    waited.ok(200);
    let receipt = written.ok(201);
    clock.advance(SECOND);
    two.read(CALL).await.ok(200);
    clock.advance(SECOND);
    one.read(CALL).await.ok(200);
    let back = line.asks_at(&visit.action, "").await;
    clock.advance(SECOND);
    line.asks("status", "", "&CallStatus=completed").await.ok_text(204);
    clock.advance(SECOND);
    let admin = server.admin();
    admin.delete(&format!("/v1/acme/line/handoff_state?id={CALL}")).await.ok_text(204);
    let answer = admin.get(&format!("{TIMELINE}?id={CALL}&account_id=acme")).await;
    let told = answer.ok(200);
    assert_eq!((&told["id"], &told["state"]), (&json!(CALL), &json!("erased")));
    let wanted = [
        "routed",
        "missed",
        "read waited written",
        "read",
        "packed read routed",
        "call_status held",
        "erased",
    ];
    assert_eq!(steps(&told), wanted);
    assert_eq!(routes(&told), [(1, "to_agent".to_owned()), (1, "enqueue".to_owned())]);
    assert_eq!(of(&told, "routed")[0]["connector_id"], *id);
    let missed = json!({
        "at": missed_at.to_string(), "event": "missed", "door": "key", "by": one_id,
        "reason": "never_written", "count": 3, "last_at": missed_at.plus(SECOND * 2).to_string(),
    });
    assert_eq!(the(&told, "missed"), missed);
    let tag: u64 = written.header("etag").trim_matches('"').parse().unwrap();
    let first = json!({
        "at": written_at, "event": "written", "door": "call_token", "by": format!("{id}:{CALL}"),
        "revision": tag, "size_bytes": data.len(), "created": true,
        "expires_at": receipt["expires_at"],
    });
    assert_eq!(the(&told, "written"), first);
    let reads = of(&told, "read");
    let reads: Vec<_> = reads.iter().map(|read| (&read["by"], read["count"].as_u64())).collect();
    let (one_id, two_id, twilio) = (json!(one_id), json!(two_id), json!(ACCOUNT));
    assert_eq!(reads, [(&one_id, Some(2)), (&two_id, Some(1)), (&twilio, Some(1))]);
    let waited = the(&told, "waited");
    assert_eq!((&waited["by"], &waited["count"]), (&one_id, &json!(1)));
    assert!(waited["waited_ms"].as_u64().unwrap() >= 10, "{waited}");
    let packed = the(&told, "packed");
    assert_eq!((&packed["for"], &packed["left_out"]), (&json!("task"), &json!(["data.long"])));
    assert_eq!(task(&back)["handoff_omitted"], "data.long");
    assert_eq!(the(&told, "call_status")["status"], "completed");
    assert_eq!(the(&told, "erased")["by"], "admin");
    assert!(!answer.text().contains(MARK), "{}", answer.text());
    let server = &mut line.centre.server;
    server.ask_to_stop(true);
    server.join();
    assert!(!server.log.text().contains(MARK));
}

#[tokio::test]
async fn wherever_a_call_is_sent_it_is_told() {
    let line = Line::open().await;
    let mut wanted = Vec::new();
    for (n, (data, query, more, action)) in [
        (r#"{"contained":true}"#, "", "", "hangup"),
        (r#"{"destination":"desk"}"#, "", "", "dial"),
        (r#"{"destination":"branch"}"#, "", "&SipDomain=x.sip.twilio.com", "refer"),
        (r#"{"destination":"billing"}"#, "", "", "enqueue"),
        (r#"{"destination":"desk","n":1}"#, FLOW, "", "flow"),
    ]
    .into_iter()
    .enumerate()
    {
        line.centre.server.clock.advance(SECOND);
        let query = if query.is_empty() { String::new() } else { format!("&flow={query}") };
        let visit = line.visit(&format!("?n={n}{query}")).await;
        assert!(line.agent_writes(&visit, data).await.status < 202);
        line.centre.server.clock.advance(SECOND);
        line.asks_at(&visit.action, more).await.ok_text(200);
        let leg = u64::try_from(n).unwrap() + 1;
        wanted.extend([(leg, "to_agent".to_owned()), (leg, action.to_owned())]);
    }
    assert_eq!(routes(&story(&line.centre.agent(), &own()).await), wanted);
}

#[tokio::test]
async fn a_call_that_nobody_takes_is_told_to_have_gone_to_the_fallback() {
    let line = Line::open().await;
    let fallback = json!({ "say": "Sorry", "number": "+441632960001" });
    line.set(&json!({ "flex": { "workflow_sid": null }, "fallback": fallback })).await;
    let visit = line.visit("").await;
    line.centre.server.clock.advance(SECOND);
    line.asks_at(&visit.action, "&SessionStatus=failed").await.ok_text(200);
    // Told behind the answer, which a caller waits for.
    let wanted = [(1, "to_agent".to_owned()), (1, "fallback".to_owned())];
    until(async || routes(&story(&line.centre.agent(), &own()).await) == wanted).await;
}

#[tokio::test]
async fn what_twilio_says_twice_is_told_once() {
    let line = Line::open().await;
    let twice = async |url: &str, more: &str| {
        let first = line.asks_at(url, more).await;
        assert_eq!(line.asks_at(url, more).await.text(), first.text());
        line.centre.server.clock.advance(SECOND);
        first
    };
    let of_line = |route: &str| format!("/twilio/{route}/{}", line.centre.id);
    let voice = twice(&of_line("voice"), "").await;
    let (action, stream) =
        (attribute(voice.ok_text(200), "action"), attribute(voice.text(), "statusCallback"));
    twice(&stream, "&StreamEvent=stream-error&StreamError=31920").await.ok_text(204);
    twice(&action, "").await.ok_text(200);
    twice(&of_line("status"), "&CallStatus=completed").await.ok_text(204);
    let told = story(&line.centre.agent(), &own()).await;
    assert_eq!(kinds(&told), ["routed", "agent_failed", "routed", "call_status"]);
    assert_eq!(told["state"], "missing");
    assert_eq!(the(&told, "agent_failed")["leg"], 1);
}

#[tokio::test]
async fn a_call_that_waited_for_nothing_has_missed_it() {
    let line = Line::open().await;
    let visit = line.visit("").await;
    line.centre.server.clock.advance(SECOND);
    line.asks_at(&visit.action, "").await.ok_text(200);
    let told = story(&line.centre.agent(), &own()).await;
    assert_eq!(steps(&told), ["routed", "missed routed"]);
    let missed = the(&told, "missed");
    assert_eq!((&missed["door"], &missed["by"]), (&json!("twilio"), &json!(ACCOUNT)));
    assert_eq!((&missed["reason"], &missed["count"]), (&json!("never_written"), &json!(1)));
    assert!(missed["waited_ms"].as_u64().unwrap() >= 2900, "{missed}");
}

#[tokio::test]
async fn what_an_earlier_visit_left_is_missed_and_not_read_by_the_next() {
    let line = Line::open().await;
    let first = line.visit("").await;
    line.agent_writes(&first, r#"{"reason":"first"}"#).await.ok(201);
    line.asks_at(&first.action, "").await.ok_text(200);
    line.centre.server.clock.advance(SECOND);
    let second = line.visit("?x").await;
    let back = line.asks_at(&second.action, "").await;
    assert_eq!(task(&back)["handoff_status"], "missing");
    let told = story(&line.centre.agent(), &own()).await;
    assert_eq!(the(&told, "read")["count"], 1);
    assert!(of(&told, "waited").is_empty(), "{told}");
    the(&told, "missed");
}

#[tokio::test]
async fn what_an_answer_for_studio_left_out_is_told() {
    let line = Line::open().await;
    let data = json!({ "reason": "late", "big": "x".repeat(70_000) }).to_string();
    line.centre.agent().write(CALL, &data).await.ok(201);
    let nobody = line.centre.server.nobody();
    for _ in 0..2 {
        line.centre.server.clock.advance(SECOND);
        let read = get(&nobody, TOKEN, &line.centre.studio(&own())).await.ok(200);
        let packed = the(&story(&line.centre.agent(), &own()).await, "packed");
        assert_eq!(packed["for"], "studio");
        assert_eq!(
            (&read["flex_omitted"], &packed["left_out"]),
            (&json!("data.big"), &json!(["data"]))
        );
    }
    let told = story(&line.centre.agent(), &own()).await;
    let (packed, read) = (the(&told, "packed"), the(&told, "read"));
    assert_eq!((&packed["count"], &read["count"]), (&json!(2), &json!(2)));
    assert_eq!((&read["door"], &read["by"]), (&json!("twilio"), &json!(ACCOUNT)));
}

#[tokio::test]
async fn a_conversation_and_the_call_that_it_is_of_are_one_story() {
    let line = Line::open().await;
    let agent = line.centre.agent();
    line.visit("").await;
    let before = story(&agent, &own()).await;
    assert_eq!((&before["state"], kinds(&before)), (&json!("missing"), vec!["routed"]));
    line.centre.server.clock.advance(SECOND);
    agent.write("conv-1", "{}").await.ok(201);
    let given = json!({ "aliases": [CALL] });
    agent.post("/v1/handoff_state/aliases?id=conv-1", &given).await.ok(200);
    let told = story(&agent, "id=conv-1").await;
    assert_eq!((&told["id"], kinds(&told)), (&json!("conv-1"), vec!["routed", "written"]));
    assert_eq!(story(&agent, &own()).await, told);
}

#[tokio::test]
async fn whoever_is_refused_is_told_of_with_the_reason() {
    let server = Server::start();
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    let at = [0, 1].map(|n| server.clock.now().plus(SECOND * n).to_string());
    for _ in 0..2 {
        server.client("wrong").read(SID).await.refused(401, "INVALID_KEY");
    }
    server.clock.advance(SECOND);
    let older = admin.put_with(&handoff(), &[("if-match", "\"1\"")], r#"{"data":{}}"#).await;
    older.refused(412, "PRECONDITION_FAILED");
    let wanted = [
        json!({
            "at": at[0], "event": "refused", "reason": "INVALID_KEY", "count": 2, "last_at": at[0],
        }),
        json!({
            "at": at[1], "event": "refused", "door": "key", "by": "admin",
            "reason": "PRECONDITION_FAILED", "count": 1, "last_at": at[1],
        }),
    ];
    assert_eq!(of(&story(&admin, &format!("id={SID}")).await, "refused"), wanted);
}

#[tokio::test]
async fn what_is_refused_before_it_is_looked_at_is_told_of_as_well() {
    let server = Server::with(&["--max-body-bytes", "2048"]);
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    let (reader, reader_id) = key(&server, &json!({ "scopes": ["handoff:read"] })).await;
    reader.write(SID, "{}").await.refused(403, "MISSING_SCOPE");
    server.clock.advance(SECOND);
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(3000));
    admin.write(SID, &large).await.refused(413, "BODY_TOO_LARGE");
    let refused = of(&story(&admin, &format!("id={SID}")).await, "refused");
    let refused: Vec<_> =
        refused.iter().map(|refused| (refused["reason"].clone(), refused["by"].clone())).collect();
    let wanted = [("MISSING_SCOPE", reader_id.as_str()), ("BODY_TOO_LARGE", "admin")];
    assert_eq!(refused, wanted.map(|(reason, by)| (json!(reason), json!(by))));
}

#[tokio::test]
async fn refusals_of_strangers_push_out_nothing_of_others() {
    let server = Server::start();
    let admin = server.admin();
    admin.read("missed").await.refused(404, "HANDOFF_NOT_FOUND");
    let never = [("if-match", "\"1\"")];
    let path = "/v1/handoff_state?id=refused";
    admin.put_with(path, &never, r#"{"data":{}}"#).await.refused(412, "PRECONDITION_FAILED");
    let mut strangers = JoinSet::new();
    for part in 0..8 {
        let nobody = server.nobody();
        strangers.spawn(async move {
            for n in 0..600 {
                let path = format!("/v1/handoff_state?id=guess-{part}-{n}");
                assert_eq!(nobody.bare(Method::GET, &path, None).await.0, 401);
            }
        });
    }
    while let Some(done) = strangers.join_next().await {
        done.unwrap();
    }
    for kind in ["missed", "refused"] {
        assert_eq!(kinds(&story(&admin, &format!("id={kind}")).await), [kind]);
    }
}
