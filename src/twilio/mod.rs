//! What Twilio is: request signatures, webhook parameters, and the answers its widgets can use.
//! Nothing here keeps anything or knows who may do what; only [`rest`] speaks to Twilio.

pub mod attributes;
pub mod form;
pub mod rest;
pub mod routing;
pub mod secrets;
pub mod signature;
pub mod studio;
pub mod twiml;
pub mod webhook;
