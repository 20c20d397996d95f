//! [`Scheme`]: with what a request is signed, as `X-Twilio-Webhooks-Signature-Settings` tells:
//! `key=webhooks_sharedkey_…,algorithm=HMAC_SHA256`. The header is itself not signed, so it may only
//! choose among what is configured. Read as `twilio-python` 9.13.0 reads it.

use crate::domain::algorithm::Algorithm;

/// With what a request says it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme<'h> {
    /// The account's Auth Token, HMAC-SHA1.
    AuthToken,
    /// A SharedKey.
    SharedKey {
        /// Which; empty when the header does not say.
        key_id: &'h str,
        /// How.
        algorithm: Algorithm,
    },
    /// An algorithm that nobody here knows.
    Unsupported(&'h str),
}

impl<'h> Scheme<'h> {
    /// Reads the header; absent, empty or without an algorithm, it is the Auth Token.
    pub fn of(header: Option<&'h str>) -> Self {
        let header = header.unwrap_or_default();
        let field = |name: &str| {
            let fields = header.split(',').filter_map(|field| field.split_once('='));
            let mut values = fields.filter(|(key, _)| key.trim() == name).map(|(_, v)| v.trim());
            values.find(|value| !value.is_empty())
        };
        match field("algorithm").map(|name| (name, Algorithm::parse(name))) {
            None => Self::AuthToken,
            Some((name, None)) => Self::Unsupported(name),
            Some((_, Some(algorithm))) => {
                Self::SharedKey { key_id: field("key").unwrap_or_default(), algorithm }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_chooses_a_key_and_an_algorithm() {
        let sha256 = |key_id| Scheme::SharedKey { key_id, algorithm: Algorithm::HmacSha256 };
        let key_id = "webhooks_sharedkey_1";
        for (header, scheme) in [
            ("", Scheme::AuthToken),
            ("key=webhooks_sharedkey_1", Scheme::AuthToken),
            ("key=webhooks_sharedkey_1,algorithm=", Scheme::AuthToken),
            ("key=webhooks_sharedkey_1,Algorithm=HMAC_SHA256", Scheme::AuthToken),
            ("key=webhooks_sharedkey_1,algorithm=HMAC_SHA256", sha256(key_id)),
            (" algorithm = hmac_sha256 , key = webhooks_sharedkey_1 ", sha256(key_id)),
            ("algorithm=,algorithm=HMAC_SHA256,x,key=webhooks_sharedkey_1", sha256(key_id)),
            ("algorithm=HMAC_SHA256", sha256("")),
            ("key=a,algorithm=HMAC_MD5", Scheme::Unsupported("HMAC_MD5")),
            ("key=a,algorithm=none", Scheme::Unsupported("none")),
        ] {
            assert_eq!(Scheme::of(Some(header)), scheme, "{header}");
        }
        assert_eq!(Scheme::of(None), Scheme::AuthToken);
    }
}
