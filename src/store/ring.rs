//! What a store is sealed with: of each key that anything in it may be sealed with, a record that is, so that
//! a wrong ring stops the start instead of turning handoffs into errors, one by one; also where several
//! processes share a store and one of them seals with a key that another has not been given.

use crate::domain::clock::Timestamp;
use crate::store::kv::Change;
use crate::store::kv::Delete;
use crate::store::kv::Expect;
use crate::store::kv::Kv;
use crate::store::kv::Member;
use crate::store::kv::Order;
use crate::store::kv::Put;
use crate::store::kv::Slot;
use crate::store::kv::StoreError;
use crate::store::names;
use crate::store::seal::Seal;

const KIND: u8 = 0;
// What stores of the first versions remember, sealed with the first key they had.
const FIRST: &[u8] = b"ring";
// Rings are short; more would be a mistake.
const MOST: usize = 1000;

/// Fails, naming the key, when `seal` lacks one that anything in the store may be sealed with. Remembers the
/// key that seals from now on.
pub async fn check(kv: &dyn Kv, seal: &Seal) -> Result<(), StoreError> {
    open(kv, seal, FIRST).await?;
    for name in kv.members(names::ring_keys(), None, MOST).await? {
        let id = String::from_utf8_lossy(&name).into_owned();
        let slot = kv.get(names::ring_key(&id)).await?;
        let is_used = slot.is_some_and(|slot| slot.live_revision().is_some());
        if is_used && !seal.ids().contains(&id) {
            let there = seal.ids().join(", ");
            return Err(StoreError::Unreadable(format!(
                "what is stored may be sealed with the key {id}, and BATON_SEAL_KEYS holds only {there}. Add it, or seal everything anew with `baton rekey` where it is known"
            )));
        }
        open(kv, seal, &names::ring_key(&id)).await?;
    }
    let Some(newest) = seal.ids().into_iter().next() else { return Ok(()) };
    let key = names::ring_key(&newest);
    if kv.get(key.clone()).await?.is_some_and(|slot| slot.live_revision().is_some()) {
        return Ok(());
    }
    let member =
        Member { set: names::ring_keys(), name: newest.into_bytes(), order: Order::ByName };
    let put = Put {
        value: seal.seal(KIND, &key, b"")?.into(),
        key,
        expires_at: Timestamp::NEVER,
        expect: Expect::Absent,
        change: Change::Content,
        members: vec![member],
        rings: Vec::new(),
        notes: Vec::new(),
    };
    // Whoever was first wrote the same.
    kv.put(put).await.map(|_| ())
}

/// Once nothing is sealed with another key than the newest: nobody needs the others any more.
pub async fn forget_others(kv: &dyn Kv, seal: &Seal) -> Result<(), StoreError> {
    let newest = seal.ids().into_iter().next();
    for name in kv.members(names::ring_keys(), None, MOST).await? {
        let id = String::from_utf8_lossy(&name).into_owned();
        if Some(&id) != newest.as_ref() {
            let (key, expect) = (names::ring_key(&id), Expect::Anything);
            kv.delete(Delete { key, expect, notes: Vec::new() }).await?;
        }
    }
    Ok(())
}

async fn open(kv: &dyn Kv, seal: &Seal, key: &[u8]) -> Result<(), StoreError> {
    match kv.get(key.to_vec()).await? {
        Some(Slot::Live { value, .. }) => seal.open(KIND, key, &value).map(|_| ()),
        Some(Slot::Gone { .. }) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;
    use crate::store::memory::Memory;
    use crate::store::seal::tests::ring;

    #[tokio::test]
    async fn a_ring_that_lacks_a_key_of_the_store_is_refused_and_the_key_named() {
        let kv = Memory::new(Clock::fixed(Timestamp::from_micros(1)));
        let [one, two] = [1, 2].map(|seed| ring(&[seed]).ids().remove(0));
        check(&kv, &ring(&[1])).await.unwrap();
        check(&kv, &ring(&[2, 1])).await.unwrap();
        let why = check(&kv, &ring(&[1])).await.unwrap_err().to_string();
        assert!(
            why.contains(&format!("the key {two}")) && why.contains("BATON_SEAL_KEYS"),
            "{why}"
        );
        let why = check(&kv, &ring(&[2])).await.unwrap_err().to_string();
        assert!(why.contains(&format!("the key {one}")), "{why}");
        forget_others(&kv, &ring(&[2, 1])).await.unwrap();
        check(&kv, &ring(&[2])).await.unwrap();
    }
}
