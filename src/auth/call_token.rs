//! [`CallTokens`]: what an agent gets with one call, to write and read that call's handoff and nothing
//! else.
//!
//! `bct_` and base64 of: version, connector, call, leg, end, and a MAC over them. Nothing is kept of one;
//! it must fit a `<Parameter>` of 500 characters, and the header of a SIP call.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use thiserror::Error;

use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;
use crate::domain::handoff_id::HandoffId;
use crate::store::kv::StoreError;
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
const SIGNED: usize = 1 + CONNECTOR + CALL + 2 + 4;
const MAC: usize = 32;

/// Makes call tokens, and reads them.
#[derive(Debug)]
pub struct CallTokens {
    /// One for each sealing key; the first signs.
    keys: Vec<hmac::Key>,
}

/// A call token is for a call: `CA` and 32 hex digits, as Twilio spells them.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("is not a call's SID")]
pub struct NoCall;

/// What a token says, that was made here.
#[derive(Debug)]
pub struct Claimed {
    /// Whose it is.
    pub connector: ConnectorId,
    /// The call's SID.
    pub call: HandoffId,
    /// The visit of it that the token was given out for.
    pub leg: u32,
    /// When it ends.
    pub ends_at: Timestamp,
}

impl CallTokens {
    /// Tokens whose keys come from the sealing ring, so that all processes over one store agree.
    pub fn new(seal: &Seal) -> Result<Self, StoreError> {
        let keys = seal.derive_all(PURPOSE)?;
        let keys = keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect();
        Ok(Self { keys })
    }

    /// A token of `connector` for a leg of `call`, made `now` and good for `life`, [`LONGEST`] at most, to
    /// the second. 104 characters.
    pub fn mint(
        &self,
        connector: &ConnectorId,
        (call, leg): (&HandoffId, u32),
        now: Timestamp,
        life: Duration,
    ) -> Result<SecretString, NoCall> {
        let key = self.keys.first().ok_or(NoCall)?;
        let ends_at = now.plus(life.min(LONGEST)).micros() / 1_000_000;
        let mut bytes = Vec::with_capacity(SIGNED + MAC);
        bytes.push(VERSION);
        let id = connector.as_str().as_bytes();
        bytes.extend_from_slice(id.last_chunk::<CONNECTOR>().ok_or(NoCall)?);
        bytes.extend_from_slice(&call_bytes(call).ok_or(NoCall)?);
        bytes.extend_from_slice(&u16::try_from(leg).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(ends_at).unwrap_or(u32::MAX).to_be_bytes());
        let mac = hmac::sign(key, &bytes);
        bytes.extend_from_slice(mac.as_ref());
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)).into())
    }

    /// What a token of ours says; its end is for the reader to look at.
    pub fn read(&self, text: &str) -> Option<Claimed> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (signed, mac) = bytes.split_first_chunk::<SIGNED>()?;
        let is_ours = |key: &hmac::Key| hmac::verify(key, signed, mac).is_ok();
        if mac.len() != MAC || !self.keys.iter().any(is_ours) {
            return None;
        }
        let rest = signed.strip_prefix(&[VERSION])?;
        let (connector, rest) = rest.split_first_chunk::<CONNECTOR>()?;
        let (call, rest) = rest.split_first_chunk::<CALL>()?;
        let (leg, rest) = rest.split_first_chunk::<2>()?;
        let connector = format!("conn_{}", String::from_utf8_lossy(connector));
        let call = format!("CA{:032x}", u128::from_be_bytes(*call));
        let ends_at = u32::from_be_bytes(*rest.first_chunk()?);
        Some(Claimed {
            connector: connector.parse().ok()?,
            call: call.parse().ok()?,
            leg: u16::from_be_bytes(*leg).into(),
            ends_at: Timestamp::from_micros(u64::from(ends_at) * 1_000_000),
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

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::store::seal::tests::ring;

    #[test]
    fn a_token_reads_back_and_is_for_a_call_as_twilio_spells_it() {
        let connector = ConnectorId::random().unwrap();
        let call: HandoffId = "CA0123456789abcdef0123456789abcdef".parse().unwrap();
        let old = CallTokens::new(&ring(&[1])).unwrap();
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let made = old.mint(&connector, (&call, 7), now, Duration::from_secs(60)).unwrap();
        assert_eq!(made.expose_secret().len(), 104);
        // Also once another sealing key has taken its key's place.
        let ring = CallTokens::new(&ring(&[2, 1])).unwrap();
        let read = ring.read(made.expose_secret()).unwrap();
        assert_eq!((read.connector, read.call, read.leg), (connector.clone(), call, 7));
        assert_eq!(read.ends_at, now.plus(Duration::from_secs(60)));
        for id in ["conv-1", "CA0123456789ABCDEF0123456789ABCDEF", "CA01"] {
            let id = id.parse().unwrap();
            assert!(ring.mint(&connector, (&id, 1), now, LONGEST).is_err(), "{id}");
        }
    }
}
