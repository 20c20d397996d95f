//! What happens while Twilio is asked about a link.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::harness::Answer;
use crate::harness::until;
use crate::links::Centre;
use crate::links::TOKEN;
use crate::links::by_token;
use crate::pretend_twilio::Mood;
use crate::twilio::ACCOUNT;

/// A link that Twilio takes its time over, and what happens meanwhile.
async fn while_twilio_thinks(
    centre: &Centre,
    linking: impl Future<Output = Answer>,
    happens: impl AsyncFnOnce(),
) -> Answer {
    centre.twilio.mood(Mood::Slow(Duration::from_millis(700)));
    let asked = centre.twilio.requests().len();
    let (answer, ()) = tokio::join!(linking, async {
        until(async || centre.twilio.requests().len() > asked).await;
        happens().await;
    });
    answer
}

#[tokio::test]
async fn what_ends_while_twilio_is_asked_links_nothing() {
    let centre = Centre::open().await;
    let admin = centre.server.admin();
    let link = format!("{PATH}/link");
    let rotate = async || {
        let path = format!("{PATH}/{}/token", centre.id);
        admin.post(&path, &json!({"grace_seconds": 0})).await.ok(201);
    };
    let wanted = by_token();
    let rotated = while_twilio_thinks(&centre, centre.link(&wanted), rotate).await;
    rotated.refused(401, "INVALID_TOKEN");
    // The same with a key.
    let scopes = ["connector:manage", "handoff:read", "handoff:write", "key:manage"];
    let made = json!({"account_id": "acme", "scopes": scopes});
    let made = admin.post("/v1/keys", &made).await.ok(201);
    let key = centre.server.client(made["key"].as_str().unwrap());
    let mut named = by_token();
    named["connector_id"] = json!(centre.id);
    let revoke = async || {
        let path = format!("/v1/keys?id={}", made["key_id"].as_str().unwrap());
        admin.delete(&path).await.ok_text(204);
    };
    let revoked = while_twilio_thinks(&centre, key.post(&link, &named), revoke).await;
    revoked.refused(401, "INVALID_KEY");
    centre.read(TOKEN).await.refused(401, "INVALID_SIGNATURE");
    centre.relink(by_token()).await.ok(200);
    // Unlinked at once, because its secrets are in wrong hands.
    let at_once = async || {
        let unlink = format!("{link}?connector_id={}&at_once=true", centre.id);
        admin.delete(&unlink).await.ok_text(204);
    };
    let unlinked = while_twilio_thinks(&centre, centre.relink(by_token()), at_once).await;
    unlinked.refused(409, "LINK_CHANGED");
    centre.read(TOKEN).await.refused(401, "INVALID_SIGNATURE");
    // The same where nothing was linked before.
    let unlinked = while_twilio_thinks(&centre, centre.relink(by_token()), at_once).await;
    unlinked.refused(409, "LINK_CHANGED");
    assert_eq!(centre.shown().await["link"], Value::Null);
}

#[tokio::test]
async fn one_token_asks_twilio_one_thing_at_a_time_and_keeps_no_manager_from_it() {
    let centre = Centre::open().await;
    let verify = format!("{PATH}/{}/verify", centre.id);
    let again = async || {
        centre.link(&by_token()).await.refused(503, "OVERLOADED");
        centre.twilio.mood(Mood::Answers);
        centre.relink(by_token()).await.ok(200);
    };
    let wanted = by_token();
    let first = while_twilio_thinks(&centre, centre.link(&wanted), again).await;
    // The manager's landed meanwhile.
    first.refused(409, "LINK_CHANGED");
    let again = async || {
        centre.agent().get(&verify).await.refused(503, "OVERLOADED");
        centre.server.admin().get(&verify).await.ok(200);
    };
    let agent = centre.agent();
    while_twilio_thinks(&centre, agent.get(&verify), again).await.ok(200);
    // Whoever goes away gives back the turn.
    centre.twilio.mood(Mood::Answers);
    agent.get(&verify).await.ok(200);
}

#[tokio::test]
async fn a_link_that_waits_ends_with_the_token_that_asked_for_it_and_after_a_day() {
    let centre = Centre::open().await;
    let admin = centre.server.admin();
    centre.twilio.mood(Mood::Status(500));
    centre.link(&by_token()).await.ok(202);
    // What waits is nobody's to replace but a manager's.
    let junk = json!({ "account_sid": ACCOUNT, "auth_token": "garbage" });
    centre.link(&junk).await.refused(403, "LINKED_BEFORE");
    let rotate = json!({"grace_seconds": 0});
    admin.post(&format!("{PATH}/{}/token", centre.id), &rotate).await.ok(201);
    centre.twilio.mood(Mood::Answers);
    let refused = |shown: &Value| shown["pending_link"]["state"] == "refused";
    let why = centre.until(refused).await["pending_link"]["why"].clone();
    assert!(why.as_str().unwrap().contains("token"), "{why}");
    centre.read(TOKEN).await.refused(401, "INVALID_SIGNATURE");
    // While Twilio was asked; and by a key.
    let (id, token) = made(&admin, &reference("b", "live")).await;
    let path = format!("{PATH}/{id}");
    let (link, unverified) = (format!("{PATH}/link"), json!({"grace_seconds": 0}));
    centre.twilio.mood(Mood::Status(500));
    bearer(&centre.server, &token).post(&link, &by_token()).await.ok(202);
    let asked = centre.twilio.requests().len();
    centre.twilio.mood(Mood::Slow(Duration::from_millis(1500)));
    until(async || centre.twilio.requests().len() > asked).await;
    admin.post(&format!("{path}/token"), &unverified).await.ok(201);
    let is_refused = async || {
        let shown = admin.get(&path).await.ok(200);
        assert_eq!(shown["link"], Value::Null);
        shown["pending_link"]["state"] == "refused"
    };
    until(is_refused).await;
    let scopes = ["connector:manage", "handoff:read", "handoff:write"];
    let key =
        admin.post("/v1/keys", &json!({"account_id": "acme", "scopes": scopes})).await.ok(201);
    let mut named = by_token();
    named["connector_id"] = json!(id);
    centre.twilio.mood(Mood::Status(500));
    centre.server.client(key["key"].as_str().unwrap()).post(&link, &named).await.ok(202);
    admin.delete(&format!("/v1/keys?id={}", key["key_id"].as_str().unwrap())).await.ok_text(204);
    centre.twilio.mood(Mood::Answers);
    until(is_refused).await;
    centre.twilio.mood(Mood::Status(500));
    centre.relink(by_token()).await.ok(202);
    centre.server.clock.advance(Duration::from_secs(24 * 3600));
    let why = centre.until(refused).await["pending_link"]["why"].clone();
    assert!(why.as_str().unwrap().contains("a day"), "{why}");
}
