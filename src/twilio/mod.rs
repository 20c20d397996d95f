//! What Twilio is: request signatures, webhook parameters, and the answers its widgets can use.
//! Nothing here keeps anything or knows who may do what; only [`rest`], [`iam`] and [`tasks`] speak to
//! Twilio.

pub mod attributes;
pub mod form;
pub mod iam;
pub mod rest;
pub mod routing;
pub mod secrets;
pub mod signature;
pub mod studio;
pub mod taskrouter;
pub mod tasks;
pub mod twiml;
pub mod webhook;
