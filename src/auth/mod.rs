//! Doors: a credential comes in, a [`crate::domain::principal::Principal`] comes out, or nobody; and
//! how fast a credential may ask.

pub mod api_key;
pub mod call_token;
pub mod connector_token;
pub mod doors;
pub mod flex;
pub mod jwt;
pub mod rates;
pub mod session;
pub mod twilio_request;
pub mod view_link;
