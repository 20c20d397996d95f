//! [`Calls`]: a call on its way through a connector: to the agent, back from it, and to its end.
//!
//! A caller is on the line, so every answer is `TwiML` and comes in time: where the store fails or hangs,
//! the call goes to the agent and to a person all the same, with what is known in this process, and the
//! task says `handoff_status: "error"`. Nothing is waited for that a caller would hear.
//!
//! Twilio repeats what was not answered in time: a request that is sent again within a minute gets the
//! answer it got first. What makes it the same is what its signature covers, and its method;
//! `I-Twilio-Idempotency-Token` is not signed, so whoever repeats a request could change it. What a
//! queue, a stream or an end is answered is told by the request alone, so that need not be remembered.

mod back;
mod ended;
mod given;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::time::timeout;

use crate::auth::call_token;
use crate::auth::call_token::CallTokens;
use crate::domain::call::CALL_LIFE;
use crate::domain::call::Call;
use crate::domain::clock::Clock;
use crate::domain::connector::Connector;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::error::CallError;
use crate::service::error::ServiceError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::Patience;
use crate::service::require;
use crate::store::call::StoredAnswer;
use crate::store::call::StoredCall;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::kv::StoreError;
use crate::store::l1::Found;
use crate::store::names;
use crate::store::record::Record;
use crate::store::records::Records;
use crate::store::records::Written;
use crate::telemetry::metrics::CallOutcome;
use crate::twilio::routing::Visit;
use crate::twilio::routing::onward;
use crate::twilio::routing::to_agent::to_agent;
use crate::twilio::twiml;
use crate::twilio::webhook::Flow;
use crate::twilio::webhook::Webhook;

pub use crate::service::calls::back::WAIT;

// What one question to the store may take while a caller listens to nothing. Four of them, as a visit
// asks, are less than the request's own deadline.
const STORE_PATIENCE: Duration = Duration::from_millis(500);
// Twilio asks for one call at one time, and repeats itself once.
const RACES: usize = 8;

/// Use cases on calls.
#[derive(Debug)]
pub struct Calls {
    parts: Parts,
}

/// What they work with.
#[derive(Debug)]
pub struct Parts {
    /// The handoffs of calls.
    pub handoffs: Arc<Handoffs>,
    /// The calls there are.
    pub calls: Arc<Records<StoredCall>>,
    /// What webhooks were answered.
    pub answers: Arc<Records<StoredAnswer>>,
    /// What agents get with a call.
    pub tokens: CallTokens,
    /// Where Baton is, as Twilio reaches it.
    pub public_url: String,
    /// What time it is.
    pub clock: Clock,
    /// What became of calls.
    pub outcomes: Family<CallOutcome, Counter>,
}

/// A webhook of a call, verified.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// Who asks.
    pub who: &'r Principal,
    /// The connector that is asked through.
    pub connector: &'r Connector,
    /// What it says.
    pub webhook: Webhook<'r>,
    /// What it has in common with its own repetitions, and with nothing else.
    pub fingerprint: &'r str,
}

impl Calls {
    /// Use cases over `parts`.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// The `TwiML` that sends a call to its connector's agent: one more leg of it.
    pub async fn to_agent(&self, asked: &Asked<'_>) -> Result<String, ServiceError> {
        require(asked.who, Scope::HandoffRead, Some(&asked.connector.account))?;
        let Some(call) = asked.webhook.call() else {
            return self.nobody(asked, "a voice webhook without a CallSid");
        };
        let flow = flow(asked);
        let key = names::call(&asked.connector.id, &call);
        let mut known = patient(self.parts.calls.get(&key)).await.map(Found::live);
        admit(asked, &known)?;
        let mut after = None;
        let mut answer = String::new();
        for _ in 0..RACES {
            let now = self.parts.clock.now();
            let there = known.as_ref().ok().and_then(Option::as_ref);
            let before = there.map(|there| &there.record);
            if let Some(answered) = before.and_then(|call| call.answer_to(asked.fingerprint, now)) {
                return Ok(answered.to_owned());
            }
            let new = || Call::new(asked.connector.id.clone(), call.clone());
            let before = before.cloned().unwrap_or_else(new);
            let began_after = match after {
                Some(after) => after,
                None => *after.insert(self.left_over(asked, &call).await),
            };
            let token =
                self.parts.tokens.mint(&asked.connector.id, &call, now, call_token::LONGEST);
            let visit = Visit {
                connector: asked.connector,
                public_url: &self.parts.public_url,
                call: &call,
                leg: before.legs.saturating_add(1),
                after: began_after,
                flow,
            };
            answer = match to_agent(&visit, token.ok().as_ref()) {
                Some(answer) => answer,
                None => return self.nobody(asked, "the connector does not say where its agent is"),
            };
            let sent = before.sent(asked.fingerprint, &answer, now);
            let expect = there.map_or(Expect::Absent, |there| Expect::Revision(there.revision()));
            match patient(self.keep(key.clone(), sent, expect)).await {
                Ok(Written::Done(_)) => break,
                Ok(Written::Conflict) => {
                    known = patient(self.parts.calls.load(&key)).await.map(Found::live);
                }
                Err(why) => {
                    blind(asked, &why);
                    break;
                }
            }
        }
        self.count("to_agent");
        Ok(answer)
    }

    /// The revision of the handoff that is there when a visit begins, which is none of this visit's. Where that cannot be known it is
    /// the moment: revisions are moments, and what is written from now on has a later one.
    async fn left_over(&self, asked: &Asked<'_>, call: &HandoffId) -> u64 {
        let ask = ask(asked, call);
        let nobody_waits = || Ok(None::<()>);
        let reading = self.parts.handoffs.read(asked.who, &ask, Patience::default(), nobody_waits);
        match timeout(STORE_PATIENCE, reading).await {
            Ok(Ok(read)) => {
                let ask = Ask { by: By::Id(read.handoff.heading.id.clone()), ..ask };
                let leaving = self.parts.handoffs.leave_over(asked.who, &ask);
                if let Ok(Err(why)) = timeout(STORE_PATIENCE, leaving).await {
                    blind(asked, &why);
                }
                read.handoff.revision
            }
            Ok(Err(ServiceError::NoHandoff(_))) => 0,
            Ok(Err(_)) | Err(_) => self.parts.clock.now().micros(),
        }
    }

    async fn keep(
        &self,
        key: Vec<u8>,
        call: Call,
        expect: Expect,
    ) -> Result<Written<StoredCall>, StoreError> {
        let until = self.parts.clock.now().plus(CALL_LIFE);
        let call = StoredCall::new(call, until);
        self.parts.calls.put(key, call, expect, Change::Content).await
    }

    /// Changes what is known of a call, where `change` has something to change.
    async fn change(
        &self,
        asked: &Asked<'_>,
        call: &HandoffId,
        change: impl Fn(&Call) -> Option<Call>,
    ) -> Result<(), ServiceError> {
        let key = names::call(&asked.connector.id, call);
        let mut there = self.parts.calls.get(&key).await?.live();
        for _ in 0..RACES {
            let new = || Call::new(asked.connector.id.clone(), call.clone());
            let before = there.as_ref().map_or_else(new, |there| there.record.clone());
            let Some(changed) = change(&before) else { return Ok(()) };
            let expect = there.map_or(Expect::Absent, |there| Expect::Revision(there.revision()));
            if let Written::Done(_) = self.keep(key.clone(), changed, expect).await? {
                return Ok(());
            }
            there = self.parts.calls.load(&key).await?.live();
        }
        Err(ServiceError::Contended)
    }

    /// The `TwiML` for a call that nobody takes.
    fn nobody(&self, asked: &Asked<'_>, why: &'static str) -> Result<String, ServiceError> {
        let connector = &asked.connector;
        tracing::warn!(connector_id = %connector.id, "a call goes to the fallback: {why}");
        self.count("fallback");
        let language = connector.settings.extra_info.telephony().tts_lang_code.as_str();
        let fallback = connector.settings.fallback.as_ref().ok_or(CallError::NoFallback)?;
        Ok(onward::fallback(fallback, language))
    }

    /// The answer to what a queue, or whoever was called, made of a call.
    pub async fn after_queue(&self, asked: &Asked<'_>) -> Result<String, ServiceError> {
        require(asked.who, Scope::HandoffRead, Some(&asked.connector.account))?;
        let Asked { webhook, .. } = asked;
        if let Some(call) = webhook.call() {
            let key = names::call(&asked.connector.id, &call);
            admit(asked, &patient(self.parts.calls.get(&key)).await.map(Found::live))?;
        }
        let failed = webhook.queue_failed() || webhook.was_not_reached();
        if webhook.is_over() || !failed {
            return Ok(twiml::EMPTY.to_owned());
        }
        self.nobody(asked, "the queue, or whoever was called, did not take it")
    }

    fn count(&self, outcome: &'static str) {
        self.parts.outcomes.get_or_create(&CallOutcome { outcome }).inc();
    }
}

/// The flow that a call goes back to.
fn flow<'r>(asked: &Asked<'r>) -> Option<&'r str> {
    match asked.webhook.flow() {
        Flow::None => None,
        Flow::Sid(sid) => Some(sid),
        Flow::Malformed => {
            tracing::warn!(
                connector_id = %asked.connector.id,
                "`flow` is no flow's SID, so the call will not go back to one; in Studio's TwiML Redirect it is ?flow={{{{flow.flow_sid}}}}"
            );
            None
        }
    }
}

fn ask(asked: &Asked<'_>, call: &HandoffId) -> Ask {
    let connector = asked.connector;
    Ask {
        account: Some(connector.account.clone()),
        project: Some(connector.project.clone()),
        client_env: Some(connector.client_env),
        by: By::Id(call.clone()),
    }
}

/// What the store answers within what a caller may wait for it.
async fn patient<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = || StoreError::Unavailable("no answer while a caller waits".to_owned());
    timeout(STORE_PATIENCE, work).await.unwrap_or_else(|_late| Err(late()))
}

fn blind(asked: &Asked<'_>, why: &dyn std::error::Error) {
    let connector_id = &asked.connector.id;
    tracing::error!(%connector_id, "a call goes on without the store: {why}");
}

/// Whether who asks may ask for this call: whose link was removed may only for calls of before.
fn admit(
    asked: &Asked<'_>,
    known: &Result<Option<Arc<StoredCall>>, StoreError>,
) -> Result<(), ServiceError> {
    let Credential::LinkedSignature { since, .. } = asked.who.credential else { return Ok(()) };
    let is_linked = asked.connector.link.as_ref().is_some_and(|link| link.linked_at == since);
    // What cannot be looked up was begun by whoever could sign for it: not now.
    let has_begun = matches!(known, Ok(Some(_)));
    if is_linked || has_begun { Ok(()) } else { Err(CallError::Unknown.into()) }
}
