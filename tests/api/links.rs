//! Linking connectors to Twilio accounts, against a pretend of Twilio's REST API in every mood; and what
//! a link opens.

use std::time::Duration;
use std::time::Instant;

use baton::domain::algorithm::Algorithm;
use baton::twilio::form::Pairs;
use baton::twilio::signature;
use baton::twilio::signature::Secret;
use serde_json::Value;
use serde_json::json;

use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::harness::Answer;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;
use crate::harness::until;
use crate::pretend_twilio::Mood;
use crate::pretend_twilio::PretendTwilio;
use crate::twilio::ACCOUNT;
use crate::twilio::OTHER;
use crate::twilio::PUBLIC;
use crate::twilio::get;

const TOKEN: &str = "a1b2c3d4e5f60718a1b2c3d4e5f60718";
const SECOND: &str = "fedcba9876543210fedcba9876543210";
const KEY_SID: &str = "SK0123456789abcdef0123456789abcdef";
const SECRET: &str = "kkkkKKKKkkkkKKKKkkkkKKKKkkkkKKKK";

/// A server, a pretend Twilio with one account, and a connector.
struct Centre {
    server: Server,
    twilio: PretendTwilio,
    id: String,
    token: String,
}

impl Centre {
    async fn open() -> Self {
        let twilio = PretendTwilio::start();
        twilio.account(ACCOUNT, &[TOKEN, SECOND]);
        twilio.api_key(ACCOUNT, KEY_SID, SECRET);
        let url = twilio.url();
        let flags =
            ["--twilio-api-url", &url, "--twilio-retry-seconds", "1", "--public-url", PUBLIC];
        let server = Server::with(&flags);
        let (id, token) = made(&server.admin(), &reference("a", "live")).await;
        bearer(&server, &token).write(SID, r#"{"reason":"billing"}"#).await.ok(201);
        Self { server, twilio, id, token }
    }

    fn agent(&self) -> Client {
        bearer(&self.server, &self.token)
    }

    async fn link(&self, wanted: &Value) -> Answer {
        self.agent().post(&format!("{PATH}/link"), wanted).await
    }

    /// The same by a key, which may do more.
    async fn relink(&self, mut wanted: Value) -> Answer {
        wanted["connector_id"] = json!(self.id);
        self.server.admin().post(&format!("{PATH}/link"), &wanted).await
    }

    async fn shown(&self) -> Value {
        self.server.admin().get(&format!("{PATH}/{}", self.id)).await.ok(200)
    }

    fn studio(&self, query: &str) -> String {
        format!("/twilio/studio/handoff/{}?wait=0&{query}", self.id)
    }

    /// A flow's read of the call, signed with a token.
    async fn read(&self, token: &str) -> Answer {
        get(&self.server.nobody(), token, &self.studio(&format!("id={SID}"))).await
    }

    async fn until(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let shown = self.shown().await;
            if is_so(&shown) {
                return shown;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{shown}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn by_token() -> Value {
    json!({ "account_sid": ACCOUNT, "auth_token": TOKEN })
}

#[tokio::test]
async fn the_token_links_an_account_whose_signature_then_opens_that_connectors_route_alone() {
    let centre = Centre::open().await;
    centre.read(TOKEN).await.refused(401, "INVALID_SIGNATURE");
    let mut wanted = by_token();
    wanted["secondary_auth_token"] = json!(SECOND);
    let linked = centre.link(&wanted).await;
    let shown = linked.ok(200);
    assert_eq!(
        (&shown["link"]["state"], &shown["link"]["account_sid"]),
        (&json!("verified"), &json!(ACCOUNT))
    );
    assert!(!linked.text().contains(TOKEN) && !linked.text().contains(SECOND));
    for token in [TOKEN, SECOND] {
        let read = centre.read(token).await.ok(200);
        assert_eq!((&read["found"], &read["connector_id"]), (&json!(true), &json!(centre.id)));
        assert_eq!((&read["client_env"], &read["reason"]), (&json!("live"), &json!("billing")));
        assert_eq!(read["flex"]["baton"]["connector_id"], json!(centre.id));
    }
    // Another account's SID beside the signature, another connector's route, none's, another secret.
    let nobody = centre.server.nobody();
    let claimed = centre.studio(&format!("id={SID}&AccountSid={OTHER}"));
    get(&nobody, TOKEN, &claimed).await.refused(401, "INVALID_SIGNATURE");
    let (other, _) = made(&centre.server.admin(), &reference("b", "live")).await;
    for target in [
        format!("/twilio/studio/handoff/{other}?id={SID}"),
        format!("/twilio/studio/handoff/conn_00000000000000000000?id={SID}"),
        format!("/twilio/studio/handoff?id={SID}"),
    ] {
        assert_eq!(get(&nobody, TOKEN, &target).await.status, 401, "{target}");
    }
    let check = format!("/twilio/check?AccountSid={ACCOUNT}");
    assert_eq!(get(&nobody, TOKEN, &check).await.status, 403);
    centre.read("wrong").await.refused(401, "INVALID_SIGNATURE");
    // Another project's or environment's handoff is none of this connector's.
    let admin = centre.server.admin();
    let other = "CAeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";
    admin.put(&format!("/v1/acme/other/handoff_state?id={other}"), r#"{"data":{}}"#).await.ok(201);
    let read = get(&nobody, TOKEN, &centre.studio(&format!("id={other}"))).await.ok(200);
    assert_eq!(
        (&read["found"], &read["error"]),
        (&json!(false), &json!("HANDOFF_IN_OTHER_PROJECT"))
    );
    let named = centre.studio(&format!("id={SID}&project_id=other"));
    get(&nobody, TOKEN, &named).await.refused(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn a_standard_api_key_and_shared_keys_are_enough() {
    let centre = Centre::open().await;
    let wanted = json!({
        "account_sid": ACCOUNT,
        "api_key_sid": KEY_SID,
        "api_key_secret": SECRET,
        "shared_keys": [{ "id": "webhooks_sharedkey_1", "secret": "s=hared" }],
    });
    let linked = centre.link(&wanted).await;
    let link = linked.ok(200)["link"].clone();
    assert_eq!((&link["has_auth_token"], &link["api_key_sid"]), (&json!(false), &json!(KEY_SID)));
    let shared = json!([{"id": "webhooks_sharedkey_1", "algorithm": "HMAC_SHA256"}]);
    assert_eq!(link["shared_keys"], shared);
    assert!(!linked.text().contains("s=hared") && !linked.text().contains(SECRET));
    let target = centre.studio(&format!("id={SID}"));
    let secret = Secret::new("", Algorithm::HmacSha256, "s=hared");
    let signed = signature::sign(&secret, &format!("{PUBLIC}{target}"), &Pairs::default());
    let headers = [
        ("x-twilio-signature", signed.as_str()),
        ("x-twilio-webhooks-signature-settings", "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"),
    ];
    centre.server.nobody().get_with(&target, &headers).await.ok(200);
    // An API key signs no webhook.
    centre.read(SECRET).await.refused(401, "INVALID_SIGNATURE");
}

#[tokio::test]
async fn what_could_never_work_is_refused_before_twilio_is_asked() {
    let centre = Centre::open().await;
    for (wanted, word) in [
        (json!({}), "/account_sid"),
        (json!({"account_sid": "AC1"}), "/account_sid"),
        (json!({"account_sid": ACCOUNT}), "auth_token"),
        (json!({"account_sid": ACCOUNT, "auth_token": "a b"}), "/auth_token"),
        (json!({"account_sid": ACCOUNT, "auth_token": TOKEN, "region": "mars"}), "/region"),
        (json!({"account_sid": ACCOUNT, "api_key_sid": KEY_SID}), "/api_key_secret"),
        (
            json!({"account_sid": ACCOUNT, "api_key_sid": "SK1", "api_key_secret": "x"}),
            "/api_key_sid",
        ),
        (
            json!({"account_sid": ACCOUNT, "api_key_sid": KEY_SID, "api_key_secret": SECRET}),
            "shared_keys",
        ),
        (
            json!({"account_sid": ACCOUNT, "auth_token": TOKEN, "shared_keys": [{"id": "x", "secret": "y"}]}),
            "/shared_keys/0/id",
        ),
        (
            json!({"account_sid": ACCOUNT, "auth_token": TOKEN, "shared_keys": ["hunter2"]}),
            "/shared_keys/0",
        ),
    ] {
        let told = centre.link(&wanted).await.refused(400, "INVALID_PARAMETER");
        assert!(told.contains(word) && !told.contains("hunter2"), "{word}: {told}");
    }
    centre.link(&json!({"sid": 1})).await.refused(400, "UNKNOWN_PARAMETER");
    let named = json!({"account_sid": ACCOUNT, "auth_token": TOKEN, "connector_id": "conn_00000000000000000000"});
    centre.link(&named).await.refused(403, "CONNECTOR_NOT_ALLOWED");
    centre
        .server
        .admin()
        .post(&format!("{PATH}/link"), &by_token())
        .await
        .refused(400, "MISSING_ID");
    assert_eq!(centre.twilio.requests(), []);
}

#[tokio::test]
async fn what_twilio_refuses_is_refused_in_its_own_words_and_not_kept() {
    let centre = Centre::open().await;
    let wrong = json!({ "account_sid": ACCOUNT, "auth_token": "wrong" });
    let told = centre.link(&wrong).await.refused(422, "LINK_REFUSED");
    assert!(told.contains("Authenticate") && told.contains("20003"), "{told}");
    // A good token beside a bad second one is half a lie.
    let half =
        json!({ "account_sid": ACCOUNT, "auth_token": TOKEN, "secondary_auth_token": "wrong" });
    centre.link(&half).await.refused(422, "LINK_REFUSED");
    for status in [401, 403, 404] {
        centre.twilio.mood(Mood::Status(status));
        centre.link(&by_token()).await.refused(422, "LINK_REFUSED");
    }
    let shown = centre.shown().await;
    assert_eq!((&shown["link"], &shown["pending_link"]), (&Value::Null, &Value::Null));
    assert!(centre.twilio.requests().iter().all(|seen| seen.user.as_deref() == Some(ACCOUNT)));
}

#[tokio::test]
async fn while_twilio_is_not_reached_a_link_waits_verifies_nothing_and_is_confirmed_later() {
    let centre = Centre::open().await;
    let trap = PretendTwilio::start();
    let moods = [
        Mood::Status(429),
        Mood::Status(500),
        Mood::Status(503),
        Mood::Silent,
        Mood::Slow(Duration::from_secs(4)),
        Mood::Garbage,
        Mood::WrongShape,
        Mood::Blocked,
        Mood::OtherAccount,
        Mood::Redirect(trap.url()),
        Mood::Huge,
        Mood::Cut,
    ];
    for mood in moods {
        centre.twilio.mood(mood.clone());
        let started = Instant::now();
        let linked = centre.link(&by_token()).await.ok(202);
        assert!(started.elapsed() < Duration::from_secs(4), "{mood:?}: {:?}", started.elapsed());
        assert_eq!(linked["link"], Value::Null, "{mood:?}");
        assert_eq!(linked["pending_link"]["state"], "unverified", "{mood:?}");
        centre.read(TOKEN).await.refused(401, "INVALID_SIGNATURE");
    }
    assert_eq!(trap.requests(), [], "a redirect was followed with credentials");
    centre.twilio.refuse_connections();
    centre.link(&by_token()).await.ok(202);
    centre.read(TOKEN).await.refused(401, "INVALID_SIGNATURE");
    centre.twilio.come_back();
    centre.twilio.mood(Mood::Answers);
    let shown = centre.until(|shown| !shown["link"].is_null()).await;
    assert_eq!(shown["pending_link"], Value::Null);
    centre.read(TOKEN).await.ok(200);
}

#[tokio::test]
async fn a_tenant_who_links_a_strangers_account_gains_nothing() {
    let centre = Centre::open().await;
    // Reached: the tenant's own secrets are not the stranger's.
    centre.twilio.account(OTHER, &["strangers"]);
    let grab = json!({ "account_sid": OTHER, "auth_token": TOKEN });
    centre.link(&grab).await.refused(422, "LINK_REFUSED");
    let by_key = json!({
        "account_sid": OTHER, "api_key_sid": KEY_SID, "api_key_secret": SECRET,
        "shared_keys": [{ "id": "webhooks_sharedkey_1", "secret": "mine" }],
    });
    centre.link(&by_key).await.refused(422, "LINK_REFUSED");
    // Not reached: it waits, verifies nothing, and is refused when Twilio is there again.
    centre.twilio.mood(Mood::Status(503));
    centre.link(&grab).await.ok(202);
    centre.read(TOKEN).await.refused(401, "INVALID_SIGNATURE");
    let claimed = centre.studio(&format!("id={SID}&AccountSid={OTHER}"));
    get(&centre.server.nobody(), TOKEN, &claimed).await.refused(401, "INVALID_SIGNATURE");
    centre.twilio.mood(Mood::Answers);
    let refused = |shown: &Value| shown["pending_link"]["state"] == "refused";
    let shown = centre.until(refused).await;
    assert!(shown["pending_link"]["why"].as_str().unwrap().contains("Authenticate"), "{shown}");
    centre.read(TOKEN).await.refused(401, "INVALID_SIGNATURE");
    let asked = centre.twilio.requests().len();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(centre.twilio.requests().len(), asked, "Twilio is asked again though it refused");
    let report = centre.agent().get(&format!("{PATH}/{}/verify", centre.id)).await.ok(200);
    assert!(report["points"][1]["seen"].as_str().unwrap().contains("Authenticate"), "{report}");
    // Mended, the token is enough: nothing was ever linked. (Suspended, an account is still whose it is.)
    centre.twilio.mood(Mood::Suspended);
    centre.link(&by_token()).await.ok(200);
}

#[tokio::test]
async fn a_second_or_a_changed_link_needs_more_than_the_token() {
    let centre = Centre::open().await;
    centre.twilio.account(OTHER, &["others"]);
    let other = json!({ "account_sid": OTHER, "auth_token": "others" });
    let rotated = json!({ "account_sid": ACCOUNT, "auth_token": SECOND });
    centre.link(&by_token()).await.ok(200);
    centre.link(&by_token()).await.ok(200);
    for changed in [&other, &rotated] {
        centre.link(changed).await.refused(403, "LINKED_BEFORE");
    }
    centre.read(TOKEN).await.ok(200);
    let scopes = ["handoff:read", "handoff:write"];
    let weak = centre.server.key(json!({"account_id": "acme", "scopes": scopes})).await;
    let mut named = other.clone();
    named["connector_id"] = json!(centre.id);
    weak.post(&format!("{PATH}/link"), &named).await.refused(403, "MISSING_SCOPE");
    centre.relink(other.clone()).await.ok(200);
    centre.read("others").await.ok(200);
    // And back to the first account: once it was two, no token links any more.
    centre.link(&by_token()).await.refused(403, "LINKED_BEFORE");
    let unlink = format!("{PATH}/link?connector_id={}", centre.id);
    centre.server.admin().delete(&unlink).await.ok_text(204);
    centre.link(&other).await.refused(403, "LINKED_BEFORE");
    centre.agent().delete(&unlink).await.refused(403, "MISSING_SCOPE");
    centre.server.admin().delete(&unlink).await.refused(404, "LINK_NOT_FOUND");
    centre.server.admin().delete(&format!("{unlink}&at_once=true")).await.ok_text(204);
}

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
async fn a_new_link_that_twilio_cannot_confirm_leaves_the_one_that_is_there() {
    let centre = Centre::open().await;
    centre.link(&by_token()).await.ok(200);
    centre.twilio.mood(Mood::Status(500));
    let rotated = json!({ "account_sid": ACCOUNT, "auth_token": SECOND });
    let shown = centre.relink(rotated).await.ok(202);
    assert_eq!(
        (&shown["link"]["state"], &shown["pending_link"]["state"]),
        (&json!("verified"), &json!("unverified"))
    );
    centre.read(TOKEN).await.ok(200);
    centre.read(SECOND).await.refused(401, "INVALID_SIGNATURE");
    centre.twilio.mood(Mood::Answers);
    centre.until(|shown| shown["pending_link"].is_null()).await;
    centre.read(SECOND).await.ok(200);
    // With the token it had before, for the calls of before.
    centre.read(TOKEN).await.ok(200);
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

#[tokio::test]
async fn whose_link_was_removed_long_ago_is_remembered() {
    let centre = Centre::open().await;
    centre.twilio.account(OTHER, &["others"]);
    centre.link(&by_token()).await.ok(200);
    let unlink = format!("{PATH}/link?connector_id={}", centre.id);
    centre.server.admin().delete(&unlink).await.ok_text(204);
    centre.server.clock.advance(Duration::from_secs(25 * 3600));
    let other = json!({ "account_sid": OTHER, "auth_token": "others" });
    // Neither another account nor the same again: what was unlinked is a manager's to link.
    for wanted in [&other, &by_token()] {
        centre.link(wanted).await.refused(403, "LINKED_BEFORE");
    }
    centre.relink(by_token()).await.ok(200);
    centre.server.admin().delete(&format!("{unlink}&at_once=true")).await.ok_text(204);
    centre.link(&by_token()).await.refused(403, "LINKED_BEFORE");
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
