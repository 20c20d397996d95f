//! [`FlexDoor`]: Flex users, by the token of their session. It is encrypted, so Twilio is asked whose it
//! is; the answer is remembered by the token's hash.
//!
//! The caller says of which Twilio account the token is, and that account must be linked to a connector:
//! its link's credentials ask, and its connectors' projects are what is open. Whether they still are is
//! looked up on each request, so an unlinked account is out at once.

mod memory;
mod user;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use memchr::memchr_iter;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::auth::flex::memory::Known;
use crate::auth::flex::memory::Memory;
use crate::auth::flex::memory::Opened;
use crate::auth::flex::memory::Verdict;
use crate::auth::flex::user::principal;
use crate::domain::account_sid::AccountSid;
use crate::domain::clock::Clock;
use crate::domain::connector::ConnectorId;
use crate::domain::flex_user::FlexUser;
use crate::domain::flex_user::Line;
use crate::domain::principal::Principal;
use crate::store::connector::StoredConnector;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::record::Record;
use crate::store::records::Records;
use crate::telemetry::logging::Seldom;
use crate::twilio::iam::Iam;
use crate::twilio::iam::IamError;
use crate::twilio::iam::TokenOwner;

/// How long an answer of Twilio's is believed without asking again.
pub const FRESH: Duration = Duration::from_secs(60);
/// How long it is believed while Twilio cannot be asked.
pub const STALE: Duration = Duration::from_secs(600);
/// How long a refusal is believed.
pub const REFUSED: Duration = Duration::from_secs(5);
// How long it is believed that Twilio cannot be asked: those who came while it was asked in vain do not
// ask one after the other.
const UNREACHED: Duration = Duration::from_secs(1);
// The same for whoever is known, and goes on meanwhile.
const ASKED_AGAIN: Duration = Duration::from_secs(5);
// What a question may take, with whichever of an account's links it is asked.
const ANSWER: Duration = Duration::from_secs(2);
// Questions about tokens of one account that nobody knows.
const QUESTIONS_A_SECOND: usize = 100;
// Lines of the log on that.
const TOLD_A_SECOND: usize = 1;
// Longer than any that was seen: Twilio's own tools cut them at 3900 characters into cookies.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
// Questions at once, of tokens that nobody knows, and of those that are known. A flood of the first does
// not keep the second from being confirmed.
const ASKING: usize = 32;
// `AC` and 32 hex digits.
const SID_BYTES: usize = 34;
// Connectors that one Twilio account is linked to, as far as they are looked at.
const MAX_LINKED: usize = 64;

/// Opens to Flex users.
#[derive(Debug)]
pub struct FlexDoor {
    connectors: Arc<Records<StoredConnector>>,
    iam: Iam,
    roles: Vec<String>,
    clock: Clock,
    memory: Memory,
    asking: Semaphore,
    confirming: Semaphore,
    told: Seldom,
    // By account; only linked ones are asked about.
    questions: Mutex<HashMap<AccountSid, Seldom>>,
}

/// A token, and what is known of it.
pub struct Sought<'t> {
    account_sid: &'t str,
    token: &'t str,
    key: memory::Key,
    known: Option<Arc<Known>>,
    is_confirmed: bool,
}

// It holds the token.
impl fmt::Debug for Sought<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sought({})", self.account_sid)
    }
}

impl Sought<'_> {
    /// Whether Twilio has confirmed it before; else whoever presents it may have made it up.
    pub fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }
}

/// Why a Flex user's token opens nothing.
#[derive(Debug, Error)]
pub enum FlexRefused {
    /// It does not say of which Twilio account it is.
    #[error("no X-Twilio-Account-Sid, or not one")]
    NoAccount,
    /// Twilio does not know it.
    #[error("Twilio does not know the token")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// No connector is linked to the account.
    #[error("no connector is linked to this Twilio account")]
    NotLinked,
    /// The user has none of the roles that are let in.
    #[error("none of the user's roles is let in")]
    Role,
    /// Twilio cannot say whose it is now.
    #[error("Twilio's IAM cannot be asked: {0}")]
    Unreached(String),
    /// The account's connectors could not be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a text has the shape of a Flex user's token: JWE in its compact form, five parts, of which the
/// second may be empty. What stands in them Twilio tells.
pub fn is_token(text: &str) -> bool {
    let mut dots = memchr_iter(b'.', text.as_bytes());
    let first = [dots.next(), dots.next(), dots.next(), dots.next()];
    let [Some(head), Some(key), Some(iv), Some(sealed)] = first else { return false };
    let is_whole = head > 0 && iv > key + 1 && sealed > iv + 1 && sealed + 1 < text.len();
    is_whole && dots.next().is_none()
}

/// Whether nothing but the parts' own alphabet and their dots stands in it.
fn is_base64url(token: &str) -> bool {
    token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

impl FlexDoor {
    /// A door for users with one of `roles`.
    pub fn new(
        connectors: Arc<Records<StoredConnector>>,
        iam: Iam,
        roles: Vec<String>,
        clock: Clock,
    ) -> Self {
        let (asking, confirming) = (Semaphore::new(ASKING), Semaphore::new(ASKING));
        let (memory, told) = (Memory::new(), Seldom::new(TOLD_A_SECOND, clock.clone()));
        let questions = Mutex::default();
        Self { connectors, iam, roles, clock, memory, asking, confirming, told, questions }
    }

    /// Looks for what is known of `token`, a token of the account that `account_sid` names.
    pub async fn seek<'t>(
        &self,
        account_sid: Option<&'t str>,
        token: &'t str,
    ) -> Result<Sought<'t>, FlexRefused> {
        let account_sid = account_sid.filter(|sid| sid.len() == SID_BYTES);
        let account_sid = account_sid.ok_or(FlexRefused::NoAccount)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(FlexRefused::Unknown);
        }
        let key = memory::key(account_sid, token);
        let (known, is_confirmed) = self.memory.find(&key).await;
        Ok(Sought { account_sid, token, key, known, is_confirmed })
    }

    /// Who presents a token. Of one that Twilio has not confirmed, it may have to be asked, for two seconds.
    pub async fn admit(&self, sought: Sought<'_>) -> Result<Arc<Principal>, FlexRefused> {
        let Sought { account_sid, token, key, known, .. } = sought;
        let now = self.clock.now();
        if let Some(opened) = known.as_ref().and_then(|known| known.opened(now))
            && self.is_unchanged(&opened).await?
        {
            return Ok(Arc::clone(&opened.principal));
        }
        // Boxed, for it is large and seldom.
        Box::pin(self.find_out(account_sid, token, key, known)).await
    }

    /// Who presents a token of which not enough is known.
    async fn find_out(
        &self,
        account_sid: &str,
        token: &str,
        key: memory::Key,
        known: Option<Arc<Known>>,
    ) -> Result<Arc<Principal>, FlexRefused> {
        let now = self.clock.now();
        let account: AccountSid = account_sid.parse().map_err(|_no_sid| FlexRefused::NoAccount)?;
        // Of an account that is not linked nothing is remembered.
        let known = match known {
            Some(known) => known,
            None if !is_base64url(token) => return Err(FlexRefused::Unknown),
            None if self.linked(&account).await?.is_empty() => return Err(FlexRefused::NotLinked),
            None => self.memory.make(key).await,
        };
        if let Some(verdict) = known.verdict().filter(|verdict| verdict.is_fresh(now)) {
            return self.by(verdict, &known, &account).await;
        }
        if let Some(Verdict::Good { owner, .. }) = known.verdict()
            && owner.is_over(now)
        {
            return Err(FlexRefused::Expired);
        }
        // One question, however many ask; whoever is known is not held up by it.
        let _turn = match (known.try_turn(), known.verdict()) {
            (Some(turn), _) => turn,
            (None, Some(Verdict::Good { owner, confirmed_at, .. }))
                if confirmed_at.plus(STALE) > now =>
            {
                return self.let_in(&owner, &known, &account).await;
            }
            (None, _) => known.turn().await,
        };
        if let Some(verdict) = known.verdict().filter(|verdict| verdict.is_fresh(self.clock.now()))
        {
            return self.by(verdict, &known, &account).await;
        }
        let verdict = self.ask(&account, token, known.verdict()).await?;
        known.decide(verdict.clone());
        if let Verdict::Good { .. } = verdict {
            self.memory.confirmed(key, &known).await;
        }
        self.by(verdict, &known, &account).await
    }

    /// Whether what let a user in still does: asked after a wait.
    pub async fn is_good(&self, user: &FlexUser) -> Result<bool, StoreError> {
        let linked = self.linked(&user.account_sid).await?;
        let lines: Vec<_> = linked.iter().map(|found| Line::of(&found.record)).collect();
        Ok(user.lines.iter().all(|line| lines.contains(line)))
    }

    /// What a verdict comes to.
    async fn by(
        &self,
        verdict: Verdict,
        known: &Known,
        account: &AccountSid,
    ) -> Result<Arc<Principal>, FlexRefused> {
        match verdict {
            Verdict::Refused { .. } => Err(FlexRefused::Unknown),
            Verdict::Unreached { why, .. } => Err(FlexRefused::Unreached(why)),
            Verdict::Good { owner, .. } => self.let_in(&owner, known, account).await,
        }
    }

    async fn let_in(
        &self,
        owner: &Arc<TokenOwner>,
        known: &Known,
        account: &AccountSid,
    ) -> Result<Arc<Principal>, FlexRefused> {
        if owner.is_over(self.clock.now()) {
            return Err(FlexRefused::Expired);
        }
        if !owner.roles.iter().any(|role| self.roles.contains(role)) {
            return Err(FlexRefused::Role);
        }
        self.opened(owner, known, account).await
    }

    /// The user as who they come in, as long as none of the connectors changes.
    async fn opened(
        &self,
        owner: &Arc<TokenOwner>,
        known: &Known,
        account: &AccountSid,
    ) -> Result<Arc<Principal>, FlexRefused> {
        let linked = self.linked(account).await?;
        if linked.is_empty() {
            return Err(FlexRefused::NotLinked);
        }
        let seen =
            linked.iter().map(|found| (names::connector(&found.record.id), found.revision()));
        let opened = Opened {
            principal: Arc::new(principal(owner, account, &linked)),
            seen: seen.collect::<Vec<_>>(),
        };
        let principal = Arc::clone(&opened.principal);
        known.open(owner, Arc::new(opened));
        Ok(principal)
    }

    async fn is_unchanged(&self, opened: &Opened) -> Result<bool, StoreError> {
        for (key, revision) in &opened.seen {
            let found = self.connectors.get(key).await?.live();
            if found.is_none_or(|found| found.revision() != *revision) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The connectors that are linked to an account, and confirmed.
    async fn linked(&self, account: &AccountSid) -> Result<Vec<Arc<StoredConnector>>, StoreError> {
        let set = names::connectors_linked(account);
        let mut linked = Vec::new();
        for name in self.connectors.members(set, None, MAX_LINKED).await? {
            let id = std::str::from_utf8(&name).ok().and_then(|id| id.parse::<ConnectorId>().ok());
            let Some(id) = id else { continue };
            let found = self.connectors.get(&names::connector(&id)).await?.live();
            let is_its = |found: &Arc<StoredConnector>| {
                found.record.link.as_ref().is_some_and(|link| link.account_sid == *account)
            };
            linked.extend(found.filter(is_its));
        }
        Ok(linked)
    }

    /// Asks Twilio, with the credentials of a link; where those are refused, with another's.
    async fn ask(
        &self,
        account: &AccountSid,
        token: &str,
        before: Option<Verdict>,
    ) -> Result<Verdict, FlexRefused> {
        let was_good = matches!(before, Some(Verdict::Good { .. }));
        let permits = if was_good { &self.confirming } else { &self.asking };
        // Not remembered: it says nothing of the token.
        let too_many = || FlexRefused::Unreached("too many questions at once".to_owned());
        if !was_good && !self.may_ask(account) {
            return Err(too_many());
        }
        let permit = permits.try_acquire();
        let outcome = match (permit, was_good) {
            (Ok(_permit), _) => match timeout(ANSWER, self.answer(account, token)).await {
                Ok(answer) => answer?,
                Err(_late) => Err(IamError::Unreached("no answer within two seconds".to_owned())),
            },
            (Err(_), true) => Err(IamError::Unreached("too many questions at once".to_owned())),
            (Err(_), false) => return Err(too_many()),
        };
        let now = self.clock.now();
        let why = match outcome {
            Ok(owner) => {
                let owner = Arc::new(owner);
                return Ok(Verdict::Good { owner, confirmed_at: now, ask_at: now.plus(FRESH) });
            }
            Err(IamError::Refused) => return Ok(Verdict::Refused { until: now.plus(REFUSED) }),
            Err(IamError::NotAsked) => return Err(FlexRefused::NotLinked),
            Err(why @ (IamError::Credentials(_) | IamError::Unreached(_))) => why.to_string(),
        };
        if self.told.may() {
            tracing::warn!(account_sid = %account, "Twilio cannot say whose a Flex token is: {why}");
        }
        let until = now.plus(if was_good { ASKED_AGAIN } else { UNREACHED });
        Ok(match before {
            Some(Verdict::Good { owner, confirmed_at, .. }) if confirmed_at.plus(STALE) > now => {
                Verdict::Good { owner, confirmed_at, ask_at: until.min(confirmed_at.plus(STALE)) }
            }
            _ => Verdict::Unreached { why, until },
        })
    }

    /// Whether Twilio may be asked about one more token of an account that nobody knows: strangers make up as
    /// many as they like, and Twilio counts the questions as the account's.
    fn may_ask(&self, account: &AccountSid) -> bool {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Seldom::new(QUESTIONS_A_SECOND, self.clock.clone());
        questions.entry(account.clone()).or_insert_with(new).may()
    }

    async fn answer(
        &self,
        account: &AccountSid,
        token: &str,
    ) -> Result<Result<TokenOwner, IamError>, FlexRefused> {
        let mut outcome = Err(IamError::NotAsked);
        for found in self.linked(account).await? {
            let Some(link) = &found.record.link else { continue };
            outcome = self.iam.validate(account, &link.secrets, token).await;
            if !matches!(outcome, Err(IamError::Credentials(_))) {
                break;
            }
        }
        Ok(outcome)
    }
}
