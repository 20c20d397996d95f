//! What commands that talk to a running server share.

use std::fs;
use std::time::Duration;

use reqwest::Method;
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::Value;

use crate::cli::Failure;
use crate::telemetry::outbound;

const LIMIT: Duration = Duration::from_secs(10);

/// Twilio's Auth Token, from a file or from `TWILIO_AUTH_TOKEN`.
pub(super) fn auth_token(file: Option<&str>) -> Result<SecretString, Failure> {
    #[expect(clippy::disallowed_methods, reason = "a command's one secret; it has no flag")]
    let given = std::env::var("TWILIO_AUTH_TOKEN").ok();
    let token = match (file, given) {
        (Some(file), _) => fs::read_to_string(file)
            .map_err(|why| Failure::Usage(format!("cannot read {file}: {why}")))?,
        (None, Some(token)) => token,
        (None, None) => {
            let none = "no Auth Token: set TWILIO_AUTH_TOKEN, or give --auth-token-file";
            return Err(Failure::Usage(none.to_owned()));
        }
    };
    match token.trim() {
        "" => Err(Failure::Usage("the Auth Token is empty".to_owned())),
        token => Ok(token.into()),
    }
}

/// Which server, and who is asking.
#[derive(clap::Args, Debug)]
pub(super) struct Server {
    /// Where the server is
    #[arg(long, env = "BATON_URL", default_value = "http://127.0.0.1:8080", global = true)]
    url: String,
    /// File with the API key to use; or set `BATON_API_KEY`
    #[arg(long, env = "BATON_API_KEY_FILE", global = true)]
    api_key_file: Option<String>,
}

impl Server {
    /// Where the server is, as it was given.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request with the key and answers its JSON; a refusal is a failure in the server's own
    /// words.
    pub(super) fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.ask_as(("x-api-key", &self.key()?), (method, path), query, body)
    }

    /// The same with a Connector Token in the place of the key.
    pub(super) fn ask_with_token(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let token = token.trim();
        if !token.starts_with("eyJ") || token.contains(char::is_whitespace) {
            let none = "the file holds no Connector Token: one line that begins with eyJ";
            return Err(Failure::Usage(none.to_owned()));
        }
        let bearer = format!("Bearer {token}");
        self.ask_as(("authorization", &bearer), (method, path), &[], body)
    }

    fn ask_as(
        &self,
        (header, credential): (&str, &str),
        (method, path): (Method, &str),
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.url.trim_end_matches('/'));
        actix_web::rt::System::new().block_on(async {
            let client = outbound::client(LIMIT).map_err(|why| Failure::Failed(why.to_string()))?;
            let mut request = client.request(method, &url).header(header, credential).query(query);
            if let Some(body) = body {
                request = request.json(body);
            }
            let unreachable = |why: reqwest::Error| {
                if why.is_builder() {
                    let what = "BATON_URL or the credential cannot be sent: not a URL, or characters that no header takes";
                    return Failure::Usage(what.to_owned());
                }
                Failure::Failed(format!(
                    "cannot reach {url}: {}. Is `baton serve` running there? Set BATON_URL",
                    why.without_url()
                ))
            };
            let answer = request.send().await.map_err(unreachable)?;
            let status = answer.status();
            let text = answer.text().await.map_err(unreachable)?;
            let json = serde_json::from_str::<Value>(&text);
            match &json {
                Ok(json) if status.is_success() => return Ok(json.clone()),
                Err(_) if status == StatusCode::NO_CONTENT => return Ok(Value::Null),
                Err(_) if status.is_success() => {
                    let what = format!(
                        "{url} answered something else than JSON. Is it Baton? Set BATON_URL"
                    );
                    return Err(Failure::Failed(what));
                }
                Ok(_) | Err(_) => {}
            }
            let json = json.unwrap_or(Value::Null);
            let told =
                json.get("error_message").and_then(Value::as_str).unwrap_or("no explanation");
            Err(Failure::Failed(format!("{status}: {told}")))
        })
    }

    pub(super) fn key(&self) -> Result<String, Failure> {
        #[expect(clippy::disallowed_methods, reason = "a client's one secret; it has no flag")]
        let given = std::env::var("BATON_API_KEY").ok();
        let file = self.api_key_file.as_ref().filter(|file| !file.is_empty());
        let key = match (given, file) {
            (Some(_), Some(_)) => {
                let both = "BATON_API_KEY and BATON_API_KEY_FILE are both set; give one";
                return Err(Failure::Usage(both.to_owned()));
            }
            (Some(key), None) => key,
            (None, Some(file)) => fs::read_to_string(file)
                .map_err(|why| Failure::Usage(format!("cannot read {file}: {why}")))?,
            (None, None) => {
                let none =
                    "no API key: set BATON_API_KEY, or BATON_API_KEY_FILE=./baton-data/admin.key";
                return Err(Failure::Usage(none.to_owned()));
            }
        };
        Ok(key.trim().to_owned())
    }
}
