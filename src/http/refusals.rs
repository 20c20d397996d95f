//! What a failure of a use case or of the store is told as.

use actix_web::http::header;

use crate::auth::flex::FlexRefused;
use crate::auth::rates::TooFast;
use crate::domain::aliases::MAX_ALIASES;
use crate::domain::handoff_id::HandoffId;
use crate::http::body::invalid_at;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::invalid;
use crate::service::error::CallError;
use crate::service::error::ConnectorError;
use crate::service::error::Miss;
use crate::service::error::Missing;
use crate::service::error::ServiceError;
use crate::service::error::TokenLimit;
use crate::store::kv::StoreError;

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::MissingScope(scope) => Self::new(
                Code::MissingScope,
                format!("This needs a credential with the scope {}", scope.as_str()),
            ),
            ServiceError::ForeignAccount => Self::new(
                Code::AccountNotAllowed,
                "The request names another account than the credential's. Leave account_id out, or use that account's own key",
            ),
            ServiceError::ForeignProject(project) => Self::new(
                Code::ProjectNotAllowed,
                format!(
                    "The credential does not reach project {project}. Name one of its projects in project_id, or use another key"
                ),
            ),
            ServiceError::NoHandoff(miss) => miss.into(),
            ServiceError::Connector(error) => error.into(),
            ServiceError::Call(error) => error.into(),
            ServiceError::Token(limit) => limit.into(),
            ServiceError::HeldByOtherProject => Self::new(
                Code::HeldByOtherProject,
                "Another project of this account holds a handoff under this id. Write it with that project's project_id",
            ),
            ServiceError::Precondition(found) => precondition_failed(found),
            ServiceError::Contended => Self::new(
                Code::Overloaded,
                "Too many writers change this at once; nothing was stored. Try again",
            ),
            ServiceError::WholeAccount => whole_account(),
            ServiceError::AliasTaken(alias) => alias_taken(&alias),
            ServiceError::BadCursor => {
                invalid("after", "is not a `next` that this listing answered")
            }
            ServiceError::TooManyAliases => Self::new(
                Code::TooManyAliases,
                format!("A handoff carries at most {MAX_ALIASES} aliases; none was added"),
            ),
            ServiceError::TooLarge(limit) => too_large(limit),
            ServiceError::TooFast(too_fast) => too_fast.into(),
            ServiceError::NoTimeline => no_timeline(),
            ServiceError::TooManyWait => too_many_wait(),
            ServiceError::GrantTooWide(what) => Self::new(
                Code::GrantTooWide,
                format!("A key cannot hold more than the one that makes it: {what}"),
            ),
            ServiceError::ExpiryPast => Self::new(
                Code::InvalidParameter,
                "`expires_at` is in the past; the key would never open anything",
            ),
            ServiceError::NoKey => {
                Self::new(Code::KeyNotFound, "No such key; `GET /v1/keys` lists those there are")
            }
            no_random @ ServiceError::NoRandom => {
                Self::new(Code::Internal, "The system's random source failed; nothing was made")
                    .because(&no_random)
            }
            ServiceError::ViewLink(error) => error.into(),
            ServiceError::Store(error) => error.into(),
        }
    }
}

fn too_many_wait() -> ApiError {
    ApiError::new(
        Code::Overloaded,
        "As many reads wait as this server lets wait (BATON_MAX_WAITING). Try again, or without `wait`",
    )
}

fn no_timeline() -> ApiError {
    ApiError::new(
        Code::PathNotFound,
        "This server keeps no timelines (BATON_TIMELINE=off), so neither are receipts kept",
    )
}

impl From<FlexRefused> for ApiError {
    fn from(refused: FlexRefused) -> Self {
        match refused {
            FlexRefused::NoAccount => Self::new(
                Code::InvalidToken,
                "A Flex user's token does not say whose it is: send X-Twilio-Account-Sid: AC… with it, once (manager.serviceConfiguration.account_sid)",
            ),
            FlexRefused::Unknown => Self::new(
                Code::InvalidToken,
                "Twilio does not know this Flex token, or not as one of this account. Read it afresh for each request: manager.store.getState().flex.session.ssoTokenPayload.token",
            ),
            FlexRefused::Expired => Self::new(
                Code::TokenExpired,
                "This Flex token has expired. Read it afresh for each request: manager.store.getState().flex.session.ssoTokenPayload.token",
            ),
            FlexRefused::NotLinked => Self::new(
                Code::AccountNotLinked,
                "No connector is linked to this Twilio account, or Twilio has not confirmed the link: `baton connector link`, and `baton connector verify` shows it",
            ),
            FlexRefused::Role => Self::new(
                Code::RoleNotAllowed,
                "None of this Flex user's roles may read handoffs. An operator names those that may in BATON_FLEX_ROLES",
            ),
            why @ FlexRefused::Unreached(_) => Self::new(
                Code::IdentityUnavailable,
                "Twilio cannot say now whose this Flex token is. Try again",
            )
            .because(&why),
            FlexRefused::Store(error) => error.into(),
        }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NoFallback => Self::new(
                Code::NoFallback,
                "Nobody takes this call: set the connector's routing, flex.workflow_sid or fallback; the number's own fallback URL has it now",
            ),
            CallError::Unknown => Self::new(
                Code::SignatureRefused,
                "This Twilio account was unlinked before the call began",
            ),
        }
    }
}

impl From<TokenLimit> for ApiError {
    fn from(limit: TokenLimit) -> Self {
        match limit {
            TokenLimit::Environment(own) => Self::new(
                Code::EnvironmentNotAllowed,
                format!(
                    "This token is of the environment {own}. Leave client_env out, or use the token of that environment's connector"
                ),
            ),
            TokenLimit::HeldByOtherEnvironment => Self::new(
                Code::HeldByOtherEnvironment,
                "Another environment of this project holds a handoff under this id. Write it with the token of that environment's connector",
            ),
            TokenLimit::ViewOnly => Self::new(
                Code::ViewOnly,
                "A view link shows its handoff and says that it was seen. For timelines and other receipts use a key, or a Flex user's token",
            ),
            TokenLimit::OtherCall => Self::new(
                Code::CallNotAllowed,
                "A call token opens the handoff of its own call, by id = that call's SID, and a view link its own handoff, by its id; nothing else",
            ),
            TokenLimit::EarlierVisit => Self::new(
                Code::CallNotAllowed,
                "The call visits its agent again, so what this token's visit has to say comes too late: that visit's own token writes now",
            ),
            TokenLimit::OwnTokensOnly => Self::new(
                Code::CallTokenOnly,
                "This handoff's connector lets only its own tokens write it (routing.call_token_only). Use the call token, or the Connector Token",
            ),
        }
    }
}

impl From<ConnectorError> for ApiError {
    fn from(error: ConnectorError) -> Self {
        match error {
            ConnectorError::NotFound => Self::new(
                Code::ConnectorNotFound,
                "No such connector; `GET /api/v1/connector` lists those there are",
            ),
            ConnectorError::NotNamed => Self::new(
                Code::MissingId,
                "The body's member /connector_id is missing: a Connector Token names its connector by itself, a key does not",
            ),
            ConnectorError::OtherThanTheTokens => Self::new(
                Code::ConnectorNotAllowed,
                "This token is another connector's. Use the one of the connector that the request names",
            ),
            ConnectorError::NameTaken(id) => Self::new(
                Code::ConnectorExists,
                format!(
                    "Connector {id} has this name in this environment of the project. Choose another name, or change that one: PATCH /api/v1/connector/{id}; a new token for it: POST /api/v1/connector/{id}/token"
                ),
            ),
            ConnectorError::BadSettings(bad) => invalid_at(&bad.pointer, bad.why),
            ConnectorError::UnusableLink(why) => {
                Self::new(Code::InvalidParameter, format!("This link would be of no use: {why}"))
            }
            ConnectorError::RefusedByTwilio(says) => Self::new(
                Code::LinkRefused,
                format!(
                    "Twilio says: {says}. Nothing was linked. Check that the credentials are those of this account, and of this region"
                ),
            ),
            ConnectorError::LinkedBefore => Self::new(
                Code::LinkedBefore,
                "This connector was linked before, or a link of it waits for Twilio. The token makes the first link alone; to change it needs a key with connector:manage, and connector_id in the body: baton connector link conn_… without --token-file",
            ),
            ConnectorError::UnderWay => Self::new(
                Code::Overloaded,
                "Twilio is being asked about this connector, or several others of its account, at this moment. Try again",
            ),
            ConnectorError::LinkChanged => Self::new(
                Code::LinkChanged,
                "The connector was linked or unlinked otherwise while Twilio was asked; nothing of this was kept. Look at it, and link again if that is still what is meant",
            ),
            ConnectorError::NoLink => {
                Self::new(Code::LinkNotFound, "No Twilio account is linked to this connector")
            }
            ConnectorError::NoPublicUrl => Self::new(
                Code::PublicUrlMissing,
                "Twilio signs the URL that it asks for, so the server must know it. Start it with BATON_PUBLIC_URL, such as https://voice.example.com, and link again",
            ),
            fault @ ConnectorError::Unsigned(_) => {
                Self::new(Code::Internal, "No token could be made; the server's log says why")
                    .because(&fault)
            }
        }
    }
}

fn whole_account() -> ApiError {
    ApiError::new(
        Code::ProjectNotAllowed,
        "A whole account is erased only with a key that reaches all its projects. Name a project_id, or use another key",
    )
}

fn alias_taken(alias: &HandoffId) -> ApiError {
    let message = format!("Another handoff of this account answers to {alias}; no alias was added");
    ApiError::new(Code::AliasTaken, message)
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(
        Code::BodyTooLarge,
        format!(
            "`data` would be larger than {limit} bytes; nothing was stored. Keep large objects elsewhere and hand over a link"
        ),
    )
}

fn precondition_failed(found: Option<u64>) -> ApiError {
    match found {
        Some(revision) => ApiError::new(
            Code::PreconditionFailed,
            format!("The handoff is at revision {revision} by now. Read it, merge, and write with If-Match: \"{revision}\""),
        )
        .with(header::ETAG, format!("\"{revision}\"")),
        None => ApiError::new(
            Code::PreconditionFailed,
            "There is no handoff under this id. Write it without If-Match",
        ),
    }
}

impl From<TooFast> for ApiError {
    fn from(too_fast: TooFast) -> Self {
        let (code, message, wait) = match too_fast {
            TooFast::Requests(wait) => (
                Code::RateLimited,
                "This credential sends more requests than it may (BATON_RATE_REQUESTS). Come back after Retry-After",
                wait,
            ),
            TooFast::Misses(wait) => (
                Code::TooManyMisses,
                "This credential has asked for too many different ids that are not there (BATON_RATE_MISSES). Check which id it sends, and come back after Retry-After",
                wait,
            ),
        };
        // Whole seconds, rounded up: nobody is sent back too soon.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self::new(code, message).with(header::RETRY_AFTER, seconds.max(1).to_string())
    }
}

impl From<Miss> for ApiError {
    fn from(miss: Miss) -> Self {
        let (code, message) = match miss.why {
            Missing::NeverWritten if miss.by_shared_id => (
                Code::HandoffNotFound,
                "No handoff that is there now carries this shared_id. Check that the agent writes it with this shared_id, before this read",
            ),
            Missing::NeverWritten => (
                Code::HandoffNotFound,
                "No handoff was written under this id. Check that the agent writes it, under the same id, before this read",
            ),
            Missing::Expired => (
                Code::HandoffExpired,
                "The handoff under this id has expired. Write it with a longer ttl_seconds if it is read later than that",
            ),
            Missing::Erased => (Code::HandoffErased, "The handoff under this id was erased"),
            Missing::InOtherProject => (
                Code::HandoffInOtherProject,
                "The handoff belongs to another project of this account than the key reaches or the request names. Use that project's key, and its project_id",
            ),
            Missing::InOtherEnvironment => (
                Code::HandoffInOtherEnvironment,
                "The handoff belongs to another environment of its project than the token's, or than the request names. Use the token of that environment's connector",
            ),
        };
        let near = miss.near.map(|id| {
            format!(". In the last minutes one was written under the similar id {id}: check the id for a slip")
        });
        Self::new(code, message.to_owned() + &near.unwrap_or_default())
    }
}

/// To a request behind the last answer of its connection.
pub(super) fn connection_ends() -> ApiError {
    ApiError::new(
        Code::Overloaded,
        "This connection is being closed and the request was not looked at; send it on a new one",
    )
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let (code, message) = match &error {
            StoreError::Full => (
                Code::StoreFull,
                "The disk is full; nothing was stored. Free space on the data volume; writes go on by themselves",
            ),
            StoreError::Busy => (
                Code::Overloaded,
                "More writes are waiting than can be made durable in time; nothing was stored. Try again",
            ),
            StoreError::NotConfirmed => (
                Code::WriteNotConfirmed,
                "The write was sent, and too few servers said in time that they have it: it may be stored, or not. Send it again; the same content again changes nothing",
            ),
            StoreError::Unavailable(_) => (
                Code::StoreUnavailable,
                "The store is not available at the moment; nothing was acknowledged. Try again",
            ),
            StoreError::Failed(_) => {
                (Code::StoreUnavailable, "The store failed; nothing was acknowledged. Try again")
            }
            StoreError::Unreadable(_) => (
                Code::Internal,
                "What is stored cannot be read. The server's log says why under this error_id",
            ),
        };
        Self::new(code, message).because(&error)
    }
}
