//! Listing an account's handoffs: ids, times and sizes, for operators.

use std::sync::Arc;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Status;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::cursor::Cursor;
use crate::service::error::ServiceError;
use crate::service::handoffs::Handoffs;
use crate::service::require;
use crate::store::names;

// Most handoffs on a page.
const PAGE: usize = 100;
// What one page may cost: names looked at, and records opened.
const NAMES: usize = 4096;
const OPENED: usize = 400;

/// Which handoffs are listed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this account; the caller's own if none is named.
    pub account: Option<AccountId>,
    /// Of this project.
    pub project: Option<ProjectId>,
    /// Of this status.
    pub status: Option<Status>,
}

/// A page of handoffs, newest first.
#[derive(Debug)]
pub struct Page {
    /// The handoffs.
    pub handoffs: Vec<Arc<Handoff>>,
    /// From where to go on, when there is more to look at.
    pub next: Option<Cursor>,
}

impl Handoffs {
    /// The account's handoffs that the caller's projects reach, newest first. A page may hold fewer
    /// than 100, or none, and still have a `next`.
    pub async fn list(
        &self,
        who: &Principal,
        filter: &Filter,
        after: Option<Cursor>,
    ) -> Result<Page, ServiceError> {
        let account = require(who, Scope::OpsRead, filter.account.as_ref())?;
        if let Some(project) = filter.project.as_ref().filter(|p| !who.projects.include(p)) {
            return Err(ServiceError::ForeignProject(project.clone()));
        }
        let set = names::handoffs_of(&account);
        let seal = self.records.seal();
        let after = after.map(|cursor| cursor.open(seal, &set)).transpose()?;
        let listed = self.records.members(set.clone(), after, NAMES).await?;
        let mut page = Page { handoffs: Vec::new(), next: None };
        let mut opened = 0;
        let mut is_all = listed.len() < NAMES;
        let mut last: Option<Vec<u8>> = None;
        for name in listed {
            if page.handoffs.len() == PAGE || opened == OPENED {
                is_all = false;
                break;
            }
            if let Some((revision, project, id)) = names::read_listed(&name)
                && who.projects.include(&project)
                && filter.project.as_ref().is_none_or(|wanted| *wanted == project)
            {
                opened += 1;
                // The set may be a moment behind: what was written anew stands at another place.
                let found = self.records.glance(&names::handoff(&account, &id)).await?.live();
                let wanted = |handoff: &Arc<Handoff>| {
                    handoff.revision == revision
                        && filter.status.is_none_or(|status| handoff.heading.status == status)
                };
                page.handoffs.extend(found.filter(wanted));
            }
            last = Some(name);
        }
        if let Some(last) = last.filter(|_| !is_all) {
            page.next = Some(Cursor::seal(seal, &set, &last)?);
        }
        Ok(page)
    }
}
