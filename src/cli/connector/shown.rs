//! Connectors as a person reads them.

use serde_json::Value;

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

/// A connector, its settings and its tokens.
pub(super) fn whole(found: &Value) -> String {
    let mut lines = vec![line("Connector ID", text(found, "connector_id"))];
    lines.extend(of(found));
    lines.push(line("Made", text(found, "created_at")));
    lines.push(line("Link", &link(found)));
    for token in found["tokens"].as_array().into_iter().flatten() {
        let replaced = if token["replaced"] == true { ", replaced" } else { "" };
        let until = text(token, "expires_at");
        lines.push(line("Token", &format!("{} until {until}{replaced}", text(token, "token_id"))));
    }
    for name in
        ["extra_info", "routing", "destinations", "fallback", "handoff_api", "flex", "studio"]
    {
        if let Some(value) = found.get(name).filter(|value| !value.is_null()) {
            lines.push(line(name, &value.to_string()));
        }
    }
    lines.join("\n")
}

/// What became of linking.
pub(super) fn linked(linked: &Value) -> String {
    let id = text(linked, "connector_id");
    let what = if linked["pending_link"].is_null() {
        format!("Linked {id}: {}", link(linked))
    } else {
        let note = "Twilio is asked again by itself; nothing is verified till then.";
        format!("Not confirmed yet. {id}: {}\n{note}", link(linked))
    };
    format!("{what}\nSee what is missing: baton connector verify {id}")
}

/// Connectors, a line each.
pub(super) fn table(connectors: &[Value]) -> String {
    let row = |cells: [&str; 6]| {
        let [id, account, project, env, name, link] = cells;
        format!("{id:<25} {account:<16} {project:<16} {env:<11} {name:<24} {link}")
    };
    let mut rows = vec![row(["ID", "ACCOUNT", "PROJECT", "ENV", "NAME", "LINK"])];
    rows.extend(connectors.iter().map(|connector| {
        let cells = [
            text(connector, "connector_id"),
            text(connector, "account_id"),
            text(connector, "project_id"),
            text(connector, "client_env"),
            text(connector, "name"),
            &link(connector),
        ];
        row(cells).trim_end().to_owned()
    }));
    rows.join("\n")
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

fn link(connector: &Value) -> String {
    let one = |name: &str| {
        let link = connector.get(name).filter(|link| !link.is_null())?;
        let why = text(link, "why");
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        Some(format!("{} {}{why}", text(link, "account_sid"), text(link, "state")))
    };
    let links: Vec<_> = [one("link"), one("pending_link")].into_iter().flatten().collect();
    if links.is_empty() { "none".to_owned() } else { links.join("; ") }
}

fn line(title: &str, value: &str) -> String {
    format!("{title:<16} {value}")
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}
