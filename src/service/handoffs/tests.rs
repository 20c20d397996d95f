//! What needs more handoffs than a test of the API would write: pages, and their ends.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::principal::Principal;
use crate::domain::principal::Projects;
use crate::store::journals::Journals;
use crate::store::memory::Memory;
use crate::store::records::Store;
use crate::store::seal::tests::ring;
use crate::telemetry::hour::Hour;
use crate::telemetry::metrics::LookUps;
use crate::telemetry::metrics::Metrics;

// More than two pages of names.
const MANY: usize = 9000;

fn handoffs() -> (Arc<Handoffs>, Clock) {
    let clock = Clock::fixed(Timestamp::from_micros(1_700_000_000_000_000));
    let kv = Arc::new(Memory::new(clock.clone()));
    let (seal, watchers) = (Arc::new(ring(&[1])), Arc::default());
    let store = Store { kv, seal, clock: clock.clone(), watchers, sharing: None };
    let records = Arc::new(Records::new(store.clone(), 1 << 20, LookUps::default()));
    let aliases = Arc::new(Records::new(store.clone(), 1 << 20, LookUps::default()));
    let connectors = Arc::new(Records::new(store.clone(), 1 << 20, LookUps::default()));
    let rates = Arc::new(Rates::new(None, None, clock.clone()));
    let limits = Limits { default_ttl_seconds: 3600, max_data_bytes: 1 << 20 };
    let calls = Arc::new(Records::new(store.clone(), 0, LookUps::default()));
    let answers = Arc::new(Records::new(store.clone(), 0, LookUps::default()));
    let counts = (Counter::default(), Arc::new(Hour::new(clock.now())));
    let timelines = Timelines::new(Journals::new(store), true, clock.clone(), counts);
    let (timelines, changes) = (Arc::new(timelines), None);
    let lead = Metrics::new(Counter::default(), clock.now()).lead;
    let callers = Callers::new(&ring(&[1])).unwrap();
    let kept =
        Kept { records, aliases, connectors, calls, answers, timelines, lead, callers, changes };
    (Arc::new(Handoffs::new(kept, rates, clock.clone(), limits)), clock)
}

async fn write(handoffs: &Handoffs, clock: &Clock, id: &str, project: &str, shared: Option<&str>) {
    clock.advance(Duration::from_micros(1));
    let write = Write {
        ask: Ask {
            account: None,
            project: Some(project.parse().unwrap()),
            client_env: None,
            by: By::Id(id.parse().unwrap()),
        },
        shared_id: shared.map_or(SharedId::Keep, |id| SharedId::Set(id.parse().unwrap())),
        data: "{}".to_owned(),
        status: None,
        ttl_seconds: None,
        precondition: Precondition::None,
    };
    handoffs.write(&Principal::admin(), write).await.unwrap();
}

fn only(project: &str) -> Principal {
    Principal { projects: Projects::Only(vec![project.parse().unwrap()]), ..Principal::admin() }
}

async fn all_ids(handoffs: &Handoffs, who: &Principal, filter: &Filter) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = handoffs.list(who, filter, after).await.unwrap();
        ids.extend(page.handoffs.iter().map(|handoff| handoff.heading.id.to_string()));
        // As it goes over the wire.
        after = page.next.map(|next| next.to_string().parse().unwrap());
        if after.is_none() {
            return ids;
        }
    }
}

#[tokio::test]
async fn what_is_rare_among_many_is_listed_and_erased() {
    let (handoffs, clock) = handoffs();
    let rare = |n: usize| n % 2500 == 7;
    for n in 0..MANY {
        let project = if rare(n) { "rare" } else { "common" };
        write(&handoffs, &clock, &format!("h{n}"), project, None).await;
    }
    let wanted: Vec<_> = (0..MANY).rev().filter(|n| rare(*n)).map(|n| format!("h{n}")).collect();
    let of_rare = Filter { project: Some("rare".parse().unwrap()), ..Filter::default() };
    assert_eq!(all_ids(&handoffs, &Principal::admin(), &of_rare).await, wanted);
    assert_eq!(all_ids(&handoffs, &only("rare"), &Filter::default()).await, wanted);
    assert_eq!(all_ids(&handoffs, &Principal::admin(), &Filter::default()).await.len(), MANY);
    // A cursor says nothing about the handoff it stands at, which may be another project's.
    let first = handoffs.list(&only("rare"), &Filter::default(), None).await.unwrap();
    let next = first.next.unwrap().to_string();
    let plain = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, next);
    assert!(!plain.unwrap().windows(6).any(|part| part == b"common"));

    let until = Instant::now() + Duration::from_secs(60);
    let whole = Whole::Project("rare".parse().unwrap());
    let erased = handoffs.erase_whole(&only("rare"), None, &whole, until).await.unwrap();
    assert_eq!(erased, Erased { count: wanted.len(), done: true });
    let left = all_ids(&handoffs, &Principal::admin(), &Filter::default()).await.len();
    assert_eq!(left, MANY - wanted.len());
    let past = Instant::now();
    let erased = handoffs.erase_whole(&Principal::admin(), None, &Whole::Account, past).await;
    assert_eq!(erased.unwrap(), Erased { count: 0, done: false });
    let erased = handoffs.erase_whole(&Principal::admin(), None, &Whole::Account, until).await;
    assert_eq!(erased.unwrap(), Erased { count: left, done: true });
}

#[tokio::test]
async fn a_shared_id_that_many_of_another_project_carry_is_found_behind_them() {
    let (handoffs, clock) = handoffs();
    write(&handoffs, &clock, "own", "p", Some("S")).await;
    for n in 0..40 {
        write(&handoffs, &clock, &format!("other{n}"), "q", Some("S")).await;
    }
    let ask = Ask {
        account: None,
        project: None,
        client_env: None,
        by: By::SharedId("S".parse().unwrap()),
    };
    let nobody_waits = || Ok(None::<()>);
    let patience = Patience::default();
    let read = handoffs.read(&only("p"), &ask, patience, nobody_waits).await.unwrap();
    assert_eq!(read.handoff.heading.id.as_str(), "own");
    let read = handoffs.read(&Principal::admin(), &ask, patience, nobody_waits).await.unwrap();
    assert_eq!(read.handoff.heading.id.as_str(), "other39");
    let missed = handoffs.read(&only("r"), &ask, patience, nobody_waits).await;
    assert!(matches!(missed, Err(ServiceError::NoHandoff(_))));
}

#[tokio::test]
async fn the_aliases_of_many_that_expired_are_taken_away_in_time_or_next_time() {
    let (handoffs, clock) = handoffs();
    let by = |id: String| Ask {
        account: None,
        project: None,
        client_env: None,
        by: By::Id(id.parse().unwrap()),
    };
    for n in 0..600 {
        write(&handoffs, &clock, &format!("h{n}"), "p", None).await;
        let alias = vec![format!("a{n}").parse().unwrap()];
        handoffs.add_aliases(&Principal::admin(), &by(format!("h{n}")), alias).await.unwrap();
    }
    clock.advance(Duration::from_secs(3600));
    write(&handoffs, &clock, "h7", "p", None).await;
    let erase = async |until| {
        handoffs.erase_whole(&Principal::admin(), None, &Whole::Account, until).await.unwrap()
    };
    assert!(!erase(Instant::now()).await.done);
    let erased = erase(Instant::now() + Duration::from_secs(60)).await;
    assert_eq!(erased, Erased { count: 1, done: true });
    for n in [0, 7, 599] {
        write(&handoffs, &clock, &format!("h{n}"), "p", None).await;
        let (who, ask) = (Principal::admin(), by(format!("a{n}")));
        let by_alias = handoffs.read(&who, &ask, Patience::default(), || Ok(None::<()>));
        assert!(by_alias.await.is_err(), "a{n}");
    }
}

/// What keeps the revision is told apart by nothing but its turn: whoever reads before another has
/// written, and writes after, would write that away.
#[tokio::test]
async fn a_hold_and_the_same_content_again_do_not_lose_each_other() {
    let ask = |id: &str| Ask {
        account: None,
        project: None,
        client_env: None,
        by: By::Id(id.parse().unwrap()),
    };
    let who = Principal::admin();
    for (n, hold_first) in [(0, true), (1, false)] {
        let (handoffs, clock) = handoffs();
        let id = format!("h{n}");
        write(&handoffs, &clock, &id, "p", None).await;
        let (ask, again) = (ask(&id), write(&handoffs, &clock, &id, "p", None));
        let hold = async { handoffs.hold(&who, &ask, 86_400).await.unwrap() };
        if hold_first {
            tokio::join!(hold, again);
        } else {
            tokio::join!(again, hold);
        }
        let read = handoffs.read(&who, &ask, Patience::default(), || Ok(None::<()>)).await.unwrap();
        assert_eq!(read.handoff.heading.held_seconds, Some(86_400), "hold first: {hold_first}");
    }
}
