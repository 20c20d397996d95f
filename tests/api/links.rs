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
use crate::pretend_twilio::Mood;
use crate::pretend_twilio::PretendTwilio;
use crate::twilio::ACCOUNT;
use crate::twilio::OTHER;
use crate::twilio::PUBLIC;
use crate::twilio::get;

pub const TOKEN: &str = "a1b2c3d4e5f60718a1b2c3d4e5f60718";
pub const SECOND: &str = "fedcba9876543210fedcba9876543210";
pub const KEY_SID: &str = "SK0123456789abcdef0123456789abcdef";
pub const SECRET: &str = "kkkkKKKKkkkkKKKKkkkkKKKKkkkkKKKK";

/// A server, a pretend Twilio with one account, and a connector.
pub struct Centre {
    pub server: Server,
    pub twilio: PretendTwilio,
    pub id: String,
    pub token: String,
}

impl Centre {
    pub async fn open() -> Self {
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

    pub fn agent(&self) -> Client {
        bearer(&self.server, &self.token)
    }

    pub async fn link(&self, wanted: &Value) -> Answer {
        self.agent().post(&format!("{PATH}/link"), wanted).await
    }

    /// The same by a key, which may do more.
    pub async fn relink(&self, mut wanted: Value) -> Answer {
        wanted["connector_id"] = json!(self.id);
        self.server.admin().post(&format!("{PATH}/link"), &wanted).await
    }

    pub async fn shown(&self) -> Value {
        self.server.admin().get(&format!("{PATH}/{}", self.id)).await.ok(200)
    }

    pub fn studio(&self, query: &str) -> String {
        format!("/twilio/studio/handoff/{}?wait=0&{query}", self.id)
    }

    /// A flow's read of the call, signed with a token.
    pub async fn read(&self, token: &str) -> Answer {
        get(&self.server.nobody(), token, &self.studio(&format!("id={SID}"))).await
    }

    pub async fn until(&self, is_so: impl Fn(&Value) -> bool) -> Value {
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

pub fn by_token() -> Value {
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
