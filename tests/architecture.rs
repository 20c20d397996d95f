//! Imports run down, and rooms stay small.

#![allow(clippy::unwrap_used, clippy::string_slice, reason = "a panic is how a test reports")]

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// The rooms, lowest first. A room imports lower ones and itself.
const FLOORS: [&str; 10] =
    ["domain", "config", "telemetry", "twilio", "store", "auth", "service", "http", "app", "cli"];
const MAX_LINES: usize = 400;
/// Frameworks and engines stay where they belong.
const KEPT_IN: [(&str, &[&str]); 4] = [
    ("actix_web::", &["http", "app", "cli"]),
    ("redb::", &["store/embedded"]),
    (
        "reqwest::",
        &["telemetry/outbound.rs", "twilio/rest.rs", "twilio/iam.rs", "twilio/tasks.rs", "cli"],
    ),
    ("moka::", &["store/l1", "auth/flex/memory"]),
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Path below `src`, and text, of every source file.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).unwrap())
    };
    found.into_iter().map(read).collect()
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|name| *name == room)
}

/// Imports of `text`, in `file`, that climb.
fn climbs(file: &str, text: &str) -> Vec<String> {
    let room = file.split(['/', '.']).next().unwrap();
    let Some(own) = floor(room) else { return Vec::new() };
    let mut found = Vec::new();
    for (_, rest) in text.match_indices("crate::").map(|(at, word)| (at, &text[at + word.len()..]))
    {
        let target: String =
            rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        match floor(&target) {
            Some(other) if other <= own => {}
            _ => found.push(format!("{file} imports crate::{target}")),
        }
    }
    found
}

#[test]
fn imports_run_down() {
    let climbing: Vec<_> = sources().iter().flat_map(|(file, text)| climbs(file, text)).collect();
    assert!(climbing.is_empty(), "{climbing:#?}");
}

#[test]
fn an_import_that_climbs_is_noticed() {
    assert_eq!(climbs("store/kv.rs", "use crate::http::error;").len(), 1);
    assert_eq!(climbs("store/kv.rs", "use crate::{domain, http};").len(), 1);
    assert_eq!(climbs("store/kv.rs", "use crate::domain::clock;").len(), 0);
}

#[test]
fn every_room_is_on_a_floor_and_its_mod_says_what_it_promises() {
    let sources = sources();
    for (file, text) in &sources {
        let top = file.split(['/', '.']).next().unwrap();
        assert!(["main", "lib"].contains(&top) || floor(top).is_some(), "{file} is in no room");
        let told = text.starts_with("//!") || file.ends_with("tests.rs");
        assert!(told, "{file} does not open with what it is for");
    }
}

#[test]
fn frameworks_and_engines_stay_where_they_belong() {
    for (file, text) in sources() {
        for (name, rooms) in KEPT_IN {
            let may = rooms.iter().any(|room| file.starts_with(room));
            assert!(may || !text.contains(name), "{file} uses {name}");
        }
    }
}

#[test]
fn no_file_is_longer_than_it_should_be() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| text.lines().count() > MAX_LINES)
        .map(|(f, _)| f)
        .collect();
    assert!(long.is_empty(), "over {MAX_LINES} lines: {long:?}");
}
