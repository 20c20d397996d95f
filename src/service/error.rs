//! [`ServiceError`]: why a use case was not carried out.

use thiserror::Error;

use crate::domain::account::ProjectId;
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
    #[error("no such handoff: {0:?}")]
    NoHandoff(Missing),
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
    /// The system has no random bytes.
    #[error("the system's random source failed")]
    NoRandom,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// Another project of the same account holds it.
    InOtherProject,
}

impl From<Gone> for Missing {
    fn from(how: Gone) -> Self {
        match how {
            Gone::Erased => Self::Erased,
            Gone::Expired => Self::Expired,
        }
    }
}
