//! [`StoredTask`]: the task that a call came to be, so that it can be told what is written later.

use serde::Deserialize;
use serde::Serialize;

use crate::domain::account::AccountId;
use crate::domain::account_sid::AccountSid;
use crate::domain::connector::ConnectorId;
use crate::domain::handoff_id::HandoffId;
use crate::store::kv::Member;
use crate::store::kv::Order;
use crate::store::names;
use crate::store::record::Plain;
use crate::store::record::Stored;

/// A task with its revision and its end.
pub type StoredTask = Stored<Task>;

/// A task, as far as it must be found again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Whose handoff it is tied to.
    pub account: AccountId,
    /// By which id.
    pub id: HandoffId,
    /// The connector that its call came through.
    pub connector: ConnectorId,
    /// Whose it is.
    pub account_sid: AccountSid,
    /// Its workspace.
    pub workspace_sid: String,
    /// Its SID.
    pub task_sid: String,
    /// Which visit of the call it is of.
    pub leg: u32,
    /// When it came to be, as far as has been told, in microseconds since the epoch.
    pub at: u64,
    /// It is over.
    pub is_over: bool,
}

impl Plain for Task {
    const KIND: u8 = 9;

    fn members(&self) -> Vec<Member> {
        let name = names::task_listed(&self.account, &self.id);
        let of = |set| Member { set, name: name.clone(), order: Order::ByName };
        let open = (!self.is_over).then(|| of(names::tasks_open()));
        open.into_iter().chain([of(names::tied_to(&self.task_sid))]).collect()
    }

    fn weight(&self) -> usize {
        512
    }
}

impl Task {
    /// What is kept once `told` is heard of as well, whatever came first; `None` where that changes nothing.
    pub fn with(&self, told: &Self) -> Option<Self> {
        if told.task_sid == self.task_sid {
            let at = self.at.min(told.at);
            let both = Self { at, is_over: self.is_over || told.is_over, ..self.clone() };
            return (both != *self).then_some(both);
        }
        // The end of another task says nothing of this one; and one that is over makes room.
        let is_later = (told.leg, told.at) > (self.leg, self.at);
        let makes_room = self.is_over && told.leg >= self.leg;
        let is_its_own = told.connector == self.connector;
        (is_its_own && !told.is_over && (is_later || makes_room)).then(|| told.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::store::record::Record;

    fn task(sid: &str, leg: u32, at: u64, is_over: bool) -> Task {
        Task {
            account: AccountId::default(),
            id: "CA1".parse().unwrap(),
            connector: "conn_00000000000000000001".parse().unwrap(),
            account_sid: "AC0123456789abcdef0123456789abcdef".parse().unwrap(),
            workspace_sid: "WS1".to_owned(),
            task_sid: sid.to_owned(),
            leg,
            at,
            is_over,
        }
    }

    #[test]
    fn the_task_of_the_latest_visit_counts_in_whatever_order_they_are_told() {
        let told = [task("a", 1, 5, false), task("b", 1, 9, false), task("a", 1, 12, true)];
        for turn in 0..told.len() {
            let mut turned = told.to_vec();
            turned.rotate_left(turn);
            let (first, rest) = turned.split_first().unwrap();
            let kept =
                rest.iter().fold(first.clone(), |kept, told| kept.with(told).unwrap_or(kept));
            assert_eq!(kept, told[1]);
        }
        assert_eq!(told[0].with(&told[0]), None);
        assert!(told[0].with(&told[2]).unwrap().is_over && told[2].with(&told[0]).unwrap().at == 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn damaged_bytes_never_panic(bytes: Vec<u8>) {
            let _ = StoredTask::decode(bytes.into(), 1, Timestamp::NEVER);
        }
    }
}
