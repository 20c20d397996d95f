//! A call comes back from its agent: into its flow, to a person, or to its end.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use crate::domain::connector::routing::OnMissing;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Status;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Scope;
use crate::domain::timeline::Action;
use crate::service::calls::Asked;
use crate::service::calls::Calls;
use crate::service::calls::STORE_PATIENCE;
use crate::service::calls::admit;
use crate::service::calls::ask;
use crate::service::calls::given;
use crate::service::calls::goes_on_without;
use crate::service::calls::patient;
use crate::service::error::ServiceError;
use crate::service::handoffs::Patience;
use crate::service::handoffs::Tells;
use crate::service::require;
use crate::service::view_links::in_task;
use crate::store::l1::Found as StoreFound;
use crate::store::names;
use crate::twilio::routing::Visit;
use crate::twilio::routing::onward;
use crate::twilio::routing::onward::Caller;
use crate::twilio::routing::onward::Known;
use crate::twilio::routing::onward::Onward;
use crate::twilio::twiml;

/// How long a call that comes back waits for its handoff; the caller hears nothing meanwhile.
pub const WAIT: Duration = Duration::from_secs(3);

/// What there is of a call's handoff.
pub(super) enum Found {
    /// It is there.
    Handoff(Arc<Handoff>),
    /// The agent gave it with the call, and it could not be stored.
    InHand(String),
    /// Nobody has written it.
    Missing,
    /// Whether somebody has cannot be known.
    Unknown,
}

impl Found {
    fn known(&self) -> Known<'_> {
        match self {
            Self::Handoff(handoff) => Known::Handoff {
                status: handoff.heading.status,
                data: std::str::from_utf8(handoff.data()).unwrap_or("{}"),
            },
            Self::InHand(data) => Known::Handoff { status: Status::told_by(data), data },
            Self::Missing => Known::Nothing("missing"),
            Self::Unknown => Known::Nothing("error"),
        }
    }

    fn outcome(&self) -> &'static str {
        match self.known() {
            Known::Handoff { status: Status::Contained, .. } => "contained",
            Known::Handoff { .. } => "found",
            Known::Nothing(why) => why,
        }
    }
}

impl Calls {
    /// The `TwiML` for a call whose agent is done with it. Waits for the handoff where nobody else will;
    /// `enter` is asked before it does, as by [`crate::service::handoffs::Handoffs::read`].
    pub async fn back<Permit>(
        &self,
        asked: &Asked<'_>,
        enter: impl FnOnce() -> Result<Option<Permit>, ServiceError>,
    ) -> Result<String, ServiceError> {
        require(asked.who, Scope::HandoffWrite, Some(&asked.connector.account))?;
        let Some(call) = asked.webhook.call() else {
            return self.nobody(asked, "a webhook without a CallSid");
        };
        let known = patient(self.parts.calls.get(&names::call(&asked.connector.id, &call))).await;
        let is_long_over = self.is_long_over(asked, &call, &known).await;
        let known = known.map(StoreFound::live);
        admit(asked, &known)?;
        if let Some(answer) = self.answered(asked).await {
            return Ok(answer);
        }
        let known = known.ok().flatten();
        let tokens_end_at = known.as_ref().and_then(|known| known.record.tokens_end_at());
        if is_long_over || tokens_end_at.is_some_and(|end| end <= self.parts.clock.now()) {
            // Twilio does not ask so late. Whoever else has got hold of the request changes nothing.
            return Ok(twiml::EMPTY.to_owned());
        }
        let given = match given::by(asked.webhook) {
            Some(data) => Some(self.keep_given(asked, &call, data).await),
            None => None,
        };
        if asked.webhook.is_over() || tokens_end_at.is_some() {
            self.count("hung_up");
            // The call's status tells it too, and is told if it was not kept.
            if let Ok(Err(why)) = timeout(STORE_PATIENCE, self.ended(asked)).await {
                goes_on_without(asked, &why);
            }
            return Ok(twiml::EMPTY.to_owned());
        }
        let has_failed = asked.webhook.agent_failed()
            || known.is_some_and(|known| known.record.has_failed(asked.webhook.leg()));
        // At once first: a store that does not answer is not waited for any longer, and neither is an
        // agent that failed.
        let found = match given {
            Some(found) => found,
            None => self.find(asked, &call, None, || Ok(None::<()>)).await,
        };
        let waits = asked.webhook.flow().sid().is_none() && !has_failed;
        let found = match found {
            Found::Missing if waits => {
                self.find(asked, &call, Some(Instant::now() + WAIT), enter).await
            }
            Found::Handoff(_) | Found::InHand(_) | Found::Missing | Found::Unknown => found,
        };
        let failed = matches!(found, Found::Missing)
            && (has_failed || self.has_failed_meanwhile(asked, &call).await);
        self.send_on(asked, &call, found, failed).await
    }

    /// The answer for what is known of the handoff; kept for when it is asked for again.
    async fn send_on(
        &self,
        asked: &Asked<'_>,
        call: &HandoffId,
        mut found: Found,
        failed: bool,
    ) -> Result<String, ServiceError> {
        let on_missing = asked.connector.settings.routing.on_missing;
        let has_flow = asked.webhook.flow().sid().is_some();
        let may_hang_up = on_missing == OnMissing::Hangup && !failed && !has_flow;
        if may_hang_up && matches!(found, Found::Missing) {
            match self.remember(asked, call, &found, hangup()).await {
                Ok(answer) => {
                    self.count("missing");
                    return Ok(answer);
                }
                // Where nothing can be kept, the agent's handoff could not be either.
                Err(why) => {
                    goes_on_without(asked, &why);
                    found = Found::Unknown;
                }
            }
        }
        let Some(onward) = self.onward(asked, call, &found, failed) else {
            return self.nobody(asked, "it needs a person, and the connector names no workflow");
        };
        self.count(if failed { "agent_failed" } else { found.outcome() });
        match found {
            Found::Handoff(_) | Found::Missing => {
                let answer = onward.twiml.clone();
                let kept = self.remember(asked, call, &found, onward).await;
                Ok(kept.unwrap_or_else(|why| {
                    goes_on_without(asked, &why);
                    answer
                }))
            }
            // The store takes nothing now. Asked again, it may know more.
            Found::InHand(_) | Found::Unknown => Ok(onward.twiml),
        }
    }

    fn onward(
        &self,
        asked: &Asked<'_>,
        call: &HandoffId,
        found: &Found,
        failed: bool,
    ) -> Option<Onward> {
        let Asked { connector, webhook, .. } = asked;
        let visit = Visit {
            connector,
            public_url: &self.parts.public_url,
            call,
            leg: webhook.leg(),
            after: webhook.after(),
            flow: webhook.flow().sid(),
        };
        let at = (self.parts.public_url.as_str(), self.parts.clock.now());
        // A flow makes its task itself.
        let links = visit.flow.is_none().then_some(&self.parts.links);
        // A link opens a handoff by its own id alone.
        let opens = match found {
            Found::Handoff(handoff) => &handoff.heading.id,
            Found::InHand(_) | Found::Missing | Found::Unknown => call,
        };
        let link = links.and_then(|links| in_task(links, connector, opens, at));
        let caller = Caller {
            view_link: link.as_ref().map_or("", |link| link.expose_secret()),
            from: webhook.from(),
            is_by_sip: webhook.is_by_sip(),
            account_sid: webhook.account_sid(),
        };
        if visit.flow.is_none() {
            return onward::onward(&visit, caller, found.known());
        }
        // The flow's own request waits for what is not there yet; but no longer for a failed agent's.
        let is_late = matches!(found, Found::Missing) && !failed;
        onward::to_flow(&visit, caller, (!is_late).then(|| found.known()))
    }

    /// What there is of the handoff of this visit, at once or by `until`.
    pub(super) async fn find<Permit>(
        &self,
        asked: &Asked<'_>,
        call: &HandoffId,
        until: Option<Instant>,
        enter: impl FnOnce() -> Result<Option<Permit>, ServiceError>,
    ) -> Found {
        let after = asked.webhook.after();
        // At once it is only looked whether it is there.
        let tells = if until.is_some() { Tells::All } else { Tells::Finds };
        let patience =
            Patience { until, min_revision: Some(after.saturating_add(1)), is_strict: true, tells };
        let ask = ask(asked, call);
        let reading = self.parts.handoffs.read(asked.who, &ask, patience, enter);
        let end = until.unwrap_or_else(Instant::now) + STORE_PATIENCE;
        match timeout_at(end, reading).await {
            Ok(Ok(read)) if read.handoff.revision > after => return Found::Handoff(read.handoff),
            Ok(Ok(_) | Err(ServiceError::NoHandoff(_))) => {}
            Ok(Err(why)) => {
                goes_on_without(asked, &why);
                return Found::Unknown;
            }
            Err(late) => {
                goes_on_without(asked, &late);
                return Found::Unknown;
            }
        }
        // A wait that was cut short says nothing: the server stops, too many wait, or somebody else has
        // the id.
        let is_cut_short = until.is_some_and(|until| Instant::now() < until);
        if is_cut_short { Found::Unknown } else { Found::Missing }
    }

    /// Whether the agent was not reached, or broke off, as its stream's own webhook has said while its
    /// handoff was waited for.
    async fn has_failed_meanwhile(&self, asked: &Asked<'_>, call: &HandoffId) -> bool {
        let key = names::call(&asked.connector.id, call);
        let known = patient(self.parts.calls.get(&key)).await.ok().and_then(StoreFound::live);
        known.is_some_and(|known| known.record.has_failed(asked.webhook.leg()))
    }
}

/// A call that is not sent on.
fn hangup() -> Onward {
    Onward { twiml: onward::hangup(), action: Action::Hangup, left_out: String::new() }
}
