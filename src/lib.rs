//! Baton keeps the handoff of a phone call: the context that a voice agent passes on when it hands
//! the call to a human. An agent writes it once under the call's SID; Twilio Functions, Studio flows
//! and Flex read it.
//!
//! # Floors
//!
//! Imports run down only; `tests/architecture.rs` holds them to it.
//!
//! | room | what it holds |
//! |---|---|
//! | [`cli`] | what an operator types |
//! | [`app`] | builds everything once and runs it; the only room that knows all others |
//! | [`http`] | connections, routes, the gate, answers and refusals |
//! | [`service`] | use cases; each asks first who is asking |
//! | [`auth`] | doors: a credential in, a principal out; how fast it may ask |
//! | [`store`] | bytes that survive a restart: engines, seal, records, L1 |
//! | [`twilio`] | what Twilio is: signatures, parameters, `TwiML`, what its widgets take, its REST APIs, its IAM |
//! | [`telemetry`] | logs, metrics, the only maker of outbound clients |
//! | [`config`] | settings as plain, checked data |
//! | [`domain`] | the nouns; no I/O, no clock read, no framework |
//!
//! # Life of a request
//!
//! [`http::connection`] (every wait ends) → [`http::edge`] (correlation id, a place in flight, no
//! compressed bodies) → [`http::gate`] (who is asking, before the body is read) → [`auth::rates`] (not
//! too fast) → a handler of ten lines → [`service::handoffs`] (may they?) → [`store::records`] (memory, then the engine, sealed) →
//! back through the edge: envelope, headers, metrics, one access line.
//!
//! What Twilio signed is let in by its signature ([`http`]'s Twilio door, [`auth::twilio_request`],
//! [`twilio::signature`]), which covers the body: that is read first, and handlers get the parameters
//! that were verified.
//!
//! A Connector Token or a call token ([`auth::doors`]) proves a connector, and with it an account, a
//! project and an environment; a linked Twilio account's signature proves the same on that connector's own
//! routes. [`service::connectors`] makes, links and verifies them.
//!
//! A read that waits registers with [`store::watch`], looks, and sleeps until a write rings.
//!
//! # Life of a call
//!
//! `/twilio/voice/…` ([`http`]'s routes of calls, [`service::calls`]) numbers the visit, gives the agent a
//! call token ([`auth::call_token`]) and sends it the call ([`twilio::routing`]); the agent writes the
//! handoff; `/twilio/handoff/…` waits for it and sends the call on, with [`twilio::attributes`] for Flex;
//! `/twilio/status/…` ends it. Where the store does not answer in time, the call goes on without.
//!
//! # Life of a story
//!
//! Writes, visits and what becomes of a call are noted in the handoff's journal ([`store::journal`]) with their
//! records; reads are counted in memory and written within a second ([`service::timelines`]). Flex users come in by
//! their own token ([`auth::flex`], [`twilio::iam`]) and say what they see; `TaskRouter` says who took the call
//! ([`service::tasks`], [`twilio::taskrouter`]). Whether context came in time is told from that alone
//! ([`domain::timeline::lead`]).
//!
//! # Life of a look
//!
//! `/panel` and `/console` are one document each, the same for everybody, under a policy that names its one
//! style and one script by hash ([`http::pages`]); what they show they ask for. A person reads
//! [`domain::view`], which [`http`]'s view route answers: to a key, a Flex user, or whoever has a view link
//! ([`auth::view_link`]). Operators sign in with a key ([`auth::session`]) and see calls as rows of steps, each with
//! the likely cause of what went wrong ([`service::console`], [`domain::timeline::cause`]), and the last hour
//! ([`telemetry::hour`]).
//!
//! # Several over one store
//!
//! Over Redis ([`store::redis`]) other processes write too. Reads ask its primary; memory answers first only for
//! credentials, and for handoffs where it is told to, and as long as [`store::feed`] has heard all there was to
//! hear; and it answers in Redis's place when that does not ([`store::records`]). Who waits is rung by the same feed. What
//! one server alone knows is told nowhere as if all knew it: misses not yet written to a timeline, ids written
//! lately, the last hour, rates.
//!
//! # Life of a start
//!
//! Arguments → [`config::Settings`] (all faults in one report, exit 64) → the listener → the keys
//! ([`app::first_start`]) → the store, which must open under them ([`store::ring`]) → its name and the key it signs with
//! ([`store::instance`]) → services → workers. On SIGTERM
//! `/readyz` turns 503 while requests are still taken, and readers who wait are answered at once; then in-flight requests finish, queued writes
//! are committed, and it exits 0.
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
pub mod twilio;
