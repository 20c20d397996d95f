//! [`Keys`]: making, listing and revoking API keys. Nothing is granted that the granter does not
//! hold.

use std::sync::Arc;

use crate::domain::account::AccountId;
use crate::domain::api_key::ApiKey;
use crate::domain::api_key::KeyId;
use crate::domain::api_key::KeyRecord;
use crate::domain::clock::Clock;
use crate::domain::clock::Timestamp;
use crate::domain::principal::Principal;
use crate::domain::principal::Projects;
use crate::domain::principal::Reach;
use crate::domain::principal::ReadDefaults;
use crate::domain::principal::Scope;
use crate::service::error::ServiceError;
use crate::service::require;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::kv::Outcome;
use crate::store::names;
use crate::store::record::StoredKey;
use crate::store::records::Records;
use crate::store::records::Written;

/// Most keys a listing shows at once.
pub const PAGE: usize = 100;

/// Use cases on API keys.
#[derive(Debug)]
pub struct Keys {
    records: Arc<Records<StoredKey>>,
    clock: Clock,
}

/// What a new key shall be.
#[derive(Debug)]
pub struct Grant {
    /// Its account; the maker's own when none is named.
    pub account: Option<AccountId>,
    /// Its projects; the maker's own when none are named.
    pub projects: Option<Projects>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// A name for people.
    pub label: String,
    /// When it stops; when its maker stops, if none is given.
    pub expires_at: Option<Timestamp>,
    /// How its reads behave by default.
    pub read_defaults: ReadDefaults,
}

/// A key that was just made: the one time its secret is there.
#[derive(Debug)]
pub struct Made {
    /// The key.
    pub key: ApiKey,
    /// What is kept of it.
    pub stored: Arc<StoredKey>,
}

/// A page of keys.
#[derive(Debug)]
pub struct Page {
    /// The keys, by id.
    pub keys: Vec<Arc<StoredKey>>,
    /// From where to go on, when there are more.
    pub next: Option<KeyId>,
}

impl Keys {
    /// Use cases over `records`.
    pub fn new(records: Arc<Records<StoredKey>>, clock: Clock) -> Self {
        Self { records, clock }
    }

    /// Makes a key.
    pub async fn create(&self, who: &Principal, grant: Grant) -> Result<Made, ServiceError> {
        let account = require(who, Scope::KeyManage, grant.account.as_ref())?;
        let projects = grant.projects.unwrap_or_else(|| who.projects.clone());
        if !who.projects.cover(&projects) {
            return Err(ServiceError::GrantTooWide("projects"));
        }
        if !grant.scopes.iter().all(|scope| who.may(*scope)) {
            return Err(ServiceError::GrantTooWide("scopes"));
        }
        let expires_at = match (who.expires_at, grant.expires_at) {
            (Some(own), Some(wanted)) if wanted > own => {
                return Err(ServiceError::GrantTooWide("expires_at"));
            }
            (own, wanted) => wanted.or(own),
        };
        let now = self.clock.now();
        if expires_at.is_some_and(|end| end <= now) {
            return Err(ServiceError::ExpiryPast);
        }
        let key = ApiKey::random().map_err(|_no_random| ServiceError::NoRandom)?;
        let record = KeyRecord {
            id: key.id().clone(),
            account,
            projects,
            scopes: grant.scopes,
            label: grant.label,
            created_at: now.micros(),
            expires_at: expires_at.map(Timestamp::micros),
            read_defaults: grant.read_defaults,
            hash: key.hash(),
        };
        let at = names::api_key(key.id().as_str());
        let put = self.records.put(at, StoredKey::new(record), Expect::Absent, Change::Content);
        match put.await? {
            Written::Done(stored) => Ok(Made { key, stored }),
            // Two keys of one id: 62^10 of them make this a failed random source.
            Written::Conflict => Err(ServiceError::NoRandom),
        }
    }

    /// The keys whose projects `who` reaches, of one account, or of all when the admin names none.
    /// Their scopes do not matter: whoever looks after an account's keys must be able to see and to
    /// revoke every one of them.
    pub async fn list(
        &self,
        who: &Principal,
        account: Option<&AccountId>,
        after: Option<&KeyId>,
    ) -> Result<Page, ServiceError> {
        let own = require(who, Scope::KeyManage, account)?;
        let set = match (&who.reach, account) {
            (Reach::AnyAccount, None) => names::api_keys_of(None),
            _ => names::api_keys_of(Some(&own)),
        };
        let after = after.map(|id| id.as_str().as_bytes().to_vec());
        let listed = self.records.members(set, after, PAGE + 1).await?;
        let mut page = Page { keys: Vec::new(), next: None };
        for name in listed.iter().take(PAGE) {
            let id = String::from_utf8_lossy(name);
            // The set may be a moment behind; what is listed is what is there.
            let stored = self.records.get(&names::api_key(&id)).await?.live();
            page.keys.extend(stored.filter(|key| who.projects.cover(&key.record.projects)));
        }
        if listed.len() > PAGE {
            let last = listed.get(PAGE - 1).map(|name| String::from_utf8_lossy(name).into_owned());
            page.next = last.and_then(|name| name.parse().ok());
        }
        Ok(page)
    }

    /// Revokes a key. It opens nothing from the moment this answers.
    pub async fn revoke(&self, who: &Principal, id: &KeyId) -> Result<(), ServiceError> {
        require(who, Scope::KeyManage, None)?;
        let at = names::api_key(id.as_str());
        let stored = self.records.get(&at).await?.live().ok_or(ServiceError::NoKey)?;
        let account = &stored.record.account;
        let own = who.account(Some(account)).is_some();
        if !own || !who.projects.cover(&stored.record.projects) {
            return Err(ServiceError::NoKey);
        }
        match self.records.delete(at, Expect::Anything).await? {
            Outcome::Done(_) => Ok(()),
            Outcome::Conflict(_) => Err(ServiceError::NoKey),
        }
    }
}
