//! What becomes of a handoff by what becomes of its call: held once the call has ended, as long as a task
//! may wait for a person; left over once the call visits an agent again. Its content, and so its
//! revision, stay what they are.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::connector::routing::TaskHold;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Heading;
use crate::domain::principal::Acting;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::domain::timeline::What;
use crate::service::error::ServiceError;
use crate::service::error::TokenLimit;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::RACES;
use crate::service::handoffs::Stored;
use crate::service::handoffs::read::within;
use crate::service::require;
use crate::service::timelines::Telling;
use crate::store::journal::Note;
use crate::store::journals::Name;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::records::Written;

// By which a life is longer that is otherwise the same.
const A_MOMENT: Duration = Duration::from_micros(1);

impl Handoffs {
    /// Lets a handoff live for `seconds` from now at least, and from each further write; one that is not
    /// there is not held.
    pub async fn hold(
        &self,
        who: &Principal,
        ask: &Ask,
        seconds: u32,
    ) -> Result<Option<Arc<Handoff>>, ServiceError> {
        let until = self.clock.now().plus(Duration::from_secs(seconds.into()));
        self.mark(who, ask, |there| {
            let is_held = there.heading.held_seconds.is_some_and(|held| held >= seconds);
            let held = Heading { held_seconds: Some(seconds), ..there.heading.clone() };
            (!is_held).then(|| (held, until.max(there.expires_at)))
        })
        .await
    }

    /// Tells a handoff of this revision from those of the visit that begins now, even where the agent
    /// writes the same.
    pub async fn mark_left_over(
        &self,
        who: &Principal,
        ask: &Ask,
        revision: u64,
    ) -> Result<(), ServiceError> {
        self.mark(who, ask, |there| {
            let is_new = there.revision == revision && !there.heading.left_over;
            let left_over = Heading { left_over: true, ..there.heading.clone() };
            is_new.then_some((left_over, there.expires_at))
        })
        .await
        .map(drop)
    }

    /// What is noted of what was marked: that it is held.
    fn of_mark(&self, there: &Handoff, marked: &Handoff) -> Vec<Note> {
        if there.heading.held_seconds == marked.heading.held_seconds {
            return Vec::new();
        }
        let what = What::Held { until: marked.expires_at };
        let telling = Telling { what: &what, at: self.clock.now(), name: Name::Last(&["held"]) };
        self.timelines.of_handoff(&marked.heading, marked.expires_at, telling)
    }

    /// Changes what a handoff carries beside its content, and when it ends, where `change` has something
    /// to change; answers it as it is then.
    async fn mark(
        &self,
        who: &Principal,
        ask: &Ask,
        change: impl Fn(&Handoff) -> Option<(Heading, Timestamp)>,
    ) -> Result<Option<Arc<Handoff>>, ServiceError> {
        let account = require(who, Scope::HandoffWrite, ask.account.as_ref())?;
        let By::Id(id) = &ask.by else { return Ok(None) };
        let key = names::handoff(&account, id);
        // The revision stays: who changes what is beside the content is told from others by its end alone.
        let _turn = self.turn(&account, id).await;
        let mut found = self.records.get(&key).await?.live();
        for _ in 0..RACES {
            let Some(there) = found else { return Ok(None) };
            if within(who, ask, &there.heading).is_err() {
                return Ok(None);
            }
            let Some((heading, until)) = change(&there) else { return Ok(None) };
            let data = std::str::from_utf8(there.data()).map_err(StoreError::failed)?;
            // Its end tells one change of what is beside the content from another.
            let until = if until == there.expires_at { until.plus(A_MOMENT) } else { until };
            let marked = Handoff::new(heading, data, 0, until);
            let notes = self.of_mark(&there, &marked);
            let expect = Expect::Unchanged(there.revision, there.expires_at);
            match self
                .records
                .put_noting(key.clone(), marked, (expect, Change::Lifetime), notes)
                .await?
            {
                Written::Done(marked) => return Ok(Some(marked)),
                Written::Conflict => found = self.records.load(&key).await?.live(),
            }
        }
        Err(ServiceError::Contended)
    }

    /// Refuses the call token of a visit that has come back and that another has followed: what it writes
    /// would be taken for what the agent has to say of that one. A visit that has not come back goes on,
    /// whatever else was asked for meanwhile.
    pub(super) async fn of_newest_visit(&self, who: &Principal) -> Result<(), ServiceError> {
        let Some(Acting { connector, call: Some(call), leg, .. }) = &who.acting else {
            return Ok(());
        };
        let known = self.calls.get(&names::call(connector, call)).await?.live();
        let is_over = known
            .is_some_and(|known| known.record.returned_leg >= *leg && known.record.legs > *leg);
        if is_over { Err(TokenLimit::EarlierVisit.into()) } else { Ok(()) }
    }

    /// Holds what was written through `who`'s connector once its call was over, or while it ended: the end
    /// holds what is there, and whoever writes looks for the end afterwards.
    pub(super) async fn held_if_over(
        &self,
        who: &Principal,
        stored: Stored,
    ) -> Result<Stored, ServiceError> {
        let Heading { id, account, held_seconds, .. } = &stored.handoff.heading;
        let acting = who.acting.as_ref().filter(|_| id.is_call_sid() && held_seconds.is_none());
        let Some(acting) = acting else { return Ok(stored) };
        let call = self.calls.get(&names::call(&acting.connector, id)).await?.live();
        if call.is_none_or(|call| call.record.ended_at.is_none()) {
            return Ok(stored);
        }
        let connector = self.connectors.get(&names::connector(&acting.connector)).await?.live();
        let Some(connector) = connector else { return Ok(stored) };
        let TaskHold(seconds) = connector.record.settings.routing.task_hold_seconds;
        let ask = Ask {
            account: Some(account.clone()),
            project: None,
            client_env: None,
            by: By::Id(id.clone()),
        };
        let held = self.hold(who, &ask, seconds).await?;
        Ok(Stored { handoff: held.unwrap_or_else(|| Arc::clone(&stored.handoff)), ..stored })
    }
}
