//! Every way to forge a view link; that it and a Connector Token are never taken for each other; in which
//! tasks one stands, and where none ever does.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::EncodingKey;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::flex_door::Desk;
use crate::forged::SigningKey;
use crate::forged::parts;
use crate::harness::Client;
use crate::harness::SID;
use crate::harness::Server;
use crate::harness::until;
use crate::links::TOKEN;
use crate::routing::CALL;
use crate::routing::FLOW;
use crate::routing::Line;
use crate::routing::task;
use crate::routing::text;
use crate::taskrouter::TASK;
use crate::taskrouter::Told;
use crate::taskrouter::WORKSPACE;
use crate::taskrouter::Way;
use crate::taskrouter::noted;
use crate::taskrouter::set;
use crate::tokens::at_every_route;
use crate::tokens::is_webhook;
use crate::twilio::ACCOUNT;
use crate::twilio::PUBLIC;
use crate::twilio::get;
use crate::view::VIEW;
use crate::view::view;
use crate::view_links::Office;
use crate::view_links::link;

/// It opens nothing, wherever it is shown.
async fn opens_nothing(office: &Office, what: &str, token: &str) {
    let client = bearer(&office.server, token);
    for (at, status, code) in at_every_route(&client, &office.id).await {
        let is_refused = code == "INVALID_TOKEN" || code == "INVALID_KEY";
        let is_untold = status == 403 && is_webhook(at.split_once(' ').unwrap().1);
        assert!(is_untold || (status == 401 && is_refused), "{what} at {at}: {status} {code}");
    }
}

#[tokio::test]
async fn no_forged_link_opens_anything() {
    let signing = SigningKey::new();
    let office = &Office::of(signing.server()).await;
    let (good, _) = link(&office.agent(), &json!({ "id": SID })).await;
    let foreign = Office::open().await;
    let (elsewhere, _) = link(&foreign.agent(), &json!({ "id": SID })).await;
    view(&bearer(&office.server, &signing.signed(&good, |_, _| {})), SID).await.ok(200);
    let (header, claims) = parts(&good);
    let kid = header.kid.clone().unwrap();
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (_, rest) = good.split_once('.').unwrap();
    let none = json!({ "alg": "none", "typ": header.typ, "kid": kid }).to_string();
    let none = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(none));
    let hs256 = |key: &[u8]| {
        let mut header = header.clone();
        header.alg = Algorithm::HS256;
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(key)).unwrap()
    };
    let claim = |name: &'static str, value: Value| {
        signing.signed(&good, move |_, claims| claims[name] = value)
    };
    let typ =
        |typ: Option<&str>| signing.signed(&good, |header, _| header.typ = typ.map(str::to_owned));
    let mut other = claims.clone();
    other["sub"] = json!("other");
    let other = URL_SAFE_NO_PAD.encode(other.to_string());
    let stranger = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let stranger = EncodingKey::from_ed_der(stranger.as_ref());
    let forged = [
        ("alg none", none.clone()),
        ("alg none, no signature", format!("{}.", none.rsplit_once('.').unwrap().0)),
        ("no signature", format!("{head}.")),
        ("HS256 with the public key", hs256(&signing.public())),
        ("HS256 with its base64", hs256(STANDARD.encode(signing.public()).as_bytes())),
        ("another signature", format!("{head}.{}", signature.chars().rev().collect::<String>())),
        ("another handoff", format!("{}.{other}.{signature}", good.split('.').next().unwrap())),
        ("another key", jsonwebtoken::encode(&header, &claims, &stranger).unwrap()),
        ("unknown kid", signing.signed(&good, |header, _| header.kid = Some("nope".to_owned()))),
        ("no kid", signing.signed(&good, |header, _| header.kid = None)),
        ("crit", signing.signed(&good, |header, _| header.crit = Some(vec!["exp".to_owned()]))),
        ("typ of a Connector Token", typ(Some("baton-connector+jwt"))),
        ("typ of any token", typ(Some("JWT"))),
        ("no typ", typ(None)),
        ("wrong aud", claim("aud", json!("baton:connector"))),
        ("list of aud", claim("aud", json!([claims["aud"]]))),
        ("no aud", claim("aud", Value::Null)),
        ("wrong iss", claim("iss", json!("ins_00000000000000000000"))),
        ("a maker that is none", claim("by", json!({ "key": "0000000000" }))),
        ("no maker", claim("by", Value::Null)),
        ("another server's", elsewhere),
        ("cut off", good[..good.len() - 1].to_owned()),
        ("long", claim("pad", json!("x".repeat(1000)))),
    ];
    for (what, token) in &forged {
        opens_nothing(office, what, token).await;
    }
    // Bit by bit.
    let path = format!("{VIEW}?id={SID}");
    for at in (0..good.len()).step_by(5).filter(|at| good.as_bytes()[*at] != b'.') {
        let letter = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
        let bent = format!("{}{letter}{}", &good[..at], &good[at + 1..]);
        let client = bearer(&office.server, &bent);
        assert_eq!(client.bare(Method::GET, &path, None).await.0, 401, "{at}");
    }
    let past = claim("exp", json!(1));
    view(&bearer(&office.server, &past), SID).await.refused(401, "TOKEN_EXPIRED");
}

#[tokio::test]
async fn a_link_and_a_connector_token_are_not_taken_for_each_other_nor_for_keys() {
    let signing = SigningKey::new();
    let office = &Office::of(signing.server()).await;
    let (good, _) = link(&office.agent(), &json!({ "id": SID })).await;
    let (view_header, view_claims) = parts(&good);
    let (token_header, token_claims) = parts(&office.token);
    assert_ne!(view_header.typ, token_header.typ);
    assert_ne!(view_claims["aud"], token_claims["aud"]);
    let as_token = signing.signed(&good, |header, claims| {
        header.typ.clone_from(&token_header.typ);
        claims["aud"] = token_claims["aud"].clone();
    });
    let as_view = signing.signed(&office.token, |header, claims| {
        header.typ.clone_from(&view_header.typ);
        claims["aud"] = view_claims["aud"].clone();
    });
    opens_nothing(office, "a link dressed as a token", &as_token).await;
    opens_nothing(office, "a token dressed as a link", &as_view).await;
    view(&office.server.client(&good), SID).await.refused(401, "INVALID_KEY");
    let basic = format!("Basic {}", STANDARD.encode(format!("key:{good}")));
    let basic = office.server.presenting("authorization", basic);
    basic.read(SID).await.refused(401, "INVALID_KEY");
}

#[tokio::test]
async fn a_link_stands_in_no_log_no_metric_and_no_file() {
    let mut office = Office::open().await;
    let (token, _) = link(&office.agent(), &json!({ "id": SID })).await;
    let viewer = bearer(&office.server, &token);
    view(&viewer, SID).await.ok(200);
    view(&viewer, "other").await.refused(403, "CALL_NOT_ALLOWED");
    let mut places = office.server.nobody().get("/metrics").await.text().to_owned();
    office.server.ask_to_stop(true);
    office.server.join();
    places.push_str(&office.server.log.text());
    for entry in std::fs::read_dir(office.server.data_dir()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        places.push_str(&String::from_utf8_lossy(&bytes));
    }
    let (_, signature) = token.rsplit_once('.').unwrap();
    assert!(!places.contains(signature) && !places.contains("#view="));
}

/// Whoever has the link that attributes carry.
fn viewer(server: &Server, attributes: &Value, call: &str) -> Client {
    let url = attributes["baton"]["view_link"].as_str().unwrap();
    let token = url.strip_prefix(&format!("{PUBLIC}/panel?id={call}#view=")).unwrap();
    bearer(server, token)
}

#[tokio::test]
async fn a_task_carries_a_link_where_its_connector_says_so_for_four_hours() {
    let flex = json!({ "view_link": true, "expose": ["more"] });
    let line = Line::with(json!({ "flex": flex })).await;
    let server = &line.centre.server;
    let visit = line.visit("").await;
    let long = "x".repeat(3000);
    let data = json!({ "reason": "billing", "summary": long, "more": long }).to_string();
    line.agent_writes(&visit, &data).await.ok(201);
    let back = line.asks_at(&visit.action, "").await;
    assert!(text(back.ok_text(200), "Task").chars().count() <= 2600, "{}", back.text());
    let attributes = task(&back);
    assert_eq!(attributes["baton"]["connector_id"], line.centre.id);
    let viewer = viewer(server, &attributes, CALL);
    assert_eq!(view(&viewer, CALL).await.ok(200)["why"]["reason"], "billing");
    view(&viewer, SID).await.refused(403, "CALL_NOT_ALLOWED");
    server.clock.advance(Duration::from_secs(4 * 3600 - 60));
    view(&viewer, CALL).await.ok(200);
    server.clock.advance(Duration::from_secs(60));
    view(&viewer, CALL).await.refused(401, "TOKEN_EXPIRED");
    // What goes by Studio carries none: flows are exported, and their log shows all that passes.
    let target = line.centre.studio(&format!("id={CALL}"));
    let studio = get(&server.nobody(), TOKEN, &target).await;
    assert_eq!(studio.ok(200)["found"], true);
    let flow = line.visit(&format!("?flow={FLOW}")).await;
    let redirect = line.asks_at(&flow.action, "").await;
    for answer in [&studio, &redirect] {
        let told = answer.text();
        assert!(!told.contains("view_link") && !told.contains("#view"), "{told}");
    }
}

#[tokio::test]
async fn a_tasks_link_ends_with_its_connector() {
    let line = Line::with(json!({ "flex": { "view_link": true } })).await;
    let server = &line.centre.server;
    let visit = line.visit("").await;
    line.agent_writes(&visit, "{}").await.ok(201);
    let viewer = viewer(server, &task(&line.asks_at(&visit.action, "").await), CALL);
    view(&viewer, CALL).await.ok(200);
    server.admin().delete(&format!("{PATH}/{}", line.centre.id)).await.ok_text(204);
    view(&viewer, CALL).await.refused(401, "INVALID_TOKEN");
}

#[tokio::test]
async fn no_task_carries_a_link_that_its_connector_did_not_ask_for() {
    for flex in [json!({}), json!({ "view_link": false })] {
        let line = Line::with(json!({ "flex": flex })).await;
        let visit = line.visit("").await;
        line.agent_writes(&visit, "{}").await.ok(201);
        let back = line.asks_at(&visit.action, "").await;
        let baton = json!({ "url": PUBLIC, "connector_id": line.centre.id });
        assert_eq!(task(&back)["baton"], baton, "{flex}");
    }
    let line = Line::open().await;
    let wrong = json!({ "flex": { "view_link": "yes" } }).to_string();
    let path = format!("{PATH}/{}", line.centre.id);
    let told = line.centre.server.admin().patch(&path, wrong).await;
    assert!(told.refused(400, "INVALID_PARAMETER").contains("/flex"));
}

#[tokio::test]
async fn a_task_that_is_brought_up_to_date_keeps_the_link_that_it_has_and_gets_none() {
    const LINK: &str = "https://voice.example.com/panel?id=CA1#view=eyJ.e.s";
    for (wanted, link, left) in [(true, LINK, LINK), (true, "", ""), (false, LINK, "")] {
        let desk = Desk::open().await;
        set(&desk, &json!({ "flex": { "view_link": wanted } })).await;
        let mut attributes = json!({ "call_sid": CALL, "baton": { "connector_id": desk.id } });
        if !link.is_empty() {
            attributes["baton"]["view_link"] = json!(link);
        }
        let attributes = attributes.to_string();
        desk.flex.task(ACCOUNT, WORKSPACE, TASK, &attributes);
        noted(&desk, Way::Form, &Told::of("task.created", TASK, attributes)).await;
        desk.agent().write(CALL, r#"{"reason":"late"}"#).await.ok(201);
        let shown = || desk.flex.shown(TASK).attributes;
        until(async || shown().contains(r#""handoff_status":"ready""#)).await;
        let shown: Value = serde_json::from_str(&shown()).unwrap();
        assert_eq!(shown["baton"]["view_link"].as_str().unwrap_or_default(), left, "{wanted}");
    }
}

#[tokio::test]
async fn a_tasks_link_ends_with_its_connectors_wish() {
    let line = Line::with(json!({ "flex": { "view_link": true } })).await;
    let server = &line.centre.server;
    let visit = line.visit("").await;
    line.agent_writes(&visit, "{}").await.ok(201);
    let viewer = viewer(server, &task(&line.asks_at(&visit.action, "").await), CALL);
    view(&viewer, CALL).await.ok(200);
    let path = format!("{PATH}/{}", line.centre.id);
    let off = json!({ "flex": { "view_link": null } }).to_string();
    server.admin().patch(&path, off).await.ok(200);
    view(&viewer, CALL).await.refused(401, "INVALID_TOKEN");
}

#[tokio::test]
async fn a_tasks_link_opens_the_handoff_that_the_call_is_an_alias_of() {
    let line = Line::with(json!({ "flex": { "view_link": true } })).await;
    let server = &line.centre.server;
    let visit = line.visit("").await;
    let agent = line.centre.agent();
    server.clock.advance(Duration::from_secs(1));
    agent.write("conv-1", r#"{"reason":"billing"}"#).await.ok(201);
    let aliases = json!({ "aliases": [CALL] });
    agent.post("/v1/handoff_state/aliases?id=conv-1", &aliases).await.ok(200);
    let viewer = viewer(server, &task(&line.asks_at(&visit.action, "").await), "conv-1");
    assert_eq!(view(&viewer, "conv-1").await.ok(200)["why"]["reason"], "billing");
}
