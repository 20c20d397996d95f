//! Linking a connector to a Twilio account. Whoever asks says whose account it is; Twilio says whether
//! that is true, and until then nothing that the account's secrets sign is believed.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::domain::account_sid::AccountSid;
use crate::domain::connector::Connector;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::link::Link;
use crate::domain::connector::link::MAX_SHARED_KEYS;
use crate::domain::connector::link::Pending;
use crate::domain::connector::link::Region;
use crate::domain::connector::link::Secrets;
use crate::domain::connector::link::State;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::connectors::Connectors;
use crate::service::error::ConnectorError;
use crate::service::error::ServiceError;
use crate::service::error::TokenLimit;
use crate::service::require;
use crate::store::connector::StoredConnector;
use crate::store::names;
use crate::twilio::rest::RestError;

// Connectors looked at together, of those that wait for Twilio.
const PAGE: usize = 100;

/// A link that shall be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of which connector; a Connector Token names it itself.
    pub connector: Option<ConnectorId>,
    /// To which account.
    pub account_sid: AccountSid,
    /// What the account gave.
    pub secrets: Secrets,
    /// Where it is.
    pub region: Region,
}

/// What became of it.
#[derive(Debug)]
pub struct Linked {
    /// The connector as it is now.
    pub stored: Arc<StoredConnector>,
    /// Twilio confirmed it; else it was not reached, and is asked again.
    pub is_verified: bool,
}

impl Connectors {
    /// Links a connector: with its token, as long as no other account was linked before; else, and to
    /// change a link, with `connector:manage`. What Twilio refuses is not kept; a link that cannot be
    /// confirmed because Twilio is not reached waits beside the one that is there.
    pub async fn link(&self, who: &Principal, wanted: Wanted) -> Result<Linked, ServiceError> {
        let id = meant(who, wanted.connector.as_ref())?;
        let there = self.reached_by(who, &id).await?;
        let now = self.clock.now();
        let Wanted { account_sid, secrets, region, .. } = wanted;
        let link = Link { account_sid, secrets, region, linked_at: now.micros() };
        may_link(who, &there.record, &link)?;
        self.check(&link.secrets)?;
        let unreached = match self.ask_twilio(&link).await {
            Ok(()) => None,
            Err(RestError::Unreached(why)) => Some(why),
            Err(RestError::Refused(says)) => {
                return Err(ConnectorError::RefusedByTwilio(says).into());
            }
        };
        let linking = self.change(&id, |connector| {
            // It may have been linked while Twilio was asked.
            may_link(who, connector, &link)?;
            match &unreached {
                None => connector.adopt(link.clone(), now),
                Some(why) => {
                    let state = State::Unverified(why.clone());
                    connector.pending = Some(Pending { link: link.clone(), state });
                }
            }
            Ok(())
        });
        let stored = linking.await?;
        let (key, is_verified, account) = (&who.name, unreached.is_none(), &link.account_sid);
        tracing::info!(key, connector = %id, %account, is_verified, "a connector was linked");
        Ok(Linked { stored, is_verified })
    }

    async fn ask_twilio(&self, link: &Link) -> Result<(), RestError> {
        self.rest.confirm(&link.account_sid, link.region, &link.secrets).await
    }

    /// Removes the link. For a day it still verifies what calls of before ask for, unless that is to
    /// end `at_once`.
    pub async fn unlink(
        &self,
        who: &Principal,
        id: &ConnectorId,
        at_once: bool,
    ) -> Result<(), ServiceError> {
        require(who, Scope::ConnectorManage, None)?;
        self.reached_by(who, id).await?;
        let now = self.clock.now();
        let unlinked = self.change(id, |connector| {
            let was_linked = at_once && connector.former.iter().any(|former| former.is_good(now));
            if connector.link.is_none() && connector.pending.is_none() && !was_linked {
                return Err(ConnectorError::NoLink.into());
            }
            connector.pending = None;
            connector.retire_link(now);
            if at_once {
                // What is remembered of them is whose they were, and nothing to sign with.
                for former in &mut connector.former {
                    former.until = 0;
                    former.link.secrets = Secrets::default();
                }
            }
            Ok(())
        });
        unlinked.await?;
        tracing::info!(key = who.name, connector = %id, at_once, "a connector was unlinked");
        Ok(())
    }

    /// Whether secrets are enough to be confirmed by, and to check webhooks with.
    fn check(&self, secrets: &Secrets) -> Result<(), ServiceError> {
        if !self.reached.is_set && !self.reached.is_local {
            return Err(ConnectorError::NoPublicUrl.into());
        }
        let unusable = |why| Err(ConnectorError::UnusableLink(why).into());
        if secrets.auth_token.is_none() && secrets.api_key.is_none() {
            return unusable(
                "give auth_token, or api_key_sid and api_key_secret: Twilio is asked with them whether the account is yours",
            );
        }
        if secrets.auth_token.is_none() && secrets.shared_keys.is_empty() {
            return unusable(
                "give auth_token or shared_keys: Twilio signs its webhooks with one of them, never with an API key",
            );
        }
        if secrets.auth_token.is_none() && secrets.secondary_auth_token.is_some() {
            return unusable("give secondary_auth_token only beside auth_token");
        }
        if secrets.shared_keys.len() > MAX_SHARED_KEYS {
            return unusable("give at most ten shared_keys");
        }
        Ok(())
    }

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
        loop {
            let page = self.records.members(names::unconfirmed(), after, PAGE).await?;
            let mut asking = JoinSet::new();
            for name in &page {
                let id = std::str::from_utf8(name).ok().and_then(|id| id.parse().ok());
                let Some(id) = id else { continue };
                let connectors = Arc::clone(self);
                // One that cannot be asked about holds up no other.
                asking.spawn(async move {
                    if let Err(error) = connectors.confirm(&id).await {
                        tracing::warn!(connector = %id, %error, "a link that waits for Twilio could not be looked at");
                    }
                });
            }
            // Twilio is asked a few questions at a time, however many wait.
            while asking.join_next().await.is_some() {}
            match page.into_iter().nth(PAGE - 1) {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    async fn confirm(&self, id: &ConnectorId) -> Result<(), ServiceError> {
        let found = self.records.load(&names::connector(id)).await?.live();
        let Some(pending) = found.and_then(|found| found.record.pending.clone()) else {
            return Ok(());
        };
        let refused = match self.ask_twilio(&pending.link).await {
            Ok(()) => None,
            Err(RestError::Refused(says)) => Some(says),
            Err(RestError::Unreached(_)) => return Ok(()),
        };
        let now = self.clock.now();
        let changed = self.change(id, |connector| {
            // Only what Twilio was asked about.
            if connector.pending.as_ref() != Some(&pending) {
                return Ok(());
            }
            match &refused {
                None => {
                    connector.adopt(Link { linked_at: now.micros(), ..pending.link.clone() }, now);
                }
                Some(says) => {
                    let state = State::Refused(says.clone());
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
        let (account, is_verified) = (&pending.link.account_sid, refused.is_none());
        tracing::info!(connector = %id, %account, is_verified, "Twilio was asked about a link again");
        Ok(())
    }
}

/// The connector that a link is for.
fn meant(who: &Principal, named: Option<&ConnectorId>) -> Result<ConnectorId, ServiceError> {
    match (&who.acting, named) {
        (Some(acting), _) if acting.call.is_some() => Err(TokenLimit::OtherCall.into()),
        (Some(acting), Some(named)) if acting.connector != *named => {
            Err(ConnectorError::OtherThanTheTokens.into())
        }
        (Some(acting), _) => Ok(acting.connector.clone()),
        (None, named) => {
            require(who, Scope::ConnectorManage, None)?;
            named.cloned().ok_or_else(|| ConnectorError::NotNamed.into())
        }
    }
}

/// Whether `who` may make this the link: a second account, or other secrets, need more than the token,
/// which stands in places that many can read.
fn may_link(who: &Principal, connector: &Connector, wanted: &Link) -> Result<(), ServiceError> {
    if who.acting.is_none() {
        return Ok(());
    }
    let is_its = |link: &Link| link.account_sid == wanted.account_sid;
    let is_same = |link: &Link| {
        is_its(link) && link.secrets == wanted.secrets && link.region == wanted.region
    };
    let is_free = connector.link.as_ref().is_none_or(is_same)
        && connector.former.iter().all(|former| is_its(&former.link))
        && connector.pending.as_ref().is_none_or(|pending| match pending.state {
            State::Unverified(_) => is_its(&pending.link),
            State::Refused(_) => true,
        });
    if is_free { Ok(()) } else { Err(ConnectorError::LinkedBefore.into()) }
}
