//! [`Principal`]: who is asking, and what they may do. Made only by a door in `auth`.

use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::TokenId;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::flex_user::FlexUser;
use crate::domain::handoff::Heading;
use crate::domain::handoff_id::HandoffId;
use crate::domain::view_link::ViewLink;

/// One thing a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Read handoffs.
    #[serde(rename = "handoff:read")]
    HandoffRead,
    /// Store, replace and change handoffs.
    #[serde(rename = "handoff:write")]
    HandoffWrite,
    /// Erase handoffs.
    #[serde(rename = "handoff:erase")]
    HandoffErase,
    /// Create, change and remove connectors.
    #[serde(rename = "connector:manage")]
    ConnectorManage,
    /// Make, list and revoke keys.
    #[serde(rename = "key:manage")]
    KeyManage,
    /// Metrics, doctor, backup.
    #[serde(rename = "ops:read")]
    OpsRead,
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 6] = [
        Self::HandoffRead,
        Self::HandoffWrite,
        Self::HandoffErase,
        Self::ConnectorManage,
        Self::KeyManage,
        Self::OpsRead,
    ];

    /// The word as it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HandoffRead => "handoff:read",
            Self::HandoffWrite => "handoff:write",
            Self::HandoffErase => "handoff:erase",
            Self::ConnectorManage => "connector:manage",
            Self::KeyManage => "key:manage",
            Self::OpsRead => "ops:read",
        }
    }

    /// Reads a scope's word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// The projects a credential reaches within its account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Projects {
    /// All, also those to come.
    All,
    /// These and no others.
    Only(Vec<ProjectId>),
}

impl Projects {
    /// Whether `project` is among them.
    pub fn include(&self, project: &ProjectId) -> bool {
        match self {
            Self::All => true,
            Self::Only(some) => some.contains(project),
        }
    }

    /// Whether all of `others` are among them.
    pub fn cover(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(_), Self::Only(wanted)) => wanted.iter().all(|p| self.include(p)),
        }
    }
}

/// How reads with a key behave when the request does not say, so that a client that cannot be
/// changed (the reference's Twilio Function) still gets a waiting read or a 200 on a miss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadDefaults {
    /// Seconds to wait for a handoff that is not there yet, 0–8.
    #[serde(default)]
    pub wait: u8,
    /// Whether a miss answers 200 with `found: false` in place of 404.
    #[serde(default)]
    pub miss_200: bool,
}

/// Which accounts a credential acts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One account and no other.
    Account(AccountId),
    /// These: the first unless the request names another of them.
    Among(Vec<AccountId>),
    /// Its own account unless the request names another: the admin key.
    AnyAccount,
}

/// By what it was proved who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A key; it may be revoked, and what it asks for and misses is counted.
    Key,
    /// Twilio's signature, by a secret from the settings: the ids are those of calls, not guesses, and
    /// the secret ends with the process.
    TwilioSignature,
    /// The same by a linked account's; the link may be removed, and the connector deleted.
    LinkedSignature {
        /// Since when the account is linked, in microseconds since the epoch: which link it was.
        since: u64,
        /// It asks for a call by its SID, as a link that was removed still may.
        of_call: bool,
    },
    /// A Connector Token; it may be replaced, and its connector deleted.
    ConnectorToken(TokenId),
    /// A call token; its connector may be deleted.
    CallToken,
    /// A Flex user's token; its links may be removed.
    FlexUser(Arc<FlexUser>),
    /// A view link; whoever made it may be let in no more.
    ViewLink(Arc<ViewLink>),
}

/// The connector that a credential acts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acting {
    /// Which.
    pub connector: ConnectorId,
    /// Its environment: handoffs of others are out of reach.
    pub environment: ClientEnv,
    /// The one call whose handoff is in reach, if it is one.
    pub call: Option<HandoffId>,
    /// The visit of that call which it acts for.
    pub leg: u32,
}

/// Why a handoff of the same account is out of a credential's reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfReach {
    /// It is another project's.
    Project,
    /// It is another environment's.
    Environment,
}

/// Who is asking.
#[derive(Clone, Debug)]
pub struct Principal {
    /// By what it was proved.
    pub credential: Credential,
    /// What stands in logs for this credential: a key's id, `admin`, a Connector ID, that and a call's
    /// SID, a Twilio account's SID, or that and a worker's, `view:` and who made a view link. Never a secret,
    /// and nobody's name.
    pub name: String,
    /// The accounts it acts for.
    pub reach: Reach,
    /// The projects it reaches there.
    pub projects: Projects,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it stops; what it grants stops no later.
    pub expires_at: Option<Timestamp>,
    /// How its reads behave by default.
    pub read_defaults: ReadDefaults,
    /// The connector it acts for, if it acts for one.
    pub acting: Option<Acting>,
}

impl Principal {
    /// The first admin key: every scope, every account.
    pub fn admin() -> Self {
        Self {
            credential: Credential::Key,
            name: "admin".to_owned(),
            reach: Reach::AnyAccount,
            projects: Projects::All,
            scopes: Scope::ALL.to_vec(),
            expires_at: None,
            read_defaults: ReadDefaults::default(),
            acting: None,
        }
    }

    /// Whether a handoff of its account is in its reach. One that was written without a connector is of
    /// no environment, and so in reach of all.
    pub fn reaches(&self, heading: &Heading) -> Result<(), OutOfReach> {
        if !self.projects.include(&heading.project) {
            return Err(OutOfReach::Project);
        }
        if self.flex_user().is_some_and(|user| !user.reaches(heading)) {
            return Err(OutOfReach::Environment);
        }
        let of_link = self.view_link().and_then(|link| link.environment);
        let own = self.acting.as_ref().map(|acting| acting.environment).or(of_link);
        match (own, heading.client_env) {
            (Some(own), Some(env)) if own != env => Err(OutOfReach::Environment),
            _ => Ok(()),
        }
    }

    /// Whether it may ask for what is kept under `id`: a call token asks for its own call alone, a view
    /// link for its own handoff.
    pub fn may_name(&self, id: &HandoffId) -> bool {
        self.only().is_none_or(|only| only == id)
    }

    /// Whether it is held to one call, or one handoff.
    pub fn is_of_one_call(&self) -> bool {
        self.only().is_some()
    }

    fn only(&self) -> Option<&HandoffId> {
        let call = self.acting.as_ref().and_then(|acting| acting.call.as_ref());
        call.or_else(|| self.view_link().map(|link| &link.id))
    }

    /// The view link that it is, if it is one.
    pub fn view_link(&self) -> Option<&ViewLink> {
        match &self.credential {
            Credential::ViewLink(link) => Some(link),
            Credential::Key
            | Credential::TwilioSignature
            | Credential::LinkedSignature { .. }
            | Credential::ConnectorToken(_)
            | Credential::CallToken
            | Credential::FlexUser(_) => None,
        }
    }

    /// The Connector Token that it was proved by, if it was.
    pub fn connector_token(&self) -> Option<&TokenId> {
        match &self.credential {
            Credential::ConnectorToken(token) => Some(token),
            Credential::Key
            | Credential::TwilioSignature
            | Credential::LinkedSignature { .. }
            | Credential::CallToken
            | Credential::FlexUser(_)
            | Credential::ViewLink(_) => None,
        }
    }

    /// The Flex user that it is, if it is one.
    pub fn flex_user(&self) -> Option<&FlexUser> {
        match &self.credential {
            Credential::FlexUser(user) => Some(user),
            Credential::Key
            | Credential::TwilioSignature
            | Credential::LinkedSignature { .. }
            | Credential::ConnectorToken(_)
            | Credential::CallToken
            | Credential::ViewLink(_) => None,
        }
    }

    /// Whether it holds `scope`.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// The account a request is about, given the one it names; `None` when that one is not the
    /// credential's.
    pub fn account(&self, named: Option<&AccountId>) -> Option<AccountId> {
        match (&self.reach, named) {
            (Reach::Account(own), None) => Some(own.clone()),
            (Reach::Account(own), Some(named)) => (own == named).then(|| own.clone()),
            (Reach::Among(some), None) => some.first().cloned(),
            (Reach::Among(some), Some(named)) => some.iter().find(|own| *own == named).cloned(),
            (Reach::AnyAccount, None) => Some(AccountId::default()),
            (Reach::AnyAccount, Some(named)) => Some(named.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_acts_for_its_own_account_only_and_the_admin_for_any() {
        let own: AccountId = "acme".parse().unwrap();
        let other: AccountId = "other".parse().unwrap();
        let key = Principal { reach: Reach::Account(own.clone()), ..Principal::admin() };
        assert_eq!(key.account(None), Some(own.clone()));
        assert_eq!(key.account(Some(&own)), Some(own));
        assert_eq!(key.account(Some(&other)), None);
        assert_eq!(Principal::admin().account(None), Some(AccountId::default()));
        assert_eq!(Principal::admin().account(Some(&other)), Some(other));
    }

    #[test]
    fn some_projects_never_cover_all() {
        let only =
            |names: &[&str]| Projects::Only(names.iter().map(|n| n.parse().unwrap()).collect());
        assert!(Projects::All.cover(&Projects::All));
        assert!(!only(&["a"]).cover(&Projects::All));
        assert!(only(&["a", "b"]).cover(&only(&["b"])));
        assert!(!only(&["a"]).cover(&only(&["a", "b"])));
    }
}
