//! What IAM says of a Flex user's token, for how long it is believed, and what is done where it says
//! nothing; and what no token of a Flex user opens.

use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::flex_door::Desk;
use crate::flex_door::HOUR;
use crate::flex_door::OF;
use crate::flex_door::SPELLINGS;
use crate::flex_door::jwe;
use crate::harness::SID;
use crate::harness::until;
use crate::links::KEY_SID;
use crate::links::SECRET;
use crate::links::by_token;
use crate::pretend_flex::PretendFlex;
use crate::pretend_flex::bad;
use crate::pretend_flex::good;
use crate::pretend_flex_wire::Mood;
use crate::twilio::ACCOUNT;
use crate::twilio::OTHER;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test]
async fn no_write_and_no_other_route_is_opened() {
    let desk = Desk::open().await;
    let token = desk.worker("ada");
    let user = bearer(&desk.server, &token);
    let (admin, of) = (desk.server.admin(), [(OF, ACCOUNT)]);
    let path = format!("/v1/acme/line/handoff_state?id={SID}");
    let before = admin.get(&path).await;
    let body = || Some(br#"{"data":{"reason":"forged"}}"#.to_vec());
    for spelling in SPELLINGS {
        let path = format!("{spelling}?id={SID}");
        for method in [Method::PUT, Method::POST, Method::PATCH, Method::DELETE] {
            let answer = user.send(method.clone(), &path, &of, body()).await;
            assert!([401, 403].contains(&answer.status), "{method} {path}: {}", answer.text());
        }
    }
    let after = admin.get(&path).await;
    assert_eq!((after.header("etag"), &after.body), (before.header("etag"), &before.body));
    let id = &desk.id;
    for (method, path) in [
        (Method::POST, "/handoff".to_owned()),
        (Method::POST, format!("/v1/handoff_state/aliases?id={SID}")),
        (Method::GET, "/v1/handoffs".to_owned()),
        (Method::DELETE, "/v1/handoffs?project_id=line".to_owned()),
        (Method::GET, "/v1/keys".to_owned()),
        (Method::POST, "/v1/keys".to_owned()),
        (Method::DELETE, "/v1/keys?id=x".to_owned()),
        (Method::GET, PATH.to_owned()),
        (Method::POST, format!("{PATH}/link")),
        (Method::GET, format!("{PATH}/{id}/token")),
        (Method::GET, format!("{PATH}/{id}/verify")),
        (Method::GET, format!("/twilio/studio/handoff/{id}?id={SID}")),
        (Method::GET, "/metrics".to_owned()),
    ] {
        let body = (method == Method::POST).then(|| json!({ "id": SID }).to_string().into_bytes());
        user.send(method, &path, &of, body).await.refused(401, "INVALID_TOKEN");
    }
}

#[tokio::test]
async fn what_iam_refuses_is_refused_and_forgotten_after_five_seconds() {
    let desk = Desk::open().await;
    let token = jwe("ada");
    desk.flex.token(ACCOUNT, &token, bad());
    desk.read(&token).await.refused(401, "INVALID_TOKEN");
    desk.user("ada", &["agent"], HOUR);
    desk.server.clock.advance(seconds(4));
    desk.read(&token).await.refused(401, "INVALID_TOKEN");
    assert_eq!(desk.flex.questions().len(), 1);
    desk.server.clock.advance(seconds(2));
    desk.read(&token).await.ok(200);
    assert_eq!(desk.flex.questions().len(), 2);
    // A no of one token is none of another; and another account's token is not this one's.
    desk.read(&jwe("eve")).await.refused(401, "INVALID_TOKEN");
    let end = desk.server.clock.now().plus(seconds(HOUR)).to_string();
    desk.flex.token(OTHER, &jwe("otto"), good(&end, &["agent"]));
    desk.read(&jwe("otto")).await.refused(401, "INVALID_TOKEN");
    let mut answer = good(&end, &["agent"]);
    answer["account_sid"] = json!(OTHER);
    desk.flex.token(ACCOUNT, &jwe("strays"), answer.clone());
    desk.read(&jwe("strays")).await.refused(401, "INVALID_TOKEN");
    answer["account_sid"] = json!(ACCOUNT);
    answer["permissions"] = json!({ "any": ["thing", null] });
    desk.flex.token(ACCOUNT, &jwe("own"), answer);
    desk.read(&jwe("own")).await.ok(200);
}

#[tokio::test]
async fn a_yes_is_fresh_for_a_minute_and_a_no_after_it_bites() {
    let desk = Desk::open().await;
    let token = desk.worker("ada");
    desk.read(&token).await.ok(200);
    desk.flex.token(ACCOUNT, &token, bad());
    desk.server.clock.advance(seconds(59));
    desk.read(&token).await.ok(200);
    assert_eq!(desk.flex.questions().len(), 1);
    desk.server.clock.advance(seconds(2));
    desk.read(&token).await.refused(401, "INVALID_TOKEN");
    assert_eq!(desk.flex.questions().len(), 2);
    // What it said before does not come back with IAM down.
    desk.server.clock.advance(seconds(6));
    desk.flex.iam(Mood::Status(500));
    desk.read(&token).await.refused(503, "IDENTITY_UNAVAILABLE");
}

#[tokio::test]
async fn a_token_ends_when_it_says() {
    let desk = Desk::open().await;
    let past = desk.user("past", &["agent"], 0);
    desk.server.clock.advance(seconds(1));
    desk.read(&past).await.refused(401, "TOKEN_EXPIRED");
    // Also while it is fresh, and while IAM is down.
    let (short, long) = (desk.user("short", &["agent"], 30), desk.user("long", &["agent"], 120));
    desk.read(&short).await.ok(200);
    desk.read(&long).await.ok(200);
    desk.server.clock.advance(seconds(31));
    desk.read(&short).await.refused(401, "TOKEN_EXPIRED");
    desk.flex.iam(Mood::Status(500));
    desk.server.clock.advance(seconds(88));
    desk.read(&long).await.ok(200);
    desk.server.clock.advance(seconds(2));
    desk.read(&long).await.refused(401, "TOKEN_EXPIRED");
}

#[tokio::test]
async fn with_iam_down_a_known_token_lasts_ten_minutes_after_it_was_last_confirmed() {
    let desk = Desk::open().await;
    let token = desk.worker("ada");
    desk.read(&token).await.ok(200);
    desk.server.clock.advance(seconds(300));
    desk.read(&token).await.ok(200);
    desk.flex.iam(Mood::Status(500));
    for _ in 0..2 {
        desk.server.clock.advance(seconds(299));
        desk.read(&token).await.ok(200);
    }
    desk.server.clock.advance(seconds(3));
    desk.read(&token).await.refused(503, "IDENTITY_UNAVAILABLE");
    desk.flex.iam(Mood::Answers);
    desk.server.clock.advance(seconds(6));
    desk.read(&token).await.ok(200);
}

#[tokio::test]
async fn whatever_iam_does_a_known_token_goes_on_and_an_unknown_one_is_told_to_come_back() {
    let desk = Desk::open().await;
    let trap = PretendFlex::start();
    let known = desk.worker("ada");
    desk.read(&known).await.ok(200);
    desk.server.clock.advance(seconds(61));
    let ask = async |mood: &str| {
        let unknown = desk.worker(mood);
        let started = Instant::now();
        let (known, unknown) = tokio::join!(desk.read(&known), desk.read(&unknown));
        assert!(started.elapsed() < seconds(4), "{mood}: {:?}", started.elapsed());
        assert_eq!(known.status, 200, "{mood}: {}", known.text());
        assert_eq!(unknown.code(), "IDENTITY_UNAVAILABLE", "{mood}: {}", unknown.text());
        assert_eq!(unknown.status, 503, "{mood}");
        assert!(!unknown.header("retry-after").is_empty(), "{mood}");
    };
    for mood in [
        Mood::Slow(seconds(3)),
        Mood::Silent,
        Mood::Status(401),
        Mood::Status(403),
        Mood::Status(429),
        Mood::Status(500),
        Mood::Status(503),
        Mood::Garbage,
        Mood::Redirect(trap.url()),
        Mood::Huge,
    ] {
        desk.flex.iam(mood.clone());
        ask(&format!("{mood:?}")).await;
        // Whatever is held back of its questions, it is not for long.
        desk.server.clock.advance(seconds(6));
    }
    desk.flex.refuse_connections();
    ask("refuses").await;
    desk.flex.come_back();
    assert_eq!(trap.requests(), [], "a redirect was followed");
    desk.server.clock.advance(seconds(6));
    desk.flex.iam(Mood::Slow(Duration::from_millis(700)));
    desk.read(&desk.worker("patient")).await.ok(200);
}

#[tokio::test]
async fn an_answer_of_another_shape_is_none_and_one_of_64_kilobytes_is() {
    let desk = Desk::open().await;
    let end = desk.server.clock.now().plus(seconds(HOUR)).to_string();
    for (name, answer) in [
        ("empty", json!({})),
        ("list", json!([])),
        ("word", json!({ "valid": "true", "expiration": end, "roles": ["agent"] })),
    ] {
        desk.flex.token(ACCOUNT, &jwe(name), answer);
        desk.read(&jwe(name)).await.refused(503, "IDENTITY_UNAVAILABLE");
    }
    for (padding, status) in [(60_000, 200), (70_000, 503)] {
        let mut answer = good(&end, &["agent"]);
        answer["padding"] = json!("A".repeat(padding));
        desk.flex.token(ACCOUNT, &jwe(&padding.to_string()), answer);
        assert_eq!(desk.read(&jwe(&padding.to_string())).await.status, status, "{padding}");
    }
}

#[tokio::test]
async fn many_who_ask_with_one_token_ask_iam_one_question() {
    let desk = Desk::open().await;
    for (name, millis, status) in [("ada", 300, 200), ("eve", 300, 401), ("late", 3000, 503)] {
        let token = if status == 401 { jwe(name) } else { desk.worker(name) };
        desk.flex.iam(Mood::Slow(Duration::from_millis(millis)));
        let asked = desk.flex.questions().len();
        let mut all = JoinSet::new();
        for _ in 0..50 {
            let client = bearer(&desk.server, &token);
            all.spawn(async move {
                let path = format!("/v1/handoff_state?id={SID}");
                client.get_with(&path, &[(OF, ACCOUNT)]).await.status
            });
        }
        assert_eq!(all.join_all().await, [status; 50]);
        assert_eq!(desk.flex.questions().len(), asked + 1, "{name}");
    }
}

#[tokio::test]
async fn whoever_asked_first_and_goes_away_takes_nobody_along() {
    let desk = Desk::open().await;
    let token = desk.worker("ada");
    desk.flex.iam(Mood::Slow(Duration::from_millis(500)));
    let begin = || {
        let client = bearer(&desk.server, &token);
        tokio::spawn(async move {
            let path = format!("/v1/handoff_state?id={SID}");
            client.get_with(&path, &[(OF, ACCOUNT)]).await.status
        })
    };
    let first = begin();
    until(async || desk.flex.questions().len() == 1).await;
    let others: Vec<_> = (0..10).map(|_| begin()).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.abort();
    for other in others {
        assert_eq!(other.await.unwrap(), 200);
    }
    assert!(desk.flex.questions().len() <= 2);
}

#[tokio::test]
async fn iam_is_asked_with_the_links_api_key_before_its_auth_token() {
    let desk = Desk::unlinked(&[]).await;
    let mut wanted = by_token();
    desk.link(&desk.token, &wanted).await.ok(200);
    let token = desk.worker("ada");
    desk.read(&token).await.ok(200);
    wanted["api_key_sid"] = json!(KEY_SID);
    wanted["api_key_secret"] = json!(SECRET);
    wanted["connector_id"] = json!(desk.id);
    desk.server.admin().post(&format!("{PATH}/link"), &wanted).await.ok(200);
    desk.server.clock.advance(seconds(61));
    desk.read(&token).await.ok(200);
    let questions = desk.flex.questions();
    let users: Vec<_> = questions.iter().map(|seen| seen.user.as_deref().unwrap()).collect();
    assert_eq!(users, [ACCOUNT, KEY_SID]);
    for question in &questions {
        assert_eq!(question.path, format!("/v1/Accounts/{ACCOUNT}/Tokens/validate"));
        assert_eq!(question.body, json!({ "token": token }).to_string());
    }
}

#[tokio::test]
async fn no_token_stands_in_log_metrics_or_store() {
    let mut desk = Desk::open().await;
    let tokens = [desk.worker("ada"), jwe("eve"), desk.user("otto", &["other"], HOUR), jwe("late")];
    for (token, status) in tokens.iter().zip([200, 401, 403]) {
        assert_eq!(desk.read(token).await.status, status);
    }
    let mut seen = String::new();
    for mood in [Mood::Status(500), Mood::Garbage, Mood::Redirect(desk.flex.url())] {
        desk.flex.iam(mood);
        desk.server.clock.advance(seconds(2));
        seen.push_str(desk.read(&tokens[3]).await.text());
    }
    desk.server.clock.advance(seconds(2));
    desk.flex.refuse_connections();
    seen.push_str(desk.read(&tokens[3]).await.text());
    let write = format!("/v1/handoff_state?id={SID}");
    seen.push_str(bearer(&desk.server, &tokens[0]).put(&write, "{}").await.text());
    seen.push_str(desk.server.nobody().get("/metrics").await.text());
    desk.server.ask_to_stop(true);
    desk.server.join();
    seen.push_str(&desk.server.log.text());
    for entry in std::fs::read_dir(desk.server.data_dir()).unwrap() {
        seen.push_str(&String::from_utf8_lossy(&std::fs::read(entry.unwrap().path()).unwrap()));
    }
    for token in &tokens {
        // Neither whole nor in part: the fourth is its own, the others are those of all.
        let own = token.split('.').nth(3).unwrap();
        assert!(!seen.contains(token) && !seen.contains(&format!(".{own}")), "{token}");
    }
}
