//! [`Cursor`]: where a listing goes on. Sealed: it may name what is of a project that the caller does not
//! reach.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::service::error::ServiceError;
use crate::store::kv::StoreError;
use crate::store::seal::Seal;

// Tells a sealed cursor from sealed records; no record has it.
const KIND: u8 = 255;

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(Vec<u8>);

/// Not base64.
#[derive(Clone, Copy, Debug, Error)]
#[error("is not a `next` that this listing answered")]
pub struct BadCursor;

impl Cursor {
    /// After `last` of what `set` lists.
    pub(super) fn seal(seal: &Seal, set: &[u8], last: &[u8]) -> Result<Self, StoreError> {
        seal.seal(KIND, set, last).map(Self)
    }

    /// The last of what `set` lists that was answered.
    pub(super) fn open(&self, seal: &Seal, set: &[u8]) -> Result<Vec<u8>, ServiceError> {
        seal.open(KIND, set, &self.0).map_err(|_not_ours| ServiceError::BadCursor)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        URL_SAFE_NO_PAD.decode(text).map(Self).map_err(|_not_base64| BadCursor)
    }
}
