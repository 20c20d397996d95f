//! [`Algorithm`]: how Twilio signs a webhook.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC-SHA1: 28 characters of base64.
    #[serde(rename = "HMAC_SHA1")]
    HmacSha1,
    /// HMAC-SHA256: 44 characters of base64.
    #[serde(rename = "HMAC_SHA256")]
    HmacSha256,
}

impl Algorithm {
    /// The algorithm of a name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        let mut all = [Self::HmacSha1, Self::HmacSha256].into_iter();
        all.find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))
    }

    /// Its name, as Twilio spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha1 => "HMAC_SHA1",
            Self::HmacSha256 => "HMAC_SHA256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
