//! [`Console`]: what operators see of an account's calls: each with what happened to its handoff and what
//! went wrong, newest first; and any one of them, found by whatever is known of it. Never what a handoff
//! holds: that is for whoever may read handoffs.

mod list;
mod row;
mod search;

use std::sync::Arc;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Clock;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::domain::timeline::What;
use crate::domain::timeline::tell::tell;
use crate::service::console::row::known;
use crate::service::error::ServiceError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Handoffs;
use crate::service::require;
use crate::service::timelines::Timelines;
use crate::service::timelines::story::Story;
use crate::store::call::StoredCall;
use crate::store::callers::Callers;
use crate::store::connector::StoredConnector;
use crate::store::names;
use crate::store::records::Records;
use crate::store::task::StoredTask;

pub use crate::service::console::list::Connected;
pub use crate::service::console::list::Filter;
pub use crate::service::console::list::MOST;
pub use crate::service::console::list::Page;
pub use crate::service::console::row::Flag;
pub use crate::service::console::row::Row;

/// Use cases of the console.
#[derive(Debug)]
pub struct Console {
    /// The handoffs.
    pub handoffs: Arc<Handoffs>,
    /// What happens to them.
    pub timelines: Arc<Timelines>,
    /// The calls there are.
    pub calls: Arc<Records<StoredCall>>,
    /// The tasks there are.
    pub tasks: Arc<Records<StoredTask>>,
    /// The connectors there are.
    pub connectors: Arc<Records<StoredConnector>>,
    /// What marks callers' numbers.
    pub callers: Callers,
    /// What time it is.
    pub clock: Clock,
}

/// Everything about one call.
#[derive(Debug)]
pub struct Told {
    /// As it is listed.
    pub row: Row,
    /// In sentences, the likely cause of what went wrong first.
    pub sentences: Vec<String>,
    /// What happened.
    pub story: Story,
    /// Where Twilio shows its call, its flow and its task.
    pub links: Links,
}

/// Twilio's own pages.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Links {
    call: Option<String>,
    flow: Option<String>,
    task: Option<String>,
}

/// A handoff, or a call that has none, as sets list it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Listed {
    project: Option<ProjectId>,
    id: HandoffId,
}

impl Console {
    /// One call, by any of its ids.
    pub async fn call(
        &self,
        who: &Principal,
        account: Option<&AccountId>,
        id: &HandoffId,
    ) -> Result<Told, ServiceError> {
        let account = require(who, Scope::OpsRead, account)?;
        let found = self.found_by_id(who, &account, id).await?;
        let id = found.first().unwrap_or(id);
        let ask = ask(&account, id);
        let story = self.handoffs.story_in(who, &account, &ask).await?;
        let handoff = self.handoffs.glance(&account, &story.id).await?.live();
        let handoff = handoff.filter(|handoff| who.reaches(&handoff.heading).is_ok());
        let near = self.near(who, &account, &story).await?;
        let now = self.clock.now();
        let row = Row::of(&story, handoff.as_deref(), near.as_ref(), now);
        let sentences = tell(&known(&story, near.as_ref(), now));
        let links = self.links(&account, &story).await?;
        Ok(Told { row, sentences, story, links })
    }

    async fn links(&self, account: &AccountId, story: &Story) -> Result<Links, ServiceError> {
        let flow = story.events.iter().find_map(|event| {
            let What::Routed { flow_sid, .. } = &event.what else { return None };
            flow_sid.as_ref()
        });
        let task = self.tasks.get(&names::task(account, &story.id)).await?.live();
        let call = Some(&story.id).filter(|id| id.is_call_sid());
        Ok(Links {
            call: call
                .map(|sid| format!("https://console.twilio.com/us1/monitor/logs/calls/{sid}")),
            flow: flow.map(|sid| format!("https://www.twilio.com/console/studio/flows/{sid}")),
            task: task.map(|task| {
                let (workspace, task) = (&task.record.workspace_sid, &task.record.task_sid);
                format!(
                    "https://www.twilio.com/console/taskrouter/workspaces/{workspace}/tasks/{task}"
                )
            }),
        })
    }
}

fn ask(account: &AccountId, id: &HandoffId) -> Ask {
    Ask { account: Some(account.clone()), project: None, client_env: None, by: By::Id(id.clone()) }
}
