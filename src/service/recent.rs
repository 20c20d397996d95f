//! [`Recent`]: ids written in the last minutes, so that a miss can name the id that was meant: one
//! that differs in case, or by one character. Integrations lose hours to such ids.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::handoff::Heading;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Projects;

/// How long an id counts as recent.
const RECENT: Duration = Duration::from_secs(600);
// A miss compares with each of its account's, some 10 ns an id.
const IDS_AN_ACCOUNT: usize = 1024;
const ACCOUNTS: usize = 256;

/// Ids written lately, by account.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<HashMap<AccountId, VecDeque<Written>>>);

#[derive(Debug)]
struct Written {
    at: Timestamp,
    id: HandoffId,
    project: ProjectId,
}

impl Recent {
    /// Notes that a handoff was written. An account beyond the limit is not noted until another has
    /// been quiet for [`RECENT`].
    pub(super) fn note(&self, heading: &Heading, now: Timestamp) {
        let mut accounts = self.accounts();
        let Heading { id, account, project, .. } = heading;
        if !accounts.contains_key(account) && accounts.len() >= ACCOUNTS {
            accounts.retain(|_, written| written.back().is_some_and(|last| is_recent(last, now)));
            if accounts.len() >= ACCOUNTS {
                return;
            }
        }
        let written = accounts.entry(account.clone()).or_default();
        if written.back().is_some_and(|last| last.id == *id) {
            written.pop_back();
        }
        if written.len() >= IDS_AN_ACCOUNT {
            written.pop_front();
        }
        written.push_back(Written { at: now, id: id.clone(), project: project.clone() });
    }

    /// Forgets an id that was erased.
    pub(super) fn forget(&self, account: &AccountId, id: &HandoffId) {
        if let Some(written) = self.accounts().get_mut(account) {
            written.retain(|written| written.id != *id);
        }
    }

    /// An id near `id`, of `account` and one of `projects`; the latest, if there are several.
    pub(super) fn near(
        &self,
        account: &AccountId,
        projects: &Projects,
        id: &HandoffId,
        now: Timestamp,
    ) -> Option<HandoffId> {
        let accounts = self.accounts();
        let written = accounts.get(account)?.iter().rev();
        let recent = written.take_while(|written| is_recent(written, now));
        let mut near = recent.filter(|written| is_near(written.id.as_str(), id.as_str()));
        near.find(|written| projects.include(&written.project)).map(|written| written.id.clone())
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<AccountId, VecDeque<Written>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(written: &Written, now: Timestamp) -> bool {
    written.at.plus(RECENT) > now
}

/// Whether two ids differ in case alone, or by one character that is other, missing or too many.
fn is_near(a: &str, b: &str) -> bool {
    if a == b || a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let same = |(a, b): &(u8, u8)| a == b;
    let prefix = a.bytes().zip(b.bytes()).take_while(same).count();
    let suffix = a.bytes().rev().zip(b.bytes().rev()).take_while(same).count();
    prefix + suffix + 1 >= a.len().max(b.len()) || a.eq_ignore_ascii_case(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::handoff::Status;

    #[test]
    fn case_or_one_character_is_near_and_two_are_not() {
        for near in ["ca12", "Ca12", "CA1", "CA123", "CB12", "A12", "xCA12", "CA122"] {
            assert!(is_near("CA12", near) && is_near(near, "CA12"), "{near}");
        }
        for far in ["CA12", "CA1234", "CB13", "C2", "AC12", "xyz"] {
            assert!(!is_near("CA12", far) && !is_near(far, "CA12"), "{far}");
        }
    }

    fn heading(account: &str, project: &str, id: &str) -> Heading {
        Heading {
            id: id.parse().unwrap(),
            account: account.parse().unwrap(),
            project: project.parse().unwrap(),
            shared_id: None,
            status: Status::Ready,
            ttl_seconds: 60,
            connector: None,
            client_env: None,
            left_over: false,
            held_seconds: None,
            caller: None,
        }
    }

    #[test]
    fn only_the_same_account_the_same_projects_and_the_last_minutes_are_told() {
        let recent = Recent::default();
        let now = Timestamp::from_micros(1_000_000_000);
        recent.note(&heading("acme", "p", "CA12"), now);
        let of = |account: &str, projects, now| {
            let (account, id) = (account.parse().unwrap(), "CA13".parse().unwrap());
            recent.near(&account, &projects, &id, now).map(|id| id.to_string())
        };
        let q = || Projects::Only(vec!["q".parse().unwrap()]);
        assert_eq!(of("acme", Projects::All, now).as_deref(), Some("CA12"));
        assert_eq!(of("acme", q(), now), None);
        assert_eq!(of("other", Projects::All, now), None);
        assert_eq!(of("acme", Projects::All, now.plus(RECENT)), None);
        recent.forget(&"acme".parse().unwrap(), &"CA12".parse().unwrap());
        assert_eq!(of("acme", Projects::All, now), None);
    }

    #[test]
    fn it_stays_bounded() {
        let recent = Recent::default();
        let now = Timestamp::from_micros(0);
        for n in 0..=IDS_AN_ACCOUNT {
            recent.note(&heading("acme", "p", &format!("a{n}")), now);
        }
        for n in 0..=ACCOUNTS {
            recent.note(&heading(&format!("acc{n}"), "p", "a"), now);
        }
        let accounts = recent.accounts();
        assert_eq!(accounts.len(), ACCOUNTS);
        assert!(accounts.values().all(|written| written.len() <= IDS_AN_ACCOUNT));
    }
}
