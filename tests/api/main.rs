//! The API as its callers see it: a real server on a free port, a clock that stands still, and
//! every answer held to `openapi.yaml`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::pedantic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a panic is how a test reports"
)]

mod aliases;
mod apart;
mod bad_input;
mod blind;
mod connectors;
mod console_calls;
mod console_search;
mod console_session;
mod console_story;
mod contract;
mod cors;
mod doors;
mod edge;
mod exposed;
mod failures;
mod flex_door;
mod flex_iam;
mod forged;
mod forged_views;
mod handoff;
mod harness;
mod keys;
mod late;
mod lead;
mod linear;
mod linked;
mod linking;
mod links;
mod listing;
mod misses;
mod model;
mod onward;
mod outage;
mod own_redis;
mod pages;
mod patch;
mod pods;
mod pretend_flex;
mod pretend_flex_wire;
mod pretend_twilio;
mod rates;
mod receipts;
mod restart;
mod routing;
mod secrets;
mod shared;
mod speakers;
mod spellings;
mod studio;
mod taskrouter;
mod timeline;
mod timeline_of_calls;
mod tokens;
mod twilio;
mod view;
mod view_links;
mod visits;
mod waiting;
