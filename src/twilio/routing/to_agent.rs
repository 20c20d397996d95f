//! How a call reaches the agent, by the connector's `routing.mode`.

use secrecy::ExposeSecret;
use secrecy::SecretString;

use crate::domain::connector::routing::Mode;
use crate::domain::connector::routing::Sip;
use crate::twilio::routing::Visit;
use crate::twilio::routing::say;
use crate::twilio::routing::sip;
use crate::twilio::twiml;
use crate::twilio::twiml::Element;

// Twilio's: name and value of a `<Parameter>` together.
const MAX_PARAMETER_CHARACTERS: usize = 499;

/// The `TwiML` that sends a call to its agent, with what the agent needs to write the call's handoff;
/// `None` when the connector does not say where its agent is.
pub fn to_agent(visit: &Visit<'_>, token: Option<&SecretString>) -> Option<String> {
    let settings = &visit.connector.settings;
    let routing = &settings.routing;
    let language = settings.extra_info.telephony().tts_lang_code.as_str();
    let greeting = say(routing.greeting.as_str(), language);
    let connect = match routing.mode {
        Mode::Compat => {
            return Some(twiml::compat(&visit.connector.id, routing.greeting.as_str()));
        }
        Mode::Stream => stream(visit, routing.agent_url.as_ref()?.as_str(), token),
        Mode::Sip => dial(visit, routing.sip.as_ref()?, token),
    };
    Some(twiml::response(greeting.into_iter().chain([connect])))
}

fn stream(visit: &Visit<'_>, agent: &str, token: Option<&SecretString>) -> Element {
    let fits = |(name, value): &(&str, String)| {
        name.len() + value.chars().count() <= MAX_PARAMETER_CHARACTERS
    };
    let parameter = |(name, value): (&str, String)| {
        Element::new("Parameter").with("name", name).with("value", value)
    };
    let parameters = told(visit, token).into_iter().map(|(name, _, value)| (name, value));
    let stream = Element::new("Stream")
        .with("url", agent)
        .with("statusCallback", visit.url("stream"))
        .with("statusCallbackMethod", "POST");
    let stream = parameters.filter(fits).map(parameter).fold(stream, Element::child);
    Element::new("Connect")
        .with("action", visit.url("handoff"))
        .with("method", "POST")
        .child(stream)
}

fn dial(visit: &Visit<'_>, agent: &Sip, token: Option<&SecretString>) -> Element {
    let of_connector = agent.headers.iter().map(|(name, value)| (name.as_str(), value.expose()));
    let mut told = told(visit, token);
    // Of what Twilio may have no room for, the URL can be known otherwise, and the token cannot.
    told.sort_by_key(|(name, _, _)| *name != "call_token");
    let of_call = [("X-Call-Sid", visit.call.as_str())].into_iter();
    let of_call = of_call.chain(told.iter().map(|(_, header, value)| (*header, value.as_str())));
    // The connector's own first: without them its agent may take no call at all.
    let uri = sip::with_headers(&sip::secured(agent.uri.as_str()), of_connector.chain(of_call));
    Element::new("Dial")
        .with("answerOnBridge", "true")
        .with("action", visit.url("handoff"))
        .with("method", "POST")
        .with("referUrl", visit.url("refer"))
        .with("referMethod", "POST")
        .child(Element::new("Sip").text(uri))
}

/// What an agent is told, by the name of a `<Parameter>` and of a SIP header; what cannot be missed
/// first, and nothing that is empty.
fn told(
    visit: &Visit<'_>,
    token: Option<&SecretString>,
) -> Vec<(&'static str, &'static str, String)> {
    let connector = visit.connector;
    let telephony = connector.settings.extra_info.telephony();
    let handoff_url = format!("{}/v1/handoff_state?id={}", visit.public_url, visit.call);
    let token = token.map(|token| token.expose_secret().to_owned()).unwrap_or_default();
    let all = [
        ("handoff_url", "X-Handoff-Url", handoff_url),
        ("call_token", "X-Call-Token", token),
        ("connector_id", "X-Connector-Id", connector.id.to_string()),
        ("account_id", "X-Account-Id", connector.account.to_string()),
        ("project_id", "X-Project-Id", connector.project.to_string()),
        ("client_env", "X-Client-Env", connector.client_env.to_string()),
        ("variant_id", "X-Variant-Id", connector.settings.variant_id.as_str().to_owned()),
        ("asr_lang_code", "X-Asr-Lang-Code", telephony.asr_lang_code.as_str().to_owned()),
        ("tts_lang_code", "X-Tts-Lang-Code", telephony.tts_lang_code.as_str().to_owned()),
        ("leg", "X-Leg", visit.leg.to_string()),
    ];
    all.into_iter().filter(|(_, _, value)| !value.is_empty()).collect()
}
