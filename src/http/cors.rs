//! What pages of other origins may ask: reads and receipts, from an exact list of origins.
//!
//! It lets nobody in: whoever asks must present a credential all the same, so credentials of the browser's
//! own are never taken, and an origin that is not listed is refused nothing but that its page may read the
//! answer. The headers stand on refusals too, or a page would take each for a fault of the network.

use actix_web::HttpResponse;
use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::http::header::HeaderMap;
use actix_web::http::header::HeaderValue;

use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::routes;
use crate::http::routes::Route;

/// Where Flex is.
pub const FLEX_ORIGIN: &str = "https://flex.twilio.com";

const ALLOWED: &str = "authorization, x-twilio-account-sid, if-none-match, content-type";
const EXPOSED: &str = "etag, x-handoff-revision, x-handoff-written-at, x-handoff-expires-at, x-handoff-matched-by, x-handoff-miss, warning, retry-after, x-polyai-correlation-id";
const MAX_AGE_SECONDS: &str = "600";

/// Who may ask from a page.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Vec<HeaderValue>,
}

/// What a request's answer must say of origins.
#[derive(Debug)]
pub struct Origin {
    // Pages ask by this route.
    varies: bool,
    // The page's origin, if it is listed.
    listed: Option<HeaderValue>,
    // Pages may ask so; how they may not they are told all the same.
    may_ask: bool,
}

impl Cors {
    /// Flex itself, and `more`.
    pub fn new(more: &[String]) -> Self {
        let all = std::iter::once(FLEX_ORIGIN).chain(more.iter().map(String::as_str));
        Self { origins: all.filter_map(|origin| HeaderValue::from_str(origin).ok()).collect() }
    }

    /// What the answer to a request must say.
    pub fn of(&self, route: Option<&Route>, request: &ServiceRequest) -> Origin {
        let Some(route) = route.filter(|route| !route.pages.is_empty()) else {
            return Origin { varies: false, listed: None, may_ask: false };
        };
        let asked = match preflight(request) {
            Some(method) => method.to_str().unwrap_or_default(),
            None => request.method().as_str(),
        };
        let listed = self.listed(request.headers()).cloned();
        Origin { varies: true, listed, may_ask: route.pages.contains(&asked) }
    }

    /// The origin that a request names, once, and that is listed.
    fn listed(&self, headers: &HeaderMap) -> Option<&HeaderValue> {
        let mut named = headers.get_all(header::ORIGIN);
        let (origin, more) = (named.next()?, named.next());
        if more.is_some() {
            return None;
        }
        self.origins.iter().find(|listed| *listed == origin)
    }

    /// The answer to a preflight; `None`: it is none. Needs no credential, and looks nothing up.
    pub fn answer(
        &self,
        route: &Route,
        request: &ServiceRequest,
    ) -> Option<Result<HttpResponse, ApiError>> {
        let asked = preflight(request).filter(|_| !route.pages.is_empty())?;
        if !route.pages.iter().any(|taken| taken.as_bytes() == asked.as_bytes()) {
            return Some(Err(routes::method_not_allowed(route, request.method())));
        }
        if self.listed(request.headers()).is_none() {
            return Some(Err(not_listed()));
        }
        let mut answer = HttpResponse::NoContent();
        Some(Ok(answer
            .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, route.pages.join(", ")))
            .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED))
            .insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS))
            .finish()))
    }
}

impl Origin {
    /// Says it on the answer, whatever that is.
    pub fn finish(self, status: StatusCode, headers: &mut HeaderMap) {
        if self.varies {
            headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        }
        let is_refusal = status.is_client_error() || status.is_server_error();
        if let Some(origin) = self.listed.filter(|_| self.may_ask || is_refusal) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers
                .insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }
}

/// The method that a browser asks leave for, if that is what it does.
fn preflight(request: &ServiceRequest) -> Option<&HeaderValue> {
    let headers = request.headers();
    let asks = request.method() == Method::OPTIONS && headers.contains_key(header::ORIGIN);
    headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).filter(|_| asks)
}

fn not_listed() -> ApiError {
    ApiError::new(
        Code::OriginNotAllowed,
        "Pages of this origin may not ask. An operator adds it to BATON_CORS_ORIGINS, spelled as a browser does: https://host, with a port if it has one, without a slash at the end",
    )
}
