//! [`Open`]: which ids may have a task. Most handoffs are written before there is one, so a write looks for
//! none where there surely is none.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use crate::domain::account::AccountId;
use crate::domain::call::CALL_LIFE;
use crate::domain::clock::Timestamp;
use crate::domain::handoff_id::HandoffId;

// As long as a task is kept, in two parts: the older one goes as a whole.
const GENERATION: Duration = CALL_LIFE;
// Eight bytes each, and as much again around them.
const MOST: usize = 1 << 20;

/// Ids that may have a task.
#[derive(Debug)]
pub struct Open {
    known: Mutex<Known>,
    hasher: RandomState,
    // Other processes are told of tasks, too.
    is_shared: bool,
}

#[derive(Debug, Default)]
struct Known {
    newer: HashSet<u64>,
    older: HashSet<u64>,
    turned_at: Option<Timestamp>,
    // More than there is room for, or nobody knows which: any may have one.
    any: bool,
}

impl Default for Open {
    /// Nobody knows yet.
    fn default() -> Self {
        let open = Self { known: Mutex::default(), hasher: RandomState::new(), is_shared: false };
        open.add_all();
        open
    }
}

impl Open {
    /// Where other processes are told of tasks too: any id may have one.
    pub fn shared() -> Self {
        Self { is_shared: true, ..Self::default() }
    }

    /// Those that were there before are known.
    pub(in crate::service) fn are_known(&self) {
        self.known().any = false;
    }

    /// An id has a task.
    pub(in crate::service) fn add(&self, account: &AccountId, id: &HandoffId, now: Timestamp) {
        let hash = self.hasher.hash_one((account, id));
        let mut known = self.known();
        let turned_at = *known.turned_at.get_or_insert(now);
        if turned_at.plus(GENERATION) <= now {
            known.older = std::mem::take(&mut known.newer);
            known.turned_at = Some(now);
            // What nobody knew of is kept no more.
            known.any = false;
        }
        if known.newer.len() >= MOST {
            known.any = true;
        } else {
            known.newer.insert(hash);
        }
    }

    /// Nobody knows which ids have one.
    pub(in crate::service) fn add_all(&self) {
        self.known().any = true;
    }

    /// Whether an id may have a task; false: it has none.
    pub(in crate::service) fn may_have(&self, account: &AccountId, id: &HandoffId) -> bool {
        let hash = self.hasher.hash_one((account, id));
        let known = self.known();
        self.is_shared || known.any || known.newer.contains(&hash) || known.older.contains(&hash)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_known_for_as_long_as_its_task_is_kept() {
        let open = Open::default();
        assert!(open.may_have(&AccountId::default(), &"a".parse().unwrap()));
        open.are_known();
        let account = AccountId::default();
        let id = |text: &str| text.parse::<HandoffId>().unwrap();
        let start = Timestamp::from_micros(1);
        open.add(&account, &id("a"), start);
        assert!(open.may_have(&account, &id("a")) && !open.may_have(&account, &id("b")));
        open.add(&account, &id("b"), start.plus(GENERATION));
        assert!(open.may_have(&account, &id("a")));
        open.add(&account, &id("c"), start.plus(GENERATION * 2));
        assert!(!open.may_have(&account, &id("a")) && open.may_have(&account, &id("b")));
        open.add_all();
        assert!(open.may_have(&account, &id("a")));
    }
}
