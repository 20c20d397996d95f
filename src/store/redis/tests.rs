//! Against a real Redis, which `tests/redis/with` starts and names in `BATON_TEST_STORE`.

use clap::Parser;

use super::*;
use crate::config;
use crate::config::StoreKind;
use crate::config::raw::Raw;
use crate::domain::random::random_text;
use crate::store::conformance;
use crate::store::copy::Engine;
use crate::store::copy::tests::copies_are_as_the_original;
use crate::store::copy::tests::embedded;
use crate::store::copy::tests::what_is_sealed_anew_is_as_it_was;
use crate::store::kv::Expect;
use crate::store::kv::Member;
use crate::store::kv::Order;
use crate::store::kv::Place;
use crate::store::kv::newest_first;
use crate::store::redis::command::ByRevision;
use crate::store::redis::command::Listing;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    raw: Raw,
}

/// The settings of the Redis at hand, with names of the test's own.
#[expect(
    clippy::disallowed_methods,
    reason = "where the Redis is that a test runs against is no setting"
)]
pub(super) fn settings() -> Settings {
    let url = std::env::var("BATON_TEST_STORE").expect("run this by tests/run redis");
    let replicas = std::env::var("BATON_TEST_REPLICAS").unwrap_or_else(|_| "0".to_owned());
    let prefix = format!("t{}", random_text(12).unwrap());
    let line = ["baton", "--store", &url, "--redis-prefix", &prefix, "--redis-replicas", &replicas];
    let mut raw = Line::try_parse_from(line).unwrap().raw;
    raw.secrets.admin_key = Some("x".repeat(32).into());
    raw.secrets.seal_keys = Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into());
    raw.redis_ca_file = std::env::var("BATON_TEST_CA").ok();
    match config::Settings::check(&raw).unwrap().store {
        StoreKind::Redis(redis) => *redis,
        other => panic!("{other:?} is no Redis"),
    }
}

pub(super) fn open(settings: Settings, clock: &Clock) -> (Redis, Arc<Feed>) {
    let feed = Arc::new(Feed::new(Arc::default()));
    let meter = StoreMeter::default();
    (Redis::open(settings, clock.clone(), meter, Arc::clone(&feed)).unwrap(), feed)
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn conforms() {
    let clock = conformance::clock();
    let (engine, _) = open(settings(), &clock);
    conformance::check(&engine, &clock).await;
}

fn engine(clock: &Clock) -> Engine {
    Arc::new(open(settings(), clock).0)
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn a_copy_is_as_the_original_there_and_back() {
    let clock = conformance::clock();
    let folder = tempfile::tempdir().unwrap();
    let redis = engine(&clock);
    copies_are_as_the_original(&embedded(&folder, &clock), &redis, &clock).await;
    let clock = conformance::clock();
    let folder = tempfile::tempdir().unwrap();
    copies_are_as_the_original(&engine(&clock), &embedded(&folder, &clock), &clock).await;
}

#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn everything_in_redis_is_sealed_anew() {
    let clock = conformance::clock();
    what_is_sealed_anew_is_as_it_was(&engine(&clock), &clock).await;
}

/// A record that leaves a set and comes back, while what took it out the first time is late.
#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn what_is_taken_out_late_does_not_take_out_what_came_back() {
    let clock = conformance::clock();
    let (engine, _) = open(settings(), &clock);
    let place = Place { set: b"s".to_vec(), name: b"n".to_vec() };
    let listed = || {
        let order = Order::ByName;
        let members = vec![Member { set: b"s".to_vec(), name: b"n".to_vec(), order }];
        Put { members, ..conformance::put(&clock, "k", "1") }
    };
    engine.put(listed()).await.unwrap();
    let away = engine.put(conformance::put(&clock, "k", "2")).await.unwrap();
    assert_eq!(engine.members(b"s".to_vec(), None, 9).await.unwrap(), [b""; 0]);
    engine.put(listed()).await.unwrap();
    let Outcome::Done(away) = away else { panic!("{away:?}") };
    let until = tokio::time::Instant::now() + Duration::from_secs(1);
    engine.shared.unlist(0, vec![place], away, until).await;
    assert_eq!(engine.members(b"s".to_vec(), None, 9).await.unwrap(), [b"n"]);
}

/// One that fails among many that are sent together: each has its own answer.
#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn a_write_that_fails_gives_nobody_elses_answer_away() {
    let clock = conformance::clock();
    let (engine, _) = open(settings(), &clock);
    let member = |set: &str| Member { set: set.into(), name: b"n".to_vec(), order: Order::ByName };
    let listed = |key: &str, set: &str| Put {
        members: vec![member(set), member(&format!("{set}2"))],
        ..conformance::put(&clock, key, key)
    };
    // A set that is something else: what lists there fails.
    let spoilt = engine.shared.name(Kind::Listed, b"spoilt");
    let mut spoil = redis::cmd("SET");
    spoil.arg(spoilt.as_slice()).arg("x");
    let until = tokio::time::Instant::now() + Duration::from_secs(1);
    engine.shared.carry_out(slot(&spoilt), vec![spoil], until).await.unwrap();
    let engine = Arc::new(engine);
    for round in 0..20 {
        let mut writing = JoinSet::new();
        for n in 0..40 {
            let is_spoilt = n % 5 == 2;
            let put = listed(&format!("k{n}"), if is_spoilt { "spoilt" } else { "good" });
            let engine = Arc::clone(&engine);
            writing.spawn(async move { (is_spoilt, engine.put(put).await) });
        }
        while let Some(done) = writing.join_next().await {
            match done.unwrap() {
                (false, Ok(Outcome::Done(_))) | (true, Err(StoreError::Unavailable(_))) => {}
                other => panic!("round {round}: {other:?}"),
            }
        }
    }
    // What cannot be listed is not there either.
    assert_eq!(engine.get(b"k2".to_vec()).await.unwrap(), None);
}

/// What lists all of an account is in parts, which are read as one, page by page.
#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn what_lists_all_of_an_account_is_read_as_one() {
    let clock = conformance::clock();
    let (engine, _) = open(settings(), &clock);
    let set = b"hl\0default".to_vec();
    let put = |n: usize, value: &str| {
        let (name, order) = (format!("{n:03}").into_bytes(), Order::NewestFirst);
        let members = vec![Member { set: b"hl\0default".to_vec(), name, order }];
        Put { members, ..conformance::put(&clock, &format!("h\0default\0CA{n}"), value) }
    };
    for n in 0..100 {
        clock.advance(Duration::from_micros(1));
        engine.put(put(n, "1")).await.unwrap();
    }
    for n in 0..10 {
        clock.advance(Duration::from_micros(1));
        engine.put(put(n, "2")).await.unwrap();
    }
    let delete =
        Delete { key: b"h\0default\0CA50".to_vec(), expect: Expect::Anything, notes: Vec::new() };
    engine.delete(delete).await.unwrap();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = engine.members(set.clone(), after, 7).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        listed.extend(page.iter().map(|name| newest_first(name).unwrap().1.to_vec()));
    }
    let newest_first = (0..10).rev().chain((10..100).rev().filter(|n| *n != 50));
    let wanted: Vec<_> = newest_first.map(|n| format!("{n:03}").into_bytes()).collect();
    assert_eq!(listed, wanted);
}

/// Sets let go of what has ended, a few names with each that comes, by Redis's own clock.
#[tokio::test]
#[ignore = "needs a Redis: tests/run redis"]
async fn what_has_ended_leaves_its_sets_by_itself() {
    let clock = conformance::clock();
    let (engine, _) = open(settings(), &clock);
    let lists = |n: usize, life| {
        let name = format!("n{n}");
        let ends = clock.now().plus(life);
        let (set, name, by) = (b"s".to_vec(), name.into_bytes(), ByRevision(None));
        let command = engine.shared.list_command(&Listing { set, name, by, ends }, clock.now());
        (slot(&engine.shared.name(Kind::Listed, b"s")), command)
    };
    let until = || tokio::time::Instant::now() + Duration::from_secs(1);
    let (at, first) = lists(1, Duration::from_secs(60));
    engine.shared.carry_out(at, vec![first], until()).await.unwrap();
    // Of a life of a millisecond; a record's listing is kept for a minute longer than that.
    let mut ended = script::LIST.on(&engine.shared.keys_of_set(b"s"));
    ended.arg("ended").arg(1).arg("");
    engine.shared.carry_out(at, vec![ended], until()).await.unwrap();
    sleep(Duration::from_millis(5)).await;
    assert_eq!(engine.members(b"s".to_vec(), None, 9).await.unwrap().len(), 2);
    engine.shared.carry_out(at, vec![lists(2, Duration::from_secs(60)).1], until()).await.unwrap();
    assert_eq!(engine.members(b"s".to_vec(), None, 9).await.unwrap(), [b"n1", b"n2"]);
}

/// The answers of commands that nobody waited for must not be given to those who came after: it has
/// happened to other clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Redis: tests/run redis"]
async fn no_answer_reaches_another_after_a_storm_of_cancelled_commands() {
    const GIVEN_UP: usize = 100_000;
    const KEYS: usize = 257;
    let clock = conformance::clock();
    let engine = Arc::new(open(settings(), &clock).0);
    let key = |n: usize| format!("k{n}");
    for n in 0..KEYS {
        engine.put(conformance::put(&clock, &key(n), &key(n).repeat(200))).await.unwrap();
    }
    let given_up = Arc::new(AtomicUsize::new(0));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut askers = JoinSet::new();
    for asker in 0..64_usize {
        let (engine, given_up, answered) =
            (Arc::clone(&engine), Arc::clone(&given_up), Arc::clone(&answered));
        askers.spawn(async move {
            let mut at = asker * 7919;
            while given_up.load(Ordering::Relaxed) < GIVEN_UP {
                at = at
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let n = (at >> 33) % KEYS;
                let asked = engine.get(key(n).into_bytes());
                // Polled a few times and let go, most of them on their way.
                let patience = Duration::from_micros(u64::try_from(at >> 40).unwrap() % 900);
                match timeout(patience, asked).await {
                    Err(_) => drop(given_up.fetch_add(1, Ordering::Relaxed)),
                    Ok(Ok(Some(Slot::Live { value, .. }))) => {
                        assert_eq!(value, key(n).repeat(200).as_bytes());
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(other) => panic!("{n}: {other:?}"),
                }
            }
        });
    }
    while let Some(done) = askers.join_next().await {
        done.unwrap();
    }
    let (given_up, answered) = (given_up.load(Ordering::Relaxed), answered.load(Ordering::Relaxed));
    println!("{given_up} commands given up, {answered} answered, none with another's answer");
    assert!(answered > 1000, "{answered}: nobody was answered");
}
