//! Reads what Baton knows of Twilio: where Twilio reaches it, and the secrets Twilio signs with.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::ExposeSecret;
use secrecy::SecretString;

use crate::config::Faults;
use crate::config::flex::twilio_url;
use crate::domain::account_sid::AccountSid;
use crate::domain::algorithm::Algorithm;
use crate::domain::public_url::PublicUrl;

/// What is set of Twilio.
#[derive(Clone, Debug, Default)]
pub struct Twilio {
    /// Where Twilio reaches Baton; the first makes Baton's own links.
    pub public_urls: Vec<PublicUrl>,
    /// Auth Tokens by account, the current one first.
    pub auth_tokens: Vec<(AccountSid, Vec<SecretString>)>,
    /// Webhook SharedKeys.
    pub shared_keys: Vec<SharedKey>,
    /// Where its REST API is.
    pub api_url: String,
    /// After how long it is asked again about links that it has not confirmed.
    pub retry: Duration,
    /// Nobody but this machine reaches Baton.
    pub is_local: bool,
}

/// A webhook SharedKey, for one algorithm.
#[derive(Clone, Debug)]
pub struct SharedKey {
    /// The account whose webhooks it signs.
    pub account: AccountSid,
    /// Its id, as Twilio's header names it.
    pub id: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// Its secret.
    pub secret: SecretString,
}

/// Secrets and URLs as they were written.
pub(super) struct Given<'r> {
    pub(super) listen: Option<SocketAddr>,
    pub(super) public_url: &'r str,
    pub(super) api_url: &'r str,
    pub(super) retry: Option<u64>,
    pub(super) auth_tokens: Option<SecretString>,
    pub(super) shared_keys: Option<SecretString>,
}

impl Twilio {
    pub(super) fn read(given: &Given<'_>, faults: &mut Faults) -> Self {
        let url = |text: &str| {
            text.parse::<PublicUrl>()
                .map_err(|why| faults.0.push(format!("BATON_PUBLIC_URL {text} {why}")))
                .ok()
        };
        let public_urls = given.public_url.split_whitespace().filter_map(url).collect();
        let tokens = words(given.auth_tokens.as_ref()).filter_map(auth_tokens).collect::<Vec<_>>();
        let mut accounts: Vec<_> = tokens.iter().map(|(account, _)| account).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let is_whole = accounts.len() == words(given.auth_tokens.as_ref()).count();
        // Never quoted: what is malformed may still be a secret.
        if !is_whole {
            faults.0.push(
                "BATON_TWILIO_AUTH_TOKENS must be AC…=token or AC…=token,token, separated by blanks, each account once, a token of letters and digits alone"
                    .to_owned(),
            );
        }
        let shared_keys =
            words(given.shared_keys.as_ref()).filter_map(shared_key).collect::<Vec<_>>();
        if shared_keys.len() != words(given.shared_keys.as_ref()).count() {
            faults.0.push(
                "BATON_TWILIO_SHARED_KEYS must be AC…:webhooks_sharedkey_…:HMAC_SHA256=secret (or HMAC_SHA1), separated by blanks"
                    .to_owned(),
            );
        }
        let api_url = twilio_url("BATON_TWILIO_API_URL", given.api_url, faults);
        let is_local = given.listen.is_none_or(|listen| listen.ip().is_loopback());
        let read = Self {
            public_urls,
            auth_tokens: tokens,
            shared_keys,
            api_url,
            retry: Duration::from_secs(given.retry.unwrap_or_default()),
            is_local,
        };
        if read.verifies() && given.public_url.trim().is_empty() && !is_local {
            faults.0.push(
                "BATON_PUBLIC_URL must say where Twilio reaches Baton, such as https://voice.example.com: Twilio signs that URL, and no header of a request is believed in its place"
                    .to_owned(),
            );
        }
        read
    }

    /// Whether there is anything to check a signature with.
    pub fn verifies(&self) -> bool {
        !self.auth_tokens.is_empty() || !self.shared_keys.is_empty()
    }
}

fn words(text: Option<&SecretString>) -> impl Iterator<Item = &str> {
    text.map(ExposeSecret::expose_secret).unwrap_or_default().split_whitespace()
}

fn is_secret(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

fn auth_tokens(word: &str) -> Option<(AccountSid, Vec<SecretString>)> {
    let (account, tokens) = word.split_once('=')?;
    // Twilio's are hex. Brackets and semicolons are slips of whoever wrote the list.
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let token = |text: &str| is_token(text).then(|| SecretString::from(text));
    let tokens = tokens.split(',').map(token).collect::<Option<Vec<_>>>()?;
    Some((account.parse().ok()?, tokens))
}

fn shared_key(word: &str) -> Option<SharedKey> {
    let (names, secret) = word.split_once('=')?;
    let [account, id, algorithm] = names.split(':').collect::<Vec<_>>().try_into().ok()?;
    let is_id = id.starts_with("webhooks_sharedkey_")
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    Some(SharedKey {
        account: account.parse().ok()?,
        id: is_id.then(|| id.to_owned())?,
        algorithm: Algorithm::parse(algorithm)?,
        secret: is_secret(secret).then(|| secret.into())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AC: &str = "AC0123456789abcdef0123456789abcdef";

    fn read(listen: &str, url: &str, tokens: &str, keys: &str) -> (Twilio, Vec<String>) {
        let mut faults = Faults::default();
        let secret = |text: &str| (!text.is_empty()).then(|| SecretString::from(text));
        let given = Given {
            listen: Some(listen.parse().unwrap()),
            public_url: url,
            api_url: "https://api.twilio.com",
            retry: Some(30),
            auth_tokens: secret(tokens),
            shared_keys: secret(keys),
        };
        (Twilio::read(&given, &mut faults), faults.0)
    }

    #[test]
    fn accounts_tokens_keys_and_urls_are_read() {
        let key = format!("{AC}:webhooks_sharedkey_1:hmac_sha256=s=cret");
        let (twilio, faults) =
            read("0.0.0.0:80", "https://a.example https://b/c", &format!("{AC}=one,two"), &key);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(twilio.public_urls.len(), 2);
        assert_eq!(twilio.auth_tokens[0].1.len(), 2);
        assert_eq!(twilio.shared_keys[0].secret.expose_secret(), "s=cret");
        assert_eq!(twilio.shared_keys[0].algorithm, Algorithm::HmacSha256);
    }

    #[test]
    fn what_is_malformed_is_refused_without_being_shown() {
        for tokens in [
            AC,
            "AC1=hunter2",
            &format!("{AC}="),
            &format!("{AC}=hunter2,"),
            &format!("{AC}=<hunter2>"),
            &format!("{AC}=hunter2 {AC}=hunter2"),
        ] {
            let (_, faults) = read("127.0.0.1:80", "", tokens, "");
            assert_eq!(faults.len(), 1, "{tokens}");
            assert!(!faults[0].contains("hunter2"));
        }
        for key in [
            "x=hunter2",
            &format!("{AC}:webhooks_sharedkey_1:HMAC_MD5=hunter2"),
            &format!("{AC}:k:HMAC_SHA1=hunter2"),
        ] {
            let (_, faults) = read("127.0.0.1:80", "", "", key);
            assert_eq!(faults.len(), 1, "{key}");
            assert!(!faults[0].contains("hunter2"));
        }
        assert_eq!(read("127.0.0.1:80", "voice.example.com", "", "").1.len(), 1);
    }

    #[test]
    fn twilio_is_asked_over_tls_or_on_this_machine() {
        let faults = |api_url: &str| {
            let mut faults = Faults::default();
            let given = Given {
                listen: None,
                public_url: "",
                api_url,
                retry: Some(30),
                auth_tokens: None,
                shared_keys: None,
            };
            Twilio::read(&given, &mut faults);
            faults.0.len()
        };
        for url in ["https://api.twilio.com", "http://127.0.0.1:9", "http://localhost:9/x"] {
            assert_eq!(faults(url), 0, "{url}");
        }
        for url in [
            "",
            "https://",
            "http://api.twilio.com",
            "http://127.0.0.1:9@evil.example/",
            "http://127.0.0.1.evil.example",
            "https://u:p@api.twilio.com",
            "https://api.twilio.com?x",
        ] {
            assert_eq!(faults(url), 1, "{url}");
        }
    }

    #[test]
    fn what_is_signed_needs_a_public_url_unless_it_is_this_machine() {
        let tokens = format!("{AC}=one");
        assert!(read("127.0.0.1:80", "", &tokens, "").1.is_empty());
        assert!(read("0.0.0.0:80", "", "", "").1.is_empty());
        assert!(read("0.0.0.0:80", "", &tokens, "").1[0].starts_with("BATON_PUBLIC_URL"));
    }
}
