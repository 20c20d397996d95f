//! Everything in a store, copied to another, or sealed anew.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::domain::clock::Timestamp;
use crate::store::instance;
use crate::store::kv::StoreError;
use crate::store::kv::TOMBSTONE_LIFE;
use crate::store::ring;
use crate::store::seal::Seal;
use crate::store::whole::Over;
use crate::store::whole::Portable;
use crate::store::whole::Whole;

// Written at once, so that engines commit many together.
const AT_ONCE: usize = 64;
// What changes while everything is sealed anew is looked at again, so many times.
const PASSES: usize = 4;

/// An engine that is copied from or to.
pub type Engine = Arc<dyn Portable>;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Written.
    pub done: u64,
    /// There already, or newer; sealed with the newest key already.
    pub there: u64,
    /// Over for so long that nobody is told of it.
    pub over: u64,
    /// Changed while it was looked at.
    pub changed: u64,
    /// Not opened by any key of the ring.
    pub unreadable: u64,
}

/// Copies everything with its revision and its end; what is there with the same or a newer revision stays,
/// so that it may be run again. Fails when `to` was used by a Baton of its own.
pub async fn migrate(
    from: &Engine,
    to: &Engine,
    now: Timestamp,
    mut tell: impl FnMut(&Count),
) -> Result<Count, StoreError> {
    if !instance::may_follow(from.as_ref(), to.as_ref()).await? {
        return Err(StoreError::Unavailable(
            "the destination has been used by a Baton already, whose tokens would be mixed with these: take an empty one, or another BATON_REDIS_PREFIX".to_owned(),
        ));
    }
    let mut count = Count::default();
    let mut cursor = None;
    loop {
        let (page, next) = from.walk(cursor).await?;
        let mut writing = JoinSet::new();
        for whole in page {
            if is_over(&whole, now) {
                count.over += 1;
                continue;
            }
            if writing.len() >= AT_ONCE {
                took(&mut count, writing.join_next().await)?;
            }
            let to = Arc::clone(to);
            writing.spawn(async move { to.restore(whole, Over::Older).await });
        }
        while let Some(done) = writing.join_next().await {
            took(&mut count, Some(done))?;
        }
        tell(&count);
        match next {
            Some(next) => cursor = Some(next),
            None => return Ok(count),
        }
    }
}

impl Count {
    fn restored(&mut self, done: Joined) -> Result<(), StoreError> {
        match did(done)? {
            Some(true) => self.done += 1,
            Some(false) => self.changed += 1,
            None => {}
        }
        Ok(())
    }
}

type Joined = Option<Result<Result<bool, StoreError>, tokio::task::JoinError>>;

fn took(count: &mut Count, done: Joined) -> Result<(), StoreError> {
    match did(done)? {
        Some(true) => count.done += 1,
        Some(false) => count.there += 1,
        None => {}
    }
    Ok(())
}

fn did(done: Joined) -> Result<Option<bool>, StoreError> {
    done.transpose().map_err(StoreError::panicked)?.transpose()
}

fn is_over(whole: &Whole, now: Timestamp) -> bool {
    match whole {
        Whole::Record { gone: Some(_), ends, .. } | Whole::Journal { ends, .. } => *ends <= now,
        Whole::Record { gone: None, ends, .. } => ends.plus(TOMBSTONE_LIFE) <= now,
    }
}

/// Seals everything with the newest key of the ring, and has the store forget the others once nothing is
/// sealed with them. What is written meanwhile is not touched; it may be run again.
pub async fn rekey(
    engine: &Engine,
    seal: &Seal,
    mut tell: impl FnMut(&Count),
) -> Result<Count, StoreError> {
    let mut all = Count::default();
    for _ in 0..PASSES {
        let mut pass = Count::default();
        let mut cursor = None;
        loop {
            let (page, next) = engine.walk(cursor).await?;
            let mut writing = JoinSet::new();
            for whole in page {
                let anew = match resealed(seal, &whole) {
                    Ok(Some(anew)) => anew,
                    Ok(None) => {
                        pass.there += 1;
                        continue;
                    }
                    Err(why) => {
                        tracing::error!(error = %why, "something that is stored cannot be sealed anew");
                        pass.unreadable += 1;
                        continue;
                    }
                };
                if writing.len() >= AT_ONCE {
                    pass.restored(writing.join_next().await)?;
                }
                let engine = Arc::clone(engine);
                writing.spawn(async move { engine.restore(anew, Over::Same(whole)).await });
            }
            while let Some(done) = writing.join_next().await {
                pass.restored(Some(done))?;
            }
            let shown = Count { done: all.done + pass.done, ..pass };
            tell(&shown);
            match next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        all = Count { done: all.done + pass.done, ..pass };
        if pass.changed == 0 {
            break;
        }
    }
    if all.changed == 0 && all.unreadable == 0 {
        ring::forget_others(engine.as_ref(), seal).await?;
    }
    Ok(all)
}

/// The same under the newest key; `None`: it is.
fn resealed(seal: &Seal, whole: &Whole) -> Result<Option<Whole>, StoreError> {
    let mut anew = whole.clone();
    let mut is_new = false;
    match &mut anew {
        Whole::Record { gone: None, key, value, .. } if !value.is_empty() => {
            if let Some(sealed) = seal.reseal(key, value)? {
                *value = sealed.into();
                is_new = true;
            }
        }
        Whole::Record { .. } => {}
        Whole::Journal { key, journal, .. } => {
            for entry in &mut journal.entries {
                if let Some(sealed) = seal.reseal(key, &entry.value)? {
                    entry.value = sealed.into();
                    is_new = true;
                }
            }
        }
    }
    Ok(is_new.then_some(anew))
}

#[cfg(test)]
pub(crate) mod tests;
