//! [`ViewLink`]: leave to look at one handoff, for whoever has no credential of their own.

use serde::Deserialize;
use serde::Serialize;

use crate::domain::connector::ConnectorId;
use crate::domain::connector::TokenId;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::handoff_id::HandoffId;

/// What a view link opens, and on whose behalf: it ends with whoever made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewLink {
    /// The handoff.
    pub id: HandoffId,
    /// Its environment, if it has one: another one's is out of reach.
    pub environment: Option<ClientEnv>,
    /// Who made it.
    pub by: Maker,
}

/// Who made a view link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Maker {
    /// The holder of an API key, by what the key is called.
    Key(String),
    /// The holder of a Connector Token.
    Token(ConnectorId, TokenId),
    /// A connector, into a task's attributes.
    Connector(ConnectorId),
}
