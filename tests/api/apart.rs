//! What is one project's, or one handoff's, stays so in stories, tasks and figures.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::connectors::bearer;
use crate::flex_door::Desk;
use crate::harness::SID;
use crate::harness::Server;
use crate::harness::until;
use crate::pretend_flex_wire::Mood;
use crate::taskrouter::CALL;
use crate::taskrouter::TASK;
use crate::taskrouter::Told;
use crate::taskrouter::WORKSPACE;
use crate::taskrouter::Way;
use crate::taskrouter::noted;
use crate::taskrouter::of_call;
use crate::timeline::TIMELINE;
use crate::timeline::key;
use crate::timeline::kinds;
use crate::timeline::of;
use crate::timeline::story;
use crate::twilio::ACCOUNT;

const FLUSHED: Duration = Duration::from_millis(1200);

#[tokio::test]
async fn of_an_id_that_two_projects_had_in_turn_each_is_told_its_own() {
    let server = Server::start();
    let admin = server.admin();
    let scopes = ["handoff:read", "handoff:write"];
    let (of_q, _) = key(&server, &json!({ "projects": ["q"], "scopes": scopes })).await;
    let (of_p, _) = key(&server, &json!({ "projects": ["p"], "scopes": scopes })).await;
    let at = |project: &str| format!("/v1/handoff_state?id={SID}&project_id={project}");
    of_p.put(&at("p"), r#"{"data":{}}"#).await.ok(201);
    admin.delete(&at("p")).await.ok_text(204);
    let path = format!("{TIMELINE}?id={SID}");
    assert_eq!(of_q.get(&path).await.status, 404);
    assert_eq!(kinds(&of_p.get(&path).await.ok(200)), ["written", "erased"]);
    of_q.put(&at("q"), r#"{"data":{}}"#).await.ok(201);
    assert_eq!(kinds(&of_q.get(&path).await.ok(200)), ["written"]);
    of_p.get(&path).await.refused(404, "HANDOFF_IN_OTHER_PROJECT");
}

#[tokio::test]
async fn a_handoff_of_its_own_under_anothers_alias_is_in_no_other_story() {
    let server = Server::start();
    let admin = server.admin();
    admin.write("a", "{}").await.ok(201);
    let alias = json!({ "aliases": ["b"] });
    admin.post("/v1/handoff_state/aliases?id=a", &alias).await.ok(200);
    admin.write("b", r#"{"n":1}"#).await.ok(201);
    for id in ["a", "b"] {
        let told = story(&admin, &format!("id={id}")).await;
        assert_eq!((told["id"].as_str(), of(&told, "written").len()), (Some(id), 1), "{told}");
    }
}

#[tokio::test]
async fn an_alias_leads_to_the_story_of_a_handoff_that_is_no_more() {
    let server = Server::start();
    let admin = server.admin();
    admin.put("/v1/handoff_state?id=a", r#"{"data":{},"ttl_seconds":60}"#).await.ok(201);
    let alias = json!({ "aliases": ["b"] });
    admin.post("/v1/handoff_state/aliases?id=a", &alias).await.ok(200);
    server.clock.advance(Duration::from_secs(61));
    assert_eq!(kinds(&story(&admin, "id=b").await), ["written", "expired"]);
}

#[tokio::test]
async fn a_task_never_gets_another_projects_handoff() {
    let desk = Desk::open().await;
    desk.flex.task(ACCOUNT, WORKSPACE, TASK, &of_call(CALL));
    noted(&desk, Way::Form, &Told::of("task.created", TASK, of_call(CALL))).await;
    let before = desk.flex.requests().len();
    let other = bearer(&desk.server, &desk.connector("other", "live").await);
    other.write(CALL, r#"{"summary":"none of yours"}"#).await.ok(201);
    tokio::time::sleep(FLUSHED).await;
    assert_eq!(desk.flex.requests().len(), before);
    assert_eq!(desk.flex.shown(TASK).attributes, of_call(CALL));
    // Nor is what becomes of the task told in that handoff's story.
    noted(&desk, Way::Form, &Told::accepted(CALL)).await;
    let told = story(&desk.server.admin(), &format!("id={CALL}&account_id=acme")).await;
    assert_eq!(of(&told, "taskrouter").len(), 1, "that it was made, before there was a handoff");
}

#[tokio::test]
async fn a_task_gets_the_handoff_as_it_is_when_it_is_written_and_not_as_it_was() {
    let desk = Desk::open().await;
    desk.flex.task(ACCOUNT, WORKSPACE, TASK, &of_call(CALL));
    noted(&desk, Way::Form, &Told::of("task.created", TASK, of_call(CALL))).await;
    desk.flex.taskrouter(Mood::Slow(Duration::from_millis(500)));
    desk.agent().write(CALL, r#"{"summary":"first"}"#).await.ok(201);
    let path = format!("/v1/handoff_state?id={CALL}&account_id=acme");
    desk.server.admin().delete(&path).await.ok_text(204);
    tokio::time::sleep(FLUSHED + FLUSHED).await;
    assert_eq!(desk.flex.shown(TASK).attributes, of_call(CALL), "it was erased meanwhile");
}

#[tokio::test]
async fn who_takes_a_call_that_never_came_through_baton_is_not_connected_blind() {
    let desk = Desk::open().await;
    for kind in ["reservation.accepted", "task.completed"] {
        let attributes = json!({ "call_sid": CALL }).to_string();
        noted(&desk, Way::Form, &Told::of(kind, TASK, attributes)).await;
    }
    desk.server.clock.advance(Duration::from_secs(3600));
    tokio::time::sleep(FLUSHED + FLUSHED).await;
    let metrics = desk.server.nobody().get("/metrics").await;
    assert!(!metrics.text().contains("baton_context_accepted_total{"), "{}", metrics.text());
}

#[tokio::test]
async fn tokens_that_strangers_make_up_keep_nobody_out() {
    let desk = Desk::open().await;
    let token = desk.worker("ada");
    desk.read(&token).await.ok(200);
    let path = format!("/v1/handoff_state?id={SID}");
    let nobody = desk.server.nobody();
    for n in 0..12_000 {
        let made_up = format!("Bearer a.b.c.d.{n}");
        let headers = [("authorization", made_up.as_str()), ("x-twilio-account-sid", ACCOUNT)];
        let (status, _) = nobody.bare_with(Method::GET, &path, &headers, None).await;
        // Twilio is asked no more than so often.
        assert!([401, 503].contains(&status), "{n}: {status}");
    }
    let questions = desk.flex.questions();
    desk.read(&token).await.ok(200);
    assert_eq!(desk.flex.questions(), questions, "who is known is asked about no more than before");
}

#[tokio::test]
async fn strangers_of_whom_twilio_is_asked_hold_up_nobody_else() {
    let desk = Desk::with(&["--max-in-flight", "8"]).await;
    let token = desk.worker("ada");
    desk.read(&token).await.ok(200);
    desk.flex.iam(Mood::Silent);
    let path = format!("/v1/handoff_state?id={SID}");
    let made_up = (0..32).map(|n| {
        let (nobody, path) = (desk.server.nobody(), path.clone());
        tokio::spawn(async move {
            let token = format!("Bearer a.b.c.d.{n}");
            let headers = [("authorization", token.as_str()), ("x-twilio-account-sid", ACCOUNT)];
            nobody.bare_with(Method::GET, &path, &headers, None).await.0
        })
    });
    let made_up: Vec<_> = made_up.collect();
    let nobody = desk.server.nobody();
    let asked =
        async || nobody.get("/metrics").await.text().contains("baton_flex_users_unproven 32");
    until(asked).await;
    desk.agent().read(SID).await.ok(200);
    desk.read(&token).await.ok(200);
    for stranger in made_up {
        assert_eq!(stranger.await.unwrap(), 503);
    }
}
