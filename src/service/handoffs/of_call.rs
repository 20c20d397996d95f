//! What becomes of a handoff by what becomes of its call: held once the call has ended, as long as a task
//! may wait for a person; left over once the call visits an agent again. Its content, and so its
//! revision, stay what they are.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::connector::routing::TaskHold;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Heading;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::error::ServiceError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::RACES;
use crate::service::handoffs::read::within;
use crate::service::require;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::records::Written;

impl Handoffs {
    /// Lets a handoff live for `seconds` from now at least, and from each further write; one that is not
    /// there is not held.
    pub async fn hold(&self, who: &Principal, ask: &Ask, seconds: u32) -> Result<(), ServiceError> {
        let until = self.clock.now().plus(Duration::from_secs(seconds.into()));
        self.mark(who, ask, |there| {
            let is_held = there.heading.held_seconds.is_some_and(|held| held >= seconds);
            let held = Heading { held_seconds: Some(seconds), ..there.heading.clone() };
            (!is_held).then(|| (held, until.max(there.expires_at)))
        })
        .await
    }

    /// Tells a handoff from those of the visit that begins now, even where the agent writes the same.
    pub async fn leave_over(&self, who: &Principal, ask: &Ask) -> Result<(), ServiceError> {
        self.mark(who, ask, |there| {
            let left_over = Heading { left_over: true, ..there.heading.clone() };
            (!there.heading.left_over).then_some((left_over, there.expires_at))
        })
        .await
    }

    /// Changes what a handoff carries beside its content, and when it ends, where `change` has something
    /// to change.
    async fn mark(
        &self,
        who: &Principal,
        ask: &Ask,
        change: impl Fn(&Handoff) -> Option<(Heading, Timestamp)>,
    ) -> Result<(), ServiceError> {
        let account = require(who, Scope::HandoffWrite, ask.account.as_ref())?;
        let By::Id(id) = &ask.by else { return Ok(()) };
        let key = names::handoff(&account, id);
        let mut found = self.records.get(&key).await?.live();
        for _ in 0..RACES {
            let Some(there) = found else { return Ok(()) };
            if within(who, ask, &there.heading).is_err() {
                return Ok(());
            }
            let Some((heading, until)) = change(&there) else { return Ok(()) };
            let data = std::str::from_utf8(there.data()).map_err(StoreError::failed)?;
            let marked = Handoff::new(heading, data, 0, until);
            let expect = Expect::Revision(there.revision);
            match self.records.put(key.clone(), marked, expect, Change::Lifetime).await? {
                Written::Done(_) => return Ok(()),
                Written::Conflict => found = self.records.load(&key).await?.live(),
            }
        }
        Err(ServiceError::Contended)
    }

    /// How long a handoff is held that is written through `who`'s connector: if its call has ended.
    pub(super) async fn held_after_its_call(
        &self,
        who: &Principal,
        id: &HandoffId,
    ) -> Result<Option<u32>, ServiceError> {
        let Some(acting) = who.acting.as_ref().filter(|_| id.is_call_sid()) else {
            return Ok(None);
        };
        let call = self.calls.get(&names::call(&acting.connector, id)).await?.live();
        if call.is_none_or(|call| call.record.ended_at.is_none()) {
            return Ok(None);
        }
        let connector = self.connectors.get(&names::connector(&acting.connector)).await?.live();
        Ok(connector.map(|found| {
            let TaskHold(seconds) = found.record.settings.routing.task_hold_seconds;
            seconds
        }))
    }
}
