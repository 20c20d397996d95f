//! [`Link`]: the Twilio account that a connector is linked to, with what that account gave us of its
//! secrets. A [`Pending`] one verifies nothing: whoever asked for it may have named a stranger's
//! account.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::account_sid::AccountSid;
use crate::domain::algorithm::Algorithm;
use crate::domain::clock::Timestamp;
use crate::domain::connector::TokenId;
use crate::domain::connector::address::Unfit;
use crate::domain::secret_text::SecretText;

/// How long a link that was removed still verifies what calls of before ask for.
pub const FORMER_LIFE: Duration = Duration::from_secs(24 * 3600);
/// SharedKeys of one link.
pub const MAX_SHARED_KEYS: usize = 10;

/// A linked Twilio account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The account.
    pub account_sid: AccountSid,
    /// Its secrets.
    pub secrets: Secrets,
    /// Where it is; Twilio's credentials belong to one region.
    pub region: Region,
    /// Since when, in microseconds since the epoch: when it was asked for, and, once Twilio confirmed
    /// it, when it did.
    pub linked_at: u64,
}

/// What an account gave us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Its Auth Token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<SecretText>,
    /// The one that is to replace it, or that it replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_auth_token: Option<SecretText>,
    /// An API key of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<TwilioApiKey>,
    /// Its webhook SharedKeys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_keys: Vec<SharedKey>,
}

/// A Twilio API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwilioApiKey {
    /// `SK` and 32 hex digits.
    pub sid: String,
    /// Its secret.
    pub secret: SecretText,
}

/// A webhook SharedKey, for one algorithm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedKey {
    /// Its id, as Twilio's header names it.
    pub id: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// Its secret.
    pub secret: SecretText,
}

/// A link that Twilio has not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The link, if it comes to be one.
    pub link: Link,
    /// What is known of it.
    pub state: State,
    /// The Connector Token that asked for it, if one did: it must still work when Twilio confirms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_token: Option<TokenId>,
    /// The key that did, by its id; it must still work too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_key: Option<String>,
}

/// What is known of a link that Twilio has not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Twilio was not reached, and is asked again; what happened when it was asked first.
    Unverified(String),
    /// Twilio refused the credentials when it was reached at last, in its own words.
    Refused(String),
}

/// A link that was removed or replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// The link.
    pub link: Link,
    /// Until when it still verifies, in microseconds since the epoch.
    pub until: u64,
}

impl Former {
    /// Whether it still verifies.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.until > now.micros()
    }
}

/// A Twilio region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Region {
    /// The United States, and what is meant where nothing is said.
    #[default]
    Us1,
    /// Ireland.
    Ie1,
    /// Australia.
    Au1,
}

impl Region {
    /// The word as Twilio has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Us1 => "us1",
            Self::Ie1 => "ie1",
            Self::Au1 => "au1",
        }
    }
}

impl FromStr for Region {
    type Err = Unfit;

    fn from_str(word: &str) -> Result<Self, Unfit> {
        let all = [Self::Us1, Self::Ie1, Self::Au1];
        let known = all.into_iter().find(|region| region.as_str() == word);
        known.ok_or_else(|| Unfit::new("must be us1, ie1 or au1"))
    }
}

impl TryFrom<String> for Region {
    type Error = Unfit;

    fn try_from(word: String) -> Result<Self, Unfit> {
        word.parse()
    }
}

impl From<Region> for &'static str {
    fn from(region: Region) -> Self {
        region.as_str()
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
