//! [`Instance`]: what a store is called, and the key it signs tokens with. Made with the store's first
//! start, sealed like all else, and shared by all processes over one store.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use secrecy::SecretSlice;
use secrecy::SecretString;
use serde::Deserialize;

use crate::domain::clock::Timestamp;
use crate::domain::random::random_text;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::kv::Kv;
use crate::store::kv::Put;
use crate::store::kv::Slot;
use crate::store::kv::StoreError;
use crate::store::seal::Seal;

// No record has it: records count from 1 and cursors from 255 down.
const KIND: u8 = 254;
const KEY: &[u8] = b"instance";

/// What a store is called, and what it signs with.
#[derive(Clone, Debug)]
pub struct Instance {
    /// `ins_` and 20 letters and digits: who issued a token.
    pub id: String,
    /// An Ed25519 key in PKCS#8.
    pub signing_key: SecretSlice<u8>,
}

#[derive(Deserialize)]
struct Kept {
    id: String,
    signing_key: SecretString,
}

impl Instance {
    /// Finds what was made before, or makes it; of two processes that start at once, both find the
    /// first one's.
    pub async fn find_or_make(kv: &dyn Kv, seal: &Seal) -> Result<Self, StoreError> {
        if let Some(found) = Self::find(kv, seal).await? {
            return Ok(found);
        }
        let no_random = || StoreError::Unavailable("the system's random source failed".to_owned());
        let id = random_text(20).map_err(|_no_random| no_random())?;
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let pair = pair.map_err(|_unspecified| no_random())?;
        let kept = format!(r#"{{"id":"ins_{id}","signing_key":"{}"}}"#, STANDARD.encode(&pair));
        let put = Put {
            key: KEY.to_vec(),
            value: seal.seal(KIND, KEY, kept.as_bytes())?.into(),
            expires_at: Timestamp::NEVER,
            expect: Expect::Absent,
            change: Change::Content,
            members: Vec::new(),
            rings: Vec::new(),
            notes: Vec::new(),
        };
        kv.put(put).await?;
        let lost = || StoreError::Unavailable("the instance's key is not there".to_owned());
        Self::find(kv, seal).await?.ok_or_else(lost)
    }

    async fn find(kv: &dyn Kv, seal: &Seal) -> Result<Option<Self>, StoreError> {
        let Some(Slot::Live { value, .. }) = kv.get(KEY.to_vec()).await? else { return Ok(None) };
        let plain = seal.open(KIND, KEY, &value)?;
        let damaged = || StoreError::Unreadable("the instance's key cannot be read".to_owned());
        // serde_json's message could quote it; ours does not.
        let kept: Kept = serde_json::from_slice(&plain).map_err(|_quoting| damaged())?;
        let key = STANDARD.decode(kept.signing_key.expose_secret());
        let key = key.map_err(|_quoting| damaged())?;
        Ed25519KeyPair::from_pkcs8(&key).map_err(|_no_key| damaged())?;
        Ok(Some(Self { id: kept.id, signing_key: key.into() }))
    }
}

/// Whether what is in `from` may be copied to `to`: nobody has made an instance there, or it is the same.
pub(super) async fn may_follow(from: &dyn Kv, to: &dyn Kv) -> Result<bool, StoreError> {
    let value = |slot| match slot {
        Some(Slot::Live { value, .. }) => Some(value),
        Some(Slot::Gone { .. }) | None => None,
    };
    let there = value(to.get(KEY.to_vec()).await?);
    Ok(there.is_none() || there == value(from.get(KEY.to_vec()).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;
    use crate::store::memory::Memory;
    use crate::store::seal::tests::ring;

    #[tokio::test]
    async fn it_is_made_once_and_kept_sealed() {
        let kv = Memory::new(Clock::fixed(Timestamp::from_micros(1)));
        let made = Instance::find_or_make(&kv, &ring(&[1])).await.unwrap();
        let found = Instance::find_or_make(&kv, &ring(&[2, 1])).await.unwrap();
        assert_eq!(found.id, made.id);
        assert_eq!(found.signing_key.expose_secret(), made.signing_key.expose_secret());
        assert!(Instance::find_or_make(&kv, &ring(&[2])).await.is_err());
        let Some(Slot::Live { value, .. }) = kv.get(KEY.to_vec()).await.unwrap() else { panic!() };
        let text = STANDARD.encode(made.signing_key.expose_secret());
        assert!(!value.windows(16).any(|part| part == &text.as_bytes()[..16]));
    }
}
