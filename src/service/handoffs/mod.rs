//! [`Handoffs`]: writing a call's context, finding it by any of its ids, waiting for it, erasing it.

mod aliases;
mod erase;
mod list;
mod of_call;
mod read;
mod settle;
pub mod story;
mod write;

use std::hash::BuildHasher;
use std::hash::Hash;
use std::hash::RandomState;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::sync::MutexGuard;
use tokio::sync::mpsc::Sender;

use crate::auth::rates::Rates;
use crate::auth::rates::TooFast;
use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Clock;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::fields::Fields;
use crate::domain::fields::SUMMARY;
use crate::domain::handoff::Handoff;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
use crate::service::error::ServiceError;
use crate::service::recent::Recent;
use crate::service::tasks::Open;
use crate::service::timelines::Timelines;
use crate::store::call::StoredAnswer;
use crate::store::call::StoredCall;
use crate::store::callers::Callers;
use crate::store::connector::StoredConnector;
use crate::store::names;
use crate::store::record::StoredAliases;
use crate::store::records::Records;
use crate::telemetry::metrics::Leads;

pub use crate::service::handoffs::erase::Erased;
pub use crate::service::handoffs::erase::Whole;
pub use crate::service::handoffs::list::Filter;
pub use crate::service::handoffs::list::Page;
pub use crate::service::handoffs::read::MatchedBy;
pub use crate::service::handoffs::read::Patience;
pub use crate::service::handoffs::read::Read;
pub use crate::service::handoffs::read::Tells;
pub use crate::service::handoffs::write::Patch;
pub use crate::service::handoffs::write::Precondition;
pub use crate::service::handoffs::write::SharedId;
pub use crate::service::handoffs::write::Stored;
pub use crate::service::handoffs::write::Write;

// Each lost race means that somebody else's write landed, so this many in a row is a storm on one
// call, not bad luck.
const RACES: usize = 32;

// Who takes turns for one handoff seldom holds up others.
const TURNS: usize = 4096;

/// Use cases on handoffs.
#[derive(Debug)]
pub struct Handoffs {
    records: Arc<Records<Handoff>>,
    aliases: Arc<Records<StoredAliases>>,
    connectors: Arc<Records<StoredConnector>>,
    calls: Arc<Records<StoredCall>>,
    answers: Arc<Records<StoredAnswer>>,
    rates: Arc<Rates>,
    recent: Recent,
    timelines: Arc<Timelines>,
    lead: Leads,
    changes: Option<(Sender<Changed>, Arc<Open>)>,
    clock: Clock,
    limits: Limits,
    callers: Callers,
    // By account: held while aliases are given, so that no two handoffs are given the same.
    alias_locks: Box<[Arc<Mutex<()>>]>,
    // By handoff: those who lost a race for it take turns, or of many writers of one call each
    // commit would let in one, and turn the others away in the end.
    turns: Box<[Mutex<()>]>,
    hasher: RandomState,
}

/// What handoffs are kept in.
#[derive(Debug)]
pub struct Kept {
    /// Themselves.
    pub records: Arc<Records<Handoff>>,
    /// Their further ids.
    pub aliases: Arc<Records<StoredAliases>>,
    /// The connectors they are written through.
    pub connectors: Arc<Records<StoredConnector>>,
    /// The calls they are of.
    pub calls: Arc<Records<StoredCall>>,
    /// What webhooks were told of them.
    pub answers: Arc<Records<StoredAnswer>>,
    /// What happens to them.
    pub timelines: Arc<Timelines>,
    /// Where it counts whether context came in time.
    pub lead: Leads,
    /// What marks callers' numbers.
    pub callers: Callers,
    /// Who is told what was written, for tasks that were made before, and which ids may have one.
    pub changes: Option<(Sender<Changed>, Arc<Open>)>,
}

/// A handoff that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub id: HandoffId,
    /// Further ids that it was given.
    pub aliases: Vec<HandoffId>,
}

/// What a handoff may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Its life when its writer does not say.
    pub default_ttl_seconds: u32,
    /// Largest `data`, in bytes.
    pub max_data_bytes: usize,
}

/// Which handoff a request is about.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The account it names, if it names one.
    pub account: Option<AccountId>,
    /// The project it names: another project's handoff is not what is asked for.
    pub project: Option<ProjectId>,
    /// The environment it names: another environment's handoff is not what is asked for.
    pub client_env: Option<ClientEnv>,
    /// By what.
    pub by: By,
}

/// By what a handoff is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// Its id, or one of its aliases.
    Id(HandoffId),
    /// The other side's id: the newest handoff that carries it.
    SharedId(HandoffId),
}

impl Handoffs {
    /// Use cases over `kept`.
    pub fn new(kept: Kept, rates: Arc<Rates>, clock: Clock, limits: Limits) -> Self {
        let Kept { records, aliases, connectors, calls, answers, .. } = kept;
        let Kept { timelines, lead, callers, changes, .. } = kept;
        let alias_locks = (0..=u8::MAX).map(|_| Arc::default()).collect();
        let turns = (0..TURNS).map(|_| Mutex::default()).collect();
        let (recent, hasher) = (Recent::default(), RandomState::new());
        Self {
            records,
            aliases,
            connectors,
            calls,
            answers,
            rates,
            recent,
            timelines,
            lead,
            changes,
            clock,
            limits,
            callers,
            alias_locks,
            turns,
            hasher,
        }
    }

    /// The mark of the number that `data` calls the caller's.
    fn caller_in(&self, data: &str, account: &AccountId) -> Option<String> {
        self.callers.mark(account, &Fields::of(data, SUMMARY).phone)
    }

    /// The connector that a credential acts for.
    pub async fn connector_of(
        &self,
        who: &Principal,
    ) -> Result<Option<Arc<StoredConnector>>, ServiceError> {
        match &who.acting {
            None => Ok(None),
            Some(acting) => {
                let found = self.connectors.get(&names::connector(&acting.connector)).await?;
                Ok(found.live())
            }
        }
    }

    /// Counts a miss of somebody who may be guessing. Twilio asks for calls, and nobody guesses a call's
    /// SID; but whoever has linked an account can sign whatever else he likes.
    fn count_miss(&self, who: &Principal, account: &AccountId, by: &By) -> Result<(), TooFast> {
        if may_guess(who, by) { self.rates.missed(&who.name, (account, by)) } else { Ok(()) }
    }

    /// Waits for one's turn to write a handoff, among those who lost a race for it.
    async fn turn(&self, account: &AccountId, id: &HandoffId) -> MutexGuard<'_, ()> {
        let [first, second, ..] = self.hasher.hash_one((account, id)).to_ne_bytes();
        let turn = usize::from(u16::from_ne_bytes([first, second])) % TURNS;
        #[expect(clippy::indexing_slicing, reason = "there are so many of them")]
        self.turns[turn].lock().await
    }
}

/// Whether what is asked for may be a guess.
fn may_guess(who: &Principal, by: &By) -> bool {
    match (&who.credential, by) {
        (Credential::TwilioSignature, _) => false,
        (Credential::LinkedSignature { .. }, By::Id(id)) => !id.is_call_sid(),
        (
            Credential::LinkedSignature { .. }
            | Credential::Key
            | Credential::ConnectorToken(_)
            | Credential::CallToken
            | Credential::FlexUser(_)
            | Credential::ViewLink(_),
            _,
        ) => true,
    }
}

#[cfg(test)]
mod tests;
