//! What every engine promises, run by each engine's own tests.

use std::time::Duration;

use bytes::Bytes;

use crate::domain::clock::Clock;
use crate::domain::clock::Timestamp;
use crate::store::journal::Again;
use crate::store::journal::Note;
use crate::store::journal::Until;
use crate::store::kv::Change;
use crate::store::kv::Delete;
use crate::store::kv::Expect;
use crate::store::kv::Gone;
use crate::store::kv::Kv;
use crate::store::kv::Member;
use crate::store::kv::Order;
use crate::store::kv::Outcome;
use crate::store::kv::Put;
use crate::store::kv::Slot;
use crate::store::kv::TOMBSTONE_LIFE;
use crate::store::kv::newest_first;

/// A clock that stands still at a plausible moment.
pub(crate) fn clock() -> Clock {
    Clock::fixed(Timestamp::from_micros(1_700_000_000_000_000))
}

/// A put of `value` under `key`, for an hour, over anything.
pub(crate) fn put(clock: &Clock, key: &str, value: &str) -> Put {
    Put {
        key: key.as_bytes().to_vec(),
        value: Bytes::copy_from_slice(value.as_bytes()),
        expires_at: clock.now().plus(Duration::from_secs(3600)),
        expect: Expect::Anything,
        change: Change::Content,
        members: Vec::new(),
        rings: Vec::new(),
        notes: Vec::new(),
    }
}

/// Every promise of [`Kv`]. The engine must be empty and use `clock`.
pub(crate) async fn check(store: &dyn Kv, clock: &Clock) {
    revisions_grow_even_while_the_clock_stands(store, clock).await;
    expectations_are_held(store, clock).await;
    a_longer_life_keeps_the_revision(store, clock).await;
    a_deleted_record_leaves_a_tombstone_and_returns_newer(store, clock).await;
    an_expired_record_is_gone_at_once_and_forgotten_later(store, clock).await;
    sets_list_exactly_what_lives(store, clock).await;
    sets_list_the_newest_first(store, clock).await;
    awkward_keys_and_values_survive(store, clock).await;
    journals_are_written_with_their_record_or_not_at_all(store, clock).await;
    journals_end_when_their_time_is_over(store, clock).await;
    store.ping().await.unwrap();
}

async fn read(store: &dyn Kv, key: &str) -> Option<Slot> {
    store.get(key.as_bytes().to_vec()).await.unwrap()
}

async fn done(store: &dyn Kv, put: Put) -> u64 {
    match store.put(put).await.unwrap() {
        Outcome::Done(revision) => revision,
        Outcome::Conflict(found) => panic!("conflict with {found:?}"),
    }
}

async fn delete(store: &dyn Kv, key: &str, expect: Expect) -> Outcome {
    store.delete(Delete { key: key.as_bytes().to_vec(), expect, notes: Vec::new() }).await.unwrap()
}

async fn revisions_grow_even_while_the_clock_stands(store: &dyn Kv, clock: &Clock) {
    assert_eq!(read(store, "r").await, None);
    let first = done(store, put(clock, "r", "1")).await;
    assert_eq!(first, clock.now().micros());
    let second = done(store, put(clock, "r", "2")).await;
    assert_eq!(second, first + 1);
    clock.advance(Duration::from_secs(1));
    let third = done(store, put(clock, "r", "3")).await;
    assert_eq!(third, clock.now().micros());
    let expires_at = clock.now().plus(Duration::from_secs(3600));
    let value = Bytes::from("3");
    assert_eq!(read(store, "r").await, Some(Slot::Live { revision: third, expires_at, value }));
}

async fn expectations_are_held(store: &dyn Kv, clock: &Clock) {
    let with = |value, expect| Put { expect, ..put(clock, "e", value) };
    assert_eq!(store.put(with("x", Expect::Revision(1))).await.unwrap(), Outcome::Conflict(None));
    assert_eq!(read(store, "e").await, None);
    let first = done(store, with("1", Expect::Absent)).await;
    for expect in [Expect::Absent, Expect::Revision(first + 1)] {
        let outcome = store.put(with("x", expect)).await.unwrap();
        assert_eq!(outcome, Outcome::Conflict(Some(first)));
    }
    let ends = clock.now().plus(Duration::from_secs(3600));
    let other = ends.plus(Duration::from_micros(1));
    for expect in [Expect::Unchanged(first, other), Expect::Unchanged(first + 1, ends)] {
        let outcome = store.put(with("x", expect)).await.unwrap();
        assert_eq!(outcome, Outcome::Conflict(Some(first)), "{expect:?}");
        assert_eq!(delete(store, "e", expect).await, Outcome::Conflict(Some(first)));
    }
    let renewed = Put { change: Change::Lifetime, ..with("1", Expect::Unchanged(first, ends)) };
    assert_eq!(done(store, renewed).await, first);
    let second = done(store, with("2", Expect::Revision(first))).await;
    assert_eq!(read(store, "e").await.unwrap().live_revision(), Some(second));
    assert_eq!(delete(store, "e", Expect::Revision(first)).await, Outcome::Conflict(Some(second)));
    assert_eq!(delete(store, "e", Expect::Absent).await, Outcome::Conflict(Some(second)));
    assert_eq!(delete(store, "nothing", Expect::Anything).await, Outcome::Conflict(None));
}

async fn a_longer_life_keeps_the_revision(store: &dyn Kv, clock: &Clock) {
    let renewal = |seconds| Put {
        change: Change::Lifetime,
        expires_at: clock.now().plus(Duration::from_secs(seconds)),
        ..put(clock, "l", "1")
    };
    assert_eq!(store.put(renewal(60)).await.unwrap(), Outcome::Conflict(None));
    let revision = done(store, put(clock, "l", "1")).await;
    for seconds in [7200, 60] {
        assert_eq!(done(store, renewal(seconds)).await, revision);
        match read(store, "l").await.unwrap() {
            Slot::Live { expires_at, .. } => {
                assert_eq!(expires_at, clock.now().plus(Duration::from_secs(seconds)));
            }
            slot @ Slot::Gone { .. } => panic!("{slot:?}"),
        }
    }
    clock.advance(Duration::from_secs(60));
    let gone = Some(Slot::Gone { revision, how: Gone::Expired });
    assert_eq!(read(store, "l").await, gone, "a life made shorter ends sooner");
    assert_eq!(store.put(renewal(60)).await.unwrap(), Outcome::Conflict(None));
}

async fn a_deleted_record_leaves_a_tombstone_and_returns_newer(store: &dyn Kv, clock: &Clock) {
    let first = done(store, put(clock, "d", "1")).await;
    let Outcome::Done(buried) = delete(store, "d", Expect::Revision(first)).await else {
        panic!("not deleted")
    };
    assert!(buried > first);
    assert_eq!(read(store, "d").await, Some(Slot::Gone { revision: buried, how: Gone::Erased }));
    assert_eq!(delete(store, "d", Expect::Anything).await, Outcome::Conflict(None));
    let again = done(store, Put { expect: Expect::Absent, ..put(clock, "d", "2") }).await;
    assert!(again > buried, "{again} after {buried}");
}

async fn an_expired_record_is_gone_at_once_and_forgotten_later(store: &dyn Kv, clock: &Clock) {
    let revision = done(store, put(clock, "x", "1")).await;
    clock.advance(Duration::from_secs(3600) - Duration::from_micros(1));
    assert_eq!(read(store, "x").await.unwrap().live_revision(), Some(revision));
    clock.advance(Duration::from_micros(1));
    let gone = Some(Slot::Gone { revision, how: Gone::Expired });
    assert_eq!(read(store, "x").await, gone);
    assert_eq!(delete(store, "x", Expect::Anything).await, Outcome::Conflict(None));
    clock.advance(TOMBSTONE_LIFE);
    assert_eq!(read(store, "x").await, None);
    assert!(done(store, put(clock, "x", "2")).await > revision);
}

async fn sets_list_exactly_what_lives(store: &dyn Kv, clock: &Clock) {
    let order = Order::ByName;
    let member = |set: &str, name: &str| Member { set: set.into(), name: name.into(), order };
    let listed = |key: &str, members| Put { members, ..put(clock, key, "1") };
    let names = async |set: &str, after: Option<&str>, limit| {
        let found = store.members(set.into(), after.map(Into::into), limit).await.unwrap();
        found.into_iter().map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>()
    };
    for name in ["b", "a", "c"] {
        done(store, listed(&format!("m{name}"), vec![member("s", name)])).await;
    }
    done(store, listed("other", vec![member("s2", "z"), member("", "y")])).await;
    assert_eq!(names("s", None, 9).await, ["a", "b", "c"]);
    assert_eq!(names("s", Some("a"), 1).await, ["b"]);
    assert_eq!(names("s", Some("c"), 9).await, [""; 0]);
    assert_eq!(names("", None, 9).await, ["y"]);
    done(store, listed("ma", vec![member("s2", "a")])).await;
    assert_eq!(names("s", None, 9).await, ["b", "c"]);
    assert_eq!(names("s2", None, 9).await, ["a", "z"]);
    delete(store, "mb", Expect::Anything).await;
    assert_eq!(names("s", None, 9).await, ["c"]);
}

async fn sets_list_the_newest_first(store: &dyn Kv, clock: &Clock) {
    let listed = |name: &str, value: &str| {
        let order = Order::NewestFirst;
        let members = vec![Member { set: "n".into(), name: name.into(), order }];
        Put { members, ..put(clock, &format!("n{name}"), value) }
    };
    let names = async || {
        let found = store.members("n".into(), None, 9).await.unwrap();
        let name = |listed: &Vec<u8>| {
            let (revision, name) = newest_first(listed).unwrap();
            (String::from_utf8(name.to_vec()).unwrap(), revision)
        };
        found.iter().map(name).collect::<Vec<_>>()
    };
    let mut revisions = Vec::new();
    for name in ["b", "a", "c"] {
        clock.advance(Duration::from_micros(1));
        revisions.push(done(store, listed(name, "1")).await);
    }
    let [b, a, c] = revisions[..] else { panic!("three") };
    assert_eq!(names().await, [("c".to_owned(), c), ("a".to_owned(), a), ("b".to_owned(), b)]);
    // A longer life moves nothing; other content moves to the front.
    let expires_at = clock.now().plus(Duration::from_secs(7200));
    done(store, Put { change: Change::Lifetime, expires_at, ..listed("b", "1") }).await;
    assert_eq!(names().await.last(), Some(&("b".to_owned(), b)));
    clock.advance(Duration::from_micros(1));
    let b = done(store, listed("b", "2")).await;
    assert_eq!(names().await, [("b".to_owned(), b), ("c".to_owned(), c), ("a".to_owned(), a)]);
    delete(store, "nb", Expect::Anything).await;
    assert_eq!(names().await.first(), Some(&("c".to_owned(), c)));
}

async fn awkward_keys_and_values_survive(store: &dyn Kv, clock: &Clock) {
    let long = "k".repeat(512);
    for key in ["", "a\0b", "a", "a\0", &long] {
        done(store, put(clock, key, key)).await;
    }
    for key in ["", "a\0b", "a", "a\0", &long] {
        match read(store, key).await {
            Some(Slot::Live { value, .. }) => assert_eq!(value, key.as_bytes()),
            slot => panic!("{key:?}: {slot:?}"),
        }
    }
}

fn note(clock: &Clock, name: &str, value: &str) -> Note {
    Note {
        journal: b"journal".to_vec(),
        name: name.as_bytes().to_vec(),
        again: Again::Keep,
        value: Bytes::copy_from_slice(value.as_bytes()),
        until: Until::AtLeast(clock.now().plus(Duration::from_secs(60))),
    }
}

async fn told(store: &dyn Kv) -> Vec<(u64, Bytes)> {
    let journal = store.journal(b"journal".to_vec()).await.unwrap();
    journal.entries.into_iter().map(|entry| (entry.revision, entry.value)).collect()
}

async fn journals_are_written_with_their_record_or_not_at_all(store: &dyn Kv, clock: &Clock) {
    let with = |value: &str, expect| Put {
        expect,
        notes: vec![note(clock, "", value)],
        ..put(clock, "told", value)
    };
    let first = done(store, with("1", Expect::Absent)).await;
    let refused = store.put(with("2", Expect::Absent)).await.unwrap();
    assert_eq!(refused, Outcome::Conflict(Some(first)));
    assert_eq!(told(store).await, [(first, Bytes::from("1"))]);
    let notes = vec![note(clock, "", "gone")];
    let wrong = Delete { key: b"told".to_vec(), expect: Expect::Absent, notes: notes.clone() };
    store.delete(wrong).await.unwrap();
    assert_eq!(told(store).await.len(), 1);
    let delete = Delete { key: b"told".to_vec(), expect: Expect::Anything, notes };
    let Outcome::Done(last) = store.delete(delete).await.unwrap() else { panic!("not deleted") };
    assert_eq!(told(store).await, [(first, Bytes::from("1")), (last, Bytes::from("gone"))]);
    let twice = vec![note(clock, "n", "3"), note(clock, "n", "4")];
    assert_eq!(store.note(twice.clone()).await.unwrap(), [true, false]);
    assert_eq!(store.note(twice).await.unwrap(), [false, false]);
    assert_eq!(told(store).await.last(), Some(&(0, Bytes::from("3"))));
    let replaced = Note { again: Again::Replace, ..note(clock, "n", "5") };
    assert_eq!(store.note(vec![replaced]).await.unwrap(), [false]);
    assert_eq!(told(store).await.last(), Some(&(0, Bytes::from("5"))));
}

async fn journals_end_when_their_time_is_over(store: &dyn Kv, clock: &Clock) {
    let until = |until| Note { until, ..note(clock, "", "x") };
    let after = |seconds| clock.now().plus(Duration::from_secs(seconds));
    store.note(vec![until(Until::AtLeast(after(10)))]).await.unwrap();
    clock.advance(Duration::from_secs(59));
    assert!(!told(store).await.is_empty(), "a shorter life does not cut a longer one");
    store.note(vec![until(Until::AtLeast(after(100)))]).await.unwrap();
    store.note(vec![until(Until::Exactly(after(5)))]).await.unwrap();
    clock.advance(Duration::from_secs(5));
    assert_eq!(told(store).await, []);
    store.note(vec![until(Until::AtLeast(after(5)))]).await.unwrap();
    assert_eq!(told(store).await.len(), 1, "what ended does not come back");
}
