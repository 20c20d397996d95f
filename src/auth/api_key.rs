//! [`KeyDoor`]: API keys and the admin key.

use std::sync::Arc;

use thiserror::Error;

use crate::domain::api_key::ApiKey;
use crate::domain::api_key::KeyHash;
use crate::domain::api_key::claimed_id;
use crate::domain::clock::Clock;
use crate::domain::principal::Principal;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::record::StoredKey;
use crate::store::records::Records;

/// Opens to API keys.
#[derive(Debug)]
pub struct KeyDoor {
    keys: Arc<Records<StoredKey>>,
    admin: KeyHash,
    admin_principal: Arc<Principal>,
    admin_mark: String,
    clock: Clock,
}

/// Why a key opens nothing.
#[derive(Debug, Error)]
pub enum KeyRefused {
    /// No such key: never made, revoked, mistyped.
    #[error("no such key")]
    Unknown,
    /// Its time is over.
    #[error("the key has expired")]
    Expired,
    /// It could not be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl KeyDoor {
    /// A door that knows `keys` and the admin key by its hash, which `secret` marks.
    pub fn new(
        keys: Arc<Records<StoredKey>>,
        (admin, secret): (KeyHash, &[u8]),
        clock: Clock,
    ) -> Self {
        let admin_principal = Arc::new(Principal::admin());
        let admin_mark = format!("{}:{}", admin_principal.name, admin.mark(secret));
        Self { keys, admin, admin_principal, admin_mark, clock }
    }

    /// Whether a credential that was admitted still is: asked after a wait, for it may have been
    /// revoked meanwhile, or have expired.
    pub async fn is_good(&self, principal: &Principal) -> Result<bool, StoreError> {
        self.is_held(&self.mark(principal)).await
    }

    /// Whether the key of this mark is good.
    pub async fn is_held(&self, mark: &str) -> Result<bool, StoreError> {
        match self.holder(mark).await {
            Ok(_) => Ok(true),
            Err(KeyRefused::Unknown | KeyRefused::Expired) => Ok(false),
            Err(KeyRefused::Store(error)) => Err(error),
        }
    }

    /// What a key is called in what stands on it: its id. The admin key has none, and what stood on it
    /// falls when another takes its place.
    pub fn mark(&self, principal: &Principal) -> String {
        let is_admin = principal.name == self.admin_principal.name;
        if is_admin { self.admin_mark.clone() } else { principal.name.clone() }
    }

    /// Who holds the key of this mark, while it is good.
    pub async fn holder(&self, mark: &str) -> Result<Arc<Principal>, KeyRefused> {
        if mark == self.admin_mark {
            return Ok(Arc::clone(&self.admin_principal));
        }
        let stored = self.keys.get(&names::api_key(mark)).await?.live();
        let stored = stored.ok_or(KeyRefused::Unknown)?;
        self.unless_over(&stored)
    }

    fn unless_over(&self, stored: &StoredKey) -> Result<Arc<Principal>, KeyRefused> {
        match stored.principal.expires_at {
            Some(end) if end <= self.clock.now() => Err(KeyRefused::Expired),
            _ => Ok(Arc::clone(&stored.principal)),
        }
    }

    /// Whether `text` is the admin key.
    pub fn is_admin(&self, text: &str) -> bool {
        KeyHash::of(text).matches(&self.admin)
    }

    /// Who presents `text`. A revoked key stops opening with the answer to its revocation; on the
    /// embedded store there is no older copy of it anywhere.
    pub async fn admit(&self, text: &str) -> Result<Arc<Principal>, KeyRefused> {
        let presented = KeyHash::of(text);
        if presented.matches(&self.admin) {
            return Ok(Arc::clone(&self.admin_principal));
        }
        let id = claimed_id(text).ok_or(KeyRefused::Unknown)?;
        let key = names::api_key(id);
        let stored = match self.keys.cached(&key).await {
            Some(stored) => stored,
            // Junk is refused by its checksum before the store is asked.
            None if text.parse::<ApiKey>().is_err() => return Err(KeyRefused::Unknown),
            None => self.keys.get(&key).await?.live().ok_or(KeyRefused::Unknown)?,
        };
        if !stored.record.hash.matches(&presented) {
            return Err(KeyRefused::Unknown);
        }
        self.unless_over(&stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::AccountId;
    use crate::domain::api_key::KeyRecord;
    use crate::domain::clock::Timestamp;
    use crate::domain::principal::Projects;
    use crate::domain::principal::ReadDefaults;
    use crate::domain::principal::Scope;
    use crate::store::kv::Change;
    use crate::store::kv::Expect;
    use crate::store::memory::Memory;
    use crate::store::records::Store;
    use crate::store::seal::KEY_BYTES;
    use crate::store::seal::Seal;
    use crate::telemetry::metrics::LookUps;

    use std::time::Duration;

    const ADMIN: &str = "an admin key of more than 32 characters";

    async fn door_with(expires_in: Option<u64>) -> (KeyDoor, ApiKey, Clock) {
        let clock = Clock::fixed(Timestamp::from_micros(1));
        let seal = Seal::new(vec![vec![1; KEY_BYTES].into()]).unwrap();
        let kv = Arc::new(Memory::new(clock.clone()));
        let (seal, watchers) = (Arc::new(seal), Arc::default());
        let store = Store { kv, seal, clock: clock.clone(), watchers, sharing: None };
        let keys = Arc::new(Records::new(store, 1 << 20, LookUps::default()));
        let key = ApiKey::random().unwrap();
        let record = KeyRecord {
            id: key.id().clone(),
            account: AccountId::default(),
            projects: Projects::All,
            scopes: vec![Scope::HandoffRead],
            label: String::new(),
            created_at: 1,
            expires_at: expires_in,
            read_defaults: ReadDefaults::default(),
            hash: key.hash(),
        };
        let stored = StoredKey::new(record);
        let at = names::api_key(key.id().as_str());
        keys.put(at, stored, Expect::Absent, Change::Content).await.unwrap();
        (KeyDoor::new(keys, (KeyHash::of(ADMIN), b"secret"), clock.clone()), key, clock)
    }

    #[tokio::test]
    async fn a_key_opens_as_itself_and_the_admin_key_as_admin() {
        let (door, key, _) = door_with(None).await;
        assert_eq!(door.admit(key.expose()).await.unwrap().name, key.id().as_str());
        assert_eq!(door.admit(ADMIN).await.unwrap().name, "admin");
    }

    #[tokio::test]
    async fn another_secret_under_a_known_id_opens_nothing() {
        let (door, key, _) = door_with(None).await;
        door.admit(key.expose()).await.unwrap();
        for forged in
            ["0", "z"].map(|c| format!("{}{c}{}", &key.expose()[..20], &key.expose()[21..]))
        {
            if forged != key.expose() {
                assert!(matches!(door.admit(&forged).await, Err(KeyRefused::Unknown)));
            }
        }
        let (other_door, _, _) = door_with(None).await;
        assert!(matches!(other_door.admit(key.expose()).await, Err(KeyRefused::Unknown)));
        assert!(matches!(door.admit("").await, Err(KeyRefused::Unknown)));
    }

    #[tokio::test]
    async fn a_key_stops_at_its_end() {
        let (door, key, clock) = door_with(Some(1_000_001)).await;
        door.admit(key.expose()).await.unwrap();
        clock.advance(Duration::from_secs(1));
        assert!(matches!(door.admit(key.expose()).await, Err(KeyRefused::Expired)));
    }
}
