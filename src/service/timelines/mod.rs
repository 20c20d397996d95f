//! [`Timelines`]: what happens to handoffs, told as it happens.
//!
//! Writes and what becomes of a call are noted with their records, in one transaction. Reads are counted in
//! memory and written a moment later, so that none waits for it; what was asked for in vain stays there
//! until the handoff is written. A timeline that cannot be kept holds nothing up: the record counts.

mod due;
mod gathered;
mod ring;
pub mod story;
mod tally;

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use crate::domain::account::AccountId;
use crate::domain::call::CALL_LIFE;
use crate::domain::clock::Clock;
use crate::domain::clock::Timestamp;
use crate::domain::connector::Connector;
use crate::domain::handoff::Heading;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::domain::timeline::By;
use crate::domain::timeline::Event;
use crate::domain::timeline::What;
pub use crate::service::timelines::due::Due;
use crate::service::timelines::gathered::Gathered;
use crate::service::timelines::ring::Ring;
use crate::service::timelines::tally::Did;
use crate::service::timelines::tally::Tallies;
use crate::service::timelines::tally::Who;
use crate::service::timelines::tally::Whose;
use crate::store::journal::Note;
use crate::store::journal::Until;
use crate::store::journals::Journals;
use crate::store::journals::Name;
use crate::store::journals::Told;
use crate::store::kv::StoreError;
use crate::store::kv::TOMBSTONE_LIFE;
use crate::telemetry::hour::Hour;

/// How often what was gathered is written.
pub const FLUSH_EVERY: Duration = Duration::from_secs(1);
// Handoffs whose readers are written in one second at most.
const FLUSHED: usize = 2048;
// Those of one commit.
const BATCH: usize = 64;

/// What happens to handoffs.
#[derive(Debug)]
pub struct Timelines {
    journals: Journals,
    is_on: bool,
    clock: Clock,
    reads: Gathered,
    missed: Ring,
    // Of those who did not get in: they must not push out what others missed.
    refused: Ring,
    due: Mutex<HashMap<(AccountId, HandoffId), Due>>,
    hour: Arc<Hour>,
}

/// An event about to be told, and what it is called.
#[derive(Clone, Copy, Debug)]
pub struct Telling<'t> {
    /// What happened.
    pub what: &'t What,
    /// When.
    pub at: Timestamp,
    /// What it is called.
    pub name: Name<'t>,
}

impl Timelines {
    /// Timelines in `journals`; none at all unless it `is_on`.
    pub fn new(
        journals: Journals,
        is_on: bool,
        clock: Clock,
        (dropped, hour): (Counter, Arc<Hour>),
    ) -> Self {
        let (missed, refused) = (Ring::default(), Ring::default());
        let (reads, due) = (Gathered::new(dropped), Mutex::default());
        Self { journals, is_on, clock, reads, missed, refused, due, hour }
    }

    /// The last hour of this process.
    pub fn hour(&self) -> &Hour {
        &self.hour
    }

    /// Whether any are kept.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Who somebody is, as timelines tell it.
    pub fn by(who: &Principal) -> By {
        tally::by(who)
    }

    /// What is noted of a handoff that lives until `expires_at`, with its record.
    pub(super) fn of_handoff(
        &self,
        heading: &Heading,
        expires_at: Timestamp,
        telling: Telling<'_>,
    ) -> Vec<Note> {
        let until = Until::AtLeast(expires_at.plus(TOMBSTONE_LIFE));
        let mut notes = self.note(heading, telling, until);
        if let What::Written { created: true, .. } = telling.what {
            // Now that there is a handoff, it may be told with it.
            let ids = std::iter::once(&heading.id).chain(&heading.shared_id);
            let missed = ids.filter_map(|id| self.missed.of(&heading.account, id));
            for missed in missed.filter(|missed| self.is_recent(missed)) {
                for (event, name) in missed.events() {
                    let name = name.each_ref().map(String::as_str);
                    notes.extend(self.sealed(heading, &event, Name::Last(&name), until));
                }
            }
        }
        notes
    }

    /// What is noted of a handoff that is erased.
    pub(super) fn of_erased(&self, heading: &Heading, by: By) -> Vec<Note> {
        let now = self.clock.now();
        let telling = Telling { what: &What::Erased { by }, at: now, name: Name::None };
        // Not for as long as it would have lived; nor who read it, which is written with it.
        let until = Until::Exactly(now.plus(TOMBSTONE_LIFE));
        let readers = self.reads.of(&whose(heading, now));
        let readers = readers.iter().flat_map(|tallies| self.of_readers(tallies, until));
        readers.chain(self.note(heading, telling, until)).collect()
    }

    /// A handoff is erased: who read it was written with that.
    pub(super) fn erased(&self, heading: &Heading) {
        self.reads.forget(&whose(heading, self.clock.now()));
    }

    /// What is noted of a call, whether it has a handoff or not.
    pub(super) fn of_call(
        &self,
        connector: &Connector,
        call: &HandoffId,
        telling: Telling<'_>,
    ) -> Vec<Note> {
        if !self.is_on {
            return Vec::new();
        }
        let until = Until::AtLeast(self.clock.now().plus(CALL_LIFE + TOMBSTONE_LIFE));
        let event = Event {
            at: telling.at,
            project: Some(connector.project.clone()),
            client_env: Some(connector.client_env),
            what: telling.what.clone(),
        };
        let note = self.journals.note((&connector.account, call), &event, telling.name, until);
        told(note).into_iter().collect()
    }

    fn note(&self, heading: &Heading, telling: Telling<'_>, until: Until) -> Vec<Note> {
        let event = Event {
            at: telling.at,
            project: Some(heading.project.clone()),
            client_env: heading.client_env,
            what: telling.what.clone(),
        };
        self.sealed(heading, &event, telling.name, until).into_iter().collect()
    }

    fn sealed(
        &self,
        heading: &Heading,
        event: &Event,
        name: Name<'_>,
        until: Until,
    ) -> Option<Note> {
        if !self.is_on {
            return None;
        }
        told(self.journals.note((&heading.account, &heading.id), event, name, until))
    }

    /// Writes what was noted; of each, whether it is new.
    pub(super) async fn add(&self, notes: Vec<Note>) -> Result<Vec<bool>, StoreError> {
        if notes.is_empty() { Ok(Vec::new()) } else { self.journals.add(notes).await }
    }

    /// Counts a read.
    pub(super) fn read(&self, who: &Principal, heading: &Heading, expires_at: Timestamp) {
        self.gather(Some(who), heading, expires_at, Did::Read);
    }

    /// Counts a reader who waited, and got it.
    pub(super) fn waited(
        &self,
        who: &Principal,
        heading: &Heading,
        expires_at: Timestamp,
        waited: Duration,
    ) {
        self.gather(Some(who), heading, expires_at, Did::Waited(waited));
    }

    /// Counts an answer for a flow that had no room for all.
    pub fn packed(&self, heading: &Heading, expires_at: Timestamp, left_out: &str) {
        self.gather(None, heading, expires_at, Did::Packed(left_out));
    }

    fn gather(
        &self,
        who: Option<&Principal>,
        heading: &Heading,
        expires_at: Timestamp,
        did: Did<'_>,
    ) {
        if self.is_on {
            let whose = whose(heading, expires_at);
            self.reads.count(&whose, Who(who), did, self.clock.now());
        }
    }

    /// Counts a miss.
    pub(super) fn missed(
        &self,
        who: &Principal,
        account: &AccountId,
        id: &HandoffId,
        (why, waited): (&'static str, Option<Duration>),
    ) {
        self.hour.missed();
        self.in_vain(&self.missed, Some(who), (account, id), Did::Missed(why, waited));
    }

    /// Counts a refusal; of whoever got in, in which account.
    pub fn refused(
        &self,
        who: Option<(&Principal, AccountId)>,
        id: &HandoffId,
        code: &'static str,
    ) {
        if let Some((who, account)) = who {
            self.in_vain(&self.missed, Some(who), (&account, id), Did::Refused(code));
        } else {
            let nobodys = AccountId::default();
            self.in_vain(&self.refused, None, (&nobodys, id), Did::Refused(code));
        }
    }

    fn in_vain(
        &self,
        ring: &Ring,
        who: Option<&Principal>,
        (account, id): (&AccountId, &HandoffId),
        did: Did<'_>,
    ) {
        if self.is_on {
            let expires_at = Timestamp::NEVER;
            let whose = Whose { account, id, project: None, client_env: None, expires_at };
            ring.count(&whose, Who(who), did, self.clock.now());
        }
    }

    /// What is known of an id, also what is not written yet.
    pub(super) async fn told(
        &self,
        account: &AccountId,
        id: &HandoffId,
    ) -> Result<Told, StoreError> {
        let mut told = self.journals.read(account, id).await?;
        let (project, client_env, expires_at) = (None, None, Timestamp::NEVER);
        let whose = Whose { account, id, project, client_env, expires_at };
        let nobodys = AccountId::default();
        let in_memory = [
            self.reads.of(&whose),
            self.missed.of(account, id),
            // Who was not let in could not say of which account it is.
            self.refused.of(&nobodys, id),
        ];
        for tallies in in_memory.iter().flatten().filter(|tallies| self.is_recent(tallies)) {
            told.events.extend(tallies.events().into_iter().map(|(event, _)| event));
        }
        Ok(told)
    }

    /// What was asked for in vain lately, the latest first; also by whom nobody knows, if `with_nobodys`.
    pub(super) fn in_vain_of(
        &self,
        account: &AccountId,
        with_nobodys: bool,
        most: usize,
    ) -> Vec<(Timestamp, HandoffId)> {
        let mut all = self.missed.latest(account, most);
        if with_nobodys {
            all.extend(self.refused.latest(&AccountId::default(), most));
        }
        all.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
        let mut seen = HashSet::new();
        all.retain(|(_, id)| seen.insert(id.clone()));
        all
    }

    /// Whether what was counted is remembered as long as a handoff that is gone.
    fn is_recent(&self, tallies: &Tallies) -> bool {
        tallies.last().plus(TOMBSTONE_LIFE) > self.clock.now()
    }

    /// Writes what was gathered; all of it at the end.
    pub(super) async fn flush(&self, is_end: bool) {
        let most = if is_end { usize::MAX } else { FLUSHED };
        let taken = self.reads.take(self.clock.now(), is_end, most);
        for batch in taken.chunks(BATCH) {
            let notes = batch
                .iter()
                .flat_map(|tallies| self.of_readers(tallies, lasting(tallies)))
                .collect();
            if let Err(why) = self.add(notes).await {
                tracing::warn!(error = %why, "who read handoffs could not be written yet");
                self.reads.not_written(batch);
            }
        }
    }

    fn of_readers(&self, tallies: &Tallies, until: Until) -> Vec<Note> {
        let of = (&tallies.account, &tallies.id);
        let note = |(event, name): (Event, [String; 4])| {
            let name = name.each_ref().map(String::as_str);
            told(self.journals.note(of, &event, Name::Last(&name), until))
        };
        tallies.events().into_iter().filter_map(note).collect()
    }
}

/// As long as what was read is remembered.
fn lasting(tallies: &Tallies) -> Until {
    Until::AtLeast(tallies.expires_at.plus(TOMBSTONE_LIFE))
}

fn whose(heading: &Heading, expires_at: Timestamp) -> Whose<'_> {
    Whose {
        account: &heading.account,
        id: &heading.id,
        project: Some(&heading.project),
        client_env: heading.client_env,
        expires_at,
    }
}

/// What could not be sealed is not told; its record could not be either.
fn told(note: Result<Note, StoreError>) -> Option<Note> {
    note.map_err(|why| tracing::error!(error = %why, "an event could not be noted")).ok()
}
