use std::time::Duration;

use super::*;
use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::handoff::Handoff;
use crate::domain::handoff::Heading;
use crate::domain::handoff::Status;
use crate::store::conformance;
use crate::store::faulty::Faulty;
use crate::store::kv::Gone;
use crate::store::memory::Memory;
use crate::store::names;
use crate::store::seal::tests::ring;

struct Bench {
    kv: Arc<Faulty<Memory>>,
    records: Arc<Records<Handoff>>,
    clock: Clock,
    key: Vec<u8>,
}

fn bench() -> Bench {
    let clock = conformance::clock();
    let kv = Arc::new(Faulty::new(Memory::new(clock.clone())));
    let store = Store {
        kv: Arc::<Faulty<Memory>>::clone(&kv),
        seal: Arc::new(ring(&[1])),
        clock: clock.clone(),
        watchers: Arc::default(),
        sharing: None,
    };
    let records = Records::new(store, 1 << 20, LookUps::default());
    let key = names::handoff(&AccountId::default(), &"CA1".parse().unwrap());
    Bench { kv, records: Arc::new(records), clock, key }
}

impl Bench {
    async fn put(&self, data: &str) -> Result<Written<Handoff>, StoreError> {
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
        let expires_at = self.clock.now().plus(Duration::from_secs(60));
        let handoff = Handoff::new(heading, data, 0, expires_at);
        self.records.put(self.key.clone(), handoff, Expect::Anything, Change::Content).await
    }

    async fn read(&self) -> String {
        match self.records.get(&self.key).await.unwrap() {
            Found::Live(handoff) => String::from_utf8(handoff.data().to_vec()).unwrap(),
            Found::Gone(how) => format!("{how:?}"),
            Found::Never => "never".to_owned(),
            Found::Stale(_) => "stale".to_owned(),
        }
    }
}

#[tokio::test]
async fn a_write_is_read_back_from_memory_and_from_the_engine() {
    let bench = bench();
    bench.put(r#"{"n":1.10}"#).await.unwrap();
    assert_eq!(bench.read().await, r#"{"n":1.10}"#);
    assert_eq!(bench.kv.reads(), 0, "the writer left it in memory");
    bench.records.l1.forget(&bench.key).await;
    assert_eq!(bench.read().await, r#"{"n":1.10}"#);
    assert_eq!(bench.kv.reads(), 1);
}

#[tokio::test]
async fn a_read_held_up_across_a_write_does_not_bring_back_the_past() {
    let bench = bench();
    bench.put(r#"{"n":1}"#).await.unwrap();
    bench.records.l1.forget(&bench.key).await;
    let hold = bench.kv.hold_next_read();
    let slow = async { bench.read().await };
    let write = async {
        hold.reached().await;
        bench.put(r#"{"n":2}"#).await.unwrap();
        hold.release();
    };
    tokio::join!(slow, write);
    assert_eq!(bench.read().await, r#"{"n":2}"#);
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_memory_and_engine_agreed() {
    let bench = bench();
    bench.put(r#"{"n":1}"#).await.unwrap();
    let mut write = Box::pin(bench.put(r#"{"n":2}"#));
    let started = std::future::poll_fn(|cx| {
        let _ = write.as_mut().poll(cx);
        std::task::Poll::Ready(())
    });
    started.await;
    drop(write);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.read().await, r#"{"n":2}"#);
}

#[tokio::test]
async fn a_failed_write_is_not_acknowledged_and_not_remembered() {
    let bench = bench();
    bench.put(r#"{"n":1}"#).await.unwrap();
    bench.kv.fail_with(Some(StoreError::Full));
    assert!(matches!(bench.put(r#"{"n":2}"#).await, Err(StoreError::Full)));
    bench.kv.fail_with(None);
    assert_eq!(bench.read().await, r#"{"n":1}"#);
}

#[tokio::test]
async fn memory_answers_while_the_engine_cannot() {
    let bench = bench();
    bench.put(r#"{"n":1}"#).await.unwrap();
    bench.kv.fail_with(Some(StoreError::Unavailable("test".to_owned())));
    assert_eq!(bench.read().await, r#"{"n":1}"#);
}

#[tokio::test]
async fn a_deleted_record_is_gone_from_memory_too() {
    let bench = bench();
    bench.put("{}").await.unwrap();
    let outcome = bench.records.delete(bench.key.clone(), Expect::Anything).await.unwrap();
    assert!(matches!(outcome, Outcome::Done(_)));
    assert_eq!(bench.read().await, format!("{:?}", Gone::Erased));
    let outcome = bench.records.delete(bench.key.clone(), Expect::Anything).await.unwrap();
    assert_eq!(outcome, Outcome::Conflict(None));
}

#[tokio::test]
async fn nothing_reaches_the_engine_in_clear() {
    let bench = bench();
    bench.put(r#"{"name":"CANARY-7f3a"}"#).await.unwrap();
    match bench.kv.get(bench.key.clone()).await.unwrap().unwrap() {
        Slot::Live { value, .. } => {
            assert!(!value.windows(6).any(|window| window == b"CANARY"));
        }
        slot @ Slot::Gone { .. } => panic!("{slot:?}"),
    }
}
