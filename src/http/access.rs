//! The access line: one JSON object a request, written by hand.
//!
//! tracing's JSON formatter costs about as much as all the rest of a read; these fields are known
//! and few. A call's SID stands whole, as Twilio's own logs have it; other ids may be made from
//! personal data and stand as a keyed hash. Nothing of a payload, key, token or phone number.

use std::fmt::Write;
use std::time::Duration;

use aws_lc_rs::hmac;

use crate::domain::clock::Timestamp;
use crate::domain::handoff_id::HandoffId;
use crate::http::request::RequestState;
use crate::telemetry::logging::Sink;

/// Writes access lines.
#[derive(Debug)]
pub struct AccessLog {
    sink: Sink,
    hash_key: hmac::Key,
}

/// What happened to a request.
#[derive(Clone, Copy, Debug)]
pub struct Happened<'r> {
    /// When it was answered.
    pub at: Timestamp,
    /// Its method.
    pub method: &'static str,
    /// Its route's pattern.
    pub route: &'static str,
    /// The answer's status.
    pub status: u16,
    /// The error code, if it was refused.
    pub code: Option<&'static str>,
    /// What went wrong within, if anything did.
    pub cause: Option<&'r str>,
    /// How long it took.
    pub took: Duration,
}

impl AccessLog {
    /// Lines go to `sink`; ids are hashed with `hash_key`.
    pub fn new(sink: Sink, hash_key: &[u8]) -> Self {
        Self { sink, hash_key: hmac::Key::new(hmac::HMAC_SHA256, hash_key) }
    }

    /// Writes the line if the filter wants target `baton::access` at its level: `ERROR` where
    /// something went wrong within, else `INFO`.
    pub fn record(&self, request: &RequestState, happened: &Happened<'_>) {
        let wanted = match happened.cause {
            Some(_) => tracing::enabled!(target: "baton::access", tracing::Level::ERROR),
            None => tracing::enabled!(target: "baton::access", tracing::Level::INFO),
        };
        if !wanted {
            return;
        }
        let mut line = String::with_capacity(384);
        // Writing to a String does not fail.
        let _ = self.format(&mut line, request, happened);
        self.sink.line(line.as_bytes());
    }

    /// But for `error`, no field needs escaping: routes, methods, codes, key ids and call SIDs have no character
    /// that JSON escapes.
    fn format(
        &self,
        line: &mut String,
        request: &RequestState,
        happened: &Happened<'_>,
    ) -> std::fmt::Result {
        let Happened { at, method, route, status, code, cause, took } = happened;
        let level = if cause.is_some() { "ERROR" } else { "INFO" };
        write!(
            line,
            "{{\"timestamp\":\"{at}\",\"level\":\"{level}\",\"target\":\"baton::access\","
        )?;
        write!(line, "\"message\":\"{method} {route} {status}\",\"method\":\"{method}\",")?;
        write!(line, "\"route\":\"{route}\",\"status\":{status},")?;
        write!(line, "\"duration_us\":{},\"correlation_id\":\"", took.as_micros())?;
        line.push_str(&request.correlation_id);
        line.push('"');
        if let Some(code) = code {
            write!(line, ",\"error_code\":\"{code}\"")?;
        }
        if let Some(cause) = cause {
            // The one text on the line that is not ours.
            write!(line, ",\"error\":{}", serde_json::Value::from(*cause))?;
        }
        if let Some(principal) = request.principal.get() {
            write!(line, ",\"key\":\"{}\"", principal.name)?;
        }
        match request.subject.get() {
            Some(id) if id.is_call_sid() => write!(line, ",\"call_sid\":\"{id}\"")?,
            Some(id) => write!(line, ",\"id_hash\":\"{:016x}\"", self.hash(id))?,
            None => {}
        }
        line.push_str("}\n");
        Ok(())
    }

    fn hash(&self, id: &HandoffId) -> u64 {
        let tag = hmac::sign(&self.hash_key, id.as_str().as_bytes());
        tag.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str) -> serde_json::Value {
        let log = AccessLog::new(Sink::default(), &[7; 32]);
        let request = RequestState::new(
            "c-1".to_owned(),
            tokio::time::Instant::now(),
            Duration::from_secs(1),
        );
        request.subject.set(id.parse().unwrap()).unwrap();
        let mut line = String::new();
        let happened = Happened {
            at: Timestamp::from_micros(0),
            method: "GET",
            route: "/v1/handoff_state",
            status: 404,
            code: Some("HANDOFF_NOT_FOUND"),
            cause: Some("a \"quoted\"\nline"),
            took: Duration::from_micros(42),
        };
        log.format(&mut line, &request, &happened).unwrap();
        assert!(line.ends_with("}\n"));
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn it_is_json_with_call_sids_whole_and_other_ids_hashed() {
        let sid = "CA0123456789abcdef0123456789abcdef";
        let whole = line(sid);
        assert_eq!(whole["call_sid"], sid);
        assert_eq!(whole["duration_us"], 42);
        assert_eq!(whole["error_code"], "HANDOFF_NOT_FOUND");
        assert_eq!(whole["error"], "a \"quoted\"\nline");
        let hashed = line("jane.doe-1970");
        assert!(hashed.get("call_sid").is_none());
        assert_eq!(hashed["id_hash"].as_str().unwrap().len(), 16);
        assert!(!hashed.to_string().contains("jane"));
    }
}
