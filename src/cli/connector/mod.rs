//! `baton connector …`: the connectors of a running server.

mod link;
mod shown;

use std::fs;
use std::io;

use clap::Subcommand;
use reqwest::Method;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::cli::Failure;
use crate::cli::client::Server;
use crate::cli::say;

const PATH: &str = "/api/v1/connector";

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: Server,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a connector. Its Connector Token is shown this once
    New(New),
    /// List connectors
    List(List),
    /// Show a connector and its live tokens
    Show {
        /// Its Connector ID
        id: String,
    },
    /// Change a connector; what is not named stays as it is
    Patch {
        /// Its Connector ID
        id: String,
        /// Another name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        changes: Changes,
    },
    /// Make another Connector Token. It is shown this once; those before it end after the grace, the
    /// oldest of more than five at once
    Rotate {
        /// Its Connector ID
        id: String,
        /// Seconds that older tokens still work, 0 to 2592000; a day if it is not said
        #[arg(long)]
        grace: Option<u64>,
    },
    /// Link a connector to a Twilio account
    #[command(after_help = link::SECRETS_HELP)]
    Link(link::Wanted),
    /// Remove the link. For a day it still verifies reads by a call's SID, unless it ends at once
    Unlink {
        /// Its Connector ID
        id: String,
        /// Verify nothing more from now on: the account's secrets are in wrong hands
        #[arg(long)]
        at_once: bool,
    },
    /// Find out what is wrong; exits 1 when something is
    Verify {
        /// Its Connector ID
        id: String,
        /// File with its Connector Token, in the place of an API key; - is standard input
        #[arg(long)]
        token_file: Option<String>,
    },
    /// Delete a connector. Its tokens and its link end at once, for calls under way too; its handoffs
    /// live on
    Delete {
        /// Its Connector ID
        id: String,
    },
}

#[derive(clap::Args, Debug)]
struct New {
    /// A name for people; one of each in an environment of a project
    #[arg(long)]
    name: String,
    /// The project whose calls it takes
    #[arg(long)]
    project: String,
    /// Which environment of it: sandbox, pre-release or live (production)
    #[arg(long)]
    env: String,
    /// The account it belongs to; your own key's, if none is named
    #[arg(long)]
    account: Option<String>,
    #[command(flatten)]
    changes: Changes,
}

#[derive(clap::Args, Debug)]
struct List {
    /// Only this account's
    #[arg(long)]
    account: Option<String>,
    /// Only this project's
    #[arg(long)]
    project: Option<String>,
    /// Only this environment's: sandbox, pre-release or live
    #[arg(long)]
    env: Option<String>,
    /// Only those of this name
    #[arg(long)]
    name: Option<String>,
}

/// What of a connector may be set and changed.
#[derive(clap::Args, Debug)]
struct Changes {
    /// The project's variant (`variant_id`)
    #[arg(long)]
    variant: Option<String>,
    /// What the caller is heard in, such as en-GB
    #[arg(long)]
    asr_lang: Option<String>,
    /// What the agent speaks, such as en-GB
    #[arg(long)]
    tts_lang: Option<String>,
    /// Where the agent takes the call's media stream: wss://…
    #[arg(long)]
    agent_url: Option<String>,
    /// File with further settings as JSON, such as `{"handoff_api":{"state_keys":[…]}}`; - is standard input
    #[arg(long)]
    settings: Option<String>,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let Args { action, server, json } = args;
    let at = |id: &str, rest: &str| format!("{PATH}/{id}{rest}");
    let (answer, text) = match action {
        Action::New(new) => {
            let made = server.ask(Method::POST, PATH, &[], Some(&new.body()?))?;
            let text = shown::issued(&made);
            (made, text)
        }
        Action::List(list) => {
            let connectors = all(&server, &list)?;
            let text = shown::table(&connectors);
            (Value::Array(connectors), text)
        }
        Action::Show { id } => {
            let mut found = server.ask(Method::GET, &at(&id, ""), &[], None)?;
            let tokens = server.ask(Method::GET, &at(&id, "/token"), &[], None)?;
            if let Some((found, tokens)) = found.as_object_mut().zip(tokens.get("tokens")) {
                found.insert("tokens".to_owned(), tokens.clone());
            }
            let text = shown::whole(&found);
            (found, text)
        }
        Action::Patch { id, name, changes } => {
            let changed = patch(&server, &at(&id, ""), name, &changes)?;
            let text = format!("Changed {id}\n{}", shown::whole(&changed));
            (changed, text)
        }
        Action::Rotate { id, grace } => {
            let body = grace.map_or_else(|| json!({}), |grace| json!({ "grace_seconds": grace }));
            let issued = server.ask(Method::POST, &at(&id, "/token"), &[], Some(&body))?;
            let tokens = server.ask(Method::GET, &at(&id, "/token"), &[], None)?;
            let text = format!("{}\n{}", shown::issued(&issued), shown::older(&tokens));
            (issued, text)
        }
        Action::Link(wanted) => {
            let linked = wanted.link(&server)?;
            let text = shown::linked(&linked);
            (linked, text)
        }
        Action::Unlink { id, at_once } => {
            let now = if at_once { "true" } else { "false" };
            let query = [("connector_id", id.as_str()), ("at_once", now)];
            server.ask(Method::DELETE, &format!("{PATH}/link"), &query, None)?;
            (json!({ "unlinked": id }), shown::unlinked(&id, at_once))
        }
        Action::Verify { id, token_file } => return verify(&server, &id, token_file, json),
        Action::Delete { id } => {
            server.ask(Method::DELETE, &at(&id, ""), &[], None)?;
            (json!({ "deleted": id }), format!("Deleted {id}"))
        }
    };
    say(if json { pretty(&answer) } else { text });
    Ok(())
}

fn patch(
    server: &Server,
    path: &str,
    name: Option<String>,
    changes: &Changes,
) -> Result<Value, Failure> {
    let mut body = changes.body()?;
    body.extend(name.map(|name| ("name".to_owned(), json!(name))));
    if body.is_empty() {
        return Err(Failure::Usage("nothing to change: name an option".to_owned()));
    }
    server.ask(Method::PATCH, path, &[], Some(&Value::Object(body)))
}

fn verify(
    server: &Server,
    id: &str,
    token_file: Option<String>,
    json: bool,
) -> Result<(), Failure> {
    let path = format!("{PATH}/{id}/verify");
    let report = match token_file {
        Some(file) => server.ask_with_token(&read(&file)?, Method::GET, &path, None)?,
        None => server.ask(Method::GET, &path, &[], None)?,
    };
    say(if json { pretty(&report) } else { shown::report(&report) });
    if report.get("ok") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "{id} is not as it should be; see what is marked ✗ (\"ok\": false)"
    )))
}

/// Every page of the list.
fn all(server: &Server, list: &List) -> Result<Vec<Value>, Failure> {
    let mut connectors = Vec::new();
    let mut after = None::<String>;
    loop {
        let query = [
            ("account_id", list.account.as_deref()),
            ("project_id", list.project.as_deref()),
            ("client_env", list.env.as_deref()),
            ("name", list.name.as_deref()),
            ("after", after.as_deref()),
        ];
        let query: Vec<_> = query.into_iter().filter_map(|(k, v)| v.map(|v| (k, v))).collect();
        let mut page = server.ask(Method::GET, PATH, &query, None)?;
        if let Some(Value::Array(more)) = page.get_mut("connectors").map(Value::take) {
            connectors.extend(more);
        }
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() {
            connectors.sort_by_key(place);
            return Ok(connectors);
        }
    }
}

/// Where a person looks for a connector.
fn place(connector: &Value) -> [Option<String>; 4] {
    let text = |name: &str| connector.get(name).and_then(Value::as_str).map(str::to_owned);
    ["account_id", "project_id", "client_env", "name"].map(text)
}

impl New {
    fn body(&self) -> Result<Value, Failure> {
        let mut body = self.changes.body()?;
        body.insert("name".to_owned(), json!(self.name));
        body.insert("project_id".to_owned(), json!(self.project));
        body.insert("client_env".to_owned(), json!(self.env));
        if let Some(account) = &self.account {
            body.insert("account_id".to_owned(), json!(account));
        }
        Ok(Value::Object(body))
    }
}

impl Changes {
    fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = match &self.settings {
            None => Map::new(),
            Some(file) => match serde_json::from_str(&read(file)?) {
                Ok(Value::Object(settings)) => settings,
                _ => return Err(Failure::Usage(format!("{file} holds no JSON object"))),
            },
        };
        let places = [
            ("/variant_id", &self.variant),
            ("/extra_info/telephony/asr_lang_code", &self.asr_lang),
            ("/extra_info/telephony/tts_lang_code", &self.tts_lang),
            ("/routing/agent_url", &self.agent_url),
        ];
        for (place, value) in places {
            if let Some(value) = value {
                put(&mut body, place.trim_start_matches('/'), json!(value));
            }
        }
        Ok(body)
    }
}

/// Puts a value at a place of an object; what stands in the way is replaced.
fn put(object: &mut Map<String, Value>, place: &str, value: Value) {
    let Some((first, rest)) = place.split_once('/') else {
        object.insert(place.to_owned(), value);
        return;
    };
    let inner = object.entry(first).or_insert_with(|| json!({}));
    if !inner.is_object() {
        *inner = json!({});
    }
    if let Some(inner) = inner.as_object_mut() {
        put(inner, rest, value);
    }
}

/// The text of a file; - is standard input.
fn read(file: &str) -> Result<String, Failure> {
    if ["eyJ", "btk_", "bta_", "bct_"].iter().any(|secret| file.starts_with(secret)) {
        let itself = "a file is meant, and this is the secret itself: put it into a file, or give - and the secret on standard input";
        return Err(Failure::Usage(itself.to_owned()));
    }
    let text = if file == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
    text.map_err(|why| Failure::Usage(format!("cannot read {file}: {why}")))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
