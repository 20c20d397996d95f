//! [`Player`]: plays one call, step by step, and holds each answer to what it should be.

mod expected;

use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use crate::cli::call::Stage;
use crate::cli::call::agent;
use crate::cli::call::agent::Agent;
use crate::cli::call::api;
use crate::cli::call::attributes::Attributes;
use crate::cli::call::attributes::Expected;
use crate::cli::call::attributes::FlowAnswer;
use crate::cli::call::journal::Journal;
use crate::cli::call::twilio::FROM;
use crate::cli::call::twilio::Onward;
use crate::cli::call::twilio::TO;
use crate::cli::call::twilio::Visit;
use crate::cli::call::twilio::random_sid;
use crate::cli::call::twiml::Element;
use crate::cli::call::wire::Answer;

/// When a handoff is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Before the call comes back.
    Before,
    /// While somebody waits for it.
    Meanwhile,
    /// Never, or too late.
    Never,
    /// Nobody knows: the store fails.
    Unknown,
}

impl Arrival {
    fn is_found(self) -> bool {
        match self {
            Self::Before | Self::Meanwhile => true,
            Self::Never | Self::Unknown => false,
        }
    }
}

/// One call.
#[derive(Debug)]
pub(super) struct Player<'s> {
    stage: &'s Stage,
    journal: &'s Journal,
    arrival: Arrival,
    call: String,
    /// The Studio flow that it comes from.
    flow: Option<String>,
}

/// `why`, of a step.
fn at(step: &str) -> impl Fn(String) -> String {
    move |why| format!("{step}: {why}")
}

impl<'s> Player<'s> {
    /// A new call.
    pub(super) fn new(stage: &'s Stage, journal: &'s Journal) -> Result<Self, String> {
        let arrival = stage.bends.arrival();
        let flow = stage.bends.studio.then(|| random_sid("FW")).transpose()?;
        Ok(Self { stage, journal, arrival, call: random_sid("CA")?, flow })
    }

    /// The same over a store that fails.
    pub(super) fn over_a_dead_store(self) -> Self {
        Self { arrival: Arrival::Unknown, ..self }
    }

    /// Its SID.
    pub(super) fn call(&self) -> &str {
        &self.call
    }

    /// The whole call, in which the agent talks for so long; answers how long all else took, from the
    /// first webhook until what was written has been read.
    pub(super) async fn play(&self, talk: Duration) -> Result<Duration, String> {
        let began = Instant::now();
        let mut talked = Duration::ZERO;
        let (mut after, mut last) = (0, None);
        let visits = if self.stage.bends.second_visit { 2 } else { 1 };
        for leg in 1..=visits {
            let data = agent::handoff(leg, self.stage.bends.contained);
            let visit = self.voice(Some((leg, after))).await?;
            if !talk.is_zero() {
                let talks = Instant::now();
                tokio::time::sleep(talk).await;
                talked += talks.elapsed();
            }
            let revision = self.visit(&visit, &data).await?;
            after = revision.unwrap_or(after);
            last = Some((visit, revision.map(|_| data)));
        }
        if let Some((visit, data)) = &last {
            self.read(visit, data.as_ref()).await?;
        }
        let took = began.elapsed().saturating_sub(talked);
        self.status().await?;
        Ok(took)
    }

    /// The call comes in and is sent to the agent, on the visit and after the revision that are wanted.
    pub(super) async fn voice(&self, wanted: Option<(u32, u64)>) -> Result<Visit, String> {
        let flow = self.flow.as_ref().map(|flow| format!("?flow={flow}")).unwrap_or_default();
        let url = self.url("voice", &flow);
        let (answer, response) = self.webhook("voice", &url, "ringing", &[]).await?;
        let visit = Visit::read(&response).map_err(at("voice"))?;
        self.journal.step("voice", &answer, &visit);
        if visit.is_by_sip != self.stage.bends.sip {
            let mode = if visit.is_by_sip { "sip; play it with --sip" } else { "stream, not sip" };
            return Err(format!("voice: routing.mode of the connector is {mode}"));
        }
        match wanted {
            Some((leg, after)) if (visit.leg, visit.after) != (leg, after) => {
                Err(format!("voice: it should be leg {leg}, after {after}"))
            }
            _ if visit.told("leg").is_some_and(|leg| leg != visit.leg.to_string()) => {
                Err("voice: the agent is told another leg".to_owned())
            }
            _ => Ok(visit),
        }
    }

    /// The agent writes, and the call comes back; answers the revision that was written.
    async fn visit(&self, visit: &Visit, data: &Value) -> Result<Option<u64>, String> {
        let late = self.stage.bends.late;
        // Boxed, for they are moved, and large.
        let writing = Box::pin(async {
            if let Some(late) = late {
                tokio::time::sleep(late).await;
            }
            self.agent(visit, data).await
        });
        let returning = Box::pin(self.back(visit, data));
        if late.is_none() {
            let revision = writing.await?;
            returning.await?;
            return Ok(revision);
        }
        let (revision, returned) = tokio::join!(writing, returning);
        returned?;
        revision
    }

    async fn agent(&self, visit: &Visit, data: &Value) -> Result<Option<u64>, String> {
        let bends = &self.stage.bends;
        if bends.no_handoff {
            return Ok(None);
        }
        let agent = Agent::of(visit).map_err(at("agent"))?;
        if bends.wrong_token {
            let answer = agent.try_wrongly(&self.stage.wire, data).await.map_err(at("agent"))?;
            self.journal.step("agent", &answer, "tried with another call token than its own");
            let is_refused = answer.status == 401;
            return if is_refused { Ok(None) } else { Err("agent: it should be 401".to_owned()) };
        }
        let answer = agent.write(&self.stage.wire, data).await.map_err(at("agent"))?;
        let receipt = api::json_of(&answer);
        let revision = receipt.get("revision").and_then(Value::as_u64);
        match revision {
            Some(revision) if answer.status == 200 || answer.status == 201 => {
                let told = format!("wrote revision {revision} with the call token");
                self.journal.step("agent", &answer, told);
                Ok(Some(revision))
            }
            _ => Err(format!("agent: {}", api::refusal(&answer))),
        }
    }

    /// The call comes back from the agent, and what is answered becomes of it.
    pub(super) async fn back(&self, visit: &Visit, data: &Value) -> Result<(), String> {
        let status = if self.stage.bends.hangup { "completed" } else { "in-progress" };
        let dial = [("DialCallStatus", "completed"), ("DialBridged", "true")];
        let more: &[(&str, &str)] = if visit.is_by_sip { &dial } else { &[] };
        let (answer, response) = self.webhook("back", &visit.action, status, more).await?;
        let onward = Onward::read(&response).map_err(at("back"))?;
        self.journal.step("back", &answer, &onward);
        self.check_onward(visit, &onward).map_err(at("back"))?;
        match &onward {
            Onward::Over | Onward::Hangup | Onward::Called(..) => Ok(()),
            Onward::Redirect(_) => self.studio(visit, data).await,
            Onward::Enqueue { task, .. } => {
                let attributes = Attributes::of_task(task).map_err(at("task"))?;
                self.show(&attributes, visit, data)
            }
        }
    }

    /// The flow asks what is known, and gives it to Send To Flex.
    async fn studio(&self, visit: &Visit, data: &Value) -> Result<(), String> {
        let (leg, after) = (visit.leg.to_string(), visit.after.to_string());
        let form = [
            ("id", self.call.as_str()),
            ("AccountSid", self.stage.twilio.account()),
            ("From", FROM),
            ("leg", leg.as_str()),
            ("after", after.as_str()),
        ];
        let url = self.url("studio/handoff", "");
        let answer = self.stage.twilio.post(&url, &form).await.map_err(at("studio"))?;
        if answer.status != 200 {
            return Err(format!("studio: {}", api::refusal(&answer)));
        }
        let told = FlowAnswer::read(&answer.body).map_err(at("studio"))?;
        let FlowAnswer { action, status, .. } = &told;
        self.journal.step("studio", &answer, format!("action {action}, status {status}"));
        let wanted = self.action();
        if action != wanted && (self.stage.is_made || action != "dial") {
            return Err(format!("studio: action should be {wanted}"));
        }
        self.show(&Attributes::of_flow(&told), visit, data)
    }

    /// Shows attributes, and whether they are what they should be.
    fn show(&self, attributes: &Attributes, visit: &Visit, data: &Value) -> Result<(), String> {
        self.journal.tell(attributes);
        let status = match self.arrival {
            Arrival::Before | Arrival::Meanwhile if self.stage.bends.contained => "contained",
            Arrival::Before | Arrival::Meanwhile => "ready",
            Arrival::Never => "missing",
            Arrival::Unknown => "error",
        };
        let data = self.arrival.is_found().then_some(data);
        attributes.check(&Expected { call: &self.call, leg: visit.leg, status, data })
    }

    /// A Function, or whoever else holds a key, reads what was written last.
    async fn read(&self, visit: &Visit, data: Option<&Value>) -> Result<(), String> {
        let mut about = vec![("id", self.call.as_str())];
        for name in ["account_id", "project_id"] {
            about.extend(visit.told(name).map(|value| (name, value)));
        }
        let answer = self.stage.api.read(&about).await.map_err(at("read"))?;
        let read = api::json_of(&answer);
        let (fits, told) = match (data, answer.status) {
            (Some(data), 200) => (read.get("data") == Some(data), "the data, as it was written"),
            (None, 404) => (true, "nothing, as nothing was written"),
            _ => return Err(format!("read: {}", api::refusal(&answer))),
        };
        if !fits {
            return Err("read: other data than was written".to_owned());
        }
        self.journal.step("read", &answer, told);
        Ok(())
    }

    /// The call ends.
    async fn status(&self) -> Result<(), String> {
        let form = self.form("completed", &[("CallDuration", "61")]);
        let url = self.url("status", "");
        let answer = self.stage.twilio.post(&url, &form).await.map_err(at("status"))?;
        if answer.status != 204 {
            return Err(format!("status: {}", self.refused(&answer)));
        }
        self.journal.step("status", &answer, "the call has ended");
        Ok(())
    }

    /// A webhook that is answered with `TwiML`.
    async fn webhook(
        &self,
        step: &'static str,
        url: &str,
        status: &str,
        more: &[(&str, &str)],
    ) -> Result<(Answer, Element), String> {
        let form = self.form(status, more);
        let answer = self.stage.twilio.post(url, &form).await.map_err(at(step))?;
        if answer.status != 200 {
            return Err(format!("{step}: {}", self.refused(&answer)));
        }
        let kind = &answer.content_type;
        if !kind.starts_with("text/xml") {
            return Err(format!(
                "{step}: Content-Type is {kind:?}, which Twilio takes for no TwiML"
            ));
        }
        let response = Element::read(&answer.body);
        let response = response.map_err(|why| format!("{step}: the answer is no TwiML: {why}"))?;
        Ok((answer, response))
    }

    fn form<'f>(&'f self, status: &'f str, more: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
        let mut form = vec![
            ("AccountSid", self.stage.twilio.account()),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", self.call.as_str()),
            ("CallStatus", status),
            ("Direction", "inbound"),
            ("From", FROM),
            ("To", TO),
        ];
        form.extend_from_slice(more);
        form
    }

    /// The URL of a route, as it is configured at Twilio.
    fn url(&self, route: &str, query: &str) -> String {
        let Stage { wire, connector, .. } = self.stage;
        wire.public(&format!("/twilio/{route}/{connector}{query}"))
    }
}
