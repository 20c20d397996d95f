//! [`Aliases`]: further ids under which a handoff is read (a child call's SID, a SIP Call-ID, a task
//! SID, a conversation id of `PolyAI`'s).

use serde::Deserialize;
use serde::Serialize;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::handoff_id::HandoffId;

/// Most aliases of one handoff.
pub const MAX_ALIASES: usize = 8;

/// The aliases of one handoff, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aliases {
    /// The handoff's id.
    pub id: HandoffId,
    /// Whose it is.
    pub account: AccountId,
    /// Which project's it is.
    pub project: ProjectId,
    /// Its further ids; at most [`MAX_ALIASES`], each once.
    pub aliases: Vec<HandoffId>,
}

impl Aliases {
    /// No aliases yet.
    pub fn none(account: AccountId, project: ProjectId, id: HandoffId) -> Self {
        Self { id, account, project, aliases: Vec::new() }
    }

    /// The same with `more`, each once; `None` when there would be too many.
    #[must_use]
    pub fn with(&self, more: &[HandoffId]) -> Option<Self> {
        let mut all = self.clone();
        for alias in more {
            if !all.aliases.contains(alias) {
                all.aliases.push(alias.clone());
            }
        }
        (all.aliases.len() <= MAX_ALIASES).then_some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_different_aliases_are_taken_and_a_ninth_is_not() {
        let ids = |n: usize| (0..n).map(|i| format!("a{i}").parse().unwrap()).collect::<Vec<_>>();
        let none =
            Aliases::none(AccountId::default(), ProjectId::default(), "CA1".parse().unwrap());
        let eight = none.with(&ids(8)).unwrap();
        assert_eq!(eight.aliases, ids(8));
        assert_eq!(eight.with(&ids(8)), Some(eight.clone()));
        assert_eq!(eight.with(&ids(9)), None);
    }
}
