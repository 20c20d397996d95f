//! [`CallDoor`]: call tokens: what an agent gets with one call, to write and read that call's handoff
//! and nothing else.
//!
//! `bct_` and base64 of: version, connector, call, end, and a MAC over them. Nothing is kept of one;
//! it must fit a `<Parameter>` of 500 characters, and the header of a SIP call.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use thiserror::Error;

use crate::auth::connector_token::TokenRefused;
use crate::domain::clock::Clock;
use crate::domain::clock::Timestamp;
use crate::domain::connector::Connector;
use crate::domain::connector::ConnectorId;
use crate::domain::handoff_id::HandoffId;
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
use crate::store::seal::Seal;

/// How every call token begins.
pub const PREFIX: &str = "bct_";
/// Longest life of one.
pub const LONGEST: Duration = Duration::from_secs(4 * 3600);

const VERSION: u8 = 1;
const PURPOSE: &[u8] = b"baton call tokens";
// `conn_` and 20 characters; of a call's SID, the 16 bytes that 32 hex digits are; seconds.
const CONNECTOR: usize = 20;
const CALL: usize = 16;
const SIGNED: usize = 1 + CONNECTOR + CALL + 4;
const MAC: usize = 32;

/// Opens to call tokens, and makes them.
#[derive(Debug)]
pub struct CallDoor {
    /// One for each sealing key; the first signs.
    keys: Vec<hmac::Key>,
    connectors: Arc<Records<StoredConnector>>,
    clock: Clock,
}

/// A call token is for a call: `CA` and 32 hex digits, as Twilio spells them.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("is not a call's SID")]
pub struct NoCall;

/// What a token says.
struct Said {
    connector: ConnectorId,
    call: HandoffId,
    ends_at: u32,
}

impl CallDoor {
    /// A door whose keys come from the sealing ring, so that all processes over one store agree.
    pub fn new(
        seal: &Seal,
        connectors: Arc<Records<StoredConnector>>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let keys = seal.derive_all(PURPOSE)?;
        let keys = keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect();
        Ok(Self { keys, connectors, clock })
    }

    /// A token of `connector` for `call`, good for `life`, [`LONGEST`] at most. 102 characters.
    pub fn mint(
        &self,
        connector: &ConnectorId,
        call: &HandoffId,
        life: Duration,
    ) -> Result<SecretString, NoCall> {
        let key = self.keys.first().ok_or(NoCall)?;
        let ends_at = self.clock.now().plus(life.min(LONGEST)).micros() / 1_000_000;
        let mut bytes = Vec::with_capacity(SIGNED + MAC);
        bytes.push(VERSION);
        let id = connector.as_str().as_bytes();
        bytes.extend_from_slice(id.last_chunk::<CONNECTOR>().ok_or(NoCall)?);
        bytes.extend_from_slice(&call_bytes(call).ok_or(NoCall)?);
        bytes.extend_from_slice(&u32::try_from(ends_at).unwrap_or(u32::MAX).to_be_bytes());
        let mac = hmac::sign(key, &bytes);
        bytes.extend_from_slice(mac.as_ref());
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)).into())
    }

    /// Who presents `text`.
    pub async fn admit(&self, text: &str) -> Result<Arc<Principal>, TokenRefused> {
        let said = self.said(text).ok_or(TokenRefused::Unknown)?;
        if Timestamp::from_micros(u64::from(said.ends_at) * 1_000_000) <= self.clock.now() {
            return Err(TokenRefused::Expired);
        }
        let found = self.connectors.get(&names::connector(&said.connector)).await?.live();
        let connector = found.ok_or(TokenRefused::Unknown)?;
        Ok(Arc::new(acting_for(&connector.record, said.call)))
    }

    /// Whether the tokens of a connector still open.
    pub async fn is_good(&self, connector: &ConnectorId) -> Result<bool, StoreError> {
        let found = self.connectors.get(&names::connector(connector)).await?;
        Ok(found.live().is_some())
    }

    /// What a token of ours says.
    fn said(&self, text: &str) -> Option<Said> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (signed, mac) = bytes.split_first_chunk::<SIGNED>()?;
        let is_ours = |key: &hmac::Key| hmac::verify(key, signed, mac).is_ok();
        if mac.len() != MAC || !self.keys.iter().any(is_ours) {
            return None;
        }
        let rest = signed.strip_prefix(&[VERSION])?;
        let (connector, rest) = rest.split_first_chunk::<CONNECTOR>()?;
        let (call, rest) = rest.split_first_chunk::<CALL>()?;
        let connector = format!("conn_{}", String::from_utf8_lossy(connector));
        let call = format!("CA{:032x}", u128::from_be_bytes(*call));
        Some(Said {
            connector: connector.parse().ok()?,
            call: call.parse().ok()?,
            ends_at: u32::from_be_bytes(*rest.first_chunk()?),
        })
    }
}

/// The 16 bytes of a call's SID. Ids are case-sensitive: only digits as Twilio spells them come back
/// as they were.
fn call_bytes(call: &HandoffId) -> Option<[u8; CALL]> {
    let hex = call.as_str().strip_prefix("CA")?;
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if hex.len() != 2 * CALL || !hex.bytes().all(is_hex) {
        return None;
    }
    let number = u128::from_str_radix(hex, 16).ok()?;
    Some(number.to_be_bytes())
}

fn acting_for(connector: &Connector, call: HandoffId) -> Principal {
    Principal {
        credential: Credential::CallToken,
        name: format!("{}:{call}", connector.id),
        reach: Reach::Account(connector.account.clone()),
        projects: Projects::Only(vec![connector.project.clone()]),
        scopes: vec![Scope::HandoffRead, Scope::HandoffWrite],
        expires_at: None,
        read_defaults: ReadDefaults::default(),
        acting: Some(Acting {
            connector: connector.id.clone(),
            environment: connector.client_env,
            call: Some(call),
        }),
    }
}
