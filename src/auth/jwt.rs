//! [`Jwts`]: tokens that Baton itself signs, Ed25519 and nothing else. Each is for one purpose, which its
//! `typ` and its `aud` name: a token of another purpose is none.

use std::collections::BTreeMap;
use std::fmt;

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
use serde::de::DeserializeOwned;
use thiserror::Error;

// Ours are some 500.
const MAX_CHARACTERS: usize = 1024;

/// Signs tokens, and reads them.
pub struct Jwts {
    keys: BTreeMap<String, DecodingKey>,
    newest: (String, EncodingKey),
    issuer: String,
}

/// What a token is for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    /// Its `typ`.
    pub typ: &'static str,
    /// Its `aud`.
    pub audience: &'static str,
}

/// When a token was made, when it ends, in seconds since the epoch, and what it says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claims<C> {
    iss: String,
    // One, not a list: a token is for one purpose.
    aud: String,
    iat: u64,
    /// When it ends; that is for the reader to look at, by a clock of its own.
    pub exp: u64,
    /// What it says.
    #[serde(flatten)]
    pub says: C,
}

/// A token cannot be signed, or a signing key is none.
#[derive(Clone, Copy, Debug, Error)]
#[error("a signing key is no Ed25519 key in PKCS#8")]
pub struct BadSigningKey;

impl Jwts {
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
        Ok(Self { keys: known, newest, issuer })
    }

    /// The text of a token that says `says`, from and until when in seconds since the epoch.
    pub fn sign<C: Serialize>(
        &self,
        purpose: Purpose,
        (iat, exp): (u64, u64),
        says: C,
    ) -> Result<SecretString, BadSigningKey> {
        let (kid, key) = &self.newest;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(purpose.typ.to_owned());
        header.kid = Some(kid.clone());
        let (iss, aud) = (self.issuer.clone(), purpose.audience.to_owned());
        let text = jsonwebtoken::encode(&header, &Claims { iss, aud, iat, exp, says }, key);
        text.map(SecretString::from).map_err(|_unsigned| BadSigningKey)
    }

    /// What a token of ours says. All of it but its end is checked here: that is told apart.
    pub fn read<C: DeserializeOwned>(&self, purpose: Purpose, text: &str) -> Option<Claims<C>> {
        if text.len() > MAX_CHARACTERS {
            return None;
        }
        let header = jsonwebtoken::decode_header(text).ok()?;
        let is_ours = header.alg == Algorithm::EdDSA
            && header.typ.as_deref() == Some(purpose.typ)
            && header.crit.is_none();
        let key = self.keys.get(header.kid.as_deref()?).filter(|_| is_ours)?;
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&[purpose.audience]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        // By our own clock, to the second.
        rules.validate_exp = false;
        jsonwebtoken::decode(text, key, &rules).ok().map(|token| token.claims)
    }
}

/// What a key is called in the tokens it signed.
fn key_id(public: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, public);
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..12).unwrap_or_default())
}

impl fmt::Debug for Jwts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.keys.keys().collect();
        write!(f, "Jwts({}, {keys:?})", self.issuer)
    }
}

/// Whether a text has the shape of a token: three parts.
pub fn is_token(text: &str) -> bool {
    text.split('.').count() == 3 && text.starts_with("eyJ")
}
