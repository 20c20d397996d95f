//! Who may speak for a call: which link, which account, and in which form.

use std::time::Duration;

use serde_json::json;

use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::links::SECOND;
use crate::links::TOKEN;
use crate::links::by_token;
use crate::routing::BILLING;
use crate::routing::CALL;
use crate::routing::FLOW;
use crate::routing::Line;
use crate::routing::task;
use crate::twilio::ACCOUNT;
use crate::twilio::OTHER;
use crate::twilio::get;
use crate::twilio::post;
use crate::visits::OTHER_CALL;
use crate::visits::of;

#[tokio::test]
async fn a_link_that_was_replaced_moves_the_calls_that_it_began_and_no_others() {
    let line = Line::open().await;
    let clock = &line.centre.server.clock;
    // The same account by another token: Twilio signs with the one of before till that is promoted.
    clock.advance(Duration::from_secs(1));
    let promoted = json!({ "account_sid": ACCOUNT, "auth_token": SECOND });
    line.centre.relink(promoted).await.ok(200);
    for token in [TOKEN, SECOND] {
        of(&line, token, "voice", CALL, "").await.ok_text(200);
    }
    // Another account: what it begins is not the former's, though that learns its SID.
    line.centre.twilio.account(OTHER, &["others"]);
    clock.advance(Duration::from_secs(1));
    line.centre.relink(json!({ "account_sid": OTHER, "auth_token": "others" })).await.ok(200);
    let target = format!("/twilio/voice/{}", line.centre.id);
    let form = format!("AccountSid={OTHER}&CallSid={OTHER_CALL}");
    post(&line.centre.server.nobody(), "others", &target, &form).await.ok_text(200);
    for (route, more) in [
        ("voice", ""),
        ("handoff", "&HandoffData=forged"),
        ("refer", "&ReferTransferTarget=sip:desk@x"),
        ("queue", "&QueueResult=queue-full"),
        ("status", "&CallStatus=completed"),
        ("stream", "&StreamEvent=stream-error"),
    ] {
        let refused = of(&line, SECOND, route, OTHER_CALL, &format!("{more}?after=0&leg=1")).await;
        assert_eq!((refused.status, refused.text()), (403, ""), "{route}");
    }
    line.centre.agent().read(OTHER_CALL).await.refused(404, "HANDOFF_NOT_FOUND");
    let own = of(&line, TOKEN, "handoff", CALL, "&HandoffData=late?after=0&leg=1").await;
    assert_eq!(task(&own)["handoff_summary"], "late");
    // By another token of the account, and with nothing linked any more.
    let unlink = format!("{PATH}/link?connector_id={}", line.centre.id);
    line.centre.server.admin().delete(&unlink).await.ok_text(204);
    of(&line, SECOND, "handoff", CALL, "?after=0&leg=2").await.ok_text(200);
}

#[tokio::test]
async fn what_is_moved_between_url_and_form_is_not_twilios() {
    let line = Line::open().await;
    let visit = line.visit("").await;
    line.agent_writes(&visit, r#"{"n":1}"#).await.ok(201);
    let id = &line.centre.id;
    let nobody = line.centre.server.nobody();
    // As it was signed: the form of one request, cut into a URL that says other things of another call.
    let target = format!(
        "/twilio/handoff/{id}?after=0AccountSid{ACCOUNT}HandoffDatax&AccountSid={ACCOUNT}&CallSid={CALL}&CallStatus=completed&z="
    );
    assert_eq!(post(&nobody, TOKEN, &target, "").await.status, 403);
    let target = format!(
        "/twilio/status/{id}?flow={FLOW}AccountSid{ACCOUNT}&AccountSid={ACCOUNT}&CallSid={CALL}&CallStatus=completed"
    );
    assert_eq!(get(&nobody, TOKEN, &target).await.status, 403);
    // A web caller chooses parameters of the form; which flow, and which visit, stands in the URL.
    let chosen = line.asks("voice", "", &format!("&flow={FLOW}&leg=7&Digits=1")).await;
    assert!(!chosen.ok_text(200).contains(FLOW));
    // What a URL says beside is nothing to Baton.
    let named = line.asks("voice", "?From=%2B1999&CallStatus=completed", "").await;
    assert!(named.ok_text(200).contains("<Stream "));
    assert!(line.visit("?x").await.twiml.contains("<Stream "));
}

#[tokio::test]
async fn whoever_waits_with_a_link_that_is_cut_off_is_told_nothing() {
    let line = Line::open().await;
    let visit = line.visit("").await;
    let (back, ()) = tokio::join!(line.asks_at(&visit.action, ""), async {
        line.centre.server.until_one_waits().await;
        let unlink = format!("{PATH}/link?connector_id={}&at_once=true", line.centre.id);
        line.centre.server.admin().delete(&unlink).await.ok_text(204);
        line.agent_writes(&visit, r#"{"name":"Ada"}"#).await.ok(201);
    });
    assert_eq!((back.status, back.text()), (403, ""));
}

#[tokio::test]
async fn a_call_of_another_project_is_nobodys_parent() {
    let line = Line::open().await;
    let admin = line.centre.server.admin();
    let mut wanted = reference("b", "live");
    wanted["project_id"] = json!("other");
    let (id, token) = made(&admin, &wanted).await;
    let link = format!("{PATH}/link");
    bearer(&line.centre.server, &token).post(&link, &by_token()).await.ok(200);
    let visit = line.visit("").await;
    // Another project's own handoff, and its word that the line's call began it.
    bearer(&line.centre.server, &token).write(OTHER_CALL, "{}").await.ok(201);
    let form = format!(
        "AccountSid={ACCOUNT}&CallSid={OTHER_CALL}&ParentCallSid={CALL}&CallStatus=completed"
    );
    let nobody = line.centre.server.nobody();
    assert_eq!(post(&nobody, TOKEN, &format!("/twilio/status/{id}"), &form).await.status, 204);
    let path = format!("/v1/acme/other/handoff_state?id={CALL}");
    admin.get(&path).await.refused(404, "HANDOFF_NOT_FOUND");
    // An alias that a key gave would not end the wait either.
    let alias = format!("/v1/handoff_state/aliases?id={OTHER_CALL}&account_id=acme");
    admin.post(&alias, &json!({"aliases": [CALL]})).await.ok(200);
    let (back, ()) = tokio::join!(line.asks_at(&visit.action, ""), async {
        line.centre.server.until_one_waits().await;
        line.agent_writes(&visit, r#"{"destination":"billing"}"#).await.ok(201);
    });
    assert!(back.ok_text(200).contains(BILLING));
}

#[tokio::test]
async fn what_is_signed_alike_is_one_request_and_what_is_said_twice_is_none() {
    let line = Line::open().await;
    let first = line.asks("voice", "", "").await.ok_text(200).to_owned();
    for more in ["&=", "&=&=", "&"] {
        assert_eq!(line.asks("voice", "", more).await.ok_text(200), first, "{more}");
    }
    let visit = line.visit("?x").await;
    for twice in ["CallStatus=completed", "HandoffData=a", "From=%2B15551234567"] {
        let more = format!("&{twice}&{twice}");
        let refused = line.asks_at(&visit.action, &more).await;
        assert_eq!((refused.status, refused.text()), (403, ""), "{twice}");
    }
    // Of a leg that never was nothing is kept.
    let action = visit.action.replace("leg=2", "leg=99");
    line.asks_at(&action, "&SessionStatus=failed").await.ok_text(200);
    assert!(line.asks("voice", "?x", "").await.ok_text(200).contains("leg=2\""));
}
