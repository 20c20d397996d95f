//! Every route there is. The edge lets in by the table and by nothing else, so a handler that is
//! mounted without a row is not reached; gate, `Allow`, metrics and the test that holds
//! `openapi.yaml` to the routes read the same table.

use actix_web::Resource;
use actix_web::guard;
use actix_web::http::Method;
use actix_web::http::header;
use actix_web::web;
use actix_web::web::ServiceConfig;

use crate::domain::principal::Scope;
use crate::http::aliases;
use crate::http::connectors;
use crate::http::console::calls as console_calls;
use crate::http::console::session;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::gate::Door;
use crate::http::handoff_state;
use crate::http::handoffs;
use crate::http::health;
use crate::http::keys;
use crate::http::pages;
use crate::http::timeline;
use crate::http::twilio;
use crate::http::view;
use crate::http::view_links;

/// A route.
#[derive(Debug)]
pub struct Route {
    /// Its path.
    pub path: &'static str,
    /// The methods it takes, and the scope that each needs before a body is read; `GET` takes `HEAD`
    /// too.
    pub methods: &'static [(&'static str, Option<Scope>)],
    /// Who may come in.
    pub door: Door,
    /// Answered under any load.
    pub probe: bool,
    /// The methods by which pages of other origins may ask, and Flex users.
    pub pages: &'static [&'static str],
}

type Methods = &'static [(&'static str, Option<Scope>)];

const fn route(path: &'static str, methods: Methods, door: Door) -> Route {
    Route { path, methods, door, probe: false, pages: &[] }
}

const fn of_pages(
    path: &'static str,
    methods: Methods,
    door: Door,
    pages: &'static [&'static str],
) -> Route {
    Route { path, methods, door, probe: false, pages }
}

const fn open(path: &'static str, probe: bool) -> Route {
    Route { path, methods: &[("GET", None)], door: Door::Open, probe, pages: &[] }
}

const READ: Option<Scope> = Some(Scope::HandoffRead);
const WRITE: Option<Scope> = Some(Scope::HandoffWrite);
const ERASE: Option<Scope> = Some(Scope::HandoffErase);
const OPS: Option<Scope> = Some(Scope::OpsRead);
const KEYS: Option<Scope> = Some(Scope::KeyManage);
const MANAGE: Option<Scope> = Some(Scope::ConnectorManage);
const HANDOFF: Methods =
    &[("GET", READ), ("PUT", WRITE), ("POST", WRITE), ("PATCH", WRITE), ("DELETE", ERASE)];

/// Every path under which `PolyAI` has published the Handoff API (facts/polyai.md §1.2), but for
/// `POST /handoff`, which takes its parameters in a body.
const HANDOFF_STATE: [&str; 4] = [
    "/v1/handoff_state",
    "/v1/{account_id}/{project_id}/handoff_state",
    "/v3/{account_id}/{project_id}/handoff_state",
    "/{account_id}/{project_id}/handoff_state",
];

const CONNECTOR: [&str; 5] = [
    "/api/v1/connector",
    "/api/v1/connector/link",
    "/api/v1/connector/{connector_id}",
    "/api/v1/connector/{connector_id}/token",
    "/api/v1/connector/{connector_id}/verify",
];

/// Without a connector, for the accounts in the settings; and through one.
const STUDIO: [&str; 2] = ["/twilio/studio/handoff", "/twilio/studio/handoff/{connector_id}"];

/// Those of a call, in the order in which it meets them, each through a connector.
const CALL: [&str; 6] = [
    "/twilio/voice/{connector_id}",
    "/twilio/stream/{connector_id}",
    "/twilio/handoff/{connector_id}",
    "/twilio/refer/{connector_id}",
    "/twilio/queue/{connector_id}",
    "/twilio/status/{connector_id}",
];

const VIEW: &str = "/v1/handoff_state/view";
const TIMELINE: &str = "/v1/handoff_state/timeline";
const RECEIPTS: &str = "/v1/handoff_state/receipts";
const TASKROUTER: &str = "/twilio/taskrouter/{connector_id}";
const SESSION: &str = "/console/session";
const CONSOLE: [&str; 4] = ["/console/calls", "/console/call", "/console/handoff", "/console/hour"];
const GETS: &[&str] = &["GET", "HEAD"];

/// The table.
pub static ROUTES: [Route; 38] = [
    of_pages(HANDOFF_STATE[0], HANDOFF, Door::KeyOrBasic, GETS),
    of_pages(HANDOFF_STATE[1], HANDOFF, Door::KeyOrBasic, GETS),
    of_pages(HANDOFF_STATE[2], HANDOFF, Door::KeyOrBasic, GETS),
    of_pages(HANDOFF_STATE[3], HANDOFF, Door::KeyOrBasic, GETS),
    of_pages(VIEW, &[("GET", READ)], Door::Key, GETS),
    of_pages(TIMELINE, &[("GET", READ)], Door::Key, GETS),
    of_pages(RECEIPTS, &[("POST", READ)], Door::Key, &["POST"]),
    route("/handoff", &[("POST", READ)], Door::Key),
    route("/v1/handoff_state/aliases", &[("POST", WRITE)], Door::Key),
    route("/v1/view_links", &[("POST", READ)], Door::Key),
    route("/v1/handoffs", &[("GET", OPS), ("DELETE", ERASE)], Door::Key),
    route("/v1/keys", &[("GET", KEYS), ("POST", KEYS), ("DELETE", KEYS)], Door::Key),
    route(CONNECTOR[0], &[("GET", MANAGE), ("POST", MANAGE)], Door::Key),
    // The token itself links, and verifies; whoever else does needs the scope, and is asked for it.
    route(CONNECTOR[1], &[("POST", None), ("DELETE", MANAGE)], Door::Key),
    route(CONNECTOR[2], &[("GET", MANAGE), ("PATCH", MANAGE), ("DELETE", MANAGE)], Door::Key),
    route(CONNECTOR[3], &[("GET", MANAGE), ("POST", MANAGE)], Door::Key),
    route(CONNECTOR[4], &[("GET", None)], Door::Key),
    route(STUDIO[0], &[("GET", READ), ("POST", READ)], Door::Studio),
    route(STUDIO[1], &[("GET", READ), ("POST", READ)], Door::Studio),
    route("/twilio/check", &[("GET", None), ("POST", None)], Door::Webhook),
    route(CALL[0], &[("GET", None), ("POST", None)], Door::Webhook),
    route(CALL[1], &[("POST", None)], Door::Webhook),
    route(CALL[2], &[("POST", None)], Door::Webhook),
    route(CALL[3], &[("POST", None)], Door::Webhook),
    route(CALL[4], &[("POST", None)], Door::Webhook),
    route(CALL[5], &[("GET", None), ("POST", None)], Door::Webhook),
    route(TASKROUTER, &[("POST", None)], Door::Events),
    open("/livez", true),
    open("/readyz", true),
    route("/metrics", &[("GET", OPS)], Door::Operator),
    open("/openapi.yaml", false),
    open("/panel", false),
    open("/console", false),
    route(SESSION, &[("GET", OPS), ("POST", OPS), ("DELETE", None)], Door::Console),
    route(CONSOLE[0], &[("GET", OPS)], Door::Console),
    route(CONSOLE[1], &[("GET", OPS)], Door::Console),
    route(CONSOLE[2], &[("GET", READ)], Door::Console),
    route(CONSOLE[3], &[("GET", OPS)], Door::Console),
];

/// The route of a path, as it came: actix matches decoded paths, and no path of ours needs
/// encoding, so one that holds a `%` is not ours.
pub fn find(path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.path == path || is_of(route.path, path))
}

/// Whether `path` is of a pattern that has parameters.
fn is_of(pattern: &str, path: &str) -> bool {
    let (wanted, given) = (pattern.split('/'), path.split('/'));
    let same = |(wanted, given): (&str, &str)| {
        let is_parameter = wanted.starts_with('{') && !given.is_empty() && !given.contains('%');
        is_parameter || wanted == given
    };
    pattern.contains('{')
        && wanted.clone().count() == given.clone().count()
        && wanted.zip(given).all(same)
}

/// Mounts every route.
pub fn mount(config: &mut ServiceConfig) {
    let handoffs = web::resource("/v1/handoffs")
        .route(get().to(handoffs::list))
        .route(web::delete().to(handoffs::erase));
    let keys = web::resource("/v1/keys")
        .route(get().to(keys::list))
        .route(web::post().to(keys::create))
        .route(web::delete().to(keys::revoke));
    let all_connectors = web::resource(CONNECTOR[0])
        .route(get().to(connectors::list_or_create))
        .route(web::post().to(connectors::create));
    let link = web::resource(CONNECTOR[1])
        .route(web::post().to(connectors::link::link))
        .route(web::delete().to(connectors::link::unlink));
    let check = web::resource("/twilio/check")
        .route(get().to(twilio::check::check))
        .route(web::post().to(twilio::check::check));
    let session = web::resource(SESSION)
        .route(get().to(session::show))
        .route(web::post().to(session::begin))
        .route(web::delete().to(session::end));
    let others = [
        web::resource(VIEW).route(get().to(view::view)),
        web::resource(TIMELINE).route(get().to(timeline::timeline)),
        web::resource(RECEIPTS).route(web::post().to(timeline::receipt)),
        web::resource("/handoff").route(web::post().to(handoff_state::read_by_body)),
        web::resource("/v1/handoff_state/aliases").route(web::post().to(aliases::add)),
        web::resource("/v1/view_links").route(web::post().to(view_links::make)),
        web::resource("/livez").route(get().to(health::live)),
        web::resource("/readyz").route(get().to(health::ready)),
        web::resource("/metrics").route(get().to(health::metrics)),
        web::resource("/openapi.yaml").route(get().to(health::openapi)),
        web::resource("/panel").route(get().to(pages::panel)),
        web::resource("/console").route(get().to(pages::console)),
        web::resource(CONSOLE[0]).route(get().to(console_calls::list)),
        web::resource(CONSOLE[1]).route(get().to(console_calls::call)),
        web::resource(CONSOLE[2]).route(get().to(console_calls::handoff)),
        web::resource(CONSOLE[3]).route(get().to(console_calls::hour)),
    ];
    // One by one, for actix matches a list of patterns by regular expressions, also where one of
    // them is plain; and the plain ones first, or each request would be matched against those of
    // the others: that would be a quarter of a read's instructions.
    let (plain, by_pattern): (Vec<&str>, _) =
        HANDOFF_STATE.into_iter().partition(|path| !path.contains('{'));
    let plain = plain.into_iter().map(handoff_state_at);
    let plain =
        plain.chain([handoffs, keys, studio_at(STUDIO[0]), check, all_connectors, link, session]);
    let by_pattern = by_pattern.into_iter().map(handoff_state_at).chain(of_one_connector());
    let by_pattern = by_pattern.chain(of_a_call());
    for resource in plain.chain(others).chain(by_pattern) {
        config.service(resource);
    }
}

fn of_one_connector() -> [Resource; 4] {
    [
        studio_at(STUDIO[1]),
        web::resource(CONNECTOR[2])
            .route(get().to(connectors::get))
            .route(web::patch().to(connectors::patch))
            .route(web::delete().to(connectors::delete)),
        web::resource(CONNECTOR[3])
            .route(get().to(connectors::tokens::list))
            .route(web::post().to(connectors::tokens::rotate)),
        web::resource(CONNECTOR[4]).route(get().to(connectors::verify::verify)),
    ]
}

fn of_a_call() -> [Resource; 7] {
    use twilio::calls;
    [
        web::resource(CALL[0]).route(get().to(calls::voice)).route(web::post().to(calls::voice)),
        web::resource(CALL[1]).route(web::post().to(calls::stream)),
        web::resource(CALL[2]).route(web::post().to(calls::back)),
        web::resource(CALL[3]).route(web::post().to(calls::back)),
        web::resource(CALL[4]).route(web::post().to(calls::queue)),
        web::resource(CALL[5]).route(get().to(calls::status)).route(web::post().to(calls::status)),
        web::resource(TASKROUTER).route(web::post().to(twilio::events::taskrouter)),
    ]
}

fn studio_at(path: &str) -> Resource {
    web::resource(path)
        .route(get().to(twilio::studio::handoff))
        .route(web::post().to(twilio::studio::handoff))
}

fn handoff_state_at(path: &str) -> Resource {
    web::resource(path)
        .route(get().to(handoff_state::read))
        .route(web::put().to(handoff_state::write))
        .route(web::post().to(handoff_state::write))
        .route(web::patch().to(handoff_state::patch))
        .route(web::delete().to(handoff_state::erase))
}

fn get() -> actix_web::Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

impl Route {
    /// What a method needs; `None` when the route does not take it.
    pub fn needs(&self, method: &Method) -> Option<Option<Scope>> {
        let method = if method == Method::HEAD { "GET" } else { method.as_str() };
        self.methods.iter().find(|(taken, _)| *taken == method).map(|(_, scope)| *scope)
    }
}

/// The path does not take the method.
pub fn method_not_allowed(route: &Route, method: &Method) -> ApiError {
    let with_head = route.methods.iter().flat_map(|(method, _)| match *method {
        "GET" => ["GET", "HEAD"].as_slice(),
        _ => std::slice::from_ref(method),
    });
    let allow = with_head.copied().collect::<Vec<_>>().join(", ");
    let message = format!("{} is not taken here; {allow} are", printable(method));
    ApiError::new(Code::MethodNotAllowed, message).with(header::ALLOW, allow)
}

/// There is nothing there.
pub fn path_not_found() -> ApiError {
    ApiError::new(Code::PathNotFound, "No such path; /openapi.yaml lists those there are")
}

/// A method as it may stand in a message: it is the caller's own text, and may be long.
fn printable(method: &Method) -> String {
    method.as_str().chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_by_its_pattern_and_only_as_it_is_spelled() {
        let of = |path| find(path).map(|route| route.path);
        for (path, pattern) in [
            ("/v1/handoff_state", "/v1/handoff_state"),
            ("/v1/acme/line/handoff_state", "/v1/{account_id}/{project_id}/handoff_state"),
            ("/v3/acme/line/handoff_state", "/v3/{account_id}/{project_id}/handoff_state"),
            ("/acme/line/handoff_state", "/{account_id}/{project_id}/handoff_state"),
            ("/v1/handoff_state/aliases", "/v1/handoff_state/aliases"),
        ] {
            assert_eq!(of(path), Some(pattern), "{path}");
        }
        for path in [
            "/v1/acme/line/handoff_state/",
            "//line/handoff_state",
            "/v1//line/handoff_state",
            "/v1/ac%6De/line/handoff_state",
            "/v2/acme/line/handoff_state",
            "/v1/acme/line/handoff%5Fstate",
            "/v1/keys%2F",
            "",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
