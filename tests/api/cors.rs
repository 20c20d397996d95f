//! What a page in a browser may ask and read: the routes that Flex plugins need, from the origins that
//! are allowed, and refusals too.

use std::collections::BTreeSet;
use std::time::Duration;
use std::time::Instant;

use baton::telemetry::outbound;
use reqwest::Method;
use serde_json::json;

use crate::connectors::PATH;
use crate::failures;
use crate::failures::Befalls;
use crate::flex_door::Desk;
use crate::flex_door::OF;
use crate::flex_door::SPELLINGS;
use crate::flex_door::jwe;
use crate::harness::Answer;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;
use crate::pretend_flex_wire::Mood;
use crate::twilio::ACCOUNT;
use crate::twilio::OTHER;

const FLEX: &str = "https://flex.twilio.com";
const TIMELINE: &str = "/v1/handoff_state/timeline";
const RECEIPTS: &str = "/v1/handoff_state/receipts";
const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_METHODS: &str = "access-control-allow-methods";
const ASKS_METHOD: &str = "access-control-request-method";
const ASKS_HEADERS: &str = "access-control-request-headers";

/// What looks like an allowed origin and is none, each as the `Origin` headers of one request.
const STRANGERS: [&[&str]; 14] = [
    &["null"],
    &["https://flex.twilio.com.evil.example"],
    &["https://evilflex.twilio.com"],
    &["https://plugins.flex.twilio.com"],
    &["http://flex.twilio.com"],
    &["HTTPS://FLEX.TWILIO.COM"],
    &["https://flex.twilio.com/"],
    &["https://flex.twilio.com:443"],
    &["https://flex.twilio.com."],
    &["https://flex.twilio.com https://evil.example"],
    &["https://flex.twilio.com, https://evil.example"],
    &["*"],
    &[FLEX, "https://evil.example"],
    &[FLEX, FLEX],
];

fn words(text: &str) -> BTreeSet<&str> {
    text.split(", ").collect()
}

fn varies_by_origin(answer: &Answer) -> bool {
    let values = answer.headers.get_all("vary").iter().filter_map(|value| value.to_str().ok());
    let mut names = values.flat_map(|value| value.split(','));
    names.any(|name| name.trim().eq_ignore_ascii_case("origin"))
}

/// It is told to no page, whatever its origin.
#[track_caller]
fn is_untold(answer: &Answer) {
    let mut names = answer.headers.keys().map(|name| name.as_str());
    assert!(!names.any(|name| name.starts_with("access-control-")), "{:?}", answer.headers);
}

/// It is told to pages of this origin and of no other, and never with cookies.
#[track_caller]
fn is_told_to(answer: &Answer, origin: &str) {
    assert_eq!(answer.header(ALLOW_ORIGIN), origin, "{}: {}", answer.status, answer.text());
    assert!(varies_by_origin(answer), "{:?}", answer.headers);
    for (name, value) in &answer.headers {
        let is_ours = name.as_str().starts_with("access-control-");
        let is_once = answer.headers.get_all(name).iter().count() == 1;
        assert!(!is_ours || (is_once && !value.as_bytes().contains(&b'*')), "{name}: {value:?}");
    }
    assert_eq!(answer.header("access-control-allow-credentials"), "");
}

/// The same, and it may read the headers that say what it reads.
#[track_caller]
fn is_shown_to(answer: &Answer, origin: &str) {
    is_told_to(answer, origin);
    let exposed = "etag, x-handoff-revision, x-handoff-written-at, x-handoff-expires-at, x-handoff-matched-by, x-handoff-miss, warning, retry-after, x-polyai-correlation-id";
    let told = answer.header("access-control-expose-headers").to_lowercase();
    assert_eq!(words(&told), words(exposed));
}

/// An answer that is not held to the contract: OPTIONS stands in it nowhere.
async fn raw(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let http = outbound::client(Duration::from_secs(20)).unwrap();
    let mut request = http.request(method, format!("http://{}{path}", server.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, body: answer.bytes().await.unwrap().to_vec() }
}

/// What a browser asks before it asks.
async fn preflight(server: &Server, path: &str, method: &str, origins: &[&str]) -> Answer {
    let mut headers: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
    headers.extend([(ASKS_METHOD, method), (ASKS_HEADERS, "authorization,x-twilio-account-sid")]);
    raw(server, Method::OPTIONS, path, &headers).await
}

fn handoff() -> String {
    format!("/v1/handoff_state?id={SID}")
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_credential() {
    let server = Server::start();
    let mut asked: Vec<_> = SPELLINGS.iter().map(|path| (*path, "GET", "GET, HEAD")).collect();
    asked.extend(SPELLINGS.iter().map(|path| (*path, "HEAD", "GET, HEAD")));
    asked.extend([(TIMELINE, "GET", "GET, HEAD"), (RECEIPTS, "POST", "POST")]);
    for (path, method, methods) in asked {
        for path in [path.to_owned(), format!("{path}?id={SID}")] {
            let told = preflight(&server, &path, method, &[FLEX]).await;
            assert_eq!((told.status, told.text()), (204, ""), "{method} {path}");
            is_told_to(&told, FLEX);
            assert_eq!(told.header(ALLOW_METHODS), methods, "{path}");
            let headers = "authorization, x-twilio-account-sid, if-none-match, content-type";
            assert_eq!(words(told.header("access-control-allow-headers")), words(headers));
            assert_eq!(told.header("access-control-max-age"), "600");
        }
    }
}

#[tokio::test]
async fn a_preflight_for_what_no_page_may_do_is_refused() {
    let server = Server::start();
    for (path, methods) in [
        (SPELLINGS[0], &["PUT", "POST", "PATCH", "DELETE", "TRACE"][..]),
        (SPELLINGS[1], &["PUT", "POST", "PATCH", "DELETE"]),
        (TIMELINE, &["POST", "PUT", "DELETE"]),
        (RECEIPTS, &["GET", "PUT", "DELETE"]),
    ] {
        for method in methods {
            let told = preflight(&server, path, method, &[FLEX]).await;
            assert_eq!(
                (told.status, told.code().as_str()),
                (405, "METHOD_NOT_ALLOWED"),
                "{method}"
            );
            assert_eq!(told.header(ALLOW_METHODS), "", "{method} {path}");
            assert!(varies_by_origin(&told), "{method} {path}");
        }
    }
    // Without a method to ask for, it is no preflight.
    let told = raw(&server, Method::OPTIONS, &handoff(), &[("origin", FLEX)]).await;
    assert_eq!((told.status, told.code().as_str()), (405, "METHOD_NOT_ALLOWED"));
}

#[tokio::test]
async fn a_preflight_asks_nothing_of_the_store() {
    let server = Server::start();
    let counted = async || {
        let metrics = server.nobody().get("/metrics").await.text().to_owned();
        let is_look = |line: &&str| {
            line.starts_with("baton_store_reads") || line.starts_with("baton_record_lookups")
        };
        metrics.lines().filter(is_look).map(str::to_owned).collect::<Vec<_>>()
    };
    // Once what the server looks up by itself at its start is done.
    let mut before = counted().await;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = counted().await;
        if std::mem::replace(&mut before, now.clone()) == now {
            break;
        }
    }
    assert!(before.iter().any(|line| line.starts_with("baton_store_reads")), "{before:?}");
    for (origin, status) in [(FLEX, 204), ("https://evil.example", 403)] {
        for path in [handoff(), format!("{TIMELINE}?id={SID}"), format!("{RECEIPTS}?id={SID}")] {
            let method = if path.starts_with(RECEIPTS) { "POST" } else { "GET" };
            assert_eq!(preflight(&server, &path, method, &[origin]).await.status, status);
            let token = format!("Bearer {}", jwe("ada"));
            let headers = [
                ("origin", origin),
                (ASKS_METHOD, method),
                ("authorization", &token),
                (OF, ACCOUNT),
            ];
            let told = raw(&server, Method::OPTIONS, &path, &headers).await;
            assert_eq!(told.status, status, "{path}");
        }
    }
    assert_eq!(counted().await, before);
    let (ill, fate) = failures::server_with(&[]);
    fate.set(Some(Befalls::Hangs));
    let started = Instant::now();
    assert_eq!(preflight(&ill, &handoff(), "GET", &[FLEX]).await.status, 204);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn every_status_is_told_to_a_page_of_an_allowed_origin() {
    let flags = ["--max-waiting", "0", "--rate-requests", "1", "--rate-requests-burst", "30"];
    let desk = Desk::with(&flags).await;
    let server = &desk.server;
    let nobody = server.nobody();
    let reader = server.key(json!({ "account_id": "acme", "scopes": ["handoff:read"] })).await;
    let writer = server.key(json!({ "account_id": "acme", "scopes": ["handoff:write"] })).await;
    let told = async |client: &Client, query: &str, more: &[(&str, &str)], status: u16| {
        let headers = [&[("origin", FLEX)][..], more].concat();
        let answer = client.get_with(&format!("/v1/handoff_state?{query}"), &headers).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        is_shown_to(&answer, FLEX);
        answer.headers
    };
    let id = format!("id={SID}");
    let tag = told(&reader, &id, &[], 200).await["etag"].clone();
    told(&reader, &id, &[("if-none-match", tag.to_str().unwrap())], 304).await;
    told(&reader, "id=none&miss=200", &[], 200).await;
    told(&reader, "", &[], 400).await;
    told(&reader, "id=none", &[], 404).await;
    told(&reader, "id=none&wait=1", &[], 503).await;
    told(&reader, &id, &[("content-encoding", "gzip")], 415).await;
    told(&writer, &id, &[], 403).await;
    let asked = told(&nobody, &id, &[], 401).await;
    assert_eq!(asked["www-authenticate"], "Bearer");
    let user = |name| server.presenting("authorization", format!("Bearer {}", jwe(name)));
    desk.worker("ada");
    told(&user("ada"), &id, &[(OF, ACCOUNT)], 200).await;
    told(&user("ada"), &id, &[(OF, OTHER)], 403).await;
    told(&user("ada"), &id, &[], 401).await;
    told(&user("eve"), &id, &[(OF, ACCOUNT)], 401).await;
    desk.flex.iam(Mood::Status(500));
    told(&user("late"), &id, &[(OF, ACCOUNT)], 503).await;
    while reader.get(&handoff()).await.status != 429 {}
    told(&reader, &id, &[], 429).await;
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_is_told_which_methods_are_not_for_it() {
    let server = Server::start();
    let put = preflight(&server, &handoff(), "PUT", &[FLEX]).await;
    assert_eq!(put.status, 405);
    is_told_to(&put, FLEX);
}

#[tokio::test]
async fn timeline_and_receipts_are_told_to_a_page_of_an_allowed_origin() {
    let desk = Desk::open().await;
    let ada = desk.server.presenting("authorization", format!("Bearer {}", desk.worker("ada")));
    let headers = [("origin", FLEX), (OF, ACCOUNT), ("content-type", "application/json")];
    let body = Some(br#"{"receipt":"rendered"}"#.to_vec());
    let receipts = format!("{RECEIPTS}?id={SID}");
    let receipt = ada.send(Method::POST, &receipts, &headers, body).await;
    receipt.ok(200);
    is_shown_to(&receipt, FLEX);
    let timeline = ada.get_with(&format!("{TIMELINE}?id={SID}"), &headers).await;
    timeline.ok(200);
    is_shown_to(&timeline, FLEX);
    let nobody = desk.server.nobody();
    let refused = nobody.get_with(&format!("{TIMELINE}?id={SID}"), &headers[..1]).await;
    assert_eq!(refused.status, 401);
    is_shown_to(&refused, FLEX);
}

#[tokio::test]
async fn an_origin_that_is_not_allowed_is_told_nothing_and_otherwise_treated_as_any() {
    let server = Server::start();
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    for origins in STRANGERS {
        let asked = preflight(&server, &handoff(), "GET", origins).await;
        let code = asked.code();
        assert_eq!((asked.status, code.as_str()), (403, "ORIGIN_NOT_ALLOWED"), "{origins:?}");
        let headers: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
        let read = admin.get_with(&handoff(), &headers).await;
        read.ok(200);
        let missed = admin.get_with("/v1/handoff_state?id=none", &headers).await;
        missed.refused(404, "HANDOFF_NOT_FOUND");
        for answer in [asked, read, missed] {
            is_untold(&answer);
            assert!(varies_by_origin(&answer), "{origins:?}");
        }
    }
    let plain = admin.read(SID).await;
    is_untold(&plain);
    assert!(varies_by_origin(&plain));
}

#[tokio::test]
async fn what_no_page_needs_is_told_to_none() {
    let server = Server::start();
    let (admin, origin) = (server.admin(), [("origin", FLEX)]);
    for path in [
        "/v1/keys",
        "/v1/handoffs",
        "/v1/handoff_state/aliases",
        "/handoff",
        PATH,
        "/twilio/check",
        "/twilio/studio/handoff",
        "/metrics",
        "/livez",
        "/openapi.yaml",
        "/v1/nowhere",
    ] {
        for method in ["GET", "POST"] {
            let asked = preflight(&server, path, method, &[FLEX]).await;
            assert!(asked.status >= 400, "{method} {path}: {}", asked.status);
            is_untold(&asked);
        }
        is_untold(&admin.get_with(path, &origin).await);
        is_untold(&server.nobody().get_with(path, &origin).await);
    }
    // Nor a write, where a read is.
    let written = admin.put_with(&handoff(), &origin, r#"{"data":{}}"#).await;
    written.ok(201);
    is_untold(&written);
    assert!(varies_by_origin(&written));
}

#[tokio::test]
async fn origins_are_added_by_a_setting_and_are_no_patterns() {
    let more = ["http://localhost:3000", "https://desk.example.com"];
    let server = Server::with(&["--cors-origins", &more.join(" ")]);
    server.admin().write(SID, "{}").await.ok(201);
    for origin in [FLEX, more[0], more[1]] {
        let asked = preflight(&server, &handoff(), "GET", &[origin]).await;
        assert_eq!(asked.status, 204, "{origin}");
        is_told_to(&asked, origin);
        let read = server.admin().get_with(&handoff(), &[("origin", origin)]).await;
        read.ok(200);
        is_shown_to(&read, origin);
    }
    for origin in
        ["http://localhost:3001", "http://localhost", "https://a.desk.example.com", "null"]
    {
        assert_eq!(preflight(&server, &handoff(), "GET", &[origin]).await.status, 403, "{origin}");
        is_untold(&server.admin().get_with(&handoff(), &[("origin", origin)]).await);
    }
    let plain = Server::start();
    assert_eq!(preflight(&plain, &handoff(), "GET", &[more[0]]).await.status, 403);
}
