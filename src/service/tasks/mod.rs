//! [`Tasks`]: what `TaskRouter` tells of the tasks that calls came to be, and what it is told in return:
//! what was written after a task was made.

mod late;
mod open;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::account_sid::AccountSid;
use crate::domain::call::CALL_LIFE;
use crate::domain::clock::Clock;
use crate::domain::connector::Connector;
use crate::domain::flex_user::Line;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::domain::timeline::What;
use crate::service::error::ServiceError;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::story::Tied;
use crate::service::require;
use crate::service::timelines::Telling;
use crate::service::timelines::Timelines;
use crate::store::call::StoredCall;
use crate::store::connector::StoredConnector;
use crate::store::journals::Name;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::record::Record;
use crate::store::records::Records;
use crate::store::records::Written;
use crate::store::task::StoredTask;
use crate::store::task::Task;
use crate::twilio::taskrouter::TaskEvent;
use crate::twilio::tasks::TaskApi;

pub use crate::service::tasks::late::bring_up_to_date;
pub use crate::service::tasks::open::Open;

// By how much Twilio's clock may be ahead.
const CLOCKS: Duration = Duration::from_secs(300);
// Of one task's events, those that change what is kept of it.
const RACES: usize = 8;

/// Use cases on tasks.
#[derive(Debug)]
pub struct Tasks {
    parts: Parts,
}

/// What they work with.
#[derive(Debug)]
pub struct Parts {
    /// The handoffs that tasks are tied to.
    pub handoffs: Arc<Handoffs>,
    /// What happens to them.
    pub timelines: Arc<Timelines>,
    /// The connectors there are.
    pub connectors: Arc<Records<StoredConnector>>,
    /// The calls there are.
    pub calls: Arc<Records<StoredCall>>,
    /// Which ids may have a task.
    pub open: Arc<Open>,
    /// The tasks there are.
    pub tasks: Arc<Records<StoredTask>>,
    /// What `TaskRouter` is told by.
    pub api: TaskApi,
    /// Where Baton is, as Twilio reaches it.
    pub public_url: String,
    /// What time it is.
    pub clock: Clock,
}

impl Tasks {
    /// Use cases over `parts`.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Keeps what became of a task, once, however often and in whatever order it is told. What is not about
    /// a call of this connector's, or of another that the same Twilio account is linked to, is passed over:
    /// a workspace tells of all its tasks.
    pub async fn told(
        &self,
        who: &Principal,
        through: &Connector,
        event: &TaskEvent,
    ) -> Result<(), ServiceError> {
        require(who, Scope::HandoffRead, Some(&through.account))?;
        let Ok(account_sid) = event.account_sid.parse::<AccountSid>() else { return Ok(()) };
        // Clocks differ a little; a moment long to come would never be over.
        let latest = self.parts.clock.now().plus(CLOCKS);
        let event = &TaskEvent { at: event.at.min(latest), ..event.clone() };
        if !may_tell(who, through, &account_sid) {
            return Ok(());
        }
        let Some(found) = self.connector(through, event, &account_sid).await? else {
            return Ok(());
        };
        let connector = found.as_deref().map_or(through, |found| &found.record);
        let tied = self.parts.handoffs.tied(&Line::of(connector), &event.about.ids).await?;
        let handoff = match tied {
            Tied::Handoff(handoff) => Some(handoff),
            Tied::Nothing => None,
            Tied::Foreign => return Ok(()),
        };
        let own = handoff.as_ref().map(|handoff| &handoff.heading.id);
        let Some(id) = own.or(event.about.ids.first()) else { return Ok(()) };
        let keeping = self.keep(connector, event, account_sid.clone(), id);
        let (noted, kept) = tokio::join!(self.note(connector, event, id), keeping);
        noted?;
        kept?;
        let is_ours = handoff.is_some() || event.about.is_ours;
        if (event.is_acceptance() || event.ends())
            && (is_ours || self.is_known(connector, &event.about.ids).await?)
        {
            self.parts.timelines.settle(&connector.account, id, Some(connector.id.clone()));
        }
        if is_new(event) {
            // Now that the task is known: the handoff may have come meanwhile. Twilio waits for the answer to
            // what it tells, and not for what it is told.
            self.parts.handoffs.tell_of_change(&connector.account, id, Vec::new());
        }
        Ok(())
    }

    /// Whether any of these is a call that came through the connector. Of others that a workspace has, whoever
    /// takes them is not connected blind: there was nothing to see.
    async fn is_known(&self, connector: &Connector, ids: &[HandoffId]) -> Result<bool, StoreError> {
        for id in ids {
            let known = self.parts.calls.get(&names::call(&connector.id, id)).await?.live();
            if known.is_some_and(|call| call.record.legs > 0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The connector that a task's call came through: the one that its attributes name, if that is of the same
    /// account and linked to the same Twilio account. `Some(None)`: the one that it was told through; `None`:
    /// one that is none of the caller's.
    async fn connector(
        &self,
        through: &Connector,
        event: &TaskEvent,
        account_sid: &AccountSid,
    ) -> Result<Option<Option<Arc<StoredConnector>>>, ServiceError> {
        let Some(named) = event.about.connector_id.as_ref().filter(|named| **named != through.id)
        else {
            return Ok(Some(None));
        };
        let found = self.parts.connectors.get(&names::connector(named)).await?.live();
        let is_its = |found: &Arc<StoredConnector>| {
            let link = found.record.link.as_ref();
            found.record.account == through.account
                && link.is_some_and(|link| link.account_sid == *account_sid)
        };
        Ok(found.filter(is_its).map(Some))
    }

    async fn note(
        &self,
        connector: &Connector,
        event: &TaskEvent,
        id: &HandoffId,
    ) -> Result<(), ServiceError> {
        let what = What::Taskrouter {
            kind: event.kind.clone(),
            task_sid: event.task_sid.clone(),
            reservation_sid: event.reservation_sid.clone(),
            worker: event.worker.clone(),
            connector_id: connector.id.clone(),
        };
        // With its time: told twice with two of them, the earlier counts, whichever came first.
        let at = event.at.micros().to_string();
        let reservation = event.reservation_sid.as_deref().unwrap_or_default();
        let name = ["taskrouter", &event.kind, &event.task_sid, reservation, &at];
        let telling = Telling { what: &what, at: event.at, name: Name::First(&name) };
        let notes = self.parts.timelines.of_call(connector, id, telling);
        self.parts.timelines.add(notes).await?;
        Ok(())
    }

    /// Keeps the task under all that its handoff may be written by.
    async fn keep(
        &self,
        connector: &Connector,
        event: &TaskEvent,
        account_sid: AccountSid,
        own: &HandoffId,
    ) -> Result<(), ServiceError> {
        if !is_new(event) && !event.ends() {
            return Ok(());
        }
        let told = task_of(connector, account_sid, event, own);
        let others = event.about.ids.iter().filter(|id| *id != own);
        for id in std::iter::once(own).chain(others) {
            self.keep_under(Task { id: id.clone(), ..told.clone() }).await?;
        }
        Ok(())
    }

    /// Keeps a task by one id. It is known to be there before it is, so that no write in between misses it.
    async fn keep_under(&self, told: Task) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        self.parts.open.add(&told.account, &told.id, now);
        let key = names::task(&told.account, &told.id);
        let mut there = self.parts.tasks.get(&key).await?.live();
        for _ in 0..RACES {
            let kept = match &there {
                None => told.clone(),
                Some(there) => match there.record.with(&told) {
                    Some(kept) => kept,
                    None => return Ok(()),
                },
            };
            let expect = there.map_or(Expect::Absent, |there| Expect::Revision(there.revision()));
            let task = StoredTask::new(kept, now.plus(CALL_LIFE));
            let put = self.parts.tasks.put(key.clone(), task, expect, Change::Content).await?;
            if let Written::Done(_) = put {
                return Ok(());
            }
            there = self.parts.tasks.load(&key).await?.live();
        }
        // Others told of the same task all the while.
        Ok(())
    }
}

/// Whether who signed may tell of this account's tasks: the account itself, and through a linked connector
/// no other than the link's.
fn may_tell(who: &Principal, through: &Connector, account_sid: &AccountSid) -> bool {
    let is_signed =
        matches!(who.credential, Credential::TwilioSignature | Credential::LinkedSignature { .. });
    // The door names whoever signed by the account, behind the connector.
    let is_own = who.name.rsplit(':').next() == Some(account_sid.as_str());
    let is_linked = through.link.as_ref().is_none_or(|link| link.account_sid == *account_sid);
    is_signed && is_own && is_linked
}

/// Whether a task has just come to be, or to a worker.
fn is_new(event: &TaskEvent) -> bool {
    ["task.created", "reservation.created"].contains(&event.kind.as_str())
}

fn task_of(
    connector: &Connector,
    account_sid: AccountSid,
    event: &TaskEvent,
    id: &HandoffId,
) -> Task {
    Task {
        account: connector.account.clone(),
        id: id.clone(),
        connector: connector.id.clone(),
        account_sid,
        workspace_sid: event.workspace_sid.clone(),
        task_sid: event.task_sid.clone(),
        leg: event.about.leg,
        at: event.at.micros(),
        is_over: event.ends(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_tells_of_its_own_tasks_and_through_a_link_no_other_does() {
        let sid = |digit: char| format!("AC{}", digit.to_string().repeat(32));
        let connector = |link: &str| -> Connector {
            let text = format!(
                r#"{{"id":"conn_00000000000000000001","account":"acme","project":"line","client_env":"live","settings":{{"name":"a"}},"created_at":1,"tokens":[]{link}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let link = format!(
            r#","link":{{"account_sid":"{}","secrets":{{"auth_token":"t"}},"region":"us1","linked_at":1}}"#,
            sid('1')
        );
        let by = |digit| Principal {
            credential: Credential::TwilioSignature,
            name: format!("conn_00000000000000000001:{}", sid(digit)),
            ..Principal::admin()
        };
        let may = |signer, through: &str, of: char| {
            may_tell(&by(signer), &connector(through), &sid(of).parse().unwrap())
        };
        assert!(may('1', &link, '1') && may('2', "", '2'));
        assert!(!may('2', &link, '1'), "signed by one account, told of another");
        assert!(!may('2', &link, '2'), "the connector is another account's");
        assert!(!may('2', "", '1'));
        assert!(!may_tell(&Principal::admin(), &connector(""), &sid('1').parse().unwrap()));
    }
}
