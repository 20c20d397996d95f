//! The pages themselves: the same for everybody, with nothing from anywhere else, framed by nobody who is
//! not named, and there though the store is not.

use std::time::Duration;
use std::time::Instant;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;

use crate::connectors::bearer;
use crate::failures;
use crate::failures::Befalls;
use crate::harness::Answer;
use crate::harness::SID;
use crate::harness::Server;

const FLEX: &str = "https://flex.twilio.com";
const PAGES: [(&str, &str); 2] = [("/panel", FLEX), ("/console", "'none'")];
const HTML: &str = "text/html; charset=utf-8";

/// What stands between two marks, each of which there is one of.
#[track_caller]
fn between<'p>(page: &'p str, from: &str, to: &str) -> &'p str {
    assert_eq!((page.matches(from).count(), page.matches(to).count()), (1, 1), "{from} … {to}");
    let (_, rest) = page.split_once(from).unwrap();
    rest.split_once(to).unwrap().0
}

fn style(page: &str) -> &str {
    between(page, "<style>", "</style>")
}

fn script(page: &str) -> &str {
    between(page, "<script type=\"module\">", "</script>")
}

/// As a policy names a text.
fn hash(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    format!("'sha256-{}'", STANDARD.encode(hash.as_ref()))
}

/// The policy of a page that these may frame.
fn policy(page: &str, parents: &str) -> String {
    let (script, style) = (hash(script(page)), hash(style(page)));
    [
        "default-src 'none'",
        &format!("script-src {script}"),
        &format!("style-src {style}"),
        "connect-src 'self'",
        "img-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
        &format!("frame-ancestors {parents}"),
    ]
    .join("; ")
}

fn headers(answer: &Answer) -> Vec<(String, String)> {
    let varies = ["x-polyai-correlation-id", "date"];
    let own = answer.headers.iter().filter(|(name, _)| !varies.contains(&name.as_str()));
    let text = own.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let mut headers: Vec<_> = text.collect();
    headers.sort();
    headers
}

#[tokio::test]
async fn a_page_brings_all_it_needs_and_its_policy_lets_in_nothing_else() {
    let server = Server::start();
    for (path, parents) in PAGES {
        let answer = server.nobody().get(path).await;
        let page = answer.ok_text(200);
        assert_eq!(answer.header("content-type"), HTML, "{path}");
        let said = answer.headers.get_all("content-security-policy").iter().count();
        assert_eq!((said, answer.header("content-security-policy")), (1, &*policy(page, parents)));
        assert!(!answer.header("content-security-policy").contains("unsafe"), "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        for name in ["set-cookie", "access-control-allow-origin", "x-powered-by", "etag"] {
            assert_eq!(answer.header(name), "", "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn a_page_is_whole_and_breaks_no_rule_of_its_own_policy() {
    let server = Server::start();
    for (path, _) in PAGES {
        let answer = server.nobody().get(path).await;
        let page = answer.ok_text(200);
        assert!(
            page.starts_with("<!doctype html>") && page.contains("<html lang=\"en\""),
            "{path}"
        );
        for mark in ["/*STYLE*/", "/*SCRIPT*/", "PARENTS_HERE"] {
            assert!(!page.contains(mark), "{path}: {mark} was left");
        }
        assert!(!style(page).trim().is_empty() && !script(page).trim().is_empty(), "{path}");
        assert!(!style(page).contains("url(") && !style(page).contains("@import"), "{path}");
        let markup = page.replace(style(page), "").replace(script(page), "").to_lowercase();
        for what in [" style=", " src=", " srcset=", "<link", "<iframe", "<base", "javascript:"] {
            assert!(!markup.contains(what), "{path}: {what}");
        }
        let attributes = markup.split_whitespace().filter_map(|word| word.split_once('='));
        for (name, _) in attributes {
            assert!(!name.starts_with("on") || name.contains(['<', '>']), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn the_panel_is_framed_by_flex_and_whoever_is_named_and_the_console_by_nobody() {
    let more = "https://desk.example.com http://localhost:3000";
    let server = Server::with(&["--frame-ancestors", more]);
    let parents = format!("{FLEX} {more}");
    for (path, parents) in [("/panel", parents.as_str()), ("/console", "'none'")] {
        let answer = server.nobody().get(path).await;
        let page = answer.ok_text(200);
        assert_eq!(answer.header("content-security-policy"), policy(page, parents), "{path}");
    }
    for (server, parents) in [(&server, parents.as_str()), (&Server::start(), FLEX)] {
        let answer = server.nobody().get("/panel").await;
        let meta = format!("<meta name=\"baton-parents\" content=\"{parents}\">");
        assert!(answer.ok_text(200).contains(&meta), "{parents}");
    }
}

#[tokio::test]
async fn a_page_is_the_same_for_every_id_and_everybody_and_repeats_nothing_that_it_is_asked() {
    let server = Server::start();
    server.admin().write(SID, r#"{"reason":"CANARY"}"#).await.ok(201);
    for (path, _) in PAGES {
        let plain = server.nobody().get(path).await;
        for query in [
            format!("id={SID}"),
            "id=undefined".to_owned(),
            "id=none&shared_id=x&account_id=stranger".to_owned(),
            "id=%3Cscript%3ECANARY%3C%2Fscript%3E&CANARY=%22%3ECANARY".to_owned(),
            "%00%ff=%".to_owned(),
        ] {
            let asked = format!("{path}?{query}");
            for client in [
                server.nobody(),
                server.admin(),
                bearer(&server, "wrong"),
                server.presenting("cookie", "__Host-baton_console=CANARY"),
            ] {
                let page = client.get(&asked).await;
                assert_eq!((page.status, page.text()), (200, plain.text()), "{asked}");
                assert_eq!(headers(&page), headers(&plain), "{asked}");
            }
        }
        let from = [("referer", "https://CANARY.example/?a")];
        let page = server.nobody().get_with(path, &from).await;
        assert_eq!(page.text(), plain.text());
        assert!(!plain.text().contains("CANARY"), "{path}");
    }
}

#[tokio::test]
async fn nothing_is_looked_up_for_a_page() {
    let (server, fate) = failures::server_with(&[]);
    fate.set(Some(Befalls::Hangs));
    for (path, _) in PAGES {
        let started = Instant::now();
        let page = server.nobody().get(&format!("{path}?id={SID}")).await;
        page.ok_text(200);
        assert!(started.elapsed() < Duration::from_secs(1), "{path}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_page_is_read_and_nothing_else() {
    let server = Server::start();
    for (path, _) in PAGES {
        let page = server.nobody().get(path).await;
        let head = server.nobody().send(Method::HEAD, path, &[], None).await;
        assert_eq!((head.status, head.text()), (200, ""), "{path}");
        assert_eq!(headers(&head), headers(&page), "{path}");
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = server.nobody().send(method, path, &[("origin", FLEX)], None).await;
            answer.refused(405, "METHOD_NOT_ALLOWED");
            assert_eq!(answer.header("allow"), "GET, HEAD", "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
        }
        for other in [format!("{path}/"), path.to_uppercase(), format!("/{path}")] {
            server.nobody().get(&other).await.refused(404, "PATH_NOT_FOUND");
        }
    }
}
