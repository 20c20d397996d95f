//! Reads secrets: from a variable or from a file, never both.

use std::fs;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use secrecy::SecretSlice;
use secrecy::SecretString;

use crate::config::ADMIN_KEY_CHARACTERS;
use crate::config::Faults;
use crate::config::raw::RawSecrets;

/// The secrets, as far as they were given.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    pub(super) admin_key: Option<SecretString>,
    pub(super) seal_keys: Option<Vec<SecretSlice<u8>>>,
    pub(super) signing_keys: Option<Vec<SecretSlice<u8>>>,
    pub(super) auth_tokens: Option<SecretString>,
    pub(super) shared_keys: Option<SecretString>,
    pub(super) redis_password: Option<SecretString>,
}

impl Secrets {
    /// Complains about what each of several processes over one store would make for itself.
    pub(super) fn must_be_shared(&self, faults: &mut Faults) {
        let needed = [
            ("BATON_SEAL_KEYS", self.seal_keys.is_none(), "openssl rand -base64 32"),
            ("BATON_ADMIN_KEY", self.admin_key.is_none(), "openssl rand -hex 32"),
        ];
        for (name, is_missing, how) in needed {
            if is_missing && !faults.0.iter().any(|fault| fault.starts_with(name)) {
                faults.0.push(format!(
                    "{name} must be given with a Redis store, the same to every Baton over it (make one with: {how})"
                ));
            }
        }
    }
}

pub(super) fn read(raw: &RawSecrets, faults: &mut Faults) -> Secrets {
    let admin_key =
        given("BATON_ADMIN_KEY", raw.admin_key.as_ref(), raw.admin_key_file.as_ref(), faults);
    let short = |key: &SecretString| key.expose_secret().chars().count() < ADMIN_KEY_CHARACTERS;
    if admin_key.as_ref().is_some_and(short) {
        faults
            .0
            .push(format!("BATON_ADMIN_KEY must be at least {ADMIN_KEY_CHARACTERS} characters"));
    }
    let unprintable =
        |key: &SecretString| !key.expose_secret().bytes().all(|b| b.is_ascii_graphic());
    if admin_key.as_ref().is_some_and(unprintable) {
        faults.0.push(
            "BATON_ADMIN_KEY must be printable ASCII without blanks: it travels in a header"
                .to_owned(),
        );
    }
    let seal =
        given("BATON_SEAL_KEYS", raw.seal_keys.as_ref(), raw.seal_keys_file.as_ref(), faults);
    let seal_keys = seal.and_then(|text| {
        keys("BATON_SEAL_KEYS", "base64 of 32 bytes", &text, faults, |bytes| bytes.len() == 32)
    });
    let signing = given(
        "BATON_SIGNING_KEYS",
        raw.signing_keys.as_ref(),
        raw.signing_keys_file.as_ref(),
        faults,
    );
    let signing_keys = signing.and_then(|text| {
        let name = "BATON_SIGNING_KEYS";
        let is_key = |bytes: &[u8]| Ed25519KeyPair::from_pkcs8(bytes).is_ok();
        keys(name, "base64 of an Ed25519 key in PKCS#8", &text, faults, is_key)
    });
    let auth_tokens = given(
        "BATON_TWILIO_AUTH_TOKENS",
        raw.twilio_auth_tokens.as_ref(),
        raw.twilio_auth_tokens_file.as_ref(),
        faults,
    );
    let shared_keys = given(
        "BATON_TWILIO_SHARED_KEYS",
        raw.twilio_shared_keys.as_ref(),
        raw.twilio_shared_keys_file.as_ref(),
        faults,
    );
    let redis_password = given(
        "BATON_REDIS_PASSWORD",
        raw.redis_password.as_ref(),
        raw.redis_password_file.as_ref(),
        faults,
    );
    Secrets { admin_key, seal_keys, signing_keys, auth_tokens, shared_keys, redis_password }
}

fn given(
    name: &str,
    value: Option<&SecretString>,
    file: Option<&String>,
    faults: &mut Faults,
) -> Option<SecretString> {
    let text = match (value, file) {
        (Some(_), Some(_)) => {
            faults.0.push(format!("{name} and {name}_FILE are both set; give one"));
            return None;
        }
        (Some(value), None) => value.expose_secret().to_owned(),
        (None, Some(path)) => match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                faults.0.push(format!("{name}_FILE {path} cannot be read: {error}"));
                return None;
            }
        },
        (None, None) => return None,
    };
    if text.trim().is_empty() {
        faults.0.push(format!("{name} is set but empty; unset it or give a value"));
        return None;
    }
    Some(text.trim().to_owned().into())
}

/// Reads keys separated by blanks or newlines.
fn keys(
    name: &str,
    form: &str,
    text: &SecretString,
    faults: &mut Faults,
    fits: impl Fn(&[u8]) -> bool,
) -> Option<Vec<SecretSlice<u8>>> {
    let read = |word: &str| STANDARD.decode(word).ok().filter(|b| fits(b)).map(SecretSlice::from);
    let keys = text.expose_secret().split_whitespace().map(read).collect::<Option<Vec<_>>>();
    if keys.is_none() {
        faults.0.push(format!("{name} must be keys separated by blanks, each {form}"));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(raw: &RawSecrets) -> Vec<String> {
        let mut faults = Faults::default();
        read(raw, &mut faults);
        faults.0
    }

    #[test]
    fn a_secret_comes_from_one_place_and_is_not_empty() {
        let both = RawSecrets {
            admin_key: Some("x".repeat(40).into()),
            admin_key_file: Some("/nowhere".into()),
            seal_keys: Some(" ".into()),
            signing_keys_file: Some("/nowhere/at/all".to_owned()),
            ..RawSecrets::default()
        };
        let faults = faults_of(&both);
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].contains("both set") && faults[1].contains("empty"));
        assert!(faults[2].contains("/nowhere/at/all"));
    }

    #[test]
    fn a_weak_or_unsendable_admin_key_and_a_short_seal_key_are_refused_without_being_shown() {
        let weak = RawSecrets {
            admin_key: Some("hunter2 é".into()),
            seal_keys: Some("c2hvcnQ=".into()),
            ..RawSecrets::default()
        };
        let faults = faults_of(&weak);
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(!faults.concat().contains("hunter2") && !faults.concat().contains("c2hvcnQ"));
    }

    #[test]
    fn a_signing_key_that_is_none_is_refused_with_the_other_faults() {
        let raw = RawSecrets { signing_keys: Some("AAAA".into()), ..RawSecrets::default() };
        assert!(faults_of(&raw)[0].contains("Ed25519"));
    }

    #[test]
    fn a_ring_of_several_keys_is_read_in_order() {
        let ring = [[1_u8; 32], [2; 32]].map(|key| STANDARD.encode(key)).join("\n");
        let raw = RawSecrets { seal_keys: Some(ring.into()), ..RawSecrets::default() };
        let mut faults = Faults::default();
        let keys = read(&raw, &mut faults).seal_keys.unwrap();
        assert_eq!((keys.len(), keys[0].expose_secret()[0]), (2, 1));
    }
}
