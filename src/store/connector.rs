//! [`StoredConnector`]: a connector with what its links verify, made once; [`StoredName`]: which
//! connector has a name.

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::connector::Connector;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::link::Link;
use crate::domain::connector::link::Pending;
use crate::domain::connector::link::State;
use crate::store::kv::Member;
use crate::store::kv::Order;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::record::Plain;
use crate::store::record::Record;
use crate::store::record::Stored;
use crate::store::record::join;
use crate::store::record::split;
use crate::twilio::secrets::AccountSecrets;

/// A connector with its revision.
#[derive(Debug)]
pub struct StoredConnector {
    /// What is kept.
    pub record: Connector,
    /// The accounts that may sign for it: the link's first.
    pub signers: Vec<Signer>,
    revision: u64,
}

/// A linked account that may sign.
#[derive(Debug)]
pub struct Signer {
    /// Its secrets.
    pub secrets: AccountSecrets,
    /// Since when it is linked, in microseconds since the epoch.
    pub since: u64,
    /// Of a link that was removed: until when, in microseconds since the epoch.
    pub until: Option<u64>,
}

impl StoredConnector {
    /// A connector about to be kept.
    pub fn new(record: Connector) -> Self {
        let signer = |link: &Link, until: Option<u64>| {
            // With when it was linked: there may be several of one account.
            let whence = if until.is_some() {
                let since = Timestamp::from_micros(link.linked_at);
                format!(" of the link of {since} that was removed")
            } else {
                " of the link".to_owned()
            };
            let mut secrets = AccountSecrets::new(link.account_sid.clone(), whence);
            let given = &link.secrets;
            for token in given.auth_token.iter().chain(&given.secondary_auth_token) {
                secrets.add_token(token.expose());
            }
            for key in &given.shared_keys {
                secrets.add_shared_key(&key.id, key.algorithm, key.secret.expose());
            }
            Signer { secrets, since: link.linked_at, until }
        };
        let linked = record.link.iter().map(|link| signer(link, None));
        let former = record.former.iter();
        let former = former.map(|former| signer(&former.link, Some(former.until)));
        let signers = linked.chain(former).collect();
        Self { record, signers, revision: 0 }
    }

    /// Those that may sign at `now`.
    pub fn signers(&self, now: Timestamp) -> impl Iterator<Item = &Signer> {
        let is_good = move |until: u64| until > now.micros();
        self.signers.iter().filter(move |signer| signer.until.is_none_or(is_good))
    }
}

impl Record for StoredConnector {
    const KIND: u8 = 4;

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        join(&self.record, b"")
    }

    fn decode(plain: Bytes, revision: u64, _: Timestamp) -> Result<Self, StoreError> {
        let (record, _) = split(&plain)?;
        Ok(Self { revision, ..Self::new(record) })
    }

    fn stamp(&mut self, revision: u64) {
        self.revision = revision;
    }

    fn members(&self) -> Vec<Member> {
        let of = [names::connectors_of(Some(&self.record.account)), names::connectors_of(None)];
        let is_unconfirmed = |pending: &&Pending| matches!(pending.state, State::Unverified(_));
        let pending = self.record.pending.as_ref().filter(is_unconfirmed);
        let unconfirmed = pending.map(|_| names::unconfirmed());
        let linked =
            self.record.link.as_ref().map(|link| names::connectors_linked(&link.account_sid));
        let name = self.record.id.as_str().as_bytes();
        let member = |set| Member { set, name: name.to_vec(), order: Order::ByName };
        of.into_iter().chain(unconfirmed).chain(linked).map(member).collect()
    }

    fn expires_at(&self) -> Timestamp {
        Timestamp::NEVER
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn weight(&self) -> usize {
        // The settings are the one part that may be large.
        let settings = serde_json::to_string(&self.record.settings).map_or(0, |text| text.len());
        4096 + 2 * settings + 2048 * (1 + self.record.former.len())
    }
}

/// Which connector has a name in an environment of a project.
pub type StoredName = Stored<Named>;

/// What is kept of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Named {
    /// The connector's id.
    pub id: ConnectorId,
}

impl Plain for Named {
    const KIND: u8 = 5;

    fn members(&self) -> Vec<Member> {
        Vec::new()
    }

    fn weight(&self) -> usize {
        256
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::connector::link::FORMER_LIFE;

    const LINK: &str = r#"{"account_sid":"AC0123456789abcdef0123456789abcdef","secrets":{"auth_token":"t"},"region":"us1","linked_at":1}"#;

    fn connector(rest: &str) -> StoredConnector {
        let text = format!(
            r#"{{"id":"conn_00000000000000000001","account":"acme","project":"line","client_env":"live","settings":{{"name":"a"}},"created_at":1,"tokens":[],{rest}}}"#
        );
        StoredConnector::new(serde_json::from_str(&text).unwrap())
    }

    fn pending(state: &str) -> StoredConnector {
        connector(&format!(r#""pending":{{"link":{LINK},"state":{state}}}"#))
    }

    #[test]
    fn only_a_confirmed_link_signs_and_an_unconfirmed_one_is_listed() {
        let linked = connector(&format!(r#""link":{LINK}"#));
        assert_eq!((linked.signers.len(), linked.members().len()), (1, 3));
        let unverified = pending(r#"{"unverified":"x"}"#);
        assert_eq!((unverified.signers.len(), unverified.members().len()), (0, 3));
        let refused = pending(r#"{"refused":"x"}"#);
        assert_eq!((refused.signers.len(), refused.members().len()), (0, 2));
    }

    #[test]
    fn a_link_that_was_removed_signs_for_a_day() {
        let mut record = connector(&format!(r#""link":{LINK}"#)).record;
        let now = Timestamp::from_micros(7);
        record.retire_link(now);
        let stored = StoredConnector::new(record);
        assert_eq!(stored.signers(now).count(), 1);
        assert_eq!(stored.signers(now.plus(FORMER_LIFE)).count(), 0);
    }

    #[test]
    fn it_reads_back() {
        let kept = connector(&format!(r#""link":{LINK}"#));
        let plain = kept.encode().unwrap();
        let read = StoredConnector::decode(plain.into(), 7, Timestamp::NEVER).unwrap();
        assert_eq!((read.revision(), read.record.link), (7, kept.record.link));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn damaged_bytes_never_panic(bytes: Vec<u8>) {
            let _ = StoredConnector::decode(bytes.clone().into(), 1, Timestamp::NEVER);
            let _ = StoredName::decode(bytes.into(), 1, Timestamp::NEVER);
        }
    }
}
