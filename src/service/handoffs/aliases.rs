//! Further ids of a handoff.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::MAX_TTL_SECONDS;
use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::aliases::Aliases;
use crate::domain::aliases::MAX_ALIASES;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Heading;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::error::Miss;
use crate::service::error::Missing;
use crate::service::error::ServiceError;
use crate::service::error::TokenLimit;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::RACES;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::record::Record;
use crate::store::record::StoredAliases;
use crate::store::records::Written;

// One at most is live; those that are gone are taken away when the alias is given anew.
const SAME_ALIAS: usize = 16;
// Handoffs whose aliases are looked at together when a whole project or account is erased.
const PAGE: usize = 256;

impl Handoffs {
    /// Gives a handoff further ids; answers all it has. An id that another handoff answers to is
    /// refused, and then none is given. They live as long as a handoff can after one write; given
    /// again, they live on. Goes on to its end when the caller goes away, for what was checked
    /// holds only as long as the account's aliases are locked.
    pub async fn add_aliases(
        self: &Arc<Self>,
        who: &Principal,
        ask: &Ask,
        more: Vec<HandoffId>,
    ) -> Result<Arc<StoredAliases>, ServiceError> {
        let account = self.admit(who, Scope::HandoffWrite, ask)?;
        // Whoever is let in for one call must not answer to the ids of others.
        if who.is_of_one_call() {
            return Err(TokenLimit::OtherCall.into());
        }
        // Before anything is looked up for them.
        if more.len() > MAX_ALIASES {
            return Err(ServiceError::TooManyAliases);
        }
        let found = self.find(who, &account, ask).await;
        let handoff = self.conclude(who, &account, ask, found).await?.handoff;
        let lock = self.lock_aliases(&account).await;
        let (handoffs, of) = (Arc::clone(self), account.clone());
        let adding = tokio::spawn(async move {
            let added = handoffs.add_locked(&account, &handoff.heading.id, more).await;
            drop(lock);
            added
        });
        let added = adding.await.map_err(StoreError::panicked)?;
        if let Err(ServiceError::AliasTaken(alias)) = &added {
            // It tells that something answers to an id, in whatever project.
            self.count_miss(who, &of, &By::Id(alias.clone()))?;
        }
        added
    }

    async fn add_locked(
        &self,
        account: &AccountId,
        own: &HandoffId,
        more: Vec<HandoffId>,
    ) -> Result<Arc<StoredAliases>, ServiceError> {
        let handoff = self.records.get(&names::handoff(account, own)).await?.live();
        let handoff = handoff.ok_or_else(|| Miss::of(Missing::Erased))?;
        for _ in 0..RACES {
            if let Some(stored) = self.try_to_add(&handoff.heading, &more).await? {
                // A task may be known by one of them.
                self.tell_of_change(account, own, more);
                return Ok(stored);
            }
        }
        Err(ServiceError::Contended)
    }

    /// Adds them to what there is; `None` when another server added some at the same time.
    async fn try_to_add(
        &self,
        heading: &Heading,
        more: &[HandoffId],
    ) -> Result<Option<Arc<StoredAliases>>, ServiceError> {
        let Heading { account, project, id: own, .. } = heading;
        let key = names::aliases(account, own);
        let there = self.aliases.load(&key).await?.live();
        let none = || Aliases::none(account.clone(), project.clone(), own.clone());
        let known = there.as_ref().map_or_else(none, |there| there.record.clone());
        let is_new = |alias: &&HandoffId| *alias != own && !known.aliases.contains(alias);
        let more: Vec<_> = more.iter().filter(is_new).cloned().collect();
        let all = known.with(&more).ok_or(ServiceError::TooManyAliases)?;
        self.make_free(account, own, &more).await?;
        let expect = there.as_ref().map_or(Expect::Absent, |it| Expect::Revision(it.revision()));
        let life = Duration::from_secs(u64::from(MAX_TTL_SECONDS));
        let until = self.clock.now().plus(life);
        let all = StoredAliases::new(all, until);
        let put = self.aliases.put(key.clone(), all, expect, Change::Content).await?;
        let Written::Done(stored) = put else { return Ok(None) };
        // Whoever erased it meanwhile may have seen no aliases yet: then they are ours to take away.
        if !self.is_live(account, own).await? {
            self.aliases.delete(key, Expect::Anything).await?;
            return Err(Miss::of(Missing::Erased).into());
        }
        // Another server may have given one of them to another handoff since it was looked at. Of two who
        // see each other neither keeps it, and never both.
        for alias in &more {
            if self.has_other(account, alias, own).await? {
                self.take_back(heading, &more).await?;
                return Err(ServiceError::AliasTaken(alias.clone()));
            }
        }
        Ok(Some(stored))
    }

    /// Takes aliases back that were just given.
    async fn take_back(&self, heading: &Heading, given: &[HandoffId]) -> Result<(), ServiceError> {
        let key = names::aliases(&heading.account, &heading.id);
        for _ in 0..RACES {
            let Some(there) = self.aliases.load(&key).await?.live() else { return Ok(()) };
            let (expect, until) = (Expect::Revision(there.revision()), there.expires_at());
            let mut left = there.record.clone();
            left.aliases.retain(|alias| !given.contains(alias));
            let left = StoredAliases::new(left, until);
            let put = self.aliases.put(key.clone(), left, expect, Change::Content).await?;
            if let Written::Done(_) = put {
                return Ok(());
            }
        }
        Err(ServiceError::Contended)
    }

    /// Takes away what is left of handoffs that answered to these and are gone.
    async fn make_free(
        &self,
        account: &AccountId,
        own: &HandoffId,
        more: &[HandoffId],
    ) -> Result<(), ServiceError> {
        let mut gone = Vec::new();
        for alias in more {
            let ids = self.free(account, own, alias).await?;
            gone.extend(ids.into_iter().map(|id| (alias.clone(), id)));
        }
        for (alias, id) in gone {
            // Written anew since, it keeps its aliases.
            if self.is_live(account, &id).await? {
                return Err(ServiceError::AliasTaken(alias));
            }
            self.aliases.delete(names::aliases(account, &id), Expect::Anything).await?;
        }
        Ok(())
    }

    /// Whether a handoff other than `own` answers to `alias`, as the store has it.
    async fn has_other(
        &self,
        account: &AccountId,
        alias: &HandoffId,
        own: &HandoffId,
    ) -> Result<bool, ServiceError> {
        for id in self.ids_of(account, alias).await? {
            let aliases = self.aliases.load(&names::aliases(account, &id)).await?.live();
            let has = aliases.is_some_and(|aliases| aliases.record.aliases.contains(alias));
            if id != *own && has && self.is_live(account, &id).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn is_live(&self, account: &AccountId, id: &HandoffId) -> Result<bool, ServiceError> {
        Ok(self.records.get(&names::handoff(account, id)).await?.live().is_some())
    }

    /// Makes sure that no handoff but `own` answers to `alias`; answers those that did and are gone.
    async fn free(
        &self,
        account: &AccountId,
        own: &HandoffId,
        alias: &HandoffId,
    ) -> Result<Vec<HandoffId>, ServiceError> {
        if self.is_live(account, alias).await? || self.has_other(account, alias, own).await? {
            return Err(ServiceError::AliasTaken(alias.clone()));
        }
        let mut gone = Vec::new();
        for id in self.ids_of(account, alias).await? {
            if id != *own && !self.is_live(account, &id).await? {
                gone.push(id);
            }
        }
        Ok(gone)
    }

    /// The handoff that answers to an alias.
    pub(in crate::service) async fn by_alias(
        &self,
        account: &AccountId,
        alias: &HandoffId,
    ) -> Result<Option<Arc<Handoff>>, ServiceError> {
        for id in self.ids_of(account, alias).await? {
            // The set may be a moment behind.
            let aliases = self.aliases.get(&names::aliases(account, &id)).await?.live();
            if aliases.is_some_and(|aliases| aliases.record.aliases.contains(alias))
                && let Some(handoff) = self.records.get(&names::handoff(account, &id)).await?.live()
            {
                return Ok(Some(handoff));
            }
        }
        Ok(None)
    }

    pub(super) async fn ids_of(
        &self,
        account: &AccountId,
        alias: &HandoffId,
    ) -> Result<Vec<HandoffId>, ServiceError> {
        let set = names::handoffs_named(account, alias);
        let listed = self.aliases.members(set, None, SAME_ALIAS).await?;
        Ok(listed.iter().filter_map(|name| std::str::from_utf8(name).ok()?.parse().ok()).collect())
    }

    /// Takes the aliases of an erased handoff away.
    pub(super) async fn remove_aliases(
        self: &Arc<Self>,
        account: &AccountId,
        id: &HandoffId,
    ) -> Result<(), ServiceError> {
        // Whoever is adding some at this moment looks once more when it is done.
        if self.aliases.get(&names::aliases(account, id)).await?.live().is_none() {
            return Ok(());
        }
        self.remove_aliases_of(account, vec![id.clone()]).await
    }

    /// Takes away the aliases of all handoffs of a project, or of the account, that are gone: of
    /// those that were erased, and of those that expired before. False when `until` came first.
    pub(super) async fn remove_all_aliases(
        self: &Arc<Self>,
        account: &AccountId,
        is_meant: impl Fn(&ProjectId) -> bool,
        until: Instant,
    ) -> Result<bool, ServiceError> {
        let mut after = None;
        loop {
            if Instant::now() >= until {
                return Ok(false);
            }
            let page = self.aliases.members(names::aliased_of(account), after, PAGE).await?;
            let listed = page.iter().filter_map(|name| names::read_handoff_listed(name));
            let ids = listed.filter(|(project, _)| is_meant(project)).map(|(_, id)| id).collect();
            self.remove_aliases_of(account, ids).await?;
            match page.into_iter().nth(PAGE - 1) {
                Some(last) => after = Some(last),
                None => return Ok(true),
            }
        }
    }

    /// Takes away the aliases of those of `ids` that are gone, in one commit or a few.
    async fn remove_aliases_of(
        self: &Arc<Self>,
        account: &AccountId,
        ids: Vec<HandoffId>,
    ) -> Result<(), ServiceError> {
        let lock = self.lock_aliases(account).await;
        let (handoffs, account) = (Arc::clone(self), account.clone());
        let removing = tokio::spawn(async move {
            let mut under_way = JoinSet::new();
            for id in ids {
                // Written anew meanwhile, it may have been given some.
                if !handoffs.is_live(&account, &id).await? {
                    let (aliases, key) =
                        (Arc::clone(&handoffs.aliases), names::aliases(&account, &id));
                    under_way.spawn(async move { aliases.delete(key, Expect::Anything).await });
                }
            }
            while let Some(removed) = under_way.join_next().await {
                removed.map_err(StoreError::panicked)??;
            }
            drop(lock);
            Ok(())
        });
        removing.await.map_err(StoreError::panicked)?
    }

    /// Locks the aliases of an account, and of some others.
    async fn lock_aliases(&self, account: &AccountId) -> OwnedMutexGuard<()> {
        let [first, ..] = self.hasher.hash_one(account).to_ne_bytes();
        #[expect(clippy::indexing_slicing, reason = "there are 256 of them")]
        let lock = &self.alias_locks[usize::from(first)];
        Arc::clone(lock).lock_owned().await
    }
}
