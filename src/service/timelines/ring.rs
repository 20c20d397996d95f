//! [`Ring`]: what was asked for in vain, the latest of it, in memory alone: whoever guesses ids must not
//! fill the store.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::domain::account::AccountId;
use crate::domain::clock::Timestamp;
use crate::domain::handoff_id::HandoffId;
use crate::service::timelines::tally::Did;
use crate::service::timelines::tally::Tallies;
use crate::service::timelines::tally::Who;
use crate::service::timelines::tally::Whose;

// Ids; some 400 bytes each.
const IDS: usize = 4096;

/// What was asked for in vain.
#[derive(Debug, Default)]
pub(super) struct Ring(Mutex<Ids>);

#[derive(Debug, Default)]
struct Ids {
    by_id: HashMap<(AccountId, HandoffId), Tallies>,
    order: VecDeque<(AccountId, HandoffId)>,
}

impl Ring {
    /// Counts; the id that was asked for first among those that are there makes room.
    pub(super) fn count(&self, whose: &Whose<'_>, who: Who<'_>, did: Did<'_>, at: Timestamp) {
        let mut ids = self.ids();
        let key = (whose.account.clone(), whose.id.clone());
        if !ids.by_id.contains_key(&key) {
            if ids.order.len() >= IDS
                && let Some(oldest) = ids.order.pop_front()
            {
                ids.by_id.remove(&oldest);
            }
            ids.order.push_back(key.clone());
        }
        ids.by_id.entry(key).or_insert_with(|| Tallies::of(whose)).count(whose, who, did, at);
    }

    /// What there is of an id.
    pub(super) fn of(&self, account: &AccountId, id: &HandoffId) -> Option<Tallies> {
        self.ids().by_id.get(&(account.clone(), id.clone())).cloned()
    }

    /// Those of an account, the latest first, `most` of them, each with when it was asked for last.
    pub(super) fn latest(&self, account: &AccountId, most: usize) -> Vec<(Timestamp, HandoffId)> {
        let ids = self.ids();
        let own = ids.by_id.iter().filter(|((own, _), _)| own == account);
        let mut all: Vec<_> = own.map(|((_, id), tallies)| (tallies.last(), id.clone())).collect();
        all.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
        all.truncate(most);
        all
    }

    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let ring = Ring::default();
        let account = AccountId::default();
        let miss = |id: &HandoffId| {
            let expires_at = Timestamp::NEVER;
            let (project, client_env) = (None, None);
            let whose = Whose { account: &account, id, project, client_env, expires_at };
            ring.count(&whose, Who(None), Did::Refused("X"), Timestamp::from_micros(1));
        };
        let id = |n: usize| format!("id{n}").parse::<HandoffId>().unwrap();
        for n in 0..=IDS {
            miss(&id(n));
            miss(&id(n));
        }
        assert!(ring.of(&account, &id(0)).is_none());
        assert!(ring.of(&account, &id(1)).is_some());
        assert_eq!(ring.ids().by_id.len(), IDS);
    }
}
