//! Bytes that survive a restart: what is acknowledged here is on the disk, sealed, and a reader in
//! this process never sees anything older.
//!
//! [`kv::Kv`] is the narrow waist: engines below it ([`embedded`], [`redis`], [`memory`]) know bytes, revisions and
//! expiry and nothing else; [`records::Records`] above it knows types, seals them and keeps the hot ones in
//! [`l1::L1`]; [`feed`] hears of writes by other processes. [`copy`] is for work on a whole store.

pub mod call;
pub mod callers;
#[cfg(test)]
mod conformance;
pub mod connector;
pub mod copy;
pub mod embedded;
#[cfg(test)]
mod faulty;
pub mod feed;
pub mod instance;
pub mod journal;
pub mod journals;
pub mod kv;
pub mod l1;
pub mod memory;
pub mod names;
pub mod record;
pub mod records;
pub mod redis;
pub mod ring;
pub mod seal;
pub mod session;
pub mod task;
pub mod watch;
pub mod whole;
