//! Changing and deleting a connector.

use std::sync::Arc;

use crate::domain::connector::ConnectorId;
use crate::domain::connector::settings::Settings;
use crate::domain::merge::merge;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::connectors::Connectors;
use crate::service::error::ConnectorError;
use crate::service::error::ServiceError;
use crate::service::require;
use crate::store::connector::StoredConnector;
use crate::store::kv::Expect;
use crate::store::kv::Outcome;
use crate::store::kv::StoreError;
use crate::store::names;

impl Connectors {
    /// Changes the settings of a connector by a JSON Merge Patch (RFC 7396) of them; what it does not
    /// touch stays. [`crate::domain::data::check`] has passed `patch`.
    pub async fn patch(
        &self,
        who: &Principal,
        id: &ConnectorId,
        patch: &str,
    ) -> Result<Arc<StoredConnector>, ServiceError> {
        require(who, Scope::ConnectorManage, None)?;
        let before = self.reached_by(who, id).await?;
        let mut renamed = before.record.clone();
        renamed.settings = patched(&before.record.settings, patch)?;
        let is_renamed = renamed.settings.name != before.record.settings.name;
        let _naming = if is_renamed { Some(self.naming.lock().await) } else { None };
        if is_renamed {
            self.claim_name(&renamed).await?;
        }
        let changed = self
            .change(id, |connector| {
                connector.settings = patched(&connector.settings, patch)?;
                Ok(())
            })
            .await;
        let keeper = if changed.is_ok() { &before.record } else { &renamed };
        if is_renamed {
            self.release_name(keeper).await?;
        }
        changed.map(|(stored, ())| stored)
    }

    /// Deletes a connector. Its tokens open nothing from the moment this answers, and its link verifies
    /// nothing; handoffs that its agent wrote live on.
    pub async fn delete(&self, who: &Principal, id: &ConnectorId) -> Result<(), ServiceError> {
        require(who, Scope::ConnectorManage, None)?;
        let there = self.reached_by(who, id).await?;
        match self.records.delete(names::connector(id), Expect::Anything).await? {
            Outcome::Done(_) => {}
            Outcome::Conflict(_) => return Err(ConnectorError::NotFound.into()),
        }
        self.twilio.seen.forget(id);
        self.release_name(&there.record).await
    }
}

fn patched(settings: &Settings, patch: &str) -> Result<Settings, ServiceError> {
    let text = serde_json::to_string(settings).map_err(StoreError::failed)?;
    let text = merge(&text, patch).unwrap_or(text);
    Ok(Settings::read(&text).map_err(ConnectorError::from)?)
}
