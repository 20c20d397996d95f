//! What the network sees: connections, routes, the gate, answers and refusals. What a
//! failure is told as is chosen in `refusals`, its status in [`error`].

pub mod access;
mod aliases;
mod body;
mod conditional;
pub mod connection;
mod connectors;
mod console;
pub mod cors;
pub mod edge;
pub mod error;
mod extract;
pub mod gate;
mod handoff_state;
mod handoff_write;
mod handoffs;
mod head;
pub mod health;
mod keys;
pub mod load;
pub mod pages;
mod refusals;
pub mod request;
pub mod routes;
pub mod span;
mod timeline;
mod twilio;
mod view;
mod view_links;
