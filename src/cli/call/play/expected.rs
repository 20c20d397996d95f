//! What each answer should be.

use crate::cli::call::Stage;
use crate::cli::call::api;
use crate::cli::call::play::Arrival;
use crate::cli::call::play::Player;
use crate::cli::call::twilio::Onward;
use crate::cli::call::twilio::Visit;
use crate::cli::call::twilio::in_query;
use crate::cli::call::wire::Answer;

impl Player<'_> {
    /// Whether a call that came back becomes what it should.
    pub(super) fn check_onward(&self, visit: &Visit, onward: &Onward) -> Result<(), String> {
        let Stage { bends, is_made, .. } = self.stage;
        let (fits, wanted) = if bends.hangup {
            (*onward == Onward::Over, "nothing to do: the caller hung up")
        } else if self.flow.is_some() {
            (matches!(onward, Onward::Redirect(_)), "a <Redirect> into the flow")
        } else if self.is_settled() {
            (*onward == Onward::Hangup, "a <Hangup/>: the agent settled the call")
        } else if *is_made {
            (self.is_enqueued_rightly(onward), "an <Enqueue> to the workflow of its destination")
        } else {
            let leads_on = !matches!(onward, Onward::Over | Onward::Redirect(_));
            (leads_on, "an <Enqueue>, or what else the connector says")
        };
        if !fits {
            return Err(format!("it should be {wanted}"));
        }
        if let Onward::Redirect(url) = onward { self.check_redirect(visit, url) } else { Ok(()) }
    }

    /// Whether it goes where the connector that was made for this sends it.
    fn is_enqueued_rightly(&self, onward: &Onward) -> bool {
        let Onward::Enqueue { workflow, priority, .. } = onward else { return false };
        let wanted = if self.arrival.is_found() {
            (api::BILLING, Some(api::PRIORITY))
        } else {
            (api::ANYBODY, None)
        };
        (workflow.as_str(), priority.as_deref()) == wanted
    }

    /// Whether it goes back into the flow with what the flow needs to know.
    fn check_redirect(&self, visit: &Visit, url: &str) -> Result<(), String> {
        let account = self.stage.twilio.account();
        let flow = self.flow.as_deref().unwrap_or_default();
        let own = format!("https://webhooks.twilio.com/v1/Accounts/{account}/Flows/{flow}?");
        if !url.starts_with(&own) {
            return Err(format!("it should lead to {own}…"));
        }
        let action = match self.arrival {
            Arrival::Before => self.action(),
            Arrival::Meanwhile | Arrival::Never => "pending",
            Arrival::Unknown => "fallback",
        };
        let wanted = [
            ("FlowEvent", "return".to_owned()),
            ("leg", visit.leg.to_string()),
            ("after", visit.after.to_string()),
            ("action", action.to_owned()),
        ];
        for (name, wanted) in wanted {
            let is = in_query(url, name).unwrap_or_default();
            // A connector of one's own may have another place for the destination.
            let is_own = name == "action" && !self.stage.is_made && is == "dial";
            if is != wanted && !is_own {
                return Err(format!("{name} is {is:?}, and should be {wanted:?}"));
            }
        }
        Ok(())
    }

    /// What a flow is to do once the handoff is there, or is known not to be.
    pub(super) fn action(&self) -> &'static str {
        if self.is_settled() {
            "hangup"
        } else if self.arrival.is_found() {
            "enqueue"
        } else {
            "fallback"
        }
    }

    /// Whether the agent needs no person, and says so in time.
    fn is_settled(&self) -> bool {
        self.stage.bends.contained && self.arrival.is_found()
    }

    /// Why a webhook was refused, as far as can be known from outside: its refusals say nothing.
    pub(super) fn refused(&self, answer: &Answer) -> String {
        let connector = &self.stage.connector;
        let begins = self.stage.wire.public("");
        let why = match answer.status {
            403 => format!(
                "the signature was refused. Is the Auth Token that of {}, and does the server know it (BATON_TWILIO_AUTH_TOKENS, or the link of {connector})? Is BATON_PUBLIC_URL of the server {begins}? Else give it as --public-url. The server's log says why; see also baton sign explain",
                self.stage.twilio.account()
            ),
            404 => {
                format!("there is no connector {connector}, or no such route: is the server older?")
            }
            502 => format!(
                "nobody takes the call: {connector} names no agent, or neither flex.workflow_sid nor a fallback; see baton connector verify {connector}"
            ),
            _ => "see the server's log".to_owned(),
        };
        format!("{}: {why}", answer.status)
    }
}
