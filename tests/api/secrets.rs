//! What is told to Baton stays in Baton: a marker in every payload and key is looked for in the
//! log, the metrics, the error bodies and the files on disk.

use serde_json::json;

use crate::harness::SID;
use crate::harness::Server;

const MARK: &str = "CANARY7f3a";

#[tokio::test]
async fn no_payload_and_no_key_reaches_log_metrics_errors_or_disk_in_clear() {
    let mut server = Server::start();
    let made =
        server.admin().post("/v1/keys", &json!({ "scopes": ["handoff:read"] })).await.ok(201);
    let key = made["key"].as_str().unwrap().to_owned();
    let admin = server.admin();
    let data = format!("{{\"{MARK}\":\"{MARK}\",\"phone\":\"+14155550{MARK}\"}}");
    admin.write(SID, &data).await.ok(201);
    admin.write(&format!("jane.{MARK}"), "{}").await.ok(201);
    server.client(&key).read(SID).await.ok(200);
    let mut errors = String::new();
    for body in [
        format!("{{\"data\":{{\"a\":\"{MARK}\",\"a\":1}}}}"),
        format!("{{\"data\":[\"{MARK}\"]}}"),
        format!("{{\"data\":{{\"a\":\"{MARK}\"}}"),
        MARK.to_owned(),
    ] {
        let answer = admin.put(&format!("/v1/handoff_state?id={SID}"), body).await;
        assert!(answer.status >= 400);
        errors.push_str(answer.text());
    }
    for bad in [format!("{MARK}{MARK}{MARK}{MARK}"), format!("btk_{MARK}_x"), key[..60].to_owned()]
    {
        errors.push_str(server.client(&bad).read(SID).await.text());
    }
    let metrics = server.nobody().get("/metrics").await.text().to_owned();
    server.ask_to_stop(true);
    server.join();
    let log = server.log.text();
    assert!(log.contains(SID) && log.contains("id_hash"), "{log}");
    let mut places = vec![("log", log), ("metrics", metrics), ("errors", errors)];
    for entry in std::fs::read_dir(server.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if !path.ends_with("admin.key") {
            assert!(!text.contains(&server.admin), "{path:?} holds the admin key");
        }
        // The id of a record stands in the store's index; it is no secret, and no payload.
        let text = text.replace(&format!("jane.{MARK}"), "");
        places.push(("disk", text));
    }
    for (place, text) in places {
        assert!(!text.contains(MARK), "{place}: {text}");
        assert!(!text.contains(&key[15..58]), "{place} holds a key");
        assert!(place == "disk" || !text.contains(&server.admin), "{place} holds the admin key");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn keys_that_baton_makes_are_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::with(&["--store", "embedded"]);
    for name in ["admin.key", "seal.key", "baton.redb"] {
        let mode = std::fs::metadata(server.data_dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
