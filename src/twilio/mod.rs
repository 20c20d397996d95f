//! What Twilio is: request signatures, webhook parameters, and the answers its widgets can use.
//! Nothing here keeps anything, reads a socket or knows who may do what.

pub mod form;
pub mod signature;
pub mod studio;
