//! What keys are called in Redis, and in which of a cluster's slots they are.
//!
//! `prefix:kind{:key}`. The braces are Redis's hash tag: what a record is made of, and the journal that goes
//! with it, are in one slot, so one script changes them together. A journal's key is its record's and a NUL
//! more ([`crate::store::names::timeline`]); trailing NULs stand behind the tag.

use std::sync::Arc;

/// Slots of a cluster.
pub(super) const SLOTS: u16 = 16384;

// Parts of what lists all that an account has.
const PARTS: u16 = 16;

/// What a key in Redis is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A record's value.
    Value,
    /// What is known of a record: revision, end, places; and, once it is gone, what became of it.
    Head,
    /// A journal.
    Journal,
    /// Names in a set, in byte order.
    Listed,
    /// When each of them ends.
    Ends,
    /// The revisions that listed those that may come back.
    By,
    /// Rung when what a set lists is there.
    Bell,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Value, Self::Head, Self::Journal, Self::Listed, Self::Ends, Self::By, Self::Bell];

    fn letter(self) -> u8 {
        match self {
            Self::Value => b'v',
            Self::Head => b'h',
            Self::Journal => b'j',
            Self::Listed => b's',
            Self::Ends => b'e',
            Self::By => b'r',
            Self::Bell => b'b',
        }
    }
}

/// Names of everything that belongs to one Baton.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: Arc<str>,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// What `key` is called as a `kind`.
    pub(super) fn name(&self, kind: Kind, key: &[u8]) -> Vec<u8> {
        let (tag, rest) = key.split_at(tag_length(key));
        let mut name = Vec::with_capacity(self.prefix.len() + key.len() + 5);
        name.extend_from_slice(self.prefix.as_bytes());
        name.extend_from_slice(&[b':', kind.letter(), b'{', b':']);
        name.extend_from_slice(tag);
        name.push(b'}');
        name.extend_from_slice(rest);
        name
    }

    /// The part of a set that lists records of slots near `near`. What lists all that an account has is in
    /// [`PARTS`] parts, each among the slots of the records that it lists: one set would have every write of
    /// an account go by one server, and wait for it when it is away.
    pub(super) fn part(&self, set: &[u8], near: u16) -> Vec<u8> {
        let wanted = near / (SLOTS / PARTS);
        let mut part = [set, &[0xff, 0, 0]].concat();
        // One try in as many as there are parts fits.
        for salt in 1..=u16::MAX {
            let at = part.len() - 2;
            if let Some(end) = part.get_mut(at..) {
                end.copy_from_slice(&salt.to_be_bytes());
            }
            if !part.ends_with(b"\0")
                && slot(&self.name(Kind::Listed, &part)) / (SLOTS / PARTS) == wanted
            {
                break;
            }
        }
        part
    }

    /// All its parts.
    pub(super) fn parts(&self, set: &[u8]) -> Vec<Vec<u8>> {
        (0..PARTS).map(|part| self.part(set, part * (SLOTS / PARTS))).collect()
    }

    /// Kind and key of what is called `name`; `None`: it is not ours.
    pub(super) fn read(&self, name: &[u8]) -> Option<(Kind, Vec<u8>)> {
        let rest = name.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b":")?;
        let (letter, rest) = rest.split_first()?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.letter() == *letter)?;
        let rest = rest.strip_prefix(b"{:")?;
        let (tag, nuls) = rest.split_at(tag_length(rest));
        Some((kind, [tag.strip_suffix(b"}")?, nuls].concat()))
    }

    /// A pattern, as of `SCAN`, that finds what is called so for these kinds.
    pub(super) fn pattern(&self, kinds: &[Kind]) -> String {
        let letters: String = kinds.iter().map(|kind| char::from(kind.letter())).collect();
        format!("{}:[{letters}]{{:*", self.prefix)
    }
}

fn tag_length(key: &[u8]) -> usize {
    key.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// The slot of a key: CRC16 (XMODEM) of what stands in its first braces, modulo [`SLOTS`]
/// (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>).
pub(super) fn slot(name: &[u8]) -> u16 {
    let tagged = name.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = name.get(open + 1..)?;
        let close = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..close).filter(|tag| !tag.is_empty())
    });
    crc16(tagged.unwrap_or(name)) % SLOTS
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot(b"foo{{bar}}zap"), crc16(b"{bar") % SLOTS);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
    }

    #[test]
    fn each_part_of_a_set_is_among_the_slots_it_is_for() {
        let names = Names::new("baton");
        for set in [&b"hl\0default"[..], b"vl\0acme", b"tl\0"] {
            let parts = names.parts(set);
            for (at, part) in (0..).zip(&parts) {
                assert_eq!(slot(&names.name(Kind::Listed, part)) / 1024, at);
                assert_eq!(names.part(set, at * 1024 + 1023), *part);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_name_reads_back_and_all_of_a_record_is_in_one_slot(key: Vec<u8>) {
            let names = Names::new("b-1");
            let value = names.name(Kind::Value, &key);
            for kind in Kind::ALL {
                let name = names.name(kind, &key);
                prop_assert_eq!(slot(&name), slot(&value));
                prop_assert_eq!(names.read(&name), Some((kind, key.clone())));
            }
            let journal = [key.as_slice(), b"\0"].concat();
            prop_assert_eq!(slot(&names.name(Kind::Journal, &journal)), slot(&value));
            prop_assert_eq!(Names::new("b").read(&value), None);
        }
    }
}
