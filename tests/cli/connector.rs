//! Connectors from the shell: the reference's curl, and `baton connector`.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;

use crate::Serving;
use crate::baton;
use crate::run;

const ACCOUNT: &str = "AC11111111111111111111111111111111";

/// A server, and commands that talk to it as the admin.
struct Desk {
    serving: Serving,
    url: String,
    admin: std::path::PathBuf,
}

impl Desk {
    fn open(flags: &[&str]) -> Self {
        let mut command =
            baton(&[&["serve", "--listen", "127.0.0.1:0", "--drain-seconds", "0"], flags].concat());
        command.stderr(Stdio::null());
        let serving = Serving::of(command);
        let url = serving.greeting[0].rsplit(' ').next().unwrap().to_owned();
        let admin = serving.folder.path().join("a dir/admin.key");
        Self { serving, url, admin }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = baton(&[&["connector"], arguments].concat());
        command.env("BATON_URL", &self.url).env("BATON_API_KEY_FILE", &self.admin);
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run(self.command(arguments))
    }

    /// The same with something on standard input.
    fn given(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that was asked for wrongly reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    fn new_one(&self, name: &str) -> (String, String) {
        let made = self.run(&[
            "new",
            "--account",
            "acme",
            "--project",
            "line",
            "--env",
            "live",
            "--name",
            name,
            "--json",
        ]);
        let made: Value = serde_json::from_str(&made.1).unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("connector_id"), text("connector_token"))
    }
}

/// The curl as it is printed in the reference, with what its reader has to put in: the host, a key, the
/// values in brackets, and the quote that is missing at its end.
#[test]
fn the_references_curl_makes_a_connector() {
    let desk = Desk::open(&[]);
    let printed = include_str!("reference-connector.txt").trim_end();
    let host = "connector-service.us-1.platform.polyai.int";
    assert!(printed.contains(host) && !printed.ends_with('\''));
    let script = printed
        .replace(host, desk.url.trim_start_matches("http://"))
        .replace(
            "--header 'Content-Type",
            "--header \"x-api-key: $(cat \"$ADMIN\")\" \\\n--header 'Content-Type",
        )
        .replace("[friendly name]", "Front desk")
        .replace("[ACCOUNT_ID]", "acme")
        .replace("[PROJECT_ID]", "PROJECT-1a2b3c4d")
        .replace("[CLIENT_ENV]", "sandbox")
        .replace("[VARIANT_ID]", "VARIANT-1")
        + "'";
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(format!("set -eu\n{script}")).env("ADMIN", &desk.admin);
    let (code, out, err) = run(shell);
    assert_eq!(code, 0, "{script}\n{err}");
    let made: Value = serde_json::from_str(&out).unwrap();
    assert!(made["connector_id"].as_str().unwrap().starts_with("conn_"), "{out}");
    assert!(made["connector_token"].as_str().unwrap().starts_with("eyJ"), "{out}");
    assert_eq!(made["project_id"], "PROJECT-1a2b3c4d");
    let (_, listed, _) = desk.run(&["list", "--env", "sandbox"]);
    assert!(listed.contains("Front desk"), "{listed}");
}

#[test]
fn a_connector_is_made_shown_changed_rotated_and_deleted_from_the_shell() {
    let desk = Desk::open(&[]);
    let (code, out, err) = desk.run(&[
        "new",
        "--account",
        "acme",
        "--project",
        "line",
        "--env",
        "sandbox",
        "--name",
        "Front desk",
        "--asr-lang",
        "en-GB",
        "--agent-url",
        "wss://agent.example/stream",
    ]);
    assert_eq!(code, 0, "{err}");
    let second_word = |title: &str| {
        let line = out.lines().find(|line| line.starts_with(title)).unwrap();
        line[title.len()..].trim().to_owned()
    };
    let (id, token) = (second_word("Connector ID"), second_word("Connector Token"));
    assert!(id.starts_with("conn_") && token.starts_with("eyJ"), "{out}");
    let (_, listed, _) = desk.run(&["list"]);
    assert!(
        listed.starts_with("ID ") && listed.contains(&id) && listed.contains("sandbox"),
        "{listed}"
    );
    let (_, shown, _) = desk.run(&["show", &id]);
    assert!(shown.contains("wss://agent.example/stream") && shown.contains("tok_"), "{shown}");
    assert!(!shown.contains(&token));
    let settings = r#"{"routing":{"greeting":"Hello"},"handoff_api":{"state_keys":["name"]}}"#;
    let (code, out, err) =
        desk.given(&["patch", &id, "--name", "Reception", "--settings", "-", "--json"], settings);
    assert_eq!(code, 0, "{err}");
    let changed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&changed["name"], &changed["routing"]["greeting"]),
        (&"Reception".into(), &"Hello".into())
    );
    assert_eq!(changed["routing"]["agent_url"], "wss://agent.example/stream");
    assert_eq!(desk.run(&["patch", &id]).0, 64);
    let (code, _, err) = desk.given(&["patch", &id, "--settings", "-"], r#"{"colour":"red"}"#);
    assert!(code == 1 && err.contains("colour"), "{err}");
    let (code, out, _) = desk.run(&["rotate", &id, "--grace", "0"]);
    assert!(code == 0 && out.contains("Connector Token") && !out.contains(&token), "{out}");
    let (code, _, err) = desk.given(&["verify", &id, "--token-file", "-"], &token);
    assert!(code == 1 && err.contains("401"), "{err}");
    // What is missing is told, and the exit code says that something is.
    let (code, out, err) = desk.run(&["verify", &id]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("✓ token") && out.contains("✗ link") && out.contains('→'), "{out}");
    assert!(
        out.contains(&format!("/twilio/studio/handoff/{id}")) && err.contains(&id),
        "{out}{err}"
    );
    let (code, out, _) = desk.run(&["delete", &id]);
    assert_eq!((code, out.trim()), (0, format!("Deleted {id}").as_str()));
    let (code, _, err) = desk.run(&["show", &id]);
    assert!(code == 1 && err.contains("No such connector"), "{err}");
}

#[test]
fn secrets_come_from_files_and_standard_input_and_never_from_the_command_line() {
    // A port that nobody listens on: Twilio is not reached.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let desk = Desk::open(&["--twilio-api-url", &format!("http://127.0.0.1:{port}")]);
    let (id, token) = desk.new_one("a");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let token_file = file("token", &format!("{token}\n"));
    let link = ["link", "--account-sid", ACCOUNT, "--token-file", &token_file];
    let (code, out, err) =
        desk.given(&[&link[..], &["--auth-token-file", "-"]].concat(), "0123456789abcdef\n");
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("Not confirmed yet") && out.contains("no connection"), "{out}");
    let sid = "SK0123456789abcdef0123456789abcdef";
    let by_key = [
        "link",
        &id,
        "--account-sid",
        ACCOUNT,
        "--api-key-sid",
        sid,
        "--api-key-secret-file",
        &file("secret", "s3cret"),
        "--shared-keys-file",
        &file("keys", "webhooks_sharedkey_1:HMAC_SHA256=s=1\nwebhooks_sharedkey_2:HMAC_SHA1=s2\n"),
        "--json",
    ];
    let (code, out, err) = desk.run(&by_key);
    assert_eq!(code, 0, "{err}");
    let linked: Value = serde_json::from_str(&out).unwrap();
    let pending = &linked["pending_link"];
    assert_eq!(
        (&pending["api_key_sid"], pending["shared_keys"].as_array().unwrap().len()),
        (&sid.into(), 2)
    );
    assert!(!out.contains("s3cret") && !out.contains("s=1"));
    // Nobody to ask: it says how else.
    let (code, _, err) = desk.given(&link, "");
    assert!(code == 64 && err.contains("--auth-token-file"), "{err}");
    let twice =
        [&link[..], &["--auth-token-file", "-", "--secondary-auth-token-file", "-"]].concat();
    assert_eq!(desk.given(&twice, "x").0, 64);
    let (code, _, err) = desk.run(&["link", "--account-sid", ACCOUNT]);
    assert_eq!(code, 64, "{err}");
    for flag in ["--auth-token", "--token", "--api-key-secret", "--shared-keys"] {
        assert_eq!(desk.run(&["link", &id, "--account-sid", ACCOUNT, flag, "x"]).0, 64, "{flag}");
    }
    let (code, out, _) = desk.run(&["unlink", &id]);
    assert!(code == 0 && out.contains(&format!("Unlinked {id}")), "{out}");
    assert_eq!(desk.run(&["unlink", &id]).0, 1);
    // A secret where a file is meant is not shown.
    let (code, _, err) = desk.run(&["verify", &id, "--token-file", &token]);
    assert!(code == 64 && !err.contains(&token) && err.contains("itself"), "{err}");
    let (code, _, err) = desk.given(&["verify", &id, "--token-file", "-"], "{\"a\": 1}");
    assert!(code == 64 && err.contains("no Connector Token"), "{err}");
    drop(desk.serving);
}

#[test]
fn a_server_that_twilio_reaches_and_that_does_not_know_where_takes_no_link() {
    let mut command = baton(&["serve", "--listen", "0.0.0.0:0", "--drain-seconds", "0"]);
    command.stderr(Stdio::null());
    let serving = Serving::of(command);
    let port = serving.greeting[0].rsplit(':').next().unwrap().to_owned();
    let admin = serving.folder.path().join("a dir/admin.key");
    let desk = Desk { serving, url: format!("http://127.0.0.1:{port}"), admin };
    let (id, _) = desk.new_one("a");
    let (code, _, err) = desk.given(
        &["link", &id, "--account-sid", ACCOUNT, "--auth-token-file", "-"],
        "0123456789abcdef",
    );
    assert!(code == 1 && err.contains("BATON_PUBLIC_URL"), "{err}");
}
