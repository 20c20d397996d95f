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
use crate::domain::account::ProjectId;
use crate::domain::connector::ConnectorId;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::gate;
use crate::http::request::RequestState;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;

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

/// The parameters of a query, in order, and those of the path.
#[derive(Debug)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    account: Option<String>,
    project: Option<String>,
    connector: Option<String>,
    state: Option<Rc<RequestState>>,
}

impl FromRequest for Params {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        let path = request.match_info();
        let of_path = |name| path.get(name).map(str::to_owned);
        let (account, project) = (of_path("account_id"), of_path("project_id"));
        let connector = of_path("connector_id");
        let state = RequestState::of(request);
        ready(match pairs {
            Ok(pairs) => Ok(Self { pairs: pairs.into_inner(), account, project, connector, state }),
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

    /// Which handoff it is about: by `shared_id` where there is one, and then `id` does not matter,
    /// whatever it holds; a client may send both and leave empty the one it does not know.
    pub(super) fn ask(&self) -> Result<Ask, ApiError> {
        let by = match (self.text("shared_id")?, self.text("id")?) {
            (None, None) => return Err(missing_id()),
            (None | Some(""), Some(_)) => By::Id(self.id()?.ok_or_else(missing_id)?),
            (Some(_), _) => By::SharedId(self.shared_id()?.ok_or_else(missing_id)?),
        };
        self.about(by)
    }

    /// The same for what changes or erases: both ids might mean two handoffs.
    pub(super) fn ask_for_one(&self) -> Result<Ask, ApiError> {
        let is_given = |name| self.text(name).map(|text| text.is_some_and(|text| !text.is_empty()));
        if is_given("id")? && is_given("shared_id")? {
            return Err(invalid("shared_id", "stands beside `id`; give one of them here"));
        }
        self.ask()
    }

    /// What a request is about. The access line names it from here on.
    pub(super) fn about(&self, by: By) -> Result<Ask, ApiError> {
        if let Some(state) = &self.state {
            let (By::Id(id) | By::SharedId(id)) = &by;
            // Set once: a request is about one handoff.
            let _ = state.subject.set(id.clone());
        }
        let client_env = self.read("client_env")?;
        let account = self.account()?;
        if let (Some(state), Some(account)) = (&self.state, &account) {
            let _ = state.account.set(account.clone());
        }
        Ok(Ask { account, project: self.project()?, client_env, by })
    }

    /// The id it names, if it names one.
    pub(super) fn id(&self) -> Result<Option<HandoffId>, ApiError> {
        self.handoff_id("id")
    }

    /// The shared id it names, if it names one.
    pub(super) fn shared_id(&self) -> Result<Option<HandoffId>, ApiError> {
        self.handoff_id("shared_id")
    }

    fn handoff_id(&self, name: &str) -> Result<Option<HandoffId>, ApiError> {
        self.text(name)?.map(|text| text.parse().map_err(|why| wrong_id(name, why))).transpose()
    }

    /// The account it names, in path or query.
    pub(super) fn account(&self) -> Result<Option<AccountId>, ApiError> {
        self.path_or_query("account_id", self.account.as_deref())
    }

    /// The project it names, in path or query.
    pub(super) fn project(&self) -> Result<Option<ProjectId>, ApiError> {
        self.path_or_query("project_id", self.project.as_deref())
    }

    /// The connector that the path names.
    pub(super) fn connector(&self) -> Result<ConnectorId, ApiError> {
        let text = self.connector.as_deref().unwrap_or_default();
        text.parse().map_err(|why| wrong_id("connector_id", why))
    }

    fn path_or_query<T>(&self, name: &str, in_path: Option<&str>) -> Result<Option<T>, ApiError>
    where
        T: FromStr + PartialEq,
        T::Err: std::fmt::Display,
    {
        let in_path = in_path.map(|text| text.parse().map_err(|why| invalid(name, why)));
        match (in_path.transpose()?, self.read(name)?) {
            (Some(path), Some(query)) if path != query => {
                Err(invalid(name, "differs between the path and the query"))
            }
            (path, query) => Ok(path.or(query)),
        }
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

/// An id that cannot be one.
pub(super) fn wrong_id(name: &str, why: impl std::fmt::Display) -> ApiError {
    ApiError::new(Code::InvalidId, format!("Parameter `{name}` {why}"))
}

/// No id at all.
pub(super) fn missing_id() -> ApiError {
    ApiError::new(
        Code::MissingId,
        "Parameter `id` is missing: the id of the handoff, usually the call's SID, as in ?id=CA…; or give `shared_id`, the other side's id",
    )
}

/// No connector is named.
pub(super) fn missing_connector() -> ApiError {
    ApiError::new(
        Code::MissingId,
        "Parameter `connector_id` is missing: the Connector ID, as in ?connector_id=conn_…",
    )
}
