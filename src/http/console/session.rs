//! `/console/session`: signing in to the console with a key, and out.
//!
//! The cookie names a session and nothing else. It is sent to every path of this host, for its name demands
//! that, and looked at by `/console/` alone.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::http::header::HeaderMap;
use actix_web::web::Data;
use secrecy::ExposeSecret;
use serde::Serialize;

use crate::auth::session::LIFE;
use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::principal::Principal;
use crate::domain::principal::Projects;
use crate::domain::principal::Reach;
use crate::domain::principal::Scope;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::Caller;

const COOKIE: &str = "__Host-baton_console";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";
const FETCH_SITE: &str = "sec-fetch-site";

/// Who has signed in.
#[derive(Serialize)]
struct Shown<'w> {
    name: &'w str,
    account_id: Option<AccountId>,
    any_account: bool,
    scopes: &'w [Scope],
    /// Null: all of the account's.
    projects: Option<&'w [ProjectId]>,
    expires_at: Option<Timestamp>,
}

impl<'w> Shown<'w> {
    fn of(who: &'w Principal) -> Self {
        Self {
            name: &who.name,
            account_id: who.account(None),
            any_account: who.reach == Reach::AnyAccount,
            scopes: &who.scopes,
            projects: match &who.projects {
                Projects::All => None,
                Projects::Only(some) => Some(some),
            },
            expires_at: who.expires_at,
        }
    }
}

/// `POST`: whoever holds a key with `ops:read` signs in.
pub(in crate::http) async fn begin(
    caller: Caller,
    edge: Data<Edge>,
) -> Result<HttpResponse, ApiError> {
    let begun = edge.doors.sessions.begin(&edge.doors.keys, &caller.0).await?;
    let secret = begun.secret.expose_secret();
    let cookie = format!("{COOKIE}={secret}; Max-Age={}; {ATTRIBUTES}", LIFE.as_secs());
    Ok(HttpResponse::Ok().insert_header((header::SET_COOKIE, cookie)).json(Shown::of(&begun.who)))
}

/// `GET`: who has signed in.
pub(in crate::http) async fn show(caller: Caller) -> HttpResponse {
    HttpResponse::Ok().json(Shown::of(&caller.0))
}

/// `DELETE`: signs out, here and wherever the cookie was copied to.
pub(in crate::http) async fn end(
    request: HttpRequest,
    edge: Data<Edge>,
) -> Result<HttpResponse, ApiError> {
    if let Some(secret) = secret(request.headers()) {
        edge.doors.sessions.end(secret).await?;
    }
    let cookie = format!("{COOKIE}=; Max-Age=0; {ATTRIBUTES}");
    Ok(HttpResponse::NoContent().insert_header((header::SET_COOKIE, cookie)).finish())
}

/// The secret of the session that a request presents, if it presents one.
pub(in crate::http) fn secret(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).filter_map(|cookies| cookies.to_str().ok());
    let mut given = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    });
    let (secret, more) = (given.next(), given.next());
    secret.filter(|_| more.is_none())
}

/// Refuses whatever a browser does not send on behalf of a page of this server's own; browsers say so
/// themselves, and no page can make them say otherwise.
pub(in crate::http) fn is_of_own_page(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut given = headers.get_all(FETCH_SITE);
    match (given.next(), given.next()) {
        (Some(site), None) if site == "same-origin" => Ok(()),
        _ => Err(ApiError::new(
            Code::OriginNotAllowed,
            "Only the console's own page asks here (Sec-Fetch-Site: same-origin); open /console over https, or on this machine. Programmes use the API: /openapi.yaml",
        )),
    }
}

/// Nobody has signed in.
pub(in crate::http) fn signed_out() -> ApiError {
    ApiError::new(
        Code::MissingCredentials,
        "Sign in with a key: `baton key new --scope ops:read --scope handoff:read`",
    )
}
