//! What an agent gives with the call itself, where it writes no handoff: `ConversationRelay`'s
//! `HandoffData`, and the target and headers of a SIP REFER.

use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use tokio::time::timeout;

use crate::domain::data;
use crate::domain::fields::destination;
use crate::domain::handoff::Handoff;
use crate::domain::handoff_id::HandoffId;
use crate::service::calls::Asked;
use crate::service::calls::Calls;
use crate::service::calls::STORE_PATIENCE;
use crate::service::calls::ask;
use crate::service::calls::back::Found;
use crate::service::calls::goes_on_without;
use crate::service::error::Missing;
use crate::service::error::ServiceError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::handoffs::Patch;
use crate::service::handoffs::Precondition;
use crate::service::handoffs::SharedId;
use crate::service::handoffs::Write;
use crate::twilio::webhook::ReferTarget;
use crate::twilio::webhook::Webhook;

/// The `data` that a webhook brings, if it brings any.
pub(super) fn by(webhook: Webhook<'_>) -> Option<String> {
    match (webhook.handoff_data(), webhook.refer_target()) {
        (Some(text), _) => Some(of_text(text)),
        (None, Some(target)) => Some(of_refer(&target)),
        (None, None) => None,
    }
}

/// An object stays as it is spelled; whatever else an agent says is what it has to say of the call.
fn of_text(text: &str) -> String {
    if data::check(text).is_ok() {
        return text.trim().to_owned();
    }
    Value::Object(Map::from_iter([("summary".to_owned(), text.into())])).to_string()
}

/// `X-Destination` or the user part is the destination, the address is `refer_to`, and every other header
/// a member under its name, in `snake_case`.
fn of_refer(target: &ReferTarget) -> String {
    let mut members = Map::new();
    members.insert("refer_to".to_owned(), target.address.as_str().into());
    for (name, value) in &target.headers {
        let name = name.to_ascii_lowercase().replace('-', "_");
        members.insert(name, value.as_str().into());
    }
    members.insert("destination".to_owned(), target.destination().into());
    Value::Object(members).to_string()
}

impl Calls {
    /// Keeps what came with the call as its handoff, if the agent has written none for this visit.
    /// Answers what the handoff is then; what cannot be stored is still told to whoever takes the call.
    pub(super) async fn keep_given(
        &self,
        asked: &Asked<'_>,
        call: &HandoffId,
        data: String,
    ) -> Found {
        let nobody_waits = || Ok(None::<()>);
        // Of no visit that Baton began it cannot be told what is older; what comes with the call is new.
        let preconditions = match (asked.webhook.leg(), asked.webhook.after()) {
            (0, _) => vec![Precondition::None],
            (_, 0) => vec![Precondition::Absent],
            // What was left over may be gone, or be another call's that answers to this one's SID.
            (_, after) => vec![Precondition::OneOf(vec![after]), Precondition::Absent],
        };
        if asked.webhook.leg() > 0 {
            match self.find(asked, call, None, nobody_waits).await {
                Found::Missing => {}
                Found::Handoff(handoff) => return self.with_target(asked, handoff).await,
                Found::Unknown | Found::InHand(_) => return Found::InHand(data),
            }
        }
        let was_erased = async || matches!(self.there(asked, call).await, Ok(Err(Missing::Erased)));
        if asked.webhook.after() == 0 && was_erased().await {
            // Sent again, or kept by whoever has got hold of it.
            return Found::InHand(data);
        }
        for precondition in preconditions {
            let write = Write {
                ask: ask(asked, call),
                shared_id: SharedId::Keep,
                data: data.clone(),
                status: None,
                ttl_seconds: None,
                precondition,
            };
            let writing = self.parts.handoffs.write(asked.who, write);
            match timeout(STORE_PATIENCE, writing).await {
                Ok(Ok(stored)) => return Found::Handoff(stored.handoff),
                Ok(Err(ServiceError::Precondition(_) | ServiceError::Contended)) => {}
                Ok(Err(why)) => {
                    goes_on_without(asked, &why);
                    return Found::InHand(data);
                }
                Err(late) => {
                    goes_on_without(asked, &late);
                    return Found::InHand(data);
                }
            }
        }
        // The agent was quicker.
        match self.find(asked, call, None, nobody_waits).await {
            Found::Handoff(handoff) => Found::Handoff(handoff),
            Found::InHand(_) | Found::Missing | Found::Unknown => Found::InHand(data),
        }
    }

    /// A handoff that the agent wrote before it referred the call, with where to, if it does not say so
    /// itself.
    async fn with_target(&self, asked: &Asked<'_>, handoff: Arc<Handoff>) -> Found {
        let data = std::str::from_utf8(handoff.data()).unwrap_or("{}");
        let target = asked.webhook.refer_target().filter(|_| destination(data).is_empty());
        let Some(target) = target else { return Found::Handoff(handoff) };
        let patch = Patch {
            ask: Ask { by: By::Id(handoff.heading.id.clone()), ..ask(asked, &handoff.heading.id) },
            shared_id: SharedId::Keep,
            data: Some(serde_json::json!({ "destination": target.destination() }).to_string()),
            status: None,
            precondition: Precondition::OneOf(vec![handoff.revision]),
        };
        match timeout(STORE_PATIENCE, self.parts.handoffs.patch(asked.who, patch)).await {
            Ok(Ok(stored)) => Found::Handoff(stored.handoff),
            Ok(Err(why)) => {
                goes_on_without(asked, &why);
                Found::Handoff(handoff)
            }
            Err(late) => {
                goes_on_without(asked, &late);
                Found::Handoff(handoff)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::form::Pairs;

    fn by_form(form: &str) -> Option<String> {
        let form = Pairs::decode(format!("AccountSid=AC1&{form}").as_bytes());
        by(Webhook::read(&Pairs::default(), Some(&form)).unwrap())
    }

    #[test]
    fn what_an_agent_gives_is_data_whatever_it_is() {
        assert_eq!(by_form("CallSid=x"), None);
        let object = by_form("HandoffData=%20%7B%22n%22:1.10%7D").unwrap();
        assert_eq!(object, r#"{"n":1.10}"#);
        for (text, summary) in [("late+bill", "late bill"), ("[1]", "[1]"), ("%7B%22a", "{\"a")] {
            let given: Value =
                serde_json::from_str(&by_form(&format!("HandoffData={text}")).unwrap()).unwrap();
            assert_eq!(given["summary"], summary);
        }
        let twice = by_form("HandoffData=%7B%22a%22:1,%22a%22:2%7D").unwrap();
        assert!(twice.starts_with(r#"{"summary":"#), "{twice}");
    }

    #[test]
    fn a_refer_gives_its_target_and_its_headers() {
        let form =
            "ReferTransferTarget=%3Csip:billing@pbx?X-Reason=late%2520bill%26X-Customer-ID=7%3E";
        let given: Value = serde_json::from_str(&by_form(form).unwrap()).unwrap();
        let wanted = serde_json::json!({"destination": "billing", "reason": "late bill", "customer_id": "7", "refer_to": "sip:billing@pbx"});
        assert_eq!(given, wanted);
        let form = "ReferTransferTarget=sip:1@pbx?X-Destination=sales";
        assert_eq!(by_form(form).unwrap(), r#"{"destination":"sales","refer_to":"sip:1@pbx"}"#);
    }
}
