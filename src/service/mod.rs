//! Use cases. Each asks first who is asking: a door made the principal, and no door can go round
//! the question.

pub mod calls;
pub mod connectors;
pub mod console;
pub mod cursor;
pub mod error;
pub mod handoffs;
pub mod keys;
mod recent;
pub mod tasks;
pub mod timelines;
pub mod view_links;

use crate::domain::account::AccountId;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::error::ServiceError;

/// The account a request is about, once the principal may do `scope` there.
fn require(
    who: &Principal,
    scope: Scope,
    account: Option<&AccountId>,
) -> Result<AccountId, ServiceError> {
    if !who.may(scope) {
        return Err(ServiceError::MissingScope(scope));
    }
    who.account(account).ok_or(ServiceError::ForeignAccount)
}
