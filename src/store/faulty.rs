//! [`Faulty`]: a decorator that makes a store slow or broken, for tests.

use std::sync::Arc;
use std::sync::Mutex;

use tokio::sync::Notify;

use crate::domain::clock::Timestamp;
use crate::store::journal::Journal;
use crate::store::journal::Note;
use crate::store::kv::Delete;
use crate::store::kv::Kv;
use crate::store::kv::Outcome;
use crate::store::kv::Pending;
use crate::store::kv::Put;
use crate::store::kv::Slot;
use crate::store::kv::StoreError;

/// A store whose reads can be held back after they happened, and whose calls can be made to fail.
#[derive(Debug)]
#[deny(clippy::missing_trait_methods)]
pub(crate) struct Faulty<K> {
    inner: K,
    control: Mutex<Control>,
}

#[derive(Debug, Default)]
struct Control {
    hold: Option<Arc<Hold>>,
    fault: Option<StoreError>,
    reads: usize,
}

/// A read that has its answer but has not given it: [`Hold::reached`] tells when, and
/// [`Hold::release`] lets it go on.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    reached: Notify,
    released: Notify,
}

impl Hold {
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn release(&self) {
        self.released.notify_one();
    }
}

impl<K: Kv> Faulty<K> {
    pub(crate) fn new(inner: K) -> Self {
        Self { inner, control: Mutex::default() }
    }

    /// Holds the next read between the engine's answer and the caller.
    pub(crate) fn hold_next_read(&self) -> Arc<Hold> {
        let hold = Arc::new(Hold::default());
        self.control.lock().unwrap().hold = Some(Arc::clone(&hold));
        hold
    }

    /// Makes every call fail with `fault`, or none.
    pub(crate) fn fail_with(&self, fault: Option<StoreError>) {
        self.control.lock().unwrap().fault = fault;
    }

    /// How many reads reached the engine.
    pub(crate) fn reads(&self) -> usize {
        self.control.lock().unwrap().reads
    }

    fn fault(&self) -> Result<(), StoreError> {
        self.control.lock().unwrap().fault.clone().map_or(Ok(()), Err)
    }
}

impl<K: Kv> Kv for Faulty<K> {
    fn get(&self, key: Vec<u8>) -> Pending<'_, Option<Slot>> {
        Box::pin(async move {
            self.fault()?;
            let hold = {
                let mut control = self.control.lock().unwrap();
                control.reads += 1;
                control.hold.take()
            };
            let answer = self.inner.get(key).await;
            if let Some(hold) = hold {
                hold.reached.notify_one();
                hold.released.notified().await;
            }
            answer
        })
    }

    fn is_still(&self, key: Vec<u8>, revision: u64, ends: Timestamp) -> Pending<'_, bool> {
        Box::pin(async move {
            self.fault()?;
            self.inner.is_still(key, revision, ends).await
        })
    }

    fn put(&self, put: Put) -> Pending<'_, Outcome> {
        Box::pin(async move {
            self.fault()?;
            self.inner.put(put).await
        })
    }

    fn delete(&self, delete: Delete) -> Pending<'_, Outcome> {
        Box::pin(async move {
            self.fault()?;
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
            self.fault()?;
            self.inner.members(set, after, limit).await
        })
    }

    fn note(&self, notes: Vec<Note>) -> Pending<'_, Vec<bool>> {
        Box::pin(async move {
            self.fault()?;
            self.inner.note(notes).await
        })
    }

    fn journal(&self, key: Vec<u8>) -> Pending<'_, Journal> {
        Box::pin(async move {
            self.fault()?;
            self.inner.journal(key).await
        })
    }

    fn watch(&self, key: Vec<u8>) -> Pending<'_, ()> {
        Box::pin(async move {
            self.fault()?;
            self.inner.watch(key).await
        })
    }

    fn ping(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.fault()?;
            self.inner.ping().await
        })
    }

    fn close(&self) {
        self.inner.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;
    use crate::store::memory::Memory;

    #[tokio::test]
    async fn conforms_while_no_fault_is_set() {
        let clock = conformance::clock();
        conformance::check(&Faulty::new(Memory::new(clock.clone())), &clock).await;
    }
}
