//! The gate: who is asking, settled before a body is read (but where the body is signed). A route
//! that is not in the table, or a door that is not named here, lets nobody in.

use std::sync::Arc;

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::http::header::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::auth::api_key::KeyRefused;
use crate::auth::doors::Doors;
use crate::auth::doors::Refused;
use crate::auth::doors::is_token;
use crate::auth::flex;
use crate::auth::flex::FlexRefused;
use crate::domain::clock::Timestamp;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::http::console::session;
use crate::http::edge;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::request::RequestState;
use crate::http::routes::Route;
use crate::http::twilio;
use crate::service::error::ServiceError;

/// Who may come in by a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Everybody.
    Open,
    /// Holders of a key or a token.
    Key,
    /// Holders of a key, and on a read also of a read-only key in HTTP Basic, for callers that can
    /// set no header (a Studio widget's `https://key:SECRET@host/…`).
    KeyOrBasic,
    /// Holders of a key with the scope, and this machine.
    Operator,
    /// Twilio, by its signature; whoever else asks is told nothing, and no body is read of a request
    /// without one.
    Webhook,
    /// Twilio, by its signature, with a form or with events in JSON.
    Events,
    /// Whoever has signed in to the console, from its own page; to sign in, holders of a key.
    Console,
    /// Twilio, by its signature; and holders of a key, also of a read-only one in HTTP Basic.
    Studio,
}

const ACCOUNT_SID: &str = "x-twilio-account-sid";
const API_KEY: &str = "x-api-key";
// Set by proxies: the peer is then the proxy, and says nothing about who asks.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// What a request presents.
enum Presented {
    Nothing,
    Key(String),
    Bearer(String),
    Basic(String),
}

/// Lets a request in by `door`, or refuses it. `None` is nobody in particular, where that is enough.
pub async fn admit(
    route: &Route,
    edge: &Edge,
    state: &RequestState,
    request: &mut ServiceRequest,
) -> Result<Option<Arc<Principal>>, ApiError> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let pages = route.pages.contains(&request.method().as_str());
    let flex = pages.then_some((edge, state));
    match route.door {
        Door::Open => return Ok(None),
        Door::Operator if is_local(request) && presents_nothing(request) => return Ok(None),
        Door::Webhook => twilio::door::webhook(edge, state, request).await,
        Door::Events => twilio::door::events(edge, state, request).await,
        Door::Studio => twilio::door::studio(edge, state, request).await,
        Door::Console => {
            session::is_of_own_page(request.headers())?;
            if *request.method() == Method::POST {
                by_key(Takes::default(), &edge.doors, request).await
            } else {
                by_session(&edge.doors, request).await
            }
        }
        Door::KeyOrBasic if reads => {
            by_key(Takes { basic: true, flex }, &edge.doors, request).await
        }
        Door::Key | Door::KeyOrBasic | Door::Operator => {
            by_key(Takes { basic: false, flex }, &edge.doors, request).await
        }
    }
    .map(Some)
}

/// What is taken beside keys and tokens of Baton's own.
#[derive(Clone, Copy, Default)]
pub(super) struct Takes<'e> {
    /// HTTP Basic, with a read-only key.
    pub(super) basic: bool,
    /// A view link; and a Flex user's token: where Twilio is asked whose it is, and on whose behalf.
    pub(super) flex: Option<(&'e Edge, &'e RequestState)>,
}

/// Lets in whoever holds a key.
pub(super) async fn by_key(
    takes: Takes<'_>,
    doors: &Doors,
    request: &ServiceRequest,
) -> Result<Arc<Principal>, ApiError> {
    who(takes, doors, request).await.map_err(|refused| {
        if refused.code.status() != StatusCode::UNAUTHORIZED {
            return refused;
        }
        refused.with(header::WWW_AUTHENTICATE, challenge(takes.basic, request))
    })
}

/// Lets in whoever has signed in to the console.
async fn by_session(doors: &Doors, request: &ServiceRequest) -> Result<Arc<Principal>, ApiError> {
    let admitted = match session::secret(request.headers()) {
        Some(secret) => doors.sessions.admit(&doors.keys, secret).await.map_err(ApiError::from),
        None => Ok(None),
    };
    let admitted = admitted.and_then(|who| who.ok_or_else(session::signed_out));
    let challenged = |refused: ApiError| refused.with(header::WWW_AUTHENTICATE, "Bearer");
    admitted.map(Arc::new).map_err(challenged)
}

/// What a 401 asks for. A browser page that calls us would pop up a password dialog for Basic.
pub(super) fn challenge(takes_basic: bool, request: &ServiceRequest) -> &'static str {
    let asks = takes_basic && !request.headers().contains_key(header::ORIGIN);
    if asks { "Basic realm=\"baton\", charset=\"UTF-8\"" } else { "Bearer" }
}

/// Refuses whoever lacks `scope`. The use case asks again; asked here, no body is read for whoever
/// may not write.
pub fn holds(principal: &Principal, scope: Option<Scope>) -> Result<(), ApiError> {
    match scope.filter(|scope| !principal.may(*scope)) {
        Some(lacking) => Err(ServiceError::MissingScope(lacking).into()),
        None => Ok(()),
    }
}

async fn who(
    takes: Takes<'_>,
    doors: &Doors,
    request: &ServiceRequest,
) -> Result<Arc<Principal>, ApiError> {
    match presented(request.headers())? {
        Presented::Nothing => Err(missing()),
        Presented::Key(key) => doors
            .keys
            .admit(&key)
            .await
            .map_err(|refused| if is_token(&key) { token_as_key() } else { refused.into() }),
        Presented::Bearer(text) if flex::is_token(&text) => match takes.flex {
            Some((edge, state)) => flex_user(edge, state, request.headers(), &text).await,
            None => Err(flex_not_here()),
        },
        Presented::Bearer(text) => match doors.admit(&text).await? {
            viewer if viewer.view_link().is_some() && takes.flex.is_none() => {
                Err(view_link_not_here())
            }
            principal => Ok(principal),
        },
        Presented::Basic(_) if !takes.basic => Err(basic_not_here()),
        Presented::Basic(key) => {
            let principal = doors.keys.admit(&key).await?;
            let narrow = principal.scopes.iter().all(|scope| *scope == Scope::HandoffRead);
            if narrow { Ok(principal) } else { Err(basic_not_this_key()) }
        }
    }
}

/// A Flex user. While Twilio is asked of a token that nobody knows, its place in flight is for others:
/// strangers make up as many as they like, and each takes two seconds where Twilio hangs.
async fn flex_user(
    edge: &Edge,
    state: &RequestState,
    headers: &HeaderMap,
    token: &str,
) -> Result<Arc<Principal>, ApiError> {
    let sought = edge.doors.flex.seek(account_sid(headers), token).await?;
    if sought.is_confirmed() {
        return Ok(edge.doors.flex.admit(sought).await?);
    }
    let strangers = edge.load.strangers.enter().ok_or_else(edge::overloaded)?;
    state.permit.take();
    let admitted = edge.doors.flex.admit(sought).await?;
    drop(strangers);
    state.permit.replace(Some(edge.load.in_flight.enter().ok_or_else(edge::overloaded)?));
    Ok(admitted)
}

/// Of which Twilio account a Flex user says that they are, if they say so once.
fn account_sid(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(ACCOUNT_SID);
    let (sid, more) = (given.next()?, given.next());
    sid.to_str().ok().filter(|_| more.is_none())
}

fn presents_nothing(request: &ServiceRequest) -> bool {
    let headers = request.headers();
    !headers.contains_key(API_KEY) && !headers.contains_key(header::AUTHORIZATION)
}

fn presented(headers: &HeaderMap) -> Result<Presented, ApiError> {
    let mut given = headers.get_all(API_KEY).map(|value| (true, value));
    let mut more = headers.get_all(header::AUTHORIZATION).map(|value| (false, value));
    let Some((is_key, value)) = given.next().or_else(|| more.next()) else {
        return Ok(Presented::Nothing);
    };
    if given.next().is_some() || more.next().is_some() {
        return Err(ApiError::new(
            Code::AmbiguousCredentials,
            "Send one credential: either x-api-key or Authorization, once",
        ));
    }
    // Not `to_str`, which looks at each byte: a Flex user's token has thousands.
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_not_utf8| unknown_key())?.trim();
    if text.is_empty() {
        return Ok(Presented::Nothing);
    }
    if is_key {
        return Ok(Presented::Key(text.to_owned()));
    }
    match text.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(Presented::Bearer(key.trim().to_owned()))
        }
        Some((scheme, pair)) if scheme.eq_ignore_ascii_case("basic") => basic(pair.trim()),
        _ => Err(ApiError::new(
            Code::InvalidKey,
            "Authorization must be `Bearer <key>`; or send the key as x-api-key",
        )),
    }
}

/// The password of HTTP Basic; the user name says nothing.
fn basic(pair: &str) -> Result<Presented, ApiError> {
    let bytes = STANDARD.decode(pair).map_err(|_not_base64| unknown_key())?;
    let text = String::from_utf8(bytes).map_err(|_not_utf8| unknown_key())?;
    let (_, key) = text.split_once(':').ok_or_else(unknown_key)?;
    Ok(Presented::Basic(key.to_owned()))
}

fn is_local(request: &ServiceRequest) -> bool {
    let forwarded = FORWARDED.iter().any(|name| request.headers().contains_key(*name));
    !forwarded && request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}

/// No credential was presented.
pub fn missing() -> ApiError {
    ApiError::new(
        Code::MissingCredentials,
        "Send an API key as `x-api-key: …` or `Authorization: Bearer …`, or a token as `Authorization: Bearer …`",
    )
}

/// A credential that opens nothing.
pub fn unknown_key() -> ApiError {
    ApiError::new(
        Code::InvalidKey,
        "This key opens nothing here: mistyped, revoked, or another server's. `baton key list` shows those there are",
    )
}

/// The admin key may be of any form, but for this one.
fn flex_not_here() -> ApiError {
    ApiError::new(
        Code::InvalidToken,
        "A Flex user's token opens reads, timelines and receipts of handoffs, and nothing else",
    )
}

fn view_link_not_here() -> ApiError {
    ApiError::new(
        Code::InvalidToken,
        "A view link's token opens reads of its handoff, and that it was seen, and nothing else",
    )
}

fn basic_not_here() -> ApiError {
    ApiError::new(
        Code::BasicNotAllowed,
        "HTTP Basic opens only reads of a handoff. Send the key as `x-api-key: …` here",
    )
}

fn basic_not_this_key() -> ApiError {
    ApiError::new(
        Code::BasicNotAllowed,
        "A key in a URL ends up in exported flows and logs, so Basic takes only keys whose one scope is handoff:read. Make one: `baton key new --scope handoff:read`",
    )
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Key(refused) => refused.into(),
            Refused::UnknownToken => unknown_token(),
            Refused::TokenExpired => Self::new(
                Code::TokenExpired,
                "This token has expired. A Connector Token is made anew by `baton connector rotate`; a call token ends with its call; a view link is made anew by `POST /v1/view_links`",
            ),
            Refused::Store(error) => error.into(),
        }
    }
}

fn token_as_key() -> ApiError {
    ApiError::new(
        Code::InvalidKey,
        "A token is no key: send it as `Authorization: Bearer …`, not as x-api-key",
    )
}

/// A credential that was good when the request began, and is no more at `now`.
pub fn ended(principal: &Principal, now: Timestamp) -> ApiError {
    let is_over = principal.expires_at.is_some_and(|end| end <= now);
    let refused = match (&principal.credential, is_over) {
        (
            Credential::ConnectorToken(_) | Credential::CallToken | Credential::ViewLink(_),
            is_over,
        ) => {
            if is_over {
                Refused::TokenExpired.into()
            } else {
                unknown_token()
            }
        }
        (Credential::FlexUser(_), true) => FlexRefused::Expired.into(),
        (Credential::FlexUser(_), false) => FlexRefused::NotLinked.into(),
        (Credential::Key, true) => KeyRefused::Expired.into(),
        (Credential::Key, false) => unknown_key(),
        (Credential::TwilioSignature | Credential::LinkedSignature { .. }, _) => ApiError::new(
            Code::InvalidSignature,
            "What signed this was unlinked, or its connector deleted, while it waited",
        ),
    };
    refused.with(header::WWW_AUTHENTICATE, "Bearer")
}

fn unknown_token() -> ApiError {
    ApiError::new(
        Code::InvalidToken,
        "This token opens nothing here: cut off by a copy, replaced, another server's, or its connector was deleted. `baton connector rotate` makes another Connector Token; a call token comes with each visit of a call",
    )
}

impl From<KeyRefused> for ApiError {
    fn from(refused: KeyRefused) -> Self {
        match refused {
            KeyRefused::Unknown => unknown_key(),
            KeyRefused::Expired => {
                Self::new(Code::KeyExpired, "This key has expired. Make another: `baton key new`")
            }
            KeyRefused::Store(error) => error.into(),
        }
    }
}
