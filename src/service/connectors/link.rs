//! Linking a connector to a Twilio account. Whoever asks says whose account it is; Twilio says whether
//! that is true, and until then nothing that the account's secrets sign is believed.

use std::sync::Arc;

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
use crate::service::connectors::may_issue;
use crate::service::connectors::under_way::Turns;
use crate::service::error::ConnectorError;
use crate::service::error::ServiceError;
use crate::service::error::TokenLimit;
use crate::service::require;
use crate::store::connector::StoredConnector;
use crate::twilio::rest::RestError;

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

/// What Twilio said of it.
#[derive(Debug)]
pub struct Asked {
    /// The connector as it was then.
    before: Arc<StoredConnector>,
    link: Link,
    /// Why Twilio did not answer, if it did not.
    unreached: Option<String>,
    _turns: Turns,
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
    /// Asks Twilio about a link: with the connector's token, as long as no other account was linked
    /// before; else, and to change a link, with what a token grants and `connector:manage`. What Twilio
    /// refuses is refused.
    pub async fn ask_for_link(
        &self,
        who: &Principal,
        wanted: Wanted,
    ) -> Result<Asked, ServiceError> {
        let id = meant(who, wanted.connector.as_ref())?;
        let before = self.reached_by(who, &id).await?;
        let Wanted { account_sid, secrets, region, .. } = wanted;
        let linked_at = self.clock.now().micros();
        let link = Link { account_sid, secrets, region, linked_at };
        may_link(who, &before.record, &link)?;
        self.check(&link.secrets)?;
        let turn = self.turn(who, "link", &before.record)?;
        let unreached = match self.ask_twilio(&link).await {
            Ok(()) => None,
            Err(RestError::Unreached(why)) => Some(why),
            Err(RestError::Refused(says)) => {
                return Err(ConnectorError::RefusedByTwilio(says).into());
            }
        };
        Ok(Asked { before, link, unreached, _turns: turn })
    }

    /// Keeps a link that Twilio was asked about, for a caller who was asked meanwhile whether the
    /// credential is still good. One that Twilio did not confirm, because it was not reached, waits beside
    /// the one that is there.
    pub async fn keep_link(&self, who: &Principal, asked: Asked) -> Result<Linked, ServiceError> {
        let Asked { before, link, unreached, .. } = asked;
        let (id, before) = (&before.record.id, &before.record);
        let now = self.clock.now();
        let by_token = who.connector_token().cloned();
        let by_key = who.acting.is_none().then(|| who.name.clone());
        let linking = self.change(id, |connector| {
            let is_as_before = connector.link == before.link
                && connector.pending == before.pending
                && connector.former == before.former
                && connector.cut_offs == before.cut_offs;
            let is_live = |token| connector.live_token(token, now).is_some();
            if !is_as_before || !by_token.as_ref().is_none_or(is_live) {
                return Err(ConnectorError::LinkChanged.into());
            }
            match &unreached {
                None => connector.adopt(link.clone(), now),
                Some(why) => {
                    let state = State::Unverified(why.clone());
                    let (by_token, by_key) = (by_token.clone(), by_key.clone());
                    let link = link.clone();
                    connector.pending = Some(Pending { link, state, by_token, by_key });
                }
            }
            Ok(())
        });
        let stored = linking.await?;
        let (key, is_verified, account) = (&who.name, unreached.is_none(), &link.account_sid);
        tracing::info!(key, connector = %id, %account, is_verified, "a connector was linked");
        Ok(Linked { stored, is_verified })
    }

    pub(super) async fn ask_twilio(&self, link: &Link) -> Result<(), RestError> {
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
            // At once, it also ends what Twilio is being asked about at this moment.
            if connector.link.is_none() && connector.pending.is_none() && !at_once {
                return Err(ConnectorError::NoLink.into());
            }
            connector.pending = None;
            connector.retire_link(now);
            if at_once {
                connector.cut_offs = connector.cut_offs.wrapping_add(1);
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
            // An account that is linked may read from then on.
            may_issue(who)?;
            named.cloned().ok_or_else(|| ConnectorError::NotNamed.into())
        }
    }
}

/// Whether `who` may make this the link. The token stands in places that many can read: it makes the
/// first link, and the same again; what was linked, and what was unlinked, is a manager's to change.
fn may_link(who: &Principal, connector: &Connector, wanted: &Link) -> Result<(), ServiceError> {
    if who.acting.is_none() {
        return Ok(());
    }
    let is_same = |link: &Link| {
        link.account_sid == wanted.account_sid
            && link.secrets == wanted.secrets
            && link.region == wanted.region
    };
    let is_first = match &connector.link {
        Some(link) => is_same(link),
        None => connector.former.is_empty(),
    };
    let is_free = connector.pending.as_ref().is_none_or(|pending| match pending.state {
        State::Unverified(_) => is_same(&pending.link),
        State::Refused(_) => true,
    });
    if is_first && is_free { Ok(()) } else { Err(ConnectorError::LinkedBefore.into()) }
}
