//! What the edge looks at in a request's head, leaves of it, and tells of it.

use actix_web::HttpRequest;
use actix_web::dev::ServiceRequest;
use actix_web::http::header;
use actix_web::http::header::HeaderMap;

use crate::domain::principal::Principal;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::request::RequestState;
use crate::service::timelines::Timelines;
use crate::twilio::form::Pairs;

/// A kilobyte of brotli is a gigabyte of memory, and no client of ours compresses requests.
pub(super) fn refuse_encodings(request: &ServiceRequest) -> Result<(), ApiError> {
    let mut encodings = request.headers().get_all(header::CONTENT_ENCODING);
    if encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    Err(ApiError::new(
        Code::UnsupportedEncoding,
        "Compressed request bodies are not taken. Send the JSON as it is, without Content-Encoding",
    )
    .with(header::ACCEPT_ENCODING, "identity"))
}

/// Says which handoff a request was about that was refused before anybody looked.
pub(super) fn name_subject(state: &RequestState, request: &HttpRequest) {
    if state.subject.get().is_some() {
        return;
    }
    let pairs = Pairs::decode(request.query_string().as_bytes());
    let given = |name| pairs.one(name).ok().flatten();
    let id = |name| given(name).and_then(|id| id.parse().ok());
    let account = request.match_info().get("account_id").or_else(|| given("account_id"));
    // Set once: a request is about one handoff of one account.
    if let Some(account) = account.and_then(|account| account.parse().ok()) {
        let _ = state.account.set(account);
    }
    if let Some(id) = id("shared_id").or_else(|| id("id")) {
        let _ = state.subject.set(id);
    }
}

/// Has it told in the handoff's timeline; what is not there was told as missed.
pub(super) fn tell_refusal(
    timelines: &Timelines,
    state: &RequestState,
    status: u16,
    code: &'static str,
) {
    let Some(id) = state.subject.get().filter(|_| status != 404) else { return };
    match state.principal.get() {
        None => timelines.refused(None, id, code),
        Some(who) => {
            let account = who.account(state.account.get());
            let account = account.map(|account| (who.as_ref(), account));
            // Of an account that is not theirs nothing is told.
            if account.is_some() {
                timelines.refused(account, id, code);
            }
        }
    }
}

/// Whether a read may come to wait. Too often yes does no harm.
pub(super) fn may_wait(principal: &Principal, request: &ServiceRequest) -> bool {
    principal.read_defaults.wait > 0 || request.query_string().contains("wait=")
}

/// Leaves of a read's headers what is still asked for. Thousands may wait at once, and actix keeps
/// room for 32 headers of four values each, 6 kB, as long as a request lasts.
pub(super) fn slim(request: &mut ServiceRequest) {
    let mut kept = HeaderMap::with_capacity(0);
    for name in [header::IF_NONE_MATCH, header::CONTENT_LENGTH] {
        for value in request.headers().get_all(&name) {
            kept.append(name.clone(), value.clone());
        }
    }
    *request.headers_mut() = kept;
}
