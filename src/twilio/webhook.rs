//! [`Webhook`]: what a voice webhook says, whichever it is: of the call, of how the agent's visit or the
//! queue ended, and of what Baton put into its own URL.
//!
//! Sources: Twilio's pages on voice webhooks, `<Connect>`,
//! `<Dial>`, `<Refer>`, `<Enqueue>`, `ConversationRelay` and "Inbound SIP REFER".

use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::domain::handoff_id::HandoffId;
use crate::twilio::form::Pairs;

// What Baton puts into its own URLs, and what Twilio sends. One that is given twice is signed like one
// that is given once, so none may be.
const OURS: [&str; 3] = ["flow", "leg", "after"];
const TWILIOS: [&str; 14] = [
    "CallSid",
    "ParentCallSid",
    "AccountSid",
    "From",
    "CallStatus",
    "SipDomain",
    "HandoffData",
    "SessionStatus",
    "DialCallStatus",
    "ReferCallStatus",
    "QueueResult",
    "StreamError",
    "StreamEvent",
    "ReferTransferTarget",
];

// Of those of a call that was put through; Twilio's own words for one that was not.
const NOT_REACHED: [&str; 4] = ["busy", "failed", "no-answer", "canceled"];
const OVER: [&str; 5] = ["completed", "busy", "failed", "no-answer", "canceled"];
// An agent that closes its socket ends a stream; Twilio calls that an error too.
const CLOSED_BY_AGENT: &str = "31921";

/// What a voice webhook says.
#[derive(Clone, Copy, Debug)]
pub struct Webhook<'p> {
    ours: &'p Pairs,
    twilios: &'p Pairs,
}

/// A parameter that no webhook of Twilio's has like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("parameter {0} is missing, is given twice, or is not what it should be")]
pub struct NotTwilios(pub &'static str);

/// A Studio flow, as the URL of a webhook names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow<'p> {
    /// None.
    None,
    /// `FW` and 32 hex digits.
    Sid(&'p str),
    /// Something else: a template that nobody rendered, most likely.
    Malformed,
}

impl<'p> Flow<'p> {
    /// Its SID, if it is one.
    pub fn sid(self) -> Option<&'p str> {
        match self {
            Self::Sid(sid) => Some(sid),
            Self::None | Self::Malformed => None,
        }
    }
}

impl<'p> Webhook<'p> {
    /// Reads the verified parameters of a URL, and of the form that was posted to it, if one was.
    ///
    /// URL and form are signed with nothing between, so whoever has one signed request can move what
    /// stands in the one into the other. What Twilio says is therefore read from the form alone, and what
    /// Baton has put into the URL from the URL alone; and what moving things would leave of a form or of
    /// a number is refused.
    pub fn read(query: &'p Pairs, form: Option<&'p Pairs>) -> Result<Self, NotTwilios> {
        let twilios = form.unwrap_or(query);
        let webhook = Self { ours: query, twilios };
        for (names, pairs) in [(OURS.as_slice(), query), (TWILIOS.as_slice(), twilios)] {
            let unclear = |name: &&&str| pairs.one(name).is_err();
            if let Some(name) = names.iter().find(unclear) {
                return Err(NotTwilios(name));
            }
        }
        let is_number = |text: &str| text.is_empty() || text.parse::<u64>().is_ok();
        let bad = [
            ("AccountSid", webhook.account_sid().is_empty()),
            ("leg", !is_number(webhook.own("leg"))),
            ("after", !is_number(webhook.own("after"))),
            // Posted, it is what nobody rendered; a call is not lost for that.
            ("flow", form.is_none() && webhook.flow() == Flow::Malformed),
        ];
        match bad.into_iter().find(|(_, is_bad)| *is_bad) {
            Some((name, _)) => Err(NotTwilios(name)),
            None => Ok(webhook),
        }
    }

    fn own(self, name: &str) -> &'p str {
        debug_assert!(OURS.contains(&name), "{name} may be given twice");
        self.ours.one(name).ok().flatten().unwrap_or_default()
    }

    fn text(self, name: &str) -> &'p str {
        debug_assert!(TWILIOS.contains(&name), "{name} may be given twice");
        self.twilios.one(name).ok().flatten().unwrap_or_default()
    }

    /// The call's SID, if it is one.
    pub fn call(self) -> Option<HandoffId> {
        self.call_in("CallSid")
    }

    /// The SID of the call that began this one, if one did.
    pub fn parent(self) -> Option<HandoffId> {
        self.call_in("ParentCallSid")
    }

    fn call_in(self, name: &str) -> Option<HandoffId> {
        self.text(name).parse().ok().filter(HandoffId::is_call_sid)
    }

    /// The Twilio account, as the door has checked it.
    pub fn account_sid(self) -> &'p str {
        self.text("AccountSid")
    }

    /// Who calls.
    pub fn from(self) -> &'p str {
        self.text("From")
    }

    /// Twilio's word for what became of the call.
    pub fn status(self) -> &'p str {
        self.text("CallStatus")
    }

    /// The call is over.
    pub fn is_over(self) -> bool {
        OVER.contains(&self.text("CallStatus"))
    }

    /// The call came by SIP, so that it can be referred.
    pub fn is_by_sip(self) -> bool {
        // Not by SipCallId, which may be that of the agent's own leg.
        let is_sip = |text: &str| text.starts_with("sip:") || text.starts_with("sips:");
        is_sip(self.from()) || !self.text("SipDomain").is_empty()
    }

    /// The flow to go back to.
    pub fn flow(self) -> Flow<'p> {
        let sid = self.own("flow");
        let hex = sid.strip_prefix("FW").unwrap_or_default();
        match sid {
            "" => Flow::None,
            _ if hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => Flow::Sid(sid),
            _ => Flow::Malformed,
        }
    }

    /// The visit that it ends; 0 when it is of none that Baton began.
    pub fn leg(self) -> u32 {
        self.own("leg").parse().unwrap_or_default()
    }

    /// The revision that was there when the visit began.
    pub fn after(self) -> u64 {
        self.own("after").parse().unwrap_or_default()
    }

    /// What an agent on `ConversationRelay` said when it ended.
    pub fn handoff_data(self) -> Option<&'p str> {
        Some(self.text("HandoffData")).filter(|data| !data.trim().is_empty())
    }

    /// The agent was not reached, or broke off.
    pub fn agent_failed(self) -> bool {
        self.text("SessionStatus") == "failed" || self.was_not_reached()
    }

    /// Nobody answered who was called.
    pub fn was_not_reached(self) -> bool {
        NOT_REACHED.contains(&self.text("DialCallStatus"))
            || NOT_REACHED.contains(&self.text("ReferCallStatus"))
    }

    /// The queue did not take the call, or lost it.
    pub fn queue_failed(self) -> bool {
        ["queue-full", "system-error", "error"].contains(&self.text("QueueResult"))
    }

    /// What went wrong with a stream, if something did.
    pub fn stream_error(self) -> Option<StreamError> {
        let says = self.text("StreamError");
        match self.text("StreamEvent") {
            "stream-error" if says.contains(CLOSED_BY_AGENT) || says.contains("Close Error") => {
                Some(StreamError::ClosedByAgent)
            }
            "stream-error" => Some(StreamError::Failed),
            _ => None,
        }
    }

    /// Where an agent on SIP referred the call to, with the headers of its REFER.
    pub fn refer_target(self) -> Option<ReferTarget> {
        ReferTarget::read(self.text("ReferTransferTarget"))
    }
}

/// What is the matter with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// Nothing: the agent closed it, as it does when it is done. Error 31921.
    ClosedByAgent,
    /// The agent was not reached, or broke off.
    Failed,
}

/// The `Refer-To` of a SIP REFER, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferTarget {
    /// It, without headers and parameters, as it is spelled.
    pub address: String,
    /// Its user part: whom the agent means.
    pub user: String,
    /// Its headers that begin with `X-`, in order, decoded; names without the `X-`.
    pub headers: Vec<(String, String)>,
}

impl ReferTarget {
    /// Reads `<sip:user@host;parameters?X-Header=value&…>`, with or without brackets and a name before
    /// them.
    fn read(text: &str) -> Option<Self> {
        let inner = text.split_once('<').map_or(text, |(_, rest)| rest);
        let inner = inner.split('>').next().unwrap_or_default().trim();
        let rest = ["sip:", "sips:", "tel:"].iter().find_map(|scheme| {
            let begins = inner.get(..scheme.len())?.eq_ignore_ascii_case(scheme);
            begins.then(|| inner.get(scheme.len()..)).flatten()
        })?;
        let (address, headers) = rest.split_once('?').unwrap_or((rest, ""));
        let user = address.split(['@', ';']).next().unwrap_or_default();
        let header = |part: &str| {
            let (name, value) = part.split_once('=')?;
            let name = decoded(name);
            let short = name.get(..2).filter(|x| x.eq_ignore_ascii_case("x-")).and(name.get(2..));
            short.filter(|short| !short.is_empty()).map(|short| (short.to_owned(), decoded(value)))
        };
        let headers = headers.split('&').filter_map(header).collect();
        let bare = inner.split(['?', ';']).next().unwrap_or_default();
        Some(Self { address: bare.to_owned(), user: decoded(user), headers })
    }

    /// Whom it means: `X-Destination`, or the user part.
    pub fn destination(&self) -> &str {
        self.header("destination").unwrap_or(&self.user)
    }

    /// The value of a header, by its name without the `X-`.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Option<ReferTarget> {
        ReferTarget::read(text)
    }

    #[test]
    fn a_refers_target_is_taken_apart() {
        let read = target("\"Desk\" <sip:billing@pbx.example;transport=tls?X-Reason=late%20bill&x-customer-id=7&Replaces=1>").unwrap();
        assert_eq!(
            (read.user.as_str(), read.address.as_str()),
            ("billing", "sip:billing@pbx.example")
        );
        assert_eq!(
            (read.header("reason"), read.header("Customer-ID")),
            (Some("late bill"), Some("7"))
        );
        assert_eq!(read.headers.len(), 2);
        assert_eq!(target("sip:+441632960000@x").unwrap().user, "+441632960000");
        assert_eq!(target("tel:+44").unwrap().user, "+44");
        for none in ["", "billing", "https://x", "<>", "sip", "é:"] {
            assert_eq!(target(none), None, "{none}");
        }
    }

    fn read<'p>(query: &'p Pairs, form: &'p Pairs) -> Webhook<'p> {
        Webhook::read(query, Some(form)).unwrap()
    }

    #[test]
    fn a_webhook_says_how_a_visit_ended() {
        let says = |form: &str| Pairs::decode(format!("AccountSid=AC1&{form}").as_bytes());
        let query = Pairs::decode(b"leg=2&after=7&flow=%7B%7Bx%7D%7D");
        let form = says("CallStatus=in-progress&SessionStatus=failed&leg=9&flow=FW0");
        let webhook = read(&query, &form);
        assert!(webhook.agent_failed() && !webhook.is_over());
        assert_eq!((webhook.leg(), webhook.after(), webhook.flow()), (2, 7, Flow::Malformed));
        let form = says("CallStatus=completed&CallSid=x&From=sip:a@b");
        let webhook = read(&query, &form);
        assert!(webhook.is_over() && webhook.is_by_sip() && webhook.call().is_none());
        let error = |form: &str| read(&query, &says(form)).stream_error();
        let closed = "StreamEvent=stream-error&StreamError=31921+Stream+-+WebSocket+-+Close+Error";
        assert_eq!(error(closed), Some(StreamError::ClosedByAgent));
        assert_eq!(error("StreamEvent=stream-error&StreamError=31920"), Some(StreamError::Failed));
        assert_eq!(error("StreamEvent=stream-stopped"), None);
    }

    #[test]
    fn what_stands_where_twilio_puts_nothing_is_refused() {
        let why = |query: &str, form: Option<&str>| {
            let form = form.map(|form| Pairs::decode(form.as_bytes()));
            let read = Webhook::read(&Pairs::decode(query.as_bytes()), form.as_ref()).map(|_| ());
            read.map_err(|NotTwilios(name)| name)
        };
        assert_eq!(why("leg=1&From=a", Some("AccountSid=AC1&From=b")), Ok(()));
        assert_eq!(why("AccountSid=AC1&CallSid=x", None), Ok(()));
        // A form that was moved into the URL.
        let moved = "leg=1&after=0AccountSidAC1HandoffDatax&AccountSid=AC1&CallStatus=completed&z=";
        assert_eq!(why(moved, Some("")), Err("AccountSid"));
        assert_eq!(why(moved, None), Err("after"));
        assert_eq!(why("flow=FW1AccountSidAC1&AccountSid=AC1", None), Err("flow"));
        assert_eq!(why("flow=%7B%7Bx%7D%7D", Some("AccountSid=AC1")), Ok(()));
        assert_eq!(why("", Some("AccountSid=AC1&From=a&From=a")), Err("From"));
        assert_eq!(why("leg=1&leg=1", Some("AccountSid=AC1")), Err("leg"));
    }
}
