//! `baton sign`, and what the log says of a signature that was refused.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;

use crate::Serving;
use crate::baton;
use crate::run;

const ACCOUNT: &str = "AC11111111111111111111111111111111";
const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";

/// Exit code, one verdict a line, standard error.
fn sign(action: &str, input: &str) -> (i32, Vec<Value>, String) {
    let mut command = baton(&["sign", action]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let verdicts = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), verdicts, String::from_utf8(output.stderr).unwrap())
}

/// The signature that `sign make` prints for these arguments.
fn made(arguments: &[&str]) -> String {
    let mut command = baton(&[&["sign", "make"], arguments].concat());
    command.env("TWILIO_AUTH_TOKEN", "12345");
    let (code, out, err) = run(command);
    assert_eq!(code, 0, "{err}");
    out
}

#[test]
fn the_vectors_of_the_sdks_own_suites() {
    let vectors = include_str!("../vectors/twilio-signature.jsonl");
    let (code, verdicts, _) = sign("check", vectors);
    assert_eq!((code, verdicts.len()), (0, 50));
    for (line, verdict) in vectors.lines().zip(&verdicts) {
        let vector: Value = serde_json::from_str(line).unwrap();
        assert_eq!(verdict["valid"], vector["valid"], "{vector}\n{verdict}");
        assert_eq!(verdict["name"], vector["name"]);
        // What was found to be signed is what was signed.
        if vector["valid"] == true {
            assert_eq!(verdict["matched"]["url"], vector["signed_url"], "{vector}");
        }
    }
}

#[test]
fn what_is_made_checks_and_what_cannot_be_read_is_said_without_being_shown() {
    let signature = made(&[
        "--url",
        URL,
        "--param",
        "To=+18005551212",
        "--param",
        "From=+14158675309",
        "--param",
        "Digits=1234",
        "--param",
        "Caller=+14158675309",
        "--param",
        "CallSid=CA1234567890ABCDE",
    ]);
    assert_eq!(signature.trim(), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body.json");
    std::fs::write(&file, "{\"a\": 1}").unwrap();
    let of_body =
        made(&["--url", URL, "--body-file", file.to_str().unwrap(), "--algorithm", "HMAC_SHA256"]);
    let (signature, url) = of_body.trim().split_once('\n').unwrap();
    let line = json!({
        "name": "json", "auth_token": "12345", "url": url, "signature": signature, "body": "{\"a\": 1}",
        "content_type": "application/json",
        "signature_settings": "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256",
    });
    let other = line.to_string().replace("HMAC_SHA256", "HMAC_SHA512");
    // What is not checked is not accepted: parameters beside another body, a body that nothing binds.
    let get = |more: Value| {
        let signature = made(&["--url", URL]);
        let mut line = json!({ "auth_token": "12345", "url": URL, "signature": signature.trim() });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        sign("check", &line.to_string()).1[0]["valid"] == true
    };
    assert!(get(json!({})) && get(json!({ "params": [] })) && get(json!({ "body": "" })));
    let json_type = "application/json";
    assert!(!get(json!({ "params": [["To", "evil"]], "body": "" })));
    assert!(!get(json!({ "params": [["To", "evil"]], "body": "x", "content_type": json_type })));
    assert!(!get(json!({ "params": [], "body": "{}", "content_type": json_type })));
    let broken = "{\"name\":\"broken\",\"auth_token\":\"hunter2\",\"url\":7}";
    let input = format!("{line}\n\r\n{other}\n{broken}\nhunter2\n");
    let (code, verdicts, err) = sign("check", &input);
    assert_eq!(code, 1);
    let valid: Vec<_> = verdicts.iter().map(|v| v["valid"].as_bool().unwrap()).collect();
    assert_eq!(valid, [true, false, false, false]);
    assert_eq!(verdicts[2]["name"], "broken");
    assert!(verdicts[1]["error"].as_str().unwrap().contains("HMAC_SHA512"));
    assert!(!format!("{verdicts:?}{err}").contains("hunter2"));
    let fragment = made(&["--url", &format!("{URL}#rc=3")]);
    assert_eq!(fragment, made(&["--url", URL]));
    for url in ["nonsense", "https://h/a b", "https://h/?bodySHA256=1"] {
        let mut command = baton(&["sign", "make", "--url", url]);
        command.env("TWILIO_AUTH_TOKEN", "12345");
        assert_eq!(run(command).0, 64, "{url}");
    }
    let mut command = baton(&["sign", "make", "--url", URL]);
    command.env_remove("TWILIO_AUTH_TOKEN");
    let (code, _, err) = run(command);
    assert_eq!(code, 64);
    assert!(err.contains("TWILIO_AUTH_TOKEN"), "{err}");
}

#[test]
fn a_refusal_is_explained() {
    let signature = made(&["--url", URL]);
    let line = |url: &str| {
        json!({ "auth_token": "12345", "url": url, "signature": signature.trim() }).to_string()
    };
    let input = format!("{}\n{}\n", line(&URL.replace("https", "http")), line(URL));
    let (code, verdicts, _) = sign("explain", &input);
    assert_eq!(code, 0);
    assert!(verdicts[0]["would_match_if"][0].as_str().unwrap().contains("https"), "{verdicts:?}");
    assert!(verdicts[0]["tried"].as_array().unwrap().len() >= 2);
    assert!(!verdicts[0]["advice"].as_str().unwrap().is_empty());
    assert_eq!(
        (&verdicts[1]["valid"], &verdicts[1]["reason"]),
        (&json!(true), &json!("it matches"))
    );
}

#[test]
fn signatures_are_not_taken_where_nobody_said_what_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = baton(&["serve", "--listen", "0.0.0.0:0", "--drain-seconds", "0"]);
    command.arg("--data-dir").arg(folder.path()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.env("BATON_TWILIO_AUTH_TOKENS", format!("{ACCOUNT}=token"));
    let mut child = command.spawn().unwrap();
    // A server that starts all the same must not keep the test.
    for _ in 0..100 {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{err}");
    assert!(err.contains("BATON_PUBLIC_URL"), "{err}");
}

/// "Signature refused? Do this" quotes the log: what it quotes is said, and what is said it quotes.
#[test]
fn readme_knows_every_reason_that_is_told() {
    let readme = include_str!("../../README.md");
    let (_, page) = readme.split_once("### Signature refused?").unwrap();
    let (page, _) = page.split_once("\n## ").unwrap();
    let rows = page.lines().filter(|line| line.starts_with("   | `"));
    let quoted: Vec<&str> = rows
        .flat_map(|row| row.split(" | ").nth(1).unwrap().split('`').skip(1).step_by(2))
        .map(|text| text.split('…').next().unwrap())
        .collect();
    let sources = [
        include_str!("../../src/twilio/signature/mod.rs"),
        include_str!("../../src/twilio/signature/explain.rs"),
        include_str!("../../src/twilio/form.rs"),
        include_str!("../../src/auth/twilio_request/mod.rs"),
        include_str!("../../src/http/twilio/door/mod.rs"),
    ]
    .concat();
    for text in &quoted {
        let said = text.split_once("https://").map_or(*text, |(before, _)| before);
        assert!(sources.contains(said.trim_end()), "README quotes what is never said: {text}");
    }
    let errors = sources.split("#[error(\"").skip(1).map(|text| text.split('"').next().unwrap());
    // But for what only `baton sign` can meet, for the door turns it away before.
    let at_the_door = ["there is no signature", "the signature is none"];
    for error in errors.filter(|error| !at_the_door.iter().any(|text| error.starts_with(text))) {
        let error = error.trim_start_matches("parameter {0} {1}");
        assert!(quoted.iter().any(|text| error.contains(text)) || error.is_empty(), "{error}");
    }
}

/// Sends a POST, and answers its status line.
fn post(address: &str, target: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let form = "Content-Type: application/x-www-form-urlencoded";
    write!(stream, "POST {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{form}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said.lines().next().unwrap().to_owned()
}

#[test]
fn the_log_explains_refusals_a_few_a_second_and_holds_no_secret_and_no_value() {
    let mut command = baton(&["serve", "--listen", "127.0.0.1:0", "--drain-seconds", "0"]);
    command.env("BATON_TWILIO_AUTH_TOKENS", format!("{ACCOUNT}=12345,hunter2"));
    command.env("BATON_PUBLIC_URL", "https://voice.example.com").stderr(Stdio::piped());
    let mut serving = Serving::of(command);
    let address = serving.greeting[0].rsplit('/').next().unwrap().to_owned();
    // Signed for where the server really is, and not for where it was told that it is.
    let target = "/twilio/check?note=MARKED";
    let account = format!("AccountSid={ACCOUNT}");
    let signature = made(&[
        "--url",
        &format!("https://{address}{target}"),
        "--param",
        &account,
        "--param",
        "From=MARKED",
    ]);
    let header = format!("X-Twilio-Signature: {}\r\n", signature.trim());
    for _ in 0..20 {
        let said = post(&address, target, &header, &format!("{account}&From=MARKED"));
        assert!(said.contains(" 403 "), "{said}");
    }
    assert!(post(&address, "/twilio/check", "", "").contains(" 403 "));
    // Values where names belong: a bare query, and JSON that is declared a form.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let wrong = format!("X-Twilio-Signature: {}\r\n", "A".repeat(28));
    let json = "{\"From\":\"MARKED\",\"card\":\"5500005555555559\"}";
    assert!(post(&address, "/twilio/check?+1555MARKED", &wrong, json).contains(" 403 "));
    let mut log = serving.child.stderr.take().unwrap();
    serving.stop();
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let explained: Vec<_> = lines.iter().filter(|l| l["target"] == "baton::signature").collect();
    assert!((3..=15).contains(&explained.len()), "{text}");
    let first = explained[0];
    let would = first["would_match_if"].as_str().unwrap();
    assert_eq!(would, format!("BATON_PUBLIC_URL had https://{address}"), "{first}");
    assert!(
        first["tried"].as_str().unwrap().contains("https://voice.example.com/twilio/check?note=…")
    );
    assert!(first["parameters"].as_str().unwrap().contains("From"), "{first}");
    let answered = lines.iter().filter(|l| l["correlation_id"] == first["correlation_id"]);
    assert!(answered.into_iter().any(|l| l["error_code"] == "SIGNATURE_REFUSED"), "{text}");
    assert!(
        explained.iter().any(|line| line["reason"] == "X-Twilio-Signature is missing or empty")
    );
    for secret in ["MARKED", "5500005555555559", "12345\"", "hunter2", signature.trim()] {
        assert!(!text.contains(secret), "{secret} is in the log: {text}");
    }
}
