//! Visits of a call to its agent: where one ends and another begins, and what is known when nothing came.

use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use crate::blind::hangs_up;
use crate::connectors::bearer;
use crate::harness::Answer;
use crate::harness::Server;
use crate::links::TOKEN;
use crate::routing::BILLING;
use crate::routing::CALL;
use crate::routing::EMPTY;
use crate::routing::Line;
use crate::routing::attribute;
use crate::routing::task;
use crate::twilio::ACCOUNT;
use crate::twilio::post;
use crate::twilio::server_with;

pub const OTHER_CALL: &str = "CAbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A webhook of another call than the line's, signed with a token.
pub async fn of(line: &Line, token: &str, route: &str, call: &str, more: &str) -> Answer {
    let target = format!("/twilio/{route}/{}", line.centre.id);
    let target =
        more.split_once('?').map_or(target.clone(), |(_, query)| format!("{target}?{query}"));
    let more = more.split('?').next().unwrap();
    let form = format!("AccountSid={ACCOUNT}&CallSid={call}&From=%2B1{more}");
    post(&line.centre.server.nobody(), token, &target, &form).await
}

async fn returning(server: &Server) -> (String, String) {
    let id = hangs_up(server).await;
    let form = format!("AccountSid={ACCOUNT}&CallSid={CALL}&CallStatus=in-progress");
    let voice = format!("/twilio/voice/{id}");
    let visit = post(&server.nobody(), "current", &voice, &form).await;
    let action = attribute(visit.ok_text(200), "action");
    (action.strip_prefix(crate::twilio::PUBLIC).unwrap().to_owned(), form)
}

#[tokio::test]
async fn a_wait_that_is_cut_short_hangs_up_on_nobody() {
    let (server, _twilio) = server_with(&["--max-waiting", "1"]);
    let (action, form) = returning(&server).await;
    let (nobody, admin) = (server.nobody(), server.admin());
    let (_, answer) = tokio::join!(admin.get("/v1/handoff_state?id=x&wait=1&miss=200"), async {
        server.until_one_waits().await;
        post(&nobody, "current", &action, &form).await
    });
    assert_eq!(task(&answer)["handoff_status"], "error");
    let (mut server, _twilio) = server_with(&["--drain-seconds", "2"]);
    let (action, form) = returning(&server).await;
    let nobody = server.nobody();
    let answer = async {
        let waiting = post(&nobody, "current", &action, &form);
        tokio::time::timeout(Duration::from_secs(2), waiting).await.expect("an answer")
    };
    let stop = server.nobody();
    let stopping = async {
        crate::harness::until(async || {
            stop.get("/metrics").await.text().contains("baton_reads_waiting 1")
        })
        .await;
        server.ask_to_stop(false);
    };
    let (answer, ()) = tokio::join!(answer, stopping);
    assert_eq!(task(&answer)["handoff_status"], "error");
    // Nor on those who come back in the meantime.
    let answer = post(&nobody, "current", &format!("{action}&x=1"), &form).await;
    assert_eq!(task(&answer)["handoff_status"], "error");
}

#[tokio::test]
async fn a_call_whose_id_another_project_holds_reaches_a_person() {
    let (server, _twilio) = server_with(&[]);
    let (action, form) = returning(&server).await;
    let held = format!("/v1/acme/other/handoff_state?id={CALL}");
    server.admin().put(&held, r#"{"data":{}}"#).await.ok(201);
    let answer = post(&server.nobody(), "current", &action, &form).await;
    assert_eq!(task(&answer)["handoff_status"], "error");
}

#[tokio::test]
async fn an_agent_that_waits_learns_nothing_once_its_call_is_long_over() {
    let line = Line::open().await;
    let visit = line.visit("").await;
    let agent = bearer(&line.centre.server, &visit.token);
    let waits = format!("/v1/handoff_state?id={CALL}&wait=8");
    let (read, ()) = tokio::join!(agent.get(&waits), async {
        line.centre.server.until_one_waits().await;
        assert_eq!(line.asks("status", "", "&CallStatus=completed").await.status, 204);
        line.centre.server.clock.advance(Duration::from_secs(16 * 60));
        line.centre.agent().write(CALL, r#"{"name":"Ada"}"#).await.ok(201);
    });
    assert_eq!(read.status, 401, "{}", read.text());
}

#[tokio::test]
async fn nobody_waits_for_an_agent_that_failed() {
    let line = Line::open().await;
    let visit = line.visit("").await;
    let stream = attribute(&visit.twiml, "statusCallback");
    line.asks_at(&stream, "&StreamEvent=stream-error&StreamError=31920").await.ok_text(204);
    let began = Instant::now();
    line.asks_at(&visit.action, "").await.ok_text(200);
    let second = line.visit("?x").await;
    line.asks_at(&second.action, "&SessionStatus=failed").await.ok_text(200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_handoff_that_is_written_as_its_call_ends_is_held() {
    let line = Line::open().await;
    let agent = line.centre.agent();
    let nobody = line.centre.server.nobody();
    let day = line.centre.server.clock.now().plus(Duration::from_secs(86_400)).to_string();
    let status = format!("/twilio/status/{}", line.centre.id);
    for n in 0..120 {
        let call = format!("CA{n:032x}");
        let path = format!("/v1/handoff_state?id={call}");
        let body = r#"{"data":{"n":1},"ttl_seconds":60}"#;
        if n % 2 == 0 {
            // The same again keeps its revision: nothing but its turn tells it from the hold.
            agent.put(&path, body).await.ok(201);
        }
        let form = format!("AccountSid={ACCOUNT}&CallSid={call}&CallStatus=completed");
        let (ended, written) =
            tokio::join!(post(&nobody, TOKEN, &status, &form), agent.put(&path, body));
        assert_eq!(ended.status, 204);
        assert!(written.status < 202);
        let read = agent.read(&call).await;
        assert_eq!(read.header("x-handoff-expires-at"), day, "{n}");
    }
}

#[tokio::test]
async fn the_token_of_a_visit_that_another_has_followed_writes_no_more() {
    let line = Line::open().await;
    let first = line.visit("").await;
    line.agent_writes(&first, r#"{"reason":"first"}"#).await.ok(201);
    let second = line.visit("?x").await;
    // A visit that has not come back goes on, whatever Twilio or somebody else asks for meanwhile.
    line.agent_writes(&first, r#"{"reason":"still first"}"#).await.ok(200);
    line.asks_at(&first.action, "").await.ok_text(200);
    let third = line.visit("?y").await;
    let late = line.agent_writes(&first, r#"{"contained":true}"#).await;
    assert!(late.refused(403, "CALL_NOT_ALLOWED").contains("that visit's own token"));
    let agent = bearer(&line.centre.server, &first.token);
    let patch = format!("/v1/handoff_state?id={CALL}");
    agent.patch(&patch, r#"{"data":{"contained":true}}"#).await.refused(403, "CALL_NOT_ALLOWED");
    agent.read(CALL).await.ok(200);
    line.agent_writes(&second, r#"{"reason":"second"}"#).await.ok(200);
    line.agent_writes(&third, r#"{"reason":"third"}"#).await.ok(200);
    assert_eq!(task(&line.asks_at(&third.action, "").await)["handoff_reason"], "third");
}

#[tokio::test]
async fn what_comes_with_the_call_is_kept_also_where_what_was_left_over_is_gone() {
    let line = Line::open().await;
    let first = line.visit("").await;
    line.agent_writes(&first, r#"{"reason":"first"}"#).await.ok(201);
    let second = line.visit("?x").await;
    let path = format!("/v1/acme/line/handoff_state?id={CALL}");
    line.centre.server.admin().delete(&path).await.ok_text(204);
    let back = line.asks_at(&second.action, "&HandoffData=second").await;
    assert_eq!(task(&back)["handoff_summary"], "second");
    assert_eq!(line.centre.agent().read(CALL).await.ok(200)["data"], json!({"summary": "second"}));
    // What was erased does not come back with the request that brought it.
    let again = "&HandoffData=personal";
    let third = line.visit("?y").await;
    line.asks_at(&third.action, again).await.ok_text(200);
    line.centre.server.admin().delete(&path).await.ok_text(204);
    let fresh = "CAcccccccccccccccccccccccccccccccc";
    let more = format!("{again}?after=0&leg=1");
    for _ in 0..2 {
        of(&line, TOKEN, "handoff", fresh, &more).await.ok_text(200);
        let path = format!("/v1/acme/line/handoff_state?id={fresh}");
        let _gone_the_second_time = line.centre.server.admin().delete(&path).await.status;
    }
    of(&line, TOKEN, "handoff", fresh, &more).await.ok_text(200);
    line.centre.agent().read(fresh).await.refused(404, "HANDOFF_ERASED");
    // Of no visit that Baton began: the newest is what comes with the call.
    let back = line.asks("handoff", "", "&HandoffData=third").await;
    assert_eq!(task(&back)["handoff_summary"], "third");
}

#[tokio::test]
async fn what_was_erased_is_told_to_nobody_again_though_more_is_written() {
    let line = Line::open().await;
    let visit = line.visit("").await;
    line.agent_writes(&visit, r#"{"name":"Ada"}"#).await.ok(201);
    assert!(line.asks_at(&visit.action, "").await.ok_text(200).contains("Ada"));
    let path = format!("/v1/acme/line/handoff_state?id={CALL}");
    line.centre.server.admin().delete(&path).await.ok_text(204);
    line.agent_writes(&visit, r#"{"name":"Grace"}"#).await.ok(201);
    let again = line.asks_at(&visit.action, "").await;
    assert!(again.ok_text(200).contains("Grace") && !again.text().contains("Ada"));
}

#[tokio::test]
async fn a_refer_says_where_to_when_the_agent_wrote_everything_else() {
    let line = Line::open().await;
    line.set(&json!({"routing": {"mode": "sip", "sip": {"uri": "sip:agent@sip.example.com"}}}))
        .await;
    let answer = line.asks("voice", "", "").await;
    let refer = attribute(answer.ok_text(200), "referUrl");
    line.centre.agent().write(CALL, r#"{"reason":"late bill"}"#).await.ok(201);
    let back = line.asks_at(&refer, "&ReferTransferTarget=sip:billing@pbx.example").await;
    assert!(back.ok_text(200).contains(BILLING), "{}", back.text());
    let kept = line.centre.agent().read(CALL).await.ok(200);
    assert_eq!(kept["data"], json!({"reason": "late bill", "destination": "billing"}));
}

#[tokio::test]
async fn a_call_that_has_ended_goes_nowhere_for_as_long_as_its_handoff_lives() {
    let line = Line::with(json!({"routing": {"task_hold_seconds": 1_209_600}})).await;
    let visit = line.visit("").await;
    line.agent_writes(&visit, r#"{"name":"Ada"}"#).await.ok(201);
    assert_eq!(line.asks("status", "", "&CallStatus=completed").await.status, 204);
    for seconds in [0, 3600, 25 * 3600, 10 * 24 * 3600] {
        line.centre.server.clock.advance(Duration::from_secs(seconds));
        assert_eq!(line.asks("voice", "", "").await.ok_text(200), EMPTY, "{seconds}");
        assert_eq!(line.asks_at(&visit.action, "").await.ok_text(200), EMPTY, "{seconds}");
        let given = line.asks_at(&visit.action, "&HandoffData=forged").await;
        assert_eq!(given.ok_text(200), EMPTY, "{seconds}");
    }
    assert_eq!(line.centre.agent().read(CALL).await.ok(200)["data"]["name"], "Ada");
    // Nor when nobody told that it had ended: no call is a day old.
    let forgotten = "CAcccccccccccccccccccccccccccccccc";
    let path = format!("/v1/handoff_state?id={forgotten}");
    let agent = line.centre.agent();
    agent.put(&path, r#"{"data":{"n":1},"ttl_seconds":2000000}"#).await.ok(201);
    of(&line, TOKEN, "voice", forgotten, "").await.ok_text(200);
    let without = "CAeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";
    let voice = of(&line, TOKEN, "voice", without, "").await;
    assert!(voice.ok_text(200).contains("<Stream "));
    line.centre.server.clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(of(&line, TOKEN, "voice", without, "").await.ok_text(200), EMPTY);
    for _ in 0..2 {
        assert_eq!(of(&line, TOKEN, "voice", forgotten, "").await.ok_text(200), EMPTY);
        let given = of(&line, TOKEN, "handoff", forgotten, "&HandoffData=forged").await;
        assert_eq!(given.ok_text(200), EMPTY);
        line.centre.server.clock.advance(Duration::from_secs(5 * 24 * 3600));
    }
    assert_eq!(agent.read(forgotten).await.ok(200)["data"], json!({"n": 1}));
    // What comes with a call that ends is kept; what comes an hour later is not Twilio's.
    let voice = of(&line, TOKEN, "voice", OTHER_CALL, "").await;
    let action = attribute(voice.ok_text(200), "action");
    let query = action.split_once('?').unwrap().1;
    let over = format!("&CallStatus=completed?{query}");
    of(&line, TOKEN, "handoff", OTHER_CALL, &over).await.ok_text(200);
    let given = format!("&HandoffData=forged?{query}");
    line.centre.server.clock.advance(Duration::from_secs(3600));
    of(&line, TOKEN, "handoff", OTHER_CALL, &given).await.ok_text(200);
    line.centre.agent().read(OTHER_CALL).await.refused(404, "HANDOFF_NOT_FOUND");
}

#[tokio::test]
async fn a_destinations_own_priority_goes_before_what_the_agent_says() {
    let line = Line::open().await;
    let visit = line.visit("").await;
    line.agent_writes(&visit, r#"{"destination":"billing","priority":99}"#).await.ok(201);
    let back = line.asks_at(&visit.action, "").await;
    assert!(back.ok_text(200).contains("<Task priority=\"5\" timeout=\"200\">"), "{}", back.text());
}
