//! The calls that operators see: what became of each, which went wrong and why, and which are asked for.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::console_session::OWN;
use crate::console_session::asks;
use crate::console_session::browser;
use crate::flex_door::Desk;
use crate::flex_door::OF;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;
use crate::links::Centre;
use crate::receipts::RECEIPTS;
use crate::routing::CALL;
use crate::routing::Line;
use crate::taskrouter::START;
use crate::taskrouter::TASK;
use crate::taskrouter::Told;
use crate::taskrouter::Way;
use crate::taskrouter::noted;
use crate::taskrouter::of_call;
use crate::timeline::SECOND;
use crate::twilio::ACCOUNT;

pub const CALLS: &str = "/console/calls";
const HOUR: Duration = Duration::from_secs(3600);
const MILLI: Duration = Duration::from_millis(1);

/// An operator who has signed in as the admin, and looks at an account.
pub struct Operator {
    browser: Client,
    account: &'static str,
}

impl Operator {
    pub async fn of(server: &Server, account: &'static str) -> Self {
        Self { browser: browser(server, &server.admin()).await, account }
    }

    /// What the page is told.
    pub async fn asks(&self, path: &str, query: &str) -> Value {
        let path = format!("{path}?account_id={}&{query}", self.account);
        asks(&self.browser, &path).await.ok(200)
    }

    pub async fn rows(&self, query: &str) -> Vec<Value> {
        self.asks(CALLS, query).await["calls"].as_array().unwrap().clone()
    }

    pub async fn ids(&self, query: &str) -> Vec<String> {
        let rows = self.rows(query).await;
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The one row of an id.
    pub async fn row(&self, id: &str) -> Value {
        let mut rows = self.rows("").await;
        rows.retain(|row| row["id"] == id);
        assert_eq!(rows.len(), 1, "{id}: {rows:?}");
        rows.remove(0)
    }
}

/// The steps of a row, in their order: which, how often, and by what first.
fn steps(row: &Value) -> Vec<(&str, u64, &str)> {
    let mut told = Vec::new();
    let steps = row["steps"].as_array().unwrap();
    assert!(steps.is_sorted_by_key(|step| step["at"].as_str()), "{row}");
    for step in steps {
        let (which, by) = (step["step"].as_str().unwrap(), step["by"].as_str().unwrap());
        told.push((which, step["count"].as_u64().unwrap(), by));
    }
    told
}

fn flags(row: &Value) -> Vec<&str> {
    row["flags"].as_array().unwrap().iter().map(|flag| flag.as_str().unwrap()).collect()
}

fn cause(row: &Value) -> &str {
    row["cause"].as_str().unwrap()
}

#[tokio::test]
async fn what_was_written_and_not_asked_for_is_listed_and_nothing_is_wrong_with_it() {
    let server = Server::start();
    let operator = Operator::of(&server, "default").await;
    assert!(operator.rows("").await.is_empty());
    let at = server.clock.now().to_string();
    let body = r#"{"data":{"reason":"billing"},"shared_id":"five9-1","status":"failed"}"#;
    server.admin().put(&format!("/v1/handoff_state?id={SID}"), body).await.ok(201);
    let wanted = json!({
        "id": SID, "shared_id": "five9-1", "project_id": "default", "connector_id": null,
        "client_env": null, "status": "failed", "first_at": at, "last_at": at,
        "steps": [{ "step": "written", "at": at, "count": 1, "by": "key" }],
        "outcome": null, "lead_seconds": null, "flags": [], "cause": "",
    });
    assert_eq!(operator.rows("").await, [wanted]);
}

#[tokio::test]
async fn a_call_is_one_row_from_its_first_webhook_to_its_end() {
    let line = Line::open().await;
    let (id, server) = (&line.centre.id, &line.centre.server);
    let operator = Operator::of(server, "acme").await;
    let began = server.clock.now().to_string();
    let visit = line.visit("").await;
    let row = operator.row(CALL).await;
    let known =
        ["project_id", "connector_id", "client_env", "status"].map(|name| row[name].clone());
    assert_eq!(known, [json!("line"), json!(id), json!("live"), json!("missing")]);
    assert_eq!(steps(&row), [("voice", 1, "")]);
    server.clock.advance(SECOND);
    line.agent_writes(&visit, "{}").await.ok(201);
    server.clock.advance(SECOND);
    for _ in 0..2 {
        line.centre.agent().read(CALL).await.ok(200);
    }
    let last = server.clock.now().to_string();
    let row = operator.row(CALL).await;
    let mut wanted = vec![
        ("voice", 1, ""),
        ("written", 1, "call_token"),
        ("asked", 2, "connector_token"),
        ("read", 2, "connector_token"),
    ];
    assert_eq!(steps(&row), wanted);
    assert_eq!((&row["first_at"], &row["last_at"]), (&json!(began), &json!(last)));
    assert_eq!((&row["status"], flags(&row), cause(&row)), (&json!("ready"), vec![], ""));
    server.clock.advance(SECOND);
    line.asks("status", "", "&CallStatus=completed").await.ok_text(204);
    wanted.push(("ended", 1, ""));
    assert_eq!(steps(&operator.row(CALL).await), wanted);
    // And when it is gone, it is told that it is.
    let path = format!("/v1/acme/line/handoff_state?id={CALL}");
    server.admin().delete(&path).await.ok_text(204);
    assert_eq!(operator.row(CALL).await["status"], "erased");
}

#[tokio::test]
async fn what_was_asked_for_too_early_says_so_and_what_to_do() {
    let server = Server::start();
    let (admin, operator) = (server.admin(), Operator::of(&server, "default").await);
    for (id, more, words) in [("early", "", "add wait=3"), ("waited", "&wait=1", "wait longer")] {
        let path = format!("/v1/handoff_state?id={id}{more}");
        admin.get(&path).await.refused(404, "HANDOFF_NOT_FOUND");
        server.clock.advance(MILLI * 400);
        admin.write(id, "{}").await.ok(201);
        let row = operator.row(id).await;
        assert_eq!(steps(&row), [("asked", 1, "key"), ("missed", 1, "key"), ("written", 1, "key")]);
        assert_eq!(flags(&row), ["near_miss"]);
        assert!(cause(&row).contains("0.4 s") && cause(&row).contains(words), "{}", cause(&row));
        server.clock.advance(SECOND);
    }
    admin.read("far").await.refused(404, "HANDOFF_NOT_FOUND");
    server.clock.advance(SECOND * 300);
    admin.write("far", "{}").await.ok(201);
    let row = operator.row("far").await;
    assert!(flags(&row).is_empty() && !cause(&row).is_empty(), "{row}");
    assert_eq!(operator.ids("only=near_miss").await, ["waited", "early"]);
}

#[tokio::test]
async fn what_was_never_written_is_listed_and_its_near_double_named() {
    let server = Server::start();
    let (admin, operator) = (server.admin(), Operator::of(&server, "default").await);
    admin.read("never").await.refused(404, "HANDOFF_NOT_FOUND");
    let row = operator.row("never").await;
    assert_eq!(steps(&row), [("asked", 1, "key"), ("missed", 1, "key")]);
    assert_eq!((&row["status"], &row["project_id"]), (&json!("missing"), &Value::Null));
    assert!(flags(&row).is_empty() && cause(&row).ends_with('.'), "{row}");
    server.clock.advance(SECOND);
    admin.write(SID, "{}").await.ok(201);
    let slip = SID.replacen('0', "1", 1);
    admin.read(&slip).await.refused(404, "HANDOFF_NOT_FOUND");
    let row = operator.row(&slip).await;
    assert!(flags(&row) == ["near_miss"] && cause(&row).contains(SID), "{row}");
    assert_eq!(operator.ids("status=missing").await, [&*slip, "never"]);
    // Whose project it would be is not known, so it is shown to no key of some projects alone.
    let narrow = server.key(json!({ "scopes": ["ops:read"], "projects": ["default"] })).await;
    let shown = asks(&browser(&server, &narrow).await, CALLS).await.ok(200);
    assert_eq!(shown["calls"].as_array().unwrap().len(), 1, "{shown}");
}

#[tokio::test]
async fn whoever_took_a_call_and_saw_nothing_was_connected_blind() {
    let desk = Desk::open().await;
    let operator = Operator::of(&desk.server, "acme").await;
    desk.agent().write(CALL, "{}").await.ok(201);
    let ada = bearer(&desk.server, &desk.worker("ada"));
    let body = Some(br#"{"receipt":"rendered"}"#.to_vec());
    let path = format!("{RECEIPTS}?id={CALL}");
    ada.send(Method::POST, &path, &[(OF, ACCOUNT)], body).await.ok(200);
    desk.server.clock.advance(SECOND * 10);
    let other = TASK.replace('0', "f");
    for (call, task, at) in [(SID, TASK, START), (CALL, &other, START + 2000)] {
        for (kind, after) in
            [("task.created", 0), ("reservation.accepted", 10), ("task.completed", 5000)]
        {
            noted(&desk, Way::Form, &Told::of(kind, task, of_call(call)).at(at + after)).await;
        }
    }
    let (blind, seen) = (operator.row(SID).await, operator.row(CALL).await);
    assert_eq!((&blind["outcome"], &blind["lead_seconds"]), (&json!("never"), &Value::Null));
    assert!(flags(&blind) == ["connected_blind"] && cause(&blind).ends_with('.'), "{blind}");
    let lead = seen["lead_seconds"].as_f64().unwrap();
    assert!(seen["outcome"] == "before" && (-3.1..-2.9).contains(&lead), "{seen}");
    assert!(flags(&seen).is_empty() && cause(&seen).is_empty(), "{seen}");
    let names: Vec<_> = steps(&seen).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["written", "rendered", "accepted", "ended"]);
    assert_eq!(operator.ids("only=connected_blind").await, [SID]);
    assert_eq!(operator.ids(&format!("q={other}")).await, [CALL]);
}

#[tokio::test]
async fn a_signature_that_was_refused_is_told_with_the_call_that_it_was_about() {
    let centre = Centre::open().await;
    let operator = Operator::of(&centre.server, "acme").await;
    centre.read("wrong").await.refused(401, "INVALID_SIGNATURE");
    let row = operator.row(SID).await;
    assert_eq!(flags(&row), ["refused_signature"]);
    assert!(cause(&row).contains("signature"), "{row}");
    assert!(steps(&row).contains(&("refused", 1, "")), "{row}");
    assert_eq!(operator.ids("only=refused_signature").await, [SID]);
}

#[tokio::test]
async fn calls_are_listed_by_connector_status_and_time() {
    let server = Server::start();
    let (admin, operator) = (server.admin(), Operator::of(&server, "acme").await);
    let (one, token) = made(&admin, &reference("Front desk", "live")).await;
    let (two, other) = made(&admin, &reference("Back office", "sandbox")).await;
    let started = server.clock.now();
    for (client, id, status) in [
        (bearer(&server, &token), "a", "ready"),
        (bearer(&server, &other), "b", "failed"),
        (bearer(&server, &token), "c", "contained"),
    ] {
        let body = format!(r#"{{"data":{{}},"status":"{status}"}}"#);
        client.put(&format!("/v1/handoff_state?id={id}"), body).await.ok(201);
        server.clock.advance(HOUR);
    }
    let at = |hours: u32| started.plus(HOUR * hours).to_string();
    for (query, ids) in [
        (String::new(), &["c", "b", "a"][..]),
        (format!("connector={one}"), &["c", "a"]),
        (format!("connector={two}"), &["b"]),
        ("status=failed".to_owned(), &["b"]),
        ("status=expired".to_owned(), &[]),
        (format!("from={}", at(1)), &["c", "b"]),
        (format!("to={}", at(1)), &["b", "a"]),
        (format!("from={0}&to={0}", at(1)), &["b"]),
        (format!("from={}", at(3)), &[]),
        (format!("connector={one}&status=ready&to={}", at(2)), &["a"]),
        ("only=near_miss".to_owned(), &[]),
    ] {
        assert_eq!(operator.ids(&query).await, ids, "{query}");
    }
    let told = operator.asks(CALLS, "").await;
    let mut connectors = told["connectors"].as_array().unwrap().clone();
    connectors.sort_by_key(|connector| connector["name"].to_string());
    let wanted = [
        json!({ "id": two, "name": "Back office", "client_env": "sandbox" }),
        json!({ "id": one, "name": "Front desk", "client_env": "live" }),
    ];
    assert_eq!((connectors, &told["now"]), (wanted.to_vec(), &json!(at(3))));
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused_by_its_name() {
    let server = Server::start();
    let browser = browser(&server, &server.admin()).await;
    for query in [
        "status=gone",
        "status=Ready",
        "only=blind",
        "from=yesterday",
        "to=2026-11-22",
        "connector=x",
        "after=x",
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=-1",
        "limit=1&limit=2",
        "account_id=v1",
    ] {
        let told = asks(&browser, &format!("{CALLS}?{query}")).await;
        let told = told.refused(400, "INVALID_PARAMETER");
        assert!(told.contains(query.split('=').next().unwrap()), "{query}: {told}");
    }
    for path in [CALLS, "/console/hour", "/console/call?id=x&", "/console/handoff?id=x&"] {
        let path = if path.ends_with('&') { path.to_owned() } else { format!("{path}?") };
        let told = asks(&browser, &format!("{path}wait=1")).await;
        told.refused(400, "UNKNOWN_PARAMETER");
    }
    browser.get_with(CALLS, &[OWN]).await.ok(200);
}

#[tokio::test]
async fn a_call_that_was_heard_of_after_its_handoff_is_listed_once_on_pages_of_one() {
    let line = Line::open().await;
    let operator = Operator::of(&line.centre.server, "acme").await;
    let mut wanted = Vec::new();
    for n in 0..4 {
        let call = format!("CA{n:032x}");
        let of_call = format!("&CallSid={call}");
        line.asks("voice", "", &of_call).await.ok_text(200);
        line.centre.server.clock.advance(SECOND);
        line.centre.agent().write(&call, "{}").await.ok(201);
        line.centre.server.clock.advance(SECOND);
        line.asks("status", "", &format!("{of_call}&CallStatus=completed")).await.ok_text(204);
        line.centre.server.clock.advance(SECOND);
        wanted.insert(0, call);
    }
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page = operator.asks(CALLS, &format!("limit=1{after}")).await;
        ids.extend(page["calls"].as_array().unwrap().iter().map(|row| row["id"].to_string()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    // What the centre was opened with.
    ids.retain(|id| !id.contains(SID));
    assert_eq!(ids, wanted.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_call_whose_handoff_has_another_id_is_one_row_with_all_that_happened() {
    let line = Line::open().await;
    let operator = Operator::of(&line.centre.server, "acme").await;
    line.visit("").await;
    line.centre.server.clock.advance(SECOND);
    let agent = line.centre.agent();
    agent.write("conv-1", "{}").await.ok(201);
    let aliases = json!({ "aliases": [CALL] });
    agent.post("/v1/handoff_state/aliases?id=conv-1", &aliases).await.ok(200);
    // And what the centre was opened with.
    assert_eq!(operator.ids("").await, ["conv-1", SID]);
    let row = operator.row("conv-1").await;
    assert_eq!(steps(&row), [("voice", 1, ""), ("written", 1, "connector_token")]);
    assert_eq!(operator.ids(&format!("q={CALL}")).await, ["conv-1"]);
}
