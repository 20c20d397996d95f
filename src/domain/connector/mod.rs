//! [`Connector`]: what links Twilio to one project configuration and one environment of it. Its id
//! stands in URLs and logs; its token ([`Token`] is what is kept of one) proves that whoever presents
//! it acts for it.

pub mod address;
pub mod destination;
pub mod environment;
pub mod exposed;
pub mod extra_info;
pub mod link;
pub mod routing;
pub mod settings;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::connector::link::FORMER_LIFE;
use crate::domain::connector::link::Former;
use crate::domain::connector::link::Link;
use crate::domain::connector::link::Pending;
use crate::domain::connector::link::Secrets;
use crate::domain::connector::settings::Settings;
use crate::domain::random::NoRandom;
use crate::domain::random::random_text;

const PREFIX: &str = "conn_";
const ID_CHARACTERS: usize = 20;
const TOKEN_ID_CHARACTERS: usize = 20;
/// Tokens of one connector that work at once; the oldest end when another is made.
pub const MAX_TOKENS: usize = 5;
/// Links that were removed and are remembered; the oldest are forgotten first.
pub const MAX_FORMER: usize = 8;

/// The Connector ID: `conn_` and 20 of `A–Z a–z 0–9`. No secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConnectorId(Arc<str>);

/// A text that is no Connector ID.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be a Connector ID: conn_ and 20 letters and digits")]
pub struct BadConnectorId;

impl ConnectorId {
    /// A new one.
    pub fn random() -> Result<Self, NoRandom> {
        Ok(Self(format!("{PREFIX}{}", random_text(ID_CHARACTERS)?).into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConnectorId {
    type Err = BadConnectorId;

    fn from_str(text: &str) -> Result<Self, BadConnectorId> {
        let rest = text.strip_prefix(PREFIX).ok_or(BadConnectorId)?;
        let well_formed =
            rest.len() == ID_CHARACTERS && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        if well_formed { Ok(Self(text.into())) } else { Err(BadConnectorId) }
    }
}

impl TryFrom<String> for ConnectorId {
    type Error = BadConnectorId;

    fn try_from(text: String) -> Result<Self, BadConnectorId> {
        text.parse()
    }
}

impl From<ConnectorId> for String {
    fn from(id: ConnectorId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for ConnectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which token: shown in lists, stands in the token itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenId(String);

impl TokenId {
    /// A new one.
    pub fn random() -> Result<Self, NoRandom> {
        Ok(Self(format!("tok_{}", random_text(TOKEN_ID_CHARACTERS)?)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is kept of a Connector Token: not the token. One that is not listed with its connector opens
/// nothing, whoever signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Which.
    pub id: TokenId,
    /// Since when, in microseconds since the epoch.
    pub issued_at: u64,
    /// Until when: its own end, or, once another has taken its place, the end of the grace.
    pub ends_at: u64,
    /// Another has taken its place.
    pub replaced: bool,
}

impl Token {
    /// Whether it still opens.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ends_at > now.micros()
    }
}

/// A connector as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connector {
    /// Its id.
    pub id: ConnectorId,
    /// Whose it is.
    pub account: AccountId,
    /// Of which project.
    pub project: ProjectId,
    /// Of which environment of the project.
    pub client_env: ClientEnv,
    /// What may be changed.
    pub settings: Settings,
    /// When it was made, in microseconds since the epoch.
    pub created_at: u64,
    /// Its tokens, newest first; those that have ended may still be listed.
    pub tokens: Vec<Token>,
    /// The Twilio account it is linked to: Twilio confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// What shall take its place once Twilio confirms it; it verifies nothing till then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// How often all that was linked was ended at once: what is asked of Twilio meanwhile is cut off too.
    #[serde(default)]
    pub cut_offs: u32,
    /// Links that were removed, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Former>,
}

impl Connector {
    /// The tokens that work at `now`.
    pub fn live_tokens(&self, now: Timestamp) -> impl Iterator<Item = &Token> {
        self.tokens.iter().filter(move |token| token.is_live(now))
    }

    /// Makes `link` the link; one that was there before still verifies the calls it began.
    pub fn adopt(&mut self, link: Link, now: Timestamp) {
        let is_same =
            |old: &Link| old.account_sid == link.account_sid && old.secrets == link.secrets;
        if self.link.as_ref().is_some_and(|old| !is_same(old)) {
            self.retire_link(now);
        }
        self.pending = None;
        self.link = Some(link);
    }

    /// Removes the link, which still verifies the calls it began.
    pub fn retire_link(&mut self, now: Timestamp) {
        // Whose they were is remembered, for the token must not link yet another.
        for former in self.former.iter_mut().filter(|former| !former.is_good(now)) {
            former.link.secrets = Secrets::default();
        }
        if let Some(link) = self.link.take() {
            let until = now.plus(FORMER_LIFE).micros();
            self.former.insert(0, Former { link, until });
            self.former.truncate(MAX_FORMER);
        }
    }

    /// The token of an id, if it works at `now`.
    pub fn live_token(&self, id: &TokenId, now: Timestamp) -> Option<&Token> {
        self.live_tokens(now).find(|token| token.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_is_one() {
        let id = ConnectorId::random().unwrap();
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert_ne!(ConnectorId::random().unwrap(), id);
        for text in ["", "link", "conn_", "conn_{{id}}", &id.as_str()[..24], &format!("{id}0")] {
            assert_eq!(text.parse::<ConnectorId>(), Err(BadConnectorId), "{text}");
        }
    }
}
