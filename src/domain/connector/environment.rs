//! [`ClientEnv`]: which of a project's environments, in `PolyAI`'s own words.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

/// An environment of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum ClientEnv {
    /// Where it is built.
    Sandbox,
    /// Where it is tried.
    PreRelease,
    /// Where callers are.
    Live,
}

/// A word for no environment.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be sandbox, pre-release or live")]
pub struct BadClientEnv;

impl ClientEnv {
    /// The word as it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::PreRelease => "pre-release",
            Self::Live => "live",
        }
    }
}

impl FromStr for ClientEnv {
    type Err = BadClientEnv;

    fn from_str(word: &str) -> Result<Self, BadClientEnv> {
        let all = [Self::Sandbox, Self::PreRelease, Self::Live];
        all.into_iter().find(|env| env.as_str() == word).ok_or(BadClientEnv)
    }
}

impl TryFrom<String> for ClientEnv {
    type Error = BadClientEnv;

    fn try_from(word: String) -> Result<Self, BadClientEnv> {
        word.parse()
    }
}

impl From<ClientEnv> for &'static str {
    fn from(env: ClientEnv) -> Self {
        env.as_str()
    }
}

impl fmt::Display for ClientEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_polyais_three_words_are_environments() {
        for word in ["sandbox", "pre-release", "live"] {
            assert_eq!(word.parse::<ClientEnv>().unwrap().as_str(), word);
        }
        for word in ["", "prerelease", "Live", "production", "draft"] {
            assert_eq!(word.parse::<ClientEnv>(), Err(BadClientEnv), "{word}");
        }
    }
}
