//! Connectors as they are shown: everything that was set, byte for byte where Baton does not look, and
//! of secrets only that they are there.

use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::json;

use crate::domain::clock::Timestamp;
use crate::domain::connector::Connector;
use crate::domain::connector::Token;
use crate::domain::connector::link::Link;
use crate::domain::connector::link::State;
use crate::domain::members;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::service::connectors::Issued;
use crate::service::connectors::Page;
use crate::store::connector::StoredConnector;

/// Name and JSON text of a member.
pub(super) type Pair = (&'static str, String);

#[derive(Serialize)]
struct LinkJson<'l> {
    account_sid: &'l str,
    region: &'static str,
    /// Since when it is linked, or was asked for.
    since: String,
    state: &'static str,
    /// Why it is not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'l str>,
    has_auth_token: bool,
    has_secondary_auth_token: bool,
    api_key_sid: Option<&'l str>,
    shared_keys: Vec<serde_json::Value>,
}

#[derive(Serialize)]
struct TokenJson<'t> {
    token_id: &'t str,
    issued_at: String,
    /// When it stops.
    expires_at: String,
    /// Another has taken its place.
    replaced: bool,
}

/// A connector, with `more` before all else.
pub(super) fn whole(stored: &StoredConnector, more: Vec<Pair>) -> Result<String, ApiError> {
    let Connector { id, account, project, client_env, settings, created_at, link, pending, .. } =
        &stored.record;
    let masked = settings.masked().map_err(|why| unwritten(&why))?;
    let set = members::members(&masked).map_err(|why| unwritten(&why))?;
    let pending = pending.as_ref().map(|pending| match &pending.state {
        State::Unverified(why) => shown(&pending.link, "unverified", Some(why)),
        State::Refused(says) => shown(&pending.link, "refused", Some(says)),
    });
    let mut pairs = vec![("connector_id", text(id.as_str()))];
    pairs.extend(more);
    pairs.extend([
        ("account_id", text(account.as_str())),
        ("project_id", text(project.as_str())),
        ("client_env", text(client_env.as_str())),
        ("created_at", text(&Timestamp::from_micros(*created_at).to_string())),
        ("link", written(&link.as_ref().map(|link| shown(link, "verified", None)))?),
        ("pending_link", written(&pending)?),
    ]);
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| (text(name), value)).collect();
    let own = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Ok(members::object(own.chain(set.iter().map(|member| (member.key, member.value.get())))))
}

/// A connector with a token that was just made: the one time it is shown.
pub(super) fn issued(made: &Issued) -> Result<String, ApiError> {
    let token = text(made.text.expose_secret());
    let more = vec![
        ("connector_token", token.clone()),
        // What `PolyAI`'s own service calls it.
        ("connection_token", token),
        ("token_id", text(made.token.id.as_str())),
        ("token_expires_at", text(&Timestamp::from_micros(made.token.ends_at).to_string())),
    ];
    whole(&made.stored, more)
}

/// A page of connectors.
pub(super) fn page(page: &Page) -> Result<String, ApiError> {
    let shown = page.connectors.iter().map(|stored| whole(stored, Vec::new()));
    let shown = shown.collect::<Result<Vec<_>, _>>()?.join(",");
    let next = written(&page.next.as_ref().map(ToString::to_string))?;
    Ok(format!("{{\"connectors\":[{shown}],\"next\":{next}}}"))
}

/// Tokens, never their text.
pub(super) fn tokens(tokens: &[Token]) -> serde_json::Value {
    let moment = |micros| Timestamp::from_micros(micros).to_string();
    let shown = tokens.iter().map(|token| TokenJson {
        token_id: token.id.as_str(),
        issued_at: moment(token.issued_at),
        expires_at: moment(token.ends_at),
        replaced: token.replaced,
    });
    json!({ "tokens": shown.collect::<Vec<_>>() })
}

fn shown<'l>(link: &'l Link, state: &'static str, why: Option<&'l str>) -> LinkJson<'l> {
    let secrets = &link.secrets;
    let shared = secrets.shared_keys.iter();
    LinkJson {
        account_sid: link.account_sid.as_str(),
        region: link.region.as_str(),
        since: Timestamp::from_micros(link.linked_at).to_string(),
        state,
        why,
        has_auth_token: secrets.auth_token.is_some(),
        has_secondary_auth_token: secrets.secondary_auth_token.is_some(),
        api_key_sid: secrets.api_key.as_ref().map(|key| key.sid.as_str()),
        shared_keys: shared.map(|k| json!({ "id": k.id, "algorithm": k.algorithm })).collect(),
    }
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn written(value: &impl Serialize) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(|why| unwritten(&why))
}

fn unwritten(error: &serde_json::Error) -> ApiError {
    ApiError::new(Code::Internal, "The connector could not be written out").because(error)
}
