//! What everything is called in the store: keys of records, keys of index sets, and what sets list.
//!
//! A prefix tells kinds apart, a NUL parts that may be of any length; no id holds one, so no two
//! accounts and no two kinds ever meet.

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::account_sid::AccountSid;
use crate::domain::connector::Connector;
use crate::domain::connector::ConnectorId;
use crate::domain::handoff_id::HandoffId;
use crate::store::kv::newest_first;

/// The key of a handoff.
pub fn handoff(account: &AccountId, id: &HandoffId) -> Vec<u8> {
    joined(b"h\0", account, id)
}

/// The set of the handoffs that carry a shared id, newest first; it lists [`handoff_listed`].
pub fn handoffs_sharing(account: &AccountId, shared_id: &HandoffId) -> Vec<u8> {
    joined(b"hs\0", account, shared_id)
}

/// The set of an account's handoffs, newest first; it lists [`handoff_listed`].
pub fn handoffs_of(account: &AccountId) -> Vec<u8> {
    [b"hl\0", account.as_str().as_bytes()].concat()
}

/// As what sets list a handoff: with its project, so that whoever looks for those of one project need
/// not open the records of others.
pub fn handoff_listed(project: &ProjectId, id: &HandoffId) -> Vec<u8> {
    [project.as_str().as_bytes(), b"\0", id.as_str().as_bytes()].concat()
}

/// Revision, project and id of a [`handoff_listed`] in a set that lists the newest first.
pub fn read_listed(listed: &[u8]) -> Option<(u64, ProjectId, HandoffId)> {
    let (revision, name) = newest_first(listed)?;
    let (project, id) = read_handoff_listed(name)?;
    Some((revision, project, id))
}

/// Project and id of a [`handoff_listed`].
pub fn read_handoff_listed(name: &[u8]) -> Option<(ProjectId, HandoffId)> {
    let (project, id) = std::str::from_utf8(name).ok()?.split_once('\0')?;
    Some((project.parse().ok()?, id.parse().ok()?))
}

/// The key of a handoff's aliases.
pub fn aliases(account: &AccountId, id: &HandoffId) -> Vec<u8> {
    joined(b"a\0", account, id)
}

/// The set of an account's handoffs that have aliases; it lists [`handoff_listed`].
pub fn aliased_of(account: &AccountId) -> Vec<u8> {
    [b"ab\0", account.as_str().as_bytes()].concat()
}

/// The set of the handoffs that an alias names, one at most; it lists their ids.
pub fn handoffs_named(account: &AccountId, alias: &HandoffId) -> Vec<u8> {
    joined(b"al\0", account, alias)
}

/// The key of an API key.
pub fn api_key(id: &str) -> Vec<u8> {
    [b"k\0", id.as_bytes()].concat()
}

/// The set of an account's API keys; the empty account stands for all accounts.
pub fn api_keys_of(account: Option<&AccountId>) -> Vec<u8> {
    [b"ks\0", account.map_or("", AccountId::as_str).as_bytes()].concat()
}

/// The key of a connector.
pub fn connector(id: &ConnectorId) -> Vec<u8> {
    [b"c\0", id.as_str().as_bytes()].concat()
}

/// The set of an account's connectors; the empty account stands for all accounts. It lists ids.
pub fn connectors_of(account: Option<&AccountId>) -> Vec<u8> {
    [b"cl\0", account.map_or("", AccountId::as_str).as_bytes()].concat()
}

/// The set of the connectors whose link Twilio has yet to confirm. It lists ids.
pub fn unconfirmed() -> Vec<u8> {
    b"cu\0".to_vec()
}

/// The key of a call that was sent to a connector's agent.
pub fn call(connector: &ConnectorId, call: &HandoffId) -> Vec<u8> {
    [b"v\0", connector.as_str().as_bytes(), b"\0", call.as_str().as_bytes()].concat()
}

/// The set of an account's calls, newest first by when they began; it lists [`handoff_listed`].
pub fn calls_of(account: &AccountId) -> Vec<u8> {
    [b"vl\0", account.as_str().as_bytes()].concat()
}

/// The set of the handoffs and calls of a caller, by the mark of their number, newest first; it lists
/// [`handoff_listed`].
pub fn of_caller(account: &AccountId, mark: &str) -> Vec<u8> {
    [b"n\0", account.as_str().as_bytes(), b"\0", mark.as_bytes()].concat()
}

/// The key of what a webhook was answered, by the fingerprint of the request.
pub fn answer(fingerprint: &str) -> Vec<u8> {
    [b"w\0", fingerprint.as_bytes()].concat()
}

/// The set of the answers that tell what a handoff holds. It lists fingerprints.
pub fn answers_telling(account: &AccountId, id: &HandoffId) -> Vec<u8> {
    joined(b"wl\0", account, id)
}

/// The key of the journal of a handoff: beside the handoff's own, so that a write touches one place.
pub fn timeline(account: &AccountId, id: &HandoffId) -> Vec<u8> {
    [handoff(account, id).as_slice(), b"\0"].concat()
}

/// Whether a key is a journal's: it ends with a NUL, and a record's does not.
pub fn is_journal(key: &[u8]) -> bool {
    key.starts_with(b"h\0") && key.ends_with(b"\0")
}

/// The key of the task that a call came to be, by an id that finds its handoff.
pub fn task(account: &AccountId, id: &HandoffId) -> Vec<u8> {
    joined(b"tk\0", account, id)
}

/// The set of the ids that have a task which is not over. It lists [`task_listed`].
pub fn tasks_open() -> Vec<u8> {
    b"tl\0".to_vec()
}

/// The set of the ids that a task is tied to. It lists [`task_listed`].
pub fn tied_to(task_sid: &str) -> Vec<u8> {
    [b"tt\0", task_sid.as_bytes()].concat()
}

/// As what sets list a task.
pub fn task_listed(account: &AccountId, id: &HandoffId) -> Vec<u8> {
    joined(b"", account, id)
}

/// Account and id of a [`task_listed`].
pub fn read_task_listed(name: &[u8]) -> Option<(AccountId, HandoffId)> {
    let (account, id) = std::str::from_utf8(name).ok()?.split_once('\0')?;
    Some((account.parse().ok()?, id.parse().ok()?))
}

/// The key of a console session, by the hash of its secret.
pub fn session(hash: &[u8]) -> Vec<u8> {
    [b"cs\0", hash].concat()
}

/// Whether a set lists all that an account, or the whole store, has of something: it grows with the store.
pub fn is_wide(set: &[u8]) -> bool {
    [&b"hl\0"[..], b"vl\0", b"ab\0", b"tl\0"].iter().any(|wide| set.starts_with(wide))
}

/// The key of what says that a sealing key is in use, by that key's name.
pub fn ring_key(id: &str) -> Vec<u8> {
    [b"rk\0", id.as_bytes()].concat()
}

/// The set of the sealing keys in use. It lists their names.
pub fn ring_keys() -> Vec<u8> {
    b"rl\0".to_vec()
}

/// The set of the connectors that a Twilio account is linked to. It lists ids.
pub fn connectors_linked(account_sid: &AccountSid) -> Vec<u8> {
    [b"ca\0", account_sid.as_str().as_bytes()].concat()
}

/// The key that says which connector has a name in an environment of a project.
pub fn connector_named(of: &Connector) -> Vec<u8> {
    let parts = [
        of.account.as_str(),
        of.project.as_str(),
        of.client_env.as_str(),
        of.settings.name.as_str(),
    ];
    [b"cn\0", parts.join("\0").as_bytes()].concat()
}

fn joined(prefix: &[u8], account: &AccountId, id: &HandoffId) -> Vec<u8> {
    [prefix, account.as_str().as_bytes(), b"\0", id.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::kv::Member;
    use crate::store::kv::Order;

    #[test]
    fn keys_of_different_accounts_and_kinds_never_meet() {
        let account = |name: &str| name.parse::<AccountId>().unwrap();
        let id = |text: &str| text.parse::<HandoffId>().unwrap();
        assert_ne!(handoff(&account("a"), &id("bc")), handoff(&account("ab"), &id("c")));
        assert_ne!(handoff(&account("a"), &id("b")), aliases(&account("a"), &id("b")));
        assert_ne!(api_keys_of(Some(&account("a"))), api_keys_of(None));
    }

    #[test]
    fn what_is_listed_reads_back() {
        let (project, id) = ("p.1".parse().unwrap(), "CA1".parse().unwrap());
        let (set, name) = (Vec::new(), handoff_listed(&project, &id));
        let place = Member { set, name, order: Order::NewestFirst }.place(7);
        assert_eq!(read_listed(&place.name), Some((7, project, id)));
        assert_eq!(read_listed(b"short"), None);
        assert_eq!(read_listed(&[0; 20]), None);
    }
}
