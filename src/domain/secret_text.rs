//! [`SecretText`]: a secret that is kept with a record. It is written only where records are sealed;
//! it does not print.

use std::fmt;

use secrecy::ExposeSecret;
use secrecy::SecretString;
use serde::Deserialize;
use serde::Serialize;
use serde::Serializer;
use subtle::ConstantTimeEq;

/// A secret of somebody else's: an Auth Token, an API key's secret, the value of a SIP header.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SecretText(SecretString);

impl SecretText {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
    }
}

impl Eq for SecretText {}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_and_does_not_print() {
        let secret = SecretText::from("hunter2");
        let kept = serde_json::to_string(&secret).unwrap();
        assert_eq!(serde_json::from_str::<SecretText>(&kept).unwrap(), secret);
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
