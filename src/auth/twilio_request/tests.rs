//! Whose secret opens what.

use super::*;
use crate::config::twilio::SharedKey;
use crate::domain::algorithm::Algorithm;
use crate::domain::clock::Timestamp;

const ONE: &str = "AC11111111111111111111111111111111";
const TWO: &str = "AC22222222222222222222222222222222";

fn door() -> TwilioDoor {
    let tokens = |sid: &str, tokens: &[&str]| {
        (sid.parse().unwrap(), tokens.iter().map(|token| (*token).into()).collect())
    };
    let settings = Twilio {
        public_urls: vec![
            "https://a.example".parse().unwrap(),
            "https://b.example/p".parse().unwrap(),
        ],
        auth_tokens: vec![tokens(ONE, &["new", "old"]), tokens(TWO, &["two"])],
        shared_keys: vec![SharedKey {
            account: ONE.parse().unwrap(),
            id: "webhooks_sharedkey_1".to_owned(),
            algorithm: Algorithm::HmacSha256,
            secret: "shared".into(),
        }],
        ..Twilio::default()
    };
    TwilioDoor::new(&settings, Vec::new(), Clock::fixed(Timestamp::from_micros(1)))
}

struct Asked {
    query: String,
    token: &'static str,
    algorithm: Algorithm,
    settings: Option<&'static str>,
    base: &'static str,
    host: &'static str,
    is_webhook: bool,
}

fn asked(query: &str, token: &'static str) -> Asked {
    Asked {
        query: query.to_owned(),
        token,
        algorithm: Algorithm::HmacSha1,
        settings: None,
        base: "https://a.example",
        host: "a.example",
        is_webhook: false,
    }
}

fn presented<T>(asked: &Asked, then: impl FnOnce(&Presented<'_>) -> T) -> T {
    let target = format!("/twilio/studio/handoff?{}", asked.query);
    let secret = Secret::new("", asked.algorithm, asked.token);
    let signature = signature::sign(&secret, &format!("{}{target}", asked.base), &Pairs::default());
    then(&Presented {
        signature: &signature,
        settings: asked.settings,
        host: Some(asked.host),
        target: &target,
        payload: Payload::None,
        pairs: &Pairs::decode(asked.query.as_bytes()),
        is_webhook: asked.is_webhook,
        is_of_tasks: false,
        connector: None,
    })
}

fn ask(asked: &Asked) -> Result<String, Refused> {
    presented(asked, |p| door().admit(p).map(|admitted| admitted.matched.secret))
}

#[test]
fn a_token_speaks_for_its_own_account_only() {
    assert_eq!(ask(&asked("id=1", "new")).unwrap(), format!("{ONE} current Auth Token"));
    assert_eq!(ask(&asked("id=1", "old")).unwrap(), format!("{ONE} previous Auth Token"));
    assert!(ask(&asked("id=1", "two")).unwrap().starts_with(TWO));
    assert!(ask(&asked(&format!("AccountSid={ONE}"), "new")).is_ok());
    let other = Refused::Mismatch(Mismatch::NoneMatched);
    assert_eq!(ask(&asked(&format!("AccountSid={ONE}"), "two")), Err(other));
    assert_eq!(ask(&asked("id=1", "stranger's")), Err(other));
    let unknown = "AccountSid=AC33333333333333333333333333333333";
    assert_eq!(ask(&asked(unknown, "new")), Err(Refused::UnknownAccount));
    assert_eq!(ask(&asked("AccountSid=x", "new")), Err(Refused::UnknownAccount));
}

#[test]
fn what_must_be_clear_must_be_clear() {
    let twice = Refused::Parameter("CallSid", Unclear::Repeated);
    assert_eq!(ask(&asked("CallSid=1&CallSid=1", "new")), Err(twice));
    let twice = Refused::Parameter("AccountSid", Unclear::Repeated);
    assert_eq!(ask(&asked(&format!("AccountSid={ONE}&AccountSid={TWO}"), "new")), Err(twice));
    let needs = |query: &str| Asked { is_webhook: true, ..asked(query, "new") };
    assert_eq!(ask(&needs("CallSid=1")), Err(Refused::NoAccount));
    assert!(ask(&needs(&format!("AccountSid={ONE}"))).is_ok());
}

#[test]
fn a_shared_key_is_taken_only_as_it_is_configured() {
    let by = |settings, token, algorithm| {
        ask(&Asked { settings: Some(settings), algorithm, ..asked("id=1", token) })
    };
    let named = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256";
    assert!(by(named, "shared", Algorithm::HmacSha256).is_ok());
    let other = Err::<String, _>(Refused::Mismatch(Mismatch::NoneMatched));
    assert_eq!(by(named, "shared", Algorithm::HmacSha1), other);
    assert_eq!(by(named, "new", Algorithm::HmacSha256), other);
    let downgraded = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA1";
    assert_eq!(by(downgraded, "shared", Algorithm::HmacSha1), Err(Refused::UnknownSharedKey));
    let unknown = "key=webhooks_sharedkey_2,algorithm=HMAC_SHA256";
    assert_eq!(by(unknown, "shared", Algorithm::HmacSha256), Err(Refused::UnknownSharedKey));
    let no_key = "algorithm=HMAC_SHA256";
    assert_eq!(by(no_key, "shared", Algorithm::HmacSha256), Err(Refused::UnknownSharedKey));
    let md5 = "key=webhooks_sharedkey_1,algorithm=HMAC_MD5";
    assert_eq!(by(md5, "shared", Algorithm::HmacSha256), Err(Refused::UnknownAlgorithm));
    // Without the header it is the Auth Token, and a SharedKey is none.
    assert_eq!(ask(&asked("id=1", "shared")), other);
}

#[test]
fn host_only_chooses_among_the_public_urls() {
    let at = |base, host| ask(&Asked { base, host, ..asked("id=1", "new") }).is_ok();
    assert!(at("https://a.example", "a.example") && at("https://b.example/p", "b.example:443"));
    assert!(!at("https://b.example/p", "a.example") && !at("https://a.example", "b.example"));
    // None is named: all are tried.
    assert!(at("https://a.example", "10.0.0.1") && at("https://b.example/p", "10.0.0.1"));
    assert!(!at("https://c.example", "c.example"));
}

#[test]
fn a_refusal_is_explained_without_secrets_or_values() {
    let elsewhere = Asked {
        base: "https://c.example",
        host: "c.example",
        ..asked("id=secret&From=%2B1555", "new")
    };
    let told = presented(&elsewhere, |p| {
        assert!(door().admit(p).is_err());
        (door().explain(p), p.signature.to_owned())
    });
    let (told, signature) = told;
    assert_eq!(told.would_match_if, ["BATON_PUBLIC_URL had https://c.example"]);
    assert_eq!(
        told.tried.first().unwrap(),
        "https://a.example/twilio/studio/handoff?id=…&From=… (as received)"
    );
    assert_eq!(told.secrets.len(), 3);
    let text = format!("{told:?}");
    assert!(
        !text.contains("secret&") && !text.contains("1555") && !text.contains(&signature),
        "{text}"
    );
}
