//! Copies are as the original, and what is sealed anew is as it was: between any two engines.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::domain::clock::Clock;
use crate::store::conformance;
use crate::store::embedded::Embedded;
use crate::store::journal::Again;
use crate::store::journal::Journal;
use crate::store::journal::Note;
use crate::store::journal::Until;
use crate::store::kv::Delete;
use crate::store::kv::Expect;
use crate::store::kv::Member;
use crate::store::kv::Order;
use crate::store::kv::Outcome;
use crate::store::kv::Put;
use crate::store::kv::Slot;
use crate::store::seal::tests::ring;
use crate::telemetry::metrics::StoreMeter;

const RECORDS: usize = 700;
const WHOLE: u64 = 1400;
const KIND: u8 = 1;

pub(crate) fn embedded(folder: &tempfile::TempDir, clock: &Clock) -> Engine {
    let file = folder.path().join("baton.redb");
    Arc::new(Embedded::open(&file, clock.clone(), StoreMeter::default()).unwrap())
}

fn key(n: usize) -> Vec<u8> {
    format!("h\0default\0CA{n}").into_bytes()
}

fn journal_of(n: usize) -> Vec<u8> {
    [key(n), b"\0".to_vec()].concat()
}

fn put(clock: &Clock, seal: &Seal, n: usize, value: &str) -> Put {
    let member = |set: &str, order| Member { set: set.into(), name: key(n), order };
    let note = Note {
        journal: journal_of(n),
        name: b"first".to_vec(),
        again: Again::Keep,
        value: seal.seal(8, &journal_of(n), b"told").unwrap().into(),
        until: Until::AtLeast(clock.now().plus(Duration::from_secs(7200))),
    };
    let expires_at = match n % 10 {
        0 => Timestamp::NEVER,
        _ => clock.now().plus(Duration::from_secs(3600)),
    };
    Put {
        key: key(n),
        value: seal.seal(KIND, &key(n), value.as_bytes()).unwrap().into(),
        expires_at,
        members: vec![member("newest", Order::NewestFirst), member("named", Order::ByName)],
        notes: vec![note],
        ..conformance::put(clock, "", "")
    }
}

async fn fill(engine: &Engine, clock: &Clock, seal: &Seal) {
    ring::check(engine.as_ref(), seal).await.unwrap();
    for n in 0..RECORDS {
        clock.advance(Duration::from_micros(1));
        engine.put(put(clock, seal, n, "payload")).await.unwrap();
    }
    for n in (0..RECORDS).filter(|n| n % 7 == 3) {
        let (key, expect) = (key(n), Expect::Anything);
        engine.delete(Delete { key, expect, notes: Vec::new() }).await.unwrap();
    }
}

type Seen = (BTreeMap<Vec<u8>, Slot>, Vec<Journal>, Vec<Vec<Vec<u8>>>);

/// What readers see.
async fn seen(engine: &Engine) -> Seen {
    let mut slots = BTreeMap::new();
    let mut journals = Vec::new();
    for n in 0..RECORDS {
        slots.extend(engine.get(key(n)).await.unwrap().map(|slot| (key(n), slot)));
        journals.push(engine.journal(journal_of(n)).await.unwrap());
    }
    let mut sets = Vec::new();
    for set in ["newest", "named"] {
        sets.push(engine.members(set.into(), None, 10_000).await.unwrap());
    }
    (slots, journals, sets)
}

/// Copies there, then only what is new; what is newer there stays.
pub(crate) async fn copies_are_as_the_original(from: &Engine, to: &Engine, clock: &Clock) {
    let seal = ring(&[1]);
    fill(from, clock, &seal).await;
    let count = migrate(from, to, clock.now(), |_| {}).await.unwrap();
    assert!(count.done >= WHOLE, "{count:?}");
    assert_eq!(seen(to).await, seen(from).await);
    assert_eq!(migrate(from, to, clock.now(), |_| {}).await.unwrap().done, 0);
    clock.advance(Duration::from_secs(1));
    from.put(put(clock, &seal, 1, "newer at the origin")).await.unwrap();
    to.put(put(clock, &seal, 2, "newer there")).await.unwrap();
    assert_eq!(migrate(from, to, clock.now(), |_| {}).await.unwrap().done, 1);
    for (engine, n) in [(from, 1), (to, 1)] {
        let Some(Slot::Live { value, .. }) = engine.get(key(n)).await.unwrap() else { panic!() };
        assert_eq!(seal.open(KIND, &key(n), &value).unwrap(), b"newer at the origin");
    }
    let Some(Slot::Live { value, revision, .. }) = to.get(key(2)).await.unwrap() else { panic!() };
    assert_eq!(seal.open(KIND, &key(2), &value).unwrap(), b"newer there");
    // Revisions go on where they were.
    let again = Put { expect: Expect::Revision(revision), ..put(clock, &seal, 2, "x") };
    let Outcome::Done(next) = to.put(again).await.unwrap() else { panic!("a conflict") };
    assert!(next > revision);
}

/// Everything opens with the new key alone, and nothing else has changed.
pub(crate) async fn what_is_sealed_anew_is_as_it_was(engine: &Engine, clock: &Clock) {
    fill(engine, clock, &ring(&[1])).await;
    let before = seen(engine).await;
    let both = ring(&[2, 1]);
    ring::check(engine.as_ref(), &both).await.unwrap();
    let count = rekey(engine, &both, |_| {}).await.unwrap();
    assert_eq!((count.changed, count.unreadable), (0, 0));
    let new = ring(&[2]);
    let after = seen(engine).await;
    assert_eq!(after.2, before.2);
    for ((key, was), (_, is)) in before.0.iter().zip(&after.0) {
        match (was, is) {
            (
                Slot::Live { revision, expires_at, .. },
                Slot::Live { revision: now, expires_at: ends, value },
            ) => {
                assert_eq!((now, ends), (revision, expires_at));
                assert_eq!(new.open(KIND, key, value).unwrap(), b"payload");
            }
            (was, is) => assert_eq!(is, was),
        }
    }
    for (n, journal) in after.1.iter().enumerate() {
        let [entry] = journal.entries.as_slice() else { panic!("{journal:?}") };
        assert_eq!(new.open(8, &journal_of(n), &entry.value).unwrap(), b"told");
        assert_eq!(entry.revision, before.1[n].entries[0].revision);
    }
    ring::check(engine.as_ref(), &new).await.unwrap();
    assert_eq!(rekey(engine, &new, |_| {}).await.unwrap().done, 0);
    // What was written since it was looked at stays as it was written.
    let (page, _) = engine.walk(None).await.unwrap();
    let is_first = |whole: &&Whole| matches!(whole, Whole::Record { gone: None, key, .. } if key.starts_with(b"h\0"));
    let old = page.iter().find(is_first).unwrap().clone();
    let Whole::Record { key: found, .. } = &old else { panic!() };
    let n = (0..RECORDS).find(|n| key(*n) == *found).unwrap();
    engine.put(put(clock, &new, n, "written meanwhile")).await.unwrap();
    assert!(!engine.restore(old.clone(), Over::Same(old)).await.unwrap());
}

#[tokio::test]
async fn a_copy_of_the_embedded_store_is_as_the_original() {
    let clock = conformance::clock();
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (embedded(&one, &clock), embedded(&other, &clock));
    copies_are_as_the_original(&from, &to, &clock).await;
}

#[tokio::test]
async fn the_embedded_store_is_sealed_anew() {
    let clock = conformance::clock();
    let folder = tempfile::tempdir().unwrap();
    what_is_sealed_anew_is_as_it_was(&embedded(&folder, &clock), &clock).await;
}

#[tokio::test]
async fn a_store_that_a_baton_of_its_own_has_used_is_no_destination() {
    use crate::store::instance::Instance;
    let clock = conformance::clock();
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (embedded(&one, &clock), embedded(&other, &clock));
    Instance::find_or_make(from.as_ref(), &ring(&[1])).await.unwrap();
    migrate(&from, &to, clock.now(), |_| {}).await.unwrap();
    migrate(&from, &to, clock.now(), |_| {}).await.unwrap();
    let third = tempfile::tempdir().unwrap();
    let to = embedded(&third, &clock);
    Instance::find_or_make(to.as_ref(), &ring(&[1])).await.unwrap();
    let why = migrate(&from, &to, clock.now(), |_| {}).await.unwrap_err().to_string();
    assert!(why.contains("used by a Baton already"), "{why}");
}
