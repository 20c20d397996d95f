//! What the network sees: connections, routes, the gate, answers and refusals. Status codes are
//! chosen in `refusals` and nowhere else.

pub mod access;
mod body;
mod conditional;
pub mod connection;
pub mod edge;
pub mod error;
mod extract;
pub mod gate;
mod handoff_state;
mod handoff_write;
mod handoffs;
pub mod health;
mod keys;
pub mod load;
mod refusals;
pub mod request;
pub mod routes;
pub mod span;
