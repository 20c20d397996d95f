//! Finding out what is wrong with a connector: point by point, what was seen and what to do.

use std::time::Duration;

use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::connector::Connector;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::link::Pending;
use crate::domain::connector::link::State;
use crate::domain::connector::routing::Mode;
use crate::domain::principal::Principal;
use crate::service::connectors::Connectors;
use crate::service::error::ConnectorError;
use crate::service::error::ServiceError;
use crate::service::error::TokenLimit;
use crate::telemetry::outbound;
use crate::twilio::rest::Number;
use crate::twilio::rest::RestError;

// A token that ends so soon should be rotated.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);
// All questions to Twilio together.
const LIMIT: Duration = Duration::from_secs(6);
// Numbers that are told of, one by one.
const MAX_TOLD: usize = 50;

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// Point by point.
    pub points: Vec<Point>,
    /// What to paste: where a number, or a `TwiML` Redirect, sends a call.
    pub voice_url: String,
    /// What to paste: where a number tells what becomes of its calls; with a flow, `?flow=FW…` behind it.
    pub status_url: String,
    /// What to paste: where a `TaskRouter` workspace tells what becomes of its tasks.
    pub taskrouter_url: String,
    /// What to paste: where Studio asks for a handoff.
    pub studio_url: String,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// What.
    pub point: &'static str,
    /// Whether it is as it should be; null where that cannot be told.
    pub ok: Option<bool>,
    /// What was seen.
    pub seen: String,
    /// What to do; empty where there is nothing to do.
    pub to_do: String,
}

impl Point {
    fn good(point: &'static str, seen: impl Into<String>) -> Self {
        Self { point, ok: Some(true), seen: seen.into(), to_do: String::new() }
    }

    fn bad(point: &'static str, seen: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { point, ok: Some(false), seen: seen.into(), to_do: to_do.into() }
    }

    fn open(point: &'static str, seen: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { point, ok: None, seen: seen.into(), to_do: to_do.into() }
    }
}

impl Connectors {
    /// Looks at all that a connector needs: with its token, or as whoever manages it.
    pub async fn verify(&self, who: &Principal, id: &ConnectorId) -> Result<Report, ServiceError> {
        let stored = match &who.acting {
            None => self.get(who, id).await?,
            Some(acting) if acting.connector == *id && acting.call.is_none() => {
                self.reached_by(who, id).await?
            }
            Some(acting) if acting.call.is_some() => return Err(TokenLimit::OtherCall.into()),
            Some(_) => return Err(ConnectorError::OtherThanTheTokens.into()),
        };
        let connector = &stored.record;
        let base = self.twilio.public_url();
        let _turns = self.turn(who, "verify", connector)?;
        let (public_url, numbers) = tokio::join!(self.public_url(), self.numbers(connector));
        let mut points =
            vec![self.token(connector), link(connector), public_url, self.last_request(id)];
        points.push(agent(connector));
        points.push(people(connector));
        points.extend(numbers);
        let studio_url = format!("{base}/twilio/studio/handoff/{id}");
        let voice_url = format!("{base}/twilio/voice/{id}");
        let status_url = format!("{base}/twilio/status/{id}");
        let taskrouter_url = format!("{base}/twilio/taskrouter/{id}");
        Ok(Report { points, voice_url, status_url, taskrouter_url, studio_url })
    }

    fn token(&self, connector: &Connector) -> Point {
        let now = self.clock.now();
        let live: Vec<_> = connector.live_tokens(now).collect();
        let Some(newest) = live.first() else {
            let rotate = format!("Make another: baton connector rotate {}", connector.id);
            return Point::bad("token", "none is live", rotate);
        };
        let end = Timestamp::from_micros(newest.ends_at);
        let seen = format!("{} live; the newest works until {end}", live.len());
        if end.until(now) < SOON {
            let rotate =
                format!("It ends soon. Make another: baton connector rotate {}", connector.id);
            return Point::open("token", seen, rotate);
        }
        Point::good("token", seen)
    }

    async fn public_url(&self) -> Point {
        let url = self.twilio.public_url();
        if !self.reached.is_set {
            let to_do = "Set BATON_PUBLIC_URL to where Twilio reaches this server, such as https://voice.example.com";
            let seen = format!("not set; {url} is taken for it");
            // Whoever tries it out on one machine needs none.
            let point = if self.reached.is_local { Point::open } else { Point::bad };
            return point("public_url", seen, to_do);
        }
        let set = format!("{url} is set");
        match outbound::glance(&format!("{url}/livez")).await {
            Ok((200, body)) if body.contains("\"live\"") => {
                Point::good("public_url", format!("{set}, and Baton answers there"))
            }
            Ok((status, _)) => Point::bad(
                "public_url",
                format!("{set}; {url}/livez answered {status}, and not as Baton does"),
                "Let your proxy pass that host, and its path prefix if it has one, on to Baton",
            ),
            // From here; Twilio may stand on another side of the same proxy.
            Err(why) => Point::open(
                "public_url",
                format!("{set}; from here {url}/livez gave {why}"),
                "Ask for that URL from outside. Where it answers there, all is well: some networks do not let a server reach itself",
            ),
        }
    }

    fn last_request(&self, id: &ConnectorId) -> Point {
        let last = self.twilio.seen.last(id);
        let refused = last.refused.as_ref();
        let refused = refused.map(|(at, why)| format!("the last refused one came {at}: {why}"));
        let read = "If it came from Twilio: README, \"Signature refused? Do this\", says what mends it; the log has the rest";
        match (last.verified, refused) {
            (Some(at), None) => Point::good("last_request", format!("verified {at}")),
            (Some(at), Some(refused)) => {
                // Anybody may send one that is refused.
                let seen = format!("verified {at}; {refused}");
                if last.refused.is_some_and(|(then, _)| then > at) {
                    Point::open("last_request", seen, read)
                } else {
                    Point::good("last_request", seen)
                }
            }
            (None, Some(refused)) => Point::open("last_request", refused, read),
            (None, None) => Point::open(
                "last_request",
                "none since this server started",
                "Let the flow ask once, or call the number",
            ),
        }
    }

    async fn numbers(&self, connector: &Connector) -> Vec<Point> {
        let none = |why: &str| vec![Point::open("numbers", why, "")];
        let Some(link) = &connector.link else { return none("not looked at: no confirmed link") };
        let asking = self.rest.numbers(&link.account_sid, link.region, &link.secrets);
        let numbers = match tokio::time::timeout(LIMIT, asking).await {
            Ok(Ok(numbers)) => numbers,
            Ok(Err(RestError::Refused(says))) => {
                let to_do = "Give the link an API key that may list the account's numbers, or leave this point open";
                return vec![Point::open("numbers", format!("Twilio says: {says}"), to_do)];
            }
            Ok(Err(RestError::Unreached(why))) => return none(&format!("Twilio: {why}")),
            Err(_late) => return none("Twilio: no answer in time"),
        };
        let path = format!("/twilio/voice/{}", connector.id);
        let urls: Vec<_> = self.twilio.public_urls().map(|url| format!("{url}{path}")).collect();
        let is_ours =
            |number: &&Number| urls.iter().any(|url| url == without_query(&number.voice_url));
        let (ours, others): (Vec<_>, Vec<_>) = numbers.iter().partition(is_ours);
        let is_flow = |number: &&&Number| number.voice_url.contains("://webhooks.twilio.com/");
        let flows = others.iter().filter(is_flow).count();
        if numbers.is_empty() {
            return none("the account has no phone numbers");
        }
        let more = ours.len().saturating_sub(MAX_TOLD);
        let seen = format!(
            "of {} numbers {flows} go to a Studio flow, and {} to this connector by themselves",
            numbers.len(),
            ours.len(),
        );
        let mut points = vec![match (ours.is_empty(), flows) {
            (false, _) => Point::good("numbers", seen),
            (true, 0) => {
                Point::open("numbers", seen, "Send a number to a Studio flow that asks Baton")
            }
            (true, _) => Point::open(
                "numbers",
                seen,
                "Baton cannot see into a flow: see that it asks the URL below",
            ),
        }];
        points.extend(ours.into_iter().take(MAX_TOLD).map(number));
        if more > 0 {
            points.push(Point::open("number", format!("{more} more are not told of"), ""));
        }
        points
    }
}

fn link(connector: &Connector) -> Point {
    let linked = connector.link.as_ref().map(|link| {
        let since = Timestamp::from_micros(link.linked_at);
        format!("{} is linked, confirmed {since}", link.account_sid)
    });
    let again = format!("baton connector link {} --account-sid AC…", connector.id);
    let pending = connector.pending.as_ref().map(|Pending { link, state, .. }| match state {
        State::Unverified(why) => (
            format!("{} waits for Twilio to confirm it ({why})", link.account_sid),
            "Nothing that it signs is verified till then. Twilio is asked again by itself (BATON_TWILIO_API_URL says where)".to_owned(),
        ),
        State::Refused(says) => (
            format!("{} was refused: {says}", link.account_sid),
            format!("Correct what was refused, and link again: {again}"),
        ),
    });
    match (linked, pending) {
        (Some(linked), None) => Point::good("link", linked),
        (Some(linked), Some((seen, to_do))) => {
            Point::bad("link", format!("{linked}; {seen}"), to_do)
        }
        (None, Some((seen, to_do))) => Point::bad("link", seen, to_do),
        (None, None) => {
            Point::bad("link", "no Twilio account is linked", format!("Link one: {again}"))
        }
    }
}

fn agent(connector: &Connector) -> Point {
    let routing = &connector.settings.routing;
    match (routing.mode, &routing.agent_url, &routing.sip) {
        (Mode::Stream, Some(url), _) => Point::good("agent", format!("stream to {}", url.as_str())),
        (Mode::Sip, _, Some(sip)) => Point::good("agent", format!("call to {}", sip.uri.as_str())),
        (Mode::Stream, None, _) => Point::open(
            "agent",
            "routing.mode is stream, and routing.agent_url is not set",
            "Where calls are to reach the agent by Baton, set it: baton connector patch conn_… --agent-url wss://…",
        ),
        (Mode::Sip, _, None) => Point::bad(
            "agent",
            "routing.mode is sip, and routing.sip is not set",
            "Set it: {\"routing\":{\"sip\":{\"uri\":\"sip:…\"}}}",
        ),
        (Mode::Compat, _, _) => Point::bad(
            "agent",
            "routing.mode is compat: <Connect connectorId>, which does nothing at Twilio",
            "Choose stream or sip",
        ),
    }
}

/// Who takes a call that the agent hands off.
fn people(connector: &Connector) -> Point {
    let settings = &connector.settings;
    let set = "Set {\"flex\":{\"workflow_sid\":\"WW…\"},\"fallback\":{\"say\":\"…\",\"number\":\"+…\"}}. Calls of a Studio flow are sent on by the flow";
    match (&settings.flex.workflow_sid, &settings.fallback) {
        (Some(sid), Some(_)) => {
            Point::good("people", format!("calls go to {}, and there is a fallback", sid.as_str()))
        }
        (Some(sid), None) => {
            let seen = format!(
                "calls go to {}; there is no fallback for when it takes none",
                sid.as_str()
            );
            Point::open("people", seen, set)
        }
        (None, Some(_)) => Point::open(
            "people",
            "flex.workflow_sid is not set: a call whose handoff names no destination of the table goes to the fallback",
            set,
        ),
        (None, None) => {
            let seen = "neither flex.workflow_sid nor fallback is set: nobody takes a call whose handoff names no destination of the table";
            // Without an agent no call comes here but for a flow's questions.
            let routing = &settings.routing;
            let has_agent = routing.agent_url.is_some() || routing.sip.is_some();
            let point = if has_agent { Point::bad } else { Point::open };
            point("people", seen, set)
        }
    }
}

/// A number that uses the connector.
fn number(number: &Number) -> Point {
    let mut faults = Vec::new();
    if !number.trunk_sid.is_empty() {
        faults.push("it is on a SIP trunk (trunk_sid), so Twilio ignores its voice URL: take it off the trunk");
    } else if !number.voice_application_sid.is_empty() {
        faults.push("a TwiML application is set (voice_application_sid), so Twilio ignores its voice URL: clear it");
    }
    if number.voice_fallback_url.is_empty() {
        faults.push("voice_fallback_url is empty, so a caller hears an error when Baton is not reached: set a TwiML Bin that enqueues the call");
    }
    if number.status_callback.is_empty() {
        faults.push("status_callback is empty: Baton does not learn when its calls end");
    }
    let method = if number.voice_method.is_empty() { "POST" } else { &number.voice_method };
    let seen = format!("{} asks by {method}", number.phone_number);
    if faults.is_empty() {
        Point::good("number", seen)
    } else {
        Point::bad("number", seen, faults.join("; "))
    }
}

fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}
