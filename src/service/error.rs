//! [`ServiceError`]: why a use case was not carried out.

use thiserror::Error;

use crate::auth::jwt::BadSigningKey;
use crate::auth::rates::TooFast;
use crate::auth::view_link::NotMade;
use crate::domain::account::ProjectId;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::connector::settings::BadSettings;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::OutOfReach;
use crate::domain::principal::Scope;
use crate::store::kv::Gone;
use crate::store::kv::StoreError;

/// Why a use case was not carried out.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// The credential lacks a scope.
    #[error("the credential lacks the scope {}", .0.as_str())]
    MissingScope(Scope),
    /// The request names an account that is not the credential's.
    #[error("the request names another account than the credential's")]
    ForeignAccount,
    /// The request names a project that the credential does not reach.
    #[error("the credential does not reach project {0}")]
    ForeignProject(ProjectId),
    /// No such handoff, and why.
    #[error("no such handoff: {:?}", .0.why)]
    NoHandoff(Miss),
    /// A write under an id that another project of the account holds.
    #[error("another project of this account holds the id")]
    HeldByOtherProject,
    /// `If-Match` or `If-None-Match` does not hold; the revision that is there.
    #[error("the precondition does not hold")]
    Precondition(Option<u64>),
    /// Others wrote the same handoff again and again.
    #[error("too many concurrent writes of one handoff")]
    Contended,
    /// A key asked for more than its maker holds.
    #[error("the key would hold more than the one that makes it: {0}")]
    GrantTooWide(&'static str),
    /// A key that would have expired before it is made.
    #[error("the key's end is in the past")]
    ExpiryPast,
    /// No such key in the account.
    #[error("no such key")]
    NoKey,
    /// Something is wrong with a connector.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// A call that cannot be sent on.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A token's own limits.
    #[error(transparent)]
    Token(#[from] TokenLimit),
    /// The system has no random bytes.
    #[error("the system's random source failed")]
    NoRandom,
    /// A view link that could not be made.
    #[error(transparent)]
    ViewLink(#[from] ViewLinkError),
    /// A whole account is erased only by a credential that reaches all its projects.
    #[error("the credential does not reach all projects of the account")]
    WholeAccount,
    /// Another handoff answers to the alias.
    #[error("another handoff answers to the alias")]
    AliasTaken(HandoffId),
    /// A cursor that no listing of this account answered.
    #[error("not a cursor of this listing")]
    BadCursor,
    /// More than [`crate::domain::aliases::MAX_ALIASES`].
    #[error("too many aliases")]
    TooManyAliases,
    /// What a patch makes of `data` is larger than this many bytes.
    #[error("the result is larger than {0} bytes")]
    TooLarge(usize),
    /// The credential asks too fast.
    #[error(transparent)]
    TooFast(#[from] TooFast),
    /// Timelines are off, or there is none.
    #[error("timelines are off")]
    NoTimeline,
    /// As many readers wait as may.
    #[error("as many readers wait as may")]
    TooManyWait,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a connector's tokens are held to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenLimit {
    /// The request names an environment that is not the token's; this one is.
    #[error("the token is of the environment {0}")]
    Environment(ClientEnv),
    /// A write over a handoff of another environment.
    #[error("another environment of the project holds the id")]
    HeldByOtherEnvironment,
    /// A call token asked for another call than its own.
    #[error("the call token is another call's")]
    OtherCall,
    /// A view link that is asked for more than to look.
    #[error("a view link opens no more than the handoff")]
    ViewOnly,
    /// A call token of a visit that another has followed.
    #[error("a later visit of the call has begun")]
    EarlierVisit,
    /// The handoff's connector lets only its own tokens write.
    #[error("only the connector's own tokens may write this handoff")]
    OwnTokensOnly,
}

/// Why a call cannot be sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// Nobody would take it, and its connector has no fallback.
    #[error("nobody takes the call, and the connector has no fallback")]
    NoFallback,
    /// Who asks may ask for calls of before alone, and this is none.
    #[error("the link was removed before the call began")]
    Unknown,
}

/// What is wrong with a connector, or with what is asked of it.
#[derive(Clone, Debug, Error)]
pub enum ConnectorError {
    /// There is no such one in the account, or in a project that the credential reaches.
    #[error("no such connector")]
    NotFound,
    /// One must be named, and is not.
    #[error("no connector is named")]
    NotNamed,
    /// A token is asked to do something for another connector than its own.
    #[error("the token is another connector's")]
    OtherThanTheTokens,
    /// Another connector of the same environment has the name.
    #[error("another connector has the name")]
    NameTaken(ConnectorId),
    /// What its settings would be cannot be.
    #[error(transparent)]
    BadSettings(#[from] BadSettings),
    /// A token cannot be signed.
    #[error(transparent)]
    Unsigned(BadSigningKey),
    /// A link that could not be confirmed, or could not check a webhook.
    #[error("the link is of no use: {0}")]
    UnusableLink(&'static str),
    /// Twilio says, in its own words, that the credentials are not the account's.
    #[error("Twilio refused the credentials")]
    RefusedByTwilio(String),
    /// A link that a token may not make: there was another before.
    #[error("the connector was linked before")]
    LinkedBefore,
    /// Twilio is being asked about it, or about too many others of its account.
    #[error("Twilio is being asked already")]
    UnderWay,
    /// It was linked or unlinked otherwise while Twilio was asked.
    #[error("the link was changed meanwhile")]
    LinkChanged,
    /// There is no link.
    #[error("there is no link")]
    NoLink,
    /// Nobody said where Twilio reaches this server.
    #[error("no public URL is set")]
    NoPublicUrl,
}

/// Why a view link was not made.
#[derive(Clone, Copy, Debug, Error)]
pub enum ViewLinkError {
    /// Only keys and Connector Tokens make them.
    #[error("the credential makes no view links")]
    NotByThis,
    /// It could not be signed.
    #[error(transparent)]
    NotMade(#[from] NotMade),
}

/// What became of a look-up that found nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// Why.
    pub why: Missing,
    /// It was looked up by the other side's id.
    pub by_shared_id: bool,
    /// An id written lately that may have been meant.
    pub near: Option<HandoffId>,
}

impl Miss {
    /// A miss by an id.
    pub fn of(why: Missing) -> Self {
        Self { why, by_shared_id: false, near: None }
    }
}

impl From<Miss> for ServiceError {
    fn from(miss: Miss) -> Self {
        Self::NoHandoff(miss)
    }
}

/// Why a handoff is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nobody wrote it, as far back as is remembered.
    NeverWritten,
    /// Its time was over.
    Expired,
    /// It was erased.
    Erased,
    /// Another project of the same account holds it: one that the credential does not reach, or
    /// another than the one that was asked for.
    InOtherProject,
    /// Another environment of the same project holds it than the credential's.
    InOtherEnvironment,
}

impl Missing {
    /// The word as timelines have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverWritten => "never_written",
            Self::Expired => "expired",
            Self::Erased => "erased",
            Self::InOtherProject => "in_other_project",
            Self::InOtherEnvironment => "in_other_environment",
        }
    }
}

impl From<OutOfReach> for Missing {
    fn from(why: OutOfReach) -> Self {
        match why {
            OutOfReach::Project => Self::InOtherProject,
            OutOfReach::Environment => Self::InOtherEnvironment,
        }
    }
}

impl From<Gone> for Missing {
    fn from(how: Gone) -> Self {
        match how {
            Gone::Erased => Self::Erased,
            Gone::Expired => Self::Expired,
        }
    }
}
