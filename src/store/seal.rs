//! [`Seal`]: records are encrypted before an engine sees them.
//!
//! AES-256-GCM under a key of the record's own, HKDF-SHA256 of a ring key and 16 random bytes; a
//! key that is used once may use a constant nonce. What a record is (codec version, kind) and where
//! it belongs (its store key, which holds the account) are associated data: a reply that reached
//! the wrong caller, as has happened to Redis clients, does not open. The newest ring key seals,
//! all of them open.
//!
//! Sealed: `version u8 · ring key id [4] · salt [16] · ciphertext and tag`.

use aws_lc_rs::aead;
use aws_lc_rs::digest;
use aws_lc_rs::hkdf;
use aws_lc_rs::rand;
use bytes::Bytes;
use bytes::BytesMut;
use secrecy::ExposeSecret;
use secrecy::SecretSlice;

use crate::store::kv::StoreError;

const VERSION: u8 = 1;
const INFO: &[u8] = b"baton record 1";
const HEAD: usize = 1 + 4 + 16;

/// Bytes of a ring key.
pub const KEY_BYTES: usize = 32;

/// A key ring.
#[derive(Debug)]
pub struct Seal {
    ring: Vec<RingKey>,
}

#[derive(Debug)]
struct RingKey {
    id: [u8; 4],
    bytes: SecretSlice<u8>,
}

impl Seal {
    /// A ring of keys, newest first; each of [`KEY_BYTES`]. `None` when there is none, or one is
    /// of another length.
    pub fn new(keys: Vec<SecretSlice<u8>>) -> Option<Self> {
        let fits = |key: &SecretSlice<u8>| key.expose_secret().len() == KEY_BYTES;
        if keys.is_empty() || !keys.iter().all(fits) {
            return None;
        }
        let ring = keys.into_iter().map(|bytes| RingKey { id: ring_id(&bytes), bytes }).collect();
        Some(Self { ring })
    }

    /// Names of the keys, newest first: they tell nothing about the keys.
    pub fn ids(&self) -> Vec<String> {
        self.ring.iter().map(|key| hex(key.id)).collect()
    }

    /// What was sealed under `key`, as whatever it was sealed, sealed with the newest key; `None`: it is.
    pub fn reseal(&self, key: &[u8], sealed: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let newest = self.ring.first().ok_or_else(|| unreadable("the key ring is empty"))?;
        if sealed.get(1..5) == Some(newest.id.as_slice()) {
            return Ok(None);
        }
        let mut why = None;
        for kind in 0..=u8::MAX {
            match self.open(kind, key, sealed) {
                Ok(plain) => return self.seal(kind, key, &plain).map(Some),
                Err(not) => why = Some(not),
            }
        }
        Err(why.unwrap_or_else(|| unreadable("it is nothing")))
    }

    /// 32 bytes for `purpose`, the same for the same newest key; they tell nothing about the key.
    pub fn derive(&self, purpose: &[u8]) -> Result<[u8; 32], StoreError> {
        let newest = self.ring.first().ok_or_else(|| unreadable("the key ring is empty"))?;
        newest.derive(purpose)
    }

    /// The same for every key of the ring, newest first.
    pub fn derive_all(&self, purpose: &[u8]) -> Result<Vec<[u8; 32]>, StoreError> {
        self.ring.iter().map(|key| key.derive(purpose)).collect()
    }

    /// Seals `plain` as a record of `kind` under `key`.
    pub fn seal(&self, kind: u8, key: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let newest = self.ring.first().ok_or_else(|| unreadable("the key ring is empty"))?;
        let mut salt = [0; 16];
        rand::fill(&mut salt).map_err(|_unspecified| unreadable("the random source failed"))?;
        let mut body = Vec::with_capacity(HEAD + plain.len() + 16);
        body.extend_from_slice(plain);
        newest
            .record_key(salt)
            .and_then(|k| k.seal_in_place_append_tag(nonce(), about(kind, key), &mut body).ok())
            .ok_or_else(|| unreadable("sealing failed"))?;
        let mut sealed = Vec::with_capacity(HEAD + body.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&newest.id);
        sealed.extend_from_slice(&salt);
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Opens what [`Seal::seal`] sealed as this `kind` under this `key`.
    pub fn open(&self, kind: u8, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let opened = self.open_in_place(kind, key, BytesMut::from(sealed))?;
        Ok(opened.to_vec())
    }

    /// The same, where it is.
    pub fn open_in_place(
        &self,
        kind: u8,
        key: &[u8],
        mut sealed: BytesMut,
    ) -> Result<Bytes, StoreError> {
        let version = *sealed.first().ok_or_else(|| unreadable("it is empty"))?;
        if version != VERSION {
            return Err(unreadable("it was written by a newer version of Baton"));
        }
        if sealed.len() < HEAD {
            return Err(unreadable("it is cut short"));
        }
        let mut body = sealed.split_off(HEAD);
        let parts = sealed.get(1..).and_then(|rest| rest.split_first_chunk());
        let parts = parts.and_then(|(id, rest)| Some((*id, *rest.first_chunk()?)));
        let (id, salt): ([u8; 4], [u8; 16]) = parts.ok_or_else(|| unreadable("it is cut short"))?;
        let ring_key = self.ring.iter().find(|k| k.id == id).ok_or_else(|| {
            let id = hex(id);
            unreadable(&format!("it was sealed with the key {id}, which is not in BATON_SEAL_KEYS"))
        })?;
        let opened = ring_key
            .record_key(salt)
            .and_then(|k| {
                k.open_in_place(nonce(), about(kind, key), &mut body).ok().map(|p| p.len())
            })
            .ok_or_else(|| unreadable("its seal does not hold: damaged, or another record's"))?;
        body.truncate(opened);
        Ok(body.freeze())
    }
}

impl RingKey {
    fn derive(&self, purpose: &[u8]) -> Result<[u8; 32], StoreError> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"").extract(self.bytes.expose_secret());
        let mut bytes = [0; 32];
        secret
            .expand(&[purpose], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut bytes))
            .map_err(|_unspecified| unreadable("a key cannot be derived"))?;
        Ok(bytes)
    }

    fn record_key(&self, salt: [u8; 16]) -> Option<aead::LessSafeKey> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &salt).extract(self.bytes.expose_secret());
        let okm = secret.expand(&[INFO], &aead::AES_256_GCM).ok()?;
        Some(aead::LessSafeKey::new(aead::UnboundKey::from(okm)))
    }
}

/// A key's name in what it sealed: four bytes that do not tell the key.
fn ring_id(key: &SecretSlice<u8>) -> [u8; 4] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"baton ring key id");
    context.update(key.expose_secret());
    let hash = context.finish();
    hash.as_ref().first_chunk().copied().unwrap_or_default()
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

fn about(kind: u8, key: &[u8]) -> aead::Aad<Vec<u8>> {
    let mut about = Vec::with_capacity(2 + key.len());
    about.push(VERSION);
    about.push(kind);
    about.extend_from_slice(key);
    aead::Aad::from(about)
}

fn nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([0; aead::NONCE_LEN])
}

fn unreadable(why: &str) -> StoreError {
    StoreError::Unreadable(why.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn ring(seeds: &[u8]) -> Seal {
        Seal::new(seeds.iter().map(|s| SecretSlice::from(vec![*s; KEY_BYTES])).collect()).unwrap()
    }

    #[test]
    fn the_newest_key_seals_and_every_key_of_the_ring_opens() {
        let old = ring(&[1]).seal(7, b"k", b"payload").unwrap();
        let both = ring(&[2, 1]);
        assert_eq!(both.open(7, b"k", &old).unwrap(), b"payload");
        let new = both.seal(7, b"k", b"payload").unwrap();
        assert_eq!(ring(&[2]).open(7, b"k", &new).unwrap(), b"payload");
        let refusal = ring(&[1]).open(7, b"k", &new).unwrap_err().to_string();
        assert!(refusal.contains("BATON_SEAL_KEYS"), "{refusal}");
    }

    #[test]
    fn a_record_opens_only_where_it_belongs() {
        let seal = ring(&[1]);
        let sealed = seal.seal(7, b"account-a", b"payload").unwrap();
        assert!(seal.open(7, b"account-b", &sealed).is_err());
        assert!(seal.open(8, b"account-a", &sealed).is_err());
    }

    #[test]
    fn the_same_content_is_never_sealed_alike() {
        let seal = ring(&[1]);
        assert_ne!(seal.seal(7, b"k", b"p").unwrap(), seal.seal(7, b"k", b"p").unwrap());
    }

    #[test]
    fn a_ring_needs_keys_of_the_right_length() {
        assert!(Seal::new(Vec::new()).is_none());
        assert!(Seal::new(vec![SecretSlice::from(vec![1; 31])]).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_changed_does_not_open(plain: Vec<u8>, at: prop::sample::Index, bit in 0..8) {
            let seal = ring(&[1]);
            let mut sealed = seal.seal(7, b"k", &plain).unwrap();
            prop_assert_eq!(seal.open(7, b"k", &sealed).unwrap(), plain);
            let at = at.index(sealed.len());
            sealed[at] ^= 1_u8 << bit;
            prop_assert!(seal.open(7, b"k", &sealed).is_err());
            prop_assert!(seal.open(7, b"k", &sealed[..at]).is_err());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            prop_assert!(ring(&[1]).open(7, b"k", &bytes).is_err());
        }
    }
}
