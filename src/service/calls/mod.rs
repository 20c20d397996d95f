//! [`Calls`]: a call on its way through a connector: to the agent, back from it, and to its end.
//!
//! A caller is on the line, so every answer is `TwiML` and comes in time: where the store fails or hangs,
//! the call goes to the agent and to a person all the same, with what is known in this process, and the
//! task says `handoff_status: "error"`.
//!
//! Twilio repeats what was not answered in time: a request that is sent again within a minute gets the
//! answer it got first. What makes it the same is what its signature covers, and its method;
//! `I-Twilio-Idempotency-Token` is not signed, so whoever repeats a request could change it. What a
//! queue, a stream or an end is answered is told by the request alone, so that need not be remembered.

mod answers;
mod back;
mod ended;
mod given;
mod visit;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::time::timeout;

use crate::auth::call_token::CallTokens;
use crate::auth::view_link::ViewLinks;
use crate::domain::call::CALL_LIFE;
use crate::domain::call::Call;
use crate::domain::clock::Clock;
use crate::domain::clock::Timestamp;
use crate::domain::connector::Connector;
use crate::domain::connector::link::Link;
use crate::domain::handoff::Handoff;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::domain::timeline::Action;
use crate::domain::timeline::What;
use crate::service::error::CallError;
use crate::service::error::Missing;
use crate::service::error::ServiceError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::Patience;
use crate::service::handoffs::Tells;
use crate::service::require;
use crate::service::timelines::Telling;
use crate::service::timelines::Timelines;
use crate::store::call::StoredAnswer;
use crate::store::call::StoredCall;
use crate::store::callers::Callers;
use crate::store::journal::Note;
use crate::store::journals::Name;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::kv::StoreError;
use crate::store::l1::Found;
use crate::store::names;
use crate::store::record::Record;
use crate::store::records::Records;
use crate::store::records::Written;
use crate::telemetry::metrics::CallOutcome;
use crate::twilio::routing::onward;
use crate::twilio::twiml;
use crate::twilio::webhook::Webhook;

pub use crate::service::calls::back::WAIT;

// What one question to the store may take while a caller listens to nothing. A visit asks four.
const STORE_PATIENCE: Duration = Duration::from_millis(500);
// Webhooks of one call come one after the other, mostly.
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
    /// What makes view links.
    pub links: Arc<ViewLinks>,
    /// What marks callers' numbers.
    pub callers: Callers,
    /// Where Baton is, as Twilio reaches it.
    pub public_url: String,
    /// What time it is.
    pub clock: Clock,
    /// What happens to their handoffs.
    pub timelines: Arc<Timelines>,
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

    /// Whether a call that nothing is known of any more was over long ago: it was forgotten lately, or its
    /// handoff is older than any call. Whoever asks for it then repeats what he has got hold of.
    async fn is_long_over(
        &self,
        asked: &Asked<'_>,
        call: &HandoffId,
        found: &Result<Found<StoredCall>, StoreError>,
    ) -> bool {
        match found {
            Ok(Found::Live(_) | Found::Stale(_)) | Err(_) => return false,
            Ok(Found::Gone(_)) => return true,
            Ok(Found::Never) => {}
        }
        let Ok(Ok(handoff)) = self.there(asked, call).await else { return false };
        handoff.written_at().plus(CALL_LIFE) < self.parts.clock.now()
    }

    /// The handoff that is there at this moment, of whichever visit, or why none is.
    async fn there(
        &self,
        asked: &Asked<'_>,
        call: &HandoffId,
    ) -> Result<Result<Arc<Handoff>, Missing>, ServiceError> {
        let ask = ask(asked, call);
        let nobody_waits = || Ok(None::<()>);
        let peek = Patience { tells: Tells::Nothing, ..Patience::default() };
        let reading = self.parts.handoffs.read(asked.who, &ask, peek, nobody_waits);
        match timeout(STORE_PATIENCE, reading).await {
            Ok(Ok(read)) => Ok(Ok(read.handoff)),
            Ok(Err(ServiceError::NoHandoff(miss))) => Ok(Err(miss.why)),
            Ok(Err(error)) => Err(error),
            Err(_late) => Err(late().into()),
        }
    }

    async fn keep(
        &self,
        key: Vec<u8>,
        call: Call,
        expect: Expect,
        notes: Vec<Note>,
    ) -> Result<Written<StoredCall>, StoreError> {
        let until = self.parts.clock.now().plus(CALL_LIFE);
        let until = until.max(Timestamp::from_micros(call.keep_until));
        let call = StoredCall::new(call, until);
        self.parts.calls.put_noting(key, call, (expect, Change::Content), notes).await
    }

    /// What is noted of a call: once, however often it is told.
    fn noted(&self, asked: &Asked<'_>, call: &HandoffId, what: &What, of: &str) -> Vec<Note> {
        let leg = asked.webhook.leg().to_string();
        let name = [of, asked.connector.id.as_str(), &leg];
        let at = self.parts.clock.now();
        let telling = Telling { what, at, name: Name::First(&name) };
        self.parts.timelines.of_call(asked.connector, call, telling)
    }

    /// Changes what is known of a call, where `change` has something to change, and notes it.
    async fn change(
        &self,
        asked: &Asked<'_>,
        call: &HandoffId,
        notes: &[Note],
        change: impl Fn(&Call) -> Option<Call>,
    ) -> Result<(), ServiceError> {
        let key = names::call(&asked.connector.id, call);
        let mut there = self.parts.calls.get(&key).await?.live();
        for _ in 0..RACES {
            let new = || self.new_call(asked, call);
            let before = there.as_ref().map_or_else(new, |there| there.record.clone());
            let Some(changed) = change(&before) else { return Ok(()) };
            let expect = there.map_or(Expect::Absent, |there| Expect::Revision(there.revision()));
            if let Written::Done(_) =
                self.keep(key.clone(), changed, expect, notes.to_vec()).await?
            {
                return Ok(());
            }
            there = self.parts.calls.load(&key).await?.live();
        }
        Err(ServiceError::Contended)
    }

    /// The `TwiML` for a call that nobody takes.
    fn nobody(&self, asked: &Asked<'_>, why: &'static str) -> Result<String, ServiceError> {
        let connector = &asked.connector;
        let fallback = connector.settings.fallback.as_ref();
        let to = if fallback.is_some() { "the fallback" } else { "the number's own fallback URL" };
        tracing::warn!(connector_id = %connector.id, "a call goes to {to}: {why}");
        self.count("fallback");
        if let Some(call) = asked.webhook.call() {
            let (leg, action) = (asked.webhook.leg(), Action::Fallback);
            let (connector_id, flow_sid) = (connector.id.clone(), None);
            let what = What::Routed { leg, action, connector_id, flow_sid };
            let notes = self.noted(asked, &call, &what, "fallback");
            // A caller listens to nothing meanwhile.
            let timelines = Arc::clone(&self.parts.timelines);
            tokio::spawn(async move {
                if let Err(why) = timelines.add(notes).await {
                    tracing::warn!(error = %why, "that a call went to the fallback could not be noted");
                }
            });
        }
        let language = connector.settings.extra_info.telephony().tts_lang_code.as_str();
        let fallback = fallback.ok_or(CallError::NoFallback)?;
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

    /// A call of which nothing is known but who asks for it.
    fn new_call(&self, asked: &Asked<'_>, call: &HandoffId) -> Call {
        let Asked { connector, webhook, .. } = asked;
        Call {
            of: Some((connector.account.clone(), connector.project.clone())),
            began_at: self.parts.clock.now().micros(),
            caller: self.parts.callers.mark(&connector.account, webhook.from()),
            ..Call::new(connector.id.clone(), call.clone(), signer(asked))
        }
    }

    fn count(&self, outcome: &'static str) {
        self.parts.outcomes.get_or_create(&CallOutcome { outcome }).inc();
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
    timeout(STORE_PATIENCE, work).await.unwrap_or_else(|_late| Err(late()))
}

fn late() -> StoreError {
    StoreError::Unavailable("no answer while a caller waits".to_owned())
}

fn goes_on_without(asked: &Asked<'_>, why: &dyn std::error::Error) {
    let connector_id = &asked.connector.id;
    tracing::error!(%connector_id, "a call goes on, though something could not be looked up or kept: {why}");
}

/// Whether who asks may ask for this call: whose link was removed may only for calls that it began. The
/// account itself, by another token of it than the link has now, is still linked.
fn admit(
    asked: &Asked<'_>,
    known: &Result<Option<Arc<StoredCall>>, StoreError>,
) -> Result<(), ServiceError> {
    let own = signer(asked);
    if own.is_empty() {
        return Ok(());
    }
    let is_own = |link: &Link| link.account_sid.as_str() == own;
    let is_linked = asked.connector.link.as_ref().is_some_and(is_own);
    // What cannot be looked up was begun by whoever could sign for it: not now.
    let began = matches!(known, Ok(Some(known)) if known.record.account_sid == own);
    if is_linked || began { Ok(()) } else { Err(CallError::Unknown.into()) }
}

/// The linked account that signed; empty where a secret from the settings did.
fn signer<'r>(asked: &Asked<'r>) -> &'r str {
    match asked.who.credential {
        // The door has seen to it that this is whose secret it was.
        Credential::LinkedSignature { .. } => asked.webhook.account_sid(),
        Credential::TwilioSignature
        | Credential::Key
        | Credential::ConnectorToken(_)
        | Credential::CallToken
        | Credential::FlexUser(_)
        | Credential::ViewLink(_) => "",
    }
}
