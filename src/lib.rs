//! Baton keeps the handoff of a phone call.
#![cfg_attr(test, allow(clippy::pedantic, clippy::string_slice, reason = "tests say it plainly"))]
pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod service;
pub mod store;
pub mod telemetry;
