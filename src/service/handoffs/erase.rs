//! Erasing: one handoff, or all that carry a shared id, or a whole project or account.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::handoff::Handoff;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::domain::principal::Projects;
use crate::domain::principal::Scope;
use crate::service::error::Missing;
use crate::service::error::ServiceError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::Precondition;
use crate::service::handoffs::RACES;
use crate::service::require;
use crate::service::timelines::Timelines;
use crate::store::kv::Expect;
use crate::store::kv::Outcome;
use crate::store::kv::StoreError;
use crate::store::names;

// Erased together, in one commit or two.
const BATCH: usize = 128;
// Names looked at together for those of one project.
const NAMES: usize = 4096;

/// What is erased together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whole {
    /// All handoffs that carry a shared id, as far as the caller's projects reach.
    SharedId(HandoffId),
    /// All of a project.
    Project(ProjectId),
    /// All of the account.
    Account,
}

/// How far erasing got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// Handoffs erased.
    pub count: usize,
    /// Nothing is left; else ask again.
    pub done: bool,
}

impl Handoffs {
    /// Erases what a read would find.
    pub async fn erase(
        self: &Arc<Self>,
        who: &Principal,
        ask: &Ask,
        precondition: &Precondition,
    ) -> Result<(), ServiceError> {
        let account = self.admit(who, Scope::HandoffErase, ask)?;
        let found = self.find(who, &account, ask).await;
        if let (Err(ServiceError::NoHandoff(miss)), By::Id(id)) = (&found, &ask.by)
            && miss.why == Missing::Erased
        {
            // What an erasure that was cut short may have left.
            self.remove_aliases(&account, id).await?;
            self.remove_answers(&account, id).await?;
        }
        let mut there = self.conclude(who, &account, ask, found).await?.handoff;
        let mut turn = None;
        for _ in 0..RACES {
            precondition.check(Some(there.revision))?;
            let id = &there.heading.id;
            if let Outcome::Done(_) = self.erase_one(who, &account, (id, there.revision)).await? {
                return Ok(());
            }
            if turn.is_none() {
                turn = Some(self.turn(&account, id).await);
            }
            // By another id than its own it may be another handoff by now.
            there = self.find(who, &account, ask).await?.handoff;
        }
        Err(ServiceError::Contended)
    }

    /// Erases all of `whole` that is there now, for as long as `until` allows; asked again, it goes
    /// on, for what is erased is listed no more. What is written meanwhile may stay.
    pub async fn erase_whole(
        self: &Arc<Self>,
        who: &Principal,
        account: Option<&AccountId>,
        whole: &Whole,
        until: Instant,
    ) -> Result<Erased, ServiceError> {
        let account = require(who, Scope::HandoffErase, account)?;
        match whole {
            Whole::Project(project) if !who.projects.include(project) => {
                return Err(ServiceError::ForeignProject(project.clone()));
            }
            Whole::Account if who.projects != Projects::All => {
                return Err(ServiceError::WholeAccount);
            }
            Whole::SharedId(_) | Whole::Project(_) | Whole::Account => {}
        }
        let erased = self.erase_listed(who, &account, whole, until).await?;
        // Never an id: they may be made from personal data.
        let (key, count, done) = (&who.name, erased.count, erased.done);
        let (of, project) = match whole {
            Whole::SharedId(_) => ("shared_id", ""),
            Whole::Project(project) => ("project", project.as_str()),
            Whole::Account => ("account", ""),
        };
        tracing::info!(key, %account, of, project, count, done, "erased handoffs");
        Ok(erased)
    }

    async fn erase_listed(
        self: &Arc<Self>,
        who: &Principal,
        account: &AccountId,
        whole: &Whole,
        until: Instant,
    ) -> Result<Erased, ServiceError> {
        let mut erased = Erased { count: 0, done: false };
        let mut moved = true;
        while moved {
            moved = false;
            let mut after = None;
            loop {
                let (page, next) = self.page_of(who, account, whole, after).await?;
                if Instant::now() >= until {
                    return Ok(erased);
                }
                for batch in page.chunks(BATCH) {
                    if Instant::now() >= until {
                        return Ok(erased);
                    }
                    let rewritten = self.erase_batch(who, account, batch, &mut erased).await?;
                    moved = moved || rewritten;
                }
                match next {
                    Some(last) => after = Some(last),
                    None => break,
                }
            }
        }
        let is_meant = |own: &ProjectId| match whole {
            Whole::Project(project) => own == project,
            Whole::SharedId(_) | Whole::Account => true,
        };
        let done = match whole {
            // Those of the handoffs that carried it went with them.
            Whole::SharedId(_) => true,
            Whole::Project(_) | Whole::Account => {
                self.remove_all_aliases(account, is_meant, until).await?
            }
        };
        Ok(Erased { done, ..erased })
    }

    /// What is listed of `whole`, with revisions, and from where to go on.
    async fn page_of(
        &self,
        who: &Principal,
        account: &AccountId,
        whole: &Whole,
        after: Option<Vec<u8>>,
    ) -> Result<(Vec<(HandoffId, u64)>, Option<Vec<u8>>), ServiceError> {
        let set = match whole {
            Whole::SharedId(shared_id) => names::handoffs_sharing(account, shared_id),
            Whole::Project(_) | Whole::Account => names::handoffs_of(account),
        };
        let page = self.records.members(set, after, NAMES).await?;
        let read = |listed: &Vec<u8>| {
            let (revision, own, id) = names::read_listed(listed)?;
            let is_meant = match whole {
                Whole::Project(project) => own == *project,
                Whole::SharedId(_) | Whole::Account => who.projects.include(&own),
            };
            is_meant.then_some((id, revision))
        };
        let handoffs = page.iter().filter_map(read).collect();
        Ok((handoffs, page.into_iter().nth(NAMES - 1)))
    }

    /// Erases some together; whether any was written anew meanwhile, and so is still there.
    async fn erase_batch(
        self: &Arc<Self>,
        who: &Principal,
        account: &AccountId,
        batch: &[(HandoffId, u64)],
        erased: &mut Erased,
    ) -> Result<bool, ServiceError> {
        let mut under_way = JoinSet::new();
        for (id, revision) in batch {
            let (handoffs, who, account) = (Arc::clone(self), who.clone(), account.clone());
            let (id, revision) = (id.clone(), *revision);
            under_way
                .spawn(async move { handoffs.erase_one(&who, &account, (&id, revision)).await });
        }
        let mut rewritten = false;
        while let Some(outcome) = under_way.join_next().await {
            match outcome.map_err(StoreError::panicked)?? {
                Outcome::Done(_) => erased.count += 1,
                Outcome::Conflict(there) => rewritten = rewritten || there.is_some(),
            }
        }
        Ok(rewritten)
    }

    /// Removes what webhooks were answered that told what an erased handoff held: sent again, they would
    /// be told it once more.
    async fn remove_answers(
        &self,
        account: &AccountId,
        id: &HandoffId,
    ) -> Result<(), ServiceError> {
        let set = names::answers_telling(account, id);
        let mut after = None;
        loop {
            let told = self.answers.members(set.clone(), after, BATCH).await?;
            for name in &told {
                let fingerprint = String::from_utf8_lossy(name);
                self.answers.delete(names::answer(&fingerprint), Expect::Anything).await?;
            }
            // Each once: what has ended may be listed for a while.
            match told.into_iter().nth(BATCH - 1) {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// Erases a handoff and then its aliases and what tells of it, also when the caller goes away between the two.
    async fn erase_one(
        self: &Arc<Self>,
        who: &Principal,
        account: &AccountId,
        (id, revision): (&HandoffId, u64),
    ) -> Result<Outcome, ServiceError> {
        let (handoffs, account, id) = (Arc::clone(self), account.clone(), id.clone());
        let by = Timelines::by(who);
        let erasing = tokio::spawn(async move {
            let key = names::handoff(&account, &id);
            let there = handoffs.records.glance(&key).await?.live();
            let note = |there: &Arc<Handoff>| handoffs.timelines.of_erased(&there.heading, by);
            let notes = there.as_ref().map(note).unwrap_or_default();
            let expect = Expect::Revision(revision);
            let outcome = handoffs.records.delete_noting(key, expect, notes).await?;
            if let Outcome::Done(_) = outcome {
                handoffs.recent.forget(&account, &id);
                if let Some(there) = there {
                    handoffs.timelines.erased(&there.heading);
                }
                handoffs.remove_aliases(&account, &id).await?;
                handoffs.remove_answers(&account, &id).await?;
            }
            Ok(outcome)
        });
        erasing.await.map_err(StoreError::panicked)?
    }
}
