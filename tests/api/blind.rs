//! A call while the store is slow, or away: it goes on, and says what is not known.

use std::time::Duration;
use std::time::Instant;

use baton::store::kv::StoreError;
use serde_json::json;

use crate::connectors::PATH;
use crate::connectors::made;
use crate::failures::Befalls;
use crate::failures::server_with;
use crate::harness::Answer;
use crate::harness::Server;
use crate::routing::FLOW;
use crate::routing::WORKFLOW;
use crate::routing::attribute;
use crate::routing::task;
use crate::twilio::ACCOUNT;
use crate::twilio::PUBLIC;
use crate::twilio::Twilio;
use crate::twilio::post;

const CALL: &str = "CAdddddddddddddddddddddddddddddddd";

async fn asks(server: &Server, target: &str, more: &str) -> Answer {
    let form = format!("AccountSid={ACCOUNT}&CallSid={CALL}&CallStatus=in-progress{more}");
    post(&server.nobody(), "current", target.strip_prefix(PUBLIC).unwrap_or(target), &form).await
}

/// A connector whose calls are hung up where no handoff comes.
pub async fn hangs_up(server: &Server) -> String {
    let wanted = json!({
        "name": "a", "account_id": "acme", "project_id": "line", "client_env": "live",
        "routing": {"agent_url": "wss://agent.example/", "on_missing": "hangup"},
        "flex": {"workflow_sid": WORKFLOW}, "fallback": {"say": "Sorry"},
    });
    made(&server.admin(), &wanted).await.0
}

#[tokio::test]
async fn without_the_store_a_call_goes_to_its_agent_and_to_a_person_in_time() {
    let away = || Befalls::Fails(StoreError::Unavailable("away".to_owned()));
    for (befalls, within) in [(away(), 500), (Befalls::Hangs, 2400)] {
        let twilio = Twilio::new(PUBLIC, &format!("{ACCOUNT}=current"));
        let (server, fate) = server_with(&twilio.flags(&[]));
        let id = hangs_up(&server).await;
        let voice = format!("/twilio/voice/{id}");
        let first = asks(&server, &voice, "").await.ok_text(200).to_owned();
        assert!(first.contains("after=0&amp;leg=1"));
        fate.set(Some(befalls));
        assert_eq!(asks(&server, &voice, "").await.ok_text(200), first);
        let in_time = |began: Instant, millis: u64, what: &str| {
            assert!(
                began.elapsed() < Duration::from_millis(millis),
                "{what}: {:?}",
                began.elapsed()
            );
        };
        let began = Instant::now();
        let blind = asks(&server, &voice, "&Digits=1").await;
        in_time(began, within, "voice");
        // What is written from now on is newer than this moment.
        let now = server.clock.now().micros();
        assert!(blind.ok_text(200).contains(&format!("after={now}&amp;leg=2")), "{}", blind.text());
        let action = attribute(blind.text(), "action");
        let began = Instant::now();
        let told = task(&asks(&server, &action, "").await);
        in_time(began, within, "handoff");
        assert_eq!(
            (&told["handoff_status"], &told["handoff_found"]),
            (&json!("error"), &json!(false))
        );
        // What comes with the call is told, though it cannot be stored.
        let given = "&HandoffData=%7B%22reason%22:%22late+bill%22%7D";
        let told = task(&asks(&server, &action, given).await);
        assert_eq!(
            (&told["handoff_status"], &told["handoff_reason"]),
            (&json!("ready"), &json!("late bill"))
        );
        let contained = "&Digits=2&HandoffData=%7B%22contained%22:true%7D";
        assert!(asks(&server, &action, contained).await.ok_text(200).contains("<Hangup/>"));
        let queue = format!("/twilio/queue/{id}?leg=1");
        let full = asks(&server, &queue, "&QueueResult=queue-full").await;
        assert!(full.ok_text(200).contains("Sorry"));
        let metrics = server.nobody().get("/metrics").await;
        assert!(metrics.text().contains("baton_calls_total{outcome=\"error\"} 1"));
        // Nothing is acknowledged that is not stored.
        let form = format!("AccountSid={ACCOUNT}&CallSid={CALL}&CallStatus=completed");
        let status =
            post(&server.nobody(), "current", &format!("/twilio/status/{id}"), &form).await;
        assert_eq!((status.status, status.text()), (503, ""));
        let flow = format!("/twilio/status/{id}?flow={FLOW}");
        assert_eq!(post(&server.nobody(), "current", &flow, &form).await.status, 302);
        let hung_up = post(&server.nobody(), "current", &action[PUBLIC.len()..], &form).await;
        assert!(hung_up.ok_text(200).ends_with("<Response/>"));
        fate.set(None);
        let told = task(&asks(&server, &action, "&Digits=3&SessionStatus=failed").await);
        assert_eq!(told["handoff_status"], "missing");
        let path = format!("{PATH}/{id}");
        server.admin().get(&path).await.ok(200);
    }
}

#[tokio::test]
async fn a_store_that_takes_nothing_hangs_up_on_nobody() {
    let twilio = Twilio::new(PUBLIC, &format!("{ACCOUNT}=current"));
    let (server, fate) = server_with(&twilio.flags(&[]));
    let id = hangs_up(&server).await;
    let voice = asks(&server, &format!("/twilio/voice/{id}"), "").await;
    let action = attribute(voice.ok_text(200), "action");
    fate.set(Some(Befalls::WritesNothing));
    let told = task(&asks(&server, &action, "").await);
    assert_eq!(told["handoff_status"], "error");
    fate.set(None);
    assert!(asks(&server, &action, "").await.ok_text(200).contains("<Hangup/>"));
}
