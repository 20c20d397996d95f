//! Reading request bodies: bounded in size and time, and only for a caller whom the gate let in; but
//! for Twilio's door, which reads what was signed.

use std::collections::HashSet;
use std::fmt;

use actix_web::FromRequest;
use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web;
use actix_web::web::Bytes;
use actix_web::web::Data;
use serde_json::value::RawValue;

use crate::config;
use crate::domain::data;
use crate::domain::data::BadData;
use crate::domain::data::Problem;
use crate::domain::handoff_id::HandoffId;
use crate::domain::members;
use crate::domain::members::Member;
use crate::http::edge::Edge;
use crate::http::error::ApiError;
use crate::http::error::Code;
use crate::http::extract::wrong_id;
use crate::http::gate;
use crate::http::request::RequestState;
use crate::http::request::Stage;

type LocalFuture<T> = std::pin::Pin<Box<dyn Future<Output = T>>>;

/// A whole request body, as it came.
#[derive(Debug)]
pub(super) struct Body(pub(super) Bytes);

impl FromRequest for Body {
    type Error = ApiError;
    type Future = LocalFuture<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let edge = request.app_data::<Data<Edge>>().cloned();
        let state = RequestState::of(request);
        let reading = Reading::of(request, payload);
        Box::pin(async move {
            // Not let in, not read.
            let (edge, state) = edge.zip(state).ok_or_else(gate::missing)?;
            state.principal.get().ok_or_else(gate::missing)?;
            reading.whole(edge.limits.max_body_bytes, &edge.limits, &state).await.map(Self)
        })
    }
}

/// A body that is about to be read.
pub(super) struct Reading {
    length: Option<usize>,
    is_chunked: bool,
    payload: <web::Payload as FromRequest>::Future,
}

impl Reading {
    /// The body of a request.
    pub(super) fn of(request: &HttpRequest, payload: &mut Payload) -> Self {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length =
            length.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        Self { length, is_chunked, payload: web::Payload::from_request(request, payload) }
    }

    /// Whether nothing is to come.
    pub(super) fn is_of_nothing(&self) -> bool {
        self.length.unwrap_or_default() == 0 && !self.is_chunked
    }

    /// All of it, `limit` bytes at most, within the time that a body may take.
    pub(super) async fn whole(
        self,
        limit: usize,
        limits: &config::Edge,
        state: &RequestState,
    ) -> Result<Bytes, ApiError> {
        if self.length.is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        let payload = self.payload.await.map_err(|_infallible| cut_short())?;
        state.wait_for(Stage::Body, limits.body_timeout);
        let bytes = payload.to_bytes_limited(limit).await;
        state.wait_for(Stage::Work, limits.request_timeout);
        match bytes {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(_)) => Err(cut_short()),
            Err(_) => Err(too_large(limit)),
        }
    }
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(
        Code::BodyTooLarge,
        format!(
            "The body is larger than {limit} bytes; nothing of it was taken. Keep large objects elsewhere and hand over a link"
        ),
    )
}

fn cut_short() -> ApiError {
    ApiError::new(Code::InvalidJson, "The body ended before it was complete; nothing was stored")
}

/// The members of a JSON object, in order, each as the bytes that came.
#[derive(Debug)]
pub(super) struct Members<'b>(Vec<Member<'b>>);

impl<'b> Members<'b> {
    /// Reads a body that must be one object. `pointer` is where it stands, for messages.
    pub(super) fn of_body(body: &'b [u8]) -> Result<Self, ApiError> {
        let text = std::str::from_utf8(body).map_err(|error| {
            let at = error.valid_up_to();
            ApiError::new(
                Code::InvalidUtf8,
                format!("The body is not UTF-8: byte {at} cannot be read"),
            )
        })?;
        if serde_json::from_str::<&RawValue>(text).is_ok()
            && !text.trim_ascii_start().starts_with('{')
        {
            let message = "The body must be a JSON object";
            return Err(ApiError::new(Code::NotAnObject, message));
        }
        Self::read(text, "")
    }

    fn read(text: &'b str, pointer: &str) -> Result<Self, ApiError> {
        let members = members::members(text).map_err(|error| {
            ApiError::new(Code::InvalidJson, format!("Not valid JSON: {error}"))
        })?;
        let mut seen = HashSet::with_capacity(members.len());
        for Member { name, .. } in &members {
            if !seen.insert(name) {
                return Err(ApiError::new(
                    Code::DuplicateKey,
                    format!(
                        "A key is given twice at {pointer}/{}; readers would disagree about which one counts",
                        escaped(name)
                    ),
                ));
            }
        }
        Ok(Self(members))
    }

    /// A member that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&'b RawValue> {
        let found = self.0.iter().find(|member| member.name == name).map(|m| m.value);
        found.filter(|value| value.get() != "null")
    }

    /// Whether a member is there and null.
    pub(super) fn has_null(&self, name: &str) -> bool {
        self.0.iter().any(|member| member.name == name && member.value.get() == "null")
    }

    /// The one member there is, if it is an object and one of `names`.
    pub(super) fn is_only(&self, names: &[&str]) -> Option<&str> {
        match self.0.as_slice() {
            [Member { name, value, .. }]
                if names.contains(&name.as_str()) && value.get().starts_with('{') =>
            {
                Some(name)
            }
            _ => None,
        }
    }

    /// A member that is an object, at `pointer`.
    pub(super) fn object(&self, name: &str, pointer: &str) -> Result<Members<'b>, ApiError> {
        let missing = || invalid_at(pointer, "must be an object");
        let value =
            self.get(name).filter(|value| value.get().starts_with('{')).ok_or_else(missing)?;
        Self::read(value.get(), pointer)
    }

    /// A member's text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        let read = |value: &RawValue| {
            serde_json::from_str(value.get())
                .map_err(|_wrong_type| invalid_at(&format!("/{name}"), "must be a string"))
        };
        self.get(name).map(read).transpose()
    }

    /// A handoff's id; an empty one counts as not given.
    pub(super) fn id(&self, name: &str) -> Result<Option<HandoffId>, ApiError> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(|why| wrong_id(name, why))).transpose()
    }

    /// A member that is parsed from text.
    pub(super) fn parsed<T>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T: std::str::FromStr,
        T::Err: fmt::Display,
    {
        let text = self.text(name)?;
        text.map(|text| text.parse().map_err(|why| invalid_at(&format!("/{name}"), why)))
            .transpose()
    }

    /// Refuses members that are not among `known`.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.iter().find(|member| !known.contains(&member.name.as_str())) {
            None => Ok(()),
            Some(Member { name, .. }) => {
                let (name, known) = (escaped(name), known.join(", "));
                let message = format!("The body's member /{name} is not known; known are: {known}");
                Err(ApiError::new(Code::UnknownParameter, message))
            }
        }
    }
}

/// Checks what is to be kept as `data`, at `pointer` of the body.
pub(super) fn check_data(value: &RawValue, pointer: &str) -> Result<(), ApiError> {
    check_text(value.get(), pointer)
}

/// The same for a text that is no member.
pub(super) fn check_text(text: &str, pointer: &str) -> Result<(), ApiError> {
    data::check(text).map_err(|BadData { pointer: below, problem }| {
        let code = match problem {
            Problem::NotAnObject => Code::NotAnObject,
            Problem::DuplicateKey => Code::DuplicateKey,
            Problem::TooDeep => Code::TooDeep,
            Problem::Syntax(_) => Code::InvalidJson,
        };
        ApiError::new(code, format!("At {pointer}{below}: {problem}; nothing was stored"))
    })
}

/// A member of the wrong type or out of range.
pub(super) fn invalid_at(pointer: &str, why: impl fmt::Display) -> ApiError {
    ApiError::new(Code::InvalidParameter, format!("The body's member {pointer} {why}"))
}

fn escaped(name: &str) -> String {
    name.chars().take(64).collect::<String>().replace('~', "~0").replace('/', "~1")
}
