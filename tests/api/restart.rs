//! What survives a restart, and what stops one.

use std::sync::Arc;

use baton::app::App;
use baton::app::StartError;
use baton::config::Settings;
use baton::config::raw::Raw;
use baton::domain::clock::Clock;
use baton::telemetry::logging::Sink;
use clap::Parser;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::SID;
use crate::harness::Server;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    raw: Raw,
}

#[tokio::test]
async fn handoffs_keys_and_revisions_survive_a_restart() {
    let mut first = Server::start();
    let first_write = first.admin().write(SID, r#"{"a":1}"#).await.ok(201);
    let made = first.admin().post("/v1/keys", &json!({ "scopes": ["handoff:read"] })).await.ok(201);
    first.ask_to_stop(true);
    first.join();
    let second = Server::on(&first.folder(), first.clock.clone(), &[]);
    assert_eq!(second.admin, first.admin);
    let reader = second.client(made["key"].as_str().unwrap());
    let read = reader.read(SID).await;
    assert_eq!(read.ok(200)["data"], json!({ "a": 1 }));
    assert_eq!(read.header("x-handoff-revision"), first_write["revision"].to_string());
    let again = second.admin().write(SID, r#"{"a":2}"#).await.ok(200);
    assert!(again["revision"].as_u64() > first_write["revision"].as_u64());
}

fn refusal(folder: &Arc<TempDir>) -> String {
    let data_dir = folder.path().to_str().unwrap();
    let line = Line::parse_from(["baton", "--listen", "127.0.0.1:0", "--data-dir", data_dir]);
    let settings = Settings::check(&line.raw).unwrap();
    let started =
        std::thread::spawn(|| App::build(settings, Clock::system(), Sink::default()).map(|_| ()));
    let error: StartError = started.join().unwrap().unwrap_err();
    error.to_string()
}

fn stopped() -> Arc<TempDir> {
    let mut server = Server::with(&["--store", "embedded"]);
    server.ask_to_stop(true);
    server.join();
    server.folder()
}

#[test]
fn a_store_without_its_sealing_key_is_refused_and_left_alone() {
    let folder = stopped();
    std::fs::remove_file(folder.path().join("seal.key")).unwrap();
    let why = refusal(&folder);
    assert!(why.contains("seal.key") && why.contains("BATON_SEAL_KEYS"), "{why}");
    assert!(!folder.path().join("seal.key").exists(), "no new key for an old store");
}

#[test]
fn a_store_sealed_with_another_key_is_refused() {
    let (folder, other) = (stopped(), stopped());
    std::fs::copy(other.path().join("seal.key"), folder.path().join("seal.key")).unwrap();
    let why = refusal(&folder);
    assert!(why.contains("BATON_SEAL_KEYS"), "{why}");
}

#[test]
fn damaged_key_files_are_refused_by_name() {
    for name in ["seal.key", "admin.key"] {
        let folder = stopped();
        std::fs::write(folder.path().join(name), "short").unwrap();
        let why = refusal(&folder);
        assert!(why.contains(name), "{name}: {why}");
    }
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let server = Server::with(&["--store", "embedded"]);
    let why = refusal(&server.folder());
    assert!(why.contains("another process"), "{why}");
}
