//! Where a call goes: by what the agent says, by what a flow, a SIP agent or a queue does, and at its end.

use std::time::Duration;

use baton::domain::handoff::rendered_characters;
use serde_json::json;

use crate::connectors::bearer;
use crate::harness::SID;
use crate::links::TOKEN;
use crate::routing::BILLING;
use crate::routing::CALL;
use crate::routing::EMPTY;
use crate::routing::FLOW;
use crate::routing::Line;
use crate::routing::WORKFLOW;
use crate::routing::attribute;
use crate::routing::task;
use crate::routing::text;
use crate::twilio::ACCOUNT;
use crate::twilio::PUBLIC;
use crate::twilio::get;
use crate::twilio::post;

#[tokio::test]
async fn where_a_call_goes_is_by_status_and_by_a_key_of_the_connectors_table_alone() {
    let line = Line::open().await;
    let id = line.centre.id.clone();
    let queue = format!("action=\"{PUBLIC}/twilio/queue/{id}?after=");
    for (n, (data, more, wanted)) in [
        (
            r#"{"contained":"true","destination":"desk"}"#,
            "",
            vec!["<Response><Hangup/></Response>"],
        ),
        (r#"{"destination":"desk"}"#, "", vec!["<Dial ", &queue, ">+441632960000</Dial>"]),
        (
            r#"{"handoff_to":"branch"}"#,
            "",
            vec!["<Dial ", "<Sip>sip:branch@pbx.example?X-Call-Sid=CA"],
        ),
        (
            r#"{"destination":"branch"}"#,
            "&SipDomain=x.sip.twilio.com",
            vec!["<Refer ", &queue, "<Sip>sip:branch@"],
        ),
        (r#"{"destination":"+15550001111"}"#, "", vec![WORKFLOW]),
        (r#"{"destination":"sip:x@y"}"#, "", vec![WORKFLOW]),
        (r#"{"priority":7}"#, "", vec![WORKFLOW, "<Task priority=\"7\">"]),
    ]
    .into_iter()
    .enumerate()
    {
        let visit = line.visit(&format!("?n={n}")).await;
        assert!(line.agent_writes(&visit, data).await.status < 202);
        let back = line.asks_at(&visit.action, more).await;
        for part in wanted {
            assert!(back.ok_text(200).contains(part), "{data}: {}", back.text());
        }
        assert!(!back.text().split("<Task").next().unwrap().contains("+1555000"));
    }
    line.set(&json!({"flex": {"wait_url": "https://example.com/music?a=1&b=2"}})).await;
    let visit = line.visit("?n=x").await;
    line.agent_writes(&visit, r#"{"status":"x"}"#).await.ok(200);
    let back = line.asks_at(&visit.action, "").await;
    assert_eq!(attribute(back.ok_text(200), "waitUrl"), "https://example.com/music?a=1&b=2");
}

#[tokio::test]
async fn a_flow_gets_its_call_back_at_once_with_what_its_log_should_show() {
    let line = Line::open().await;
    let visit = line.visit(&format!("?flow={FLOW}")).await;
    assert!(visit.action.ends_with(&format!("?after=0&flow={FLOW}&leg=1")), "{}", visit.action);
    let back = line.asks_at(&visit.action, "").await;
    let flow =
        format!("https://webhooks.twilio.com/v1/Accounts/{ACCOUNT}/Flows/{FLOW}?FlowEvent=return");
    let url = text(back.ok_text(200), "Redirect");
    assert_eq!(url, format!("{flow}&leg=1&after=0&action=pending&destination=&reason="));
    assert!(back.text().contains("<Redirect method=\"POST\">"));
    let failed = line.asks_at(&visit.action, "&SessionStatus=failed").await;
    assert!(text(failed.ok_text(200), "Redirect").contains("action=fallback"));
    line.agent_writes(&visit, r#"{"destination":"desk","reason":"late & \"bill\""}"#).await.ok(201);
    let url = text(line.asks_at(&visit.action, "&Digits=1").await.ok_text(200), "Redirect");
    assert_eq!(
        url,
        format!("{flow}&leg=1&after=0&action=dial&destination=desk&reason=late%20%26%20%22bill%22")
    );
    let nobody = line.centre.server.nobody();
    let read = get(&nobody, TOKEN, &line.centre.studio(&format!("id={CALL}"))).await.ok(200);
    assert_eq!((&read["action"], &read["destination"]), (&json!("dial"), &json!("desk")));
    // No flow's SID: the call comes back by Baton.
    for none in ["{{flow.flow_sid}}", "FW1", "x%22y"] {
        let target = none.replace('{', "%7B").replace('}', "%7D");
        let visit = line.visit(&format!("?flow={target}")).await;
        assert!(!visit.action.contains("flow="), "{}", visit.action);
    }
    // Studio needs to hear of the call's end; then Twilio is sent on to it.
    let told = line.asks("status", &format!("?flow={FLOW}"), "&CallStatus=completed").await;
    assert_eq!((told.status, told.text()), (302, ""));
    assert_eq!(
        told.header("location"),
        format!("https://webhooks.twilio.com/v1/Accounts/{ACCOUNT}/Flows/{FLOW}")
    );
}

#[tokio::test]
async fn a_sip_agent_is_called_with_its_headers_and_refers_back() {
    let line = Line::open().await;
    let sip = json!({"uri": "sip:agent@sip.example.com", "headers": {"X-PolyAi-Auth-Token": "se/cret&1", "x-call-sid": "fixed"}});
    line.set(&json!({"routing": {"mode": "sip", "sip": sip}})).await;
    let answer = line.asks("voice", "", "").await;
    let id = &line.centre.id;
    let uri = text(answer.ok_text(200), "Sip");
    let start = "sip:agent@sip.example.com;secure=true?X-PolyAi-Auth-Token=se%2Fcret%261&x-call-sid=fixed&X-Call-Token=bct_";
    assert!(uri.starts_with(start) && uri.len() <= 1024, "{uri}");
    assert!(
        uri.contains(
            "&X-Handoff-Url=https%3A%2F%2Fvoice.example.com%2Fv1%2Fhandoff_state%3Fid%3DCAa"
        ) && uri.contains(&format!("&X-Connector-Id={}", id)),
        "{uri}"
    );
    assert_eq!(attribute(answer.text(), "answerOnBridge"), "true");
    let refer = attribute(answer.text(), "referUrl");
    assert_eq!(refer, format!("{PUBLIC}/twilio/refer/{id}?after=0&leg=1"));
    let target = "&ReferTransferTarget=%3Csip:billing@pbx.example?X-Reason=late%2520bill%26X-Customer-ID=7%3E";
    let back = line.asks_at(&refer, target).await;
    assert!(back.ok_text(200).contains(BILLING));
    assert_eq!(task(&back)["handoff_reason"], "late bill");
    assert_eq!(line.asks_at(&refer, target).await.ok_text(200), back.text());
    let read = line.centre.agent().read(CALL).await.ok(200);
    assert_eq!(
        read["data"],
        json!({"destination": "billing", "reason": "late bill", "customer_id": "7", "refer_to": "sip:billing@pbx.example"})
    );
    // What the agent wrote itself stays.
    let again = "&ReferTransferTarget=sip:desk@pbx.example";
    assert!(line.asks_at(&refer, again).await.ok_text(200).contains(BILLING));
    assert_eq!(line.centre.agent().read(CALL).await.ok(200)["data"]["destination"], "billing");
}

#[tokio::test]
async fn what_an_agent_gives_with_the_call_is_its_handoff_where_it_wrote_none() {
    let line = Line::open().await;
    let visit = line.visit("").await;
    let given =
        "&SessionStatus=ended&HandoffData=%7B%22destination%22:%22billing%22,%22n%22:1.10%7D";
    assert!(line.asks_at(&visit.action, given).await.ok_text(200).contains(BILLING));
    let read = line.centre.agent().read(CALL).await;
    assert!(read.ok_text(200).contains(r#""data":{"destination":"billing","n":1.10}"#));
    // Of the next visit it takes the place of the one before, and never of what the agent wrote.
    let visit = line.visit("").await;
    let plain = line.asks_at(&visit.action, "&HandoffData=She+wants+a+person").await;
    assert_eq!(task(&plain)["handoff_summary"], "She wants a person");
    let visit = line.visit("").await;
    line.agent_writes(&visit, r#"{"reason":"written"}"#).await.ok(200);
    let written = line.asks_at(&visit.action, "&HandoffData=given").await;
    assert_eq!(
        (&task(&written)["handoff_reason"], &task(&written)["handoff_summary"]),
        (&json!("written"), &json!(""))
    );
    // Also of one who hung up.
    let visit = line.visit("").await;
    line.asks_at(&visit.action, "&CallStatus=completed&HandoffData=gone").await.ok_text(200);
    assert_eq!(line.centre.agent().read(CALL).await.ok(200)["data"], json!({"summary": "gone"}));
}

#[tokio::test]
async fn a_call_that_nobody_takes_gets_the_fallback_or_the_numbers_own() {
    let line = Line::open().await;
    let id = line.centre.id.clone();
    for ended in ["&QueueResult=bridged", "&QueueResult=hangup", "&DialCallStatus=completed"] {
        assert_eq!(line.asks("queue", "?leg=1", ended).await.ok_text(200), EMPTY);
    }
    let full = "&QueueResult=queue-full";
    let bare = line.asks("queue", "?leg=1", full).await;
    assert_eq!((bare.status, bare.text()), (502, ""));
    line.set(&json!({"fallback": {"say": "Sorry <all>", "number": "+441632960001"}})).await;
    let wanted = "<Response><Say language=\"en-GB\">Sorry &lt;all&gt;</Say><Dial>+441632960001</Dial></Response>";
    for failed in
        [full, "&QueueResult=system-error", "&DialCallStatus=busy", "&ReferCallStatus=failed"]
    {
        assert!(
            line.asks("queue", "?leg=1", failed).await.ok_text(200).contains(wanted),
            "{failed}"
        );
    }
    let gone = "&QueueResult=system-error&CallStatus=completed";
    assert_eq!(line.asks("queue", "?leg=1", gone).await.ok_text(200), EMPTY);
    // No agent, no call, no workflow.
    line.set(&json!({"routing": {"agent_url": null}, "flex": {"workflow_sid": null}})).await;
    assert!(line.asks("voice", "", "").await.ok_text(200).contains(wanted));
    assert!(
        line.asks("handoff", "?after=0&leg=1", "&SessionStatus=failed")
            .await
            .ok_text(200)
            .contains(wanted)
    );
    let nobody = line.centre.server.nobody();
    let target = format!("/twilio/voice/{id}");
    let without = post(&nobody, TOKEN, &target, &format!("AccountSid={ACCOUNT}")).await;
    assert!(without.ok_text(200).contains(wanted));
    line.set(&json!({"fallback": {"say": "Bye", "number": null}})).await;
    assert!(line.asks("voice", "", "").await.ok_text(200).contains("Bye</Say></Response>"));
}

#[tokio::test]
async fn the_references_own_form_is_answered_byte_for_byte() {
    let line = Line::with(json!({"routing": {"mode": "compat"}})).await;
    let reference = include_str!("../vectors/reference-twiml.xml").trim_end();
    let wanted = reference.replace("[Your Connector ID]", &line.centre.id);
    assert_eq!(line.asks("voice", "", "").await.ok_text(200), wanted);
}

#[tokio::test]
async fn a_calls_end_holds_its_handoff_and_joins_its_legs() {
    let line = Line::with(json!({"routing": {"task_hold_seconds": 200_000}})).await;
    let visit = line.visit("").await;
    let agent = bearer(&line.centre.server, &visit.token);
    let short = |data: &str| format!(r#"{{"data":{data},"ttl_seconds":60}}"#);
    let path = format!("/v1/handoff_state?id={CALL}");
    let first = agent.put(&path, short(r#"{"n":1}"#)).await.ok(201);
    for status in ["ringing", "in-progress"] {
        assert_eq!(line.asks("status", "", &format!("&CallStatus={status}")).await.status, 204);
    }
    let over = "&CallStatus=completed";
    assert_eq!(line.asks("status", "", over).await.status, 204);
    let clock = &line.centre.server.clock;
    clock.advance(Duration::from_secs(61));
    // Held, by the same revision; and a write renews that.
    let held = agent.read(CALL).await;
    assert_eq!(held.ok(200)["data"], json!({"n": 1}));
    assert_eq!(held.header("x-handoff-revision"), first["revision"].to_string());
    let ends = held.header("x-handoff-expires-at").to_owned();
    assert_eq!(line.asks("status", "", over).await.status, 204);
    assert_eq!(agent.read(CALL).await.header("x-handoff-expires-at"), ends);
    agent.put(&path, short(r#"{"n":2}"#)).await.ok(200);
    clock.advance(Duration::from_secs(199_999));
    line.centre.agent().read(CALL).await.ok(200);
    clock.advance(Duration::from_secs(1));
    line.centre.agent().read(CALL).await.refused(404, "HANDOFF_EXPIRED");
    // Written only once the call was over.
    let late = "CAcccccccccccccccccccccccccccccccc";
    let nobody = line.centre.server.nobody();
    let target = format!("/twilio/status/{}", line.centre.id);
    let form =
        format!("AccountSid={ACCOUNT}&CallSid={late}&ParentCallSid={SID}&CallStatus=completed");
    assert_eq!(post(&nobody, TOKEN, &target, &form).await.status, 204);
    let agent = line.centre.agent();
    agent.put(&format!("/v1/handoff_state?id={late}"), short("{}")).await.ok(201);
    clock.advance(Duration::from_secs(61));
    agent.read(late).await.ok(200);
    // Of a call that another began, both find the handoff.
    for (child, parent, written) in [
        ("CA00000000000000000000000000000001", "CA00000000000000000000000000000002", 2),
        ("CA00000000000000000000000000000003", "CA00000000000000000000000000000004", 3),
    ] {
        let voice = format!("/twilio/voice/{}", line.centre.id);
        let form = format!("AccountSid={ACCOUNT}&CallSid={parent}");
        post(&nobody, TOKEN, &voice, &form).await.ok_text(200);
        agent.write(&format!("CA{written:032}"), r#"{"joined":true}"#).await.ok(201);
        let form = format!(
            "AccountSid={ACCOUNT}&CallSid={child}&ParentCallSid={parent}&CallStatus=completed"
        );
        for _ in 0..2 {
            assert_eq!(post(&nobody, TOKEN, &target, &form).await.status, 204);
        }
        assert_eq!(
            agent.read(child).await.ok(200)["data"],
            agent.read(parent).await.ok(200)["data"]
        );
    }
}

#[tokio::test]
async fn a_task_never_outgrows_what_flex_takes_and_says_what_is_left_out() {
    let line = Line::with(json!({"flex": {
        "expose": ["account", "tried", "long"],
        "insights": {"conversation_attribute_1": "intent", "conversation_attribute_10": "n"},
    }}))
    .await;
    let nasty = "\"]]>\u{7}é😀<b>&'".repeat(300);
    let all = json!({
        "reason": nasty, "destination": nasty, "summary": nasty, "name": nasty, "content": nasty,
        "ivr_path": nasty, "language": nasty, "phone": nasty, "intent": nasty, "n": 7,
        "account": "A-1", "tried": ["reset", {"at": 1}], "long": nasty, "call_sid": "CAx",
        "secret": "not exposed", "big": 1,
    });
    let visit = line.visit("").await;
    line.agent_writes(&visit, &all.to_string()).await.ok(201);
    let back = line.asks_at(&visit.action, "").await;
    let json = text(back.ok_text(200), "Task");
    assert!(rendered_characters(&json) <= 2600, "{}", rendered_characters(&json));
    let told = task(&back);
    assert_eq!(told["handoff"], json!({"account": "A-1", "tried": ["reset", {"at": 1}]}));
    assert!(told["handoff_omitted"].as_str().unwrap().contains("data.long"), "{told}");
    assert!(told.get("call_sid").is_none() && !json.contains("not exposed"));
    let small = json!({"intent": "refund", "n": 7, "account": {"id": 12_345_678_901_234_567_890_u64}, "summary": "s".repeat(900)});
    let visit = line.visit("?x").await;
    line.agent_writes(&visit, &small.to_string()).await.ok(200);
    let told = task(&line.asks_at(&visit.action, "").await);
    let insights = &told["conversations"];
    assert_eq!(
        (&insights["conversation_attribute_1"], &insights["conversation_attribute_10"]),
        (&json!("refund"), &json!("7"))
    );
    assert_eq!(told["handoff"]["account"]["id"], "12345678901234567890");
    assert_eq!(told["handoff_summary"].as_str().unwrap().chars().count(), 800);
}
