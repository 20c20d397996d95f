//! [`ConnectorTokens`]: JWTs that Baton itself signs, Ed25519 and nothing else.
//!
//! A token names its connector and itself, and opens only while it is listed with that connector
//! ([`crate::auth::doors`]): so rotation, deletion and the end of a grace bite at once, and whoever
//! steals a signing key still has to guess the id of a token.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;

use aws_lc_rs::digest;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::Header;
use jsonwebtoken::Validation;
use secrecy::ExposeSecret;
use secrecy::SecretSlice;
use secrecy::SecretString;
use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

use crate::domain::connector::ConnectorId;
use crate::domain::connector::Token;
use crate::domain::connector::TokenId;

const TYP: &str = "baton-connector+jwt";
const AUDIENCE: &str = "baton:connector";
// Ours are some 500.
const MAX_CHARACTERS: usize = 1024;
// A few hundred bytes each.
const REMEMBERED: usize = 4096;

/// Makes Connector Tokens, and reads them.
pub struct ConnectorTokens {
    keys: BTreeMap<String, DecodingKey>,
    newest: (String, EncodingKey),
    issuer: String,
    // Tokens that were read before, by their SHA-256: a signature that held once holds for ever, and to
    // check it again would be three quarters of a read's work. Forgotten all together when there are
    // too many.
    read_before: Mutex<HashMap<[u8; 32], Claimed>>,
}

/// What a token says, that was signed here.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Whose it is.
    pub connector: ConnectorId,
    /// Which.
    pub token: TokenId,
    /// When it ends, in seconds since the epoch.
    pub ends_at: u64,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    // One, not a list: a token is for one purpose.
    aud: String,
    sub: ConnectorId,
    jti: TokenId,
    iat: u64,
    exp: u64,
}

/// A token cannot be signed, or a signing key is none.
#[derive(Clone, Copy, Debug, Error)]
#[error("a signing key is no Ed25519 key in PKCS#8")]
pub struct BadSigningKey;

impl ConnectorTokens {
    /// Tokens of `issuer`: what any of `keys` (Ed25519 in PKCS#8) signed is read; the first signs.
    pub fn new(keys: &[SecretSlice<u8>], issuer: String) -> Result<Self, BadSigningKey> {
        let mut known = BTreeMap::new();
        let mut newest = None;
        for key in keys {
            let der = key.expose_secret();
            let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_not_a_key| BadSigningKey)?;
            let public = pair.public_key().as_ref();
            let kid = key_id(public);
            newest.get_or_insert_with(|| (kid.clone(), EncodingKey::from_ed_der(der)));
            known.insert(kid, DecodingKey::from_ed_der(public));
        }
        let newest = newest.ok_or(BadSigningKey)?;
        Ok(Self { keys: known, newest, issuer, read_before: Mutex::default() })
    }

    /// The text of a token of `connector`, to be shown once.
    pub fn mint(
        &self,
        connector: &ConnectorId,
        token: &Token,
    ) -> Result<SecretString, BadSigningKey> {
        let (kid, key) = &self.newest;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(kid.clone());
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: connector.clone(),
            jti: token.id.clone(),
            iat: token.issued_at / 1_000_000,
            exp: token.ends_at / 1_000_000,
        };
        let text = jsonwebtoken::encode(&header, &claims, key);
        text.map(SecretString::from).map_err(|_unsigned| BadSigningKey)
    }

    /// What a token of ours says. All of it but its end is checked here: that is told apart.
    pub fn read(&self, text: &str) -> Option<Claimed> {
        if text.len() > MAX_CHARACTERS {
            return None;
        }
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let hash: [u8; 32] = hash.as_ref().try_into().ok()?;
        let read_before = || self.read_before.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(claimed) = read_before().get(&hash) {
            return Some(claimed.clone());
        }
        let claimed = self.verified(text)?;
        let mut read_before = read_before();
        if read_before.len() >= REMEMBERED {
            read_before.clear();
        }
        read_before.insert(hash, claimed.clone());
        Some(claimed)
    }

    fn verified(&self, text: &str) -> Option<Claimed> {
        let header = jsonwebtoken::decode_header(text).ok()?;
        let is_ours = header.alg == Algorithm::EdDSA
            && header.typ.as_deref() == Some(TYP)
            && header.crit.is_none();
        let key = self.keys.get(header.kid.as_deref()?).filter(|_| is_ours)?;
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        // By our own clock, to the second.
        rules.validate_exp = false;
        let Claims { sub, jti, exp, .. } = jsonwebtoken::decode(text, key, &rules).ok()?.claims;
        Some(Claimed { connector: sub, token: jti, ends_at: exp })
    }
}

/// What a key is called in the tokens it signed.
fn key_id(public: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, public);
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..12).unwrap_or_default())
}

impl fmt::Debug for ConnectorTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.keys.keys().collect();
        write!(f, "ConnectorTokens({}, {keys:?})", self.issuer)
    }
}

/// Whether a text has the shape of a token: three parts.
pub fn is_token(text: &str) -> bool {
    text.split('.').count() == 3 && text.starts_with("eyJ")
}
