//! A call goes to its agent: one more visit.

use secrecy::SecretString;
use tokio::time::timeout;

use crate::auth::call_token;
use crate::domain::call::Call;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Scope;
use crate::domain::timeline::Action;
use crate::domain::timeline::What;
use crate::service::calls::Asked;
use crate::service::calls::Calls;
use crate::service::calls::STORE_PATIENCE;
use crate::service::calls::admit;
use crate::service::calls::ask;
use crate::service::calls::goes_on_without;
use crate::service::calls::patient;
use crate::service::error::ServiceError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::require;
use crate::service::timelines::Telling;
use crate::store::journal::Note;
use crate::store::journals::Name;
use crate::store::kv::Expect;
use crate::store::l1::Found;
use crate::store::names;
use crate::store::record::Record;
use crate::store::records::Written;
use crate::twilio::routing::Visit;
use crate::twilio::routing::to_agent::to_agent;
use crate::twilio::twiml;
use crate::twilio::webhook::Flow;

// Twilio asks for one visit at one time, and repeats itself once.
const RACES: usize = 3;

impl Calls {
    /// The `TwiML` that sends a call to its connector's agent: one more leg of it.
    pub async fn to_agent(&self, asked: &Asked<'_>) -> Result<String, ServiceError> {
        require(asked.who, Scope::HandoffWrite, Some(&asked.connector.account))?;
        let Some(call) = asked.webhook.call() else {
            return self.nobody(asked, "a voice webhook without a CallSid");
        };
        if asked.webhook.flow() == Flow::Malformed {
            tracing::warn!(
                connector_id = %asked.connector.id,
                "`flow` is no flow's SID, so the call will not go back to one; in Studio's TwiML Redirect it is ?flow={{{{flow.flow_sid}}}}"
            );
        }
        let key = names::call(&asked.connector.id, &call);
        let found = patient(self.parts.calls.get(&key)).await;
        let is_long_over = self.is_long_over(asked, &call, &found).await;
        let mut known = found.map(Found::live);
        admit(asked, &known)?;
        if is_long_over || matches!(&known, Ok(Some(known)) if known.record.ended_at.is_some()) {
            // Nobody is on the line any more who could be sent anywhere.
            return Ok(twiml::EMPTY.to_owned());
        }
        let mut after = None;
        let mut last = String::new();
        for _ in 0..RACES {
            let now = self.parts.clock.now();
            let there = known.as_ref().ok().and_then(Option::as_ref);
            let sent = there.and_then(|there| there.record.answer_to(asked.fingerprint, now));
            if let Some(answer) = sent {
                return Ok(answer.to_owned());
            }
            let new = || self.new_call(asked, &call);
            let before = there.map_or_else(new, |there| there.record.clone());
            let began_after = match after {
                Some(after) => after,
                None => *after.insert(self.begin_visit(asked, &call).await),
            };
            let Some(answer) = self.answer(asked, &before, began_after) else {
                return self.nobody(asked, "the connector does not say where its agent is");
            };
            let expect = there.map_or(Expect::Absent, |there| Expect::Revision(there.revision()));
            let kept = before.sent(asked.fingerprint, &answer, now);
            let notes = self.sent(asked, &kept);
            match patient(self.keep(key.clone(), kept, expect, notes)).await {
                Ok(Written::Done(_)) => {
                    self.count("to_agent");
                    return Ok(answer);
                }
                Ok(Written::Conflict) => {
                    last = answer;
                    known = patient(self.parts.calls.load(&key)).await.map(Found::live);
                }
                Err(why) => {
                    goes_on_without(asked, &why);
                    self.count("to_agent");
                    return Ok(answer);
                }
            }
        }
        goes_on_without(asked, &ServiceError::Contended);
        self.count("to_agent");
        Ok(last)
    }

    /// What is noted of a visit.
    fn sent(&self, asked: &Asked<'_>, call: &Call) -> Vec<Note> {
        let connector_id = asked.connector.id.clone();
        let flow_sid = asked.webhook.flow().sid().map(str::to_owned);
        let (leg, action) = (call.legs, Action::ToAgent);
        let what = What::Routed { leg, action, connector_id, flow_sid };
        let telling = Telling { what: &what, at: self.parts.clock.now(), name: Name::None };
        self.parts.timelines.of_call(asked.connector, &call.id, telling)
    }

    /// The answer to the next leg of a call.
    fn answer(&self, asked: &Asked<'_>, before: &Call, after: u64) -> Option<String> {
        let visit = Visit {
            connector: asked.connector,
            public_url: &self.parts.public_url,
            call: &before.id,
            leg: before.legs.saturating_add(1),
            after,
            flow: asked.webhook.flow().sid(),
        };
        let token = self.token(asked, &before.id, visit.leg);
        to_agent(&visit, token.as_ref())
    }

    fn token(&self, asked: &Asked<'_>, call: &HandoffId, leg: u32) -> Option<SecretString> {
        let (connector, now) = (&asked.connector.id, self.parts.clock.now());
        let minted = self.parts.tokens.mint(connector, (call, leg), now, call_token::LONGEST);
        if minted.is_err() {
            tracing::warn!(connector_id = %connector, "a call whose SID is not spelled as Twilio's has no call token");
        }
        minted.ok()
    }

    /// The revision of the handoff that is there, which from now on is of an earlier visit. Where that
    /// cannot be known it is the moment: revisions are moments, and what is written from now on has a
    /// later one.
    async fn begin_visit(&self, asked: &Asked<'_>, call: &HandoffId) -> u64 {
        let handoff = match self.there(asked, call).await {
            Ok(Ok(handoff)) => handoff,
            Ok(Err(_missing)) => return 0,
            Err(_) => return self.parts.clock.now().micros(),
        };
        let ask = Ask { by: By::Id(handoff.heading.id.clone()), ..ask(asked, call) };
        let marking = self.parts.handoffs.mark_left_over(asked.who, &ask, handoff.revision);
        match timeout(STORE_PATIENCE, marking).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => goes_on_without(asked, &why),
            Err(late) => goes_on_without(asked, &late),
        }
        handoff.revision
    }
}
