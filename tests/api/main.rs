//! The API as its callers see it: a real server on a free port, a clock that stands still, and
//! every answer held to `openapi.yaml`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::pedantic,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a panic is how a test reports"
)]

mod aliases;
mod bad_input;
mod contract;
mod doors;
mod edge;
mod failures;
mod handoff;
mod harness;
mod keys;
mod linear;
mod listing;
mod misses;
mod model;
mod patch;
mod rates;
mod restart;
mod secrets;
mod shared;
mod spellings;
mod studio;
mod twilio;
mod waiting;
