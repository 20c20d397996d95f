//! [`Agent`]: a pretend one. It writes the call's handoff where it was told to, with the call token that it
//! was given and nothing else.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::cli::call::twilio::Visit;
use crate::cli::call::wire;
use crate::cli::call::wire::Answer;
use crate::cli::call::wire::Wire;

/// The destination that handoffs name.
pub(super) const DESTINATION: &str = "billing";

/// The agent of one visit. It holds the call token, so it is not printed.
pub(super) struct Agent<'v> {
    handoff_url: &'v str,
    call_token: &'v str,
}

impl<'v> Agent<'v> {
    /// The agent that a visit leads to.
    pub(super) fn of(visit: &'v Visit) -> Result<Self, String> {
        let told = |name| {
            let missing = || format!("the agent is not told its {name}, and cannot write without");
            visit.told(name).ok_or_else(missing)
        };
        Ok(Self { handoff_url: told("handoff_url")?, call_token: told("call_token")? })
    }

    /// Writes a handoff.
    pub(super) async fn write(&self, wire: &Wire, data: &Value) -> Result<Answer, String> {
        self.write_with(self.call_token, wire, data).await
    }

    /// Tries to write one with a call token that nobody was given.
    pub(super) async fn try_wrongly(&self, wire: &Wire, data: &Value) -> Result<Answer, String> {
        self.write_with(&spoilt(self.call_token), wire, data).await
    }

    async fn write_with(&self, token: &str, wire: &Wire, data: &Value) -> Result<Answer, String> {
        let request = wire.request(Method::PUT, self.handoff_url).bearer_auth(token);
        wire::send(request.json(&json!({ "data": data }))).await
    }
}

/// A token with another character in its middle.
fn spoilt(token: &str) -> String {
    let middle = token.len() / 2;
    let other = |(at, c)| match c {
        'A' if at == middle => 'B',
        _ if at == middle => 'A',
        same => same,
    };
    token.char_indices().map(other).collect()
}

/// What the agent writes on a visit; on each of them something else.
pub(super) fn handoff(leg: u32, contained: bool) -> Value {
    let mut data = json!({
        "reason": reason(leg),
        "destination": DESTINATION,
        "verified": true,
        "name": "Ada Lovelace",
        "language": "en-GB",
        "summary": summary(leg),
        "tried": ["resent the invoice"],
    });
    if let (true, Some(data)) = (contained, data.as_object_mut()) {
        data.insert("contained".to_owned(), json!(true));
    }
    data
}

fn reason(leg: u32) -> &'static str {
    if leg < 2 { "billing" } else { "refund" }
}

/// What the summary of a visit's handoff is, and no other visit's.
pub(super) fn summary(leg: u32) -> &'static str {
    if leg < 2 {
        "March was charged twice. The caller has both invoices at hand."
    } else {
        "The second charge is to be paid back to another account than before."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoilt_token_differs_in_one_character() {
        for token in ["bct_AAAAAAAA", "bct_BBBBBBBB"] {
            let spoilt = spoilt(token);
            let differ = token.chars().zip(spoilt.chars()).filter(|(a, b)| a != b).count();
            assert_eq!((differ, spoilt.len()), (1, token.len()));
        }
    }

    #[test]
    fn each_visit_has_a_handoff_of_its_own() {
        let (first, second) = (handoff(1, false), handoff(2, true));
        assert_ne!(first["reason"], second["reason"]);
        assert_ne!(first["summary"], second["summary"]);
        assert!(first.get("contained").is_none() && second["contained"] == true);
    }
}
