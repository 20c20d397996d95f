//! [`Handoffs`]: writing a call's context and reading it.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Clock;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Heading;
use crate::domain::handoff::Status;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::error::Missing;
use crate::service::error::ServiceError;
use crate::service::require;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::l1::Found;
use crate::store::record::handoff_key;
use crate::store::records::Records;
use crate::store::records::Written;

// Each lost race means that somebody else's write landed, so this many in a row is a storm on one
// call, not bad luck.
const RACES: usize = 32;

/// Use cases on handoffs.
#[derive(Debug)]
pub struct Handoffs {
    records: Arc<Records<Handoff>>,
    clock: Clock,
    default_ttl_seconds: u32,
}

/// A write, checked.
#[derive(Debug)]
pub struct Write {
    /// The account it names, if it names one.
    pub account: Option<AccountId>,
    /// Under which id.
    pub id: HandoffId,
    /// The project it names; `default` when it names none.
    pub project: Option<ProjectId>,
    /// The other side's id.
    pub shared_id: Option<HandoffId>,
    /// The object, byte for byte; [`crate::domain::data::check`] has passed it.
    pub data: String,
    /// The status it names; told by `data` when it names none.
    pub status: Option<Status>,
    /// Its life in seconds, within the limits.
    pub ttl_seconds: Option<u32>,
    /// What must be there.
    pub precondition: Precondition,
}

/// `If-Match` and `If-None-Match` of a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// None given.
    #[default]
    None,
    /// `If-None-Match: *`: nothing may be there.
    Absent,
    /// `If-Match: *`: something must be there.
    Exists,
    /// `If-Match: "r1", "r2"`: one of these revisions must be there.
    OneOf(Vec<u64>),
}

impl Precondition {
    fn holds(&self, found: Option<u64>) -> bool {
        match self {
            Self::None => true,
            Self::Absent => found.is_none(),
            Self::Exists => found.is_some(),
            Self::OneOf(revisions) => found.is_some_and(|found| revisions.contains(&found)),
        }
    }
}

/// What a write did.
#[derive(Debug)]
pub struct Stored {
    /// The handoff as it is now.
    pub handoff: Arc<Handoff>,
    /// Nothing was there before.
    pub created: bool,
    /// The content is other than before; otherwise only its life was renewed.
    pub changed: bool,
}

impl Handoffs {
    /// Use cases over `records`.
    pub fn new(records: Arc<Records<Handoff>>, clock: Clock, default_ttl_seconds: u32) -> Self {
        Self { records, clock, default_ttl_seconds }
    }

    /// The handoff of a call. Another account's is as if it were not there.
    pub async fn read(
        &self,
        who: &Principal,
        account: Option<&AccountId>,
        id: &HandoffId,
    ) -> Result<Arc<Handoff>, ServiceError> {
        let account = require(who, Scope::HandoffRead, account)?;
        match self.records.get(&handoff_key(&account, id)).await? {
            Found::Live(handoff) if who.projects.include(&handoff.heading.project) => Ok(handoff),
            Found::Live(_) => Err(ServiceError::NoHandoff(Missing::InOtherProject)),
            Found::Gone(how) => Err(ServiceError::NoHandoff(how.into())),
            Found::Never => Err(ServiceError::NoHandoff(Missing::NeverWritten)),
        }
    }

    /// Stores or replaces the handoff of a call. The same content again keeps its revision and
    /// renews its life, so a writer may repeat what it is not sure of.
    pub async fn write(&self, who: &Principal, write: Write) -> Result<Stored, ServiceError> {
        let account = require(who, Scope::HandoffWrite, write.account.as_ref())?;
        let project = write.project.unwrap_or_default();
        if !who.projects.include(&project) {
            return Err(ServiceError::ForeignProject(project));
        }
        let heading = Heading {
            id: write.id,
            account,
            project,
            shared_id: write.shared_id,
            status: write.status.unwrap_or_else(|| Status::told_by(&write.data)),
            ttl_seconds: write.ttl_seconds.unwrap_or(self.default_ttl_seconds),
        };
        let key = handoff_key(&heading.account, &heading.id);
        let mut found = self.records.get(&key).await?.live();
        for _ in 0..RACES {
            let there = found.as_deref();
            if there.is_some_and(|there| there.heading.project != heading.project) {
                return Err(ServiceError::HeldByOtherProject);
            }
            let revision = there.map(|there| there.revision);
            if !write.precondition.holds(revision) {
                return Err(ServiceError::Precondition(revision));
            }
            match self.put_over(there, &key, &heading, &write.data).await? {
                Some(stored) => return Ok(stored),
                None => found = self.records.load(&key).await?.live(),
            }
        }
        Err(ServiceError::Contended)
    }

    /// Writes over `there`; `None` when something else is there by now.
    async fn put_over(
        &self,
        there: Option<&Handoff>,
        key: &[u8],
        heading: &Heading,
        data: &str,
    ) -> Result<Option<Stored>, ServiceError> {
        let changed = !there.is_some_and(|there| there.holds(heading, data));
        let (expect, change) = match there.map(|there| there.revision) {
            None => (Expect::Absent, Change::Content),
            Some(revision) if changed => (Expect::Revision(revision), Change::Content),
            Some(revision) => (Expect::Revision(revision), Change::Lifetime),
        };
        let life = Duration::from_secs(u64::from(heading.ttl_seconds));
        let handoff = Handoff::new(heading.clone(), data, 0, self.clock.now().plus(life));
        match self.records.put(key.to_vec(), handoff, expect, change).await? {
            Written::Done(handoff) => {
                Ok(Some(Stored { handoff, created: there.is_none(), changed }))
            }
            Written::Conflict => Ok(None),
        }
    }
}
