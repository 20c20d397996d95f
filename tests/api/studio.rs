//! The answer a Studio flow can use.

use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton::store::kv::StoreError;
use baton::twilio::signature;
use reqwest::Method;
use serde_json::json;

use crate::failures;
use crate::failures::Befalls;
use crate::harness::SID;
use crate::twilio::ACCOUNT;
use crate::twilio::FORM;
use crate::twilio::OTHER;
use crate::twilio::PUBLIC;
use crate::twilio::STUDIO;
use crate::twilio::Twilio;
use crate::twilio::get;
use crate::twilio::post;
use crate::twilio::server;
use crate::twilio::server_with;
use crate::twilio::sign;

fn basic(key: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("key:{key}")))
}

#[tokio::test]
async fn a_flow_reads_by_signature_or_by_a_read_only_key_and_a_probe_counts_as_nothing() {
    let (server, _twilio) = server_with(&["--rate-requests", "1", "--rate-requests-burst", "3"]);
    server.admin().write(SID, r#"{"reason":"billing"}"#).await.ok(201);
    let made = json!({ "scopes": ["handoff:read"] });
    let made = server.admin().post("/v1/keys", &made).await.ok(201);
    let key = made["key"].as_str().unwrap();
    let target = format!("{STUDIO}?id={SID}");
    let before = server.nobody().get("/metrics").await.text().to_owned();
    for _ in 0..20 {
        let probe = server.nobody().get(&target).await;
        assert!(probe.header("www-authenticate").starts_with("Basic "));
        probe.refused(401, "MISSING_CREDENTIALS");
    }
    let after = server.nobody().get("/metrics").await.text().to_owned();
    let signatures = |text: &str| text.lines().filter(|l| l.contains("twilio_signatures")).count();
    assert_eq!(signatures(&before), signatures(&after));
    let browser = server.nobody().get_with(&target, &[("origin", "https://flex.twilio.com")]).await;
    assert_eq!(browser.header("www-authenticate"), "Bearer");
    let by_key = server.presenting("authorization", basic(key)).get(&target).await;
    assert_eq!(by_key.header("content-type"), "application/json");
    assert_eq!(by_key.ok(200)["reason"], "billing");
    let admin = server.presenting("authorization", basic(&server.admin)).get(&target).await;
    admin.refused(403, "BASIC_NOT_ALLOWED");
    let form = format!("CallSid={SID}&AccountSid={ACCOUNT}");
    let answer = server.presenting("authorization", basic(key));
    let answer = answer.send(
        Method::POST,
        STUDIO,
        &[("content-type", FORM)],
        Some(form.clone().into_bytes()),
    );
    assert_eq!(answer.await.ok(200)["id"], SID);
    let nobody = server.nobody();
    assert_eq!(get(&nobody, "current", &target).await.ok(200)["reason"], "billing");
    assert_eq!(post(&nobody, "current", STUDIO, &form).await.ok(200)["id"], SID);
    let wrong = get(&nobody, "stranger's", &target).await;
    assert!(wrong.header("www-authenticate").starts_with("Basic "));
    wrong.refused(401, "INVALID_SIGNATURE");
    for malformed in ["x", "A,B", ""] {
        let header = [("x-twilio-signature", malformed)];
        let code = if malformed.is_empty() { "MISSING_CREDENTIALS" } else { "INVALID_SIGNATURE" };
        server.nobody().get_with(&target, &header).await.refused(401, code);
    }
    // A good key beside a signature that cannot be checked is enough.
    let signature = sign("stranger's", &format!("{PUBLIC}{target}"), "");
    let both = server.client(key).get_with(&target, &[("x-twilio-signature", &signature)]).await;
    both.ok(200);
}

#[tokio::test]
async fn a_flow_may_send_json_that_is_bound_to_its_url() {
    let (server, _twilio) = server();
    server.admin().write(SID, "{}").await.ok(201);
    let send = async |signed: &str, sent: &str| {
        let target = format!("{STUDIO}?bodySHA256={}", signature::body_hash(signed.as_bytes()));
        let signature = sign("current", &format!("{PUBLIC}{target}"), "");
        let json = ("content-type", "application/json");
        let headers = [("x-twilio-signature", signature.as_str()), json];
        let body = Some(sent.as_bytes().to_vec());
        server.nobody().send(Method::POST, &target, &headers, body).await
    };
    let body = format!("{{\"id\":\"{SID}\", \"wait\": 0}}");
    assert_eq!(send(&body, &body).await.ok(200)["found"], true);
    send(&body, &body.replace(SID, "CA1")).await.refused(401, "INVALID_SIGNATURE");
    let twice = format!("{{\"CallSid\":\"{SID}\",\"CallSid\":\"{SID}\"}}");
    send(&twice, &twice).await.refused(401, "INVALID_SIGNATURE");
}

#[tokio::test]
async fn a_flow_waits_three_seconds_unless_it_says_otherwise_and_is_told_of_every_write() {
    let (server, _twilio) = server();
    let nobody = server.nobody();
    let target = format!("{STUDIO}?id={SID}");
    let started = Instant::now();
    let missed = get(&nobody, "current", &target).await.ok(200);
    let waited = started.elapsed();
    assert!((2900..4000).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!((&missed["found"], &missed["status"]), (&json!(false), &json!("missing")));
    assert_eq!(
        (&missed["action"], &missed["error"]),
        (&json!("fallback"), &json!("HANDOFF_NOT_FOUND"))
    );
    let admin = server.admin();
    let write = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        admin.write(SID, r#"{"n":1}"#).await.ok(201);
    };
    let started = Instant::now();
    let (answer, ()) = tokio::join!(get(&nobody, "current", &target), write);
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(answer.ok(200)["data"], json!({ "n": 1 }));
    // The same signed request again is answered afresh.
    admin.write(SID, r#"{"n":2}"#).await.ok(200);
    assert_eq!(get(&nobody, "current", &target).await.ok(200)["data"], json!({ "n": 2 }));
    for wait in ["-1", "soon", "1.5"] {
        let target = format!("{target}&wait={wait}");
        get(&nobody, "current", &target).await.refused(400, "INVALID_PARAMETER");
    }
}

#[tokio::test]
async fn no_flow_waits_longer_than_studio_does() {
    let (server, _twilio) = server();
    let ask = async |wait: &str| {
        let started = Instant::now();
        let target = format!("{STUDIO}?id={SID}&wait={wait}");
        assert_eq!(get(&server.nobody(), "current", &target).await.ok(200)["found"], false);
        let waited = started.elapsed();
        assert!((7900..10_000).contains(&waited.as_millis()), "{waited:?}");
    };
    tokio::join!(ask("200"), ask("99999999999999999999"));
}

#[tokio::test]
async fn what_is_asked_for_is_named_clearly() {
    let (server, _twilio) = server();
    let nobody = server.nobody();
    let admin = server.admin();
    let other = r#"{"data":{},"shared_id":"five9-1"}"#;
    admin.put("/v1/handoff_state?id=CA1", other).await.ok(201);
    let ask =
        async |query: &str| get(&nobody, "current", &format!("{STUDIO}?wait=0&{query}")).await;
    assert_eq!(ask("CallSid=CA1").await.ok(200)["found"], true);
    assert_eq!(ask("id=CA1&CallSid=CA9").await.ok(200)["found"], true);
    assert_eq!(ask("id=&CallSid=CA1").await.ok(200)["found"], true);
    let shared = ask("shared_id=five9-1&id=CA9").await.ok(200);
    assert_eq!((&shared["id"], &shared["shared_id"]), (&json!("CA1"), &json!("five9-1")));
    assert_eq!(ask("shared_id=five9-1&id=undefined&project_id=").await.ok(200)["found"], true);
    ask("x=1").await.refused(400, "MISSING_ID");
    ask("id=%7B%7Btrigger.call.CallSid%7D%7D").await.refused(400, "INVALID_ID");
    ask("id=CA1&id=CA1").await.refused(400, "INVALID_PARAMETER");
    ask("CallSid=CA1&CallSid=CA1").await.refused(401, "INVALID_SIGNATURE");
    ask(&format!("id=CA1&AccountSid={ACCOUNT}")).await.ok(200);
    ask("id=CA1&AccountSid=").await.ok(200);
    ask(&format!("id=CA1&AccountSid={OTHER}")).await.refused(401, "INVALID_SIGNATURE");
    // The signature of settings opens account and project `default` and no others.
    ask("id=CA1&account_id=acme").await.refused(403, "ACCOUNT_NOT_ALLOWED");
    ask("id=CA1&project_id=line").await.refused(403, "PROJECT_NOT_ALLOWED");
    admin.put("/v1/handoff_state?id=CA2&project_id=line", r#"{"data":{}}"#).await.ok(201);
    let elsewhere = ask("id=CA2").await.ok(200);
    assert_eq!(
        (&elsewhere["found"], &elsewhere["error"]),
        (&json!(false), &json!("HANDOFF_IN_OTHER_PROJECT"))
    );
}

#[tokio::test]
async fn calls_without_a_handoff_are_no_guesses() {
    let (server, _twilio) = server_with(&["--rate-misses", "1", "--rate-misses-burst", "2"]);
    for n in 0..20 {
        let target = format!("{STUDIO}?wait=0&id=CA{n}");
        assert_eq!(get(&server.nobody(), "current", &target).await.ok(200)["found"], false);
    }
}

#[tokio::test]
async fn a_flow_is_told_when_the_store_is_down() {
    let twilio = Twilio::new(PUBLIC, &format!("{ACCOUNT}=current"));
    let (server, fate) = failures::server_with(&twilio.flags(&[]));
    fate.set(Some(Befalls::Fails(StoreError::Unavailable("away".to_owned()))));
    let target = format!("{STUDIO}?id={SID}&From=%2B15551234567");
    let answer = get(&server.nobody(), "current", &target).await.ok(200);
    assert_eq!((&answer["status"], &answer["action"]), (&json!("error"), &json!("fallback")));
    assert_eq!(answer["error"], "STORE_UNAVAILABLE");
    assert_eq!(answer["flex"]["customers"]["phone"], "+15551234567");
    fate.set(Some(Befalls::Hangs));
    let started = Instant::now();
    let answer = get(&server.nobody(), "current", &target).await.ok(200);
    assert_eq!(
        (&answer["status"], &answer["error"]),
        (&json!("error"), &json!("DEADLINE_EXCEEDED"))
    );
    assert!(started.elapsed() < Duration::from_secs(4));
}
