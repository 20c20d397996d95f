//! [`Twilio`]: a pretend one. It signs what it sends with the account's Auth Token, over the URL that it
//! was told to ask for, as the real one does; what it is answered it reads and follows ([`Visit`],
//! [`Onward`]).

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::rand;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use secrecy::ExposeSecret;
use secrecy::SecretString;

use crate::cli::call::twiml::Element;
use crate::cli::call::wire;
use crate::cli::call::wire::Answer;
use crate::cli::call::wire::Wire;
use crate::domain::account_sid::AccountSid;
use crate::domain::algorithm::Algorithm;
use crate::twilio::form::Pairs;
use crate::twilio::signature;
use crate::twilio::signature::Secret;

/// Who calls, and whom: numbers that are nobody's.
pub(super) const FROM: &str = "+441632960001";
pub(super) const TO: &str = "+441632960002";

/// A pretend Twilio, of one account.
#[derive(Debug)]
pub(super) struct Twilio {
    wire: Wire,
    account: AccountSid,
    secret: Secret,
}

impl Twilio {
    /// Twilio as the account's Auth Token makes it.
    pub(super) fn new(wire: Wire, account: AccountSid, auth_token: &SecretString) -> Self {
        let secret = Secret::new("auth_token", Algorithm::HmacSha1, auth_token.expose_secret());
        Self { wire, account, secret }
    }

    /// The account.
    pub(super) fn account(&self) -> &str {
        self.account.as_str()
    }

    /// Sends a webhook to a URL, as it was configured or answered, signed.
    pub(super) async fn post(&self, url: &str, form: &[(&str, &str)]) -> Result<Answer, String> {
        let body = encoded(form);
        let signature = signature::sign(&self.secret, url, &Pairs::decode(body.as_bytes()));
        let request = self.wire.request(Method::POST, url);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        wire::send(request.header("x-twilio-signature", signature).body(body)).await
    }
}

fn encoded(form: &[(&str, &str)]) -> String {
    let text = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let pairs = form.iter().map(|&(name, value)| format!("{}={}", text(name), text(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// A SID as Twilio makes them: two letters and 32 hex digits.
pub(super) fn random_sid(kind: &str) -> Result<String, String> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_unspecified| "the system's random source failed")?;
    Ok(format!("{kind}{:032x}", u128::from_be_bytes(bytes)))
}

/// What a voice webhook was answered: a visit to the agent. It holds a call token, so it is not printed.
pub(super) struct Visit {
    /// Which visit.
    pub(super) leg: u32,
    /// The revision of the handoff that was there before.
    pub(super) after: u64,
    /// The agent is on SIP.
    pub(super) is_by_sip: bool,
    /// Where the agent is.
    pub(super) agent: String,
    /// Whom Twilio asks when the agent is done.
    pub(super) action: String,
    told: BTreeMap<String, String>,
}

impl Visit {
    /// Reads the answer.
    pub(super) fn read(response: &Element) -> Result<Self, String> {
        let (verb, noun) = match (response.child("Connect"), response.child("Dial")) {
            (Some(connect), _) if connect.attribute("connectorId").is_some() => {
                let compat = "routing.mode of the connector is compat, with which Twilio does nothing: set it to stream or sip";
                return Err(compat.to_owned());
            }
            (Some(connect), _) => (connect, connect.child("Stream")),
            (None, Some(dial)) => (dial, dial.child("Sip")),
            (None, None) => (response, None),
        };
        let nobody = "it does not lead to an agent: the connector does not say where that is (routing.agent_url; or, in mode sip, routing.sip.uri)";
        let noun = noun.ok_or(nobody)?;
        let action =
            verb.attribute("action").ok_or("nobody is asked when the agent is done (no action)")?;
        let of_url = |name: &str| in_query(action, name).unwrap_or_default();
        let number = |name: &str| {
            let text = of_url(name);
            text.parse::<u64>().map_err(|_none| format!("{name} of the action's URL is {text:?}"))
        };
        let (agent, told) = match noun.name.as_str() {
            "Sip" => by_sip(&noun.text),
            _ => (noun.attribute("url").unwrap_or_default().to_owned(), parameters(noun)),
        };
        Ok(Self {
            leg: u32::try_from(number("leg")?).unwrap_or(u32::MAX),
            after: number("after")?,
            is_by_sip: noun.name == "Sip",
            agent,
            action: action.to_owned(),
            told,
        })
    }

    /// What the agent is told, by the name of its `<Parameter>`.
    pub(super) fn told(&self, name: &str) -> Option<&str> {
        self.told.get(name).map(String::as_str)
    }
}

impl fmt::Display for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { leg, after, agent, told, .. } = self;
        let by = if self.is_by_sip { "<Dial><Sip>" } else { "<Connect><Stream>" };
        write!(f, "leg {leg}, after {after}, {by} to {agent}; the agent is told ")?;
        f.write_str(&told.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
    }
}

/// Names and values of `<Parameter>`.
fn parameters(stream: &Element) -> BTreeMap<String, String> {
    let given = stream.children.iter().filter(|child| child.name == "Parameter");
    let pair = |parameter: &Element| {
        let (name, value) = (parameter.attribute("name")?, parameter.attribute("value")?);
        Some((name.to_owned(), value.to_owned()))
    };
    given.filter_map(pair).collect()
}

/// Where a SIP agent is, and its call's headers under the names of the `<Parameter>` that says the same.
fn by_sip(uri: &str) -> (String, BTreeMap<String, String>) {
    let (address, headers) = uri.split_once('?').unwrap_or((uri, ""));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = Pairs::decode(headers.as_bytes());
    let headers = headers.iter().map(|(name, value)| {
        let name = text(name).to_ascii_lowercase().replace('-', "_");
        (name.strip_prefix("x_").unwrap_or(&name).to_owned(), text(value))
    });
    (address.to_owned(), headers.collect())
}

/// A parameter of a URL's query, decoded.
pub(super) fn in_query(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let pairs = Pairs::decode(query.as_bytes());
    pairs.one(name).ok().flatten().map(str::to_owned)
}

/// What becomes of a call that came back from the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Onward {
    /// Nothing: it is over.
    Over,
    /// It ends.
    Hangup,
    /// A person takes it, by `TaskRouter`.
    Enqueue {
        /// The workflow.
        workflow: String,
        /// The task's priority.
        priority: Option<String>,
        /// The task's attributes.
        task: String,
    },
    /// Somebody is called; and by which verb.
    Called(&'static str, String),
    /// It goes back into a flow.
    Redirect(String),
}

impl Onward {
    /// Reads the answer.
    pub(super) fn read(response: &Element) -> Result<Self, String> {
        let heard = ["Say", "Play", "Pause"];
        let Some(verb) = response.children.iter().find(|verb| !heard.contains(&verb.name.as_str()))
        else {
            return Ok(Self::Over);
        };
        let whom = || verb.child("Sip").map_or(&verb.text, |sip| &sip.text).clone();
        let attribute = |name: &str| verb.attribute(name).map(str::to_owned);
        match verb.name.as_str() {
            "Hangup" => Ok(Self::Hangup),
            "Redirect" => Ok(Self::Redirect(verb.text.clone())),
            "Dial" => Ok(Self::Called("Dial", whom())),
            "Refer" => Ok(Self::Called("Refer", whom())),
            "Enqueue" => {
                let task = verb.child("Task").ok_or("<Enqueue> has no <Task>")?;
                Ok(Self::Enqueue {
                    workflow: attribute("workflowSid").ok_or("<Enqueue> names no workflow")?,
                    priority: task.attribute("priority").map(str::to_owned),
                    task: task.text.clone(),
                })
            }
            other => Err(format!("<{other}> is not what a call that comes back is answered")),
        }
    }
}

impl fmt::Display for Onward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over => f.write_str("<Response/>: nothing, the call is over"),
            Self::Hangup => f.write_str("<Hangup/>"),
            Self::Enqueue { workflow, priority: None, .. } => write!(f, "<Enqueue> to {workflow}"),
            Self::Enqueue { workflow, priority: Some(priority), .. } => {
                write!(f, "<Enqueue> to {workflow}, priority {priority}")
            }
            Self::Called(verb, whom) => write!(f, "<{verb}> to {whom}"),
            Self::Redirect(url) => {
                let (flow, query) = url.split_once('?').unwrap_or((url, ""));
                let flow = flow.rsplit('/').next().unwrap_or_default();
                write!(f, "<Redirect> into {flow} with {query}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(inner: &str) -> Element {
        Element::read(&format!("<Response>{inner}</Response>")).unwrap()
    }

    #[test]
    fn an_agent_is_told_the_same_by_parameters_and_by_headers() {
        let stream = response(
            r#"<Say>Hello</Say><Connect action="https://b/twilio/handoff/c?leg=2&amp;after=7"><Stream url="wss://a/"><Parameter name="handoff_url" value="https://b/v1?id=CA1"/><Parameter name="call_token" value="bct_1"/></Stream></Connect>"#,
        );
        let sip = response(
            r#"<Dial action="https://b/twilio/handoff/c?leg=2&amp;after=7"><Sip>sip:a@b;secure=true?X-Handoff-Url=https%3A%2F%2Fb%2Fv1%3Fid%3DCA1&amp;X-Call-Token=bct_1</Sip></Dial>"#,
        );
        let (stream, sip) = (Visit::read(&stream).unwrap(), Visit::read(&sip).unwrap());
        assert_eq!((stream.leg, stream.after, sip.leg, sip.after), (2, 7, 2, 7));
        assert_eq!(stream.told, sip.told);
        assert_eq!(
            (stream.agent.as_str(), sip.agent.as_str()),
            ("wss://a/", "sip:a@b;secure=true")
        );
        assert!(sip.is_by_sip && !stream.is_by_sip);
        assert!(!stream.to_string().contains("bct_1") && !sip.to_string().contains("bct_1"));
        for nowhere in ["", "<Say>Sorry</Say><Dial>+44</Dial>", r#"<Connect connectorId="c"/>"#] {
            assert!(Visit::read(&response(nowhere)).is_err(), "{nowhere}");
        }
    }

    #[test]
    fn what_becomes_of_a_call_is_told_without_its_task() {
        let told = |inner: &str| Onward::read(&response(inner)).unwrap().to_string();
        assert_eq!(told("<Hangup/>"), "<Hangup/>");
        assert!(told("").starts_with("<Response/>"));
        assert_eq!(told("<Say>x</Say><Dial>+44</Dial>"), "<Dial> to +44");
        assert_eq!(told("<Refer><Sip>sip:a@b</Sip></Refer>"), "<Refer> to sip:a@b");
        let task = r#"<Enqueue workflowSid="WW1"><Task priority="5">{"a":1}</Task></Enqueue>"#;
        assert_eq!(told(task), "<Enqueue> to WW1, priority 5");
        assert!(
            told("<Redirect>https://w/Flows/FW1?leg=1&amp;after=0</Redirect>")
                .contains("FW1 with leg=1&after=0")
        );
        assert!(Onward::read(&response("<Gather/>")).is_err());
    }

    #[test]
    fn a_form_reads_back_and_a_sid_is_twilios() {
        let form = [("From", "+44 1"), ("é&=", "a+b%")];
        let pairs = Pairs::decode(encoded(&form).as_bytes());
        let pair = |(name, value): (&str, &str)| (name.into(), value.into());
        let wanted: Pairs = form.into_iter().map(pair).collect();
        assert_eq!(pairs, wanted);
        let sid = random_sid("CA").unwrap();
        assert_eq!((sid.len(), sid.get(..2)), (34, Some("CA")));
        assert_ne!(sid, random_sid("CA").unwrap());
    }
}
