//! Whole calls, begun at a steady rate whatever becomes of those before: what Twilio's webhooks take, once
//! the agent has written.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use baton::domain::algorithm::Algorithm;
use baton::telemetry::outbound;
use baton::twilio::form::Pairs;
use baton::twilio::signature;
use baton::twilio::signature::Secret;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio::time::interval;

use crate::figures::at;

const DATA: &str = r#"{"data":{"reason":"billing","destination":"billing","verified":true,"name":"Ada","summary":"March was charged twice. The caller has both invoices at hand.","tried":["resent the invoice"]}}"#;

struct Line {
    http: reqwest::Client,
    address: String,
    connector: String,
    account: String,
    secret: Secret,
}

struct Took {
    voice: Duration,
    write: Duration,
    handoff: Duration,
}

/// Plays `rate` calls a second for `seconds`, through a connector whose agent is anywhere, signed with
/// the Auth Token of a Twilio account. The server's public URL is its own.
pub fn play(
    address: &str,
    connector: &str,
    (account, token): (&str, &str),
    (rate, seconds): (&str, &str),
) {
    let (rate, seconds): (u32, u32) = (rate.parse().unwrap(), seconds.parse().unwrap());
    let line = Arc::new(Line {
        http: outbound::client(Duration::from_secs(20)).unwrap(),
        address: address.to_owned(),
        connector: connector.to_owned(),
        account: account.to_owned(),
        secret: Secret::new("", Algorithm::HmacSha1, token),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let took = runtime.block_on(async {
        let mut every = interval(Duration::from_secs(1) / rate);
        every.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut calls = JoinSet::new();
        // The first second is for connections and for what is not in memory yet.
        let first = u128::from(std::process::id()) << 64;
        for n in 0..rate * (seconds + 1) {
            every.tick().await;
            let line = Arc::clone(&line);
            let call = format!("CA{:032x}", first + u128::from(n));
            calls.spawn(async move { (n >= rate, line.call(&call).await) });
        }
        calls.join_all().await
    });
    let counted: Vec<_> = took.into_iter().filter(|(counts, _)| *counts).map(|(_, t)| t).collect();
    let of = |part: fn(&Took) -> Duration| {
        let mut times: Vec<_> = counted.iter().map(part).collect();
        format!("p50 {:.1?}, p99 {:.1?}", at(&mut times, 50), at(&mut times, 99))
    };
    println!(
        "calls: {} at {rate} a second, server on one core; voice webhook {}, agent's durable write {}, handoff webhook {} (goal p99 5 ms)",
        counted.len(),
        of(|took| took.voice),
        of(|took| took.write),
        of(|took| took.handoff),
    );
}

impl Line {
    async fn call(&self, call: &str) -> Took {
        let (twiml, voice) = self.webhook(&format!("/twilio/voice/{}", self.connector), call).await;
        let after = |from: &str| {
            let (_, rest) = twiml.split_once(from).expect("what a visit says");
            rest.split('"').next().unwrap().replace("&amp;", "&")
        };
        let token = after("name=\"call_token\" value=\"");
        let begun = Instant::now();
        let url = format!("http://{}/v1/handoff_state?id={call}", self.address);
        let written = self.http.put(url).bearer_auth(token).body(DATA).send().await.unwrap();
        assert_eq!(written.status(), 201);
        written.bytes().await.unwrap();
        let write = begun.elapsed();
        let action = after("<Connect action=\"");
        let path = action.split_once(&self.address).expect("an action of ours").1;
        let (twiml, handoff) = self.webhook(path, call).await;
        assert!(twiml.contains("<Task"), "{twiml}");
        Took { voice, write, handoff }
    }

    async fn webhook(&self, target: &str, call: &str) -> (String, Duration) {
        let form = format!(
            "AccountSid={}&ApiVersion=2010-04-01&CallSid={call}&CallStatus=in-progress&Called=%2B15557654321&CalledCity=&Caller=%2B15551234567&CallerCity=SAN+FRANCISCO&CallerCountry=US&Direction=inbound&From=%2B15551234567&To=%2B15557654321",
            self.account
        );
        let url = format!("http://{}{target}", self.address);
        let signature = signature::sign(&self.secret, &url, &Pairs::decode(form.as_bytes()));
        let request = self
            .http
            .post(url)
            .header("X-Twilio-Signature", signature)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form);
        let begun = Instant::now();
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let twiml = answer.text().await.unwrap();
        (twiml, begun.elapsed())
    }
}
