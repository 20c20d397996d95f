//! [`UnderWay`]: which connectors Twilio is being asked about. One question at a time for each, or whoever
//! holds one token could keep Twilio, and this server, busy with it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::domain::connector::ConnectorId;
use crate::service::error::ConnectorError;

/// The connectors that Twilio is being asked about.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashSet<ConnectorId>>>);

/// A connector's turn, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    under_way: UnderWay,
    id: ConnectorId,
}

impl UnderWay {
    /// The turn of a connector, unless it has one already.
    pub(super) fn begin(&self, id: &ConnectorId) -> Result<Turn, ConnectorError> {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone()) {
            Ok(Turn { under_way: self.clone(), id: id.clone() })
        } else {
            Err(ConnectorError::UnderWay)
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
