//! Finding a call by whatever is known of it, and going through all of them: none is missed or shown twice,
//! and what has not changed is not sent again.

use std::collections::BTreeSet;
use std::time::Duration;

use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;
use reqwest::Method;
use serde_json::json;

use crate::console_calls::CALLS;
use crate::console_calls::Operator;
use crate::console_session::OWN;
use crate::console_session::asks;
use crate::console_session::browser;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;
use crate::routing::CALL;
use crate::routing::Line;
use crate::timeline::SECOND;

const MILLI: Duration = Duration::from_millis(1);

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Writes a handoff for the `n`th time.
async fn write(client: &Client, id: &str, n: usize) {
    let path = format!("/v1/handoff_state?id={id}");
    let body = format!(r#"{{"data":{{"n":{n}}}}}"#);
    let (status, told) = client.bare(Method::PUT, &path, Some(body)).await;
    assert!(status < 202, "{told}");
}

/// A page, and where the next one begins.
async fn page(operator: &Operator, query: &str) -> (Vec<String>, Option<String>) {
    let told = operator.asks(CALLS, query).await;
    let rows = told["calls"].as_array().unwrap().iter();
    let ids = rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    (ids, told["next"].as_str().map(str::to_owned))
}

/// Every page, in their order, `between` two of which something may happen.
async fn pages(operator: &Operator, limit: usize, between: impl AsyncFn(usize)) -> Vec<String> {
    let (mut all, mut next, mut count) = (Vec::new(), Some(String::new()), 0);
    while let Some(after) = next {
        let after = if after.is_empty() { after } else { format!("&after={after}") };
        let (ids, cursor) = page(operator, &format!("limit={limit}{after}")).await;
        assert!(ids.len() <= limit, "{} calls on a page of {limit}", ids.len());
        all.extend(ids);
        next = cursor;
        count += 1;
        assert!(count < 1000, "it goes on and on");
        between(count).await;
    }
    all
}

#[tokio::test]
async fn a_call_is_found_by_any_of_its_ids_and_by_nothing_else() {
    let server = Server::start();
    let (admin, operator) = (server.admin(), Operator::of(&server, "default").await);
    let put = "/v1/handoff_state?id=conv-1&shared_id=five9-1";
    admin.put(put, r#"{"data":{"reason":"conv-2"}}"#).await.ok(201);
    let given = json!({ "aliases": [SID, "alias-1"] });
    admin.post("/v1/handoff_state/aliases?id=conv-1", &given).await.ok(200);
    admin.write("other", "{}").await.ok(201);
    for text in ["conv-1", "five9-1", SID, "alias-1", " conv-1 "] {
        assert_eq!(operator.ids(&format!("q={}", encoded(text))).await, ["conv-1"], "{text}");
    }
    let none = ["conv", "conv-2", "CONV-1", "CA", "billing", "1234567", "<b>", "{{x}}", "no one"];
    for text in none {
        assert!(operator.ids(&format!("q={}", encoded(text))).await.is_empty(), "{text}");
    }
    for all in ["q=", "q=%20"] {
        assert_eq!(operator.ids(all).await.len(), 2);
    }
    assert_eq!(operator.ids("q=conv-1&status=failed").await, [""; 0]);
    let short = r#"{"data":{},"ttl_seconds":60}"#;
    admin.put("/v1/handoff_state?id=short", short).await.ok(201);
    admin.delete("/v1/handoff_state?id=other").await.ok_text(204);
    server.clock.advance(SECOND * 60);
    for (id, status) in [("short", "expired"), ("other", "erased")] {
        let rows = operator.rows(&format!("q={id}")).await;
        assert_eq!((rows.len(), &rows[0]["status"]), (1, &json!(status)), "{id}");
    }
    let abroad = Operator::of(&server, "stranger").await;
    assert!(abroad.ids("q=conv-1").await.is_empty());
}

#[tokio::test]
async fn a_call_is_found_by_the_callers_number_which_stands_nowhere() {
    let mut line = Line::open().await;
    let operator = Operator::of(&line.centre.server, "acme").await;
    line.visit("").await;
    line.centre.server.clock.advance(SECOND);
    let data = r#"{"phone":"+44 1632 960-123"}"#;
    line.centre.agent().write("conv-1", data).await.ok(201);
    for (spelled, id) in [
        ("+15551234567", CALL),
        ("15551234567", CALL),
        ("+1 555 123-4567", CALL),
        ("+44 1632 960123", "conv-1"),
        ("441632-960123", "conv-1"),
    ] {
        let found = operator.ids(&format!("q={}", encoded(spelled))).await;
        assert_eq!(found, [id], "{spelled}");
    }
    for other in ["+15551234568", "5551234", "123456", "+1", "15551234567x", "960123"] {
        assert!(operator.ids(&format!("q={}", encoded(other))).await.is_empty(), "{other}");
    }
    let abroad = Operator::of(&line.centre.server, "default").await;
    assert!(abroad.ids("q=%2B15551234567").await.is_empty());
    let mut places = String::new();
    for (path, query) in [
        (CALLS, String::new()),
        (CALLS, "q=15551234567".to_owned()),
        ("/console/call", format!("id={CALL}")),
        ("/console/call", "id=conv-1".to_owned()),
    ] {
        places.push_str(&operator.asks(path, &query).await.to_string());
    }
    let server = &mut line.centre.server;
    places.push_str(server.nobody().get("/metrics").await.text());
    server.ask_to_stop(true);
    server.join();
    places.push_str(&server.log.text());
    for entry in std::fs::read_dir(server.data_dir()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        places.push_str(&String::from_utf8_lossy(&bytes));
    }
    for number in ["5551234567", "555 123-4567", "1632960123", "1632 960", "960-123"] {
        assert!(!places.contains(number), "{number}");
    }
}

#[tokio::test]
async fn every_call_is_listed_once_however_small_the_pages_are() {
    let server = Server::with(&["--rate-requests", "0"]);
    let (admin, operator) = (server.admin(), Operator::of(&server, "default").await);
    let mut wanted = Vec::new();
    for n in 0..230 {
        server.clock.advance(MILLI);
        write(&admin, &format!("CA{n}"), n).await;
        wanted.insert(0, format!("CA{n}"));
    }
    for limit in [7, 100, 229, 230, 1000] {
        assert_eq!(pages(&operator, limit, async |_| {}).await, wanted, "{limit}");
    }
    assert_eq!(operator.ids("").await.len(), 100);
}

#[tokio::test]
async fn what_nobody_wrote_takes_no_place_from_what_was_written() {
    let server = Server::start();
    let (admin, operator) = (server.admin(), Operator::of(&server, "default").await);
    let mut wanted = BTreeSet::new();
    for n in 0..40 {
        server.clock.advance(MILLI);
        if n % 2 == 0 {
            write(&admin, &format!("CA{n}"), n).await;
        } else {
            admin.read(&format!("CA{n}")).await.refused(404, "HANDOFF_NOT_FOUND");
        }
        wanted.insert(format!("CA{n}"));
    }
    for limit in [3, 20, 100] {
        let shown = pages(&operator, limit, async |_| {}).await;
        assert_eq!(shown.len(), 40, "{limit}: {shown:?}");
        assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), wanted, "{limit}");
    }
}

#[tokio::test]
async fn paging_shows_each_once_and_loses_none_while_writes_go_on() {
    let server = Server::with(&["--rate-requests", "0"]);
    let (admin, operator) = (server.admin(), Operator::of(&server, "default").await);
    for n in 0..200 {
        server.clock.advance(MILLI);
        write(&admin, &format!("CA{n}"), n).await;
    }
    // One of those still to come is written anew, one that was shown too, and one is new.
    let touched = |page: usize| [format!("CA{page}"), format!("CA{}", 200 - page)];
    let shown = pages(&operator, 20, async |page| {
        server.clock.advance(MILLI);
        for id in touched(page) {
            write(&admin, &id, 1000 + page).await;
        }
        write(&admin, &format!("new-{page}"), page).await;
    })
    .await;
    let each: BTreeSet<_> = shown.iter().cloned().collect();
    assert_eq!(each.len(), shown.len(), "{shown:?}");
    let moved: BTreeSet<_> = (1..=20).flat_map(touched).collect();
    let lost: Vec<_> = (0..200)
        .map(|n| format!("CA{n}"))
        .filter(|id| !each.contains(id) && !moved.contains(id))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    // And they stand in front for whoever looks again.
    let again = pages(&operator, 1000, async |_| {}).await;
    let each: BTreeSet<_> = again.iter().cloned().collect();
    assert!(each.len() == again.len() && (0..200).all(|n| each.contains(&format!("CA{n}"))));
}

#[tokio::test]
async fn a_cursor_is_of_one_account_and_cannot_be_made_up() {
    let server = Server::start();
    let admin = server.admin();
    for n in 0..3 {
        server.clock.advance(MILLI);
        write(&admin, &format!("CA{n}"), n).await;
    }
    let operator = Operator::of(&server, "default").await;
    let (_, next) = page(&operator, "limit=1").await;
    let next = next.unwrap();
    let browser = browser(&server, &admin).await;
    let at = next.len() / 2;
    let letter = if next.as_bytes()[at] == b'A' { "B" } else { "A" };
    let bent = format!("{}{letter}{}", &next[..at], &next[at + 1..]);
    for query in [
        format!("after={next}&account_id=acme"),
        format!("after={bent}"),
        format!("after={}", &next[..next.len() - 1]),
    ] {
        let told = asks(&browser, &format!("{CALLS}?{query}")).await;
        told.refused(400, "INVALID_PARAMETER");
    }
    asks(&browser, &format!("{CALLS}?after={next}")).await.ok(200);
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let server = Server::start();
    let admin = server.admin();
    admin.write(SID, "{}").await.ok(201);
    let browser = browser(&server, &admin).await;
    let first = asks(&browser, CALLS).await;
    first.ok(200);
    let mut tag = first.header("etag").to_owned();
    let mut changes = 0;
    for change in ["", "", "read", "", "miss", "", "write", "", "erase", ""] {
        server.clock.advance(SECOND);
        match change {
            "read" => drop(admin.read(SID).await),
            "miss" => drop(admin.read("never").await),
            "write" => drop(admin.write("new", "{}").await),
            "erase" => drop(admin.delete(&format!("/v1/handoff_state?id={SID}")).await),
            _ => {}
        }
        let known = [OWN, ("if-none-match", &*tag)];
        let told = browser.get_with(CALLS, &known).await;
        if change.is_empty() {
            assert_eq!((told.status, told.text(), told.header("etag")), (304, "", &*tag));
        } else {
            told.ok(200);
            tag = told.header("etag").to_owned();
            changes += 1;
        }
    }
    assert_eq!(changes, 4);
    let of_page = asks(&browser, &format!("{CALLS}?status=failed")).await;
    assert_ne!(of_page.header("etag"), tag);
    let head = browser.send(Method::HEAD, CALLS, &[OWN], None).await;
    assert_eq!((head.ok_text(200), head.header("etag")), ("", &*tag));
}

#[tokio::test]
async fn whoever_searches_in_vain_again_and_again_is_held_back() {
    let server = Server::with(&["--rate-misses", "1", "--rate-misses-burst", "3"]);
    let key = server.key(json!({ "scopes": ["ops:read"] })).await;
    let operator = browser(&server, &key).await;
    let search =
        async |number: u32| asks(&operator, &format!("{CALLS}?q=4416329601{number:02}")).await;
    let mut held_back = false;
    for number in 0..8 {
        held_back |= search(number).await.status == 429;
    }
    assert!(held_back);
    search(9).await.refused(429, "TOO_MANY_MISSES");
    asks(&operator, CALLS).await.ok(200);
}

#[tokio::test]
async fn what_strangers_were_refused_is_for_whoever_looks_after_all_accounts() {
    let server = Server::start();
    server.nobody().read("CA-strange").await.refused(401, "MISSING_CREDENTIALS");
    assert_eq!(Operator::of(&server, "default").await.ids("").await, ["CA-strange"]);
    let key = server.key(json!({ "scopes": ["ops:read"] })).await;
    let operator = browser(&server, &key).await;
    assert_eq!(asks(&operator, CALLS).await.ok(200)["calls"], json!([]));
}
