//! Connectors as a person reads them.

use serde_json::Value;
use serde_json::json;

/// A connector with its token, this once.
pub(super) fn issued(made: &Value) -> String {
    let id = text(made, "connector_id");
    let mut lines = vec![
        line("Connector ID", id),
        line("Connector Token", text(made, "connector_token")),
        line("Works until", text(made, "token_expires_at")),
    ];
    lines.extend(of(made));
    lines.push(String::new());
    lines.push(
        "The token is shown this once. The agent's side presents it as Authorization: Bearer …"
            .to_owned(),
    );
    if made["link"].is_null() && made["pending_link"].is_null() {
        lines.push(format!("Link it to Twilio: baton connector link {id} --account-sid AC…"));
    }
    lines.push(format!("See what is missing: baton connector verify {id}"));
    lines.join("\n")
}

/// The tokens that work beside the one that was just made.
pub(super) fn older(tokens: &Value) -> String {
    let older = tokens["tokens"].as_array().into_iter().flatten().skip(1);
    let told: Vec<_> = older
        .map(|token| format!("{} until {}", text(token, "token_id"), text(token, "expires_at")))
        .collect();
    if told.is_empty() {
        "No older token works.".to_owned()
    } else {
        format!("Older tokens still work: {}", told.join(", "))
    }
}

/// A connector, its settings and its tokens.
pub(super) fn whole(found: &Value) -> String {
    let mut lines = vec![line("Connector ID", text(found, "connector_id"))];
    lines.extend(of(found));
    if let Some(telephony) = found.pointer("/extra_info/telephony") {
        let (heard, spoken) = (text(telephony, "asr_lang_code"), text(telephony, "tts_lang_code"));
        lines.push(line("Languages", &format!("hears {heard}, speaks {spoken}")));
    }
    lines.push(line("Made", text(found, "created_at")));
    for name in ["link", "pending_link"] {
        lines.extend(linked_account(&found[name]).map(|told| line("Link", &told)));
    }
    for token in found["tokens"].as_array().into_iter().flatten() {
        let replaced = if token["replaced"] == true { ", another has taken its place" } else { "" };
        let until = text(token, "expires_at");
        lines.push(line("Token", &format!("{} until {until}{replaced}", text(token, "token_id"))));
    }
    for name in ["routing", "destinations", "fallback", "handoff_api", "flex", "studio"] {
        let value = found.get(name).filter(|value| !is_default(name, value));
        lines.extend(value.map(|value| line(name, &value.to_string())));
    }
    lines.join("\n")
}

fn is_default(name: &str, value: &Value) -> bool {
    let default = match name {
        "routing" => json!({
            "mode": "stream", "agent_url": null, "greeting": "", "sip": null,
            "on_missing": "enqueue", "call_token_only": false, "task_hold_seconds": 86400,
        }),
        "flex" => json!({ "expose": [] }),
        _ => json!({}),
    };
    *value == default || value.is_null()
}

/// What became of linking.
pub(super) fn linked(linked: &Value) -> String {
    let id = text(linked, "connector_id");
    let told = |name: &str| linked_account(&linked[name]);
    let what = match (told("link"), told("pending_link")) {
        (Some(link), None) => format!("Linked {id}: {link}"),
        (Some(link), Some(pending)) => format!(
            "Not confirmed yet: {pending}\nTwilio is asked again by itself. Till then {link} signs for {id} as before."
        ),
        (None, Some(pending)) => format!(
            "Not confirmed yet: {pending}\nTwilio is asked again by itself. Till then it is linked to no account."
        ),
        (None, None) => format!("{id} is linked to no account"),
    };
    format!("{what}\nSee what is missing: baton connector verify {id}")
}

/// What became of unlinking.
pub(super) fn unlinked(id: &str, at_once: bool) -> String {
    if at_once {
        return format!("Unlinked {id}");
    }
    format!(
        "Unlinked {id}. For a day it still answers reads by a call's SID, for calls under way; --at-once ends that"
    )
}

/// A link on one line: whose, since when, and what of its secrets there is.
fn linked_account(link: &Value) -> Option<String> {
    let has = |name: &str, what: &str| (link[name] == true).then(|| what.to_owned());
    let mut secrets = vec![
        has("has_auth_token", "Auth Token"),
        has("has_secondary_auth_token", "secondary Auth Token"),
        link["api_key_sid"].as_str().map(|sid| format!("API key {sid}")),
    ];
    let shared = link["shared_keys"].as_array().into_iter().flatten();
    secrets.extend(shared.map(|key| Some(format!("SharedKey {}", text(key, "id")))));
    let secrets: Vec<_> = secrets.into_iter().flatten().collect();
    let why = link["why"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
    let sid = link["account_sid"].as_str()?;
    Some(format!(
        "{sid} {}{why} since {}, {}; {}",
        text(link, "state"),
        text(link, "since"),
        text(link, "region"),
        secrets.join(", ")
    ))
}

/// Connectors, a line each.
pub(super) fn table(connectors: &[Value]) -> String {
    const NAMES: [&str; 5] = ["connector_id", "account_id", "project_id", "client_env", "name"];
    if connectors.is_empty() {
        return "No connectors".to_owned();
    }
    let mut rows = vec![["ID", "ACCOUNT", "PROJECT", "ENV", "NAME", "LINK"].map(str::to_owned)];
    rows.extend(connectors.iter().map(|connector| {
        let [id, account, project, env, name] = NAMES.map(|name| text(connector, name).to_owned());
        [id, account, project, env, name, link(connector)]
    }));
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let padded = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(padded).collect::<Vec<_>>().join("\n")
}

/// What `verify` found, point by point.
pub(super) fn report(report: &Value) -> String {
    let mut lines = Vec::new();
    for point in report["points"].as_array().into_iter().flatten() {
        let mark = match point["ok"].as_bool() {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "?",
        };
        lines.push(format!("{mark} {:<13} {}", text(point, "point"), text(point, "seen")));
        let to_do = text(point, "to_do");
        if !to_do.is_empty() {
            lines.push(format!("  {:<13} → {to_do}", ""));
        }
    }
    lines.push(String::new());
    lines.push("To paste into Twilio:".to_owned());
    for (name, url) in report["urls"].as_object().into_iter().flatten() {
        lines.push(format!("  {name:<13} {}", url.as_str().unwrap_or_default()));
    }
    lines.join("\n")
}

fn of(connector: &Value) -> Vec<String> {
    let names = [
        ("Name", "name"),
        ("Account", "account_id"),
        ("Project", "project_id"),
        ("Environment", "client_env"),
        ("Variant", "variant_id"),
    ];
    let given = names.into_iter().map(|(title, name)| (title, text(connector, name)));
    given.filter(|(_, value)| !value.is_empty()).map(|(title, value)| line(title, value)).collect()
}

/// How a connector is linked, in a word or two.
fn link(connector: &Value) -> String {
    let one = |name: &str| {
        let link = connector.get(name)?;
        Some(format!("{} {}", link.get("account_sid")?.as_str()?, text(link, "state")))
    };
    let links: Vec<_> = [one("link"), one("pending_link")].into_iter().flatten().collect();
    if links.is_empty() { "none".to_owned() } else { links.join(", ") }
}

fn line(title: &str, value: &str) -> String {
    format!("{title:<16} {value}")
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}
