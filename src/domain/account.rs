//! [`AccountId`] and [`ProjectId`]: `PolyAI`'s tenancy. Nothing crosses an account.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

/// A tenant: 1–64 of `A–Z a–z 0–9 . _ -`. Comes into being by use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(Arc<str>);

/// A project of an account: 1–64 of `A–Z a–z 0–9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectId(Arc<str>);

/// Why a text names no account and no project.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BadSlug {
    /// Empty, too long, or a character outside the set.
    #[error("must be 1 to 64 of A–Z a–z 0–9 . _ -")]
    Shape,
    /// A word that stands for something else at the same place of a path.
    #[error("must not be one of v1, v3, api, twilio, . or ..")]
    Reserved,
}

// `/v1/{account}/{project}/handoff_state` also exists without the version, so these would be
// ambiguous; the dots would be eaten by any client that normalises paths.
const RESERVED: &[&str] = &["v1", "v3", "api", "twilio", ".", ".."];

fn checked(text: &str) -> Result<Arc<str>, BadSlug> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !(1..=64).contains(&text.len()) || !text.bytes().all(allowed) {
        return Err(BadSlug::Shape);
    }
    if RESERVED.contains(&text) {
        return Err(BadSlug::Reserved);
    }
    Ok(text.into())
}

impl AccountId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ProjectId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The account of the first admin key, and of requests that name none.
impl Default for AccountId {
    fn default() -> Self {
        Self("default".into())
    }
}

/// The project of a write that names none.
impl Default for ProjectId {
    fn default() -> Self {
        Self("default".into())
    }
}

impl FromStr for AccountId {
    type Err = BadSlug;

    fn from_str(text: &str) -> Result<Self, BadSlug> {
        checked(text).map(Self)
    }
}

impl FromStr for ProjectId {
    type Err = BadSlug;

    fn from_str(text: &str) -> Result<Self, BadSlug> {
        checked(text).map(Self)
    }
}

impl TryFrom<String> for AccountId {
    type Error = BadSlug;

    fn try_from(text: String) -> Result<Self, BadSlug> {
        text.parse()
    }
}

impl TryFrom<String> for ProjectId {
    type Error = BadSlug;

    fn try_from(text: String) -> Result<Self, BadSlug> {
        text.parse()
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ProjectId> for String {
    fn from(id: ProjectId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_published_shapes_are_taken_and_reserved_words_are_not() {
        for text in ["acme-uk", "ws-1a2b3c4d", "PROJECT-1a2b3c4d", "a.b_c", "x"] {
            assert!(text.parse::<AccountId>().is_ok(), "{text}");
            assert!(text.parse::<ProjectId>().is_ok(), "{text}");
        }
        for text in ["v1", "v3", "api", "twilio", ".", ".."] {
            assert_eq!(text.parse::<AccountId>(), Err(BadSlug::Reserved));
        }
        for text in ["", "a b", "a/b", "a\0b", "ü", &"x".repeat(65)] {
            assert_eq!(text.parse::<ProjectId>(), Err(BadSlug::Shape), "{text:?}");
        }
    }
}
