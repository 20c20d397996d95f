//! What the app is put together from, part by part.

use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use crate::app::linked::Linked;
use crate::auth::doors::Doors;
use crate::auth::rates::Rates;
use crate::config;
use crate::config::Settings;
use crate::http::access::AccessLog;
use crate::http::cors::Cors;
use crate::http::edge::Edge;
use crate::http::load::Bound;
use crate::http::load::Load;
use crate::service::handoffs::Changed;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::Kept;
use crate::service::handoffs::Limits;
use crate::store::records::Records;
use crate::store::records::Store;
use crate::telemetry::logging::Seldom;
use crate::telemetry::metrics::Metrics;

// An explanation costs milliseconds at most; that there was no signature at all costs nothing, and must
// not leave the others unexplained. Five lines together.
const EXPLAINED_A_SECOND: usize = 3;
const MENTIONED_A_SECOND: usize = 2;
// Links and verifications, which wait for Twilio, at once.
const ASKING: usize = 32;
// Flex users whom Twilio is asked about, at once.
const STRANGERS: usize = 512;
const ALIASES_L1_BYTES: u64 = 8 << 20;

/// The edge, with its doors.
pub(super) fn edge(
    settings: &Settings,
    linked: &Linked,
    (doors, access): (Doors, AccessLog),
    (metrics, rates): (&Arc<Metrics>, &Arc<Rates>),
) -> Edge {
    let clock = doors.clock.clone();
    Edge {
        limits: settings.edge.clone(),
        doors,
        twilio: Arc::clone(&linked.twilio),
        explained: Seldom::new(EXPLAINED_A_SECOND, clock.clone()),
        mentioned: Seldom::new(MENTIONED_A_SECOND, clock.clone()),
        metrics: Arc::clone(metrics),
        access,
        clock,
        load: load(&settings.edge, metrics),
        rates: Arc::clone(rates),
        cors: Cors::new(&settings.flex.origins),
        timelines: Arc::clone(&linked.timelines),
    }
}

fn load(limits: &config::Edge, metrics: &Metrics) -> Load {
    Load {
        draining: Arc::default(),
        in_flight: Bound::new(limits.max_in_flight, metrics.in_flight.clone()),
        waiting: Bound::new(limits.max_waiting, metrics.waiting.clone()),
        unproven: Bound::new(limits.max_in_flight, metrics.unproven.clone()),
        strangers: Bound::new(STRANGERS, metrics.strangers.clone()),
        asking: Bound::new(ASKING, metrics.asking.clone()),
    }
}

/// What is done with handoffs, over what is done with connectors.
pub(super) fn handoffs(
    settings: &Settings,
    store: Store,
    linked: &Linked,
    (metrics, rates): (&Metrics, Arc<Rates>),
    changed: Sender<Changed>,
) -> Handoffs {
    let clock = store.clock.clone();
    let of_aliases = metrics.look_ups("aliases");
    let aliases = Records::new(store.clone(), ALIASES_L1_BYTES, of_aliases);
    let aliases = Arc::new(aliases.first_for(settings.l1_ttl));
    let records = Records::new(store, settings.l1_max_bytes, metrics.look_ups("handoff"))
        .first_for(settings.l1_ttl);
    let limits = Limits {
        default_ttl_seconds: settings.default_ttl_seconds,
        max_data_bytes: settings.edge.max_body_bytes,
    };
    let connectors = Arc::clone(&linked.stored);
    let calls = Arc::clone(&linked.calls);
    let answers = Arc::clone(&linked.answers);
    let kept = Kept {
        records: Arc::new(records),
        aliases,
        connectors,
        calls,
        answers,
        timelines: Arc::clone(&linked.timelines),
        lead: metrics.lead.clone(),
        callers: linked.callers.clone(),
        changes: Some((changed, Arc::clone(&linked.open))),
    };
    Handoffs::new(kept, rates, clock, limits)
}
