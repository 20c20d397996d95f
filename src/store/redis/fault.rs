//! Why a command was not carried out, and whether another try may help.

use redis::RedisError;
use redis::Value;

use crate::config::redis::Address;
use crate::store::kv::StoreError;

/// Why a command was not carried out.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// Another server has the slot now; with `asking`, only this once.
    Elsewhere { at: Address, asking: bool },
    /// Not now: a failover or a move of slots is under way.
    NotNow(String),
    /// The server does not know the script (any more).
    NoScript,
    /// The connection broke or would not be made, before the command was sent or while it was under way.
    Broken(String),
    /// Another try would do no better.
    Final(StoreError),
}

impl Fault {
    /// What a connection says.
    pub(super) fn of(error: &RedisError) -> Self {
        match error.code() {
            Some(code) => Self::said(code, error.detail().unwrap_or_default()),
            None => Self::Broken(harmless(error)),
        }
    }

    /// The fault that a server answered, if `value` is one.
    pub(super) fn in_answer(value: Value) -> Result<Value, Self> {
        match value {
            Value::ServerError(error) => {
                let code = error.code().to_owned();
                Err(Self::said(&code, error.details().unwrap_or_default()))
            }
            value => Ok(value),
        }
    }

    fn said(code: &str, detail: &str) -> Self {
        match code {
            "MOVED" | "ASK" => {
                let asking = code == "ASK";
                let moved = detail.split_whitespace().next_back().and_then(address);
                moved.map_or_else(
                    || Self::NotNow(code.to_owned()),
                    |at| Self::Elsewhere { at, asking },
                )
            }
            "NOSCRIPT" => Self::NoScript,
            "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "READONLY" | "MASTERDOWN" | "BUSY"
            | "NOREPLICAS" => Self::NotNow(code.to_owned()),
            "OOM" => Self::Final(StoreError::Full),
            "MISCONF" => Self::Final(StoreError::Unavailable(
                "Redis takes no writes, for it cannot save to its disk".to_owned(),
            )),
            // What a server says of a script's own mistake may quote its arguments; its code may not.
            code => Self::Final(StoreError::Unavailable(format!("Redis answered {code}"))),
        }
    }

    /// As what callers are told.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Elsewhere { .. } => StoreError::Unavailable("Redis is moving slots".to_owned()),
            Self::NotNow(code) => StoreError::Unavailable(format!("Redis answered {code}")),
            Self::NoScript => StoreError::Unavailable("Redis forgot a script".to_owned()),
            Self::Broken(why) => StoreError::Unavailable(why),
            Self::Final(error) => error,
        }
    }
}

/// What an error is, without what a server may have quoted.
pub(super) fn harmless(error: &RedisError) -> String {
    if error.is_timeout() {
        return "Redis does not answer".to_owned();
    }
    match error.code() {
        Some("WRONGPASS" | "NOAUTH") => "Redis refused the user or the password".to_owned(),
        Some(code) => format!("Redis answered {code}"),
        None => format!("no connection to Redis: {error}"),
    }
}

fn address(text: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(Address { host: host.to_owned(), port: port.parse().ok()? })
}
