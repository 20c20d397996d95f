//! [`Seen`]: when a connector's last signed request came, and its last refused one: what an operator
//! who sets a number up looks for. Kept in memory, since this process began.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;

/// Of every connector that was asked through; there are no more than there are connectors.
#[derive(Debug, Default)]
pub struct Seen(Mutex<HashMap<ConnectorId, Last>>);

/// What was last seen of one connector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// When a request was verified.
    pub verified: Option<Timestamp>,
    /// When one was refused, and why: a reason of ours, nothing that came with it.
    pub refused: Option<(Timestamp, String)>,
}

impl Seen {
    /// Notes a request: verified, or why not.
    pub fn note(&self, connector: &ConnectorId, at: Timestamp, why_not: Option<String>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = match seen.get_mut(connector) {
            Some(last) => last,
            None => seen.entry(connector.clone()).or_default(),
        };
        match why_not {
            None => last.verified = Some(at),
            Some(why) => last.refused = Some((at, why)),
        }
    }

    /// What was last seen of a connector.
    pub fn last(&self, connector: &ConnectorId) -> Last {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(connector).cloned().unwrap_or_default()
    }

    /// Forgets a connector that was deleted.
    pub fn forget(&self, connector: &ConnectorId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(connector);
    }
}
