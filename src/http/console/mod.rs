//! What the console asks: its sessions, and what operators see of calls.

pub(super) mod calls;
pub(super) mod session;
