//! [`RootSpan`]: a request's span for tracing-actix-web, made only when someone looks.
//!
//! The crate's own root span records a dozen fields and costs more than the whole rest of a read
//! (facts/performance.md). This one is made at level `debug`, so at `info` the macro finds it
//! disabled and nothing is allocated; the access line does not depend on it.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::ServiceRequest;
use actix_web::dev::ServiceResponse;
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;

/// Builds request spans.
#[derive(Debug)]
pub struct RootSpan;

impl RootSpanBuilder for RootSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        tracing::debug_span!(
            target: "baton::http",
            "request",
            method = %request.method(),
            path = request.path(),
        )
    }

    fn on_request_end<B: MessageBody>(_: Span, _: &Result<ServiceResponse<B>, Error>) {}
}
