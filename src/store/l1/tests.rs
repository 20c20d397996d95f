//! The races of a cache, each run with its guard (fresh) and without (stale): a guard whose test
//! cannot fail guards nothing.

use std::time::Duration;

use super::*;
use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Heading;
use crate::domain::handoff::Status;
use crate::store::conformance;

const KEY: &[u8] = b"k";

fn at(revision: u64, clock: &Clock) -> Arc<Handoff> {
    let heading = Heading {
        id: "CA1".parse().unwrap(),
        account: AccountId::default(),
        project: ProjectId::default(),
        shared_id: None,
        status: Status::Ready,
        ttl_seconds: 60,
        connector: None,
        client_env: None,
        left_over: false,
        held_seconds: None,
        caller: None,
    };
    let expires_at = clock.now().plus(Duration::from_secs(60));
    Arc::new(Handoff::new(heading, "{}", revision, expires_at))
}

fn cache(clock: &Clock, off: Option<Guard>) -> L1<Handoff> {
    L1 { off, ..L1::new(1 << 20, clock.clone(), false) }
}

fn filling(generation: u64) -> Filling {
    Filling { generation, mark: None, began: Instant::now() }
}

async fn seen(l1: &L1<Handoff>) -> Option<u64> {
    l1.hit(KEY).await.map(|value| value.revision)
}

/// A load that has read revision 1 when revision 2 is written, and lands after it; the cache has
/// turned revision 2 away meanwhile.
async fn a_late_load_after_a_write(off: Option<Guard>) -> Option<u64> {
    let clock = conformance::clock();
    let l1 = cache(&clock, off);
    let load = async {
        let generation = l1.writing(KEY).ended();
        l1.keep(KEY, &at(2, &clock), generation).await;
        l1.values.invalidate(KEY).await;
        Ok(Found::Live(at(1, &clock)))
    };
    l1.read(KEY, load).await.unwrap();
    seen(&l1).await
}

#[tokio::test]
async fn a_late_load_never_brings_back_what_a_write_replaced() {
    assert_eq!(a_late_load_after_a_write(None).await, None);
    assert_eq!(a_late_load_after_a_write(Some(Guard::Generation)).await, Some(1));
}

/// A load that began while a write was under way, had read the old revision, and lands before the
/// writer says that it ended.
#[tokio::test]
async fn a_load_from_the_middle_of_a_write_is_replaced_by_what_was_written() {
    let clock = conformance::clock();
    let l1 = cache(&clock, None);
    let writing = l1.writing(KEY);
    l1.read(KEY, async { Ok(Found::Live(at(1, &clock))) }).await.unwrap();
    let generation = writing.ended();
    l1.keep(KEY, &at(2, &clock), generation).await;
    assert_eq!(seen(&l1).await, Some(2));
}

/// A load that began while a write was under way, has read the old revision, and lands after the
/// writer kept the new one and the cache turned that away.
async fn a_load_from_the_middle_that_lands_late(second_raise: bool) -> Option<u64> {
    let clock = conformance::clock();
    let l1 = cache(&clock, None);
    let writing = l1.writing(KEY);
    let load = async {
        let generation = if second_raise {
            writing.ended()
        } else {
            std::mem::forget(writing);
            Some(l1.stripe(KEY).load(Ordering::SeqCst))
        };
        l1.keep(KEY, &at(2, &clock), generation).await;
        l1.values.invalidate(KEY).await;
        Ok(Found::Live(at(1, &clock)))
    };
    l1.read(KEY, load).await.unwrap();
    seen(&l1).await
}

#[tokio::test]
async fn a_load_from_the_middle_of_a_write_never_outlives_it() {
    assert_eq!(a_load_from_the_middle_that_lands_late(true).await, None);
    assert_eq!(a_load_from_the_middle_that_lands_late(false).await, Some(1));
}

/// A writer that is slow to keep its value, after somebody else deleted the record.
async fn a_late_keep_after_a_deletion(off: Option<Guard>) -> Option<u64> {
    let clock = conformance::clock();
    let l1 = cache(&clock, off);
    let generation = l1.writing(KEY).ended();
    l1.writing(KEY).ended();
    l1.forget(KEY).await;
    l1.keep(KEY, &at(2, &clock), generation).await;
    seen(&l1).await
}

#[tokio::test]
async fn a_late_writer_never_brings_back_what_was_deleted() {
    assert_eq!(a_late_keep_after_a_deletion(None).await, None);
    assert_eq!(a_late_keep_after_a_deletion(Some(Guard::Generation)).await, Some(2));
}

/// A write that was committed, and then a deletion that began, was committed and ended before the
/// writer came to say that it had ended.
async fn a_deletion_inside_a_write(look: bool) -> Option<u64> {
    let clock = conformance::clock();
    let l1 = cache(&clock, None);
    let writing = l1.writing(KEY);
    l1.writing(KEY).ended();
    l1.forget(KEY).await;
    let ended = writing.ended();
    let unlooked = Some(l1.stripe(KEY).load(Ordering::SeqCst));
    l1.keep(KEY, &at(2, &clock), if look { ended } else { unlooked }).await;
    seen(&l1).await
}

#[tokio::test]
async fn a_writer_that_was_overtaken_by_a_deletion_keeps_nothing() {
    assert_eq!(a_deletion_inside_a_write(true).await, None);
    assert_eq!(a_deletion_inside_a_write(false).await, Some(2));
}

#[tokio::test]
async fn of_two_overlapping_writes_neither_leaves_what_the_engine_may_not_hold() {
    let clock = conformance::clock();
    let l1 = cache(&clock, None);
    let first = l1.writing(KEY);
    let second = l1.writing(KEY);
    let ended = second.ended();
    l1.keep(KEY, &at(2, &clock), ended).await;
    // The engine did the first one last.
    let ended = first.ended();
    l1.keep(KEY, &at(3, &clock), ended).await;
    assert_eq!(seen(&l1).await, None);
    let alone = l1.writing(KEY).ended();
    l1.keep(KEY, &at(4, &clock), alone).await;
    assert_eq!(seen(&l1).await, Some(4));
}

#[tokio::test]
async fn a_writer_that_may_not_keep_its_value_leaves_no_older_one_behind() {
    let clock = conformance::clock();
    let l1 = cache(&clock, None);
    l1.read(KEY, async { Ok(Found::Live(at(1, &clock))) }).await.unwrap();
    let generation = l1.writing(KEY).ended();
    let _another = l1.writing(KEY);
    l1.keep(KEY, &at(2, &clock), generation).await;
    assert_eq!(seen(&l1).await, None);
}

/// Two loads of one generation, as when another pod writes between them; the older lands last.
async fn two_loads_of_one_generation(off: Option<Guard>) -> Option<u64> {
    let clock = conformance::clock();
    let l1 = cache(&clock, off);
    let generation = l1.stripe(KEY).load(Ordering::SeqCst);
    l1.fill(KEY, &Found::Live(at(2, &clock)), filling(generation)).await;
    l1.fill(KEY, &Found::Live(at(1, &clock)), filling(generation)).await;
    seen(&l1).await
}

#[tokio::test]
async fn of_two_loads_the_newer_revision_stays() {
    assert_eq!(two_loads_of_one_generation(None).await, Some(2));
    assert_eq!(two_loads_of_one_generation(Some(Guard::NewestWins)).await, Some(1));
}

/// A reader who comes after a write, while a load from before it is still under way.
async fn a_reader_behind_a_write(off: Option<Guard>) -> u64 {
    let clock = conformance::clock();
    let l1 = cache(&clock, off);
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let slow = l1.read(KEY, async {
        gone.await.unwrap();
        Ok(Found::Live(at(1, &clock)))
    });
    let behind = async {
        tokio::task::yield_now().await;
        l1.writing(KEY).ended();
        let after = l1.read(KEY, async { Ok(Found::Live(at(2, &clock))) });
        tokio::pin!(after);
        let at_once = futures_poll(after.as_mut()).await;
        go.send(()).unwrap();
        match at_once {
            Some(found) => found,
            None => after.await,
        }
    };
    let (_, found) = tokio::join!(slow, behind);
    found.unwrap().live().unwrap().revision
}

/// Polls once.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn a_reader_never_joins_a_load_from_before_a_write() {
    assert_eq!(a_reader_behind_a_write(None).await, 2);
    assert_eq!(a_reader_behind_a_write(Some(Guard::FlightByGeneration)).await, 1);
}

async fn a_hit_after_the_end(off: Option<Guard>) -> Option<u64> {
    let clock = conformance::clock();
    let l1 = cache(&clock, off);
    l1.read(KEY, async { Ok(Found::Live(at(1, &clock))) }).await.unwrap();
    assert_eq!(seen(&l1).await, Some(1));
    clock.advance(Duration::from_secs(60));
    seen(&l1).await
}

#[tokio::test]
async fn an_expired_record_is_not_a_hit() {
    assert_eq!(a_hit_after_the_end(None).await, None);
    assert_eq!(a_hit_after_the_end(Some(Guard::Expiry)).await, Some(1));
}

#[tokio::test]
async fn many_misses_make_one_load_and_a_miss_is_not_kept() {
    let clock = conformance::clock();
    let l1 = Arc::new(cache(&clock, None));
    let loads = Arc::new(AtomicU64::new(0));
    let readers = (0..100).map(|_| {
        let (l1, loads) = (Arc::clone(&l1), Arc::clone(&loads));
        tokio::spawn(async move {
            let load = async {
                loads.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok(Found::Never)
            };
            assert!(matches!(l1.read(KEY, load).await, Ok(Found::Never)));
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    l1.read(KEY, async { Ok(Found::Live(at(1, &clock))) }).await.unwrap();
    assert_eq!(seen(&l1).await, Some(1));
}

#[tokio::test]
async fn a_write_forgets_only_under_its_own_key() {
    let clock = conformance::clock();
    let l1 = cache(&clock, None);
    l1.read(KEY, async { Ok(Found::Live(at(1, &clock))) }).await.unwrap();
    l1.forget(b"other").await;
    assert_eq!(seen(&l1).await, Some(1));
    l1.forget(KEY).await;
    assert_eq!(seen(&l1).await, None);
    assert!(clock.now() < Timestamp::NEVER);
}
