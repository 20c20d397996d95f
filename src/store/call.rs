//! [`StoredCall`]: a call that was sent to an agent; [`StoredAnswer`]: what a webhook was answered, for
//! when Twilio sends it again.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use crate::domain::account::AccountId;
use crate::domain::call::Call;
use crate::domain::clock::Timestamp;
use crate::domain::handoff_id::HandoffId;
use crate::store::kv::Member;
use crate::store::kv::Order;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::record::Record;
use crate::store::record::join;
use crate::store::record::split;

/// A call with when it is forgotten and its revision.
#[derive(Debug)]
pub struct StoredCall {
    /// What is kept.
    pub record: Call,
    expires_at: Timestamp,
    revision: u64,
}

impl StoredCall {
    /// A call about to be kept until `expires_at`.
    pub fn new(record: Call, expires_at: Timestamp) -> Self {
        Self { record, expires_at, revision: 0 }
    }
}

impl Record for StoredCall {
    const KIND: u8 = 6;

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        join(&self.record, b"")
    }

    fn decode(plain: Bytes, revision: u64, expires_at: Timestamp) -> Result<Self, StoreError> {
        let (record, _) = split(&plain)?;
        Ok(Self { revision, ..Self::new(record, expires_at) })
    }

    fn stamp(&mut self, revision: u64) {
        self.revision = revision;
    }

    fn members(&self) -> Vec<Member> {
        Vec::new()
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn weight(&self) -> usize {
        let answers = self.record.answers.iter().map(|sent| sent.answer.len() + 160);
        512 + answers.sum::<usize>()
    }
}

/// What a webhook was answered.
#[derive(Debug)]
pub struct StoredAnswer {
    /// What is kept.
    pub record: Answer,
    expires_at: Timestamp,
    revision: u64,
}

/// What is kept of it.
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

impl StoredAnswer {
    /// An answer about to be kept until `expires_at`.
    pub fn new(record: Answer, expires_at: Timestamp) -> Self {
        Self { record, expires_at, revision: 0 }
    }
}

impl Record for StoredAnswer {
    const KIND: u8 = 7;

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        join(&self.record, b"")
    }

    fn decode(plain: Bytes, revision: u64, expires_at: Timestamp) -> Result<Self, StoreError> {
        let (record, _) = split(&plain)?;
        Ok(Self { revision, ..Self::new(record, expires_at) })
    }

    fn stamp(&mut self, revision: u64) {
        self.revision = revision;
    }

    fn members(&self) -> Vec<Member> {
        let member = |told: &Told| Member {
            set: names::answers_telling(&told.account, &told.id),
            name: told.fingerprint.as_bytes().to_vec(),
            order: Order::ByName,
        };
        self.record.tells.iter().map(member).collect()
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn weight(&self) -> usize {
        512 + self.record.twiml.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        assert_eq!((read.record, read.revision, read.expires_at.micros()), (call, 3, 9));
        let answer = Answer { twiml: "<Response/>".to_owned(), tells: None };
        let plain = StoredAnswer::new(answer.clone(), Timestamp::NEVER).encode().unwrap();
        let read = StoredAnswer::decode(plain.into(), 3, Timestamp::NEVER).unwrap();
        assert_eq!(read.record, answer);
    }
}
