//! What of an agent's flat state a connector exposes.

use serde_json::Value;
use serde_json::json;

use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::harness::SID;
use crate::harness::Server;

#[tokio::test]
async fn a_flat_state_exposes_the_listed_keys_renamed_and_null_when_unset() {
    let server = Server::start();
    let admin = server.admin();
    let mut wanted = reference("Front desk", "live");
    wanted["handoff_api"] = json!({
        "state_keys": ["name", "verified", "reason", "handoff"],
        "aliases": {"name": "customer_name"},
        "shared_id_state_key": "session",
    });
    let (id, token) = made(&admin, &wanted).await;
    let agent = bearer(&server, &token);
    let path = format!("/v1/handoff_state?id={SID}");
    let state = r#"{"context":{"state":{"name":"Ada","verified":1.10,"card":"4111","session":"five9-1","handoff":{"x":1}}}}"#;
    let stored = agent.put(&path, state).await.ok(201);
    assert_eq!((&stored["shared_id"], &stored["connector_id"]), (&json!("five9-1"), &json!(id)));
    let read = agent.read(SID).await;
    let exposed =
        r#""data":{"customer_name":"Ada","verified":1.10,"reason":null,"handoff":{"x":1}}"#;
    assert!(read.text().contains(exposed), "{}", read.text());
    // What is no flat state is as ever; a change of single keys is told by data alone.
    agent.put(&path, r#"{"data":{"a":1}}"#).await.ok(200);
    agent
        .patch(&path, r#"{"context":{"state":{"name":"B"}}}"#)
        .await
        .refused(400, "INVALID_PARAMETER");
    agent.patch(&path, r#"{"data":{"b":2}}"#).await.ok(200);
    for (state, code, status) in [
        (r#"{"context":{"state":[]}}"#, "INVALID_PARAMETER", 400),
        (r#"{"context":{"state":{"name":1,"name":2}}}"#, "DUPLICATE_KEY", 422),
        (r#"{"context":{"state":{"session":{"a":1}}}}"#, "INVALID_PARAMETER", 400),
    ] {
        agent.put(&path, state).await.refused(status, code);
    }
    // Without handoff_api, the nested object.
    let (_, plain) = made(&admin, &reference("Back office", "live")).await;
    let nested = r#"{"context":{"state":{"name":"Ada","handoff":{"y":2}}}}"#;
    bearer(&server, &plain).put(&path, nested).await.ok(200);
    assert_eq!(agent.read(SID).await.json()["data"], json!({"y": 2}));
}

#[tokio::test]
async fn what_is_exposed_is_no_larger_than_any_data_and_the_nested_form_is_not_lost() {
    let server = Server::start();
    let keys: Vec<String> = (0..200).map(|at| format!("k{at}")).collect();
    let aliases: serde_json::Map<String, Value> =
        keys.iter().map(|key| (key.clone(), json!(format!("{key}{}", "x".repeat(120))))).collect();
    let mut wanted = reference("a", "live");
    wanted["handoff_api"] = json!({"state_keys": keys, "aliases": aliases});
    let (_, token) = made(&server.admin(), &wanted).await;
    let agent = bearer(&server, &token);
    let path = format!("/v1/handoff_state?id={SID}");
    let state = |size: usize| json!({"context": {"state": {"k0": "x".repeat(size)}}}).to_string();
    agent.put(&path, state(240_000)).await.refused(413, "BODY_TOO_LARGE");
    agent.put(&path, state(200_000)).await.ok(201);
    // Nothing but an object `handoff`: that is what is meant, where it is not a key of its own.
    agent.put(&path, r#"{"context":{"state":{"handoff":{"reason":"billing"}}}}"#).await.ok(200);
    assert_eq!(agent.read(SID).await.ok(200)["data"], json!({"reason": "billing"}));
}
