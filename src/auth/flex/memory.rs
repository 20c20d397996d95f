//! [`Memory`]: what Twilio said of tokens, by their hashes.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use aws_lc_rs::digest;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use tokio::sync::MutexGuard;

use crate::domain::clock::Timestamp;
use crate::domain::principal::Principal;
use crate::twilio::iam::TokenOwner;

// Agents at work at once, with room for the tokens that theirs replaced.
const TOKENS: u64 = 10_000;
// Tokens that Twilio has not confirmed.
const OTHERS: u64 = 4096;
// Longer than any verdict holds; a floor's worth of tokens is forgotten overnight.
const IDLE: Duration = Duration::from_secs(3600);

/// The hash of a token and its account.
pub(super) type Key = [u8; 32];

/// What was said of tokens. Of each kind those that were asked for longest ago go first, and what strangers
/// make up does not push out whoever Twilio knows.
#[derive(Debug)]
pub(super) struct Memory {
    confirmed: Cache<Key, Arc<Known>>,
    others: Cache<Key, Arc<Known>>,
}

/// What is known of a token.
#[derive(Debug, Default)]
pub(super) struct Known {
    // std's Mutex: nothing awaits while it is held.
    state: Mutex<State>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    verdict: Option<Verdict>,
    opened: Option<Arc<Opened>>,
}

/// What Twilio said.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// Whose it is.
    Good {
        owner: Arc<TokenOwner>,
        confirmed_at: Timestamp,
        /// From when on it is asked again.
        ask_at: Timestamp,
    },
    /// That it is nobody's.
    Refused { until: Timestamp },
    /// Nothing.
    Unreached { why: String, until: Timestamp },
}

/// As who the owner of a token came in, and the revisions of the connectors that let them.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) principal: Arc<Principal>,
    pub(super) seen: Vec<(Vec<u8>, u64)>,
}

/// What a token is known by.
pub(super) fn key(account_sid: &str, token: &str) -> Key {
    let mut context = digest::Context::new(&digest::SHA256);
    // An account's SID is of one length.
    context.update(account_sid.as_bytes());
    context.update(token.as_bytes());
    let hash = context.finish();
    hash.as_ref().first_chunk().copied().unwrap_or_default()
}

impl Memory {
    pub(super) fn new() -> Self {
        let cache = |most| {
            let builder = Cache::builder().max_capacity(most).time_to_idle(IDLE);
            builder.eviction_policy(EvictionPolicy::lru()).build()
        };
        Self { confirmed: cache(TOKENS), others: cache(OTHERS) }
    }

    /// What is known of a token, and whether Twilio has confirmed it.
    pub(super) async fn find(&self, key: &Key) -> (Option<Arc<Known>>, bool) {
        match self.confirmed.get(key).await {
            Some(known) => (Some(known), true),
            None => (self.others.get(key).await, false),
        }
    }

    pub(super) async fn make(&self, key: Key) -> Arc<Known> {
        self.others.get_with(key, async { Arc::default() }).await
    }

    /// Twilio knows the token.
    pub(super) async fn confirmed(&self, key: Key, known: &Arc<Known>) {
        self.confirmed.insert(key, Arc::clone(known)).await;
        self.others.invalidate(&key).await;
    }
}

impl Known {
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.state().verdict.clone()
    }

    /// As who its owner comes in, if that is known and nothing need be asked.
    pub(super) fn opened(&self, now: Timestamp) -> Option<Arc<Opened>> {
        let state = self.state();
        let Some(Verdict::Good { owner, ask_at, .. }) = &state.verdict else { return None };
        let is_good = *ask_at > now && !owner.is_over(now);
        state.opened.clone().filter(|_| is_good)
    }

    /// What was opened by another verdict is no more.
    pub(super) fn decide(&self, verdict: Verdict) {
        let mut state = self.state();
        state.opened = None;
        state.verdict = Some(verdict);
    }

    /// As who `owner` comes in, unless something else was said meanwhile.
    pub(super) fn open(&self, owner: &Arc<TokenOwner>, opened: Arc<Opened>) {
        let mut state = self.state();
        let is_said = |verdict: &Verdict| match verdict {
            Verdict::Good { owner: said, .. } => Arc::ptr_eq(said, owner),
            Verdict::Refused { .. } | Verdict::Unreached { .. } => false,
        };
        if state.verdict.as_ref().is_some_and(is_said) {
            state.opened = Some(opened);
        }
    }

    /// One's turn to ask, if it is nobody else's.
    pub(super) fn try_turn(&self) -> Option<MutexGuard<'_, ()>> {
        self.asking.try_lock().ok()
    }

    /// One's turn to ask.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.asking.lock().await
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdict {
    /// Whether it holds without asking.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        let (Self::Good { ask_at: until, .. }
        | Self::Refused { until }
        | Self::Unreached { until, .. }) = self;
        *until > now
    }
}
