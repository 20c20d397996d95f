//! [`Rest`]: what Baton asks of Twilio's REST API: whether credentials are an account's, and which of
//! its numbers lead where. Two seconds for each answer, no redirects, a bounded number of bytes; what
//! is not an answer of Twilio's own is as if it had not been reached.
//!
//! A Standard or Restricted API key may not read the account itself (error 20003), so a key proves
//! itself by listing the account's numbers, which `verify` needs anyway.

use std::time::Duration;

use reqwest::Client;
use reqwest::Response;
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::domain::account_sid::AccountSid;
use crate::domain::connector::link::Region;
use crate::domain::connector::link::Secrets;
use crate::domain::secret_text::SecretText;
use crate::telemetry::outbound;

/// Where Twilio's REST API is, in the region that is meant where none is named.
pub const API_URL: &str = "https://api.twilio.com";

pub(super) const LIMIT: Duration = Duration::from_secs(2);
const MAX_ANSWER_BYTES: usize = 1 << 20;
const PAGE_SIZE: usize = 100;
const MAX_PAGES: usize = 20;
// Of Twilio's own words, where they are told on.
const MAX_WORDS_CHARACTERS: usize = 300;

/// Asks Twilio.
#[derive(Clone, Debug)]
pub struct Rest {
    base: String,
    // None where there are no CA certificates: then Twilio is never reached, and all else goes on.
    client: Option<Client>,
}

/// Why there is no answer to act on.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RestError {
    /// Twilio refused, in its own words.
    #[error("{0}")]
    Refused(String),
    /// Twilio was not reached, or has no answer now.
    #[error("{0}")]
    Unreached(String),
}

/// With what Twilio is asked.
#[derive(Clone, Copy)]
pub(super) struct Credentials<'s> {
    pub(super) user: &'s str,
    pub(super) password: &'s str,
}

impl<'s> Credentials<'s> {
    /// Those of a link: its API key, or else its Auth Token.
    pub(super) fn of(account: &'s AccountSid, secrets: &'s Secrets) -> Option<Self> {
        let by_key = secrets.api_key.as_ref();
        let by_key = by_key.map(|key| (key.sid.as_str(), key.secret.expose()));
        let by_token = secrets.auth_token.as_ref();
        let by_token = by_token.map(|token| (account.as_str(), token.expose()));
        let (user, password) = by_key.or(by_token)?;
        Some(Self { user, password })
    }
}

/// A telephone number of an account, as far as calls to it are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Number {
    /// E.164.
    pub phone_number: String,
    /// What Twilio asks when it is called.
    #[serde(deserialize_with = "text")]
    pub voice_url: String,
    /// With which method.
    #[serde(deserialize_with = "text")]
    pub voice_method: String,
    /// What Twilio asks when that fails.
    #[serde(deserialize_with = "text")]
    pub voice_fallback_url: String,
    /// What Twilio tells of the call's end.
    #[serde(deserialize_with = "text")]
    pub status_callback: String,
    /// A SIP trunk: then the voice URL is ignored.
    #[serde(deserialize_with = "text")]
    pub trunk_sid: String,
    /// A `TwiML` application: then the voice URL is ignored too.
    #[serde(deserialize_with = "text")]
    pub voice_application_sid: String,
}

/// Twilio has null where there is nothing.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[derive(Deserialize)]
struct Account {
    sid: String,
    status: String,
}

#[derive(Deserialize)]
struct Page {
    incoming_phone_numbers: Vec<Number>,
    uri: String,
    next_page_uri: Option<String>,
}

/// How Twilio says no: always with a code, by which its word is told from that of a proxy on the way.
#[derive(Deserialize)]
struct Complaint {
    code: u64,
    #[serde(default)]
    message: String,
}

impl Rest {
    /// Asks at `base`; [`API_URL`] stands for Twilio's own hosts, one a region.
    pub fn new(base: &str) -> Self {
        let client = outbound::client(LIMIT).map_err(|why| {
            tracing::warn!(%why, "Twilio cannot be asked; are there CA certificates on this system?");
        });
        Self { base: base.trim_end_matches('/').to_owned(), client: client.ok() }
    }

    /// Whether each credential that can be asked with is the account's.
    pub async fn confirm(
        &self,
        account: &AccountSid,
        region: Region,
        secrets: &Secrets,
    ) -> Result<(), RestError> {
        let by_token = async |token: Option<&SecretText>| match token {
            Some(token) => self.is_its_token(account, region, token).await,
            None => Ok(()),
        };
        let by_key = async || match &secrets.api_key {
            Some(key) => {
                let by = Credentials { user: &key.sid, password: key.secret.expose() };
                self.page(account, &self.first_page(account, region, 1), by).await.map(|_| ())
            }
            None => Ok(()),
        };
        // At once, so that all of it takes no longer than one; and one no is enough, whatever else.
        let (first, second) = (secrets.auth_token.as_ref(), secrets.secondary_auth_token.as_ref());
        let (first, second, by_key) = tokio::join!(by_token(first), by_token(second), by_key());
        let answers = [first, second, by_key];
        let is_refusal =
            |answer: &&Result<(), RestError>| matches!(answer, Err(RestError::Refused(_)));
        match answers.iter().find(is_refusal) {
            Some(refused) => refused.clone(),
            None => answers.into_iter().collect(),
        }
    }

    async fn is_its_token(
        &self,
        account: &AccountSid,
        region: Region,
        token: &SecretText,
    ) -> Result<(), RestError> {
        let by = Credentials { user: account.as_str(), password: token.expose() };
        let url = format!("{}/2010-04-01/Accounts/{account}.json", self.host(region));
        let found: Account = self.get(&url, by).await?;
        match (found.sid == account.as_str(), found.status.as_str()) {
            (false, _) => Err(unexpected()),
            (true, "closed") => Err(RestError::Refused(format!("account {account} is closed"))),
            (true, _) => Ok(()),
        }
    }

    /// The account's numbers, as many as fit twenty pages.
    pub async fn numbers(
        &self,
        account: &AccountSid,
        region: Region,
        secrets: &Secrets,
    ) -> Result<Vec<Number>, RestError> {
        let none = || RestError::Refused("the link has neither API key nor Auth Token".to_owned());
        let by = Credentials::of(account, secrets).ok_or_else(none)?;
        let mut numbers = Vec::new();
        let mut next = Some(self.first_page(account, region, PAGE_SIZE));
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take() else { break };
            let page = self.page(account, &url, by).await?;
            numbers.extend(page.incoming_phone_numbers);
            // A path of Twilio's; whatever host it might name is not asked.
            let path = page.next_page_uri.filter(|path| path.starts_with('/'));
            next = path.map(|path| format!("{}{path}", self.host(region)));
            // A page that leads to itself.
            next = next.filter(|next| *next != url);
        }
        Ok(numbers)
    }

    async fn page(
        &self,
        account: &AccountSid,
        url: &str,
        by: Credentials<'_>,
    ) -> Result<Page, RestError> {
        let page: Page = self.get(url, by).await?;
        if page.uri.starts_with(&format!("/2010-04-01/Accounts/{account}/")) {
            Ok(page)
        } else {
            Err(unexpected())
        }
    }

    fn first_page(&self, account: &AccountSid, region: Region, size: usize) -> String {
        let host = self.host(region);
        format!("{host}/2010-04-01/Accounts/{account}/IncomingPhoneNumbers.json?PageSize={size}")
    }

    /// Credentials belong to one region, and so does the host that takes them.
    fn host(&self, region: Region) -> &str {
        match region {
            Region::Ie1 if self.base == API_URL => "https://api.dublin.ie1.twilio.com",
            Region::Au1 if self.base == API_URL => "https://api.sydney.au1.twilio.com",
            Region::Us1 | Region::Ie1 | Region::Au1 => &self.base,
        }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        url: &str,
        by: Credentials<'_>,
    ) -> Result<T, RestError> {
        let none = || RestError::Unreached("no CA certificates on this system".to_owned());
        let client = self.client.as_ref().ok_or_else(none)?;
        let request = client.get(url).basic_auth(by.user, Some(by.password));
        let answer = request.send().await.map_err(|why| unreached(&why))?;
        let status = answer.status();
        let body = body(answer, MAX_ANSWER_BYTES).await?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|_quoting| unexpected()),
            StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND => match serde_json::from_slice::<Complaint>(&body) {
                Ok(complaint) => Err(RestError::Refused(complaint.told())),
                // Something between here and Twilio.
                Err(_quoting) => Err(unexpected()),
            },
            _ => Err(RestError::Unreached(format!("Twilio answered {status}"))),
        }
    }
}

impl Complaint {
    /// Twilio's own words, as far as they are fit to be told on.
    fn told(&self) -> String {
        let words = self.message.chars().filter(|c| !c.is_control());
        let words: String = words.take(MAX_WORDS_CHARACTERS).collect();
        let code = self.code;
        format!("{words} (error {code}, https://www.twilio.com/docs/errors/{code})")
    }
}

/// The body, as much as an answer of Twilio's may be.
pub(super) async fn body(mut answer: Response, most: usize) -> Result<Vec<u8>, RestError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|why| unreached(&why))? {
        if body.len() + chunk.len() > most {
            return Err(unexpected());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub(super) fn unreached(why: &reqwest::Error) -> RestError {
    let what = match (why.is_timeout(), why.is_connect()) {
        (true, _) => "no answer within two seconds",
        (false, true) => "no connection",
        (false, false) => "the connection broke",
    };
    RestError::Unreached(what.to_owned())
}

pub(super) fn unexpected() -> RestError {
    RestError::Unreached("an answer that is not Twilio's".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_the_host_of_their_region() {
        let twilio = Rest::new(API_URL);
        assert_eq!(twilio.host(Region::Us1), "https://api.twilio.com");
        assert_eq!(twilio.host(Region::Ie1), "https://api.dublin.ie1.twilio.com");
        assert_eq!(twilio.host(Region::Au1), "https://api.sydney.au1.twilio.com");
        let other = Rest::new("https://twilio.example/");
        assert_eq!(other.host(Region::Ie1), "https://twilio.example");
    }

    #[test]
    fn twilios_words_are_told_on_without_what_a_terminal_would_obey() {
        let complaint: Complaint =
            serde_json::from_str(r#"{"code":20003,"message":"Auth\u001b[2Jenticate"}"#).unwrap();
        assert!(complaint.told().starts_with("Auth[2Jenticate (error 20003"));
        assert!(serde_json::from_str::<Complaint>(r#"{"error":"blocked"}"#).is_err());
    }
}
