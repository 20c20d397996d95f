//! What leaves the process besides answers: logs, metrics, and requests to others. Never a payload,
//! a key, a token or a phone number.

pub mod hour;
pub mod logging;
pub mod metrics;
pub mod outbound;
