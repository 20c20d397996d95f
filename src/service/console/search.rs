//! Finding calls by what is known of them: any id, or the caller's number.

use crate::domain::account::AccountId;
use crate::domain::clock::Timestamp;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::console::Console;
use crate::service::console::Listed;
use crate::service::console::ask;
use crate::service::console::list::Filter;
use crate::service::console::list::Page;
use crate::service::error::ServiceError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::require;
use crate::store::names;

// Calls of one caller, or handoffs that carry one id.
const FOUND: usize = 200;

impl Console {
    /// The calls that `text` may mean: by a handoff's id, shared id or alias, a task's SID, or the number of
    /// whoever called. Newest first.
    pub async fn search(
        &self,
        who: &Principal,
        account: Option<&AccountId>,
        text: &str,
        filter: &Filter,
    ) -> Result<Page, ServiceError> {
        let account = require(who, Scope::OpsRead, account)?;
        let text = text.trim();
        // Whoever tries numbers one after the other would undo their hashes.
        self.handoffs.may_look(who)?;
        let mut found: Vec<(Option<Timestamp>, Listed)> = Vec::new();
        if let Ok(id) = text.parse::<HandoffId>() {
            let of_task = self.tied_to(&account, text).await?;
            let by_id = self.found_by_id(who, &account, &id).await?;
            let ids = if of_task.is_empty() { by_id } else { of_task };
            let ids = if ids.is_empty() { vec![id] } else { ids };
            found.extend(ids.into_iter().map(|id| (None, Listed { project: None, id })));
        }
        let marks = self.callers.marks(&account, text);
        let mut sets: Vec<_> = marks.iter().map(|mark| names::of_caller(&account, mark)).collect();
        sets.extend(text.parse().ok().map(|id| names::handoffs_sharing(&account, &id)));
        for name in self.newest(&sets, None, FOUND).await? {
            if let Some((revision, project, id)) = names::read_listed(&name) {
                let at = Timestamp::from_micros(revision);
                found.push((Some(at), Listed { project: Some(project), id }));
            }
        }
        let mut page = Page { rows: Vec::new(), next: None };
        let mut seen = Vec::new();
        for (at, listed) in found {
            let is_own = listed.project.as_ref().is_none_or(|own| who.projects.include(own));
            let is_of_time = at.is_none_or(|at| filter.is_of_time(at));
            if !is_own || !is_of_time || seen.contains(&listed.id) {
                continue;
            }
            let row = self.row(who, &account, &listed, None).await?;
            page.rows.extend(row.filter(|row| filter.takes(row)));
            seen.push(listed.id);
        }
        if page.rows.is_empty() {
            self.handoffs.missed_in_search(who, &account, text)?;
        }
        Ok(page)
    }

    /// The ids of the handoffs that an id leads to; none where it leads to none.
    pub(super) async fn found_by_id(
        &self,
        who: &Principal,
        account: &AccountId,
        id: &HandoffId,
    ) -> Result<Vec<HandoffId>, ServiceError> {
        let by_id = ask(account, id);
        let by_shared_id = Ask { by: By::SharedId(id.clone()), ..by_id.clone() };
        for ask in [by_id, by_shared_id] {
            if let Some(own) = self.handoffs.own_id(who, account, &ask).await? {
                return Ok(vec![own]);
            }
        }
        Ok(Vec::new())
    }

    /// The ids that a task of the account is tied to.
    async fn tied_to(
        &self,
        account: &AccountId,
        task_sid: &str,
    ) -> Result<Vec<HandoffId>, ServiceError> {
        let listed = self.tasks.members(names::tied_to(task_sid), None, FOUND).await?;
        let tied = listed.iter().filter_map(|name| names::read_task_listed(name));
        Ok(tied.filter(|(own, _)| own == account).map(|(_, id)| id).collect())
    }
}
