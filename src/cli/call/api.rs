//! [`Api`]: what the operator asks of the server: a connector for the calls, and what was written.

use reqwest::Method;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use serde_json::Value;
use serde_json::json;

use crate::cli::call::agent::DESTINATION;
use crate::cli::call::wire;
use crate::cli::call::wire::Answer;
use crate::cli::call::wire::Wire;
use crate::domain::random::random_text;

/// Workflows of the connector that is made: of calls that nobody knows anything of, and of its destination.
pub(super) const ANYBODY: &str = "WW00000000000000000000000000000000";
pub(super) const BILLING: &str = "WW00000000000000000000000000000001";
/// The priority of tasks for the destination.
pub(super) const PRIORITY: &str = "5";

const PATH: &str = "/api/v1/connector";

/// The API, with a key.
#[derive(Debug)]
pub(super) struct Api {
    wire: Wire,
    key: SecretString,
}

impl Api {
    /// The API that a key opens.
    pub(super) fn new(wire: Wire, key: SecretString) -> Self {
        Self { wire, key }
    }

    /// Makes a connector whose agent is nowhere, and answers its id.
    pub(super) async fn make_connector(&self, by_sip: bool) -> Result<String, String> {
        let name = random_text(12).map_err(|why| why.to_string())?;
        let routing = if by_sip {
            json!({ "mode": "sip", "sip": { "uri": "sip:agent@agent.invalid" } })
        } else {
            json!({ "agent_url": "wss://agent.invalid/" })
        };
        let body = json!({
            "name": format!("baton call {name}"),
            "project_id": "default",
            "client_env": "sandbox",
            "routing": routing,
            "flex": { "workflow_sid": ANYBODY, "expose": ["reason", "tried"] },
            "destinations": { DESTINATION: { "workflow_sid": BILLING, "priority": 5 } },
        });
        let request = self.wire.request(Method::POST, PATH).json(&body);
        let made = self.ask(request).await?;
        let told = || {
            format!(
                "no connector could be made: {}. Name one with --connector, or give a key with the scope connector:manage",
                refusal(&made)
            )
        };
        let id = json_of(&made).get("connector_id").and_then(Value::as_str).map(str::to_owned);
        id.filter(|_| made.status == 201).ok_or_else(told)
    }

    /// Deletes a connector.
    pub(super) async fn delete_connector(&self, id: &str) -> Result<(), String> {
        let request = self.wire.request(Method::DELETE, &format!("{PATH}/{id}"));
        let answer = self.ask(request).await?;
        if answer.status == 204 {
            return Ok(());
        }
        Err(format!(
            "the connector that was made for this is left behind: {}. Delete it: baton connector delete {id}",
            refusal(&answer)
        ))
    }

    /// Reads a handoff; a miss is a 404, at once, whatever the key's defaults are.
    pub(super) async fn read(&self, about: &[(&str, &str)]) -> Result<Answer, String> {
        let request = self.wire.request(Method::GET, "/v1/handoff_state");
        self.ask(request.query(about).query(&[("wait", "0"), ("miss", "404")])).await
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Answer, String> {
        wire::send(request.header("x-api-key", self.key.expose_secret())).await
    }
}

/// The JSON of an answer; null if it is none.
pub(super) fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_default()
}

/// A refusal in the server's own words.
pub(super) fn refusal(answer: &Answer) -> String {
    let json = json_of(answer);
    match json.get("error_message").and_then(Value::as_str) {
        Some(told) => format!("{}: {told}", answer.status),
        None => format!("{}, and no explanation", answer.status),
    }
}
