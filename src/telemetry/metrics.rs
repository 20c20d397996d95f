//! Every metric there is, with what it means. `/metrics` prints these texts.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::domain::clock::Timestamp;
use crate::telemetry::hour::Hour;

// Seconds. A read from memory takes microseconds, a durable write milliseconds, a deadline 2.5 s.
const LATENCY: [f64; 12] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 3.0];

// Seconds. Below zero, context was there before the call was taken.
const LEADS: [f64; 14] =
    [-60.0, -30.0, -10.0, -5.0, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

// Seconds. Nobody waits for more than eight.
const WAITS: [f64; 8] = [0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 6.0, 8.1];

/// One combination of route, method and status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answered {
    /// The route's pattern, such as `/v1/handoff_state`.
    pub route: &'static str,
    /// The method, or `other`.
    pub method: &'static str,
    /// The status.
    pub status: u16,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Route {
    /// Its pattern.
    pub route: &'static str,
}

/// An error code of the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Code {
    /// The code.
    pub code: &'static str,
}

/// What became of a signature of Twilio's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Signature {
    /// `verified`, `verified_previous` (by a token that another is to replace) or `refused`.
    pub outcome: &'static str,
}

/// What became of a call when it was sent to its agent, or came back from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallOutcome {
    /// `to_agent`; `found`, `contained`, `missing`, `agent_failed`, `error` (the store did not say),
    /// `hung_up`; `fallback`.
    pub outcome: &'static str,
}

/// A connector.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Lead {
    /// Its id; empty where it is not known.
    pub connector: String,
}

/// Whether whoever took calls through a connector saw their context in time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LeadOutcome {
    /// The connector's id; empty where it is not known.
    pub connector: String,
    /// `before`, `within_2s`, `late`, `never` or `unknown`.
    pub outcome: &'static str,
}

/// How long before or after a call was taken its context was seen.
#[derive(Clone, Debug)]
pub struct Leads {
    /// Seconds from the one to the other; below zero: seen before.
    pub seconds: Family<Lead, Histogram, fn() -> Histogram>,
    /// Calls taken, by what that comes to.
    pub accepted: Family<LeadOutcome, Counter>,
}

/// What a connection was waiting for when it was closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Phase {
    /// `head`, `body`, `write` or `idle`.
    pub phase: &'static str,
}

/// A kind of record, and whether memory had it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LookUp {
    /// `handoff`, `aliases` or `key`.
    pub record: &'static str,
    /// `hit` or `miss`.
    pub outcome: &'static str,
}

/// Counts look-ups of one kind of record.
#[derive(Clone, Debug, Default)]
pub struct LookUps {
    /// Answered from memory.
    pub hits: Counter,
    /// Asked of the engine.
    pub misses: Counter,
    /// Answered from memory because the engine could not.
    pub stale: Counter,
}

/// What an engine counts.
#[derive(Clone, Debug, Default)]
pub struct StoreMeter {
    /// Durable commits.
    pub commits: Counter,
    /// Writes and deletions in them.
    pub writes: Counter,
    /// Look-ups.
    pub reads: Counter,
    /// Times the engine had to reopen its file.
    pub reopened: Counter,
    /// 1 while writes can be taken.
    pub writable: Gauge,
}

/// All metrics of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Answers by route, method and status.
    pub answered: Family<Answered, Counter>,
    /// Seconds to an answer, by route.
    pub latency: Family<Route, Histogram, fn() -> Histogram>,
    /// Refusals by code.
    pub refused: Family<Code, Counter>,
    /// Signatures of Twilio's by outcome.
    pub signatures: Family<Signature, Counter>,
    /// Calls, by what became of them.
    pub calls: Family<CallOutcome, Counter>,
    /// Whether context came in time.
    pub lead: Leads,
    /// Reads that timelines had no room to count.
    pub reads_dropped: Counter,
    /// Requests being worked on.
    pub in_flight: Gauge,
    /// Readers who wait.
    pub waiting: Gauge,
    /// Bodies being read before anybody knows whose they are.
    pub unproven: Gauge,
    /// Flex users of whom Twilio is being asked who they are, and has not said before.
    pub strangers: Gauge,
    /// Requests for which Twilio is being asked.
    pub asking: Gauge,
    /// Seconds that readers waited.
    pub waited: Histogram,
    /// Connections closed for want of progress.
    pub closed: Family<Phase, Counter>,
    look_ups: Family<LookUp, Counter>,
    /// The engine's own.
    pub store: StoreMeter,
    /// The last hour, for the console.
    pub hour: Arc<Hour>,
}

fn latency() -> Histogram {
    Histogram::new(LATENCY)
}

fn lead() -> Histogram {
    Histogram::new(LEADS)
}

impl Default for Leads {
    fn default() -> Self {
        let seconds: Family<_, _, fn() -> Histogram> = Family::new_with_constructor(lead);
        Self { seconds, accepted: Family::default() }
    }
}

fn register_flex(r: &mut Registry, leads: &Leads, dropped: &Counter, strangers: &Gauge) {
    let unproven = "Flex users of whom Twilio is asked who they are, and has not said before";
    r.register("flex_users_unproven", unproven, strangers.clone());
    let lead =
        "Seconds from a call's acceptance to its context being seen; below zero: seen before";
    r.register("context_lead_seconds", lead, leads.seconds.clone());
    let accepted = "Calls taken, by whether their context was seen before, within 2 s, later, never; unknown: seen, and nobody said when it was taken";
    r.register("context_accepted", accepted, leads.accepted.clone());
    let what = "Reads that timelines had no room to count";
    r.register("timeline_reads_dropped", what, dropped.clone());
}

fn register_store(r: &mut Registry, store: &StoreMeter) {
    r.register("store_commits", "Durable commits", store.commits.clone());
    r.register("store_writes", "Writes and deletions committed", store.writes.clone());
    r.register("store_reads", "Records asked of the store", store.reads.clone());
    r.register("store_reopened", "Times the store reopened", store.reopened.clone());
    r.register("store_writable", "1 while writes are taken", store.writable.clone());
}

impl Metrics {
    /// A server's metrics, all at zero.
    pub fn new(log_lines_dropped: Counter, now: Timestamp) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("baton"),
            answered: Family::default(),
            latency: Family::new_with_constructor(latency),
            refused: Family::default(),
            signatures: Family::default(),
            calls: Family::default(),
            lead: Leads::default(),
            reads_dropped: Counter::default(),
            in_flight: Gauge::default(),
            waiting: Gauge::default(),
            unproven: Gauge::default(),
            strangers: Gauge::default(),
            asking: Gauge::default(),
            waited: Histogram::new(WAITS),
            closed: Family::default(),
            look_ups: Family::default(),
            store: StoreMeter::default(),
            hour: Arc::new(Hour::new(now)),
        };
        let r = &mut metrics.registry;
        r.register("http_requests", "Answers", metrics.answered.clone());
        r.register(
            "http_request_duration_seconds",
            "Seconds to an answer",
            metrics.latency.clone(),
        );
        r.register("http_refusals", "Refusals by error code", metrics.refused.clone());
        let signatures =
            "Twilio's signatures; verified_previous: by a token that another is to replace";
        r.register("twilio_signatures", signatures, metrics.signatures.clone());
        let calls = "Calls sent to their agent, and come back: with a handoff, without, with the store down";
        r.register("calls", calls, metrics.calls.clone());
        r.register(
            "http_requests_in_flight",
            "Requests being worked on",
            metrics.in_flight.clone(),
        );
        register_flex(r, &metrics.lead, &metrics.reads_dropped, &metrics.strangers);
        let unproven = "Bodies being read whose signature is to be checked";
        r.register("webhook_bodies_unproven", unproven, metrics.unproven.clone());
        r.register(
            "requests_asking",
            "Requests for which Twilio is being asked",
            metrics.asking.clone(),
        );
        r.register("reads_waiting", "Readers who wait for a handoff", metrics.waiting.clone());
        let waited = "Seconds that readers waited for a handoff; not in the request durations";
        r.register("read_wait_seconds", waited, metrics.waited.clone());
        let closed = "Connections closed for want of progress, by what was awaited";
        r.register("connections_closed", closed, metrics.closed.clone());
        let look_ups = "Record look-ups, by whether memory had the answer";
        r.register("record_lookups", look_ups, metrics.look_ups.clone());
        register_store(r, &metrics.store);
        let dropped = "Log lines dropped because nobody took them";
        r.register("log_lines_dropped", dropped, log_lines_dropped);
        metrics
    }

    /// The counters of look-ups of one kind of record.
    pub fn look_ups(&self, record: &'static str) -> LookUps {
        let of = |outcome| self.look_ups.get_or_create(&LookUp { record, outcome }).clone();
        LookUps { hits: of("hit"), misses: of("miss"), stale: of("stale") }
    }

    /// The text of `/metrics` (`OpenMetrics` 1.0).
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
