//! Settling what timelines tell: readers are written, and acceptances counted, once a second.

use std::sync::Arc;

use tokio::sync::oneshot::Receiver;
use tokio::task::JoinSet;

use crate::domain::account::AccountId;
use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;
use crate::domain::handoff_id::HandoffId;
use crate::domain::timeline::Event;
use crate::domain::timeline::What;
use crate::domain::timeline::lead::Acceptance;
use crate::domain::timeline::lead::Outcome;
use crate::domain::timeline::lead::acceptances;
use crate::service::error::ServiceError;
use crate::service::handoffs::Handoffs;
use crate::service::timelines::Due;
use crate::service::timelines::FLUSH_EVERY;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::telemetry::metrics::Lead;
use crate::telemetry::metrics::LeadOutcome;

// Handoffs whose acceptances are counted at once.
const COUNTING: usize = 256;

impl Handoffs {
    /// Writes what readers did, and counts whether context came in time, until it is told to stop. Not cut off
    /// in between: what is under way counts as written.
    pub async fn keep_timelines(self: Arc<Self>, mut stop: Receiver<()>) {
        let mut tick = tokio::time::interval(FLUSH_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut counting = JoinSet::new();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = &mut stop => return,
            }
            self.timelines.hour().tick(self.clock.now());
            self.timelines.flush(false).await;
            while counting.try_join_next().is_some() {}
            // Those that are due wait for those that were; a flush waits for neither.
            let room = COUNTING.saturating_sub(counting.len());
            for ((account, id), due) in self.timelines.due(room) {
                let handoffs = Arc::clone(&self);
                counting.spawn(async move {
                    if let Err(why) = handoffs.count(&account, &id, &due).await {
                        tracing::warn!(error = %why, "whether context came in time could not be counted yet");
                        handoffs.timelines.settle(&account, &id, due.connector);
                    }
                });
            }
        }
    }

    /// Writes what readers did and is not written yet.
    pub async fn flush_timelines(&self) {
        self.timelines.flush(true).await;
    }

    /// Counts what a handoff's acceptances came to, each once, wherever it was told of.
    async fn count(
        &self,
        account: &AccountId,
        id: &HandoffId,
        due: &Due,
    ) -> Result<(), StoreError> {
        let own = match self.by_alias_of(account, id).await? {
            Some(own) => own,
            None => id.clone(),
        };
        let mut ids = vec![own.clone()];
        ids.extend(self.aliases_of(account, &own).await?);
        ids.push(id.clone());
        let (events, _) = self.told(account, &ids).await?;
        let now = self.clock.now();
        let mut again = None;
        let is_counted = |acceptance: &Acceptance| {
            let is_it = |event: &Event| matches!(&event.what, What::Counted { acceptance: counted } if acceptance.may_be(counted));
            events.iter().any(is_it)
        };
        for acceptance in acceptances(&events, now) {
            if is_counted(&acceptance) {
                continue;
            }
            if acceptance.settles_at > now || acceptance.outcome == Outcome::Open {
                let at = again
                    .map_or(acceptance.settles_at, |at: Timestamp| at.min(acceptance.settles_at));
                again = Some(at);
            } else if self.timelines.is_new(account, &own, &acceptance).await? {
                self.measure(&acceptance, due.connector.as_ref());
            }
        }
        if let Some(at) = again {
            self.timelines.settle_at(account, id, Due { at, ..due.clone() });
        }
        Ok(())
    }

    async fn by_alias_of(
        &self,
        account: &AccountId,
        id: &HandoffId,
    ) -> Result<Option<HandoffId>, StoreError> {
        if self.records.get(&names::handoff(account, id)).await?.live().is_some() {
            return Ok(None);
        }
        let found = self.by_alias(account, id).await;
        match found {
            Ok(found) => Ok(found.map(|handoff| handoff.heading.id.clone())),
            Err(ServiceError::Store(why)) => Err(why),
            Err(_) => Ok(None),
        }
    }

    fn measure(&self, acceptance: &Acceptance, own: Option<&ConnectorId>) {
        let connector = acceptance.connector.as_ref().or(own);
        let connector = connector.map(ToString::to_string).unwrap_or_default();
        self.timelines.hour().accepted(acceptance.outcome, acceptance.lead_seconds);
        let outcome = acceptance.outcome.as_str();
        self.lead
            .accepted
            .get_or_create(&LeadOutcome { connector: connector.clone(), outcome })
            .inc();
        if let Some(seconds) = acceptance.lead_seconds {
            self.lead.seconds.get_or_create(&Lead { connector }).observe(seconds);
        }
    }
}
