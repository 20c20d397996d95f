//! [`StoredSession`]: somebody who signed in to the console.

use serde::Deserialize;
use serde::Serialize;

use crate::store::kv::Member;
use crate::store::record::Plain;
use crate::store::record::Stored;

/// A session, under the hash of its secret: whoever reads the store signs in with none.
pub type StoredSession = Stored<Session>;

/// What is kept of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// What the key is called that it was begun with.
    pub key: String,
}

impl Plain for Session {
    const KIND: u8 = 10;

    fn members(&self) -> Vec<Member> {
        Vec::new()
    }

    fn weight(&self) -> usize {
        256
    }
}
