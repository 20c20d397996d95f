//! [`Connectors`]: making connectors, changing them, their tokens, the Twilio account each is linked to,
//! and what is wrong with one that does not work.

mod change;
mod confirm;
mod create;
mod link;
mod list;
mod tokens;
mod under_way;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Mutex;

use crate::auth::connector_token::ConnectorTokens;
use crate::auth::twilio_request::TwilioDoor;
use crate::domain::clock::Clock;
use crate::domain::connector::Connector;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::Token;
use crate::domain::connector::TokenId;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::connectors::under_way::Turns;
use crate::service::connectors::under_way::UnderWay;
use crate::service::error::ConnectorError;
use crate::service::error::ServiceError;
use crate::service::require;
use crate::store::connector::StoredConnector;
use crate::store::connector::StoredName;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::names;
use crate::store::record::Record;
use crate::store::record::StoredKey;
use crate::store::records::Records;
use crate::store::records::Written;
use crate::twilio::rest::Rest;

pub use crate::service::connectors::create::New;
pub use crate::service::connectors::link::Asked;
pub use crate::service::connectors::link::Linked;
pub use crate::service::connectors::link::Wanted;
pub use crate::service::connectors::list::Filter;
pub use crate::service::connectors::list::Page;
pub use crate::service::connectors::tokens::DEFAULT_GRACE;
pub use crate::service::connectors::tokens::LONGEST_GRACE;
pub use crate::service::connectors::verify::Point;
pub use crate::service::connectors::verify::Report;

// Each lost race means that somebody else's change landed.
const RACES: usize = 16;
// Questions to Twilio at once for one account of Baton's.
const ASKED_FOR_ACCOUNT: usize = 6;

/// Use cases on connectors.
#[derive(Debug)]
pub struct Connectors {
    records: Arc<Records<StoredConnector>>,
    names: Arc<Records<StoredName>>,
    keys: Arc<Records<StoredKey>>,
    tokens: Arc<ConnectorTokens>,
    twilio: Arc<TwilioDoor>,
    rest: Rest,
    clock: Clock,
    reached: Reached,
    // Held while a name is given: of two who ask for one at once, one gets it.
    naming: Mutex<()>,
    // What Twilio is being asked at this moment.
    under_way: UnderWay,
}

/// How Twilio reaches this server.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    /// It was said where (`BATON_PUBLIC_URL`).
    pub is_set: bool,
    /// Nobody but this machine reaches it.
    pub is_local: bool,
}

/// A connector with a token that was just made: the one time its text is there.
#[derive(Debug)]
pub struct Issued {
    /// The connector.
    pub stored: Arc<StoredConnector>,
    /// Which token.
    pub token: Token,
    /// Its text.
    pub text: SecretString,
}

/// What the use cases stand on.
#[derive(Debug)]
pub struct Parts {
    /// The connectors.
    pub records: Arc<Records<StoredConnector>>,
    /// Their names.
    pub names: Arc<Records<StoredName>>,
    /// The keys that may have asked for a link.
    pub keys: Arc<Records<StoredKey>>,
    /// What makes tokens.
    pub tokens: Arc<ConnectorTokens>,
    /// What checks signatures.
    pub twilio: Arc<TwilioDoor>,
    /// What asks Twilio.
    pub rest: Rest,
    /// What time it is.
    pub clock: Clock,
    /// How Twilio reaches this server.
    pub reached: Reached,
}

impl Connectors {
    /// Use cases over `parts`.
    pub fn new(parts: Parts) -> Self {
        let Parts { records, names, keys, tokens, twilio, rest, clock, reached } = parts;
        let (naming, under_way) = (Mutex::default(), UnderWay::default());
        Self { records, names, keys, tokens, twilio, rest, clock, reached, naming, under_way }
    }

    /// The connector of an id, for whoever manages connectors of its project.
    pub async fn get(
        &self,
        who: &Principal,
        id: &ConnectorId,
    ) -> Result<Arc<StoredConnector>, ServiceError> {
        require(who, Scope::ConnectorManage, None)?;
        self.reached_by(who, id).await
    }

    /// The connector of an id, if it is of an account and a project that `who` reaches; another's is as
    /// if it were not there.
    async fn reached_by(
        &self,
        who: &Principal,
        id: &ConnectorId,
    ) -> Result<Arc<StoredConnector>, ServiceError> {
        let found = self.records.get(&names::connector(id)).await?.live();
        let found = found.ok_or(ConnectorError::NotFound)?;
        let Connector { account, project, .. } = &found.record;
        if who.account(Some(account)).is_none() || !who.projects.include(project) {
            return Err(ConnectorError::NotFound.into());
        }
        Ok(found)
    }

    /// Leave to ask Twilio `what` about a connector: with a token, one question at a time; for an account,
    /// a few, however many connectors it has.
    fn turn(&self, who: &Principal, what: &str, about: &Connector) -> Result<Turns, ServiceError> {
        let mut turns = Vec::new();
        if who.acting.is_some() {
            turns.push(self.under_way.begin(format!("{what} {}", about.id), 1)?);
        }
        let of_account = format!("account {}", about.account);
        turns.push(self.under_way.begin(of_account, ASKED_FOR_ACCOUNT)?);
        Ok(turns)
    }

    /// Changes a connector, over whatever it is by then.
    async fn change(
        &self,
        id: &ConnectorId,
        mut change: impl FnMut(&mut Connector) -> Result<(), ServiceError>,
    ) -> Result<Arc<StoredConnector>, ServiceError> {
        let key = names::connector(id);
        for _ in 0..RACES {
            let there = self.records.load(&key).await?.live().ok_or(ConnectorError::NotFound)?;
            let mut record = there.record.clone();
            change(&mut record)?;
            let (put, expect) = (StoredConnector::new(record), Expect::Revision(there.revision()));
            match self.records.put(key.clone(), put, expect, Change::Content).await? {
                Written::Done(stored) => return Ok(stored),
                Written::Conflict => {}
            }
        }
        Err(ServiceError::Contended)
    }

    /// A token that begins now, for a year or as long as its maker has left.
    fn new_token(&self, who: &Principal) -> Result<Token, ServiceError> {
        const LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
        let now = self.clock.now();
        let end = now.plus(LIFE);
        let end = who.expires_at.map_or(end, |own| own.min(end));
        let id = TokenId::random().map_err(|_no_random| ServiceError::NoRandom)?;
        Ok(Token { id, issued_at: now.micros(), ends_at: end.micros(), replaced: false })
    }

    fn mint(&self, id: &ConnectorId, token: &Token) -> Result<SecretString, ServiceError> {
        self.tokens.mint(id, token).map_err(|why| ConnectorError::Unsigned(why).into())
    }
}

/// A connector's token grants reading and writing, so whoever makes one must hold both.
fn may_issue(who: &Principal) -> Result<(), ServiceError> {
    let lacking = |scope: &Scope| !who.may(*scope);
    let needed = [Scope::ConnectorManage, Scope::HandoffRead, Scope::HandoffWrite];
    match needed.into_iter().find(lacking) {
        Some(scope) => Err(ServiceError::MissingScope(scope)),
        None => Ok(()),
    }
}
