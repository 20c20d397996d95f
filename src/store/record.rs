//! [`Record`]: what can be kept, and the bytes it is kept as.
//!
//! `version u8 · header length u32 · header (JSON) · payload`. The header is JSON so that a field
//! can be added without a new version; the payload of a handoff is its `data` and is never parsed
//! here. Bytes of an older version are read for ever; unknown ones are an error, never a panic.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::aliases::Aliases;
use crate::domain::api_key::KeyRecord;
use crate::domain::clock::Timestamp;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Heading;
use crate::domain::principal::Projects;
use crate::store::kv::Member;
use crate::store::kv::Order;
use crate::store::kv::StoreError;
use crate::store::names;

const VERSION: u8 = 1;

/// A type that [`crate::store::records::Records`] keeps.
pub trait Record: Sized + Send + Sync + 'static {
    /// Tells records of different types apart under the seal; never reused.
    const KIND: u8;

    /// The record's plain bytes, without revision and expiry, which the engine keeps.
    fn encode(&self) -> Result<Vec<u8>, StoreError>;

    /// Reads [`Record::encode`]'s bytes.
    fn decode(plain: Bytes, revision: u64, expires_at: Timestamp) -> Result<Self, StoreError>;

    /// Sets what the engine decided.
    fn stamp(&mut self, revision: u64);

    /// The index sets that list it.
    fn members(&self) -> Vec<Member>;

    /// What is rung beside its own key when it is written, and with which revision, for those who
    /// watch for it by another way.
    fn rings(&self) -> Vec<(Vec<u8>, u64)> {
        Vec::new()
    }

    /// From when on it may not be read.
    fn expires_at(&self) -> Timestamp;

    /// Its revision.
    fn revision(&self) -> u64;

    /// Roughly how many bytes of memory it takes in L1.
    fn weight(&self) -> usize;
}

pub(super) fn join(header: &impl Serialize, payload: &[u8]) -> Result<Vec<u8>, StoreError> {
    let header = serde_json::to_vec(header).map_err(StoreError::failed)?;
    let mut plain = Vec::with_capacity(5 + header.len() + payload.len());
    plain.push(VERSION);
    plain
        .extend_from_slice(&u32::try_from(header.len()).map_err(StoreError::failed)?.to_be_bytes());
    plain.extend_from_slice(&header);
    plain.extend_from_slice(payload);
    Ok(plain)
}

pub(super) fn split<H: DeserializeOwned>(plain: &[u8]) -> Result<(H, &[u8]), StoreError> {
    let damaged = || StoreError::Unreadable("its fields cannot be read".to_owned());
    let rest = plain.strip_prefix(&[VERSION]).ok_or_else(damaged)?;
    let (length, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(StoreError::failed)?;
    let (header, payload) = rest.split_at_checked(length).ok_or_else(damaged)?;
    // serde_json's message could quote the header; ours does not.
    let header = serde_json::from_slice(header).map_err(|_quoting| damaged())?;
    Ok((header, payload))
}

impl Record for Handoff {
    const KIND: u8 = 1;

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        join(&self.heading, self.data())
    }

    fn decode(plain: Bytes, revision: u64, expires_at: Timestamp) -> Result<Self, StoreError> {
        let (heading, data) = split::<Heading>(&plain)?;
        let data = std::str::from_utf8(data).map_err(StoreError::failed)?;
        Ok(Self::new(heading, data, revision, expires_at))
    }

    fn stamp(&mut self, revision: u64) {
        self.revision = revision;
    }

    fn members(&self) -> Vec<Member> {
        let Heading { id, account, project, shared_id, caller, .. } = &self.heading;
        let order = Order::NewestFirst;
        let name = names::handoff_listed(project, id);
        let sharing = shared_id.as_ref().map(|id| names::handoffs_sharing(account, id));
        let of_caller = caller.as_ref().map(|mark| names::of_caller(account, mark));
        let sets = std::iter::once(names::handoffs_of(account)).chain(sharing).chain(of_caller);
        sets.map(|set| Member { set, name: name.clone(), order }).collect()
    }

    fn rings(&self) -> Vec<(Vec<u8>, u64)> {
        let Heading { account, shared_id, .. } = &self.heading;
        let ring = |id| (names::handoffs_sharing(account, id), self.revision);
        shared_id.iter().map(ring).collect()
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn weight(&self) -> usize {
        // The document, the heading's ids, and what moka keeps beside an entry.
        self.document().len() + 512
    }
}

/// What is kept as it is, until its time is over.
pub trait Plain: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// As [`Record::KIND`].
    const KIND: u8;

    /// As [`Record::members`].
    fn members(&self) -> Vec<Member>;

    /// As [`Record::rings`].
    fn rings(&self) -> Vec<(Vec<u8>, u64)> {
        Vec::new()
    }

    /// As [`Record::weight`].
    fn weight(&self) -> usize;
}

/// Something plain with when it ends and its revision.
#[derive(Debug)]
pub struct Stored<T> {
    /// What is kept.
    pub record: T,
    expires_at: Timestamp,
    revision: u64,
}

impl<T> Stored<T> {
    /// Something about to be kept until `expires_at`.
    pub fn new(record: T, expires_at: Timestamp) -> Self {
        Self { record, expires_at, revision: 0 }
    }
}

impl<T: Plain> Record for Stored<T> {
    const KIND: u8 = T::KIND;

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        join(&self.record, b"")
    }

    fn decode(plain: Bytes, revision: u64, expires_at: Timestamp) -> Result<Self, StoreError> {
        let (record, _) = split(&plain)?;
        Ok(Self { record, expires_at, revision })
    }

    fn stamp(&mut self, revision: u64) {
        self.revision = revision;
    }

    fn members(&self) -> Vec<Member> {
        self.record.members()
    }

    fn rings(&self) -> Vec<(Vec<u8>, u64)> {
        self.record.rings()
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn weight(&self) -> usize {
        self.record.weight()
    }
}

/// The aliases of a handoff.
pub type StoredAliases = Stored<Aliases>;

impl Plain for Aliases {
    const KIND: u8 = 3;

    fn members(&self) -> Vec<Member> {
        let Self { id, account, project, aliases } = self;
        let order = Order::ByName;
        let name = names::handoff_listed(project, id);
        let own = Member { set: names::aliased_of(account), name, order };
        let named = |alias| Member {
            set: names::handoffs_named(account, alias),
            name: id.as_str().as_bytes().to_vec(),
            order,
        };
        std::iter::once(own).chain(aliases.iter().map(named)).collect()
    }

    // Whoever waits for an id waits under it, whether a handoff or an alias comes; and the handoff
    // that an alias leads to may be of any revision.
    fn rings(&self) -> Vec<(Vec<u8>, u64)> {
        let Self { account, aliases, .. } = self;
        aliases.iter().map(|alias| (names::handoff(account, alias), u64::MAX)).collect()
    }

    fn weight(&self) -> usize {
        512 + 64 * self.aliases.len()
    }
}

/// An API key with the principal its holder becomes, made once.
#[derive(Debug)]
pub struct StoredKey {
    /// What is kept.
    pub record: KeyRecord,
    /// Who the holder is.
    pub principal: std::sync::Arc<crate::domain::principal::Principal>,
    revision: u64,
}

impl StoredKey {
    /// A key about to be kept.
    pub fn new(record: KeyRecord) -> Self {
        let principal = std::sync::Arc::new(record.principal());
        Self { record, principal, revision: 0 }
    }
}

impl Record for StoredKey {
    const KIND: u8 = 2;

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        join(&self.record, b"")
    }

    fn decode(plain: Bytes, revision: u64, _: Timestamp) -> Result<Self, StoreError> {
        let (record, _) = split(&plain)?;
        Ok(Self { revision, ..Self::new(record) })
    }

    fn stamp(&mut self, revision: u64) {
        self.revision = revision;
    }

    fn members(&self) -> Vec<Member> {
        let name = self.record.id.as_str().as_bytes().to_vec();
        let sets = [names::api_keys_of(Some(&self.record.account)), names::api_keys_of(None)];
        let order = Order::ByName;
        sets.into_iter().map(|set| Member { set, name: name.clone(), order }).collect()
    }

    // An expired key is still kept and listed, so that its holder is told why it stopped working.
    fn expires_at(&self) -> Timestamp {
        Timestamp::NEVER
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn weight(&self) -> usize {
        let projects = match &self.record.projects {
            Projects::All => 0,
            Projects::Only(some) => some.len(),
        };
        // Record and principal each list them.
        1024 + 2 * 96 * projects
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::account::ProjectId;
    use crate::domain::handoff::Status;

    fn heading(shared_id: Option<&str>) -> Heading {
        Heading {
            id: "CA1".parse().unwrap(),
            account: "acme".parse().unwrap(),
            project: ProjectId::default(),
            shared_id: shared_id.map(|id| id.parse().unwrap()),
            status: Status::Failed,
            ttl_seconds: 60,
            connector: None,
            client_env: None,
            left_over: false,
            held_seconds: None,
            caller: None,
        }
    }

    #[test]
    fn bytes_of_version_one_are_read_for_ever() {
        let header = r#"{"id":"CA1","account":"acme","project":"default","status":"failed","ttl_seconds":60}"#;
        let mut bytes = vec![1];
        bytes.extend_from_slice(&u32::try_from(header.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(br#"{"n":1.10}"#);
        let read = Handoff::decode(bytes.into(), 7, Timestamp::NEVER).unwrap();
        assert_eq!(read.heading, heading(None));
        assert_eq!(read.data(), br#"{"n":1.10}"#);
        assert_eq!(read.revision, 7);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_handoff_reads_back(text in "\\PC{0,80}", shared in proptest::option::of("[a-z]{1,9}")) {
            let data = serde_json::json!({ "text": text }).to_string();
            let kept = Handoff::new(heading(shared.as_deref()), &data, 3, Timestamp::NEVER);
            let read = Handoff::decode(kept.encode().unwrap().into(), 3, Timestamp::NEVER).unwrap();
            prop_assert_eq!(read.heading.clone(), kept.heading.clone());
            prop_assert_eq!(read.document(), kept.document());
        }

        #[test]
        fn damaged_bytes_never_panic(bytes: Vec<u8>, cut in 0_usize..120) {
            let _ = Handoff::decode(bytes.clone().into(), 1, Timestamp::NEVER);
            let _ = StoredKey::decode(bytes.clone().into(), 1, Timestamp::NEVER);
            let _ = StoredAliases::decode(bytes.into(), 1, Timestamp::NEVER);
            let whole = Handoff::new(heading(None), "{}", 3, Timestamp::NEVER).encode().unwrap();
            let cut = cut.min(whole.len());
            let _ = Handoff::decode(Bytes::copy_from_slice(&whole[..cut]), 1, Timestamp::NEVER);
        }
    }
}
