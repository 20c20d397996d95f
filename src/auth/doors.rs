//! [`Doors`]: whatever is presented as `Authorization: Bearer …`, told apart by its shape.

use std::sync::Arc;

use crate::auth::api_key::KeyDoor;
use crate::auth::api_key::KeyRefused;
use crate::auth::call_token;
use crate::auth::call_token::CallDoor;
use crate::auth::connector_token;
use crate::auth::connector_token::TokenDoor;
use crate::auth::connector_token::TokenRefused;
use crate::domain::connector::ConnectorId;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
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
    pub connectors: Arc<TokenDoor>,
    /// Call tokens.
    pub calls: Arc<CallDoor>,
    /// The connectors there are.
    pub stored: Arc<Records<StoredConnector>>,
}

/// Why a bearer is not let in.
#[derive(Debug)]
pub enum Refused {
    /// What it presents is a key, or of no known shape.
    Key(KeyRefused),
    /// It is a token.
    Token(TokenRefused),
}

impl Doors {
    /// Who presents `text`. The admin key may be of any form, so it is looked for first.
    pub async fn admit(&self, text: &str) -> Result<Arc<Principal>, Refused> {
        if text.starts_with(call_token::PREFIX) && !self.keys.is_admin(text) {
            return self.calls.admit(text).await.map_err(Refused::Token);
        }
        if connector_token::is_token(text) && !self.keys.is_admin(text) {
            return self.connectors.admit(text).await.map_err(Refused::Token);
        }
        self.keys.admit(text).await.map_err(Refused::Key)
    }

    /// The connector that a request goes through.
    pub async fn connector(
        &self,
        id: &ConnectorId,
    ) -> Result<Option<Arc<StoredConnector>>, StoreError> {
        Ok(self.stored.get(&names::connector(id)).await?.live())
    }

    /// Whether a credential that was admitted still is: asked after a wait, for it may have been
    /// revoked meanwhile, or have expired.
    pub async fn is_good(&self, principal: &Principal) -> Result<bool, StoreError> {
        let acting = principal.acting.as_ref();
        match (&principal.credential, acting.map(|acting| &acting.connector)) {
            (Credential::ConnectorToken(token), Some(connector)) => {
                self.connectors.is_good(connector, token).await
            }
            (Credential::CallToken, Some(connector)) => self.calls.is_good(connector).await,
            (Credential::ConnectorToken(_) | Credential::CallToken, None) => Ok(false),
            (Credential::Key, _) => self.keys.is_good(principal).await,
            // Its tokens end with the process, or with a link whose calls it may still serve.
            (Credential::TwilioSignature, _) => Ok(true),
        }
    }
}
