use super::*;
use crate::domain::clock::Timestamp;
use crate::store::conformance;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::kv::TOMBSTONE_LIFE;

use std::time::Duration;

fn rows(path: &Path) -> usize {
    let database = file::open(path).unwrap();
    let transaction = database.begin_read().unwrap();
    let table = transaction.open_table(RECORDS).unwrap();
    redb::ReadableTableMetadata::len(&table).unwrap().try_into().unwrap()
}

async fn revision(store: &Embedded, put: Put) -> u64 {
    match store.put(put).await.unwrap() {
        Outcome::Done(revision) => revision,
        Outcome::Conflict(found) => panic!("{found:?}"),
    }
}

#[tokio::test]
async fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    let clock = conformance::clock();
    let store =
        Embedded::open(&folder.path().join("baton.redb"), clock.clone(), StoreMeter::default())
            .unwrap();
    conformance::check(&store, &clock).await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening_and_revisions_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baton.redb");
    let clock = conformance::clock();
    let store = Embedded::open(&path, clock.clone(), StoreMeter::default()).unwrap();
    let first = revision(&store, conformance::put(&clock, "k", "v")).await;
    drop(store);
    let store = Embedded::open(&path, clock.clone(), StoreMeter::default()).unwrap();
    let slot = store.get(b"k".to_vec()).await.unwrap().unwrap();
    assert_eq!(slot.live_revision(), Some(first));
    assert!(revision(&store, conformance::put(&clock, "k", "w")).await > first);
}

#[tokio::test]
async fn a_second_process_is_told_why_it_cannot_open_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baton.redb");
    let _first = Embedded::open(&path, Clock::system(), StoreMeter::default()).unwrap();
    let refusal =
        Embedded::open(&path, Clock::system(), StoreMeter::default()).unwrap_err().to_string();
    assert!(refusal.contains("another process"), "{refusal}");
}

#[tokio::test]
async fn an_unreadable_file_is_an_error_and_an_unfinished_one_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baton.redb");
    std::fs::write(path.with_extension("new"), b"half of a file").unwrap();
    drop(Embedded::open(&path, Clock::system(), StoreMeter::default()).unwrap());
    std::fs::write(&path, b"not a database").unwrap();
    assert!(Embedded::open(&path, Clock::system(), StoreMeter::default()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"not a database");
}

#[tokio::test]
async fn many_writers_at_once_all_land() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let store = Arc::new(
        Embedded::open(&folder.path().join("baton.redb"), clock.clone(), StoreMeter::default())
            .unwrap(),
    );
    let writers = (0..200).map(|n| {
        let (store, put) =
            (Arc::clone(&store), conformance::put(&clock, &format!("k{}", n % 50), "v"));
        tokio::spawn(async move { revision(&store, put).await })
    });
    let mut revisions = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        revisions.push(writer.await.unwrap());
    }
    assert_eq!(revisions.len(), 200);
    for n in 0..50 {
        assert!(store.get(format!("k{n}").into_bytes()).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn the_sweep_buries_what_ended_keeps_what_was_renewed_and_forgets_old_graves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baton.redb");
    let database = file::open_or_create(&path).unwrap();
    let clock = conformance::clock();
    let sweep = |at: Timestamp| {
        let transaction = database.begin_write().unwrap();
        let looked_at = table::Tables::open(&transaction).unwrap().sweep(at).unwrap();
        transaction.commit().unwrap();
        looked_at
    };
    let write = |put: Put| {
        let transaction = database.begin_write().unwrap();
        table::Tables::open(&transaction).unwrap().put(&put, clock.now()).unwrap();
        transaction.commit().unwrap();
    };
    let hour = Duration::from_secs(3600);
    write(conformance::put(&clock, "ends", "1"));
    write(conformance::put(&clock, "renewed", "1"));
    let longer = clock.now().plus(hour * 10);
    let renewal = conformance::put(&clock, "renewed", "1");
    write(Put { change: Change::Lifetime, expires_at: longer, ..renewal });
    assert_eq!(sweep(clock.now()), 0);
    assert_eq!(sweep(clock.now().plus(hour)), 2);
    assert_eq!(sweep(clock.now().plus(hour)), 0, "each was put where it belongs");
    assert_eq!(sweep(clock.now().plus(hour * 10)), 1);
    assert_eq!(sweep(clock.now().plus(hour * 11).plus(TOMBSTONE_LIFE)), 2);
    drop(database);
    assert_eq!(rows(&path), 0);
}

#[tokio::test]
async fn a_conflicting_write_changes_nothing_in_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let store =
        Embedded::open(&folder.path().join("baton.redb"), clock.clone(), StoreMeter::default())
            .unwrap();
    let put = || conformance::put(&clock, "k", "first");
    let refused = Put { expect: Expect::Revision(1), value: "refused".into(), ..put() };
    let (first, second) = tokio::join!(store.put(put()), store.put(refused));
    assert!(matches!(first.unwrap(), Outcome::Done(_)));
    assert!(matches!(second.unwrap(), Outcome::Conflict(_)));
    match store.get(b"k".to_vec()).await.unwrap().unwrap() {
        Slot::Live { value, .. } => assert_eq!(value, "first"),
        slot @ Slot::Gone { .. } => panic!("{slot:?}"),
    }
}

#[tokio::test]
async fn after_closing_it_answers_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let store =
        Embedded::open(&folder.path().join("baton.redb"), clock.clone(), StoreMeter::default())
            .unwrap();
    store.close();
    assert!(matches!(store.get(b"k".to_vec()).await, Err(StoreError::Unavailable(_))));
    let put = store.put(conformance::put(&clock, "k", "v")).await;
    assert!(matches!(put, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_fails_its_own_write_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baton.redb");
    let clock = conformance::clock();
    let database = file::open_or_create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let damaged: (&[u8], &[u8]) = (b"damaged", b"\xff");
    transaction.open_table(RECORDS).unwrap().insert(damaged.0, damaged.1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let store = Embedded::open(&path, clock.clone(), StoreMeter::default()).unwrap();
    let (bad, good) = tokio::join!(
        store.put(conformance::put(&clock, "damaged", "1")),
        store.put(conformance::put(&clock, "whole", "1"))
    );
    assert!(matches!(bad, Err(StoreError::Unreadable(_))), "{bad:?}");
    assert!(matches!(good, Ok(Outcome::Done(_))), "{good:?}");
    assert!(store.ping().await.is_ok(), "the store itself is well");
}
