//! What webhooks are answered, kept for when Twilio sends them again.

use tokio::time::timeout;

use crate::domain::call::ANSWER_LIFE;
use crate::domain::handoff::Heading;
use crate::domain::handoff_id::HandoffId;
use crate::domain::timeline::Target;
use crate::domain::timeline::What;
use crate::service::calls::Asked;
use crate::service::calls::Calls;
use crate::service::calls::STORE_PATIENCE;
use crate::service::calls::back::Found;
use crate::service::calls::goes_on_without;
use crate::service::calls::patient;
use crate::service::timelines::Telling;
use crate::store::call::Answer;
use crate::store::call::StoredAnswer;
use crate::store::call::Told;
use crate::store::journal::Note;
use crate::store::journals::Name;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::records::Written;
use crate::twilio::routing::onward::Onward;

impl Calls {
    /// What the same request was answered before.
    pub(super) async fn answered(&self, asked: &Asked<'_>) -> Option<String> {
        let key = names::answer(asked.fingerprint);
        let answered = patient(self.parts.answers.get(&key)).await.ok()?.live()?;
        Some(answered.record.twiml.clone())
    }

    /// Keeps an answer for when its request is sent again, and that the leg came back; answers what the
    /// request was answered first, so that of two at once both are answered alike.
    pub(super) async fn remember(
        &self,
        asked: &Asked<'_>,
        call: &HandoffId,
        found: &Found,
        onward: Onward,
    ) -> Result<String, StoreError> {
        let notes = self.gone_on(asked, call, &onward);
        let answer = onward.twiml;
        let key = names::answer(asked.fingerprint);
        let tells = match found {
            Found::Handoff(handoff) => {
                let Heading { account, id, .. } = &handoff.heading;
                let fingerprint = asked.fingerprint.to_owned();
                Some(Told { account: account.clone(), id: id.clone(), fingerprint })
            }
            Found::InHand(_) | Found::Missing | Found::Unknown => None,
        };
        let kept = Answer { twiml: answer.clone(), tells };
        let kept = StoredAnswer::new(kept, self.parts.clock.now().plus(ANSWER_LIFE));
        let answers = &self.parts.answers;
        let putting = async {
            match answers
                .put_noting(key.clone(), kept, (Expect::Absent, Change::Content), notes)
                .await?
            {
                Written::Done(_) => Ok(None),
                Written::Conflict => Ok(answers.load(&key).await?.live()),
            }
        };
        let leg = asked.webhook.leg();
        // Together, for they are committed together.
        let returned =
            timeout(STORE_PATIENCE, self.change(asked, call, &[], |call| call.returned(leg)));
        let (first, returned) = tokio::join!(patient(putting), returned);
        match returned {
            Ok(Ok(())) => {}
            Ok(Err(why)) => goes_on_without(asked, &why),
            Err(late) => goes_on_without(asked, &late),
        }
        Ok(first?.map_or(answer, |first| first.record.twiml.clone()))
    }

    /// What is noted of where a call goes from its agent.
    fn gone_on(&self, asked: &Asked<'_>, call: &HandoffId, onward: &Onward) -> Vec<Note> {
        let (leg, at) = (asked.webhook.leg(), self.parts.clock.now());
        let connector_id = asked.connector.id.clone();
        let routed = What::Routed { leg, action: onward.action, connector_id, flow_sid: None };
        let packed = What::packed(Target::Task, &onward.left_out, at);
        let told = std::iter::once(&routed).chain(&packed);
        let note = |what| {
            let telling = Telling { what, at, name: Name::None };
            self.parts.timelines.of_call(asked.connector, call, telling)
        };
        told.flat_map(note).collect()
    }
}
