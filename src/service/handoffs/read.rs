//! Finding a handoff, at once or when it comes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::domain::account::AccountId;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Heading;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::OutOfReach;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::error::Miss;
use crate::service::error::Missing;
use crate::service::error::ServiceError;
use crate::service::error::TokenLimit;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::may_guess;
use crate::service::require;
use crate::store::kv::StoreError;
use crate::store::l1::Found;
use crate::store::names;

// Why a handoff is missed that an earlier visit of its call left.
const EARLIER_VISIT: &str = "earlier_visit";
// Until somebody who waits looks again of whom the store cannot say that it will tell him.
const UNHEARD: Duration = Duration::from_millis(500);
// Handoffs that carry one shared id, listed in one go; the first is nearly always the one.
const SHARING_PAGE: usize = 64;

/// A handoff that was found.
#[derive(Clone, Debug)]
pub struct Read {
    /// The handoff.
    pub handoff: Arc<Handoff>,
    /// By what it was found.
    pub matched_by: MatchedBy,
    /// It is as it was a while ago: the store cannot be asked.
    pub is_stale: bool,
}

/// By what a handoff was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchedBy {
    /// Its own id.
    Id,
    /// The other side's id.
    SharedId,
    /// One of its aliases.
    Alias,
}

/// Until when a reader waits, and for what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// Until when, if it waits at all.
    pub until: Option<Instant>,
    /// The revision it waits for; any if it names none.
    pub min_revision: Option<u64>,
    /// An older one is another conversation's: nobody gets it.
    pub is_strict: bool,
    /// What of it is told in the handoff's timeline.
    pub tells: Tells,
}

/// What of a look is told in the handoff's timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tells {
    /// That it was read, or missed.
    #[default]
    All,
    /// That it was read; where it is not there, somebody looks again.
    Finds,
    /// Nothing: nobody gets it.
    Nothing,
}

impl Patience {
    /// Whether what was found is not what is waited for, and might come to be.
    fn wants_other_than(&self, found: &Result<Read, ServiceError>) -> bool {
        match found {
            Ok(read) => self.min_revision.is_some_and(|wanted| read.handoff.revision < wanted),
            // An id has one project and environment; a shared id may come to be carried in another as well.
            Err(ServiceError::NoHandoff(miss)) => {
                let is_held =
                    matches!(miss.why, Missing::InOtherProject | Missing::InOtherEnvironment);
                // Whoever waits for what follows what they have seen is told that it is gone.
                let is_over = matches!(miss.why, Missing::Erased | Missing::Expired);
                let follows = self.min_revision.is_some() && !self.is_strict;
                (miss.by_shared_id || !is_held) && !(follows && is_over)
            }
            Err(_) => false,
        }
    }
}

impl Handoffs {
    /// The handoff of a call; waits for it where `patience` says so. `enter` is asked before the
    /// wait begins: what it answers is held while it lasts; if it answers nothing, nobody waits, and
    /// its refusal is the answer. When time is up, or the server stops, the answer is what there is
    /// then. Another account's handoff is as if it were not there.
    pub async fn read<Permit>(
        &self,
        who: &Principal,
        ask: &Ask,
        patience: Patience,
        enter: impl FnOnce() -> Result<Option<Permit>, ServiceError>,
    ) -> Result<Read, ServiceError> {
        let account = self.admit(who, Scope::HandoffRead, ask)?;
        let mut found = self.find(who, &account, ask).await;
        let mut waited = None;
        if patience.until.is_some() && patience.wants_other_than(&found) {
            // Counted before the wait: thousands of guesses could wait at once.
            if let Err(ServiceError::NoHandoff(_)) = &found {
                self.count_miss(who, &account, &ask.by)?;
            }
            if let Some(_permit) = enter()? {
                let since = Instant::now();
                found = self.wait(who, &account, ask, patience).await;
                waited = Some(since.elapsed());
            }
        }
        self.tell(who, (&account, ask), (&found, waited), patience);
        self.conclude(who, &account, ask, found).await
    }

    /// Has it told that somebody read, or did not find.
    fn tell(
        &self,
        who: &Principal,
        (account, ask): (&AccountId, &Ask),
        (found, waited): (&Result<Read, ServiceError>, Option<Duration>),
        patience: Patience,
    ) {
        let (By::Id(id) | By::SharedId(id)) = &ask.by;
        let Patience { tells, min_revision, is_strict, .. } = patience;
        let is_older = |handoff: &Handoff| {
            is_strict && min_revision.is_some_and(|wanted| handoff.revision < wanted)
        };
        match found {
            Ok(Read { handoff, .. }) if is_older(handoff) => {
                if tells == Tells::All {
                    self.timelines.missed(who, account, id, (EARLIER_VISIT, waited));
                }
            }
            Ok(Read { handoff, .. }) if tells != Tells::Nothing => {
                let (heading, expires_at) = (&handoff.heading, handoff.expires_at);
                self.timelines.read(who, heading, expires_at);
                if let Some(waited) = waited {
                    self.timelines.waited(who, heading, expires_at, waited);
                }
            }
            Err(ServiceError::NoHandoff(miss)) if tells == Tells::All => {
                self.timelines.missed(who, account, id, (miss.why.as_str(), waited));
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// The account a request is about, if it may be asked of: before any look-up, for whoever has
    /// missed too much is not to learn what a look-up finds.
    pub(super) fn admit(
        &self,
        who: &Principal,
        scope: Scope,
        ask: &Ask,
    ) -> Result<AccountId, ServiceError> {
        let account = require(who, scope, ask.account.as_ref())?;
        may_ask(who, ask)?;
        if may_guess(who, &ask.by) {
            self.rates.may_look(&who.name)?;
        }
        Ok(account)
    }

    /// Counts a miss, and names the id that may have been meant.
    pub(super) async fn conclude(
        &self,
        who: &Principal,
        account: &AccountId,
        ask: &Ask,
        found: Result<Read, ServiceError>,
    ) -> Result<Read, ServiceError> {
        let Err(ServiceError::NoHandoff(mut miss)) = found else { return found };
        self.count_miss(who, account, &ask.by)?;
        if let By::Id(id) = &ask.by
            && miss.why == Missing::NeverWritten
        {
            miss.near = self.near(who, account, id).await?;
        }
        Err(ServiceError::NoHandoff(miss))
    }

    /// An id that was written lately and may have been meant.
    pub(in crate::service) async fn near(
        &self,
        who: &Principal,
        account: &AccountId,
        id: &HandoffId,
    ) -> Result<Option<HandoffId>, StoreError> {
        let near = self.recent.near(account, &who.projects, id, self.clock.now());
        let Some(near) = near.filter(|_| !who.is_of_one_call()) else { return Ok(None) };
        // Named only while it is there: it may have been erased a moment ago.
        let there = self.records.glance(&names::handoff(account, &near)).await?.live();
        Ok(there.filter(|there| who.reaches(&there.heading).is_ok()).map(|_| near))
    }

    async fn wait(
        &self,
        who: &Principal,
        account: &AccountId,
        ask: &Ask,
        patience: Patience,
    ) -> Result<Read, ServiceError> {
        let until = patience.until.unwrap_or_else(Instant::now);
        loop {
            let key = match &ask.by {
                By::SharedId(id) => names::handoffs_sharing(account, id),
                By::Id(id) => names::handoff(account, id),
            };
            let mut watch = self.records.watch(key, patience.min_revision.unwrap_or(0));
            if let By::Id(id) = &ask.by {
                // Of an alias too, and of one whose handoff is gone and may come again. A store that does not
                // say is asked again below.
                for named in Box::pin(self.ids_of(account, id)).await.unwrap_or_default() {
                    watch.also(names::handoff(account, &named));
                }
            }
            let is_heard = self.records.heed(&watch).await;
            let found = self.find(who, account, ask).await;
            // A store that others share comes back, and everyone is woken when it does.
            let is_away = matches!(&found, Err(ServiceError::Store(StoreError::Unavailable(_))));
            let waits_on =
                patience.wants_other_than(&found) || (is_away && self.records.is_shared());
            if !waits_on || self.records.is_closing() {
                return found;
            }
            // Whom the store tells nothing looks again by himself.
            let again = if is_heard { until } else { until.min(Instant::now() + UNHEARD) };
            if timeout_at(again, watch.rung()).await.is_err() && Instant::now() >= until {
                // It may have been erased, or have expired, since the last look.
                return self.find(who, account, ask).await;
            }
        }
    }

    /// One look. What memory cannot answer is boxed: readers who wait hold all that a look may need.
    pub(super) async fn find(
        &self,
        who: &Principal,
        account: &AccountId,
        ask: &Ask,
    ) -> Result<Read, ServiceError> {
        match &ask.by {
            By::SharedId(id) => Box::pin(self.find_sharing(who, account, ask, id)).await,
            By::Id(id) => match self.records.cached(&names::handoff(account, id)).await {
                Some(handoff) => seen(who, ask, handoff, (MatchedBy::Id, false)),
                None => Box::pin(self.find_stored(who, account, ask, id)).await,
            },
        }
    }

    /// The handoff of an id that is not in memory, or that is an alias.
    async fn find_stored(
        &self,
        who: &Principal,
        account: &AccountId,
        ask: &Ask,
        id: &HandoffId,
    ) -> Result<Read, ServiceError> {
        let why = match self.records.get(&names::handoff(account, id)).await? {
            Found::Live(handoff) => return seen(who, ask, handoff, (MatchedBy::Id, false)),
            Found::Stale(handoff) => return seen(who, ask, handoff, (MatchedBy::Id, true)),
            Found::Gone(how) => how.into(),
            Found::Never => Missing::NeverWritten,
        };
        // A call token is for the call itself. And what another project or environment calls by this id
        // is not what is asked for here: that may still come.
        let by_alias = match self.by_alias(account, id).await? {
            Some(handoff) if who.is_of_one_call() && handoff.heading.id != *id => None,
            found => found,
        };
        match by_alias {
            Some(handoff) if within(who, ask, &handoff.heading).is_ok() => {
                seen(who, ask, handoff, (MatchedBy::Alias, false))
            }
            Some(_) | None => Err(Miss::of(why).into()),
        }
    }

    /// The newest handoff that carries `shared_id` and may be seen.
    pub(super) async fn find_sharing(
        &self,
        who: &Principal,
        account: &AccountId,
        ask: &Ask,
        shared_id: &HandoffId,
    ) -> Result<Read, ServiceError> {
        let set = names::handoffs_sharing(account, shared_id);
        let mut why = Missing::NeverWritten;
        let mut after = None;
        loop {
            let page = self.records.members(set.clone(), after, SHARING_PAGE).await?;
            for (_, own, id) in page.iter().filter_map(|listed| names::read_listed(listed)) {
                // Those of other projects may be many, and are none of this caller's business.
                let is_other = ask.project.as_ref().is_some_and(|project| *project != own);
                if !who.projects.include(&own) || is_other {
                    why = Missing::InOtherProject;
                    continue;
                }
                let found = self.records.get(&names::handoff(account, &id)).await?.live();
                // The set may be a moment behind.
                let carries =
                    |handoff: &Arc<Handoff>| handoff.heading.shared_id.as_ref() == Some(shared_id);
                if let Some(handoff) = found.filter(carries) {
                    match within(who, ask, &handoff.heading) {
                        Ok(()) => {
                            let matched_by = MatchedBy::SharedId;
                            return Ok(Read { handoff, matched_by, is_stale: false });
                        }
                        Err(out_of_reach) => why = out_of_reach.into(),
                    }
                }
            }
            match page.into_iter().nth(SHARING_PAGE - 1) {
                Some(last) => after = Some(last),
                None => {
                    return Err(ServiceError::NoHandoff(Miss {
                        by_shared_id: true,
                        ..Miss::of(why)
                    }));
                }
            }
        }
    }
}

/// Whether a credential may ask for this at all: for the project and the environment that are named,
/// and, with a call token, for its own call, by its SID alone.
pub(super) fn may_ask(who: &Principal, ask: &Ask) -> Result<(), ServiceError> {
    if let Some(project) = ask.project.as_ref().filter(|project| !who.projects.include(project)) {
        return Err(ServiceError::ForeignProject(project.clone()));
    }
    let own = who.acting.as_ref().map(|acting| acting.environment);
    if let (Some(own), Some(asked)) = (own, ask.client_env)
        && own != asked
    {
        return Err(TokenLimit::Environment(own).into());
    }
    match &ask.by {
        By::Id(id) if who.may_name(id) => Ok(()),
        By::SharedId(_) if !who.is_of_one_call() => Ok(()),
        By::Id(_) | By::SharedId(_) => Err(TokenLimit::OtherCall.into()),
    }
}

/// A handoff, unless it is out of the caller's reach, or another project's than is asked for.
fn seen(
    who: &Principal,
    ask: &Ask,
    handoff: Arc<Handoff>,
    (matched_by, is_stale): (MatchedBy, bool),
) -> Result<Read, ServiceError> {
    match within(who, ask, &handoff.heading) {
        Ok(()) => Ok(Read { handoff, matched_by, is_stale }),
        Err(out_of_reach) => Err(Miss::of(out_of_reach.into()).into()),
    }
}

/// Whether a handoff is in the caller's reach, and of what is asked for.
pub(super) fn within(who: &Principal, ask: &Ask, heading: &Heading) -> Result<(), OutOfReach> {
    who.reaches(heading)?;
    if ask.project.as_ref().is_some_and(|project| *project != heading.project) {
        return Err(OutOfReach::Project);
    }
    match (ask.client_env, heading.client_env) {
        (Some(asked), Some(env)) if asked != env => Err(OutOfReach::Environment),
        _ => Ok(()),
    }
}
