//! Doors: a credential comes in, a [`crate::domain::principal::Principal`] comes out, or nobody.

pub mod api_key;
pub mod rates;
