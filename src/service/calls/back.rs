//! A call comes back from its agent: into its flow, to a person, or to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use crate::domain::call::ANSWER_LIFE;
use crate::domain::call::Call;
use crate::domain::connector::routing::OnMissing;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Status;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Scope;
use crate::service::calls::Asked;
use crate::service::calls::Calls;
use crate::service::calls::STORE_PATIENCE;
use crate::service::calls::admit;
use crate::service::calls::ask;
use crate::service::calls::blind;
use crate::service::calls::flow;
use crate::service::calls::given;
use crate::service::calls::patient;
use crate::service::error::ServiceError;
use crate::service::handoffs::Patience;
use crate::service::require;
use crate::store::call::Answer;
use crate::store::call::StoredAnswer;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::l1::Found as StoreFound;
use crate::store::names;
use crate::store::records::Written;
use crate::twilio::routing::Visit;
use crate::twilio::routing::onward;
use crate::twilio::routing::onward::Caller;
use crate::twilio::routing::onward::Known;
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
        admit(asked, &known.map(StoreFound::live))?;
        if let Some(answered) = self.answered(asked, &call).await {
            return Ok(answered);
        }
        let given = match given::by(asked.webhook) {
            Some(data) => Some(self.keep_given(asked, &call, data).await),
            None => None,
        };
        if asked.webhook.is_over() {
            self.count("hung_up");
            // The call's status tells it too, and is told if it was not kept.
            if let Ok(Err(why)) = timeout(STORE_PATIENCE, self.ended(asked)).await {
                blind(asked, &why);
            }
            return Ok(twiml::EMPTY.to_owned());
        }
        // At once first: a store that does not answer is not waited for any longer.
        let found = match given {
            Some(found) => found,
            None => self.find(asked, &call, None, || Ok(None::<()>)).await,
        };
        let found = match found {
            Found::Missing if flow(asked).is_none() => {
                self.find(asked, &call, Some(Instant::now() + WAIT), enter).await
            }
            found => found,
        };
        let failed = !matches!(found, Found::Handoff(_)) && self.has_failed(asked, &call).await;
        let answer = match self.onward(asked, &call, &found, failed) {
            Some(answer) => answer,
            None => self.nobody(asked, "it needs a person, and the connector names no workflow")?,
        };
        self.count(if failed { "agent_failed" } else { found.outcome() });
        match found {
            Found::Handoff(_) | Found::Missing => {
                Ok(self.remember(asked, &call, &found, answer).await)
            }
            // The store takes nothing now. Asked again, it may know more.
            Found::InHand(_) | Found::Unknown => Ok(answer),
        }
    }

    fn onward(
        &self,
        asked: &Asked<'_>,
        call: &HandoffId,
        found: &Found,
        failed: bool,
    ) -> Option<String> {
        let Asked { connector, webhook, .. } = asked;
        let visit = Visit {
            connector,
            public_url: &self.parts.public_url,
            call,
            leg: webhook.leg(),
            after: webhook.after(),
            flow: flow(asked),
        };
        let caller = Caller {
            from: webhook.from(),
            is_by_sip: webhook.is_by_sip(),
            account_sid: webhook.account_sid(),
        };
        if visit.flow.is_some() {
            // The flow's own request waits for what is not there yet; but no longer for a failed agent's.
            let is_late = matches!(found, Found::Missing) && !failed;
            return onward::to_flow(&visit, caller, (!is_late).then(|| found.known()));
        }
        let is_missing = matches!(found, Found::Missing) && !failed;
        if is_missing && connector.settings.routing.on_missing == OnMissing::Hangup {
            return Some(onward::hangup());
        }
        onward::onward(&visit, caller, found.known())
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
        let patience = Patience { until, min_revision: Some(after.saturating_add(1)) };
        let ask = ask(asked, call);
        let reading = self.parts.handoffs.read(asked.who, &ask, patience, enter);
        let end = until.unwrap_or_else(Instant::now) + STORE_PATIENCE;
        match timeout_at(end, reading).await {
            Ok(Ok(read)) if read.handoff.revision > after => Found::Handoff(read.handoff),
            Ok(Ok(_) | Err(ServiceError::NoHandoff(_))) => Found::Missing,
            Ok(Err(why)) => {
                blind(asked, &why);
                Found::Unknown
            }
            Err(late) => {
                blind(asked, &late);
                Found::Unknown
            }
        }
    }

    /// Whether the agent was not reached, or broke off: as the webhook says, or as the stream's own has
    /// said meanwhile.
    async fn has_failed(&self, asked: &Asked<'_>, call: &HandoffId) -> bool {
        if asked.webhook.agent_failed() {
            return true;
        }
        let key = names::call(&asked.connector.id, call);
        let known = patient(self.parts.calls.get(&key)).await.ok().and_then(StoreFound::live);
        let leg = asked.webhook.leg();
        known.is_some_and(|known| leg > 0 && known.record.failed_leg == leg)
    }

    /// What the same request was answered before. What told of a handoff is not told again once that is
    /// gone.
    async fn answered(&self, asked: &Asked<'_>, call: &HandoffId) -> Option<String> {
        let key = names::answer(asked.fingerprint);
        let answered = patient(self.parts.answers.get(&key)).await.ok()?.live()?;
        if answered.record.tells_handoff {
            let nobody_waits = || Ok(None::<()>);
            let found = self.find(asked, call, None, nobody_waits).await;
            if let Found::Missing = found {
                return None;
            }
        }
        Some(answered.record.twiml.clone())
    }

    /// Keeps an answer for when its request is sent again, and that the leg came back; answers what the
    /// request was answered first.
    async fn remember(
        &self,
        asked: &Asked<'_>,
        call: &HandoffId,
        found: &Found,
        answer: String,
    ) -> String {
        let key = names::answer(asked.fingerprint);
        let tells_handoff = matches!(found, Found::Handoff(_));
        let kept = Answer { twiml: answer.clone(), tells_handoff };
        let kept = StoredAnswer::new(kept, self.parts.clock.now().plus(ANSWER_LIFE));
        let answers = &self.parts.answers;
        let putting = async {
            match answers.put(key.clone(), kept, Expect::Absent, Change::Content).await? {
                Written::Done(_) => Ok(None),
                Written::Conflict => Ok(answers.load(&key).await?.live()),
            }
        };
        let leg = asked.webhook.leg();
        let returned = self.change(asked, call, |call| {
            let is_new = leg > call.returned_leg && leg <= call.legs;
            is_new.then(|| Call { returned_leg: leg, ..call.clone() })
        });
        // One commit for both.
        let returned = timeout(STORE_PATIENCE, returned);
        let (first, returned) = tokio::join!(patient(putting), returned);
        if let Ok(Err(why)) = returned {
            blind(asked, &why);
        }
        match first {
            // Of two at once that found otherwise, both are answered what the first was.
            Ok(Some(first)) if first.record.tells_handoff == tells_handoff => {
                first.record.twiml.clone()
            }
            Ok(_) => answer,
            Err(why) => {
                blind(asked, &why);
                answer
            }
        }
    }
}
