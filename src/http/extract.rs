//! What handlers ask for: the caller, and the query's parameters.

use std::future::Ready;
use std::future::ready;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;

use actix_web::FromRequest;
use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::web;

use crate::domain::account::AccountId;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::gate;
use crate::http::request::RequestState;

/// Who asks, as the gate found.
#[derive(Debug)]
pub(super) struct Caller(pub(super) Arc<Principal>);

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // No principal means that no gate let this request in: refuse, never fall back.
        let principal = RequestState::of(request).and_then(|state| state.principal.get().cloned());
        ready(principal.map(Self).ok_or_else(gate::missing))
    }
}

/// The parameters of a query, in order.
#[derive(Debug)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    state: Option<Rc<RequestState>>,
}

impl FromRequest for Params {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        let state = RequestState::of(request);
        ready(match pairs {
            Ok(pairs) => Ok(Self { pairs: pairs.into_inner(), state }),
            Err(_) => {
                Err(ApiError::new(Code::InvalidParameter, "The query is not of the form a=b&c=d"))
            }
        })
    }
}

impl Params {
    /// A parameter's text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut given = self.pairs.iter().filter(|(key, _)| key == name);
        let first = given.next().map(|(_, value)| value.as_str());
        match given.next() {
            None => Ok(first),
            Some(_) => Err(ApiError::new(
                Code::InvalidParameter,
                format!("Parameter `{name}` is given more than once"),
            )),
        }
    }

    /// A parameter as a `T`.
    pub(super) fn read<T>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        self.text(name)?.map(|text| text.parse().map_err(|why| invalid(name, why))).transpose()
    }

    /// The handoff it is about. The access line names it from here on.
    pub(super) fn id(&self) -> Result<HandoffId, ApiError> {
        let missing = || {
            ApiError::new(
                Code::MissingId,
                "Parameter `id` is missing: the id of the handoff, usually the call's SID, as in ?id=CA…",
            )
        };
        let text = self.text("id")?.ok_or_else(missing)?;
        let id: HandoffId = text
            .parse()
            .map_err(|why| ApiError::new(Code::InvalidId, format!("Parameter `id` {why}")))?;
        if let Some(state) = &self.state {
            // Set once: a request is about one handoff.
            let _ = state.subject.set(id.clone());
        }
        Ok(id)
    }

    /// The account it names.
    pub(super) fn account(&self) -> Result<Option<AccountId>, ApiError> {
        self.read("account_id")
    }

    /// Refuses parameters that are not among `known`: on a write, a mistyped name must not pass for
    /// a setting that was made.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                let known = match known {
                    [] => "there are none".to_owned(),
                    some => format!("known are: {}", some.join(", ")),
                };
                let message = format!("Parameter `{name}` is not known here; {known}");
                Err(ApiError::new(Code::UnknownParameter, message))
            }
        }
    }
}

/// A parameter or body member that cannot be read.
pub(super) fn invalid(name: &str, why: impl std::fmt::Display) -> ApiError {
    ApiError::new(Code::InvalidParameter, format!("`{name}` {why}"))
}
