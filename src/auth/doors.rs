//! [`Doors`]: whatever is presented as `Authorization: Bearer …`, told apart by its shape, and what it
//! opens.

use std::sync::Arc;

use thiserror::Error;

use crate::auth::api_key::KeyDoor;
use crate::auth::api_key::KeyRefused;
use crate::auth::call_token;
use crate::auth::call_token::CallTokens;
use crate::auth::connector_token::ConnectorTokens;
use crate::auth::flex::FlexDoor;
use crate::auth::jwt;
use crate::auth::session::SessionDoor;
use crate::auth::view_link::ViewLinks;
use crate::domain::clock::Clock;
use crate::domain::clock::Timestamp;
use crate::domain::connector::Connector;
use crate::domain::connector::ConnectorId;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Acting;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
use crate::domain::principal::Projects;
use crate::domain::principal::Reach;
use crate::domain::principal::ReadDefaults;
use crate::domain::principal::Scope;
use crate::domain::view_link::Maker;
use crate::store::call::StoredCall;
use crate::store::connector::Signer;
use crate::store::connector::StoredConnector;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::records::Records;

/// The doors of those who hold a secret.
#[derive(Debug)]
pub struct Doors {
    /// Keys.
    pub keys: KeyDoor,
    /// Connector Tokens.
    pub tokens: Arc<ConnectorTokens>,
    /// Call tokens.
    pub calls: CallTokens,
    /// Flex users.
    pub flex: FlexDoor,
    /// View links.
    pub views: Arc<ViewLinks>,
    /// The console's sessions.
    pub sessions: SessionDoor,
    /// The calls there are.
    pub visits: Arc<Records<StoredCall>>,
    /// The connectors there are.
    pub connectors: Arc<Records<StoredConnector>>,
    /// What time it is.
    pub clock: Clock,
}

/// Why a bearer is not let in.
#[derive(Debug, Error)]
pub enum Refused {
    /// What it presents is a key, or of no known shape.
    #[error(transparent)]
    Key(#[from] KeyRefused),
    /// It is a token: not one of this server's, or not one any more.
    #[error("no such token")]
    UnknownToken,
    /// It is a token whose time is over.
    #[error("the token has expired")]
    TokenExpired,
    /// Its connector could not be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Doors {
    /// Who presents `text`. The admin key may be of any form, so it is looked for first.
    pub async fn admit(&self, text: &str) -> Result<Arc<Principal>, Refused> {
        if is_token(text) && !self.keys.is_admin(text) {
            return self.by_token(text).await.map(Arc::new);
        }
        Ok(self.keys.admit(text).await?)
    }

    async fn by_token(&self, text: &str) -> Result<Principal, Refused> {
        if text.starts_with(call_token::PREFIX) {
            let claimed = self.calls.read(text).ok_or(Refused::UnknownToken)?;
            let found = self.connector(&claimed.connector).await?.ok_or(Refused::UnknownToken)?;
            let ends_at = self.call_ends_at(&claimed.connector, &claimed.call).await?;
            return self.unless_over(Principal {
                name: format!("{}:{}", claimed.connector, claimed.call),
                expires_at: Some(claimed.ends_at.min(ends_at)),
                ..acting_for(
                    &found.record,
                    Credential::CallToken,
                    Some((claimed.call, claimed.leg)),
                )
            });
        }
        let Some(claimed) = self.tokens.read(text) else { return self.by_view_link(text).await };
        let found = self.connector(&claimed.connector).await?.ok_or(Refused::UnknownToken)?;
        let listed = found.record.tokens.iter().find(|token| token.id == claimed.token);
        let listed = listed.ok_or(Refused::UnknownToken)?;
        let ends_at = listed.ends_at.min(claimed.ends_at.saturating_mul(1_000_000));
        self.unless_over(Principal {
            expires_at: Some(Timestamp::from_micros(ends_at)),
            ..acting_for(&found.record, Credential::ConnectorToken(claimed.token), None)
        })
    }

    async fn by_view_link(&self, text: &str) -> Result<Principal, Refused> {
        let viewer = self.views.read(text).ok_or(Refused::UnknownToken)?;
        let viewer = self.unless_over(viewer)?;
        match viewer.view_link() {
            Some(link) if self.is_maker_good(&link.by).await? => Ok(viewer),
            Some(_) | None => Err(Refused::UnknownToken),
        }
    }

    /// Whether whoever made a view link is still let in.
    async fn is_maker_good(&self, by: &Maker) -> Result<bool, StoreError> {
        match by {
            Maker::Key(mark) => self.keys.is_held(mark).await,
            Maker::Token(connector, token) => {
                let found = self.connector(connector).await?;
                let now = self.clock.now();
                Ok(found.is_some_and(|found| found.record.live_token(token, now).is_some()))
            }
            Maker::Connector(connector) => {
                let found = self.connector(connector).await?;
                Ok(found.is_some_and(|found| found.record.settings.flex.view_link))
            }
        }
    }

    /// Until when a call's tokens are good, as far as the call itself says.
    async fn call_ends_at(
        &self,
        connector: &ConnectorId,
        call: &HandoffId,
    ) -> Result<Timestamp, StoreError> {
        let known = self.visits.get(&names::call(connector, call)).await?.live();
        let ends_at = known.and_then(|known| known.record.tokens_end_at());
        Ok(ends_at.unwrap_or(Timestamp::NEVER))
    }

    fn unless_over(&self, principal: Principal) -> Result<Principal, Refused> {
        if self.is_over(&principal) { Err(Refused::TokenExpired) } else { Ok(principal) }
    }

    fn is_over(&self, principal: &Principal) -> bool {
        principal.expires_at.is_some_and(|end| end <= self.clock.now())
    }

    /// The connector that a request goes through.
    pub async fn connector(
        &self,
        id: &ConnectorId,
    ) -> Result<Option<Arc<StoredConnector>>, StoreError> {
        Ok(self.connectors.get(&names::connector(id)).await?.live())
    }

    /// Whether a credential that was admitted still is: asked after a wait, for it may have been
    /// revoked, replaced or unlinked meanwhile, or have expired.
    pub async fn is_good(&self, principal: &Principal) -> Result<bool, StoreError> {
        let found = match &principal.acting {
            Some(acting) => self.connector(&acting.connector).await?,
            None => None,
        };
        let now = self.clock.now();
        Ok(match (&principal.credential, found) {
            _ if self.is_over(principal) => false,
            (Credential::Key, _) => self.keys.is_good(principal).await?,
            (Credential::FlexUser(user), _) => self.flex.is_good(user).await?,
            (Credential::ViewLink(link), _) => self.is_maker_good(&link.by).await?,
            (Credential::TwilioSignature, found) => principal.acting.is_none() || found.is_some(),
            (Credential::CallToken, Some(found)) => match &principal.acting {
                Some(Acting { call: Some(call), .. }) => {
                    self.call_ends_at(&found.record.id, call).await? > now
                }
                _ => false,
            },
            (Credential::ConnectorToken(token), Some(found)) => {
                found.record.live_token(token, now).is_some()
            }
            (Credential::LinkedSignature { since, of_call }, Some(found)) => {
                let is_its = |signer: &Signer| {
                    signer.since == *since && (signer.until.is_none() || *of_call)
                };
                found.signers(now).any(is_its)
            }
            (
                Credential::ConnectorToken(_)
                | Credential::LinkedSignature { .. }
                | Credential::CallToken,
                None,
            ) => false,
        })
    }
}

/// Whether a text has the shape of a token.
pub fn is_token(text: &str) -> bool {
    text.starts_with(call_token::PREFIX) || jwt::is_token(text)
}

fn acting_for(connector: &Connector, by: Credential, visit: Option<(HandoffId, u32)>) -> Principal {
    let (call, leg) = visit.map_or((None, 0), |(call, leg)| (Some(call), leg));
    Principal {
        credential: by,
        name: connector.id.to_string(),
        reach: Reach::Account(connector.account.clone()),
        projects: Projects::Only(vec![connector.project.clone()]),
        scopes: vec![Scope::HandoffRead, Scope::HandoffWrite],
        expires_at: None,
        read_defaults: ReadDefaults::default(),
        acting: Some(Acting {
            connector: connector.id.clone(),
            environment: connector.client_env,
            call,
            leg,
        }),
    }
}
