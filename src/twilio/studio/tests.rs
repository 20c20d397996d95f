//! The answer's shape, for every kind of handoff.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::handoff::Heading;
use crate::domain::handoff::SEND_TO_FLEX_CHARACTERS;
use crate::domain::handoff::rendered_characters;
use crate::domain::public_url::MAX_PUBLIC_URL_CHARACTERS;

const SID: &str = "CA0123456789abcdef0123456789abcdef";

fn handoff(data: &str, status: Status) -> Handoff {
    let heading = Heading {
        id: SID.parse().unwrap(),
        account: AccountId::default(),
        project: ProjectId::default(),
        shared_id: Some("five9-1".parse().unwrap()),
        status,
        ttl_seconds: 60,
        connector: None,
        client_env: None,
        left_over: false,
        held_seconds: None,
        caller: None,
    };
    Handoff::new(heading, data, 7_000_000, Timestamp::NEVER)
}

fn asked() -> Asked<'static> {
    Asked {
        id: SID,
        public_url: "https://voice.example.com",
        from: "+15551234567",
        ..Asked::default()
    }
}

fn of(data: &str) -> Value {
    checked(&answer(&asked(), Found::Handoff(&handoff(data, Status::Ready))).answer)
}

/// An answer that keeps its promises, whatever is in it.
fn checked(text: &str) -> Value {
    assert!(text.len() <= STUDIO_BYTES, "{} bytes", text.len());
    let answer: Value = serde_json::from_str(text).unwrap();
    let kind = |value: &Value| match value {
        Value::Bool(_) => 'b',
        Value::String(_) => 's',
        Value::Number(_) => 'n',
        Value::Object(_) => 'o',
        Value::Null | Value::Array(_) => '?',
    };
    let kinds = |value: &Value| -> String {
        let members = value.as_object().unwrap().iter();
        let mut kinds: Vec<_> = members.map(|(k, v)| format!("{k}:{}", kind(v))).collect();
        kinds.sort();
        kinds.join(" ")
    };
    assert_eq!(
        kinds(&answer),
        "action:s client_env:s connector_id:s data:o destination:s error:s flex:o flex_omitted:s found:b id:s language:s leg:s priority:s reason:s revision:s shared_id:s status:s summary:s verified:s written_at:s"
    );
    let flex = &answer["flex"];
    assert_eq!(
        kinds(flex),
        "baton:o conversations:o customers:o handoff_destination:s handoff_found:b handoff_id:s handoff_language:s handoff_leg:n handoff_omitted:s handoff_priority:n handoff_reason:s handoff_status:s handoff_summary:s handoff_verified:b name:s type:s"
    );
    assert_eq!(kinds(&flex["baton"]), "connector_id:s url:s");
    assert_eq!(kinds(&flex["conversations"]), "content:s ivr_path:s ivr_time:n");
    assert_eq!(kinds(&flex["customers"]), "phone:s");
    let characters = rendered_characters(&flex.to_string());
    assert!(characters <= SEND_TO_FLEX_CHARACTERS, "{characters}: {flex}");
    answer
}

#[test]
fn a_handoff_is_told_in_the_words_a_flow_splits_on() {
    let answer = of(
        r#"{"reason":"billing","destination":"team_a","verified":true,"summary":"Wants a refund.","priority":3,"name":"Ada","n":12345678901234567890}"#,
    );
    assert_eq!(answer["found"], true);
    assert_eq!((&answer["status"], &answer["action"]), (&"ready".into(), &"enqueue".into()));
    assert_eq!((&answer["id"], &answer["shared_id"]), (&SID.into(), &"five9-1".into()));
    assert_eq!((&answer["priority"], &answer["verified"]), (&"3".into(), &"true".into()));
    assert_eq!(answer["written_at"], "1970-01-01T00:00:07.000000Z");
    assert_eq!(answer["data"]["n"], "12345678901234567890");
    let flex = &answer["flex"];
    assert_eq!(
        (&flex["name"], &flex["customers"]["phone"]),
        (&"Ada".into(), &"+15551234567".into())
    );
    assert_eq!((&flex["handoff_priority"], &flex["handoff_verified"]), (&3.into(), &true.into()));
    assert_eq!(flex["handoff_summary"], "Wants a refund.");
    assert_eq!((&flex["handoff_omitted"], &answer["flex_omitted"]), (&"".into(), &"".into()));
}

#[test]
fn status_chooses_the_action() {
    for (status, action) in
        [(Status::Ready, "enqueue"), (Status::Failed, "enqueue"), (Status::Contained, "hangup")]
    {
        let answer = checked(&answer(&asked(), Found::Handoff(&handoff("{}", status))).answer);
        assert_eq!(answer["action"], action);
    }
}

#[test]
fn a_miss_is_complete_too() {
    for (status, word) in
        [(Miss::Missing, "missing"), (Miss::Expired, "expired"), (Miss::Error, "error")]
    {
        let found = Found::Nothing { status, error: "HANDOFF_NOT_FOUND" };
        let answer = checked(&answer(&asked(), found).answer);
        assert_eq!((&answer["found"], &answer["status"]), (&false.into(), &word.into()));
        assert_eq!((&answer["action"], &answer["id"]), (&"fallback".into(), &SID.into()));
        assert_eq!(answer["flex"]["handoff_status"], word);
        assert_eq!(answer["flex"]["name"], "+15551234567");
    }
}

#[test]
fn what_does_not_fit_is_given_up_in_order_and_named() {
    let long = "word ".repeat(60);
    let answer = of(&format!(
        r#"{{"summary":"{long}","topic":"{long}","ivr_path":"{long}","reason":"{long}"}}"#
    ));
    let flex = &answer["flex"];
    assert_eq!(flex["handoff_omitted"], "summary");
    let kept = flex["handoff_summary"].as_str().unwrap();
    assert!(kept.ends_with("word…") && kept.len() > 24, "{kept}");
    assert!(flex["handoff_reason"].as_str().unwrap().len() > 100);
    let japanese = "あ".repeat(300);
    let answer = of(&format!(
        r#"{{"name":"{japanese}","summary":"{japanese}","topic":"{japanese}","ivr_path":"{japanese}","reason":"{japanese}","destination":"{japanese}","language":"{japanese}","phone":"{japanese}"}}"#
    ));
    assert!(!answer["flex"]["name"].as_str().unwrap().is_empty());
    assert!(!answer["flex"]["handoff_destination"].as_str().unwrap().is_empty());
    assert_eq!(answer["flex"]["customers"]["phone"], "");
}

#[test]
fn what_must_be_there_fits_at_its_longest() {
    let url = format!("https://{}", "h".repeat(MAX_PUBLIC_URL_CHARACTERS - 8));
    let id = "x".repeat(128);
    let connector_id = "c".repeat(36);
    let nasty = "'\u{1F600}".repeat(100);
    let data = serde_json::json!({
        "name": nasty, "destination": nasty, "reason": nasty, "language": nasty, "summary": nasty,
        "phone": nasty, "topic": nasty, "ivr_path": nasty, "priority": i32::MAX, "ivr_time": i32::MAX
    });
    let mut long = handoff(&data.to_string(), Status::Contained);
    long.heading.id = id.parse().unwrap();
    let asked = Asked {
        public_url: &url,
        connector_id: &connector_id,
        client_env: "pre-release",
        leg: u32::MAX,
        ..asked()
    };
    let answer = checked(&answer(&asked, Found::Handoff(&long)).answer);
    assert_eq!(answer["flex"]["baton"]["url"], url);
    assert_eq!(answer["flex"]["handoff_id"], id);
}

#[test]
fn data_beyond_studios_limit_loses_its_largest_members() {
    let data = format!(r#"{{"a":1,"transcript":"{}","b":"é"}}"#, "é".repeat(50_000));
    let answer = of(&data);
    assert_eq!(answer["data"], serde_json::json!({ "a": 1, "b": "é" }));
    assert_eq!(answer["flex_omitted"], "data.transcript");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_agent_writes_the_answer_keeps_its_shape(
        texts in prop::collection::vec("\\PC{0,200}|[\"\\\\'<>&=\n\t 😀あ]{0,200}", 8), size in 0_usize..80_000
    ) {
        let names = ["name", "summary", "reason", "destination", "language", "phone", "topic", "ivr_path"];
        let mut data: serde_json::Map<String, Value> =
            names.iter().zip(&texts).map(|(name, text)| ((*name).to_owned(), text.as_str().into())).collect();
        data.insert("pad".to_owned(), "\"".repeat(size).into());
        of(&Value::Object(data).to_string());
    }
}
