//! [`AccountSecrets`]: what a Twilio account may have signed a request with.

use crate::domain::account_sid::AccountSid;
use crate::domain::algorithm::Algorithm;
use crate::twilio::signature::Scheme;
use crate::twilio::signature::Secret;

/// The secrets of one account, each with a label that says whose it is and which.
#[derive(Clone, Debug)]
pub struct AccountSecrets {
    sid: AccountSid,
    /// What labels end in, so that no two secrets that are tried together are called alike.
    whence: String,
    tokens: Vec<Secret>,
    /// By their ids.
    shared_keys: Vec<(String, Secret)>,
}

impl AccountSecrets {
    /// An account without any; `whence` says where those that are added come from.
    pub fn new(sid: AccountSid, whence: impl Into<String>) -> Self {
        Self { sid, whence: whence.into(), tokens: Vec::new(), shared_keys: Vec::new() }
    }

    /// Adds an Auth Token; the current one comes first.
    pub fn add_token(&mut self, text: &str) {
        let which = if self.tokens.is_empty() { "current" } else { "previous" };
        let label = format!("{} {which} Auth Token{}", self.sid, self.whence);
        self.tokens.push(Secret::new(label, Algorithm::HmacSha1, text));
    }

    /// Adds a SharedKey.
    pub fn add_shared_key(&mut self, id: &str, algorithm: Algorithm, text: &str) {
        let label = format!("{} {id} {algorithm}{}", self.sid, self.whence);
        self.shared_keys.push((id.to_owned(), Secret::new(label, algorithm, text)));
    }

    /// Whose they are.
    pub fn sid(&self) -> &AccountSid {
        &self.sid
    }

    /// Those that a scheme may choose.
    pub fn of<'s>(&'s self, scheme: Scheme<'_>) -> Vec<&'s Secret> {
        match scheme {
            Scheme::AuthToken => self.tokens.iter().collect(),
            Scheme::SharedKey { key_id, algorithm } => {
                let keys = self.shared_keys.iter();
                let named =
                    keys.filter(|(id, secret)| id == key_id && secret.algorithm() == algorithm);
                named.map(|(_, secret)| secret).collect()
            }
            Scheme::Unsupported(_) => Vec::new(),
        }
    }

    /// Whether a label is that of a token which another is to replace.
    pub fn is_previous(&self, label: &str) -> bool {
        self.tokens.iter().skip(1).any(|token| token.label() == label)
    }
}
