//! Links that wait for Twilio: asked about again, until it says yes or no, a day is over, or the key or
//! the token that asked for them has ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::domain::clock::Timestamp;
use crate::domain::connector::Connector;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::link::Link;
use crate::domain::connector::link::Pending;
use crate::domain::connector::link::State;
use crate::service::connectors::Connectors;
use crate::service::error::ConnectorError;
use crate::service::error::ServiceError;
use crate::store::names;
use crate::twilio::rest::RestError;

// Connectors looked at together, of those that wait; and asked about at once.
const PAGE: usize = 100;
const ASKED_AT_ONCE: usize = 8;
const ENDED: &str = "the key or the token that asked for it has ended";
// How long Twilio is asked about one again.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

impl Connectors {
    /// Asks Twilio again, every `every`, about links that it has not confirmed. Does not end.
    pub async fn confirm_links(self: Arc<Self>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            if let Err(error) = self.confirm_all().await {
                tracing::warn!(%error, "links that wait for Twilio could not be looked for");
            }
        }
    }

    async fn confirm_all(self: &Arc<Self>) -> Result<(), ServiceError> {
        let mut after = None;
        let mut asking = JoinSet::new();
        loop {
            let page = self.records.members(names::unconfirmed(), after, PAGE).await?;
            for name in &page {
                let id = std::str::from_utf8(name).ok().and_then(|id| id.parse().ok());
                let Some(id) = id else { continue };
                if asking.len() == ASKED_AT_ONCE {
                    asking.join_next().await;
                }
                let connectors = Arc::clone(self);
                // One that cannot be asked about holds up no other.
                asking.spawn(async move {
                    if let Err(error) = connectors.confirm(&id).await {
                        tracing::warn!(connector = %id, %error, "a link that waits for Twilio could not be looked at");
                    }
                });
            }
            match page.into_iter().nth(PAGE - 1) {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        while asking.join_next().await.is_some() {}
        Ok(())
    }

    async fn confirm(&self, id: &ConnectorId) -> Result<(), ServiceError> {
        let found = self.records.load(&names::connector(id)).await?.live();
        let Some((found, pending)) =
            found.and_then(|found| found.record.pending.clone().map(|pending| (found, pending)))
        else {
            return Ok(());
        };
        let is_live = |connector: &Connector| {
            let token = pending.by_token.as_ref();
            token.is_none_or(|token| connector.live_token(token, self.clock.now()).is_some())
        };
        let given_up = Timestamp::from_micros(pending.link.linked_at).plus(PATIENCE);
        let refused = if !is_live(&found.record) || !self.is_key_good(&pending).await? {
            Some(ENDED.to_owned())
        } else if given_up <= self.clock.now() {
            Some("not reached for a day; Twilio is not asked any more".to_owned())
        } else {
            match self.ask_twilio(&pending.link).await {
                // It may have ended while Twilio was asked.
                Ok(()) if !self.is_key_good(&pending).await? => Some(ENDED.to_owned()),
                Ok(()) => None,
                Err(RestError::Refused(says)) => Some(says),
                Err(RestError::Unreached(_)) => return Ok(()),
            }
        };
        let now = self.clock.now();
        let changed = self.change(id, |connector| {
            // Only what Twilio was asked about.
            if connector.pending.as_ref() != Some(&pending) {
                return Ok(());
            }
            let ended = (!is_live(connector)).then(|| ENDED.to_owned());
            match refused.clone().or(ended) {
                None => {
                    connector.adopt(Link { linked_at: now.micros(), ..pending.link.clone() }, now);
                }
                Some(says) => {
                    let state = State::Refused(says);
                    connector.pending = Some(Pending { state, ..pending.clone() });
                }
            }
            Ok(())
        });
        match changed.await {
            Ok(_) => {}
            Err(ServiceError::Connector(ConnectorError::NotFound)) => return Ok(()),
            Err(error) => return Err(error),
        }
        let account = &pending.link.account_sid;
        tracing::info!(connector = %id, %account, "a link that waited for Twilio waits no more");
        Ok(())
    }

    /// Whether the key that asked for a link still works, if one did. (The admin key is no record.)
    async fn is_key_good(&self, pending: &Pending) -> Result<bool, ServiceError> {
        let Some(key) = pending.by_key.as_deref().filter(|key| *key != "admin") else {
            return Ok(true);
        };
        let found = self.keys.get(&names::api_key(key)).await?.live();
        let end = found.map(|found| found.principal.expires_at.unwrap_or(Timestamp::NEVER));
        Ok(end.is_some_and(|end| end > self.clock.now()))
    }
}
