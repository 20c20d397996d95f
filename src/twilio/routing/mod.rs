//! `TwiML` that sends a call on: to the agent ([`to_agent`]), and from the agent to a person
//! ([`onward`]), back into a Studio flow, or to what is left when nothing else can be done.
//!
//! Every URL of ours in it carries the visit it belongs to, `leg`, and the revision that was there when
//! the visit began, `after`, so that what is asked on the way back is answered for that visit.

pub mod onward;
mod sip;
pub mod to_agent;

use crate::domain::connector::Connector;
use crate::domain::handoff_id::HandoffId;
use crate::twilio::twiml::Element;

/// One visit of a call to a connector's agent.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// The connector.
    pub connector: &'a Connector,
    /// Where Baton is, as Twilio reaches it.
    pub public_url: &'a str,
    /// The call.
    pub call: &'a HandoffId,
    /// Which visit, counted from 1; 0 where Baton began none.
    pub leg: u32,
    /// The revision of the handoff that was there when it began; 0 when none was.
    pub after: u64,
    /// The Studio flow that it goes back to.
    pub flow: Option<&'a str>,
}

impl Visit<'_> {
    /// The URL of one of our routes for this visit. Sorted, for Twilio may send a query sorted and sign
    /// it as it was given.
    fn url(&self, route: &str) -> String {
        let Self { connector, public_url, leg, after, flow, .. } = self;
        let id = &connector.id;
        let flow = flow.map(|flow| format!("&flow={flow}")).unwrap_or_default();
        format!("{public_url}/twilio/{route}/{id}?after={after}{flow}&leg={leg}")
    }

    /// Where Twilio tells how a queue, or whoever was called, took the call.
    fn queue_url(&self) -> String {
        let Self { connector, public_url, leg, after, .. } = self;
        format!("{public_url}/twilio/queue/{}?after={after}&leg={leg}", connector.id)
    }
}

/// What is said to a caller; nothing where there is nothing to say.
fn say(text: &str, language: &str) -> Option<Element> {
    if text.is_empty() {
        return None;
    }
    // Twilio's own names of languages have both parts.
    let is_twilios = |tag: &str| {
        let parts = tag.split_once('-');
        parts.is_some_and(|(language, region)| {
            (2..=3).contains(&language.len()) && region.len() == 2
        })
    };
    let language = Some(language).filter(|tag| is_twilios(tag));
    Some(Element::new("Say").with_some("language", language).text(text))
}
