//! Changing and deleting a connector.

use std::sync::Arc;

use crate::domain::connector::Connector;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::settings::BadSettings;
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
        self.reached_by(who, id).await?;
        // Before it is read: another rename may be under way.
        let names_it = object(patch).get("name").is_some();
        let _naming = if names_it { Some(self.naming.lock().await) } else { None };
        let there = self.records.load(&names::connector(id)).await?.live();
        let before = there.ok_or(ConnectorError::NotFound)?.record.clone();
        let settings = patched(&before.settings, patch)?;
        let is_renamed = settings.name != before.settings.name;
        if is_renamed {
            self.claim_name(&Connector { settings, ..before.clone() }).await?;
        }
        let stored = self
            .change(id, |connector| {
                connector.settings = patched(&connector.settings, patch)?;
                Ok(())
            })
            .await?;
        if is_renamed {
            self.release_name(&before).await;
        }
        tracing::info!(key = who.name, connector = %id, is_renamed, "a connector was changed");
        Ok(stored)
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
        self.release_name(&there.record).await;
        tracing::info!(key = who.name, connector = %id, "a connector was deleted");
        Ok(())
    }
}

/// What a patch names; its values are not looked at here.
fn object(patch: &str) -> serde_json::Value {
    serde_json::from_str(patch).unwrap_or_default()
}

fn patched(settings: &Settings, patch: &str) -> Result<Settings, ServiceError> {
    let text = serde_json::to_string(settings).map_err(StoreError::failed)?;
    let text = merge(&text, patch).unwrap_or(text);
    let patched = Settings::read(&text).map_err(ConnectorError::from)?;
    // Whoever cannot read a secret must not have it sent elsewhere.
    if let (Some(old), Some(new)) = (&settings.routing.sip, &patched.routing.sip)
        && old.uri != new.uri
    {
        let given = object(patch);
        let given = given.pointer("/routing/sip/headers");
        let is_given = |name: &String| given.is_some_and(|given| given.get(name).is_some());
        if !new.headers.keys().all(is_given) {
            return Err(ConnectorError::from(BadSettings {
                pointer: "/routing/sip/headers".to_owned(),
                why: "must be given anew with another uri: what is kept was meant for the one before; null takes a header away".to_owned(),
            })
            .into());
        }
    }
    Ok(patched)
}
