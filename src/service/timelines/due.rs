//! [`Due`]: which handoffs' acceptances are to be counted, and when.

use std::sync::PoisonError;

use crate::domain::account::AccountId;
use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;
use crate::domain::handoff_id::HandoffId;
use crate::domain::timeline::Event;
use crate::domain::timeline::What;
use crate::domain::timeline::lead::Acceptance;
use crate::domain::timeline::lead::GRACE;
use crate::service::timelines::Timelines;
use crate::store::journal::Until;
use crate::store::journals::Name;
use crate::store::kv::StoreError;
use crate::store::kv::TOMBSTONE_LIFE;

// Handoffs whose acceptances are to be counted, at once.
const DUE: usize = 65_536;

/// When a handoff's acceptances are to be counted, and for which connector where they do not say.
#[derive(Clone, Debug)]
pub struct Due {
    /// From when on.
    pub at: Timestamp,
    /// The handoff's own.
    pub connector: Option<ConnectorId>,
}

impl Timelines {
    /// Has a handoff's acceptances counted, once it is settled what they come to.
    pub(in crate::service) fn settle(
        &self,
        account: &AccountId,
        id: &HandoffId,
        connector: Option<ConnectorId>,
    ) {
        let at = self.clock.now().plus(GRACE);
        self.settle_at(account, id, Due { at, connector });
    }

    pub(in crate::service) fn settle_at(&self, account: &AccountId, id: &HandoffId, due: Due) {
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (account.clone(), id.clone());
        if !self.is_on || (all.len() >= DUE && !all.contains_key(&key)) {
            return;
        }
        let known = all.entry(key).or_insert_with(|| due.clone());
        known.at = known.at.min(due.at);
        known.connector = known.connector.take().or(due.connector);
    }

    /// Whether an acceptance is counted now, and was not before, by whichever pod.
    pub(in crate::service) async fn is_new(
        &self,
        account: &AccountId,
        id: &HandoffId,
        acceptance: &Acceptance,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let name = acceptance.name();
        let what = What::Counted { acceptance: name.clone() };
        let event = Event { at: now, project: None, client_env: None, what };
        let until = Until::AtLeast(now.plus(TOMBSTONE_LIFE));
        let name = Name::First(&["counted", &name]);
        let note = self.journals.note((account, id), &event, name, until)?;
        Ok(self.journals.add(vec![note]).await?.contains(&true))
    }

    /// Takes those whose time has come, those that are due longest first, `most` of them.
    pub(in crate::service) fn due(&self, most: usize) -> Vec<((AccountId, HandoffId), Due)> {
        let now = self.clock.now();
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let mut come: Vec<_> = all.iter().filter(|(_, due)| due.at <= now).collect();
        come.sort_unstable_by_key(|(_, due)| due.at);
        let keys: Vec<_> = come.into_iter().take(most).map(|(key, _)| key.clone()).collect();
        keys.into_iter().filter_map(|key| all.remove_entry(&key)).collect()
    }
}
