//! View links: who makes them, the one handoff that each opens, what it does not open, and what ends it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton::domain::clock::Timestamp;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::console_session::OWN;
use crate::console_session::SESSION;
use crate::flex_door::Desk;
use crate::flex_door::OF;
use crate::flex_door::SPELLINGS;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;
use crate::receipts::RECEIPTS;
use crate::timeline::SECOND;
use crate::timeline::TIMELINE;
use crate::timeline::of;
use crate::timeline::story;
use crate::tokens::at_every_route;
use crate::tokens::call_token;
use crate::tokens::is_webhook;
use crate::twilio::ACCOUNT;
use crate::twilio::PUBLIC;
use crate::view::VIEW;
use crate::view::view;

pub const LINKS: &str = "/v1/view_links";
const HOUR: Duration = Duration::from_secs(3600);

/// Makes a link; what opens it, and all that is said of it.
pub async fn link(client: &Client, wanted: &Value) -> (String, Value) {
    let made = client.post(LINKS, wanted).await.ok(201);
    let (_, token) = made["url"].as_str().unwrap().split_once("#view=").unwrap();
    (token.to_owned(), made)
}

/// A server, and a connector that wrote the handoff of [`SID`], which has all the ids there can be.
pub struct Office {
    pub server: Server,
    pub id: String,
    pub token: String,
}

impl Office {
    pub async fn open() -> Self {
        Self::of(Server::start()).await
    }

    pub async fn of(server: Server) -> Self {
        let (id, token) = made(&server.admin(), &reference("a", "live")).await;
        let agent = bearer(&server, &token);
        let body = r#"{"data":{"reason":"billing"},"shared_id":"five9-1"}"#;
        agent.put(&format!("/v1/handoff_state?id={SID}"), body).await.ok(201);
        let given = json!({ "aliases": ["alias-1"] });
        agent.post(&format!("/v1/handoff_state/aliases?id={SID}"), &given).await.ok(200);
        agent.write("other", r#"{"canary":1}"#).await.ok(201);
        Self { server, id, token }
    }

    pub fn agent(&self) -> Client {
        bearer(&self.server, &self.token)
    }

    /// The id of a new key of the account that may read, and its holder.
    async fn reader(&self) -> (String, Client) {
        let wanted = json!({ "account_id": "acme", "scopes": ["handoff:read"] });
        let made = self.server.admin().post("/v1/keys", &wanted).await.ok(201);
        let holder = self.server.client(made["key"].as_str().unwrap());
        (made["key_id"].as_str().unwrap().to_owned(), holder)
    }

    /// Whoever has a link to the handoff of [`SID`] that `maker` made.
    pub async fn viewer(&self, maker: &Client) -> Client {
        bearer(&self.server, &link(maker, &json!({ "id": SID })).await.0)
    }
}

#[tokio::test]
async fn a_link_opens_reads_of_its_handoff_and_says_that_it_was_seen() {
    let office = Office::open().await;
    let (_, reader) = office.reader().await;
    for maker in [reader, office.agent()] {
        let viewer = office.viewer(&maker).await;
        for spelling in SPELLINGS.into_iter().chain([VIEW]) {
            let path = format!("{spelling}?id={SID}");
            let read = viewer.get(&path).await;
            assert!(read.ok_text(200).contains("billing"), "{path}");
            let known = [("if-none-match", read.header("etag"))];
            assert_eq!(viewer.get_with(&path, &known).await.status, 304, "{path}");
            let head = viewer.send(Method::HEAD, &path, &[], None).await;
            assert_eq!(head.status, 200, "{path}");
        }
        let receipts = format!("{RECEIPTS}?id={SID}");
        for (receipt, is_taken) in
            [("rendered", true), ("acknowledged", true), ("fetched", false), ("accepted", false)]
        {
            let given = viewer.post(&receipts, &json!({ "receipt": receipt })).await;
            if is_taken {
                assert_eq!(given.ok(200)["first"], true, "{receipt}");
            } else {
                given.refused(403, "VIEW_ONLY");
            }
        }
        viewer.get(&format!("{TIMELINE}?id={SID}")).await.refused(403, "VIEW_ONLY");
    }
    let told = story(&office.agent(), &format!("id={SID}")).await;
    let receipts = of(&told, "receipt");
    assert_eq!(receipts.len(), 4, "{told}");
    for event in receipts.iter().chain(&of(&told, "read")) {
        assert_eq!(event["door"], "view_link", "{event}");
        assert!(event["by"].as_str().unwrap().starts_with("view:"), "{event}");
        assert!(event.get("worker").is_none() && event.get("worker_sid").is_none(), "{event}");
    }
}

#[tokio::test]
async fn its_url_leads_to_the_panel_and_says_what_opens_it_behind_the_hash_alone() {
    let local = Office::open().await;
    let public = Office::of(Server::with(&["--public-url", PUBLIC])).await;
    let here = format!("http://{}", local.server.address);
    for (office, base) in [(&local, here.as_str()), (&public, PUBLIC)] {
        let now = office.server.clock.now();
        let ends = |seconds: u64| {
            let end = now.plus(Duration::from_secs(seconds)).micros();
            Timestamp::from_micros(end / 1_000_000 * 1_000_000).to_string()
        };
        for (wanted, seconds) in [
            (json!({ "id": SID }), 3600),
            (json!({ "id": "alias-1", "ttl_seconds": 60 }), 60),
            (json!({ "shared_id": "five9-1", "ttl_seconds": 86_400 }), 86_400),
        ] {
            let (token, told) = link(&office.agent(), &wanted).await;
            let url = format!("{base}/panel?id={SID}#view={token}");
            let wanted = json!({ "id": SID, "url": url, "expires_at": ends(seconds) });
            assert_eq!(told, wanted);
        }
    }
}

#[tokio::test]
async fn it_opens_no_other_route_and_changes_nothing() {
    let office = Office::open().await;
    let viewer = office.viewer(&office.agent()).await;
    for (at, status, code) in at_every_route(&viewer, &office.id).await {
        let (method, route) = at.split_once(' ').unwrap();
        let wanted = match (method, route) {
            ("GET", route) if route.ends_with("handoff_state") || route == VIEW => (200, ""),
            ("GET", TIMELINE) => (403, "VIEW_ONLY"),
            // The body was looked at, so it was let in.
            ("POST", RECEIPTS) => (400, "UNKNOWN_PARAMETER"),
            (_, route) if is_webhook(route) => (403, ""),
            _ => (401, "INVALID_TOKEN"),
        };
        assert_eq!((status, code.as_str()), wanted, "{at}");
    }
    for path in [SESSION, "/console/calls", "/console/hour", "/console/handoff?id=other"] {
        viewer.get_with(path, &[OWN]).await.refused(401, "MISSING_CREDENTIALS");
    }
    let signs_in = viewer.send(Method::POST, SESSION, &[OWN], None).await;
    signs_in.refused(401, "INVALID_TOKEN");
    assert_eq!(signs_in.header("set-cookie"), "");
    let read = office.agent().read(SID).await.ok(200);
    assert_eq!(read["data"], json!({ "reason": "billing" }));
}

#[tokio::test]
async fn no_other_id_no_other_project_and_no_other_account_is_opened() {
    let office = Office::open().await;
    let viewer = office.viewer(&office.agent()).await;
    let admin = office.server.admin();
    let foreign = format!("/v1/stranger/line/handoff_state?id={SID}");
    admin.put(&foreign, r#"{"data":{"canary":1}}"#).await.ok(201);
    let both = format!("id={SID}&shared_id=five9-1");
    for query in ["id=other", "id=alias-1", "id=none", "shared_id=five9-1", &both] {
        for path in SPELLINGS.into_iter().chain([VIEW]) {
            viewer.get(&format!("{path}?{query}")).await.refused(403, "CALL_NOT_ALLOWED");
        }
    }
    for query in ["id=other", "id=alias-1", "shared_id=five9-1"] {
        let receipt = json!({ "receipt": "rendered" });
        let given = viewer.post(&format!("{RECEIPTS}?{query}"), &receipt).await;
        given.refused(403, "CALL_NOT_ALLOWED");
    }
    for path in [
        foreign,
        format!("{VIEW}?id={SID}&account_id=stranger"),
        format!("/v1/acme/other/handoff_state?id={SID}"),
        format!("{VIEW}?id={SID}&project_id=other"),
        format!("{VIEW}?id={SID}&client_env=sandbox"),
    ] {
        let read = viewer.get(&path).await;
        assert!([403, 404].contains(&read.status) && !read.text().contains("canary"), "{path}");
    }
}

#[tokio::test]
async fn keys_that_read_and_connector_tokens_make_links_and_nothing_else_does() {
    let desk = Desk::open().await;
    let server = &desk.server;
    let wanted = json!({ "id": SID });
    let body = || Some(wanted.to_string().into_bytes());
    let of_acme = |scopes: Value| json!({ "account_id": "acme", "scopes": scopes });
    let made = server.admin().post("/v1/keys", &of_acme(json!(["handoff:read"]))).await.ok(201);
    let key = made["key"].as_str().unwrap();
    let (token, _) = link(&server.client(key), &wanted).await;
    bearer(server, key).post(LINKS, &wanted).await.ok(201);
    let writer = server.key(of_acme(json!(["handoff:write", "ops:read"]))).await;
    writer.post(LINKS, &wanted).await.refused(403, "MISSING_SCOPE");
    let call = bearer(server, &call_token(server, &desk.id, SID, HOUR));
    call.post(LINKS, &wanted).await.refused(403, "CALL_NOT_ALLOWED");
    let ada = bearer(server, &desk.worker("ada"));
    let asked = ada.send(Method::POST, LINKS, &[(OF, ACCOUNT)], body()).await;
    asked.refused(401, "INVALID_TOKEN");
    let basic = STANDARD.encode(format!("key:{key}"));
    let basic = server.presenting("authorization", format!("Basic {basic}"));
    basic.post(LINKS, &wanted).await.refused(403, "BASIC_NOT_ALLOWED");
    bearer(server, &token).post(LINKS, &wanted).await.refused(401, "INVALID_TOKEN");
    server.nobody().post(LINKS, &wanted).await.refused(401, "MISSING_CREDENTIALS");
    // Nor does anybody make one to what they could not read.
    server.stranger().await.post(LINKS, &wanted).await.refused(404, "HANDOFF_NOT_FOUND");
    let mut other = of_acme(json!(["handoff:read"]));
    other["projects"] = json!(["other"]);
    let other = server.key(other).await.post(LINKS, &wanted).await;
    other.refused(404, "HANDOFF_IN_OTHER_PROJECT");
    let sandbox = bearer(server, &desk.connector("line", "sandbox").await);
    sandbox.post(LINKS, &wanted).await.refused(404, "HANDOFF_IN_OTHER_ENVIRONMENT");
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_no_link_is_made() {
    let office = Office::open().await;
    let agent = office.agent();
    for (wanted, code) in [
        (json!({}), "MISSING_ID"),
        (json!({ "ttl_seconds": 60 }), "MISSING_ID"),
        (json!({ "id": SID, "shared_id": "five9-1" }), "INVALID_PARAMETER"),
        (json!({ "id": "undefined" }), "INVALID_ID"),
        (json!({ "id": 7 }), "INVALID_PARAMETER"),
        (json!({ "id": SID, "ttl_seconds": 59 }), "INVALID_PARAMETER"),
        (json!({ "id": SID, "ttl_seconds": 86_401 }), "INVALID_PARAMETER"),
        (json!({ "id": SID, "ttl_seconds": -60 }), "INVALID_PARAMETER"),
        (json!({ "id": SID, "ttl_seconds": 60.5 }), "INVALID_PARAMETER"),
        (json!({ "id": SID, "ttl_seconds": "60" }), "INVALID_PARAMETER"),
        (json!({ "id": SID, "scopes": ["handoff:write"] }), "UNKNOWN_PARAMETER"),
    ] {
        agent.post(LINKS, &wanted).await.refused(400, code);
    }
    for (body, status, code) in [
        ("x", 400, "INVALID_JSON"),
        ("[]", 422, "NOT_AN_OBJECT"),
        (r#"{"id":"a","id":"b"}"#, 422, "DUPLICATE_KEY"),
    ] {
        let made = agent.send(Method::POST, LINKS, &[], Some(body.as_bytes().to_vec())).await;
        made.refused(status, code);
    }
    let named = agent.post(&format!("{LINKS}?id={SID}"), &json!({})).await;
    named.refused(400, "UNKNOWN_PARAMETER");
    agent.post(LINKS, &json!({ "id": "none" })).await.refused(404, "HANDOFF_NOT_FOUND");
}

#[tokio::test]
async fn it_ends_with_its_time_also_for_whoever_waits() {
    let office = Office::open().await;
    let wanted = json!({ "id": SID, "ttl_seconds": 60 });
    let (token, _) = link(&office.agent(), &wanted).await;
    let viewer = bearer(&office.server, &token);
    let next = view(&viewer, SID).await.ok(200)["revision"].as_u64().unwrap() + 1;
    let waits = format!("{VIEW}?id={SID}&wait=8&min_revision={next}");
    let (waited, ()) = tokio::join!(viewer.get(&waits), async {
        office.server.until_one_waits().await;
        office.server.clock.advance(SECOND * 59);
        view(&viewer, SID).await.ok(200);
        office.server.clock.advance(SECOND);
        office.agent().write(SID, r#"{"canary":2}"#).await.ok(200);
    });
    assert!(waited.status == 401 && !waited.text().contains("canary"), "{}", waited.text());
    view(&viewer, SID).await.refused(401, "TOKEN_EXPIRED");
    let receipt = json!({ "receipt": "rendered" });
    let given = viewer.post(&format!("{RECEIPTS}?id={SID}"), &receipt).await;
    given.refused(401, "TOKEN_EXPIRED");
}

#[tokio::test]
async fn it_ends_with_the_key_or_the_token_that_made_it() {
    let office = Office::open().await;
    let (admin, clock) = (office.server.admin(), &office.server.clock);
    let (key_id, reader) = office.reader().await;
    let viewer = office.viewer(&reader).await;
    view(&viewer, SID).await.ok(200);
    admin.delete(&format!("/v1/keys?id={key_id}")).await.ok_text(204);
    view(&viewer, SID).await.refused(401, "INVALID_TOKEN");
    // Of a key that ends before it.
    let end = clock.now().plus(Duration::from_secs(90)).to_string();
    let short = json!({ "account_id": "acme", "scopes": ["handoff:read"], "expires_at": end });
    let (token, told) = link(&office.server.key(short).await, &json!({ "id": SID })).await;
    assert!(told["expires_at"].as_str().unwrap() <= end.as_str(), "{told}");
    clock.advance(SECOND * 90);
    assert_eq!(view(&bearer(&office.server, &token), SID).await.status, 401);
    let viewer = office.viewer(&office.agent()).await;
    let rotate = async |grace: u64| {
        let path = format!("{PATH}/{}/token", office.id);
        let issued = admin.post(&path, &json!({ "grace_seconds": grace })).await.ok(201);
        bearer(&office.server, issued["connector_token"].as_str().unwrap())
    };
    let newer = rotate(60).await;
    view(&viewer, SID).await.ok(200);
    clock.advance(SECOND * 60);
    view(&viewer, SID).await.refused(401, "INVALID_TOKEN");
    let viewer = office.viewer(&newer).await;
    let newest = rotate(0).await;
    view(&viewer, SID).await.refused(401, "INVALID_TOKEN");
    let viewer = office.viewer(&newest).await;
    admin.delete(&format!("{PATH}/{}", office.id)).await.ok_text(204);
    view(&viewer, SID).await.refused(401, "INVALID_TOKEN");
    let kept = admin.get(&format!("/v1/acme/line/handoff_state?id={SID}")).await;
    kept.ok(200);
}

#[tokio::test]
async fn it_ends_with_its_handoff_and_never_opens_anothers_under_the_same_id() {
    let office = Office::open().await;
    let viewer = office.viewer(&office.agent()).await;
    let admin = office.server.admin();
    let (_, sandbox) = made(&admin, &reference("a", "sandbox")).await;
    let erase = async |project: &str| {
        let path = format!("/v1/acme/{project}/handoff_state?id={SID}");
        admin.delete(&path).await.ok_text(204);
        view(&viewer, SID).await.refused(404, "HANDOFF_ERASED");
        office.server.clock.advance(SECOND);
    };
    erase("line").await;
    let other = format!("/v1/acme/other/handoff_state?id={SID}");
    admin.put(&other, r#"{"data":{"canary":1}}"#).await.ok(201);
    for spelling in [VIEW, "/v1/handoff_state"] {
        let read = viewer.get(&format!("{spelling}?id={SID}")).await;
        let told = read.refused(404, "HANDOFF_IN_OTHER_PROJECT");
        assert!(!told.contains("canary"), "{told}");
    }
    erase("other").await;
    bearer(&office.server, &sandbox).write(SID, r#"{"canary":1}"#).await.ok(201);
    view(&viewer, SID).await.refused(404, "HANDOFF_IN_OTHER_ENVIRONMENT");
    erase("line").await;
    office.agent().write(SID, r#"{"n":1}"#).await.ok(201);
    view(&viewer, SID).await.ok(200);
}
