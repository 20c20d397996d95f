//! Where a call goes when it comes back from the agent.

use std::fmt;

use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;

use crate::domain::connector::address::WaitUrl;
use crate::domain::connector::address::WorkflowSid;
use crate::domain::connector::destination::Destination;
use crate::domain::connector::destination::Fallback;
use crate::domain::fields::Fields;
use crate::domain::fields::SUMMARY;
use crate::domain::handoff::Status;
use crate::domain::timeline::Action;
use crate::twilio::attributes;
use crate::twilio::attributes::About;
use crate::twilio::attributes::TASK_CHARACTERS;
use crate::twilio::routing::Visit;
use crate::twilio::routing::say;
use crate::twilio::routing::sip;
use crate::twilio::studio;
use crate::twilio::twiml;
use crate::twilio::twiml::Element;

/// What is known of a call that comes back.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    /// Its handoff.
    Handoff {
        /// What the agent says of it.
        status: Status,
        /// The object.
        data: &'a str,
    },
    /// Nothing, and why: `missing` or `error`.
    Nothing(&'static str),
}

/// Who a call is, beside its SID.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Whom Twilio names as calling.
    pub from: &'a str,
    /// The call came by SIP, so that it can be referred.
    pub is_by_sip: bool,
    /// The Twilio account it is of.
    pub account_sid: &'a str,
    /// The view link that its task carries; empty where the connector wants none.
    pub view_link: &'a str,
}

/// Where a call goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Onward {
    /// The answer that sends it there.
    pub twiml: String,
    /// Where to.
    pub action: Action,
    /// What its task had no room for: names, separated by commas.
    pub left_out: String,
}

// It tells of a person.
impl fmt::Debug for Onward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Onward({:?})", self.action)
    }
}

impl Onward {
    fn to(action: Action, twiml: String) -> Self {
        Self { twiml, action, left_out: String::new() }
    }
}

/// The `TwiML` for a call that needs a person, or needs none any more; `None` when the connector names
/// nobody who would take it.
pub fn onward(visit: &Visit<'_>, caller: Caller<'_>, known: Known<'_>) -> Option<Onward> {
    let fields = match known {
        Known::Handoff { status: Status::Contained, .. } => {
            return Some(Onward::to(Action::Hangup, hangup()));
        }
        Known::Handoff { data, .. } => Fields::of(data, SUMMARY),
        Known::Nothing(_) => Fields::default(),
    };
    match visit.connector.settings.destinations.get(&fields.destination) {
        named @ (None | Some(Destination::Workflow { .. })) => {
            enqueue(visit, caller, known, (named, fields.priority))
        }
        Some(Destination::Number(number)) => {
            let dial = put_through(visit, "Dial", |dial| dial.text(number.as_str()));
            Some(Onward::to(Action::Dial, dial))
        }
        Some(Destination::Sip(uri)) => {
            let call = [("X-Call-Sid", visit.call.as_str())];
            let uri = sip::with_headers(uri.as_str(), call.into_iter());
            // Only a call that came by SIP can be referred; Twilio ends any other with an error.
            let (verb, action) =
                if caller.is_by_sip { ("Refer", Action::Refer) } else { ("Dial", Action::Dial) };
            let sip = |dial: Element| dial.child(Element::new("Sip").text(uri));
            Some(Onward::to(action, put_through(visit, verb, sip)))
        }
    }
}

/// The `TwiML` that hangs up.
pub fn hangup() -> String {
    twiml::response([Element::new("Hangup")])
}

fn put_through(
    visit: &Visit<'_>,
    verb: &'static str,
    to: impl FnOnce(Element) -> Element,
) -> String {
    let verb = Element::new(verb).with("action", visit.queue_url()).with("method", "POST");
    twiml::response([to(verb)])
}

fn enqueue(
    visit: &Visit<'_>,
    caller: Caller<'_>,
    known: Known<'_>,
    (named, asked): (Option<&Destination>, u32),
) -> Option<Onward> {
    let settings = &visit.connector.settings;
    let (workflow, priority, timeout): (&WorkflowSid, _, _) = match named {
        Some(Destination::Workflow { sid, priority, timeout_seconds }) => {
            (sid, *priority, *timeout_seconds)
        }
        _ => (settings.flex.workflow_sid.as_ref()?, None, None),
    };
    let (status, data) = match known {
        Known::Handoff { status, data } => (status.as_str(), Some(data)),
        Known::Nothing(why) => (why, None),
    };
    let about = About {
        id: visit.call.as_str(),
        connector_id: visit.connector.id.as_str(),
        public_url: visit.public_url,
        leg: visit.leg,
        from: caller.from,
        view_link: caller.view_link,
    };
    let (task, left_out) =
        attributes::of_task(&about, status, data, &settings.flex, TASK_CHARACTERS);
    let asked = Some(asked).filter(|asked| *asked > 0);
    let task = Element::new("Task")
        .with_some("priority", priority.or(asked).map(|number| number.to_string()))
        .with_some("timeout", timeout.map(|seconds| seconds.to_string()))
        .text(task);
    let enqueue = Element::new("Enqueue")
        .with("workflowSid", workflow.as_str())
        .with("action", visit.queue_url())
        .with("method", "POST")
        .with_some("waitUrl", settings.flex.wait_url.as_ref().map(WaitUrl::as_str));
    let twiml = twiml::response([enqueue.child(task)]);
    Some(Onward { twiml, action: Action::Enqueue, left_out })
}

/// The `TwiML` for a call that nobody takes: what the connector says is left to do.
pub fn fallback(fallback: &Fallback, language: &str) -> String {
    let dial = fallback.number.as_ref().map(|number| Element::new("Dial").text(number.as_str()));
    // Behind the last verb the call ends.
    twiml::response(say(fallback.say.as_str(), language).into_iter().chain(dial))
}

/// The `TwiML` that goes back into the visit's flow, with what the flow's log should show. What is not
/// there yet, the flow's own request waits for.
pub fn to_flow(visit: &Visit<'_>, caller: Caller<'_>, known: Option<Known<'_>>) -> Option<Onward> {
    let flow = visit.flow?;
    let fields = match known {
        Some(Known::Handoff { data, .. }) => Fields::of(data, SUMMARY),
        Some(Known::Nothing(_)) | None => Fields::default(),
    };
    let destination = visit.connector.settings.destinations.get(&fields.destination);
    let action = match known {
        Some(Known::Handoff { status, .. }) => studio::action(status, destination),
        Some(Known::Nothing(_)) => "fallback",
        None => "pending",
    };
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let url = format!(
        "{}?FlowEvent=return&leg={}&after={}&action={action}&destination={}&reason={}",
        flow_url(caller.account_sid, flow),
        visit.leg,
        visit.after,
        encoded(&fields.destination),
        encoded(&fields.reason),
    );
    let redirect = Element::new("Redirect").with("method", "POST").text(url);
    Some(Onward::to(Action::Flow, twiml::response([redirect])))
}

/// A flow's own webhook, which drives it.
pub fn flow_url(account_sid: &str, flow: &str) -> String {
    format!("https://webhooks.twilio.com/v1/Accounts/{account_sid}/Flows/{flow}")
}
