//! The Flex user's door: what a token that Twilio's IAM vouches for opens, and what it does not.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
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
use crate::links::KEY_SID;
use crate::links::SECRET;
use crate::links::TOKEN;
use crate::links::by_token;
use crate::pretend_flex::PretendFlex;
use crate::pretend_flex::good;
use crate::pretend_twilio::Mood;
use crate::pretend_twilio::PretendTwilio;
use crate::twilio::ACCOUNT;
use crate::twilio::OTHER;
use crate::twilio::PUBLIC;

pub const OF: &str = "x-twilio-account-sid";
pub const HOUR: u64 = 3600;
pub const SPELLINGS: [&str; 4] = [
    "/v1/handoff_state",
    "/v1/acme/line/handoff_state",
    "/v3/acme/line/handoff_state",
    "/acme/line/handoff_state",
];

/// A server with a pretended Twilio all around, a connector that wrote the handoff of [`SID`], and
/// Flex users.
pub struct Desk {
    pub server: Server,
    pub twilio: PretendTwilio,
    pub flex: PretendFlex,
    pub id: String,
    pub token: String,
}

impl Desk {
    /// Its connector is linked.
    pub async fn open() -> Self {
        Self::with(&[]).await
    }

    /// The same with these flags besides.
    pub async fn with(more: &[&str]) -> Self {
        let desk = Self::unlinked(more).await;
        desk.link(&desk.token, &by_token()).await.ok(200);
        desk
    }

    pub async fn unlinked(more: &[&str]) -> Self {
        let (twilio, flex) = (PretendTwilio::start(), PretendFlex::start());
        for (account, token) in [(ACCOUNT, TOKEN), (OTHER, "others")] {
            twilio.account(account, &[token]);
            flex.account(account, &[token]);
        }
        twilio.api_key(ACCOUNT, KEY_SID, SECRET);
        flex.api_key(ACCOUNT, KEY_SID, SECRET);
        let (api, flexes) = (twilio.url(), flex.url());
        let mut flags = vec!["--twilio-api-url", &api, "--twilio-iam-url", &flexes];
        flags.extend(["--twilio-taskrouter-url", &flexes, "--twilio-retry-seconds", "1"]);
        flags.extend(["--public-url", PUBLIC]);
        flags.extend(more);
        let server = Server::with(&flags);
        let (id, token) = made(&server.admin(), &reference("a", "live")).await;
        bearer(&server, &token).write(SID, r#"{"reason":"billing"}"#).await.ok(201);
        Self { server, twilio, flex, id, token }
    }

    pub fn agent(&self) -> Client {
        bearer(&self.server, &self.token)
    }

    pub async fn link(&self, connector_token: &str, wanted: &Value) -> Answer {
        bearer(&self.server, connector_token).post(&format!("{PATH}/link"), wanted).await
    }

    pub async fn unlink(&self) {
        let unlink = format!("{PATH}/link?connector_id={}", self.id);
        self.server.admin().delete(&unlink).await.ok_text(204);
    }

    /// Makes another connector; its token.
    pub async fn connector(&self, project: &str, env: &str) -> String {
        let mut wanted = reference("b", env);
        wanted["project_id"] = json!(project);
        made(&self.server.admin(), &wanted).await.1
    }

    /// The token of a user of [`ACCOUNT`] whom IAM knows in these roles, for so many seconds.
    pub fn user(&self, name: &str, roles: &[&str], seconds: u64) -> String {
        let token = jwe(name);
        let end = self.server.clock.now().plus(Duration::from_secs(seconds));
        self.flex.token(ACCOUNT, &token, good(&end.to_string(), roles));
        token
    }

    pub fn worker(&self, name: &str) -> String {
        self.user(name, &["agent"], HOUR)
    }

    /// What a user of [`ACCOUNT`] is told.
    pub async fn ask(&self, token: &str, path: &str) -> Answer {
        bearer(&self.server, token).get_with(path, &[(OF, ACCOUNT)]).await
    }

    /// The same of the call's handoff.
    pub async fn read(&self, token: &str) -> Answer {
        self.ask(token, &format!("/v1/handoff_state?id={SID}")).await
    }
}

/// A token as Flex has it: encrypted, and so nothing but its name to us.
pub fn jwe(name: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let head = part(r#"{"alg":"RSA-OAEP-256","enc":"A256GCM","cty":"JWT"}"#);
    format!("{head}.{}.{}.{}.{}", part("key"), part("iv"), part(name), part("tag"))
}

#[tokio::test]
async fn a_flex_user_reads_what_a_linked_connector_wrote_under_every_spelling() {
    let desk = Desk::open().await;
    let token = desk.worker("ada");
    let ada = bearer(&desk.server, &token);
    for spelling in SPELLINGS {
        let path = format!("{spelling}?id={SID}");
        let read = desk.ask(&token, &path).await;
        assert_eq!(read.ok(200), json!({ "id": SID, "data": { "reason": "billing" } }));
        let known = [(OF, ACCOUNT), ("if-none-match", read.header("etag"))];
        assert_eq!(ada.get_with(&path, &known).await.status, 304);
        let head = ada.send(Method::HEAD, &path, &[(OF, ACCOUNT)], None).await;
        assert_eq!(head.status, 200);
    }
    let named = format!("id={SID}&account_id=acme&project_id=line&client_env=live");
    desk.ask(&token, &format!("/v1/handoff_state?{named}")).await.ok(200);
    let put = "/v1/handoff_state?id=conv-1&shared_id=five9-1";
    desk.agent().put(put, r#"{"data":{}}"#).await.ok(201);
    let shared = desk.ask(&token, "/v1/handoff_state?shared_id=five9-1").await;
    assert_eq!(shared.ok(200)["id"], "conv-1");
    // Written without a connector, it is of no environment.
    let admin = desk.server.admin();
    admin.put("/v1/acme/line/handoff_state?id=plain", r#"{"data":{}}"#).await.ok(201);
    desk.ask(&token, "/v1/handoff_state?id=plain").await.ok(200);
    let missed = desk.ask(&token, "/v1/handoff_state?id=none&miss=200").await;
    assert_eq!(missed.ok(200)["found"], false);
    desk.ask(&token, "/v1/handoff_state?id=none").await.refused(404, "HANDOFF_NOT_FOUND");
}

#[tokio::test]
async fn a_flex_user_waits_for_a_handoff_that_comes() {
    let desk = Desk::open().await;
    let token = desk.worker("ada");
    let waiting = desk.ask(&token, "/v1/handoff_state?id=late&wait=8");
    let (read, ()) = tokio::join!(waiting, async {
        desk.server.until_one_waits().await;
        desk.agent().write("late", r#"{"n":1.10}"#).await.ok(201);
    });
    assert!(read.ok_text(200).contains("1.10"));
}

#[tokio::test]
async fn a_token_is_one_too_where_its_key_part_is_empty_or_it_is_long() {
    let desk = Desk::open().await;
    let key = format!(".{}.", URL_SAFE_NO_PAD.encode("key"));
    let end = desk.server.clock.now().plus(Duration::from_secs(HOUR)).to_string();
    for token in [jwe("direct").replacen(&key, "..", 1), jwe(&"long".repeat(1500))] {
        desk.flex.token(ACCOUNT, &token, good(&end, &["agent"]));
        desk.read(&token).await.ok(200);
    }
}

#[tokio::test]
async fn what_no_linked_connector_reaches_is_out_of_reach() {
    let desk = Desk::open().await;
    let token = desk.worker("ada");
    let linked = desk.connector("other", "sandbox").await;
    desk.link(&linked, &by_token()).await.ok(200);
    let elsewhere = desk.connector("third", "live").await;
    let others = json!({ "account_sid": OTHER, "auth_token": "others" });
    desk.link(&elsewhere, &others).await.ok(200);
    // No environment of one project with that of another.
    let (sandbox, live) =
        (desk.connector("line", "sandbox").await, desk.connector("other", "live").await);
    for (writer, id) in
        [(&linked, "linked"), (&elsewhere, "third"), (&sandbox, "sandbox"), (&live, "live")]
    {
        bearer(&desk.server, writer).write(id, r#"{"canary":1}"#).await.ok(201);
    }
    let admin = desk.server.admin();
    admin.put("/v1/acme/fourth/handoff_state?id=fourth", r#"{"data":{"canary":1}}"#).await.ok(201);
    admin
        .put("/v1/stranger/line/handoff_state?id=foreign", r#"{"data":{"canary":1}}"#)
        .await
        .ok(201);
    desk.ask(&token, "/v1/handoff_state?id=linked").await.ok(200);
    desk.read(&token).await.ok(200);
    for id in ["third", "sandbox", "live", "fourth"] {
        let read = desk.ask(&token, &format!("/v1/handoff_state?id={id}")).await;
        assert!([403, 404].contains(&read.status) && !read.text().contains("canary"), "{id}");
    }
    desk.ask(&token, "/v1/handoff_state?id=foreign").await.refused(404, "HANDOFF_NOT_FOUND");
    for path in [
        "/v1/acme/third/handoff_state?id=third",
        "/v1/acme/fourth/handoff_state?id=fourth",
        "/v1/acme/line/handoff_state?id=sandbox&client_env=sandbox",
        "/v1/acme/other/handoff_state?id=live",
        "/v1/stranger/line/handoff_state?id=foreign",
        "/v1/handoff_state?id=foreign&account_id=stranger",
    ] {
        let read = desk.ask(&token, path).await;
        assert!([403, 404].contains(&read.status) && !read.text().contains("canary"), "{path}");
    }
}

#[tokio::test]
async fn an_account_that_is_not_linked_is_refused_and_iam_is_not_asked() {
    let desk = Desk::unlinked(&[]).await;
    let token = desk.worker("ada");
    desk.read(&token).await.refused(403, "ACCOUNT_NOT_LINKED");
    // Nor one whose link waits.
    desk.twilio.mood(Mood::Status(503));
    desk.link(&desk.token, &by_token()).await.ok(202);
    desk.read(&token).await.refused(403, "ACCOUNT_NOT_LINKED");
    assert_eq!(desk.flex.requests(), []);
    desk.twilio.mood(Mood::Answers);
    let path = format!("{PATH}/{}", desk.id);
    until(async || !desk.server.admin().get(&path).await.ok(200)["link"].is_null()).await;
    desk.read(&token).await.ok(200);
    let path = format!("/v1/handoff_state?id={SID}");
    let others = bearer(&desk.server, &token).get_with(&path, &[(OF, OTHER)]).await;
    others.refused(403, "ACCOUNT_NOT_LINKED");
}

#[tokio::test]
async fn a_link_that_is_removed_opens_nothing_at_once() {
    let desk = Desk::open().await;
    let token = desk.worker("ada");
    desk.read(&token).await.ok(200);
    desk.unlink().await;
    desk.read(&token).await.refused(403, "ACCOUNT_NOT_LINKED");
    let mut wanted = by_token();
    wanted["connector_id"] = json!(desk.id);
    let admin = desk.server.admin();
    admin.post(&format!("{PATH}/link"), &wanted).await.ok(200);
    desk.read(&token).await.ok(200);
    let others = json!({ "account_sid": OTHER, "auth_token": "others", "connector_id": desk.id });
    admin.post(&format!("{PATH}/link"), &others).await.ok(200);
    desk.read(&token).await.refused(403, "ACCOUNT_NOT_LINKED");
    admin.post(&format!("{PATH}/link"), &wanted).await.ok(200);
    desk.read(&token).await.ok(200);
    admin.delete(&format!("{PATH}/{}", desk.id)).await.ok_text(204);
    desk.read(&token).await.refused(403, "ACCOUNT_NOT_LINKED");
}

#[tokio::test]
async fn what_ends_while_a_flex_user_waits_is_not_answered() {
    let desk = Desk::open().await;
    let token = desk.user("ada", &["agent"], 60);
    let waiting = desk.ask(&token, "/v1/handoff_state?id=late&wait=8");
    let (read, ()) = tokio::join!(waiting, async {
        desk.server.until_one_waits().await;
        desk.unlink().await;
        desk.agent().write("late", r#"{"canary":1}"#).await.ok(201);
    });
    assert!([401, 403].contains(&read.status), "{}", read.text());
    let mut wanted = by_token();
    wanted["connector_id"] = json!(desk.id);
    desk.server.admin().post(&format!("{PATH}/link"), &wanted).await.ok(200);
    let waiting = desk.ask(&token, "/v1/handoff_state?id=later&wait=8");
    let (read, ()) = tokio::join!(waiting, async {
        desk.server.until_one_waits().await;
        desk.server.clock.advance(Duration::from_secs(61));
        desk.agent().write("later", r#"{"canary":1}"#).await.ok(201);
    });
    assert_eq!(read.status, 401, "{}", read.text());
}

#[tokio::test]
async fn a_role_is_needed() {
    let desk = Desk::open().await;
    for role in ["agent", "supervisor", "admin"] {
        let token = desk.user(role, &["wfo.full_access", role], HOUR);
        desk.read(&token).await.ok(200);
    }
    for (name, roles) in [
        ("none", &[][..]),
        ("other", &["wfo.full_access"]),
        ("case", &["Agent"]),
        ("in", &["agents"]),
    ] {
        let token = desk.user(name, roles, HOUR);
        desk.read(&token).await.refused(403, "ROLE_NOT_ALLOWED");
    }
    let desk = Desk::with(&["--flex-roles", "supervisor quality"]).await;
    desk.read(&desk.user("quality", &["quality"], HOUR)).await.ok(200);
    let agent = desk.user("agent", &["agent", "admin"], HOUR);
    desk.read(&agent).await.refused(403, "ROLE_NOT_ALLOWED");
}

#[tokio::test]
async fn the_account_is_named_once_and_rightly() {
    let desk = Desk::open().await;
    let token = desk.worker("ada");
    let user = bearer(&desk.server, &token);
    let path = format!("/v1/handoff_state?id={SID}");
    let lower = ACCOUNT.to_lowercase();
    for headers in [
        &[][..],
        &[(OF, ACCOUNT), (OF, ACCOUNT)],
        &[(OF, ACCOUNT), (OF, OTHER)],
        &[(OF, "")],
        &[(OF, "AC1")],
        &[(OF, &lower)],
        &[(OF, "AC11111111111111111111111111111111, AC11111111111111111111111111111111")],
        &[(OF, KEY_SID)],
    ] {
        let told = user.get_with(&path, headers).await.refused(401, "INVALID_TOKEN");
        assert!(told.contains("X-Twilio-Account-Sid"), "{headers:?}: {told}");
    }
    assert_eq!(desk.flex.requests(), []);
    // Beside another credential it says nothing.
    desk.agent().get_with(&path, &[(OF, OTHER)]).await.ok(200);
    let twice = [(OF, ACCOUNT), ("x-api-key", desk.server.admin.as_str())];
    user.get_with(&path, &twice).await.refused(400, "AMBIGUOUS_CREDENTIALS");
}

#[tokio::test]
async fn what_is_no_token_is_asked_about_nowhere() {
    let desk = Desk::open().await;
    let token = desk.worker("ada");
    let four = token.rsplit_once('.').unwrap().0;
    for text in [four, &format!("{token}.x"), &token.replacen('.', ".+", 1), "....", "a.b"] {
        assert_eq!(desk.read(text).await.status, 401, "{text}");
    }
    let path = format!("/v1/handoff_state?id={SID}");
    let as_key = desk.server.client(&token).get_with(&path, &[(OF, ACCOUNT)]).await;
    as_key.refused(401, "INVALID_KEY");
    assert_eq!(desk.flex.requests(), []);
}
