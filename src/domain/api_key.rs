//! [`ApiKey`]: what a caller presents; [`KeyRecord`]: what is kept of it.
//!
//! Printed as `btk_<id>_<secret>_<checksum>`: a prefix that secret scanners can match, an id that
//! may be shown and logged, 256 random bits, and a checksum by which junk is refused without
//! asking the store. All of it is `A–Z a–z 0–9 _`, so it survives a URL's Basic part unescaped.
//! Only the SHA-256 is kept: a fast hash is right for a secret nobody can guess.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use serde::Deserialize;
use serde::Serialize;
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::domain::account::AccountId;
use crate::domain::clock::Timestamp;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
use crate::domain::principal::Projects;
use crate::domain::principal::Reach;
use crate::domain::principal::ReadDefaults;
use crate::domain::principal::Scope;
use crate::domain::random::ALPHABET;
use crate::domain::random::NoRandom;
use crate::domain::random::random_text;

/// How every key begins.
pub const PREFIX: &str = "btk_";

const ID_CHARACTERS: usize = 10;
// 62^43 > 2^256.
const SECRET_CHARACTERS: usize = 43;
const CHECKSUM_CHARACTERS: usize = 6;

/// The part of a key that may be shown: 10 of `A–Z a–z 0–9`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyId(String);

/// A key as its holder knows it. Does not print.
#[derive(Clone, Debug)]
pub struct ApiKey {
    id: KeyId,
    text: SecretString,
}

/// A text that is not a key: wrong shape, or its checksum does not match (a typing slip, a key cut
/// off by a copy).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("is not a key of the form btk_<id>_<secret>_<checksum>")]
pub struct BadApiKey;

impl KeyId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = BadApiKey;

    fn from_str(text: &str) -> Result<Self, BadApiKey> {
        let well_formed =
            text.len() == ID_CHARACTERS && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if well_formed { Ok(Self(text.to_owned())) } else { Err(BadApiKey) }
    }
}

impl TryFrom<String> for KeyId {
    type Error = BadApiKey;

    fn try_from(text: String) -> Result<Self, BadApiKey> {
        text.parse()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ApiKey {
    /// A new key from the system's random source.
    pub fn random() -> Result<Self, NoRandom> {
        let id = random_text(ID_CHARACTERS)?;
        let body = format!("{PREFIX}{id}_{}", random_text(SECRET_CHARACTERS)?);
        let text = format!("{body}_{}", checksum(&body));
        Ok(Self { id: KeyId(id), text: text.into() })
    }

    /// Which key this is.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The whole key, to be shown once.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// What is kept of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.expose())
    }
}

/// Reads which key a text claims to be, without checking its checksum: enough to look it up.
pub fn claimed_id(text: &str) -> Option<&str> {
    let id = text.strip_prefix(PREFIX)?.get(..ID_CHARACTERS)?;
    id.bytes().all(|b| b.is_ascii_alphanumeric()).then_some(id)
}

impl FromStr for ApiKey {
    type Err = BadApiKey;

    fn from_str(text: &str) -> Result<Self, BadApiKey> {
        let id: KeyId = claimed_id(text).ok_or(BadApiKey)?.parse()?;
        let (body, sum) = text.rsplit_once('_').ok_or(BadApiKey)?;
        let secret = body.get(PREFIX.len() + ID_CHARACTERS..).and_then(|s| s.strip_prefix('_'));
        let secret = secret.ok_or(BadApiKey)?;
        let well_formed = secret.len() == SECRET_CHARACTERS
            && secret.bytes().all(|b| b.is_ascii_alphanumeric())
            && sum == checksum(body);
        if well_formed { Ok(Self { id, text: text.into() }) } else { Err(BadApiKey) }
    }
}

/// SHA-256 of a whole key. Compared in constant time.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of a presented text.
    pub fn of(text: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        Self(bytes)
    }

    /// What tells it from other keys' hashes, where nobody may learn it, nor try keys against it.
    pub fn mark(&self, secret: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, &self.0).as_ref().get(..9).unwrap_or_default())
    }

    /// Whether both are the hash of the same key.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// What is kept of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Which key.
    pub id: KeyId,
    /// The account it belongs to.
    pub account: AccountId,
    /// The projects it reaches.
    pub projects: Projects,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// A name for people.
    pub label: String,
    /// When it was made.
    pub created_at: u64,
    /// When it stops, in microseconds since the epoch.
    pub expires_at: Option<u64>,
    /// How its reads behave by default.
    pub read_defaults: ReadDefaults,
    /// SHA-256 of the whole key.
    pub hash: KeyHash,
}

impl KeyRecord {
    /// Who a caller with this key is.
    pub fn principal(&self) -> Principal {
        Principal {
            credential: Credential::Key,
            name: self.id.0.clone(),
            reach: Reach::Account(self.account.clone()),
            projects: self.projects.clone(),
            scopes: self.scopes.clone(),
            expires_at: self.expires_at.map(Timestamp::from_micros),
            read_defaults: self.read_defaults,
            acting: None,
        }
    }
}

/// Six characters of the SHA-256 of everything before them.
fn checksum(body: &str) -> String {
    let hash = digest::digest(&digest::SHA256, body.as_bytes());
    let letter = |b: &u8| ALPHABET.get(usize::from(b % 62)).copied().unwrap_or(b'0');
    hash.as_ref().iter().take(CHECKSUM_CHARACTERS).map(|b| char::from(letter(b))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_reads_back_and_matches_only_itself() {
        let key = ApiKey::random().unwrap();
        assert_eq!(key.expose().len(), 65);
        let read: ApiKey = key.expose().parse().unwrap();
        assert_eq!(read.id(), key.id());
        assert_eq!(claimed_id(key.expose()), Some(key.id().as_str()));
        assert!(read.hash().matches(&key.hash()));
        assert!(!ApiKey::random().unwrap().hash().matches(&key.hash()));
    }

    #[test]
    fn a_key_does_not_print() {
        let key = ApiKey::random().unwrap();
        let shown = format!("{key:?} {:?}", key.hash());
        assert!(!shown.contains(&key.expose()[15..]), "{shown}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_slip_in_one_place_is_noticed(at in 0_usize..65, to in "[A-Za-z0-9_]") {
            let key = ApiKey::random().unwrap();
            let mut text = key.expose().to_owned();
            text.replace_range(at..=at, &to);
            let same = text == key.expose();
            prop_assert_eq!(text.parse::<ApiKey>().is_ok(), same);
        }

        #[test]
        fn nothing_else_gets_in(text in "\\PC{0,80}", cut in 0_usize..65) {
            prop_assert!(text.parse::<ApiKey>().is_err());
            prop_assert!(ApiKey::random().unwrap().expose()[..cut].parse::<ApiKey>().is_err());
        }
    }
}
