//! Every route there is. The edge lets in by the table and by nothing else, so a handler that is
//! mounted without a row is not reached; gate, `Allow`, metrics and the test that holds
//! `openapi.yaml` to the routes read the same table.

use actix_web::guard;
use actix_web::http::Method;
use actix_web::http::header;
use actix_web::web;
use actix_web::web::ServiceConfig;

use crate::domain::principal::Scope;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::gate::Door;
use crate::http::handoff_state;
use crate::http::health;
use crate::http::keys;

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
}

type Methods = &'static [(&'static str, Option<Scope>)];

const fn route(path: &'static str, methods: Methods, door: Door) -> Route {
    Route { path, methods, door, probe: false }
}

const fn open(path: &'static str, probe: bool) -> Route {
    Route { path, methods: &[("GET", None)], door: Door::Open, probe }
}

const READ: Option<Scope> = Some(Scope::HandoffRead);
const WRITE: Option<Scope> = Some(Scope::HandoffWrite);
const KEYS: Option<Scope> = Some(Scope::KeyManage);

/// The table.
pub static ROUTES: [Route; 6] = [
    route("/v1/handoff_state", &[("GET", READ), ("PUT", WRITE)], Door::KeyOrBasic),
    route("/v1/keys", &[("GET", KEYS), ("POST", KEYS), ("DELETE", KEYS)], Door::Key),
    open("/livez", true),
    open("/readyz", true),
    route("/metrics", &[("GET", Some(Scope::OpsRead))], Door::Operator),
    open("/openapi.yaml", false),
];

/// The route of a path.
pub fn find(path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.path == path)
}

/// Mounts every route.
pub fn mount(config: &mut ServiceConfig) {
    let handoff_state = web::resource("/v1/handoff_state")
        .route(get().to(handoff_state::read))
        .route(web::put().to(handoff_state::write));
    let keys = web::resource("/v1/keys")
        .route(get().to(keys::list))
        .route(web::post().to(keys::create))
        .route(web::delete().to(keys::revoke));
    let open = [
        web::resource("/livez").route(get().to(health::live)),
        web::resource("/readyz").route(get().to(health::ready)),
        web::resource("/metrics").route(get().to(health::metrics)),
        web::resource("/openapi.yaml").route(get().to(health::openapi)),
    ];
    for resource in [handoff_state, keys].into_iter().chain(open) {
        config.service(resource);
    }
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
