//! `baton call`: whole calls over a real server.

use std::process::Command;
use std::process::Stdio;

use serde_json::Value;

use crate::Serving;
use crate::baton;
use crate::run;

const ACCOUNT: &str = "AC11111111111111111111111111111111";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const PUBLIC: &str = "https://voice.example.com/baton";

/// A server that knows the account's Auth Token, and calls to it.
struct Line {
    serving: Serving,
    url: String,
}

impl Line {
    fn open(flags: &[&str]) -> Self {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--drain-seconds", "0"];
        let mut command = baton(&[&serve, flags].concat());
        command.env("BATON_TWILIO_AUTH_TOKENS", format!("{ACCOUNT}={TOKEN}")).stderr(Stdio::null());
        let serving = Serving::of(command);
        let url = serving.greeting[0].rsplit(' ').next().unwrap().to_owned();
        Self { serving, url }
    }

    /// A command of whoever holds the admin key and the Auth Token.
    fn command(&self, arguments: &[&str]) -> Command {
        let admin = self.serving.folder.path().join("a dir/admin.key");
        let mut command = baton(arguments);
        command.env("BATON_URL", &self.url).env("BATON_API_KEY_FILE", admin);
        command.env("TWILIO_ACCOUNT_SID", ACCOUNT).env("TWILIO_AUTH_TOKEN", TOKEN);
        command.env_remove("BATON_PUBLIC_URL");
        command
    }

    fn call(&self, flags: &[&str]) -> (i32, String, String) {
        run(self.command(&[&["call"], flags].concat()))
    }

    /// A call that is as it should be: what it printed.
    fn good(&self, flags: &[&str]) -> String {
        let (code, out, err) = self.call(flags);
        assert_eq!((code, err.as_str()), (0, ""), "{flags:?}\n{out}");
        assert!(!out.contains("bct_") && !out.contains(TOKEN), "{flags:?} shows a secret");
        out
    }

    fn connectors(&self) -> String {
        run(self.command(&["connector", "list"])).1
    }
}

/// The steps of a call, in order.
fn steps(out: &str) -> Vec<&str> {
    const NAMES: [&str; 9] =
        ["voice", "agent", "back", "task", "flex", "studio", "read", "status", "whole"];
    let first = out.lines().filter_map(|line| line.split(' ').next());
    first.filter(|word| NAMES.contains(word)).collect()
}

/// The attributes that were printed, one object for each visit.
fn attributes(out: &str) -> Vec<Value> {
    let json = out.lines().filter(|line| line.starts_with('{'));
    json.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_call_is_played_from_its_first_ring_to_its_end() {
    let line = Line::open(&[]);
    let out = line.good(&[]);
    assert_eq!(steps(&out), ["voice", "agent", "back", "task", "read", "status", "whole"], "{out}");
    assert!(out.contains("leg 1, after 0, <Connect><Stream> to wss://agent.invalid/"), "{out}");
    assert!(out.contains("handoff_url") && out.contains("call_token"), "{out}");
    assert!(out.contains("<Enqueue> to WW00000000000000000000000000000001, priority 5"), "{out}");
    assert!(out.contains("of 2600 characters; left out: nothing"), "{out}");
    let task = &attributes(&out)[0];
    assert_eq!((&task["handoff_found"], &task["handoff_status"]), (&true.into(), &"ready".into()));
    assert_eq!((&task["handoff_reason"], &task["handoff_leg"]), (&"billing".into(), &1.into()));
    assert_eq!(task["handoff"]["tried"][0], "resent the invoice");
    assert!(out.contains(task["handoff_id"].as_str().unwrap()), "{out}");
    assert_eq!(line.connectors().trim(), "No connectors", "the one that was made is left behind");
}

#[test]
fn a_call_is_bent() {
    let line = Line::open(&[]);
    let bends: [(&[&str], &[&str], &[&str]); 11] = [
        (
            &["--sip"],
            &["<Dial><Sip> to sip:agent@agent.invalid"],
            &["voice", "agent", "back", "task"],
        ),
        (
            &["--studio"],
            &["action=enqueue", "action enqueue, status ready", "of 1024 characters"],
            &["voice", "agent", "back", "studio", "flex"],
        ),
        (
            &["--late", "400ms"],
            &["\"handoff_status\":\"ready\""],
            &["voice", "agent", "back", "task"],
        ),
        (
            &["--late", "400ms", "--studio"],
            &["action=pending", "action enqueue, status ready"],
            &["voice", "back", "agent", "studio", "flex"],
        ),
        (
            &["--late", "4s"],
            &["\"handoff_status\":\"missing\"", "the data, as it was written"],
            &["voice", "back", "task", "agent"],
        ),
        (
            &["--no-handoff"],
            &["\"handoff_status\":\"missing\"", "<Enqueue> to WW00000000000000000000000000000000"],
            &["voice", "back", "task"],
        ),
        (
            &["--no-handoff", "--studio"],
            &["action=pending", "action fallback, status missing"],
            &["voice", "back", "studio", "flex"],
        ),
        (&["--contained"], &["<Hangup/>"], &["voice", "agent", "back"]),
        (
            &["--contained", "--studio"],
            &["action=hangup", "action hangup, status contained"],
            &["voice", "agent", "back", "studio", "flex"],
        ),
        (&["--hangup"], &["<Response/>"], &["voice", "agent", "back"]),
        (
            &["--wrong-token"],
            &["401", "\"handoff_status\":\"missing\"", "nothing was written"],
            &["voice", "agent", "back", "task"],
        ),
    ];
    // At once, for some of them wait.
    std::thread::scope(|scope| {
        for (flags, wanted, begins) in bends {
            let line = &line;
            scope.spawn(move || {
                let out = line.good(flags);
                for wanted in wanted {
                    assert!(out.contains(wanted), "{flags:?} lacks {wanted}\n{out}");
                }
                let steps = steps(&out);
                let (first, last) = steps.split_at(begins.len());
                assert_eq!(last, ["read", "status", "whole"], "{flags:?}\n{out}");
                // Who is first, the writer or the task, is not for the test to say.
                let (mut first, mut begins) = (first.to_vec(), begins.to_vec());
                first.sort_unstable();
                begins.sort_unstable();
                assert_eq!(first, begins, "{flags:?}\n{out}");
            });
        }
    });
    assert_eq!(line.connectors().trim(), "No connectors");
}

#[test]
fn a_second_visit_is_told_by_its_own_handoff() {
    let line = Line::open(&[]);
    for flags in [&["--second-visit"][..], &["--second-visit", "--studio", "--sip"]] {
        let out = line.good(flags);
        let told = attributes(&out);
        assert_eq!(told.len(), 2, "{out}");
        assert_eq!((&told[0]["handoff_leg"], &told[1]["handoff_leg"]), (&1.into(), &2.into()));
        assert_eq!(told[0]["handoff_reason"], "billing");
        assert_eq!(told[1]["handoff_reason"], "refund");
        assert_eq!(told[0]["handoff_id"], told[1]["handoff_id"]);
        let revision = |line: &str| {
            let (_, rest) = line.split_once("wrote revision ")?;
            rest.split(' ').next().map(str::to_owned)
        };
        let first = out.lines().find_map(revision).unwrap();
        assert!(out.contains(&format!("leg 2, after {first},")), "{out}");
    }
}

#[test]
fn many_calls_are_under_way_at_once_and_their_times_are_told() {
    let line = Line::open(&[]);
    let out = line.good(&["--parallel", "30", "--over", "200ms"]);
    assert!(out.contains("30 calls under way at once, 30 as they should be"), "{out}");
    let row = |name: &str| out.lines().any(|line| line.starts_with(name) && line.contains(" ms"));
    assert!(["voice", "agent", "back", "read", "status", "whole"].into_iter().all(row), "{out}");
    assert!(out.contains("p50") && out.contains("p99") && out.contains("max"), "{out}");
    let mut wrong = line.command(&["call", "--parallel", "3", "--over", "0s"]);
    wrong.env("TWILIO_AUTH_TOKEN", "f".repeat(32));
    let (code, out, err) = run(wrong);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("0 as they should be") && err.contains("3 of 3 calls failed"),
        "{out}{err}"
    );
}

#[test]
fn a_connector_of_ones_own_is_played_on_and_stays() {
    let line = Line::open(&[]);
    let new = [
        "connector",
        "new",
        "--account",
        "acme",
        "--project",
        "line",
        "--env",
        "live",
        "--name",
        "Front desk",
        "--agent-url",
        "wss://agent.example/stream",
        "--json",
    ];
    let (code, out, err) = run(line.command(&new));
    assert_eq!(code, 0, "{err}");
    let made: Value = serde_json::from_str(&out).unwrap();
    let id = made["connector_id"].as_str().unwrap();
    let on = |flags: &[&str]| line.call(&[&["--connector", id], flags].concat());
    // Nobody would take its calls, and it says so.
    let (code, out, err) = on(&[]);
    assert!(code == 1 && err.contains("502") && err.contains("flex.workflow_sid"), "{out}{err}");
    let (code, _, err) = on(&["--sip"]);
    assert!(code == 1 && err.contains("routing.mode"), "{err}");
    let settings = line.serving.folder.path().join("settings.json");
    let json = r#"{"destinations":{"billing":{"number":"+441632960000"}},"flex":{"workflow_sid":"WW11111111111111111111111111111111"}}"#;
    std::fs::write(&settings, json).unwrap();
    let settings = settings.to_str().unwrap();
    let (code, _, err) = run(line.command(&["connector", "patch", id, "--settings", settings]));
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = on(&[]);
    assert!(code == 0 && out.contains("<Dial> to +441632960000"), "{out}{err}");
    let (code, out, err) = on(&["--studio"]);
    assert!(code == 0 && out.contains("action dial, status ready"), "{out}{err}");
    assert!(line.connectors().contains(id));
}

#[test]
fn what_is_refused_says_what_to_do() {
    let line = Line::open(&["--public-url", PUBLIC]);
    // What Twilio signs is where it reaches the server, and not where this command does.
    let (code, _, err) = line.call(&[]);
    assert_eq!(code, 1);
    for word in ["403", "Auth Token", "BATON_PUBLIC_URL", "baton sign explain", &line.url] {
        assert!(err.contains(word), "{err}");
    }
    assert_eq!(line.connectors().trim(), "No connectors");
    let out = line.good(&["--public-url", &format!("{PUBLIC} https://other.example.com")]);
    assert!(out.contains(&format!("\"url\":\"{PUBLIC}\"")), "{out}");
    line.good(&["--public-url", PUBLIC, "--studio"]);
    let (code, _, err) =
        line.call(&["--public-url", PUBLIC, "--connector", "conn_00000000000000000000"]);
    assert!(code == 1 && err.contains("404") && err.contains("conn_0000"), "{err}");
    let mut stranger = line.command(&["call"]);
    stranger.env_remove("BATON_API_KEY_FILE").env("BATON_API_KEY", "x".repeat(40));
    let (code, _, err) = run(stranger);
    assert!(code == 1 && err.contains("401") && err.contains("--connector"), "{err}");
    let (code, _, err) = line.call(&["--url", "http://127.0.0.1:1"]);
    assert!(code == 1 && err.contains("BATON_URL"), "{err}");
}

#[test]
fn what_is_asked_for_wrongly_exits_64() {
    let line = Line::open(&[]);
    for flags in [
        &["--late", "soon"][..],
        &["--late", "1s", "--no-handoff"],
        &["--wrong-token", "--contained"],
        &["--hangup", "--second-visit"],
        &["--dead-store", "--studio"],
        &["--parallel", "0"],
        &["--over", "1s"],
        &["--connector", "front-desk"],
        &["--account-sid", "AC1"],
        &["--public-url", "voice.example.com"],
        &["--auth-token-file", "/nowhere/token"],
    ] {
        let (code, _, err) = line.call(flags);
        assert_eq!(code, 64, "{flags:?} {err}");
    }
    for variable in ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "BATON_API_KEY_FILE"] {
        let mut command = line.command(&["call"]);
        command.env_remove(variable);
        let (code, _, err) = run(command);
        let named = variable.trim_end_matches("_FILE");
        assert!(code == 64 && err.contains(named), "{variable} {err}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let mut command = line.command(&["call", "--auth-token-file", file.to_str().unwrap()]);
    command.env_remove("TWILIO_AUTH_TOKEN");
    assert_eq!(run(command).0, 0);
}

#[test]
fn over_a_store_that_fails_calls_go_on_to_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = baton(&["call", "--dead-store"]);
    // It needs nothing, and what is set for another server does not matter.
    command.env("TMPDIR", folder.path()).env("BATON_URL", "http://127.0.0.1:1");
    command.env("BATON_ADMIN_KEY", "short").env("BATON_PUBLIC_URL", PUBLIC);
    command.env_remove("TWILIO_ACCOUNT_SID").env_remove("TWILIO_AUTH_TOKEN");
    let (code, out, err) = run(command);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let told = attributes(&out);
    assert_eq!(told.len(), 2, "{out}");
    for task in &told {
        assert_eq!(
            (&task["handoff_found"], &task["handoff_status"]),
            (&false.into(), &"error".into())
        );
    }
    assert_ne!(told[0]["handoff_id"], told[1]["handoff_id"]);
    assert_eq!(steps(&out), ["voice", "agent", "back", "task", "voice", "back", "task"], "{out}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "its folder is left behind");
}
