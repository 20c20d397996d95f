//! What a caller is told when the store is slow, full, broken or away.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use baton::store::journal::Journal;
use baton::store::journal::Note;
use baton::store::kv::Delete;
use baton::store::kv::Kv;
use baton::store::kv::Outcome;
use baton::store::kv::Pending;
use baton::store::kv::Put;
use baton::store::kv::Slot;
use baton::store::kv::StoreError;

use crate::harness::SID;
use crate::harness::Server;

/// What befalls every call.
#[derive(Clone, Debug, Default)]
pub struct Fate(Arc<Mutex<Option<Befalls>>>);

#[derive(Clone, Debug)]
pub enum Befalls {
    Fails(StoreError),
    Hangs,
    DeletesSlowly(Duration),
    WritesNothing,
}

/// An engine under a fate.
#[derive(Debug)]
struct Ill {
    inner: Arc<dyn Kv>,
    fate: Fate,
}

impl Ill {
    async fn suffer(&self) -> Result<(), StoreError> {
        match self.fate.get() {
            None | Some(Befalls::DeletesSlowly(_) | Befalls::WritesNothing) => Ok(()),
            Some(Befalls::Fails(error)) => Err(error),
            Some(Befalls::Hangs) => std::future::pending().await,
        }
    }
}

impl Kv for Ill {
    fn get(&self, key: Vec<u8>) -> Pending<'_, Option<Slot>> {
        Box::pin(async move {
            self.suffer().await?;
            self.inner.get(key).await
        })
    }

    fn put(&self, put: Put) -> Pending<'_, Outcome> {
        Box::pin(async move {
            self.suffer().await?;
            if let Some(Befalls::WritesNothing) = self.fate.get() {
                return Err(StoreError::Full);
            }
            self.inner.put(put).await
        })
    }

    fn delete(&self, delete: Delete) -> Pending<'_, Outcome> {
        Box::pin(async move {
            self.suffer().await?;
            if let Some(Befalls::DeletesSlowly(takes)) = self.fate.get() {
                tokio::time::sleep(takes).await;
            }
            self.inner.delete(delete).await
        })
    }

    fn members(
        &self,
        set: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Pending<'_, Vec<Vec<u8>>> {
        Box::pin(async move {
            self.suffer().await?;
            self.inner.members(set, after, limit).await
        })
    }

    fn note(&self, notes: Vec<Note>) -> Pending<'_, Vec<bool>> {
        Box::pin(async move {
            self.suffer().await?;
            if let Some(Befalls::WritesNothing) = self.fate.get() {
                return Err(StoreError::Full);
            }
            self.inner.note(notes).await
        })
    }

    fn journal(&self, key: Vec<u8>) -> Pending<'_, Journal> {
        Box::pin(async move {
            self.suffer().await?;
            self.inner.journal(key).await
        })
    }

    fn watch(&self, key: Vec<u8>) -> Pending<'_, ()> {
        Box::pin(async move {
            self.suffer().await?;
            self.inner.watch(key).await
        })
    }

    fn ping(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.suffer().await?;
            self.inner.ping().await
        })
    }

    fn close(&self) {
        self.inner.close();
    }
}

fn server() -> (Server, Fate) {
    server_with(&[])
}

/// A server on an engine that suffers what is set.
pub fn server_with(flags: &[&str]) -> (Server, Fate) {
    let fate = Fate::default();
    let held = fate.clone();
    // What is done to it is done around it; of a Redis there are tests of its own.
    let own: &[&str] = if flags.contains(&"--store") { &[] } else { &["--store", "embedded"] };
    let flags = [own, flags].concat();
    let server = Server::over(move |inner| Arc::new(Ill { inner, fate: held }), &flags);
    (server, fate)
}

impl Fate {
    pub fn set(&self, fate: Option<Befalls>) {
        *self.0.lock().unwrap() = fate;
    }

    fn get(&self) -> Option<Befalls> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_given_up_at_the_deadline_and_memory_still_answers() {
    let (server, fate) = server();
    server.admin().write(SID, "{}").await.ok(201);
    fate.set(Some(Befalls::Hangs));
    let started = Instant::now();
    let refused = server.admin().read("not-in-memory").await;
    refused.refused(503, "DEADLINE_EXCEEDED");
    assert_eq!(refused.header("retry-after"), "1");
    let took = started.elapsed();
    assert!(took > Duration::from_millis(2400) && took < Duration::from_secs(3), "{took:?}");
    server.admin().write(SID, "{\"a\":1}").await.refused(503, "DEADLINE_EXCEEDED");
    server.admin().read(SID).await.ok(200);
    server.nobody().get("/livez").await.ok(200);
    server.nobody().get("/readyz").await.refused(503, "DEADLINE_EXCEEDED");
    server.admin().get("/v1/keys").await.refused(503, "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn every_failure_of_the_store_has_its_code_and_its_reason_stands_in_the_log_alone() {
    let (mut server, fate) = server();
    let io = StoreError::failed(std::io::Error::other("CANARY-disk on fire"));
    for (error, status, code) in [
        (StoreError::Full, 507, "STORE_FULL"),
        (StoreError::Busy, 503, "OVERLOADED"),
        (StoreError::Unavailable("reopening".to_owned()), 503, "STORE_UNAVAILABLE"),
        (io, 503, "STORE_UNAVAILABLE"),
        (StoreError::Unreadable("torn".to_owned()), 500, "INTERNAL"),
    ] {
        fate.set(Some(Befalls::Fails(error)));
        let refused = server.admin().write(SID, "{}").await;
        refused.refused(status, code);
        assert_eq!(refused.header("retry-after").is_empty(), status == 500, "{code}");
        assert!(!refused.text().contains("CANARY"), "{}", refused.text());
        let stranger =
            server.client("btk_0000000000_0000000000000000000000000000000000000000000_000000");
        assert_eq!(stranger.read(SID).await.status, 401, "junk is refused without the store");
        server.nobody().get("/readyz").await.refused(503, "NOT_READY");
    }
    fate.set(None);
    server.admin().read(SID).await.refused(404, "HANDOFF_NOT_FOUND");
    server.ask_to_stop(true);
    server.join();
    let log = server.log.text();
    let line = log.lines().find(|line| line.contains("CANARY")).expect("the reason is logged");
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["level"], &line["status"]), (&"ERROR".into(), &503.into()));
    assert_eq!(line["correlation_id"].as_str().unwrap().len(), 36);
}
