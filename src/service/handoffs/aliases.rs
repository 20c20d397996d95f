//! Further ids of a handoff.

use std::sync::Arc;
use std::time::Duration;

use crate::config::MAX_TTL_SECONDS;
use crate::domain::account::AccountId;
use crate::domain::aliases::Aliases;
use crate::domain::handoff::Handoff;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::error::ServiceError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::Handoffs;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::names;
use crate::store::record::StoredAliases;
use crate::store::records::Written;

// One at most is live; those that are gone are taken away when the alias is given anew.
const NAMED: usize = 16;

impl Handoffs {
    /// Gives a handoff further ids; answers all it has. An id that another handoff answers to is
    /// refused. They live as long as a handoff can after one write; given again, they live on.
    pub async fn name(
        &self,
        who: &Principal,
        ask: &Ask,
        more: &[HandoffId],
    ) -> Result<Arc<StoredAliases>, ServiceError> {
        let account = self.admit(who, Scope::HandoffWrite, ask)?;
        let found = self.find(who, &account, ask).await;
        let handoff = self.conclude(who, &account, ask, found)?.handoff;
        let _naming = self.naming.lock().await;
        let own = &handoff.heading.id;
        for alias in more {
            self.free(&account, own, alias).await?;
        }
        let key = names::aliases(&account, own);
        let known = self.aliases.load(&key).await?.live();
        let known = known.map(|known| known.record.clone());
        let known = known.unwrap_or_else(|| Aliases::none(account, own.clone()));
        let more: Vec<_> = more.iter().filter(|alias| *alias != own).cloned().collect();
        let all = known.with(&more).ok_or(ServiceError::TooManyAliases)?;
        let life = Duration::from_secs(u64::from(MAX_TTL_SECONDS));
        let all = StoredAliases::new(all, self.clock.now().plus(life));
        match self.aliases.put(key, all, Expect::Anything, Change::Content).await? {
            Written::Done(stored) => Ok(stored),
            Written::Conflict => Err(ServiceError::Contended),
        }
    }

    /// The handoff that an alias names.
    pub(super) async fn named(
        &self,
        account: &AccountId,
        alias: &HandoffId,
    ) -> Result<Option<Arc<Handoff>>, ServiceError> {
        for id in self.ids_named(account, alias).await? {
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

    async fn ids_named(
        &self,
        account: &AccountId,
        alias: &HandoffId,
    ) -> Result<Vec<HandoffId>, ServiceError> {
        let set = names::handoffs_named(account, alias);
        let listed = self.aliases.members(set, None, NAMED).await?;
        Ok(listed.iter().filter_map(|name| std::str::from_utf8(name).ok()?.parse().ok()).collect())
    }

    /// Makes sure that nothing else answers to `alias`. A handoff that is gone loses its aliases.
    async fn free(
        &self,
        account: &AccountId,
        own: &HandoffId,
        alias: &HandoffId,
    ) -> Result<(), ServiceError> {
        let is_live = async |id: &HandoffId| {
            Ok::<_, ServiceError>(
                self.records.get(&names::handoff(account, id)).await?.live().is_some(),
            )
        };
        if alias != own && is_live(alias).await? {
            return Err(ServiceError::AliasTaken(alias.clone()));
        }
        for id in self.ids_named(account, alias).await? {
            if id == *own {
                continue;
            }
            if is_live(&id).await? {
                return Err(ServiceError::AliasTaken(alias.clone()));
            }
            self.unname(account, &id).await?;
        }
        Ok(())
    }

    /// Takes a handoff's aliases away.
    pub(super) async fn unname(
        &self,
        account: &AccountId,
        id: &HandoffId,
    ) -> Result<(), ServiceError> {
        let key = names::aliases(account, id);
        if self.aliases.get(&key).await?.live().is_some() {
            self.aliases.delete(key, Expect::Anything).await?;
        }
        Ok(())
    }
}
