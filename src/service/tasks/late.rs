//! Late writes: a task is made when the call is queued, so what the agent writes later is not in it, and
//! whoever has no plugin sees nothing of it. The task is given what it would have been made with: keys of
//! ours, and no others, and only while nobody else changes it.

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::domain::account::AccountId;
use crate::domain::connector::Connector;
use crate::domain::flex_user::Line;
use crate::domain::handoff::Handoff;
use crate::domain::handoff_id::HandoffId;
use crate::domain::timeline::Target;
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
            let page = match page {
                Ok(page) => page,
                Err(why) => {
                    tracing::warn!(error = %why, "the tasks that are open could not be looked up");
                    return;
                }
            };
            for (account, id) in page.iter().filter_map(|name| names::read_task_listed(name)) {
                self.parts.open.add(&account, &id, self.parts.clock.now());
                // Whether its context came in time was to be counted by a process that is no more.
                self.parts.timelines.settle(&account, &id, None);
            }
            match page.into_iter().nth(PAGE - 1) {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        self.parts.open.are_known();
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
        self.catch_up(&task).await;
        Ok(())
    }

    async fn task(&self, account: &AccountId, id: &HandoffId) -> Result<Option<Task>, StoreError> {
        let found = self.parts.tasks.get(&names::task(account, id)).await?.live();
        Ok(found.map(|found| found.record.clone()))
    }

    /// Gives a task what its handoff says.
    async fn catch_up(&self, task: &Task) {
        match self.update(task).await {
            Ok(()) | Err(TaskError::Gone) => {}
            Err(why) => {
                let (connector_id, task_sid) = (&task.connector, &task.task_sid);
                tracing::warn!(%connector_id, task_sid, "a task was not given what was written late: {why}");
            }
        }
    }

    async fn update(&self, task: &Task) -> Result<(), TaskError> {
        let mut pause = FIRST_PAUSE;
        let mut last = TaskError::Changed;
        for at in 0..TRIES {
            if at > 0 {
                // Those who write one task at once do not all come back at once.
                sleep(pause + pause.mul_f64(jitter(&task.task_sid, pause))).await;
                pause *= 2;
            }
            match self.try_once(task).await {
                Err(why @ (TaskError::Changed | TaskError::Later(_))) => last = why,
                done => return done,
            }
        }
        Err(last)
    }

    /// The handoff as it is now, if the task is to have it: of the connector's own project and environment,
    /// and of the call's latest visit; an earlier one's is another conversation.
    async fn meant(
        &self,
        connector: &Connector,
        task: &Task,
    ) -> Result<Option<Arc<Handoff>>, TaskError> {
        let there = self.parts.handoffs.there(&task.account, &task.id).await?;
        let is_its = |there: &Arc<Handoff>| {
            Line::of(connector).holds(&there.heading) && !there.heading.left_over
        };
        let Some(there) = there.filter(is_its) else { return Ok(None) };
        let known = self.parts.calls.get(&names::call(&task.connector, &there.heading.id)).await;
        let known = known?.live();
        let is_latest = task.leg == 0 || known.is_none_or(|call| call.record.legs <= task.leg);
        Ok(is_latest.then_some(there))
    }

    /// Looks everything up anew: what was unlinked, erased or turned off meanwhile is not gone by.
    async fn try_once(&self, task: &Task) -> Result<(), TaskError> {
        let found = self.parts.connectors.get(&names::connector(&task.connector)).await;
        let Some(found) = found?.live() else { return Ok(()) };
        let connector = &found.record;
        let link = connector.link.as_ref().filter(|link| link.account_sid == task.account_sid);
        let Some(link) = link.filter(|_| connector.settings.flex.late_writes.is_on()) else {
            return Ok(());
        };
        if task.is_over {
            return Ok(());
        }
        let at = TaskAt { workspace_sid: &task.workspace_sid, task_sid: &task.task_sid };
        // Before Twilio is asked for nothing; and after, or what has been written meanwhile would be undone.
        if self.meant(connector, task).await?.is_none() {
            return Ok(());
        }
        let read = self.parts.api.read(link, at).await?;
        if OVER.contains(&read.assignment_status.as_str()) {
            return Err(TaskError::Gone);
        }
        let Some(handoff) = self.meant(connector, task).await? else { return Ok(()) };
        let about = About {
            // The task's own stays.
            view_link: "",
            id: handoff.heading.id.as_str(),
            connector_id: connector.id.as_str(),
            public_url: &self.parts.public_url,
            leg: task.leg,
            from: "",
        };
        let data = std::str::from_utf8(handoff.data()).unwrap_or("{}");
        let status = handoff.heading.status.as_str();
        let flex = &connector.settings.flex;
        let Some(new) = updated(&read.attributes, &about, (status, data), flex) else {
            return Ok(());
        };
        self.parts.api.write(link, at, &read, &new.attributes).await?;
        self.note_update(task, &handoff, &new.left_out).await;
        Ok(())
    }

    async fn note_update(&self, task: &Task, handoff: &Handoff, left_out: &str) {
        let at = self.parts.clock.now();
        let updated = What::TaskUpdated { task_sid: task.task_sid.clone() };
        let packed = What::packed(Target::Task, left_out, at);
        let of = |what| {
            let telling = Telling { what, at, name: Name::None };
            self.parts.timelines.of_handoff(&handoff.heading, handoff.expires_at, telling)
        };
        let notes = std::iter::once(&updated).chain(&packed).flat_map(of).collect();
        if let Err(why) = self.parts.timelines.add(notes).await {
            tracing::warn!(error = %why, "that a task was brought up to date could not be noted");
        }
    }
}

impl From<StoreError> for TaskError {
    fn from(why: StoreError) -> Self {
        Self::Later(why.to_string())
    }
}

/// From 0 to 1, by the task and the try.
fn jitter(task_sid: &str, pause: Duration) -> f64 {
    let hash = RandomState::new().hash_one((task_sid, pause));
    let [first, ..] = hash.to_ne_bytes();
    f64::from(first) / 255.0
}
