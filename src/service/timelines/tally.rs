//! [`Tallies`]: how often who did what with one handoff.

use std::time::Duration;

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
use crate::domain::timeline::By;
use crate::domain::timeline::Door;
use crate::domain::timeline::Event;
use crate::domain::timeline::Target;
use crate::domain::timeline::Times;
use crate::domain::timeline::What;
use crate::service::timelines::gathered::EVERY;

// Of one handoff; many more would be somebody who makes up names.
const READERS: usize = 64;

/// Which handoff something was done with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose<'h> {
    pub(super) account: &'h AccountId,
    pub(super) id: &'h HandoffId,
    pub(super) project: Option<&'h ProjectId>,
    pub(super) client_env: Option<ClientEnv>,
    /// Until when it is there.
    pub(super) expires_at: Timestamp,
}

/// Who did it, if that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who<'p>(pub(super) Option<&'p Principal>);

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did<'d> {
    Read,
    Waited(Duration),
    Missed(&'static str, Option<Duration>),
    Refused(&'static str),
    Packed(&'d str),
}

/// How often who did what with one handoff.
#[derive(Clone, Debug)]
pub(super) struct Tallies {
    pub(super) account: AccountId,
    pub(super) id: HandoffId,
    pub(super) expires_at: Timestamp,
    project: Option<ProjectId>,
    client_env: Option<ClientEnv>,
    all: Vec<Tally>,
}

#[derive(Clone, Debug)]
struct Tally {
    kind: Kind,
    // As it stands in logs: it tells readers apart.
    name: String,
    by: Option<By>,
    first: Timestamp,
    last: Timestamp,
    count: u64,
    waited: Duration,
    written: u64,
    written_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Waited,
    Missed(&'static str),
    Refused(&'static str),
    Packed(String),
}

impl Kind {
    fn is_of(&self, did: Did<'_>) -> bool {
        match (self, did) {
            (Self::Read, Did::Read) | (Self::Waited, Did::Waited(_)) => true,
            (Self::Missed(own), Did::Missed(why, _)) => *own == why,
            (Self::Refused(own), Did::Refused(code)) => *own == code,
            (Self::Packed(own), Did::Packed(left_out)) => own == left_out,
            (
                Self::Read | Self::Waited | Self::Missed(_) | Self::Refused(_) | Self::Packed(_),
                _,
            ) => false,
        }
    }
}

impl From<Did<'_>> for Kind {
    fn from(did: Did<'_>) -> Self {
        match did {
            Did::Read => Self::Read,
            Did::Waited(_) => Self::Waited,
            Did::Missed(why, _) => Self::Missed(why),
            Did::Refused(code) => Self::Refused(code),
            Did::Packed(left_out) => Self::Packed(left_out.to_owned()),
        }
    }
}

impl Did<'_> {
    fn waited(self) -> Duration {
        match self {
            Self::Waited(waited) | Self::Missed(_, Some(waited)) => waited,
            Self::Read | Self::Missed(_, None) | Self::Refused(_) | Self::Packed(_) => {
                Duration::ZERO
            }
        }
    }
}

impl Tallies {
    /// None yet.
    pub(super) fn of(whose: &Whose<'_>) -> Self {
        Self {
            account: whose.account.clone(),
            id: whose.id.clone(),
            expires_at: whose.expires_at,
            project: whose.project.cloned(),
            client_env: whose.client_env,
            all: Vec::with_capacity(1),
        }
    }

    /// Whether they are of this handoff.
    pub(super) fn are_of(&self, whose: &Whose<'_>) -> bool {
        self.id == *whose.id && self.account == *whose.account
    }

    /// Those that are not written yet.
    pub(super) fn unwritten(&self) -> Self {
        let is_new = |tally: &&Tally| tally.written < tally.count;
        Self { all: self.all.iter().filter(is_new).cloned().collect(), ..self.clone() }
    }

    /// When anything was counted last.
    pub(super) fn last(&self) -> Timestamp {
        let last = self.all.iter().map(|tally| tally.last).max();
        last.unwrap_or(Timestamp::from_micros(0))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether all of it is written.
    pub(super) fn is_written(&self) -> bool {
        self.all.iter().all(|tally| tally.written == tally.count)
    }

    /// Counts.
    pub(super) fn count(&mut self, whose: &Whose<'_>, who: Who<'_>, did: Did<'_>, at: Timestamp) {
        self.expires_at = whose.expires_at;
        let name = who.0.map_or("", |who| who.name.as_str());
        let own = |tally: &&mut Tally| tally.kind.is_of(did) && tally.name == name;
        if let Some(tally) = self.all.iter_mut().find(own) {
            tally.count += 1;
            tally.last = at;
            tally.waited = tally.waited.max(did.waited());
        } else if self.all.len() < READERS {
            self.all.push(Tally {
                kind: did.into(),
                name: name.to_owned(),
                by: who.0.map(by),
                first: at,
                last: at,
                count: 1,
                waited: did.waited(),
                written: 0,
                written_at: None,
            });
        }
    }

    /// Those that are due at `now`; all that are not written, at the end.
    pub(super) fn take(&mut self, now: Timestamp, is_end: bool) -> Self {
        let is_due = |tally: &&mut Tally| {
            let is_first = tally.written_at.is_none_or(|at| at.plus(EVERY) <= now);
            tally.written < tally.count && (is_end || is_first)
        };
        let mut due = Vec::new();
        for tally in self.all.iter_mut().filter(is_due) {
            tally.written = tally.count;
            tally.written_at = Some(now);
            due.push(tally.clone());
        }
        let Self { account, id, expires_at, project, client_env, .. } = self;
        Self {
            account: account.clone(),
            id: id.clone(),
            expires_at: *expires_at,
            project: project.clone(),
            client_env: *client_env,
            all: due,
        }
    }

    /// None of it is written.
    pub(super) fn not_written(&mut self) {
        for tally in &mut self.all {
            tally.written = 0;
            tally.written_at = None;
        }
    }

    /// As events, each with what it is called: of one reader, from one beginning, there is one.
    pub(super) fn events(&self) -> Vec<(Event, [String; 4])> {
        let event = |tally: &Tally| {
            let event = Event {
                at: tally.first,
                project: self.project.clone(),
                client_env: self.client_env,
                what: tally.what(),
            };
            let (kind, of) = match &tally.kind {
                Kind::Read => ("read", ""),
                Kind::Waited => ("waited", ""),
                Kind::Missed(why) => ("missed", *why),
                Kind::Refused(code) => ("refused", *code),
                Kind::Packed(left_out) => ("packed", left_out.as_str()),
            };
            let first = tally.first.micros().to_string();
            (event, [kind.to_owned(), of.to_owned(), tally.name.clone(), first])
        };
        self.all.iter().map(event).collect()
    }
}

impl Tally {
    fn what(&self) -> What {
        let times = Times { count: self.count, last_at: self.last };
        let nobody = || By { door: Door::Key, by: String::new() };
        let by = self.by.clone();
        let waited_ms = u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX);
        match &self.kind {
            Kind::Read => What::Read { by: by.unwrap_or_else(nobody), times },
            Kind::Waited => What::Waited { by: by.unwrap_or_else(nobody), times, waited_ms },
            Kind::Missed(reason) => What::Missed {
                by: by.unwrap_or_else(nobody),
                reason: (*reason).to_owned(),
                times,
                waited_ms: (waited_ms > 0).then_some(waited_ms),
            },
            Kind::Refused(code) => What::Refused { by, reason: (*code).to_owned(), times },
            Kind::Packed(left_out) => {
                let left_out = left_out.split(',').map(str::to_owned).collect();
                What::Packed { into: Target::Studio, left_out, times }
            }
        }
    }
}

/// Who somebody is, as timelines tell it.
pub(super) fn by(who: &Principal) -> By {
    let (door, by) = match &who.credential {
        Credential::Key => (Door::Key, who.name.clone()),
        Credential::TwilioSignature | Credential::LinkedSignature { .. } => {
            // Through which connector, other events tell.
            let account = who.name.rsplit(':').next().unwrap_or_default();
            (Door::Twilio, account.to_owned())
        }
        Credential::ConnectorToken(_) => (Door::ConnectorToken, who.name.clone()),
        Credential::CallToken => (Door::CallToken, who.name.clone()),
        Credential::ViewLink(_) => (Door::ViewLink, who.name.clone()),
        Credential::FlexUser(user) => {
            let worker = user.worker.worker_sid.clone();
            (Door::FlexUser, worker.unwrap_or_else(|| who.name.clone()))
        }
    };
    By { door, by }
}
