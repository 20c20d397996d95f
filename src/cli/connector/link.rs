//! `baton connector link`: secrets come from a prompt, a file or standard input, never from the command
//! line, which every user of a machine can read.

use std::io;
use std::io::IsTerminal;

use reqwest::Method;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::cli::Failure;
use crate::cli::client::Server;
use crate::cli::connector::PATH;
use crate::cli::connector::read;

pub(super) const SECRETS_HELP: &str = "Secrets come from files (- is standard input) or, where none is \
named, from a prompt. With a Connector Token (--token-file) no API key is needed, as long as the \
connector was not linked before. Where Twilio is not reached the link waits: exit 0, with a \
pending_link in --json.";

#[derive(clap::Args, Debug)]
pub(super) struct Wanted {
    /// Its Connector ID; not needed with --token-file
    #[arg(required_unless_present = "token_file")]
    id: Option<String>,
    /// File with its Connector Token, in the place of an API key; - is standard input
    #[arg(long)]
    token_file: Option<String>,
    /// The Twilio account: AC…
    #[arg(long)]
    account_sid: String,
    /// File with the account's Auth Token
    #[arg(long)]
    auth_token_file: Option<String>,
    /// File with its secondary Auth Token, while one replaces the other
    #[arg(long)]
    secondary_auth_token_file: Option<String>,
    /// An API key of the account: SK…; Standard is enough
    #[arg(long)]
    api_key_sid: Option<String>,
    /// File with the API key's secret
    #[arg(long)]
    api_key_secret_file: Option<String>,
    /// File with webhook SharedKeys, a line each: `webhooks_sharedkey_…:HMAC_SHA256=secret`
    #[arg(long)]
    shared_keys_file: Option<String>,
    /// Where the account is: us1, ie1 or au1
    #[arg(long, default_value = "us1")]
    region: String,
}

impl Wanted {
    /// Links, with the Connector Token or the key.
    pub(super) fn link(&self, server: &Server) -> Result<Value, Failure> {
        self.check()?;
        let mut body = Map::new();
        body.insert("account_sid".to_owned(), json!(self.account_sid));
        body.insert("region".to_owned(), json!(self.region));
        let mut put = |name: &str, value: Option<Value>| {
            value.map(|value| body.insert(name.to_owned(), value))
        };
        put("connector_id", self.id.as_ref().map(|id| json!(id)));
        put("auth_token", self.auth_token()?.map(Value::from));
        put("secondary_auth_token", secret(self.secondary_auth_token_file.as_ref())?);
        put("api_key_sid", self.api_key_sid.as_ref().map(|sid| json!(sid)));
        put("api_key_secret", self.api_key_secret()?.map(Value::from));
        put("shared_keys", self.shared_keys_file.as_deref().map(shared_keys).transpose()?);
        let (path, body) = (format!("{PATH}/link"), Value::Object(body));
        match &self.token_file {
            Some(file) => server.ask_with_token(&read(file)?, Method::POST, &path, Some(&body)),
            None => server.ask(Method::POST, &path, &[], Some(&body)),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let files = [
            &self.token_file,
            &self.auth_token_file,
            &self.secondary_auth_token_file,
            &self.api_key_secret_file,
            &self.shared_keys_file,
        ];
        if files.into_iter().flatten().filter(|file| *file == "-").count() > 1 {
            let twice = "standard input can be one secret alone; put the others into files";
            return Err(Failure::Usage(twice.to_owned()));
        }
        if self.api_key_secret_file.is_some() && self.api_key_sid.is_none() {
            return Err(Failure::Usage("--api-key-secret-file needs --api-key-sid".to_owned()));
        }
        Ok(())
    }

    /// From its file; from a prompt where nothing else says who the account is.
    fn auth_token(&self) -> Result<Option<String>, Failure> {
        match &self.auth_token_file {
            Some(file) => Ok(Some(given(file)?)),
            None if self.api_key_sid.is_some() => Ok(None),
            None => prompt(&format!("Auth Token of {}: ", self.account_sid), "--auth-token-file")
                .map(Some),
        }
    }

    fn api_key_secret(&self) -> Result<Option<String>, Failure> {
        match (&self.api_key_sid, &self.api_key_secret_file) {
            (None, _) => Ok(None),
            (Some(_), Some(file)) => Ok(Some(given(file)?)),
            (Some(sid), None) => {
                prompt(&format!("Secret of {sid}: "), "--api-key-secret-file").map(Some)
            }
        }
    }
}

fn secret(file: Option<&String>) -> Result<Option<Value>, Failure> {
    Ok(file.map(|file| given(file)).transpose()?.map(Value::from))
}

/// The secret in a file.
fn given(file: &str) -> Result<String, Failure> {
    match read(file)?.trim() {
        "" => Err(Failure::Usage(format!("{file} holds no secret; it is empty"))),
        secret => Ok(secret.to_owned()),
    }
}

/// Asks the person at the terminal, without showing what is typed.
fn prompt(question: &str, flag: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        let what = format!(
            "there is nobody to ask: give {flag} FILE, or {flag} - and the secret on standard input"
        );
        return Err(Failure::Usage(what));
    }
    let typed = rpassword::prompt_password(question);
    let typed = typed.map_err(|why| Failure::Failed(format!("cannot read the secret: {why}")))?;
    match typed.trim() {
        "" => Err(Failure::Usage("nothing was typed".to_owned())),
        secret => Ok(secret.to_owned()),
    }
}

fn shared_keys(file: &str) -> Result<Value, Failure> {
    let text = read(file)?;
    let key = |line: &str| {
        let (names, secret) = line.split_once('=')?;
        let (id, algorithm) = names.split_once(':').unwrap_or((names, "HMAC_SHA256"));
        Some(json!({ "id": id, "algorithm": algorithm, "secret": secret }))
    };
    let keys = text.split_whitespace().map(key).collect::<Option<Vec<_>>>();
    // Never quoted: what is malformed may still be a secret.
    let wrong = || format!("{file} must hold lines webhooks_sharedkey_…:HMAC_SHA256=secret");
    keys.map(Value::Array).ok_or_else(|| Failure::Usage(wrong()))
}
