//! [`ConnectorTokens`]: what the agent's side and the link step present.
//!
//! A token names its connector and itself, and opens only while it is listed with that connector
//! ([`crate::auth::doors`]): so rotation, deletion and the end of a grace bite at once, and whoever
//! steals a signing key still has to guess the id of a token.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use aws_lc_rs::digest;
use secrecy::SecretString;
use serde::Deserialize;
use serde::Serialize;

use crate::auth::jwt::BadSigningKey;
use crate::auth::jwt::Jwts;
use crate::auth::jwt::Purpose;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::Token;
use crate::domain::connector::TokenId;

const PURPOSE: Purpose = Purpose { typ: "baton-connector+jwt", audience: "baton:connector" };
// A few hundred bytes each.
const REMEMBERED: usize = 4096;

/// Makes Connector Tokens, and reads them.
pub struct ConnectorTokens {
    jwts: Arc<Jwts>,
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
struct Says {
    sub: ConnectorId,
    jti: TokenId,
}

impl ConnectorTokens {
    /// Tokens signed by `jwts`.
    pub fn new(jwts: Arc<Jwts>) -> Self {
        Self { jwts, read_before: Mutex::default() }
    }

    /// The text of a token of `connector`, to be shown once.
    pub fn mint(
        &self,
        connector: &ConnectorId,
        token: &Token,
    ) -> Result<SecretString, BadSigningKey> {
        let life = (token.issued_at / 1_000_000, token.ends_at / 1_000_000);
        self.jwts.sign(PURPOSE, life, Says { sub: connector.clone(), jti: token.id.clone() })
    }

    /// What a token of ours says. All of it but its end is checked here: that is told apart.
    pub fn read(&self, text: &str) -> Option<Claimed> {
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let hash: [u8; 32] = hash.as_ref().try_into().ok()?;
        let read_before = || self.read_before.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(claimed) = read_before().get(&hash) {
            return Some(claimed.clone());
        }
        let claims = self.jwts.read::<Says>(PURPOSE, text)?;
        let Says { sub, jti } = claims.says;
        let claimed = Claimed { connector: sub, token: jti, ends_at: claims.exp };
        let mut read_before = read_before();
        if read_before.len() >= REMEMBERED {
            read_before.clear();
        }
        read_before.insert(hash, claimed.clone());
        Some(claimed)
    }
}

impl fmt::Debug for ConnectorTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectorTokens({:?})", self.jwts)
    }
}
