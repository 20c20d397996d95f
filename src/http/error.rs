//! [`ApiError`]: the one refusal, in `PolyAI`'s own envelope.
//!
//! `{"success":false,"error":…,"error_id":…,"error_code":…,"error_message":…,"data":null}`. The code
//! is for machines and never changes its meaning; the message is for the person who reads it and
//! says what to do; the source chain of a failure goes to the log and to nobody else.

use std::fmt;

use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use actix_web::ResponseError;
use actix_web::http::StatusCode;
use actix_web::http::header;
use serde::Serialize;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:ident, $title:literal;)+) => {
        /// Every code there is. `openapi.yaml` lists the same ones; a test holds them together.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code as it stands in `error_code`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// Its status.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// Its title, `error` in the envelope.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    /// No credential.
    MissingCredentials = "MISSING_CREDENTIALS", UNAUTHORIZED, "Unauthorized";
    /// A credential that opens nothing.
    InvalidKey = "INVALID_KEY", UNAUTHORIZED, "Unauthorized";
    /// A key whose time is over.
    KeyExpired = "KEY_EXPIRED", UNAUTHORIZED, "Unauthorized";
    /// A Connector Token or call token that opens nothing.
    InvalidToken = "INVALID_TOKEN", UNAUTHORIZED, "Unauthorized";
    /// A token whose time is over.
    TokenExpired = "TOKEN_EXPIRED", UNAUTHORIZED, "Unauthorized";
    /// `X-Twilio-Signature` is not the request's, and there is no key beside it.
    InvalidSignature = "INVALID_SIGNATURE", UNAUTHORIZED, "Unauthorized";
    /// A webhook without a signature, or with one that is not the request's.
    SignatureRefused = "SIGNATURE_REFUSED", FORBIDDEN, "Forbidden";
    /// A Flex user's Twilio account that no connector is linked to.
    AccountNotLinked = "ACCOUNT_NOT_LINKED", FORBIDDEN, "Forbidden";
    /// A Flex user none of whose roles is let in.
    RoleNotAllowed = "ROLE_NOT_ALLOWED", FORBIDDEN, "Forbidden";
    /// A page of an origin that is not listed.
    OriginNotAllowed = "ORIGIN_NOT_ALLOWED", FORBIDDEN, "Forbidden";
    /// Twilio cannot say now who asks.
    IdentityUnavailable = "IDENTITY_UNAVAILABLE", SERVICE_UNAVAILABLE, "Service Unavailable";
    /// More than one credential.
    AmbiguousCredentials = "AMBIGUOUS_CREDENTIALS", BAD_REQUEST, "Bad Request";
    /// Basic with a key that may do more than read.
    BasicNotAllowed = "BASIC_NOT_ALLOWED", FORBIDDEN, "Forbidden";
    /// A scope is lacking.
    MissingScope = "MISSING_SCOPE", FORBIDDEN, "Forbidden";
    /// Another account than the credential's.
    AccountNotAllowed = "ACCOUNT_NOT_ALLOWED", FORBIDDEN, "Forbidden";
    /// A project that the credential does not reach.
    ProjectNotAllowed = "PROJECT_NOT_ALLOWED", FORBIDDEN, "Forbidden";
    /// Another environment than the token's.
    EnvironmentNotAllowed = "ENVIRONMENT_NOT_ALLOWED", FORBIDDEN, "Forbidden";
    /// Another connector than the token's.
    ConnectorNotAllowed = "CONNECTOR_NOT_ALLOWED", FORBIDDEN, "Forbidden";
    /// Another call than the call token's.
    CallNotAllowed = "CALL_NOT_ALLOWED", FORBIDDEN, "Forbidden";
    /// More asked of a view link than to look.
    ViewOnly = "VIEW_ONLY", FORBIDDEN, "Forbidden";
    /// A handoff that only its connector's tokens write.
    CallTokenOnly = "CALL_TOKEN_ONLY", FORBIDDEN, "Forbidden";
    /// A link that a token may not make.
    LinkedBefore = "LINKED_BEFORE", FORBIDDEN, "Forbidden";
    /// A key that would hold more than its maker.
    GrantTooWide = "GRANT_TOO_WIDE", FORBIDDEN, "Forbidden";
    /// No `id`.
    MissingId = "MISSING_ID", BAD_REQUEST, "Bad Request";
    /// An `id` that cannot be one.
    InvalidId = "INVALID_ID", BAD_REQUEST, "Bad Request";
    /// A parameter or body member of the wrong type or out of range.
    InvalidParameter = "INVALID_PARAMETER", BAD_REQUEST, "Bad Request";
    /// A parameter or body member that nothing knows.
    UnknownParameter = "UNKNOWN_PARAMETER", BAD_REQUEST, "Bad Request";
    /// Erasing a whole project or account without saying so twice.
    ConfirmationNeeded = "CONFIRMATION_NEEDED", BAD_REQUEST, "Bad Request";
    /// Not JSON.
    InvalidJson = "INVALID_JSON", BAD_REQUEST, "Bad Request";
    /// Not UTF-8.
    InvalidUtf8 = "INVALID_UTF8", BAD_REQUEST, "Bad Request";
    /// `data` is not an object.
    NotAnObject = "NOT_AN_OBJECT", UNPROCESSABLE_ENTITY, "Unprocessable Entity";
    /// A key given twice.
    DuplicateKey = "DUPLICATE_KEY", UNPROCESSABLE_ENTITY, "Unprocessable Entity";
    /// Nested too deep.
    TooDeep = "TOO_DEEP", UNPROCESSABLE_ENTITY, "Unprocessable Entity";
    /// Twilio says that the credentials are not the account's.
    LinkRefused = "LINK_REFUSED", UNPROCESSABLE_ENTITY, "Unprocessable Entity";
    /// More aliases than a handoff may have.
    TooManyAliases = "TOO_MANY_ALIASES", UNPROCESSABLE_ENTITY, "Unprocessable Entity";
    /// The body is too large.
    BodyTooLarge = "BODY_TOO_LARGE", PAYLOAD_TOO_LARGE, "Payload Too Large";
    /// The body came too slowly.
    BodyTooSlow = "BODY_TOO_SLOW", REQUEST_TIMEOUT, "Request Timeout";
    /// The body is compressed.
    UnsupportedEncoding = "UNSUPPORTED_ENCODING", UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type";
    /// Nobody wrote the handoff.
    HandoffNotFound = "HANDOFF_NOT_FOUND", NOT_FOUND, "Not Found";
    /// The handoff's time is over.
    HandoffExpired = "HANDOFF_EXPIRED", NOT_FOUND, "Not Found";
    /// The handoff was erased.
    HandoffErased = "HANDOFF_ERASED", NOT_FOUND, "Not Found";
    /// Another project of the account holds the handoff.
    HandoffInOtherProject = "HANDOFF_IN_OTHER_PROJECT", NOT_FOUND, "Not Found";
    /// Another environment of the project holds the handoff.
    HandoffInOtherEnvironment = "HANDOFF_IN_OTHER_ENVIRONMENT", NOT_FOUND, "Not Found";
    /// No such connector.
    ConnectorNotFound = "CONNECTOR_NOT_FOUND", NOT_FOUND, "Not Found";
    /// The connector has no link.
    LinkNotFound = "LINK_NOT_FOUND", NOT_FOUND, "Not Found";
    /// No such key.
    KeyNotFound = "KEY_NOT_FOUND", NOT_FOUND, "Not Found";
    /// No such path.
    PathNotFound = "PATH_NOT_FOUND", NOT_FOUND, "Not Found";
    /// The path does not take the method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", METHOD_NOT_ALLOWED, "Method Not Allowed";
    /// A write under an id that another project holds.
    HeldByOtherProject = "HELD_BY_OTHER_PROJECT", CONFLICT, "Conflict";
    /// A write under an id that another environment holds.
    HeldByOtherEnvironment = "HELD_BY_OTHER_ENVIRONMENT", CONFLICT, "Conflict";
    /// The name of another connector.
    ConnectorExists = "CONNECTOR_EXISTS", CONFLICT, "Conflict";
    /// A connector was linked or unlinked otherwise meanwhile.
    LinkChanged = "LINK_CHANGED", CONFLICT, "Conflict";
    /// Nobody said where Twilio reaches this server.
    PublicUrlMissing = "PUBLIC_URL_MISSING", CONFLICT, "Conflict";
    /// An alias that another handoff answers to.
    AliasTaken = "ALIAS_TAKEN", CONFLICT, "Conflict";
    /// `If-Match` or `If-None-Match` does not hold.
    PreconditionFailed = "PRECONDITION_FAILED", PRECONDITION_FAILED, "Precondition Failed";
    /// The credential sends too many requests.
    RateLimited = "RATE_LIMITED", TOO_MANY_REQUESTS, "Too Many Requests";
    /// The credential asks for too many different ids that are not there.
    TooManyMisses = "TOO_MANY_MISSES", TOO_MANY_REQUESTS, "Too Many Requests";
    /// Nobody takes a call, and its connector has no fallback.
    NoFallback = "NO_FALLBACK", BAD_GATEWAY, "Bad Gateway";
    /// More load than can be carried.
    Overloaded = "OVERLOADED", SERVICE_UNAVAILABLE, "Service Unavailable";
    /// The request took too long.
    DeadlineExceeded = "DEADLINE_EXCEEDED", SERVICE_UNAVAILABLE, "Service Unavailable";
    /// The store cannot answer.
    StoreUnavailable = "STORE_UNAVAILABLE", SERVICE_UNAVAILABLE, "Service Unavailable";
    /// Too few servers said that they have what was written.
    WriteNotConfirmed = "WRITE_NOT_CONFIRMED", SERVICE_UNAVAILABLE, "Service Unavailable";
    /// Not ready, or about to stop.
    NotReady = "NOT_READY", SERVICE_UNAVAILABLE, "Service Unavailable";
    /// The disk is full.
    StoreFull = "STORE_FULL", INSUFFICIENT_STORAGE, "Insufficient Storage";
    /// A fault of Baton's own.
    Internal = "INTERNAL", INTERNAL_SERVER_ERROR, "Internal Server Error";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// What kind.
    pub code: Code,
    /// What to do, for the caller.
    pub message: String,
    headers: Vec<(header::HeaderName, String)>,
    /// What happened, for the log alone: it stands on the request's line.
    cause: Option<String>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    success: bool,
    error: &'a str,
    error_id: &'a str,
    error_code: &'a str,
    error_message: &'a str,
    data: (),
}

impl ApiError {
    /// A refusal of `code` that tells the caller `message`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let retry = matches!(
            code.status(),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE
        );
        let headers = retry.then(|| (header::RETRY_AFTER, "1".to_owned())).into_iter().collect();
        Self { code, message: message.into(), headers, cause: None }
    }

    /// The same with a header that belongs to it.
    #[must_use]
    pub fn with(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same with what happened, for the log alone.
    #[must_use]
    pub fn because(mut self, error: &dyn std::error::Error) -> Self {
        self.cause = Some(Chain(error).to_string());
        self
    }

    /// What happened, for the log alone.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The answer to a webhook: status and headers, and nothing that an unverified caller could learn
    /// from.
    pub fn bare_answer(&self) -> HttpResponse {
        self.head().finish()
    }

    fn head(&self) -> HttpResponseBuilder {
        let mut answer = HttpResponseBuilder::new(self.code.status());
        for (name, value) in &self.headers {
            answer.insert_header((name.clone(), value.as_str()));
        }
        answer
    }

    /// The answer, with the request's correlation id as `error_id`.
    pub fn answer(&self, correlation_id: &str) -> HttpResponse {
        let envelope = Envelope {
            success: false,
            error: self.code.title(),
            error_id: correlation_id,
            error_code: self.code.as_str(),
            error_message: &self.message,
            data: (),
        };
        self.head().json(envelope)
    }
}

/// An error with its sources, for the log.
struct Chain<'e>(&'e dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.as_str())
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    // The edge answers with the correlation id; this is what a refusal that goes round it gets.
    fn error_response(&self) -> HttpResponse {
        self.answer("")
    }
}
