//! A handoff's story: telling it, adding what readers say, counting whether context came in time.

use std::sync::Arc;

use tokio::sync::oneshot::Receiver;
use tokio::task::JoinSet;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::flex_user::Line;
use crate::domain::handoff::Handoff;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::domain::timeline::Event;
use crate::domain::timeline::Receipt;
use crate::domain::timeline::What;
use crate::domain::timeline::lead::Acceptance;
use crate::domain::timeline::lead::Outcome;
use crate::domain::timeline::lead::acceptances;
use crate::service::error::Missing;
use crate::service::error::ServiceError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::Read;
use crate::service::timelines::Due;
use crate::service::timelines::FLUSH_EVERY;
use crate::service::timelines::Telling;
use crate::service::timelines::Timelines;
use crate::service::timelines::story::State;
use crate::service::timelines::story::Story;
use crate::service::timelines::story::in_order;
use crate::store::journals::Name;
use crate::store::kv::StoreError;
use crate::store::l1::Found;
use crate::store::names;
use crate::telemetry::metrics::Lead;
use crate::telemetry::metrics::LeadOutcome;

// Handoffs whose acceptances are counted at once.
const COUNTING: usize = 256;

/// What a reader says.
#[derive(Clone, Debug)]
pub struct Said {
    /// What became of the handoff.
    pub receipt: Receipt,
    /// For which task.
    pub task_sid: Option<String>,
}

/// A receipt, kept.
#[derive(Clone, Debug)]
pub struct Receipted {
    /// The handoff.
    pub handoff: Arc<Handoff>,
    /// When it was said first.
    pub at: Timestamp,
    /// It was said now.
    pub first: bool,
}

/// What a task's ids lead to.
#[derive(Clone, Debug)]
pub enum Tied {
    /// The handoff.
    Handoff(Arc<Handoff>),
    /// Nothing that is there.
    Nothing,
    /// What is another project's or another environment's.
    Foreign,
}

impl Handoffs {
    /// Everything that is known of a handoff, by any of its ids; also of one that is no more, or is not yet.
    pub async fn story(&self, who: &Principal, ask: &Ask) -> Result<Story, ServiceError> {
        let account = self.admit(who, Scope::HandoffRead, ask)?;
        if !self.timelines.is_on() {
            return Err(ServiceError::NoTimeline);
        }
        let found = self.find(who, &account, ask).await;
        let mut state = match &found {
            Ok(_) => State::Live,
            Err(ServiceError::NoHandoff(miss)) => match miss.why {
                Missing::NeverWritten => State::Missing,
                Missing::Expired => State::Expired,
                Missing::Erased => State::Erased,
                Missing::InOtherProject | Missing::InOtherEnvironment => {
                    return self.no_story(who, &account, ask, found).await;
                }
            },
            Err(_) => return self.no_story(who, &account, ask, found).await,
        };
        let (By::Id(asked) | By::SharedId(asked)) = &ask.by;
        let own = found.as_ref().ok().map(|read| read.handoff.heading.id.clone());
        let shared_id = found.as_ref().ok().and_then(|read| read.handoff.heading.shared_id.clone());
        let own = match own {
            // Whose alias it was, if it was one: that is remembered longer than the handoff.
            None if who.is_of_one_call() => None,
            None => self.ids_of(&account, asked).await?.into_iter().next(),
            own => own,
        };
        if let (State::Missing, Some(own)) = (state, &own)
            && let Found::Gone(how) = self.records.get(&names::handoff(&account, own)).await?
        {
            state = how.into();
        }
        let mut ids = self.ids_told(who, &account, own.as_ref().unwrap_or(asked)).await?;
        if !who.is_of_one_call() {
            for id in std::iter::once(asked.clone()).chain(shared_id) {
                if self.there(&account, &id).await?.is_none() {
                    ids.push(id);
                }
            }
        }
        let (mut events, left_out) = self.told(&account, &ids).await?;
        let is_open = |event: &Event| {
            let project = event.project.as_ref();
            is_open(who, &account, project, event.client_env)
                && project.is_none_or(|own| ask.project.as_ref().is_none_or(|named| named == own))
        };
        let is_placed = |event: &&Event| event.project.is_some();
        let is_foreign = events.iter().any(|event| is_placed(&event))
            && !events.iter().filter(is_placed).any(is_open);
        events.retain(is_open);
        if (events.is_empty() || is_foreign) && state != State::Live {
            return self.no_story(who, &account, ask, found).await;
        }
        let acceptances = acceptances(&events, self.clock.now());
        let id = own.unwrap_or_else(|| asked.clone());
        Ok(Story { id, state, events: in_order(events, state), left_out, acceptances })
    }

    async fn no_story(
        &self,
        who: &Principal,
        account: &AccountId,
        ask: &Ask,
        found: Result<Read, ServiceError>,
    ) -> Result<Story, ServiceError> {
        self.conclude(who, account, ask, found).await?;
        Err(ServiceError::NoTimeline)
    }

    /// Under which ids things may have been told of a handoff: its own, and those that lead to it. One whose
    /// call a call token is for is told of under that call's alone.
    async fn ids_told(
        &self,
        who: &Principal,
        account: &AccountId,
        own: &HandoffId,
    ) -> Result<Vec<HandoffId>, StoreError> {
        let mut ids = vec![own.clone()];
        if who.is_of_one_call() {
            return Ok(ids);
        }
        for alias in self.aliases_of(account, own).await? {
            // What was written under it since is another handoff.
            if self.there(account, &alias).await?.is_none() {
                ids.push(alias);
            }
        }
        Ok(ids)
    }

    /// The ids that lead to a handoff beside its own.
    pub(in crate::service) async fn aliases_of(
        &self,
        account: &AccountId,
        own: &HandoffId,
    ) -> Result<Vec<HandoffId>, StoreError> {
        let aliases = self.aliases.get(&names::aliases(account, own)).await?.live();
        Ok(aliases.map(|aliases| aliases.record.aliases.clone()).unwrap_or_default())
    }

    async fn told(
        &self,
        account: &AccountId,
        ids: &[HandoffId],
    ) -> Result<(Vec<Event>, u32), StoreError> {
        let mut all = (Vec::new(), 0_u32);
        for (at, id) in ids.iter().enumerate() {
            if ids.iter().take(at).any(|before| before == id) {
                continue;
            }
            let told = self.timelines.told(account, id).await?;
            all.0.extend(told.events);
            all.1 = all.1.saturating_add(told.left_out);
        }
        Ok(all)
    }

    /// Keeps what a reader says of a handoff. Said again, it is what it was.
    pub async fn receipt(
        &self,
        who: &Principal,
        ask: &Ask,
        said: Said,
    ) -> Result<Receipted, ServiceError> {
        let account = self.admit(who, Scope::HandoffRead, ask)?;
        if !self.timelines.is_on() {
            return Err(ServiceError::NoTimeline);
        }
        let found = self.find(who, &account, ask).await;
        let handoff = self.conclude(who, &account, ask, found).await?.handoff;
        let by = Timelines::by(who);
        let worker = who.flex_user().map(|user| user.worker.clone()).unwrap_or_default();
        let task_sid = said.task_sid.clone().unwrap_or_default();
        let what = What::Receipt {
            receipt: said.receipt,
            by: by.clone(),
            worker: worker.clone(),
            task_sid: said.task_sid,
        };
        let own = worker.worker.unwrap_or_default();
        let name = ["receipt", said.receipt.as_str(), &by.by, &own, &task_sid];
        let at = self.clock.now();
        let telling = Telling { what: &what, at, name: Name::First(&name) };
        let notes = self.timelines.of_handoff(&handoff.heading, handoff.expires_at, telling);
        let first = self.timelines.add(notes).await?.first().copied();
        let unsealed = || StoreError::Unreadable("a receipt could not be sealed".to_owned());
        let first = first.ok_or_else(unsealed)?;
        if matches!(said.receipt, Receipt::Rendered | Receipt::Accepted) {
            let heading = &handoff.heading;
            self.timelines.settle(&account, &heading.id, heading.connector.clone());
        }
        let at = if first { at } else { self.said_at(&handoff, &what).await?.unwrap_or(at) };
        Ok(Receipted { handoff, at, first })
    }

    /// When something was said first.
    async fn said_at(
        &self,
        handoff: &Handoff,
        what: &What,
    ) -> Result<Option<Timestamp>, StoreError> {
        let told = self.timelines.told(&handoff.heading.account, &handoff.heading.id).await?;
        Ok(told.events.iter().find(|event| event.what == *what).map(|event| event.at))
    }

    /// The handoff that is there under its own id.
    pub(in crate::service) async fn there(
        &self,
        account: &AccountId,
        id: &HandoffId,
    ) -> Result<Option<Arc<Handoff>>, StoreError> {
        Ok(self.records.get(&names::handoff(account, id)).await?.live())
    }

    /// What a task's ids lead to, within a connector's own project and environment.
    pub async fn tied(&self, line: &Line, ids: &[HandoffId]) -> Result<Tied, ServiceError> {
        let account = &line.account;
        for id in ids {
            let found = self.records.get(&names::handoff(account, id)).await?.live();
            let found = match found {
                Some(found) => Some(found),
                None => self.by_alias(account, id).await?,
            };
            let Some(found) = found else { continue };
            let heading = &found.heading;
            let is_open = heading.project == line.project
                && heading.client_env.is_none_or(|own| own == line.environment);
            return Ok(if is_open { Tied::Handoff(found) } else { Tied::Foreign });
        }
        Ok(Tied::Nothing)
    }

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

/// Whether what happened in a project and an environment is for the caller to know.
fn is_open(
    who: &Principal,
    account: &AccountId,
    project: Option<&ProjectId>,
    env: Option<ClientEnv>,
) -> bool {
    if let Some(user) = who.flex_user() {
        return user.opens(account, project, env);
    }
    let own = who.acting.as_ref().map(|acting| acting.environment);
    let is_own = own.is_none_or(|own| env.is_none_or(|env| env == own));
    is_own && project.is_none_or(|project| who.projects.include(project))
}
