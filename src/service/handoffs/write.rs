//! Storing, replacing and changing a handoff.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Heading;
use crate::domain::handoff::Status;
use crate::domain::handoff_id::HandoffId;
use crate::domain::merge::merge;
use crate::domain::principal::OutOfReach;
use crate::domain::principal::Principal;
use crate::domain::principal::Projects;
use crate::domain::principal::Scope;
use crate::domain::timeline::What;
use crate::service::error::ServiceError;
use crate::service::error::TokenLimit;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Changed;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::RACES;
use crate::service::handoffs::read::may_ask;
use crate::service::handoffs::read::within;
use crate::service::require;
use crate::service::timelines::Telling;
use crate::service::timelines::Timelines;
use crate::store::journal::Note;
use crate::store::journals::Name;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::names;
use crate::store::records::Written;

/// A write, checked.
#[derive(Debug)]
pub struct Write {
    /// What is written: under this id; by a shared id alone, over the newest handoff that carries
    /// it, or under that id where there is none.
    pub ask: Ask,
    /// The other side's id.
    pub shared_id: SharedId,
    /// The object, byte for byte; [`crate::domain::data::check`] has passed it.
    pub data: String,
    /// The status it names; told by `data` when it names none.
    pub status: Option<Status>,
    /// Its life in seconds, within the limits.
    pub ttl_seconds: Option<u32>,
    /// What must be there.
    pub precondition: Precondition,
}

/// A change of what is there, checked.
#[derive(Debug)]
pub struct Patch {
    /// What is changed: what a read would find.
    pub ask: Ask,
    /// The other side's id.
    pub shared_id: SharedId,
    /// The JSON Merge Patch of `data`; [`crate::domain::data::check`] has passed it.
    pub data: Option<String>,
    /// The status it names.
    pub status: Option<Status>,
    /// What must be there.
    pub precondition: Precondition,
}

/// What a write says of the other side's id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SharedId {
    /// Nothing: the one that is there stays, so that a later write by an agent that does not know
    /// it does not cut the other side off.
    #[default]
    Keep,
    /// That there is none.
    Clear,
    /// That it is this.
    Set(HandoffId),
}

impl SharedId {
    fn over(&self, there: Option<&Handoff>) -> Option<HandoffId> {
        match self {
            Self::Keep => there.and_then(|there| there.heading.shared_id.clone()),
            Self::Clear => None,
            Self::Set(id) => Some(id.clone()),
        }
    }
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
    pub(super) fn check(&self, found: Option<u64>) -> Result<(), ServiceError> {
        let holds = match self {
            Self::None => true,
            Self::Absent => found.is_none(),
            Self::Exists => found.is_some(),
            Self::OneOf(revisions) => found.is_some_and(|found| revisions.contains(&found)),
        };
        if holds { Ok(()) } else { Err(ServiceError::Precondition(found)) }
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
    /// Stores or replaces the handoff of a call. The same content again keeps its revision and
    /// renews its life, so a writer may repeat what it is not sure of.
    pub async fn write(&self, who: &Principal, write: Write) -> Result<Stored, ServiceError> {
        let stored = self.put_whole(who, write).await?;
        self.held_if_over(who, stored).await
    }

    async fn put_whole(&self, who: &Principal, write: Write) -> Result<Stored, ServiceError> {
        let account = require(who, Scope::HandoffWrite, write.ask.account.as_ref())?;
        let project = write.ask.project.clone().unwrap_or_else(|| own_project(who));
        let ask = Ask { project: Some(project.clone()), ..write.ask.clone() };
        may_ask(who, &ask)?;
        self.of_newest_visit(who).await?;
        if write.data.len() > self.limits.max_data_bytes {
            return Err(ServiceError::TooLarge(self.limits.max_data_bytes));
        }
        let id = match ask.by.clone() {
            By::Id(id) => id,
            By::SharedId(id) => self.written_by_shared_id(who, &account, &ask, id).await?,
        };
        // Whoever says what must be there learns whether it is, and may mean nothing else by it.
        let may_guess = !matches!(write.precondition, Precondition::None | Precondition::Absent);
        if may_guess {
            self.rates.may_look(&who.name)?;
        }
        let key = names::handoff(&account, &id);
        let mut heading = Heading {
            project,
            shared_id: None,
            status: write.status.unwrap_or_else(|| Status::told_by(&write.data)),
            ttl_seconds: write.ttl_seconds.unwrap_or(self.limits.default_ttl_seconds),
            connector: None,
            client_env: None,
            left_over: false,
            held_seconds: None,
            caller: self.caller_in(&write.data, &account),
            account,
            id,
        };
        let mut found = self.records.get(&key).await?.live();
        let mut turn = None;
        for _ in 0..RACES {
            let there = found.as_deref();
            if there.is_some_and(|there| there.heading.project != heading.project) {
                return Err(ServiceError::HeldByOtherProject);
            }
            if let Some(there) = there {
                self.may_write_over(who, &ask, there).await?;
            }
            (heading.connector, heading.client_env) = written_through(who, &ask, there);
            if may_guess && there.is_none() {
                self.count_miss(who, &heading.account, &write.ask.by)?;
            }
            write.precondition.check(there.map(|there| there.revision))?;
            heading.shared_id = write.shared_id.over(there);
            heading.held_seconds = there.and_then(|there| there.heading.held_seconds);
            let over = Over { there, has_turn: turn.is_some() };
            match self.put_over(who, over, (&key, &heading, &write.data)).await? {
                Some(stored) => return Ok(stored),
                None if turn.is_none() => {
                    turn = Some(self.turn(&heading.account, &heading.id).await);
                }
                None => {}
            }
            found = self.records.load(&key).await?.live();
        }
        Err(ServiceError::Contended)
    }

    /// Whether `who` may write over a handoff of its project: not over another environment's, and where
    /// the handoff's connector says so, only with that connector's tokens.
    async fn may_write_over(
        &self,
        who: &Principal,
        ask: &Ask,
        there: &Handoff,
    ) -> Result<(), ServiceError> {
        if within(who, ask, &there.heading) == Err(OutOfReach::Environment) {
            return Err(TokenLimit::HeldByOtherEnvironment.into());
        }
        let own = who.acting.as_ref().map(|acting| &acting.connector);
        let Some(connector) = there.heading.connector.as_ref().filter(|its| Some(*its) != own)
        else {
            return Ok(());
        };
        let connector = self.connectors.get(&names::connector(connector)).await?.live();
        if connector.is_some_and(|found| found.record.settings.routing.call_token_only) {
            return Err(TokenLimit::OwnTokensOnly.into());
        }
        Ok(())
    }

    /// The id of what is written by a shared id alone.
    async fn written_by_shared_id(
        &self,
        who: &Principal,
        account: &AccountId,
        ask: &Ask,
        shared_id: HandoffId,
    ) -> Result<HandoffId, ServiceError> {
        match self.find_sharing(who, account, ask, &shared_id).await {
            Ok(read) => Ok(read.handoff.heading.id.clone()),
            Err(ServiceError::NoHandoff(_)) => Ok(shared_id),
            Err(error) => Err(error),
        }
    }

    /// Changes members of a handoff's `data`, and leaves the others byte for byte. Its time to live
    /// stays what it was, and begins anew.
    pub async fn patch(&self, who: &Principal, patch: Patch) -> Result<Stored, ServiceError> {
        let stored = self.put_patched(who, patch).await?;
        self.held_if_over(who, stored).await
    }

    async fn put_patched(&self, who: &Principal, patch: Patch) -> Result<Stored, ServiceError> {
        let account = self.admit(who, Scope::HandoffWrite, &patch.ask)?;
        self.of_newest_visit(who).await?;
        let found = self.find(who, &account, &patch.ask).await;
        let mut there = self.conclude(who, &account, &patch.ask, found).await?.handoff;
        let mut turn = None;
        for _ in 0..RACES {
            patch.precondition.check(Some(there.revision))?;
            self.may_write_over(who, &patch.ask, &there).await?;
            let (mut heading, data) = self.patched(&there, &patch)?;
            (heading.connector, heading.client_env) =
                written_through(who, &patch.ask, Some(&there));
            let key = names::handoff(&account, &heading.id);
            let over = Over { there: Some(&there), has_turn: turn.is_some() };
            if let Some(stored) = self.put_over(who, over, (&key, &heading, &data)).await? {
                return Ok(stored);
            }
            if turn.is_none() {
                turn = Some(self.turn(&account, &heading.id).await);
            }
            // By another id than its own it may be another handoff by now.
            there = self.find(who, &account, &patch.ask).await?.handoff;
        }
        Err(ServiceError::Contended)
    }

    fn patched(&self, there: &Handoff, patch: &Patch) -> Result<(Heading, String), ServiceError> {
        let before = std::str::from_utf8(there.data()).unwrap_or_default();
        let merged = patch.data.as_deref().and_then(|data| merge(before, data));
        let data = merged.unwrap_or_else(|| before.to_owned());
        if data.len() > self.limits.max_data_bytes.max(before.len()) {
            return Err(ServiceError::TooLarge(self.limits.max_data_bytes));
        }
        // What `data` tells counts where the patch changed what it tells.
        let told = Status::told_by(&data);
        let is_told_anew = told != Status::told_by(before);
        let status = if is_told_anew { told } else { there.heading.status };
        let heading = Heading {
            shared_id: patch.shared_id.over(Some(there)),
            status: patch.status.unwrap_or(status),
            left_over: false,
            caller: self.caller_in(&data, &there.heading.account),
            ..there.heading.clone()
        };
        Ok((heading, data))
    }

    /// Writes over what is there; `None` when something else is there by now, or when one's turn is
    /// needed: what keeps the revision is not told from what was read by anything else.
    async fn put_over(
        &self,
        who: &Principal,
        Over { there, has_turn }: Over<'_>,
        (key, heading, data): (&[u8], &Heading, &str),
    ) -> Result<Option<Stored>, ServiceError> {
        let changed = !there.is_some_and(|there| there.holds(heading, data));
        let (expect, change) = match there.map(|there| (there.revision, there.expires_at)) {
            None => (Expect::Absent, Change::Content),
            Some((revision, _)) if changed => (Expect::Revision(revision), Change::Content),
            Some((revision, ends)) => (Expect::Unchanged(revision, ends), Change::Lifetime),
        };
        if !changed && !has_turn {
            return Ok(None);
        }
        let now = self.clock.now();
        let life = heading.ttl_seconds.max(heading.held_seconds.unwrap_or_default());
        let expires_at = now.plus(Duration::from_secs(life.into()));
        let handoff = Handoff::new(heading.clone(), data, 0, expires_at);
        let notes = self.of_write(who, &handoff, there.is_none(), changed);
        match self.records.put_noting(key.to_vec(), handoff, (expect, change), notes).await? {
            Written::Done(handoff) => {
                if changed {
                    self.recent.note(heading, now);
                    self.tell_of_change(&heading.account, &heading.id, Vec::new());
                }
                Ok(Some(Stored { handoff, created: there.is_none(), changed }))
            }
            Written::Conflict => Ok(None),
        }
    }
}

/// What is noted of a write.
impl Handoffs {
    fn of_write(
        &self,
        who: &Principal,
        handoff: &Handoff,
        created: bool,
        changed: bool,
    ) -> Vec<Note> {
        let (by, expires_at) = (Timelines::by(who), handoff.expires_at);
        let renewed = ["renewed".to_owned(), by.by.clone()];
        let renewed = renewed.each_ref().map(String::as_str);
        let size_bytes = u64::try_from(handoff.data().len()).unwrap_or(u64::MAX);
        let (what, name) = if changed {
            let what = What::Written { by, revision: 0, size_bytes, created, expires_at };
            (what, Name::None)
        } else {
            (What::Renewed { by, expires_at }, Name::Last(&renewed))
        };
        let telling = Telling { what: &what, at: self.clock.now(), name };
        self.timelines.of_handoff(&handoff.heading, expires_at, telling)
    }

    /// Tells whoever brings tasks up to date. Where too much is written at once for that, the tasks stay as
    /// they are: a plugin reads the handoff itself.
    pub(in crate::service) fn tell_of_change(
        &self,
        account: &AccountId,
        id: &HandoffId,
        aliases: Vec<HandoffId>,
    ) {
        let Some((changes, open)) = &self.changes else { return };
        if !std::iter::once(id).chain(&aliases).any(|id| open.may_have(account, id)) {
            return;
        }
        let changed = Changed { account: account.clone(), id: id.clone(), aliases };
        if changes.try_send(changed).is_err() {
            tracing::warn!("more handoffs are written than tasks can be brought up to date with");
        }
    }
}

/// What is written over.
struct Over<'h> {
    there: Option<&'h Handoff>,
    has_turn: bool,
}

/// The project of a write that names none: a connector's own, for its tokens.
fn own_project(who: &Principal) -> ProjectId {
    match (&who.acting, &who.projects) {
        (Some(_), Projects::Only(own)) => own.first().cloned().unwrap_or_default(),
        _ => ProjectId::default(),
    }
}

/// The connector and the environment that a handoff is written through; what a key writes over keeps
/// its own.
fn written_through(
    who: &Principal,
    ask: &Ask,
    there: Option<&Handoff>,
) -> (Option<ConnectorId>, Option<ClientEnv>) {
    match (&who.acting, there.map(|there| &there.heading)) {
        // What is nobody's in particular stays so, or one environment could take it from the others.
        (_, Some(Heading { connector, client_env: None, .. })) => (connector.clone(), None),
        (Some(acting), _) => (Some(acting.connector.clone()), Some(acting.environment)),
        (None, Some(heading)) => (heading.connector.clone(), heading.client_env),
        (None, None) => (None, ask.client_env),
    }
}
