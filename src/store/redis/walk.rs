//! Everything there is, whole. `SCAN` is here and nowhere else.

use std::sync::Arc;

use redis::Cmd;
use redis::Value;
use tokio::time::Instant;

use crate::store::journal::Journal;
use crate::store::kv::Gone;
use crate::store::kv::Pending;
use crate::store::kv::StoreError;
use crate::store::kv::TOMBSTONE_LIFE;
use crate::store::redis::Redis;
use crate::store::redis::Shared;
use crate::store::redis::command::ByRevision;
use crate::store::redis::command::Listing;
use crate::store::redis::command::life;
use crate::store::redis::command::optional;
use crate::store::redis::fault::Fault;
use crate::store::redis::name::Kind;
use crate::store::redis::name::slot;
use crate::store::redis::reply;
use crate::store::redis::script;
use crate::store::whole::Over;
use crate::store::whole::Page;
use crate::store::whole::Portable;
use crate::store::whole::Whole;

// Keys that one step looks at, about.
const PAGE: usize = 512;

impl Portable for Redis {
    fn walk(&self, from: Option<Vec<u8>>) -> Pending<'_, Page> {
        Box::pin(async move { self.shared.walk(from).await })
    }

    fn restore(&self, whole: Whole, over: Over) -> Pending<'_, bool> {
        Box::pin(async move { self.shared.restore(whole, over).await })
    }
}

impl Shared {
    /// A page of one primary; the primaries in their order. A cursor is `place of the primary:its own`.
    async fn walk(&self, from: Option<Vec<u8>>) -> Result<Page, StoreError> {
        let lost = || StoreError::Unreadable("a walk's cursor cannot be read".to_owned());
        let (at, cursor) = match from {
            None => (0, "0".to_owned()),
            Some(from) => {
                let text = String::from_utf8(from).map_err(|_not_text| lost())?;
                let (at, cursor) = text.split_once(':').ok_or_else(lost)?;
                (at.parse().map_err(|_no_number| lost())?, cursor.to_owned())
            }
        };
        let map = self.known.map();
        let Some(node) = map.nodes().get(at) else { return Ok((Vec::new(), None)) };
        let mut scan = redis::cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(self.names.pattern(&[Kind::Head, Kind::Journal]));
        scan.arg("COUNT").arg(PAGE);
        let answer = node.query(&scan, false).await.map_err(Fault::into_error)?;
        let (next, found) = reply::scanned(answer)?;
        let mut all = Vec::new();
        for (kind, key) in found.iter().filter_map(|name| self.names.read(name)) {
            all.extend(match kind {
                Kind::Head => self.whole_record(key).await?,
                _ => self.whole_journal(key).await?,
            });
        }
        let next = match next.as_str() {
            "0" if at + 1 < map.nodes().len() => Some(format!("{}:0", at + 1)),
            "0" => None,
            next => Some(format!("{at}:{next}")),
        };
        Ok((all, next.map(String::into_bytes)))
    }

    async fn whole_record(&self, key: Vec<u8>) -> Result<Option<Whole>, StoreError> {
        let (value, head) = (self.name(Kind::Value, &key), self.name(Kind::Head, &key));
        let mut cmd = redis::cmd("MGET");
        cmd.arg(value.as_slice()).arg(head.as_slice());
        reply::whole(self.query(slot(&value), &cmd).await?, key)
    }

    async fn whole_journal(&self, key: Vec<u8>) -> Result<Option<Whole>, StoreError> {
        let name = self.name(Kind::Journal, &key);
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(name.as_slice());
        let kept = reply::kept(self.query(slot(&name), &cmd).await?)?;
        let whole = kept.map(|kept| {
            let (ends, version, journal) = (kept.ends, kept.changes, kept.journal);
            Whole::Journal { key, ends, version, journal }
        });
        Ok(whole)
    }

    async fn restore(self: &Arc<Self>, whole: Whole, over: Over) -> Result<bool, StoreError> {
        let until = Instant::now() + self.patience;
        let (at, command) = match (&whole, &over) {
            (Whole::Record { key, .. }, _) => {
                if let Over::Older = over {
                    self.list_again(&whole, until).await?;
                }
                (slot(&self.name(Kind::Head, key)), self.record_command(&whole, &over)?)
            }
            (Whole::Journal { key, ends, journal, .. }, over) => {
                let version = match over {
                    Over::Same(Whole::Journal { version, .. }) => Some(*version),
                    Over::Same(Whole::Record { .. }) | Over::Older => None,
                };
                let life = life(*ends, self.clock.now());
                let name = self.name(Kind::Journal, key);
                let mut cmd = script::RESTORE_JOURNAL.on(std::slice::from_ref(&name));
                cmd.arg(optional(version)).arg(journal.left_out).arg(ends.micros());
                cmd.arg(optional(life)).arg(journal.bytes());
                tell_entries(&mut cmd, journal);
                (slot(&name), cmd)
            }
        };
        let answer = self.carry_out(at, vec![command], until).await?;
        if !answer.is_confirmed {
            return Err(StoreError::NotConfirmed);
        }
        Ok(answer.values == [Value::Int(1)])
    }

    fn record_command(&self, whole: &Whole, over: &Over) -> Result<Cmd, StoreError> {
        let Whole::Record { key, revision, ends, value, .. } = whole else {
            return Err(StoreError::Unreadable("a journal is no record".to_owned()));
        };
        let now = self.clock.now();
        let (before, value_before) = match over {
            Over::Same(same @ Whole::Record { value, .. }) => (head(same)?, value.to_vec()),
            Over::Same(Whole::Journal { .. }) | Over::Older => (Vec::new(), Vec::new()),
        };
        let own_life = life(*ends, now);
        let is_gone = matches!(whole, Whole::Record { gone: Some(Gone::Erased), .. });
        let tombstone = u64::try_from(TOMBSTONE_LIFE.as_millis()).unwrap_or(0);
        let head_life =
            own_life.map(|life| if is_gone { life } else { life.saturating_add(tombstone) });
        let keys = [self.name(Kind::Value, key), self.name(Kind::Head, key)];
        let mut cmd = script::RESTORE.on(&keys);
        cmd.arg(*revision).arg(before).arg(value_before).arg(head(whole)?);
        cmd.arg(optional(head_life)).arg(value.as_ref()).arg(optional(own_life));
        Ok(cmd)
    }

    /// Lists a record where it was listed.
    async fn list_again(self: &Arc<Self>, whole: &Whole, until: Instant) -> Result<(), StoreError> {
        let Whole::Record { key, places, ends, revision, gone: None, .. } = whole else {
            return Ok(());
        };
        let own = slot(&self.name(Kind::Head, key));
        for place in places {
            let (set, name) = (self.set_of(place, own), place.name.clone());
            let there = slot(&self.name(Kind::Listed, &set));
            let listing = Listing { set, name, by: ByRevision(Some(*revision)), ends: *ends };
            let command = self.list_command(&listing, self.clock.now());
            self.carry_out(there, vec![command], until).await?;
        }
        Ok(())
    }
}

/// A head as put.lua writes it. One whose time was over when it was buried is written as what it was: it
/// is over by its end.
fn head(whole: &Whole) -> Result<Vec<u8>, StoreError> {
    let Whole::Record { revision, ends, gone, places, .. } = whole else { return Ok(Vec::new()) };
    let (state, ends) = match gone {
        None => ('L', ends.micros()),
        Some(Gone::Erased) => ('E', ends.micros()),
        Some(Gone::Expired) => {
            let life = u64::try_from(TOMBSTONE_LIFE.as_micros()).unwrap_or(0);
            ('L', ends.micros().saturating_sub(life))
        }
    };
    let mut head = format!("{state}:{revision}:{ends}:").into_bytes();
    head.extend(reply::written_places(places)?);
    Ok(head)
}

fn tell_entries(cmd: &mut Cmd, journal: &Journal) {
    for entry in &journal.entries {
        let mut kept = format!("{}:{}:", entry.revision, entry.name.len()).into_bytes();
        kept.extend_from_slice(&entry.name);
        kept.extend_from_slice(&entry.value);
        cmd.arg(entry.name.as_slice()).arg(kept);
    }
}
