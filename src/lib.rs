//! Baton keeps the handoff of a phone call.
#![cfg_attr(test, allow(clippy::pedantic, reason = "tests say things plainly"))]
pub mod auth;
pub mod config;
pub mod domain;
pub mod service;
pub mod store;
pub mod telemetry;
