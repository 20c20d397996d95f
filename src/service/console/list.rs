//! Listing calls: handoffs, calls, and what was asked for and is not there, in one order, newest first: by
//! when a handoff was last written, a call began, or somebody asked last.

use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::domain::account::AccountId;
use crate::domain::clock::Timestamp;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::domain::principal::Projects;
use crate::domain::principal::Reach;
use crate::domain::principal::Scope;
use crate::service::console::Console;
use crate::service::console::Listed;
use crate::service::console::ask;
use crate::service::console::row::Flag;
use crate::service::console::row::Row;
use crate::service::cursor::Cursor;
use crate::service::error::Miss;
use crate::service::error::Missing;
use crate::service::error::ServiceError;
use crate::service::handoffs::MatchedBy;
use crate::service::handoffs::Read;
use crate::service::require;
use crate::service::timelines::story::State;
use crate::service::timelines::story::Story;
use crate::store::kv::Member;
use crate::store::kv::Order;
use crate::store::kv::newest_first;
use crate::store::l1::Found;
use crate::store::names;

/// Most calls on a page.
pub const MOST: usize = 1000;

// Names asked of a set in one go, and looked at for one page; of what was asked for in vain, the latest: it
// is in memory alone.
const BATCH: usize = 256;
const LOOKED_AT: usize = 4096;
const IN_VAIN: usize = 300;
// What one page may take: it goes on from there.
const PATIENCE: Duration = Duration::from_millis(1500);
const CONNECTORS: usize = 500;

/// Which calls are listed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this connector.
    pub connector: Option<ConnectorId>,
    /// Of this status.
    pub status: Option<String>,
    /// With which this went wrong.
    pub only: Option<Flag>,
    /// Written, begun, or asked for, at this moment or later.
    pub from: Option<Timestamp>,
    /// At this moment or earlier.
    pub to: Option<Timestamp>,
}

impl Filter {
    pub(super) fn takes(&self, row: &Row) -> bool {
        self.connector.as_ref().is_none_or(|own| row.connector_id.as_ref() == Some(own))
            && self.status.as_ref().is_none_or(|status| row.status == status)
            && self.only.is_none_or(|only| row.flags.contains(&only))
    }

    /// Whether what was written, begun or asked for then is of the time that is asked for.
    pub(super) fn is_of_time(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at <= to)
    }
}

/// A page of calls.
#[derive(Debug)]
pub struct Page {
    /// The calls, newest first.
    pub rows: Vec<Row>,
    /// From where to go on, when there is more to look at.
    pub next: Option<Cursor>,
}

/// A connector, for people to choose.
#[derive(Clone, Debug, Serialize)]
pub struct Connected {
    id: ConnectorId,
    name: String,
    client_env: ClientEnv,
}

impl Console {
    /// The account's calls that the caller's projects reach. A page may hold fewer than `most`, or none,
    /// and still have a `next`.
    pub async fn list(
        &self,
        who: &Principal,
        account: Option<&AccountId>,
        filter: &Filter,
        (after, most): (Option<Cursor>, usize),
    ) -> Result<Page, ServiceError> {
        let account = require(who, Scope::OpsRead, account)?;
        let sets = [names::handoffs_of(&account), names::calls_of(&account)];
        let set = sets.concat();
        let after = after.map(|cursor| cursor.open(self.handoffs.seal(), &set)).transpose()?;
        let in_vain = self.in_vain(who, &account);
        let until = Instant::now() + PATIENCE;
        let mut walk = Walk { after: after.or_else(|| beginning(filter.to)), looked_at: 0 };
        let (mut rows, mut seen, mut is_all) = (Vec::new(), HashSet::new(), false);
        'pages: while !is_all {
            let mut names = self.newest(&sets, walk.after.clone(), BATCH).await?;
            let after = walk.after.as_ref();
            names.extend(
                in_vain.iter().filter(|name| after.is_none_or(|after| *name > after)).cloned(),
            );
            names.sort_unstable();
            names.truncate(BATCH);
            is_all = names.len() < BATCH;
            for name in names {
                if rows.len() >= most || walk.is_spent(until) {
                    is_all = false;
                    break 'pages;
                }
                let listed = read(&name);
                walk.looked_at += 1;
                walk.after = Some(name);
                let Some((at, listed)) = listed else { continue };
                if filter.from.is_some_and(|from| Timestamp::from_micros(at) < from) {
                    is_all = true;
                    break 'pages;
                }
                let is_own = listed.project.as_ref().is_none_or(|own| who.projects.include(own));
                if is_own && !seen.contains(&listed.id) {
                    let row = self.row(who, &account, &listed, Some(at)).await?;
                    if row.is_some() {
                        seen.insert(listed.id);
                    }
                    rows.extend(row.filter(|row| filter.takes(row)));
                }
            }
        }
        let last = walk.after.filter(|_| !is_all);
        let next = last.map(|last| Cursor::seal(self.handoffs.seal(), &set, &last)).transpose()?;
        Ok(Page { rows, next })
    }

    /// The account's connectors that the caller's projects reach.
    pub async fn connectors(
        &self,
        who: &Principal,
        account: Option<&AccountId>,
    ) -> Result<Vec<Connected>, ServiceError> {
        let account = require(who, Scope::OpsRead, account)?;
        let set = names::connectors_of(Some(&account));
        let mut all = Vec::new();
        for name in self.connectors.members(set, None, CONNECTORS).await? {
            let Ok(id) = String::from_utf8_lossy(&name).parse::<ConnectorId>() else { continue };
            let found = self.connectors.get(&names::connector(&id)).await?.live();
            let own = found.filter(|found| who.projects.include(&found.record.project));
            all.extend(own.map(|found| Connected {
                id,
                name: found.record.settings.name.as_str().to_owned(),
                client_env: found.record.client_env,
            }));
        }
        Ok(all)
    }

    /// What several sets list, in one order, after `after`.
    pub(super) async fn newest(
        &self,
        sets: &[Vec<u8>],
        after: Option<Vec<u8>>,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, ServiceError> {
        let mut all = Vec::new();
        for set in sets {
            all.extend(self.calls.members(set.clone(), after.clone(), most).await?);
        }
        all.sort_unstable();
        all.dedup();
        all.truncate(most);
        Ok(all)
    }

    /// The row of what is listed; `None` where nothing is known of it, where it is another's to know, or
    /// where it is listed elsewhere: what an alias leads to by its own id, and of what stands in both sets
    /// the later one. `at`: where it was found.
    pub(super) async fn row(
        &self,
        who: &Principal,
        account: &AccountId,
        listed: &Listed,
        at: Option<u64>,
    ) -> Result<Option<Row>, ServiceError> {
        let id = &listed.id;
        let found = match self.handoffs.glance(account, id).await? {
            Found::Live(handoff) | Found::Stale(handoff) => {
                if who.reaches(&handoff.heading).is_err() {
                    return Ok(None);
                }
                Ok(Read { handoff, matched_by: MatchedBy::Id, is_stale: false })
            }
            Found::Gone(how) => Err(Miss::of(how.into()).into()),
            Found::Never => Err(Miss::of(Missing::NeverWritten).into()),
        };
        let is_alias = found.is_err() && self.handoffs.by_alias(account, id).await?.is_some();
        let is_older = |read: &Read| at.is_some_and(|at| at < read.handoff.revision);
        if is_alias || found.as_ref().is_ok_and(is_older) {
            return Ok(None);
        }
        let told = self.handoffs.told_of(who, account, &ask(account, id), &found).await?;
        let handoff = found.ok().map(|read| read.handoff);
        let Some(story) = told else { return Ok(None) };
        let near = self.near(who, account, &story).await?;
        let row = Row::of(&story, handoff.as_deref(), near.as_ref(), self.clock.now());
        // What was asked for in vain is listed as that where nothing else lists it.
        let since = at.filter(|_| listed.project.is_some()).unwrap_or_default();
        let is_doubled = at.is_some() && self.is_heard_of(who, &row, since).await?;
        let is_both = listed.project.is_none() && at.is_some() && handoff.is_some();
        Ok(Some(row).filter(|_| !is_doubled && !is_both))
    }

    /// An id that was written lately and is nearly that of a story which nobody has written.
    pub(super) async fn near(
        &self,
        who: &Principal,
        account: &AccountId,
        story: &Story,
    ) -> Result<Option<HandoffId>, ServiceError> {
        match story.state {
            State::Missing => Ok(self.handoffs.near(who, account, &story.id).await?),
            State::Live | State::Expired | State::Erased => Ok(None),
        }
    }

    /// Whether a row's call is listed later than `since` on its own account.
    async fn is_heard_of(
        &self,
        who: &Principal,
        row: &Row,
        since: u64,
    ) -> Result<bool, ServiceError> {
        let Some(connector) = &row.connector_id else { return Ok(false) };
        let call = self.calls.glance(&names::call(connector, &row.id)).await?.live();
        Ok(call.is_some_and(|call| {
            let of = call.record.of.as_ref();
            call.record.began_at > since && of.is_some_and(|(_, own)| who.projects.include(own))
        }))
    }

    /// What was asked for lately in vain, as sets would list it, without a project. Whose it would be nobody
    /// knows, so it is for whoever reaches all projects; and what was refused before it was known whose it
    /// was, for whoever reaches all accounts.
    fn in_vain(&self, who: &Principal, account: &AccountId) -> Vec<Vec<u8>> {
        if who.projects != Projects::All {
            return Vec::new();
        }
        let all = self.timelines.in_vain_of(account, who.reach == Reach::AnyAccount, IN_VAIN);
        let listed = |(at, id): (Timestamp, HandoffId)| {
            let name = [b"\0", id.as_str().as_bytes()].concat();
            Member { set: Vec::new(), name, order: Order::NewestFirst }.place(at.micros()).name
        };
        all.into_iter().map(listed).collect()
    }
}

/// When something that is listed was written, begun or asked for, and what it is.
fn read(name: &[u8]) -> Option<(u64, Listed)> {
    if let Some((revision, project, id)) = names::read_listed(name) {
        return Some((revision, Listed { project: Some(project), id }));
    }
    let (at, id) = newest_first(name)?;
    let id = std::str::from_utf8(id.strip_prefix(b"\0")?).ok()?.parse().ok()?;
    Some((at, Listed { project: None, id }))
}

/// How far a page has come.
struct Walk {
    after: Option<Vec<u8>>,
    looked_at: usize,
}

impl Walk {
    /// Whether the page has cost what it may. Something is looked at, however slow the store is, or it would
    /// never go on.
    fn is_spent(&self, until: Instant) -> bool {
        self.looked_at > 0 && (self.looked_at >= LOOKED_AT || Instant::now() > until)
    }
}

/// Before everything that is listed at `to`: names of that moment are longer.
fn beginning(to: Option<Timestamp>) -> Option<Vec<u8>> {
    Some((!to?.micros()).to_be_bytes().to_vec())
}
