//! `openapi.yaml` is the contract, both ways: nothing is mounted that it does not list, nothing is
//! listed that is not mounted, and every answer of this suite is what it says.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use baton::http::error::Code;
use baton::http::routes;
use baton::http::routes::ROUTES;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::harness::Answer;
use crate::harness::Server;

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_yaml_ng::from_str(include_str!("../../openapi.yaml")).unwrap())
}

/// Follows `$ref`, within the document.
fn resolve(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => resolve(document().pointer(&reference[1..]).expect(reference)),
        None => value,
    }
}

/// What is wrong with `instance`, held to a schema of the document.
fn faults(schema: &Value, instance: &Value) -> Vec<String> {
    let mut root = schema.clone();
    root["components"] = document()["components"].clone();
    let validator = jsonschema::draft202012::new(&root).expect("a schema");
    validator.iter_errors(instance).map(|e| format!("{} at {}", e, e.instance_path())).collect()
}

/// A route's pattern with values in the place of parameters.
pub fn filled_in(pattern: &str) -> String {
    pattern
        .replace("{account_id}", "acme")
        .replace("{project_id}", "line")
        .replace("{connector_id}", "conn_00000000000000000000")
}

fn operations() -> Vec<(String, String, &'static Value)> {
    let methods = ["get", "put", "post", "patch", "delete"];
    let paths = document()["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &'static Value)| {
        let path = path.clone();
        methods.iter().filter_map(move |method| {
            item.get(*method).map(|operation| (path.clone(), method.to_uppercase(), operation))
        })
    };
    paths.iter().flat_map(of).collect()
}

/// Holds an answer to the contract: status listed, headers there, body as its schema says.
pub fn check(method: &Method, path: &str, answer: &Answer) {
    let at = format!("{method} {path} → {}", answer.status);
    assert_eq!(answer.header("x-polyai-correlation-id").len(), 36, "{at}: no correlation id");
    assert_eq!(answer.header("cache-control"), "private, no-store", "{at}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{at}");
    let route = path.split('?').next().unwrap();
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let route = routes::find(route).map_or(route, |route| route.path);
    let operation = operations().into_iter().find(|(p, m, _)| p == route && m == method);
    let response = match operation {
        Some((_, _, operation)) => {
            let listed = &operation["responses"][answer.status.to_string()];
            assert!(!listed.is_null(), "{at}: status not in openapi.yaml: {}", answer.text());
            resolve(listed)
        }
        // A path or method that is not in the contract is refused, and by name.
        None => {
            assert!(
                ["PATH_NOT_FOUND", "METHOD_NOT_ALLOWED"].contains(&answer.code().as_str())
                    || answer.status == 401,
                "{at}: not in openapi.yaml: {}",
                answer.text()
            );
            let errors = &document()["components"]["schemas"]["Error"];
            assert_eq!(faults(errors, &answer.json()), [""; 0], "{at}");
            return;
        }
    };
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let required = resolve(header)["required"] == json!(true);
        assert!(!required || !answer.header(&name.to_lowercase()).is_empty(), "{at}: no {name}");
    }
    if let Some(content) = response["content"].as_object() {
        let kind = answer.header("content-type");
        let Some(media) = content.get(kind) else {
            // A HEAD has no body to hold to anything.
            panic!("{at}: content type {kind:?} is not in openapi.yaml")
        };
        if kind == "application/json" && !answer.body.is_empty() {
            assert_eq!(
                faults(&media["schema"], &answer.json()),
                [""; 0],
                "{at}: {}",
                answer.text()
            );
        }
    } else {
        assert!(answer.body.is_empty(), "{at}: a body that openapi.yaml does not list");
    }
    if answer.status >= 400 && response["content"].is_object() {
        assert_eq!(answer.json()["error_id"], answer.header("x-polyai-correlation-id"), "{at}");
    }
}

#[test]
fn what_is_mounted_and_what_is_listed_are_the_same() {
    let mounted: BTreeSet<_> = ROUTES
        .iter()
        .flat_map(|route| route.methods.iter().map(|(m, _)| format!("{m} {}", route.path)))
        .collect();
    let listed: BTreeSet<_> = operations().iter().map(|(p, m, _)| format!("{m} {p}")).collect();
    assert_eq!(mounted, listed);
}

#[tokio::test]
async fn every_row_of_the_table_is_answered_by_a_handler() {
    let server = Server::start();
    for route in &ROUTES {
        for (method, _) in route.methods {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = server.admin().send(method, &filled_in(route.path), &[], None).await;
            let code = answer.code();
            assert!(!["PATH_NOT_FOUND", "METHOD_NOT_ALLOWED"].contains(&code.as_str()), "{code}");
        }
    }
}

#[test]
fn the_codes_of_the_program_and_of_the_contract_are_the_same() {
    let program: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let listed = document()["components"]["schemas"]["ErrorCode"]["enum"].as_array().unwrap();
    let listed: BTreeSet<_> = listed.iter().map(|code| code.as_str().unwrap()).collect();
    assert_eq!(program, listed);
}

/// Every example with the schema it stands under: `example` and `examples` of media types.
fn examples() -> Vec<(&'static Value, Value)> {
    fn walk(value: &'static Value, found: &mut Vec<(&'static Value, Value)>) {
        if let Some(object) = value.as_object() {
            if let Some(schema) = object.get("schema") {
                found.extend(object.get("example").map(|example| (schema, example.clone())));
                let more = object.get("examples").and_then(Value::as_object).into_iter().flatten();
                found.extend(more.map(|(_, example)| (schema, resolve(example)["value"].clone())));
            }
            object.values().for_each(|value| walk(value, found));
        } else if let Some(list) = value.as_array() {
            list.iter().for_each(|value| walk(value, found));
        }
    }
    let mut found = Vec::new();
    walk(document(), &mut found);
    found
}

#[test]
fn every_example_is_what_its_schema_says_and_every_code_has_one() {
    let mut codes = BTreeSet::new();
    for (schema, example) in examples() {
        assert_eq!(faults(schema, &example), [""; 0], "{example}");
        if let Some(code) = example.get("error_code").and_then(Value::as_str) {
            let status = Code::ALL.iter().find(|known| known.as_str() == code).unwrap().status();
            assert!(example["error"].as_str() == status.canonical_reason(), "{example}");
            codes.insert(code.to_owned());
        }
    }
    // They stand in the log alone: a webhook that is refused is told nothing.
    let untold = [Code::SignatureRefused, Code::NoFallback];
    let told = Code::ALL.iter().filter(|code| !untold.contains(code));
    let all: BTreeSet<_> = told.map(|code| code.as_str().to_owned()).collect();
    assert_eq!(codes, all);
}

#[test]
fn every_operation_has_examples() {
    for (path, method, operation) in operations() {
        let shown = |value: &Value| value.to_string().contains("\"example");
        if let Some(body) = operation.get("requestBody") {
            assert!(shown(body), "{method} {path}: no example of a body");
        }
        let good = operation["responses"].as_object().unwrap().iter();
        let bodies = good.filter(|(status, _)| status.starts_with('2')).map(|(_, r)| resolve(r));
        for response in
            bodies.filter(|response| response["content"]["application/json"].is_object())
        {
            assert!(shown(response), "{method} {path}: no example of an answer");
        }
    }
}

#[tokio::test]
async fn it_is_served() {
    let server = Server::start();
    let answer = server.nobody().get("/openapi.yaml").await;
    assert_eq!((answer.status, answer.text()), (200, include_str!("../../openapi.yaml")));
}
