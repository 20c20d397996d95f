//! [`StoredCall`]: a call that was sent to an agent; [`StoredAnswer`]: what a webhook was answered, for
//! when Twilio sends it again.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use crate::domain::account::AccountId;
use crate::domain::call::Call;
use crate::domain::handoff_id::HandoffId;
use crate::store::kv::Member;
use crate::store::kv::Order;
use crate::store::names;
use crate::store::record::Plain;
use crate::store::record::Stored;

/// A call that was sent to an agent.
pub type StoredCall = Stored<Call>;

impl Plain for Call {
    const KIND: u8 = 6;

    fn members(&self) -> Vec<Member> {
        let Some((account, project)) = &self.of else { return Vec::new() };
        // Among handoffs, which stand by their revision; where it stands does not change as the call goes on.
        let listed = names::handoff_listed(project, &self.id);
        let began = Member { set: Vec::new(), name: listed, order: Order::NewestFirst };
        let name = began.place(self.began_at).name;
        let of_caller = self.caller.as_ref().map(|mark| names::of_caller(account, mark));
        let sets = std::iter::once(names::calls_of(account)).chain(of_caller);
        sets.map(|set| Member { set, name: name.clone(), order: Order::ByName }).collect()
    }

    fn weight(&self) -> usize {
        let answers = self.answers.iter().map(|sent| sent.answer.len() + 160);
        512 + answers.sum::<usize>()
    }
}

/// What a webhook was answered.
pub type StoredAnswer = Stored<Answer>;

/// What is kept of an answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The answer: `TwiML`.
    pub twiml: String,
    /// The handoff whose content it tells, if it tells any: it is erased with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tells: Option<Told>,
}

/// Which handoff an answer tells of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Whose it is.
    pub account: AccountId,
    /// Its id.
    pub id: HandoffId,
    /// The fingerprint of the request that was answered.
    pub fingerprint: String,
}

// It may hold what a handoff does.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({} bytes)", self.twiml.len())
    }
}

impl Plain for Answer {
    const KIND: u8 = 7;

    fn members(&self) -> Vec<Member> {
        let member = |told: &Told| Member {
            set: names::answers_telling(&told.account, &told.id),
            name: told.fingerprint.as_bytes().to_vec(),
            order: Order::ByName,
        };
        self.tells.iter().map(member).collect()
    }

    fn weight(&self) -> usize {
        512 + self.twiml.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::store::record::Record;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn damaged_bytes_never_panic(bytes: Vec<u8>) {
            let _ = StoredCall::decode(bytes.clone().into(), 1, Timestamp::NEVER);
            let _ = StoredAnswer::decode(bytes.into(), 1, Timestamp::NEVER);
        }
    }

    #[test]
    fn they_read_back() {
        let id = "CA0123456789abcdef0123456789abcdef".parse().unwrap();
        let connector = "conn_00000000000000000001".parse().unwrap();
        let call = Call::new(connector, id, "AC1").sent("f", "<a/>", Timestamp::from_micros(7));
        let plain = StoredCall::new(call.clone(), Timestamp::NEVER).encode().unwrap();
        let read = StoredCall::decode(plain.into(), 3, Timestamp::from_micros(9)).unwrap();
        assert_eq!((read.revision(), read.expires_at().micros(), read.record), (3, 9, call));
        let answer = Answer { twiml: "<Response/>".to_owned(), tells: None };
        let plain = StoredAnswer::new(answer.clone(), Timestamp::NEVER).encode().unwrap();
        let read = StoredAnswer::decode(plain.into(), 3, Timestamp::NEVER).unwrap();
        assert_eq!(read.record, answer);
    }
}
