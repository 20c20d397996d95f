//! What a linked account opens, for how long, and what is told of it.

use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::harness::SID;
use crate::harness::Server;
use crate::links::Centre;
use crate::links::KEY_SID;
use crate::links::SECOND;
use crate::links::SECRET;
use crate::links::TOKEN;
use crate::links::by_token;
use crate::pretend_twilio::Mood;
use crate::pretend_twilio::PretendTwilio;
use crate::twilio::ACCOUNT;
use crate::twilio::OTHER;
use crate::twilio::PUBLIC;
use crate::twilio::get;

#[tokio::test]
async fn a_link_that_was_removed_still_reads_calls_by_their_sid_for_a_day() {
    let centre = Centre::open().await;
    centre.twilio.account(OTHER, &["others"]);
    let agent = centre.agent();
    agent.put("/v1/handoff_state?id=conv-1&shared_id=five9-1", r#"{"data":{}}"#).await.ok(201);
    centre.link(&by_token()).await.ok(200);
    centre.relink(json!({ "account_sid": OTHER, "auth_token": "others" })).await.ok(200);
    let nobody = centre.server.nobody();
    centre.read(TOKEN).await.ok(200);
    centre.read("others").await.ok(200);
    for guess in ["id=conv-1", "shared_id=five9-1", &format!("id={SID}&shared_id=five9-1")] {
        get(&nobody, "others", &centre.studio(guess)).await.ok(200);
        get(&nobody, TOKEN, &centre.studio(guess)).await.refused(401, "INVALID_SIGNATURE");
    }
    // Unlinked and linked again while calls are live: nothing is lost.
    let unlink = format!("{PATH}/link?connector_id={}", centre.id);
    centre.server.admin().delete(&unlink).await.ok_text(204);
    centre.read("others").await.ok(200);
    centre.relink(json!({ "account_sid": OTHER, "auth_token": "others" })).await.ok(200);
    get(&nobody, "others", &centre.studio("id=conv-1")).await.ok(200);
    // The handoff lives longer than the day.
    let write = format!("/v1/handoff_state?id={SID}");
    agent.put(&write, r#"{"data":{"reason":"billing"},"ttl_seconds":900000}"#).await.ok(200);
    centre.server.clock.advance(Duration::from_secs(24 * 3600 - 1));
    centre.read(TOKEN).await.ok(200);
    centre.server.clock.advance(Duration::from_secs(1));
    centre.read(TOKEN).await.refused(401, "INVALID_SIGNATURE");
    centre.read("others").await.ok(200);
    // At once: not even that.
    centre.server.admin().delete(&format!("{unlink}&at_once=true")).await.ok_text(204);
    centre.read("others").await.refused(401, "INVALID_SIGNATURE");
    centre
        .server
        .admin()
        .delete(&format!("{unlink}&at_once=maybe"))
        .await
        .refused(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn keys_open_a_connectors_studio_route_as_far_as_they_reach_and_settings_open_any() {
    let centre = Centre::open().await;
    let target = centre.studio(&format!("id={SID}"));
    let read = ["handoff:read"];
    let own = centre.server.key(json!({"account_id": "acme", "scopes": read})).await;
    assert_eq!(own.get(&target).await.ok(200)["found"], true);
    let projects = json!({"account_id": "acme", "projects": ["other"], "scopes": read});
    for far in [projects, json!({"account_id": "stranger", "scopes": read})] {
        let far = centre.server.key(far).await;
        far.get(&target).await.refused(404, "CONNECTOR_NOT_FOUND");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, format!("{OTHER}=settings")).unwrap();
    let (data, clock) = (centre.server.folder(), centre.server.clock.clone());
    drop(centre.server);
    let flags = ["--twilio-auth-tokens-file", file.to_str().unwrap(), "--public-url", PUBLIC];
    let server = Server::on(&data, clock, &flags);
    assert_eq!(get(&server.nobody(), "settings", &target).await.ok(200)["found"], true);
    let none = format!("/twilio/studio/handoff/conn_00000000000000000000?id={SID}&wait=0");
    get(&server.nobody(), "settings", &none).await.refused(404, "CONNECTOR_NOT_FOUND");
}

#[tokio::test]
async fn verify_tells_point_by_point_what_was_seen_and_what_to_do() {
    let centre = Centre::open().await;
    let report = async || centre.agent().get(&format!("{PATH}/{}/verify", centre.id)).await.ok(200);
    let point = |report: &Value, name: &str| {
        let mut points = report["points"].as_array().unwrap().iter();
        points.find(|point| point["point"] == name).unwrap().clone()
    };
    let first = report().await;
    assert_eq!(first["ok"], false);
    assert_eq!(point(&first, "token")["ok"], true);
    assert_eq!(point(&first, "link")["ok"], false);
    assert_eq!(point(&first, "last_request")["ok"], Value::Null);
    // The public URL of these tests is not there.
    assert!(point(&first, "public_url")["seen"].as_str().unwrap().contains(PUBLIC));
    assert_eq!(first["urls"]["studio"], format!("{PUBLIC}/twilio/studio/handoff/{}", centre.id));
    let voice = format!("{PUBLIC}/twilio/voice/{}", centre.id);
    for at in 0..120 {
        let url = if at == 7 || at == 111 {
            &voice
        } else {
            "https://webhooks.twilio.com/v1/Accounts/AC/Flows/FW"
        };
        let trunk = if at == 111 { "\"TK1\"" } else { "null" };
        let number = format!(
            r#"{{"phone_number":"+4416329600{at:02}","voice_url":"{url}","voice_method":"POST","voice_fallback_url":"","status_callback":null,"trunk_sid":{trunk},"voice_application_sid":""}}"#
        );
        centre.twilio.number(ACCOUNT, number);
    }
    centre.link(&by_token()).await.ok(200);
    centre.read(TOKEN).await.ok(200);
    let patch = r#"{"routing":{"agent_url":"wss://agent.example/stream"}}"#;
    centre.server.admin().patch(&format!("{PATH}/{}", centre.id), patch).await.ok(200);
    let second = report().await;
    assert!(point(&second, "link")["seen"].as_str().unwrap().contains(ACCOUNT));
    assert_eq!(point(&second, "last_request")["ok"], true);
    assert_eq!(point(&second, "agent")["ok"], true);
    let numbers = point(&second, "numbers");
    let seen = "of 120 numbers 118 go to a Studio flow, and 2 to this connector by themselves";
    assert_eq!(numbers["seen"], seen);
    let told: Vec<_> =
        second["points"].as_array().unwrap().iter().filter(|p| p["point"] == "number").collect();
    assert_eq!(told.len(), 2);
    assert!(told[0]["to_do"].as_str().unwrap().contains("voice_fallback_url is empty"));
    assert!(told[1]["to_do"].as_str().unwrap().contains("trunk_sid"));
    centre.read("wrong").await.refused(401, "INVALID_SIGNATURE");
    assert!(point(&report().await, "last_request")["seen"].as_str().unwrap().contains("refused"));
    // Twilio in a bad mood costs a point, not the report.
    for mood in [Mood::Status(401), Mood::Silent, Mood::Garbage] {
        centre.twilio.mood(mood);
        let started = Instant::now();
        assert_eq!(point(&report().await, "numbers")["ok"], Value::Null);
        assert!(started.elapsed() < Duration::from_secs(7));
    }
    // Another connector's token, and a key without the scope, see nothing.
    let (_, other) = made(&centre.server.admin(), &reference("b", "live")).await;
    let path = format!("{PATH}/{}/verify", centre.id);
    bearer(&centre.server, &other).get(&path).await.refused(403, "CONNECTOR_NOT_ALLOWED");
    let weak = centre.server.key(json!({"account_id": "acme", "scopes": ["handoff:read"]})).await;
    weak.get(&path).await.refused(403, "MISSING_SCOPE");
}

#[tokio::test]
async fn secrets_and_tokens_stand_nowhere_in_clear() {
    let mut centre = Centre::open().await;
    let mut wanted = by_token();
    wanted["secondary_auth_token"] = json!(SECOND);
    wanted["api_key_sid"] = json!(KEY_SID);
    wanted["api_key_secret"] = json!(SECRET);
    wanted["shared_keys"] = json!([{ "id": "webhooks_sharedkey_1", "secret": "SHAREDsecret77" }]);
    let mut seen = centre.link(&wanted).await.text().to_owned();
    let sip =
        r#"{"routing":{"mode":"sip","sip":{"uri":"sip:a@b","headers":{"X-A":"SIPsecret77"}}}}"#;
    let admin = centre.server.admin();
    let path = format!("{PATH}/{}", centre.id);
    seen.push_str(admin.patch(&path, sip).await.text());
    seen.push_str(admin.get(PATH).await.text());
    seen.push_str(admin.get(&format!("{path}/token")).await.text());
    seen.push_str(centre.agent().get(&format!("{path}/verify")).await.text());
    let mut wrong = wanted.clone();
    wrong["auth_token"] = json!("WRONGsecret77");
    seen.push_str(centre.relink(wrong.clone()).await.text());
    centre.twilio.mood(Mood::Garbage);
    seen.push_str(centre.relink(wrong).await.text());
    centre.read("nope").await.refused(401, "INVALID_SIGNATURE");
    seen.push_str(centre.server.nobody().get("/metrics").await.text());
    centre.server.ask_to_stop(true);
    centre.server.join();
    seen.push_str(&centre.server.log.text());
    for entry in std::fs::read_dir(centre.server.data_dir()).unwrap() {
        seen.push_str(&String::from_utf8_lossy(&std::fs::read(entry.unwrap().path()).unwrap()));
    }
    let signature = centre.token.rsplit('.').next().unwrap();
    let secrets =
        [TOKEN, SECOND, SECRET, "SHAREDsecret77", "SIPsecret77", "WRONGsecret77", signature];
    for secret in secrets {
        assert!(!seen.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_flow_that_waits_is_told_nothing_once_its_link_is_gone() {
    let centre = Centre::open().await;
    centre.link(&by_token()).await.ok(200);
    // Not by a shared id, once the link was removed; but a call goes on.
    for (asked, status) in [("shared_id=s1", 401), ("id=CAdddddddddddddddddddddddddddddddd", 200)] {
        let target = centre.studio(asked).replace("wait=0", "wait=5");
        let nobody = centre.server.nobody();
        let (read, ()) = tokio::join!(get(&nobody, TOKEN, &target), async {
            centre.server.until_one_waits().await;
            let unlink = format!("{PATH}/link?connector_id={}", centre.id);
            centre.server.admin().delete(&unlink).await.ok_text(204);
            let put = format!("/v1/handoff_state?{asked}");
            centre.agent().put(&put, r#"{"data":{}}"#).await.ok(201);
        });
        assert_eq!(read.status, status, "{}", read.text());
        centre.relink(by_token()).await.ok(200);
    }
    let other = "CAeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";
    let target = centre.studio(&format!("id={other}")).replace("wait=0", "wait=5");
    let nobody = centre.server.nobody();
    let (read, ()) = tokio::join!(get(&nobody, TOKEN, &target), async {
        centre.server.until_one_waits().await;
        let unlink = format!("{PATH}/link?connector_id={}&at_once=true", centre.id);
        centre.server.admin().delete(&unlink).await.ok_text(204);
        centre.agent().write(other, r#"{"reason":"billing"}"#).await.ok(201);
    });
    assert_eq!(read.status, 401, "{}", read.text());
}

#[tokio::test]
async fn a_flow_that_waits_is_told_nothing_once_another_link_to_its_account_took_the_place() {
    let centre = Centre::open().await;
    centre.link(&by_token()).await.ok(200);
    let target = centre.studio("shared_id=s1").replace("wait=0", "wait=5");
    let nobody = centre.server.nobody();
    let (read, ()) = tokio::join!(get(&nobody, TOKEN, &target), async {
        centre.server.until_one_waits().await;
        let unlink = format!("{PATH}/link?connector_id={}&at_once=true", centre.id);
        centre.server.admin().delete(&unlink).await.ok_text(204);
        centre.server.clock.advance(Duration::from_secs(1));
        centre.relink(json!({ "account_sid": ACCOUNT, "auth_token": SECOND })).await.ok(200);
        let put = "/v1/handoff_state?shared_id=s1";
        centre.agent().put(put, r#"{"data":{}}"#).await.ok(201);
    });
    read.refused(401, "INVALID_SIGNATURE");
}

#[tokio::test]
async fn whoever_has_linked_an_account_cannot_guess_shared_ids() {
    let twilio = PretendTwilio::start();
    twilio.account(ACCOUNT, &[TOKEN]);
    let url = twilio.url();
    let flags = [
        "--twilio-api-url",
        &url,
        "--public-url",
        PUBLIC,
        "--rate-misses",
        "1",
        "--rate-misses-burst",
        "5",
    ];
    let server = Server::with(&flags);
    let (id, token) = made(&server.admin(), &reference("a", "live")).await;
    bearer(&server, &token).post(&format!("{PATH}/link"), &by_token()).await.ok(200);
    let nobody = server.nobody();
    let ask = async |query: String| {
        get(&nobody, TOKEN, &format!("/twilio/studio/handoff/{id}?wait=0&{query}")).await.status
    };
    // Calls are no guesses.
    for at in 0..20 {
        assert_eq!(ask(format!("id=CA{at:032x}")).await, 200);
    }
    let guesses = async || {
        let mut told = Vec::new();
        for at in 0..8 {
            told.push(ask(format!("shared_id=s{at}")).await);
        }
        told
    };
    assert_eq!(guesses().await, [200, 200, 200, 200, 200, 429, 429, 429]);
    // Calls are still read; and another who has linked the same account is not held back at all.
    assert_eq!(ask(format!("id=CA{:032x}", 1)).await, 200);
    let (other, token) = made(&server.admin(), &reference("b", "live")).await;
    bearer(&server, &token).post(&format!("{PATH}/link"), &by_token()).await.ok(200);
    let target = format!("/twilio/studio/handoff/{other}?wait=0&shared_id=s1");
    assert_eq!(get(&nobody, TOKEN, &target).await.status, 200);
}

#[tokio::test]
async fn a_flow_is_shown_of_data_what_its_connector_exposes() {
    let centre = Centre::open().await;
    centre.link(&by_token()).await.ok(200);
    let agent = centre.agent();
    agent.write(SID, r#"{"reason":"billing","n":1.10,"card":"5500005555555559"}"#).await.ok(200);
    let whole = centre.read(TOKEN).await.ok(200);
    assert_eq!(whole["data"]["card"], "5500005555555559");
    let expose = r#"{"studio":{"expose":["reason","n"]}}"#;
    centre.server.admin().patch(&format!("{PATH}/{}", centre.id), expose).await.ok(200);
    let read = centre.read(TOKEN).await;
    assert_eq!(read.ok(200)["reason"], "billing");
    assert!(read.text().ends_with(r#""data":{"reason":"billing","n":1.10}}"#), "{}", read.text());
    let none = r#"{"studio":{"expose":[]}}"#;
    centre.server.admin().patch(&format!("{PATH}/{}", centre.id), none).await.ok(200);
    assert_eq!(centre.read(TOKEN).await.ok(200)["data"], json!({}));
}
