//! Signing in to the console: with which keys, from where, what the cookie opens, and what ends it.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton::http::gate::Door;
use baton::http::routes::ROUTES;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::contract;
use crate::harness::Answer;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;

pub const SESSION: &str = "/console/session";
const COOKIE: &str = "__Host-baton_console";
const LIFE: Duration = Duration::from_secs(8 * 3600);
const SECOND: Duration = Duration::from_secs(1);

/// What browsers say of a request of the console's own page.
pub const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

/// What the console's page asks.
pub const ASKED: [&str; 5] = [
    SESSION,
    "/console/calls",
    "/console/call?id=CA0123456789abcdef0123456789abcdef",
    "/console/handoff?id=CA0123456789abcdef0123456789abcdef",
    "/console/hour",
];

/// Signs in with a key.
pub async fn begin(key: &Client) -> Answer {
    key.send(Method::POST, SESSION, &[OWN], None).await
}

/// The name and value of the cookie that an answer sets.
fn cookie(answer: &Answer) -> String {
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 1);
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

/// The browser of whoever has signed in with a key.
pub async fn browser(server: &Server, key: &Client) -> Client {
    let begun = begin(key).await;
    begun.ok(200);
    server.presenting("cookie", cookie(&begun))
}

/// What the page is told.
pub async fn asks(browser: &Client, path: &str) -> Answer {
    browser.get_with(path, &[OWN]).await
}

/// The holder of a new key that may sign in and read handoffs, and the key's id.
async fn operator(server: &Server, more: Value) -> (Client, String) {
    let mut wanted = json!({ "scopes": ["ops:read", "handoff:read"] });
    wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = server.admin().post("/v1/keys", &wanted).await.ok(201);
    let id = made["key_id"].as_str().unwrap().to_owned();
    (server.client(made["key"].as_str().unwrap()), id)
}

#[tokio::test]
async fn a_key_signs_in_and_its_cookie_is_for_no_script_no_other_site_and_no_plain_line() {
    let server = Server::start();
    let begun = begin(&server.admin()).await;
    begun.ok(200);
    let (pair, attributes) = begun.header("set-cookie").split_once(';').unwrap();
    let (name, value) = pair.split_once('=').unwrap();
    let secret = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    assert!(name == COOKIE && value.len() >= 32 && value.bytes().all(secret), "{pair}");
    assert!(!server.admin.contains(value) && !value.contains(&server.admin));
    let attributes: BTreeSet<_> = attributes.split(';').map(str::trim).collect();
    let wanted = ["HttpOnly", "Max-Age=28800", "Path=/", "SameSite=Strict", "Secure"];
    assert_eq!(attributes, BTreeSet::from(wanted));
    let again = begin(&server.admin()).await;
    assert_ne!(cookie(&again), pair);
}

#[tokio::test]
async fn it_says_who_has_signed_in_and_holds_no_more_than_the_console_shows() {
    let server = Server::start();
    let end = server.clock.now().plus(LIFE).to_string();
    let all = ["handoff:write", "handoff:erase", "connector:manage", "key:manage"];
    let scopes = [&all[..], &["ops:read", "handoff:read"]].concat();
    let wide = json!({ "scopes": scopes });
    let narrow = json!({ "scopes": ["ops:read"], "projects": ["p"], "account_id": "acme" });
    let (wide, wide_id) = operator(&server, wide).await;
    let (narrow, narrow_id) = operator(&server, narrow).await;
    let both = json!(["handoff:read", "ops:read"]);
    for (key, name, account, any, scopes, projects) in [
        (server.admin(), "admin", "default", true, both.clone(), Value::Null),
        (wide, &*wide_id, "default", false, both, Value::Null),
        (narrow, &*narrow_id, "acme", false, json!(["ops:read"]), json!(["p"])),
    ] {
        let begun = begin(&key).await;
        let mut told = begun.ok(200);
        let browser = server.presenting("cookie", cookie(&begun));
        assert_eq!(asks(&browser, SESSION).await.ok(200), told, "{name}");
        told["scopes"].as_array_mut().unwrap().sort_by_key(Value::to_string);
        let wanted = json!({
            "name": name, "account_id": account, "any_account": any, "scopes": scopes,
            "projects": projects, "expires_at": end,
        });
        assert_eq!(told, wanted);
    }
}

#[tokio::test]
async fn no_other_page_asks_and_no_program_that_does_not_say_where_it_comes_from() {
    let server = Server::start();
    let admin = server.admin();
    let begun = begin(&admin).await;
    let browser = server.presenting("cookie", cookie(&begun));
    for site in [
        &[][..],
        &["cross-site"],
        &["same-site"],
        &["none"],
        &[""],
        &["Same-Origin"],
        &["same-origin, cross-site"],
        &["same-origin", "cross-site"],
        &["same-origin", "same-origin"],
    ] {
        let mut headers: Vec<_> = site.iter().map(|site| ("sec-fetch-site", *site)).collect();
        headers.push(("origin", "https://flex.twilio.com"));
        for path in ASKED {
            for asking in [&browser, &server.nobody()] {
                let asked = asking.get_with(path, &headers).await;
                asked.refused(403, "ORIGIN_NOT_ALLOWED");
                assert_eq!(asked.header("access-control-allow-origin"), "", "{site:?}");
            }
        }
        for (asking, method) in [(&admin, Method::POST), (&browser, Method::DELETE)] {
            let asked = asking.send(method, SESSION, &headers, None).await;
            asked.refused(403, "ORIGIN_NOT_ALLOWED");
            assert_eq!(asked.header("set-cookie"), "", "{site:?}");
        }
    }
    asks(&browser, SESSION).await.ok(200);
}

#[tokio::test]
async fn whoever_has_no_good_key_for_it_does_not_sign_in() {
    let server = Server::start();
    let (_, token) = made(&server.admin(), &reference("a", "live")).await;
    let scopes = json!(["handoff:read", "handoff:write", "key:manage", "connector:manage"]);
    let other = server.key(json!({ "scopes": scopes })).await;
    let made = server.admin().post("/v1/keys", &json!({ "scopes": ["handoff:read"] })).await;
    let made = made.ok(201);
    let basic = STANDARD.encode(format!("key:{}", made["key"].as_str().unwrap()));
    let end = server.clock.now().plus(SECOND).to_string();
    let (ended, _) = operator(&server, json!({ "expires_at": end })).await;
    server.clock.advance(SECOND);
    for (key, status, code) in [
        (server.nobody(), 401, "MISSING_CREDENTIALS"),
        (server.client("wrong"), 401, "INVALID_KEY"),
        (server.client(&server.admin[1..]), 401, "INVALID_KEY"),
        (server.client(&token), 401, "INVALID_KEY"),
        (ended, 401, "KEY_EXPIRED"),
        (other, 403, "MISSING_SCOPE"),
        (bearer(&server, &token), 403, "MISSING_SCOPE"),
        (server.presenting("authorization", format!("Basic {basic}")), 403, "BASIC_NOT_ALLOWED"),
    ] {
        let begun = begin(&key).await;
        begun.refused(status, code);
        assert_eq!(begun.header("set-cookie"), "", "{code}");
    }
}

#[tokio::test]
async fn the_cookie_opens_what_lies_under_the_console_and_nothing_else() {
    let server = Server::start();
    server.admin().write(SID, r#"{"canary":1}"#).await.ok(201);
    let browser = browser(&server, &server.admin()).await;
    for path in ASKED {
        asks(&browser, path).await.ok(200);
    }
    for route in ROUTES.iter().filter(|route| matches!(route.door, Door::Key | Door::KeyOrBasic)) {
        for (method, _) in route.methods {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let path = format!("{}?id={SID}", contract::filled_in(route.path));
            let body = Some(b"{\"data\":{}}".to_vec());
            let asked = browser.send(method, &path, &[OWN], body).await;
            asked.refused(401, "MISSING_CREDENTIALS");
        }
    }
    let proxied = [OWN, ("x-forwarded-for", "203.0.113.9")];
    browser.get_with("/metrics", &proxied).await.refused(401, "MISSING_CREDENTIALS");
    let studio = format!("/twilio/studio/handoff?id={SID}");
    assert_eq!(browser.get_with(&studio, &[OWN]).await.status, 401);
    // Nor does the cookie sign in.
    begin(&browser).await.refused(401, "MISSING_CREDENTIALS");
}

#[tokio::test]
async fn no_key_and_no_token_opens_what_lies_under_the_console() {
    let server = Server::start();
    let (_, token) = made(&server.admin(), &reference("a", "live")).await;
    server.admin().write(SID, "{}").await.ok(201);
    for client in
        [server.nobody(), server.admin(), bearer(&server, &server.admin), bearer(&server, &token)]
    {
        for path in ASKED {
            let asked = asks(&client, path).await;
            asked.refused(401, "MISSING_CREDENTIALS");
            assert!(!asked.header("www-authenticate").starts_with("Basic"), "{path}");
        }
        let asked = client.send(Method::DELETE, SESSION, &[OWN], None).await;
        asked.refused(401, "MISSING_CREDENTIALS");
    }
}

#[tokio::test]
async fn it_ends_after_eight_hours_by_the_clock() {
    let server = Server::start();
    let browser = browser(&server, &server.admin()).await;
    server.clock.advance(LIFE - SECOND);
    asks(&browser, SESSION).await.ok(200);
    server.clock.advance(SECOND);
    for path in ASKED {
        asks(&browser, path).await.refused(401, "MISSING_CREDENTIALS");
    }
}

#[tokio::test]
async fn it_ends_with_its_key() {
    let server = Server::start();
    let (key, id) = operator(&server, json!({})).await;
    let revoked = browser(&server, &key).await;
    asks(&revoked, SESSION).await.ok(200);
    server.admin().delete(&format!("/v1/keys?id={id}")).await.ok_text(204);
    for path in ASKED {
        asks(&revoked, path).await.refused(401, "INVALID_KEY");
    }
    let end = server.clock.now().plus(SECOND * 60).to_string();
    let (key, _) = operator(&server, json!({ "expires_at": end })).await;
    let ended = browser(&server, &key).await;
    assert_eq!(asks(&ended, SESSION).await.ok(200)["expires_at"], end);
    server.clock.advance(SECOND * 60);
    for path in ASKED {
        assert_eq!(asks(&ended, path).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn signing_out_ends_it_also_for_whoever_has_a_copy_of_the_cookie() {
    let server = Server::start();
    let (key, _) = operator(&server, json!({})).await;
    let (one, two) = (browser(&server, &key).await, browser(&server, &key).await);
    let copy = one.clone();
    let ended = one.send(Method::DELETE, SESSION, &[OWN], None).await;
    assert_eq!((ended.status, ended.text()), (204, ""));
    assert_eq!(cookie(&ended), format!("{COOKIE}="));
    let attributes: BTreeSet<_> = ended.header("set-cookie").split(';').map(str::trim).collect();
    for attribute in ["Max-Age=0", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(attributes.contains(attribute), "{attribute}: {attributes:?}");
    }
    for path in ASKED {
        asks(&copy, path).await.refused(401, "MISSING_CREDENTIALS");
    }
    asks(&two, SESSION).await.ok(200);
    let again = copy.send(Method::DELETE, SESSION, &[OWN], None).await;
    again.refused(401, "MISSING_CREDENTIALS");
}

#[tokio::test]
async fn a_cookie_that_is_not_just_as_it_was_set_opens_nothing() {
    let (server, foreign) = (Server::start(), Server::start());
    let good = cookie(&begin(&server.admin()).await);
    let elsewhere = cookie(&begin(&foreign.admin()).await);
    let (_, value) = good.split_once('=').unwrap();
    let first = if value.starts_with('a') { "b" } else { "a" };
    let swapped = [value.to_uppercase(), value.to_lowercase()];
    let swapped = swapped.iter().find(|other| *other != value).unwrap();
    for forged in [
        format!("{COOKIE}="),
        format!("{COOKIE}=x"),
        format!("{COOKIE}={}", &value[1..]),
        format!("{COOKIE}={}", &value[..value.len() - 1]),
        format!("{COOKIE}={first}{}", &value[1..]),
        format!("{COOKIE}={value}a"),
        format!("{COOKIE}=\"{value}\""),
        format!("{COOKIE}={swapped}"),
        format!("{COOKIE}={}", server.admin),
        format!("baton_console={value}"),
        format!("__host-baton_console={value}"),
        format!("x{COOKIE}={value}"),
        format!("{good}; {good}"),
        format!("{COOKIE}=x; {good}"),
        format!("{good}, {good}"),
        elsewhere,
    ] {
        let browser = server.presenting("cookie", &*forged);
        asks(&browser, SESSION).await.refused(401, "MISSING_CREDENTIALS");
        asks(&browser, "/console/calls").await.refused(401, "MISSING_CREDENTIALS");
    }
    let browser = server.presenting("cookie", &*good);
    let twice = browser.get_with(SESSION, &[OWN, ("cookie", &good)]).await;
    twice.refused(401, "MISSING_CREDENTIALS");
    for among in [format!("theme=dark; {good}; x=y"), format!("theme=dark;{good}")] {
        asks(&server.presenting("cookie", among), SESSION).await.ok(200);
    }
}

/// The ids of the calls that are listed.
async fn calls(browser: &Client, query: &str) -> Vec<String> {
    let told = asks(browser, &format!("/console/calls{query}")).await.ok(200);
    let rows = told["calls"].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_key_of_some_projects_is_shown_the_calls_of_no_others() {
    let server = Server::start();
    for project in ["p", "q"] {
        let path = format!("/v1/default/{project}/handoff_state?id={project}");
        server.admin().put(&path, r#"{"data":{}}"#).await.ok(201);
    }
    let (key, _) = operator(&server, json!({ "projects": ["p"] })).await;
    let narrow = browser(&server, &key).await;
    assert_eq!(calls(&narrow, "").await, ["p"]);
    assert_eq!(calls(&narrow, "?q=q").await, [""; 0]);
    for path in ["/console/call", "/console/handoff"] {
        asks(&narrow, &format!("{path}?id=p")).await.ok(200);
        let asked = asks(&narrow, &format!("{path}?id=q")).await;
        asked.refused(404, "HANDOFF_IN_OTHER_PROJECT");
    }
}

#[tokio::test]
async fn the_admin_names_accounts_and_others_do_not() {
    let server = Server::start();
    let admin = server.admin();
    admin.put("/v1/acme/line/handoff_state?id=CA1", r#"{"data":{}}"#).await.ok(201);
    let browser_of_admin = browser(&server, &admin).await;
    assert_eq!(calls(&browser_of_admin, "").await, [""; 0]);
    assert_eq!(calls(&browser_of_admin, "?account_id=acme").await, ["CA1"]);
    let (key, _) = operator(&server, json!({ "account_id": "acme" })).await;
    let of_acme = browser(&server, &key).await;
    for query in ["", "?account_id=acme"] {
        assert_eq!(calls(&of_acme, query).await, ["CA1"]);
    }
    let stranger = browser(&server, &server.stranger().await).await;
    assert_eq!(calls(&stranger, "").await, [""; 0]);
    for path in ["/console/calls?", "/console/call?id=CA1&", "/console/handoff?id=CA1&"] {
        for account in ["acme", "default"] {
            let asked = asks(&stranger, &format!("{path}account_id={account}")).await;
            asked.refused(403, "ACCOUNT_NOT_ALLOWED");
        }
    }
    for path in ["/console/call?id=CA1", "/console/handoff?id=CA1"] {
        asks(&of_acme, path).await.ok(200);
        asks(&stranger, path).await.refused(404, "HANDOFF_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_session_stands_in_no_log_and_no_file() {
    let mut server = Server::start();
    let begun = cookie(&begin(&server.admin()).await);
    let browser = server.presenting("cookie", &*begun);
    asks(&browser, SESSION).await.ok(200);
    asks(&browser, "/console/call?id=none").await.refused(404, "HANDOFF_NOT_FOUND");
    let mut places = server.nobody().get("/metrics").await.text().to_owned();
    server.ask_to_stop(true);
    server.join();
    places.push_str(&server.log.text());
    for entry in std::fs::read_dir(server.data_dir()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        places.push_str(&String::from_utf8_lossy(&bytes));
    }
    let (_, secret) = begun.split_once('=').unwrap();
    assert!(!places.contains(secret));
}
