//! [`SessionDoor`]: the console's sessions. Each stands on the key that it was begun with, which is looked
//! up anew with every request, and holds of that key's scopes no more than the console shows.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use secrecy::ExposeSecret;
use secrecy::SecretString;

use crate::auth::api_key::KeyDoor;
use crate::auth::api_key::KeyRefused;
use crate::domain::clock::Clock;
use crate::domain::clock::Timestamp;
use crate::domain::principal::Principal;
use crate::domain::principal::ReadDefaults;
use crate::domain::principal::Scope;
use crate::domain::random::random_text;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::record::Record;
use crate::store::records::Records;
use crate::store::session::Session;
use crate::store::session::StoredSession;

/// How long a session lasts.
pub const LIFE: Duration = Duration::from_secs(8 * 3600);

// 258 bits.
const CHARACTERS: usize = 43;
const SCOPES: [Scope; 2] = [Scope::OpsRead, Scope::HandoffRead];

/// Opens to sessions.
#[derive(Debug)]
pub struct SessionDoor {
    sessions: Arc<Records<StoredSession>>,
    clock: Clock,
}

/// A session that has begun.
#[derive(Debug)]
pub struct Begun {
    /// What the browser keeps.
    pub secret: SecretString,
    /// Who it is.
    pub who: Principal,
}

impl SessionDoor {
    /// A door that knows `sessions`.
    pub fn new(sessions: Arc<Records<StoredSession>>, clock: Clock) -> Self {
        Self { sessions, clock }
    }

    /// Begins a session of a key's holder.
    pub async fn begin(&self, keys: &KeyDoor, who: &Principal) -> Result<Begun, StoreError> {
        let no_random = |_| StoreError::Unavailable("the system's random source failed".to_owned());
        let secret = SecretString::from(random_text(CHARACTERS).map_err(no_random)?);
        let ends_at = self.clock.now().plus(LIFE);
        let ends_at = who.expires_at.map_or(ends_at, |end| end.min(ends_at));
        let session = StoredSession::new(Session { key: keys.mark(who) }, ends_at);
        let key = key_of(secret.expose_secret());
        self.sessions.put(key, session, Expect::Absent, Change::Content).await?;
        Ok(Begun { secret, who: within(who, ends_at) })
    }

    /// Who presents a session's secret, while its key is good; nobody, where there is no such session.
    pub async fn admit(
        &self,
        keys: &KeyDoor,
        secret: &str,
    ) -> Result<Option<Principal>, KeyRefused> {
        if secret.len() != CHARACTERS {
            return Ok(None);
        }
        let Some(found) = self.sessions.get(&key_of(secret)).await?.live() else {
            return Ok(None);
        };
        let who = keys.holder(&found.record.key).await?;
        Ok(Some(within(&who, found.expires_at())))
    }

    /// Ends a session: its secret opens nothing from the moment this answers.
    pub async fn end(&self, secret: &str) -> Result<(), StoreError> {
        self.sessions.delete(key_of(secret), Expect::Anything).await.map(|_| ())
    }
}

/// A key's holder as the console knows them.
fn within(who: &Principal, ends_at: Timestamp) -> Principal {
    Principal {
        scopes: SCOPES.into_iter().filter(|scope| who.may(*scope)).collect(),
        expires_at: Some(ends_at),
        read_defaults: ReadDefaults::default(),
        ..who.clone()
    }
}

fn key_of(secret: &str) -> Vec<u8> {
    names::session(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref())
}
