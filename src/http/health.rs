//! Probes, metrics, and the contract itself.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use actix_web::HttpResponse;
use actix_web::web::Data;

use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::store::kv::Kv;

/// Whether requests should come here.
#[derive(Debug)]
pub struct Readiness {
    /// The server was told to stop.
    pub draining: Arc<AtomicBool>,
    /// Where handoffs are kept.
    pub store: Arc<dyn Kv>,
}

/// `GET /livez`: the process runs. Never asks the store: restarting Baton mends no disk.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "live" }))
}

/// `GET /readyz`: requests should come here.
pub(super) async fn ready(readiness: Data<Readiness>) -> Result<HttpResponse, ApiError> {
    if readiness.draining.load(Ordering::Acquire) {
        return Err(ApiError::new(Code::NotReady, "Stopping; send requests elsewhere"));
    }
    // No detail: this is open to everybody.
    let refused = |_| ApiError::new(Code::NotReady, "The store takes no writes at the moment");
    readiness.store.ping().await.map_err(refused)?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "status": "ready" })))
}

/// `GET /metrics`.
pub(super) async fn metrics(edge: Data<Edge>) -> HttpResponse {
    let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    HttpResponse::Ok().content_type(form).body(edge.metrics.text())
}

/// `GET /openapi.yaml`.
pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/yaml").body(include_str!("../../openapi.yaml"))
}
