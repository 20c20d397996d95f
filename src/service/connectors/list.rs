//! Listing connectors.

use std::sync::Arc;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::connector::Connector;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::principal::Principal;
use crate::domain::principal::Reach;
use crate::domain::principal::Scope;
use crate::service::connectors::Connectors;
use crate::service::cursor::Cursor;
use crate::service::error::ServiceError;
use crate::service::require;
use crate::store::connector::StoredConnector;
use crate::store::names;

// Most connectors on a page, and most that are looked at for one.
const PAGE: usize = 100;
const LOOKED_AT: usize = 400;

/// Which connectors are listed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this account; the caller's own if none is named, and all for the admin.
    pub account: Option<AccountId>,
    /// Of this project.
    pub project: Option<ProjectId>,
    /// Of this environment.
    pub client_env: Option<ClientEnv>,
    /// Of this name.
    pub name: Option<String>,
}

/// A page of connectors.
#[derive(Debug)]
pub struct Page {
    /// The connectors, by id.
    pub connectors: Vec<Arc<StoredConnector>>,
    /// From where to go on, when there is more to look at.
    pub next: Option<Cursor>,
}

impl Filter {
    fn lets_through(&self, connector: &Connector) -> bool {
        let name = connector.settings.name.as_str();
        self.project.as_ref().is_none_or(|project| *project == connector.project)
            && self.client_env.is_none_or(|env| env == connector.client_env)
            && self.name.as_ref().is_none_or(|wanted| wanted == name)
    }
}

impl Connectors {
    /// The connectors of an account whose projects `who` reaches, by id. A page may hold fewer than 100,
    /// or none, and still have a `next`.
    pub async fn list(
        &self,
        who: &Principal,
        filter: &Filter,
        after: Option<Cursor>,
    ) -> Result<Page, ServiceError> {
        let own = require(who, Scope::ConnectorManage, filter.account.as_ref())?;
        if let Some(project) = filter.project.as_ref().filter(|p| !who.projects.include(p)) {
            return Err(ServiceError::ForeignProject(project.clone()));
        }
        let set = match (&who.reach, &filter.account) {
            (Reach::AnyAccount, None) => names::connectors_of(None),
            _ => names::connectors_of(Some(&own)),
        };
        let seal = self.records.seal();
        let after = after.map(|cursor| cursor.open(seal, &set)).transpose()?;
        let listed = self.records.members(set.clone(), after, LOOKED_AT + 1).await?;
        let mut page = Page { connectors: Vec::new(), next: None };
        let mut is_all = listed.len() <= LOOKED_AT;
        let mut last = None;
        for name in listed.iter().take(LOOKED_AT) {
            let id = std::str::from_utf8(name).ok().and_then(|id| id.parse::<ConnectorId>().ok());
            let Some(id) = id else { continue };
            if page.connectors.len() == PAGE {
                is_all = false;
                break;
            }
            // The set may be a moment behind; what is listed is what is there.
            let found = self.records.glance(&names::connector(&id)).await?.live();
            let is_meant = |found: &Arc<StoredConnector>| {
                who.projects.include(&found.record.project) && filter.lets_through(&found.record)
            };
            page.connectors.extend(found.filter(is_meant));
            last = Some(name);
        }
        if let Some(last) = last.filter(|_| !is_all) {
            page.next = Some(Cursor::seal(seal, &set, last)?);
        }
        Ok(page)
    }
}
