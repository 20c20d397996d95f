//! A handoff's story: telling it, and adding what readers say.

use std::sync::Arc;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::flex_user::Line;
use crate::domain::handoff::Handoff;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::domain::timeline::Event;
use crate::domain::timeline::Receipt;
use crate::domain::timeline::What;
use crate::domain::timeline::lead::acceptances;
use crate::service::error::Missing;
use crate::service::error::ServiceError;
use crate::service::error::TokenLimit;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::Read;
use crate::service::timelines::Telling;
use crate::service::timelines::Timelines;
use crate::service::timelines::story::State;
use crate::service::timelines::story::Story;
use crate::service::timelines::story::in_order;
use crate::store::journals::Name;
use crate::store::kv::StoreError;
use crate::store::l1::Found;
use crate::store::names;
use crate::store::seal::Seal;

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
        if who.view_link().is_some() {
            return Err(TokenLimit::ViewOnly.into());
        }
        self.story_in(who, &account, ask).await
    }

    /// The same, for whoever may know it.
    pub(in crate::service) async fn story_in(
        &self,
        who: &Principal,
        account: &AccountId,
        ask: &Ask,
    ) -> Result<Story, ServiceError> {
        if !self.timelines.is_on() {
            return Err(ServiceError::NoTimeline);
        }
        let found = self.find(who, account, ask).await;
        if let Some(story) = self.told_of(who, account, ask, &found).await? {
            return Ok(story);
        }
        self.conclude(who, account, ask, found).await?;
        Err(ServiceError::NoTimeline)
    }

    /// The story of what was found, or was not; none where there is nothing to tell, or it is not for the
    /// caller.
    pub(in crate::service) async fn told_of(
        &self,
        who: &Principal,
        account: &AccountId,
        ask: &Ask,
        found: &Result<Read, ServiceError>,
    ) -> Result<Option<Story>, ServiceError> {
        let Some(mut state) = state_of(found) else { return Ok(None) };
        let (By::Id(asked) | By::SharedId(asked)) = &ask.by;
        let heading = found.as_ref().ok().map(|read| &read.handoff.heading);
        let own = match heading {
            Some(heading) => Some(heading.id.clone()),
            // Whose alias it was, if it was one: that is remembered longer than the handoff.
            None if who.is_of_one_call() => None,
            None => self.ids_of(account, asked).await?.into_iter().next(),
        };
        if let (State::Missing, Some(own)) = (state, &own)
            && let Found::Gone(how) = self.records.glance(&names::handoff(account, own)).await?
        {
            state = how.into();
        }
        let mut ids = self.ids_told(who, account, own.as_ref().unwrap_or(asked)).await?;
        if !who.is_of_one_call() {
            let shared_id = heading.and_then(|heading| heading.shared_id.as_ref());
            for id in std::iter::once(asked).chain(shared_id) {
                if own.as_ref() != Some(id) && !self.is_there(account, id).await? {
                    ids.push(id.clone());
                }
            }
        }
        let (mut events, left_out) = self.told(account, &ids).await?;
        let is_open = |event: &Event| {
            let project = event.project.as_ref();
            is_open(who, account, project, event.client_env)
                && project.is_none_or(|own| ask.project.as_ref().is_none_or(|named| named == own))
        };
        let is_placed = |event: &&Event| event.project.is_some();
        let is_foreign = events.iter().any(|event| is_placed(&event))
            && !events.iter().filter(is_placed).any(is_open);
        events.retain(is_open);
        if (events.is_empty() || is_foreign) && state != State::Live {
            return Ok(None);
        }
        let acceptances = acceptances(&events, self.clock.now());
        let id = own.unwrap_or_else(|| asked.clone());
        let events = in_order(events, state);
        Ok(Some(Story { id, state, events, left_out, acceptances }))
    }

    async fn is_there(&self, account: &AccountId, id: &HandoffId) -> Result<bool, StoreError> {
        Ok(self.records.glance(&names::handoff(account, id)).await?.live().is_some())
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
            if !self.is_there(account, &alias).await? {
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

    pub(super) async fn told(
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
        let is_seen = matches!(said.receipt, Receipt::Rendered | Receipt::Acknowledged);
        if who.view_link().is_some() && !is_seen {
            return Err(TokenLimit::ViewOnly.into());
        }
        if !self.timelines.is_on() {
            return Err(ServiceError::NoTimeline);
        }
        let found = self.find(who, &account, ask).await;
        let handoff = self.conclude(who, &account, ask, found).await?.handoff;
        let by = Timelines::by(who);
        let worker = who.flex_user().map(|user| user.worker.clone()).unwrap_or_default();
        // Whoever has a link cannot know a task; made-up ones would push out what else happened.
        let said = if who.view_link().is_some() { Said { task_sid: None, ..said } } else { said };
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

    /// The handoff under its own id, looked at without being kept in memory for that.
    pub(in crate::service) async fn glance(
        &self,
        account: &AccountId,
        id: &HandoffId,
    ) -> Result<Found<Handoff>, StoreError> {
        self.records.glance(&names::handoff(account, id)).await
    }

    /// The own id of the handoff that is asked for, if there is one that may be known of.
    pub(in crate::service) async fn own_id(
        &self,
        who: &Principal,
        account: &AccountId,
        ask: &Ask,
    ) -> Result<Option<HandoffId>, ServiceError> {
        match self.find(who, account, ask).await {
            Ok(read) => Ok(Some(read.handoff.heading.id.clone())),
            Err(ServiceError::NoHandoff(_)) => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// Whether somebody may go on looking for what may not be there.
    pub(in crate::service) fn may_look(&self, who: &Principal) -> Result<(), ServiceError> {
        Ok(self.rates.may_look(&who.name)?)
    }

    /// Counts a search that found nothing.
    pub(in crate::service) fn missed_in_search(
        &self,
        who: &Principal,
        account: &AccountId,
        text: &str,
    ) -> Result<(), ServiceError> {
        Ok(self.rates.missed(&who.name, (account, text))?)
    }

    /// What seals cursors.
    pub(in crate::service) fn seal(&self) -> &Seal {
        self.records.seal()
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
}

/// Whether what was looked for is there; nothing of what is not the caller's to know, or was not looked for.
fn state_of(found: &Result<Read, ServiceError>) -> Option<State> {
    match found {
        Ok(_) => Some(State::Live),
        Err(ServiceError::NoHandoff(miss)) => match miss.why {
            Missing::NeverWritten => Some(State::Missing),
            Missing::Expired => Some(State::Expired),
            Missing::Erased => Some(State::Erased),
            Missing::InOtherProject | Missing::InOtherEnvironment => None,
        },
        Err(_) => None,
    }
}

/// Whether what happened in a project and an environment is for the caller to know.
pub(in crate::service) fn is_open(
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
