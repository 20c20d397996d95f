//! [`TokenDoor`]: Connector Tokens: JWTs that Baton itself signs, Ed25519 and nothing else.
//!
//! A token names its connector and itself, and opens only while it is listed with that connector: so
//! rotation, deletion and the end of a grace bite at once, and whoever steals a signing key still has
//! to guess the id of a token.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

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

use crate::domain::clock::Clock;
use crate::domain::connector::Connector;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::Token;
use crate::domain::connector::TokenId;
use crate::domain::principal::Acting;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
use crate::domain::principal::Projects;
use crate::domain::principal::Reach;
use crate::domain::principal::ReadDefaults;
use crate::domain::principal::Scope;
use crate::store::connector::StoredConnector;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::records::Records;

const TYP: &str = "baton-connector+jwt";
const AUDIENCE: &str = "baton:connector";
// Ours are some 500.
const MAX_CHARACTERS: usize = 1024;

/// Opens to Connector Tokens, and makes them.
pub struct TokenDoor {
    keys: BTreeMap<String, DecodingKey>,
    newest: (String, EncodingKey),
    issuer: String,
    connectors: Arc<Records<StoredConnector>>,
    clock: Clock,
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

/// Why a token opens nothing.
#[derive(Debug, Error)]
pub enum TokenRefused {
    /// Not one of this server's, or not one any more.
    #[error("no such token")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its connector could not be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A token cannot be signed, or a signing key is none.
#[derive(Clone, Copy, Debug, Error)]
#[error("a signing key is no Ed25519 key in PKCS#8")]
pub struct BadSigningKey;

impl TokenDoor {
    /// A door of `issuer` that takes what any of `keys` signed (Ed25519 in PKCS#8); the first signs.
    pub fn new(
        keys: &[SecretSlice<u8>],
        issuer: String,
        connectors: Arc<Records<StoredConnector>>,
        clock: Clock,
    ) -> Result<Self, BadSigningKey> {
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
        Ok(Self { keys: known, newest, issuer, connectors, clock })
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

    /// Who presents `text`.
    pub async fn admit(&self, text: &str) -> Result<Arc<Principal>, TokenRefused> {
        let claims = self.claims(text).ok_or(TokenRefused::Unknown)?;
        let now = self.clock.now();
        let found = self.connectors.get(&names::connector(&claims.sub)).await?.live();
        let connector = found.ok_or(TokenRefused::Unknown)?;
        let listed = connector.record.tokens.iter().find(|token| token.id == claims.jti);
        match listed {
            None => Err(TokenRefused::Unknown),
            Some(token) if claims.exp <= now.micros() / 1_000_000 || !token.is_live(now) => {
                Err(TokenRefused::Expired)
            }
            Some(token) => Ok(Arc::new(acting_for(&connector.record, token))),
        }
    }

    /// Whether a token still opens.
    pub async fn is_good(
        &self,
        connector: &ConnectorId,
        token: &TokenId,
    ) -> Result<bool, StoreError> {
        let found = self.connectors.get(&names::connector(connector)).await?.live();
        let now = self.clock.now();
        Ok(found.is_some_and(|found| found.record.live_token(token, now).is_some()))
    }

    /// What a token of ours says. All of it but its end is checked here: that is told apart.
    fn claims(&self, text: &str) -> Option<Claims> {
        if text.len() > MAX_CHARACTERS {
            return None;
        }
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
        jsonwebtoken::decode::<Claims>(text, key, &rules).ok().map(|token| token.claims)
    }
}

fn acting_for(connector: &Connector, token: &Token) -> Principal {
    Principal {
        credential: Credential::ConnectorToken(token.id.clone()),
        name: connector.id.to_string(),
        reach: Reach::Account(connector.account.clone()),
        projects: Projects::Only(vec![connector.project.clone()]),
        scopes: vec![Scope::HandoffRead, Scope::HandoffWrite],
        expires_at: None,
        read_defaults: ReadDefaults::default(),
        acting: Some(Acting {
            connector: connector.id.clone(),
            environment: connector.client_env,
            call: None,
        }),
    }
}

/// What a key is called in the tokens it signed.
fn key_id(public: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, public);
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..12).unwrap_or_default())
}

impl fmt::Debug for TokenDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.keys.keys().collect();
        write!(f, "TokenDoor({}, {keys:?})", self.issuer)
    }
}

/// Whether a text has the shape of a token: three parts.
pub fn is_token(text: &str) -> bool {
    text.split('.').count() == 3 && text.starts_with("eyJ")
}
