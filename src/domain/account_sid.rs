//! [`AccountSid`]: a Twilio account, `AC` and 32 hex digits.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

/// A Twilio account or subaccount: `AC` and 32 hex digits, as Twilio spells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountSid(Arc<str>);

/// The text is no account SID.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be an account SID: AC and 32 hex digits")]
pub struct BadAccountSid;

impl AccountSid {
    /// The SID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountSid {
    type Err = BadAccountSid;

    fn from_str(text: &str) -> Result<Self, BadAccountSid> {
        let hex = text.strip_prefix("AC").ok_or(BadAccountSid)?;
        let well_formed = hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        if well_formed { Ok(Self(text.into())) } else { Err(BadAccountSid) }
    }
}

impl TryFrom<String> for AccountSid {
    type Error = BadAccountSid;

    fn try_from(text: String) -> Result<Self, BadAccountSid> {
        text.parse()
    }
}

impl From<AccountSid> for String {
    fn from(sid: AccountSid) -> Self {
        sid.0.as_ref().to_owned()
    }
}

impl fmt::Display for AccountSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ac_and_32_hex_digits_is_an_account_sid() {
        let sid = "AC0123456789abcdef0123456789abcdef";
        assert_eq!(sid.parse::<AccountSid>().unwrap().as_str(), sid);
        for text in ["", "AC", "CA0123456789abcdef0123456789abcdef", &sid[..33], "AC{{x}}"] {
            assert!(text.parse::<AccountSid>().is_err(), "{text}");
        }
    }
}
