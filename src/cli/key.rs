//! `baton key new|list|revoke`: the keys of a running server.

use clap::Subcommand;
use reqwest::Method;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::cli::Failure;
use crate::cli::client::Server;
use crate::cli::say;

const PATH: &str = "/v1/keys";

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
    /// Make a key. It is shown this once
    New(New),
    /// List keys
    List {
        /// Only this account's
        #[arg(long)]
        account: Option<String>,
    },
    /// Revoke a key; it opens nothing from then on
    Revoke {
        /// Its id, as `list` shows it
        id: String,
    },
}

#[derive(clap::Args, Debug)]
struct New {
    /// What it may do; may be repeated: handoff:read, handoff:write, handoff:erase,
    /// connector:manage, key:manage, ops:read
    #[arg(long = "scope", required = true)]
    scopes: Vec<String>,
    /// A project it reaches; may be repeated. All, if none is named
    #[arg(long = "project")]
    projects: Vec<String>,
    /// The account it belongs to; your own key's, if none is named
    #[arg(long)]
    account: Option<String>,
    /// A name for people
    #[arg(long, default_value = "")]
    label: String,
    /// When it stops, such as 2027-01-31T00:00:00Z
    #[arg(long)]
    expires_at: Option<String>,
    /// Seconds that its reads wait for a handoff that is not there yet, 0 to 8
    #[arg(long, default_value_t = 0)]
    wait: u8,
    /// What its reads answer on a miss: 404 or 200
    #[arg(long, default_value_t = 404)]
    miss: u16,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let Args { action, server, json } = args;
    match action {
        Action::New(new) => {
            let made = server.ask(Method::POST, PATH, &[], Some(&new.body()))?;
            say(if json { pretty(&made) } else { shown_once(&made) });
        }
        Action::List { account } => {
            let keys = all(&server, account.as_deref())?;
            say(if json { pretty(&Value::Array(keys)) } else { table(&keys) });
        }
        Action::Revoke { id } => {
            server.ask(Method::DELETE, PATH, &[("id", &id)], None)?;
            say(if json { pretty(&json!({ "revoked": id })) } else { format!("Revoked {id}") });
        }
    }
    Ok(())
}

impl New {
    fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("scopes".to_owned(), json!(self.scopes));
        body.insert("label".to_owned(), json!(self.label));
        body.insert("read_defaults".to_owned(), json!({ "wait": self.wait, "miss": self.miss }));
        if !self.projects.is_empty() {
            body.insert("projects".to_owned(), json!(self.projects));
        }
        if let Some(account) = &self.account {
            body.insert("account_id".to_owned(), json!(account));
        }
        if let Some(moment) = &self.expires_at {
            body.insert("expires_at".to_owned(), json!(moment));
        }
        Value::Object(body)
    }
}

/// Every page of the list.
fn all(server: &Server, account: Option<&str>) -> Result<Vec<Value>, Failure> {
    let mut keys = Vec::new();
    let mut after = None::<String>;
    loop {
        let query = [("account_id", account), ("after", after.as_deref())];
        let query: Vec<_> = query.into_iter().filter_map(|(k, v)| v.map(|v| (k, v))).collect();
        let mut page = server.ask(Method::GET, PATH, &query, None)?;
        if let Some(Value::Array(more)) = page.get_mut("keys").map(Value::take) {
            keys.extend(more);
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(keys),
        }
    }
}

fn shown_once(made: &Value) -> String {
    format!(
        "Key ID   {}\nKey      {}\nScopes   {}\nAccount  {}\n\nThe key is shown this once. Keep it where your secrets are; `baton key revoke {}` ends it.",
        text(made, "key_id"),
        text(made, "key"),
        words(made, "scopes"),
        text(made, "account_id"),
        text(made, "key_id"),
    )
}

fn table(keys: &[Value]) -> String {
    let row = |cells: [&str; 6]| {
        let [id, account, projects, scopes, expires, label] = cells;
        format!("{id:<11} {account:<16} {projects:<16} {scopes:<28} {expires:<28} {label}")
    };
    let mut rows = vec![row(["ID", "ACCOUNT", "PROJECTS", "SCOPES", "EXPIRES", "LABEL"])];
    rows.extend(keys.iter().map(|key| {
        let projects =
            if key["projects"].is_null() { "all".to_owned() } else { words(key, "projects") };
        let expires = key["expires_at"].as_str().unwrap_or("never");
        let cells = [
            text(key, "key_id"),
            text(key, "account_id"),
            &projects,
            &words(key, "scopes"),
            expires,
            text(key, "label"),
        ];
        row(cells).trim_end().to_owned()
    }));
    rows.join("\n")
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

fn words(value: &Value, name: &str) -> String {
    let list = value.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
