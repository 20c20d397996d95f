//! [`Iam`]: who a Flex user is, by their token. The token is encrypted (JWE), so nobody but Twilio can
//! tell: `POST /v1/Accounts/{AccountSid}/Tokens/validate`, as the npm package
//! `twilio-flex-token-validator` asks it, but with a deadline, the status checked, and the host set and
//! not taken from a request.

use std::fmt;

use reqwest::Client;
use reqwest::StatusCode;
use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

use crate::domain::account_sid::AccountSid;
use crate::domain::clock::Timestamp;
use crate::domain::connector::link::Secrets;
use crate::telemetry::outbound;
use crate::twilio::rest::Credentials;
use crate::twilio::rest::LIMIT;
use crate::twilio::rest::body;
use crate::twilio::rest::unreached;
use crate::twilio::taskrouter::is_sid;

/// Where Twilio's IAM is.
pub const IAM_URL: &str = "https://iam.twilio.com";

const MAX_ANSWER_BYTES: usize = 64 * 1024;
const MAX_TEXT_CHARACTERS: usize = 200;

/// Asks Twilio's IAM.
#[derive(Clone, Debug)]
pub struct Iam {
    base: String,
    // None where there are no CA certificates.
    client: Option<Client>,
}

/// Whose a token is.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenOwner {
    /// Their identity in Flex.
    pub identity: String,
    /// Their worker's SID, if they have one.
    pub worker_sid: Option<String>,
    /// What they are.
    pub roles: Vec<String>,
    /// Until when the token is good, if Twilio says.
    pub expires_at: Option<Timestamp>,
}

// It tells of a person.
impl fmt::Debug for TokenOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenOwner({:?})", self.worker_sid)
    }
}

impl TokenOwner {
    /// Whether the token's time is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// Why nobody is told.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IamError {
    /// The token is not good.
    #[error("Twilio does not know the token")]
    Refused,
    /// There is no link to ask with.
    #[error("no link to ask with")]
    NotAsked,
    /// Twilio does not take the link's own credentials.
    #[error("Twilio refused the credentials of the link ({0})")]
    Credentials(StatusCode),
    /// Twilio was not reached, or has no answer now.
    #[error("{0}")]
    Unreached(String),
}

#[derive(Serialize)]
struct Question<'t> {
    token: &'t str,
}

/// What is read of Twilio's answer.
#[derive(Deserialize)]
struct Answer {
    valid: bool,
    #[serde(default)]
    expiration: Option<String>,
    #[serde(default)]
    identity: Option<String>,
    #[serde(default)]
    worker_sid: Option<String>,
    #[serde(default)]
    roles: Option<Vec<String>>,
    #[serde(default, alias = "accountSid")]
    account_sid: Option<String>,
}

impl Iam {
    /// Asks at `base`.
    pub fn new(base: &str) -> Self {
        let client = outbound::client(LIMIT).map_err(|why| {
            tracing::warn!(%why, "Twilio's IAM cannot be asked; are there CA certificates on this system?");
        });
        Self { base: base.trim_end_matches('/').to_owned(), client: client.ok() }
    }

    /// Whose `token` is, asked with a link's own secrets.
    pub async fn validate(
        &self,
        account: &AccountSid,
        secrets: &Secrets,
        token: &str,
    ) -> Result<TokenOwner, IamError> {
        let none = || IamError::Unreached("no CA certificates on this system".to_owned());
        let client = self.client.as_ref().ok_or_else(none)?;
        let no_secret = || IamError::Unreached("the link has no credentials".to_owned());
        let by = Credentials::of(account, secrets).ok_or_else(no_secret)?;
        let url = format!("{}/v1/Accounts/{account}/Tokens/validate", self.base);
        let asking = client.post(url).basic_auth(by.user, Some(by.password));
        let answer = asking.json(&Question { token }).send().await;
        let answer = answer.map_err(|why| IamError::Unreached(unreached(&why).to_string()))?;
        let status = answer.status();
        let body = body(answer, MAX_ANSWER_BYTES).await;
        let body = body.map_err(|why| IamError::Unreached(why.to_string()))?;
        decided(status, &body, account)
    }
}

/// What an answer of Twilio's comes to.
fn decided(status: StatusCode, body: &[u8], account: &AccountSid) -> Result<TokenOwner, IamError> {
    let read = serde_json::from_slice::<Answer>(body);
    match (status, read) {
        (StatusCode::OK, Ok(answer)) if answer.valid => answer.owner(account),
        // With whichever status IAM says so: nobody has written down which.
        (status, Ok(answer)) if !answer.valid && !status.is_server_error() => {
            Err(IamError::Refused)
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Err(IamError::Credentials(status)),
        // serde_json's message could quote the answer.
        (StatusCode::OK, _) => {
            Err(IamError::Unreached("an answer that is not Twilio's".to_owned()))
        }
        _ => Err(IamError::Unreached(format!("Twilio answered {status}"))),
    }
}

impl Answer {
    /// Whose the token is; of another account than was asked for it is nobody's.
    fn owner(self, account: &AccountSid) -> Result<TokenOwner, IamError> {
        if self.account_sid.is_some_and(|sid| sid != account.as_str()) {
            return Err(IamError::Refused);
        }
        Ok(TokenOwner {
            identity: bounded(&self.identity.unwrap_or_default()),
            worker_sid: self.worker_sid.filter(|sid| is_sid(sid, "WK")),
            roles: self.roles.unwrap_or_default(),
            expires_at: self.expiration.as_deref().and_then(Timestamp::parse),
        })
    }
}

fn bounded(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_with_200_lets_in_and_a_no_is_one_with_whatever_status() {
        let account = "AC0123456789abcdef0123456789abcdef".parse().unwrap();
        let told = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            decided(status, body.as_bytes(), &account).map(|owner| owner.roles.len())
        };
        let (yes, no) = (r#"{"valid":true,"roles":["agent"]}"#, r#"{"valid":false}"#);
        assert_eq!(told(200, yes), Ok(1));
        for status in [201, 302, 400, 404, 429, 500] {
            assert!(matches!(told(status, yes), Err(IamError::Unreached(_))), "{status}");
        }
        for status in [200, 400, 401, 403, 404] {
            assert_eq!(told(status, no), Err(IamError::Refused), "{status}");
        }
        assert!(matches!(told(500, no), Err(IamError::Unreached(_))));
        assert!(matches!(told(401, "{}"), Err(IamError::Credentials(_))));
        assert!(matches!(
            told(200, r#"{"valid":false,"valid":true}"#),
            Err(IamError::Unreached(_))
        ));
    }
}
