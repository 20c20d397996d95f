//! The scripts that Redis runs, and the commands that run them.

use std::fmt::Write;
use std::sync::LazyLock;

use aws_lc_rs::digest;
use redis::Cmd;

const NOTE: &str = include_str!("note.lua");
const HEAD: &str = include_str!("head.lua");
const LIST_ONE: &str = include_str!("list.lua");

/// A script: what is sent of it is its hash.
pub(super) struct Script {
    source: String,
    hash: String,
}

impl Script {
    fn new(parts: &[&str]) -> Self {
        let source = parts.concat();
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, source.as_bytes());
        let hash = hash.as_ref().iter().fold(String::new(), |mut hash, byte| {
            // Writing to a String does not fail.
            let _ = write!(hash, "{byte:02x}");
            hash
        });
        Self { source, hash }
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// A command that runs it on these keys; arguments are to be added.
    pub(super) fn on(&self, keys: &[Vec<u8>]) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&self.hash).arg(keys.len());
        for key in keys {
            cmd.arg(key.as_slice());
        }
        cmd
    }
}

pub(super) static PUT: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[HEAD, NOTE, LIST_ONE, include_str!("put.lua")]));
pub(super) static DELETE: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[HEAD, NOTE, include_str!("delete.lua")]));
pub(super) static NOTES: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[NOTE, include_str!("notes.lua")]));
pub(super) static LIST: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[LIST_ONE, include_str!("lists.lua")]));
pub(super) static UNLIST: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[include_str!("unlist.lua")]));

pub(super) static RESTORE: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[include_str!("restore.lua")]));
pub(super) static RESTORE_JOURNAL: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[include_str!("restore_journal.lua")]));

/// All of them.
pub(super) fn all() -> [&'static Script; 7] {
    [&PUT, &DELETE, &NOTES, &LIST, &UNLIST, &RESTORE, &RESTORE_JOURNAL]
}
