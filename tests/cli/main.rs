//! Commands as a shell sees them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::pedantic,
    clippy::string_slice,
    reason = "a panic is how a test reports"
)]

mod call;
mod connector;
mod recipe;
mod sign;

use std::io::BufRead;
use std::io::BufReader;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

const BATON: &str = env!("CARGO_BIN_EXE_baton");

fn baton(arguments: &[&str]) -> Command {
    let mut command = Command::new(BATON);
    command.args(arguments).env_remove("BATON_API_KEY").env_remove("BATON_API_KEY_FILE");
    command
}

/// Exit code, standard output, standard error.
fn run(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

struct Serving {
    child: Child,
    greeting: Vec<String>,
    folder: tempfile::TempDir,
}

impl Serving {
    fn start() -> Self {
        Self::draining("0")
    }

    fn draining(drain: &str) -> Self {
        let mut command = baton(&["serve", "--listen", "127.0.0.1:0", "--drain-seconds", drain]);
        command.stderr(Stdio::null());
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("a dir");
        command.arg("--data-dir").arg(data_dir).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut greeting = Vec::new();
        for line in lines {
            greeting.push(line.unwrap());
            if greeting.last().unwrap().contains("key new") {
                break;
            }
        }
        Self { child, greeting, folder }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    fn stop(&mut self) -> i32 {
        self.signal("-TERM");
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_three_printed_commands_work_as_printed() {
    let mut serving = Serving::start();
    let script = serving.greeting.iter().skip_while(|line| !line.starts_with("# 1."));
    let script = format!("set -eu\n{}\n", script.cloned().collect::<Vec<_>>().join("\n"));
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(&script).env_remove("BATON_API_KEY");
    let (code, out, err) = run(shell);
    assert_eq!(code, 0, "{script}\n{out}\n{err}");
    assert!(out.contains("\"created\":true"), "{out}");
    assert!(out.contains("\"data\":{\"name\":\"Ada\""), "{out}");
    assert!(out.contains("Key      btk_"), "{out}");
    let admin = std::fs::read_to_string(serving.folder.path().join("a dir/admin.key")).unwrap();
    assert!(!serving.greeting.concat().contains(admin.trim()), "the key itself is not printed");
    assert_eq!(serving.stop(), 0, "SIGTERM ends it well");
}

#[test]
fn keys_are_made_listed_and_revoked_from_the_shell() {
    let serving = Serving::start();
    let url = serving.greeting[0].rsplit(' ').next().unwrap().to_owned();
    let admin = serving.folder.path().join("a dir/admin.key");
    let key = |arguments: &[&str]| {
        let mut command = baton(&[&["key"], arguments].concat());
        command.env("BATON_URL", &url).env("BATON_API_KEY_FILE", &admin);
        run(command)
    };
    let (code, out, _) =
        key(&["new", "--scope", "handoff:read", "--label", "one", "--wait", "3", "--json"]);
    assert_eq!(code, 0);
    let made: serde_json::Value = serde_json::from_str(&out).unwrap();
    let id = made["key_id"].as_str().unwrap();
    assert_eq!(made["read_defaults"]["wait"], 3);
    let (_, out, _) = key(&["list"]);
    assert!(out.starts_with("ID ") && out.contains(id) && out.contains("one"), "{out}");
    let (code, out, _) = key(&["revoke", id]);
    assert_eq!((code, out.trim()), (0, format!("Revoked {id}").as_str()));
    let (code, _, err) = key(&["revoke", id]);
    assert_eq!(code, 1);
    assert!(err.contains("404") && err.contains("No such key"), "{err}");
    let (code, _, err) = key(&["new", "--scope", "everything"]);
    assert_eq!(code, 1);
    assert!(err.contains("everything"), "{err}");
}

#[test]
fn all_faults_of_the_settings_come_in_one_report_with_exit_64() {
    let mut command = baton(&["serve", "--listen", "nowhere", "--store", "paper"]);
    command.env("BATON_WORKERS", "many").env("BATON_ADMIN_KEY", "short");
    let (code, out, err) = run(command);
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(err.starts_with("baton: 4 setting(s) to mend:"), "{err}");
    for name in ["BATON_LISTEN", "BATON_STORE", "BATON_WORKERS", "BATON_ADMIN_KEY"] {
        assert!(err.contains(name), "{err}");
    }
}

#[test]
fn what_was_typed_wrongly_exits_64_and_help_exits_0() {
    assert_eq!(run(baton(&["serv"])).0, 64);
    assert_eq!(run(baton(&["serve", "--port", "1"])).0, 64);
    assert_eq!(run(baton(&["key", "new"])).0, 64);
    let (code, out, _) = run(baton(&["serve", "--help"]));
    assert_eq!(code, 0);
    assert!(out.contains("BATON_LISTEN") && out.contains("BATON_SEAL_KEYS"), "{out}");
    let (code, _, err) = run(baton(&["key", "list"]));
    assert_eq!(code, 64);
    assert!(err.contains("BATON_API_KEY"), "{err}");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let mut command = baton(&["key", "list", "--url", "http://127.0.0.1:1"]);
    command.env("BATON_API_KEY", "x".repeat(40));
    let (code, _, err) = run(command);
    assert_eq!(code, 1);
    assert!(err.contains("http://127.0.0.1:1") && err.contains("BATON_URL"), "{err}");
}

#[test]
fn ctrl_c_does_not_drain_and_a_second_signal_ends_at_once() {
    let started = std::time::Instant::now();
    let mut serving = Serving::draining("60");
    serving.signal("-INT");
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    let mut serving = Serving::draining("60");
    serving.signal("-TERM");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(serving.child.try_wait().unwrap().is_none(), "it drains");
    serving.signal("-TERM");
    assert_eq!(serving.child.wait().unwrap().code(), Some(1));
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}
