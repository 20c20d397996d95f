//! Late writes: a task is made when the call is queued, so what the agent writes later is not in it, and
//! whoever has no plugin sees nothing of it. The task is given what it would have been made with: keys of
//! ours, and no others, and only while nobody else changes it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::domain::account::AccountId;
use crate::domain::connector::Connector;
use crate::domain::connector::link::Link;
use crate::domain::handoff::Handoff;
use crate::domain::handoff_id::HandoffId;
use crate::domain::timeline::What;
use crate::service::handoffs::Changed;
use crate::service::tasks::Tasks;
use crate::service::timelines::Telling;
use crate::store::journals::Name;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::task::Task;
use crate::twilio::attributes::About;
use crate::twilio::attributes::task::updated;
use crate::twilio::tasks::TaskAt;
use crate::twilio::tasks::TaskError;

// Tries, of which each may take two questions of two seconds.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
// Ids of open tasks looked up together.
const PAGE: usize = 4096;
// Tasks at once.
const AT_ONCE: usize = 64;
// Nothing is done to a task that is over.
const OVER: [&str; 3] = ["wrapping", "completed", "canceled"];

/// Brings tasks up to date with what is written, for as long as anything is.
pub async fn bring_up_to_date(tasks: Arc<Tasks>, mut changes: Receiver<Changed>) {
    tasks.find_open().await;
    let mut under_way = JoinSet::new();
    while let Some(changed) = changes.recv().await {
        if !tasks.may_concern(&changed) {
            continue;
        }
        while under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        while under_way.try_join_next().is_some() {}
        let tasks = Arc::clone(&tasks);
        under_way.spawn(async move {
            if let Err(why) = tasks.changed(&changed).await {
                tracing::warn!(error = %why, "a task could not be looked up to be brought up to date");
            }
        });
    }
}

impl Tasks {
    /// Learns which ids have a task that was made before this server was started.
    async fn find_open(&self) {
        let mut after = None;
        loop {
            let page = self.parts.tasks.members(names::tasks_open(), after, PAGE).await;
            let page = page.unwrap_or_else(|why| {
                tracing::warn!(error = %why, "the tasks that are open could not be looked up");
                self.open.add_all();
                Vec::new()
            });
            for (account, id) in page.iter().filter_map(|name| names::read_task_listed(name)) {
                self.open.add(&account, &id, self.parts.clock.now());
                // Whether its context came in time was to be counted by a process that is no more.
                self.parts.timelines.settle(&account, &id, None);
            }
            match page.into_iter().nth(PAGE - 1) {
                Some(last) => after = Some(last),
                None => return,
            }
        }
    }

    /// Whether what was written may have a task.
    fn may_concern(&self, changed: &Changed) -> bool {
        let mut ids = std::iter::once(&changed.id).chain(&changed.aliases);
        ids.any(|id| self.open.may_have(&changed.account, id))
    }

    /// A handoff was written, or found by further ids: the task that its call is by now gets it.
    async fn changed(&self, changed: &Changed) -> Result<(), StoreError> {
        let Changed { account, id, aliases } = changed;
        let mut task = self.task(account, id).await?;
        for alias in aliases {
            if task.is_none()
                && let Some(known) = self.task(account, alias).await?
            {
                // Found by the handoff's own id from now on.
                let own = Task { id: id.clone(), ..known };
                self.keep_under(own.clone()).await?;
                task = Some(own);
            }
        }
        let Some(task) = task else { return Ok(()) };
        let Some(handoff) = self.parts.handoffs.there(account, id).await? else { return Ok(()) };
        self.catch_up(&task, &handoff).await;
        Ok(())
    }

    async fn task(&self, account: &AccountId, id: &HandoffId) -> Result<Option<Task>, StoreError> {
        let found = self.parts.tasks.get(&names::task(account, id)).await?.live();
        Ok(found.map(|found| found.record.clone()))
    }

    /// Gives a task what its handoff says.
    async fn catch_up(&self, task: &Task, handoff: &Handoff) {
        match self.update(task, handoff).await {
            Ok(()) | Err(TaskError::Gone) => {}
            Err(why) => {
                let (connector_id, task_sid) = (&task.connector, &task.task_sid);
                tracing::warn!(%connector_id, task_sid, "a task was not given what was written late: {why}");
            }
        }
    }

    async fn update(&self, task: &Task, handoff: &Handoff) -> Result<(), TaskError> {
        let later = |why: StoreError| TaskError::Later(why.to_string());
        let found = self.parts.connectors.get(&names::connector(&task.connector)).await;
        let Some(found) = found.map_err(later)?.live() else { return Ok(()) };
        let connector = &found.record;
        let link = connector.link.as_ref().filter(|link| link.account_sid == task.account_sid);
        let Some(link) = link.filter(|_| connector.settings.flex.late_writes.is_on()) else {
            return Ok(());
        };
        if task.is_over || handoff.heading.left_over || !self.is_latest(task, handoff).await? {
            return Ok(());
        }
        let mut pause = FIRST_PAUSE;
        let mut last = TaskError::Changed;
        for at in 0..TRIES {
            if at > 0 {
                // Those who write one task at once do not all come back at once.
                sleep(pause + pause.mul_f64(jitter(&task.task_sid, pause))).await;
                pause *= 2;
            }
            match self.try_once(connector, link, (task, handoff)).await {
                Err(why @ (TaskError::Changed | TaskError::Later(_))) => last = why,
                done => return done,
            }
        }
        Err(last)
    }

    /// Whether the task is of the call's latest visit; an earlier one's is another conversation.
    async fn is_latest(&self, task: &Task, handoff: &Handoff) -> Result<bool, TaskError> {
        let key = names::call(&task.connector, &handoff.heading.id);
        let known = self.parts.calls.get(&key).await;
        let known = known.map_err(|why| TaskError::Later(why.to_string()))?.live();
        Ok(task.leg == 0 || known.is_none_or(|call| call.record.legs <= task.leg))
    }

    async fn try_once(
        &self,
        connector: &Connector,
        link: &Link,
        (task, handoff): (&Task, &Handoff),
    ) -> Result<(), TaskError> {
        let at = TaskAt { workspace_sid: &task.workspace_sid, task_sid: &task.task_sid };
        let read = self.parts.api.read(link, at).await?;
        if OVER.contains(&read.assignment_status.as_str()) {
            return Err(TaskError::Gone);
        }
        let about = About {
            id: handoff.heading.id.as_str(),
            connector_id: connector.id.as_str(),
            public_url: &self.parts.public_url,
            leg: task.leg,
            from: "",
        };
        let data = std::str::from_utf8(handoff.data()).unwrap_or("{}");
        let status = handoff.heading.status.as_str();
        let attributes =
            updated(&read.attributes, &about, (status, data), &connector.settings.flex);
        let Some(attributes) = attributes else { return Ok(()) };
        self.parts.api.write(link, at, &read, &attributes).await?;
        let what = What::TaskUpdated { task_sid: task.task_sid.clone() };
        let telling = Telling { what: &what, at: self.parts.clock.now(), name: Name::None };
        let notes = self.parts.timelines.of_handoff(&handoff.heading, handoff.expires_at, telling);
        if let Err(why) = self.parts.timelines.add(notes).await {
            tracing::warn!(error = %why, "that a task was brought up to date could not be noted");
        }
        Ok(())
    }
}

/// From 0 to 1, by the task and the try.
fn jitter(task_sid: &str, pause: Duration) -> f64 {
    use std::hash::BuildHasher;
    let hash = std::hash::RandomState::new().hash_one((task_sid, pause));
    let [first, ..] = hash.to_ne_bytes();
    f64::from(first) / 255.0
}
