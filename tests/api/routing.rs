//! A call on its way: to the agent, back from it, and to its end.

use std::time::Duration;

use quick_xml::events::Event;
use serde_json::Value;
use serde_json::json;

use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::harness::Answer;
use crate::links::Centre;
use crate::links::SECOND;
use crate::links::TOKEN;
use crate::links::by_token;
use crate::twilio::ACCOUNT;
use crate::twilio::OTHER;
use crate::twilio::PUBLIC;
use crate::twilio::get;
use crate::twilio::post;

pub const CALL: &str = "CAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const FLOW: &str = "FW0123456789abcdef0123456789abcdef";
pub const WORKFLOW: &str = "WW0123456789abcdef0123456789abcdef";
pub const BILLING: &str = "WWbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A linked connector whose calls go somewhere.
pub struct Line {
    pub centre: Centre,
}

impl Line {
    pub async fn open() -> Self {
        Self::with(json!({})).await
    }

    /// The same with these settings besides.
    pub async fn with(settings: Value) -> Self {
        let centre = Centre::open().await;
        centre.link(&by_token()).await.ok(200);
        let line = Self { centre };
        line.set(&json!({
            "routing": { "agent_url": "wss://agent.example/media" },
            "destinations": {
                "billing": { "workflow_sid": BILLING, "priority": 5, "timeout_seconds": 200 },
                "desk": { "number": "+441632960000" },
                "branch": { "sip_uri": "sip:branch@pbx.example" },
            },
            "flex": { "workflow_sid": WORKFLOW },
        }))
        .await;
        line.set(&settings).await;
        line
    }

    pub async fn set(&self, settings: &Value) {
        let path = format!("{PATH}/{}", self.centre.id);
        self.centre.server.admin().patch(&path, settings.to_string()).await.ok(200);
    }

    /// A webhook of a call under way, signed, on a route with a query.
    pub async fn asks(&self, route: &str, query: &str, more: &str) -> Answer {
        let target = format!("/twilio/{route}/{}{query}", self.centre.id);
        self.asks_at(&target, more).await
    }

    /// The same at a URL that an answer gave.
    pub async fn asks_at(&self, url: &str, more: &str) -> Answer {
        let target = url.strip_prefix(PUBLIC).unwrap_or(url);
        let mut form =
            format!("AccountSid={ACCOUNT}&From=%2B15551234567&To=%2B15557654321&Direction=inbound");
        for (name, own) in [("CallSid=", CALL), ("CallStatus=", "in-progress")] {
            if !more.contains(name) {
                form.push_str(&format!("&{name}{own}"));
            }
        }
        form.push_str(more);
        post(&self.centre.server.nobody(), TOKEN, target, &form).await
    }

    /// Sends the call to its agent.
    pub async fn visit(&self, query: &str) -> Visit {
        Visit::of(self.asks("voice", query, "").await.ok_text(200))
    }

    pub async fn agent_writes(&self, visit: &Visit, data: &str) -> Answer {
        bearer(&self.centre.server, &visit.token).write(CALL, data).await
    }
}

/// What an agent is told of a call.
pub struct Visit {
    pub twiml: String,
    pub action: String,
    pub token: String,
}

impl Visit {
    fn of(twiml: &str) -> Self {
        let parameter = |name: &str| {
            let from = format!("<Parameter name=\"{name}\" value=\"");
            let rest = twiml.split_once(from.as_str()).map_or("", |(_, rest)| rest);
            rest.split('"').next().unwrap().to_owned()
        };
        Self {
            action: attribute(twiml, "action"),
            token: parameter("call_token"),
            twiml: twiml.to_owned(),
        }
    }
}

/// The first attribute of a name, as a parser reads it.
pub fn attribute(twiml: &str, name: &str) -> String {
    let mut reader = quick_xml::Reader::from_str(twiml);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) | Event::Empty(start) => {
                if let Ok(Some(found)) = start.try_get_attribute(name) {
                    return quick_xml::escape::unescape(found.value.as_ref()).unwrap().into_owned();
                }
            }
            Event::Eof => panic!("no {name} in {twiml}"),
            _ => {}
        }
    }
}

/// The text of the first element of a name, as a parser reads it.
pub fn text(twiml: &str, name: &str) -> String {
    let (_, rest) = twiml.split_once(&format!("<{name}")).unwrap_or_else(|| panic!("{twiml}"));
    let (_, rest) = rest.split_once('>').unwrap();
    let (inner, _) = rest.split_once(&format!("</{name}>")).unwrap();
    quick_xml::escape::unescape(inner).unwrap().into_owned()
}

pub fn task(answer: &Answer) -> Value {
    serde_json::from_str(&text(answer.ok_text(200), "Task")).unwrap()
}

pub const EMPTY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

#[tokio::test]
async fn a_call_goes_to_its_agent_and_comes_back_to_a_person_with_its_context() {
    let line = Line::with(json!({"routing": {"greeting": "One <moment> & \"hold\""}})).await;
    let id = &line.centre.id;
    let answer = line.asks("voice", "", "&CallStatus=ringing").await;
    assert_eq!(answer.header("content-type"), "text/xml; charset=utf-8");
    let visit = Visit::of(answer.ok_text(200));
    let (before, after) = visit.twiml.split_once(&visit.token).unwrap();
    assert_eq!(visit.token.len(), 104);
    assert_eq!(
        before,
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Say language=\"en-GB\">One &lt;moment&gt; &amp; \"hold\"</Say><Connect action=\"{PUBLIC}/twilio/handoff/{id}?after=0&amp;leg=1\" method=\"POST\"><Stream url=\"wss://agent.example/media\" statusCallback=\"{PUBLIC}/twilio/stream/{id}?after=0&amp;leg=1\" statusCallbackMethod=\"POST\"><Parameter name=\"handoff_url\" value=\"{PUBLIC}/v1/handoff_state?id={CALL}\"/><Parameter name=\"call_token\" value=\""
        )
    );
    assert_eq!(
        after,
        format!(
            "\"/><Parameter name=\"connector_id\" value=\"{id}\"/><Parameter name=\"account_id\" value=\"acme\"/><Parameter name=\"project_id\" value=\"line\"/><Parameter name=\"client_env\" value=\"live\"/><Parameter name=\"asr_lang_code\" value=\"en-GB\"/><Parameter name=\"tts_lang_code\" value=\"en-GB\"/><Parameter name=\"leg\" value=\"1\"/></Stream></Connect></Response>"
        )
    );
    let data = r#"{"reason":"late bill","destination":"billing","verified":true,"name":"Ada","summary":"She paid.","n":1.10}"#;
    line.agent_writes(&visit, data).await.ok(201);
    let back = line.asks_at(&visit.action, "").await;
    let enqueue = back.ok_text(200);
    assert!(enqueue.contains(&format!("<Enqueue workflowSid=\"{BILLING}\" action=\"{PUBLIC}/twilio/queue/{id}?after=0&amp;leg=1\" method=\"POST\"><Task priority=\"5\" timeout=\"200\">")), "{enqueue}");
    let task = task(&back);
    let told = |name: &str| task[name].clone();
    assert_eq!((told("handoff_status"), told("handoff_leg")), (json!("ready"), json!(1)));
    assert_eq!(
        (told("handoff_destination"), told("handoff_verified")),
        (json!("billing"), json!(true))
    );
    assert_eq!((told("name"), told("handoff_id")), (json!("Ada"), json!(CALL)));
    assert_eq!(told("baton"), json!({"url": PUBLIC, "connector_id": id}));
    assert_eq!(told("handoff"), json!({}));
    let read =
        line.centre.server.admin().get(&format!("/v1/acme/line/handoff_state?id={CALL}")).await;
    assert!(read.ok_text(200).contains(data));
}

#[tokio::test]
async fn what_is_sent_again_gets_its_first_answer_for_a_minute_and_has_one_effect() {
    let line = Line::open().await;
    let first = line.asks("voice", "", "").await.ok_text(200).to_owned();
    assert_eq!(line.asks("voice", "", "").await.ok_text(200), first);
    // Another of the same call is another visit; by another method or target too.
    let other = line.asks("voice", "", "&Digits=1").await.ok_text(200).to_owned();
    assert!(other.contains("leg=2"), "{other}");
    let (one, two) =
        tokio::join!(line.asks("voice", "", "&Digits=2"), line.asks("voice", "", "&Digits=2"));
    assert_eq!(one.ok_text(200), two.ok_text(200));
    assert!(one.text().contains("leg=3"));
    line.centre.server.clock.advance(Duration::from_secs(59));
    assert_eq!(line.asks("voice", "", "&Digits=2").await.ok_text(200), one.text());
    line.centre.server.clock.advance(Duration::from_secs(1));
    assert!(line.asks("voice", "", "").await.ok_text(200).contains("leg=4"));
    // On the way back too, whatever was written or set meanwhile.
    let visit = line.visit("").await;
    line.agent_writes(&visit, r#"{"destination":"billing"}"#).await.ok(201);
    let back = line.asks_at(&visit.action, "").await.ok_text(200).to_owned();
    line.agent_writes(&visit, r#"{"contained":true}"#).await.ok(200);
    line.set(&json!({"destinations": null})).await;
    assert_eq!(line.asks_at(&visit.action, "").await.ok_text(200), back);
    line.centre.server.clock.advance(Duration::from_secs(60));
    assert!(line.asks_at(&visit.action, "").await.ok_text(200).contains("<Hangup/>"));
    // What was erased is not told again.
    let erase = format!("/v1/acme/line/handoff_state?id={CALL}");
    line.set(&json!({"routing": {"on_missing": "hangup"}})).await;
    line.agent_writes(&visit, r#"{"name":"Ada"}"#).await.ok(200);
    let told = line.asks_at(&visit.action, "&Digits=7").await;
    assert!(told.ok_text(200).contains("Ada"));
    line.centre.server.admin().delete(&erase).await.ok_text(204);
    let again = line.asks_at(&visit.action, "&Digits=7").await;
    assert!(again.ok_text(200).contains("<Hangup/>"), "{}", again.text());
}

#[tokio::test]
async fn a_second_visit_never_reads_the_first_ones_handoff() {
    let line = Line::open().await;
    let first = line.visit("").await;
    let written = line.agent_writes(&first, r#"{"reason":"first"}"#).await.ok(201);
    assert!(task(&line.asks_at(&first.action, "").await)["handoff_reason"] == "first");
    // The same request within the minute: its leg came back, so it is no repetition.
    let second = line.visit("").await;
    let revision = &written["revision"];
    assert!(second.action.ends_with(&format!("?after={revision}&leg=2")), "{}", second.action);
    let missing = task(&line.asks_at(&second.action, "").await);
    assert_eq!(
        (&missing["handoff_status"], &missing["handoff_found"]),
        (&json!("missing"), &json!(false))
    );
    assert_eq!((&missing["handoff_reason"], &missing["handoff_leg"]), (&json!(""), &json!(2)));
    // A flow's own read neither.
    let nobody = line.centre.server.nobody();
    let flow = line.centre.studio(&format!("id={CALL}&leg=2&after={revision}"));
    let read = get(&nobody, TOKEN, &flow).await.ok(200);
    assert_eq!(
        (&read["found"], &read["status"], &read["leg"]),
        (&json!(false), &json!("missing"), &json!("2"))
    );
    let waiting = flow.replace("wait=0", "wait=8");
    let (read, ()) = tokio::join!(get(&nobody, TOKEN, &waiting), async {
        line.centre.server.until_one_waits().await;
        line.agent_writes(&second, r#"{"reason":"second"}"#).await.ok(200);
    });
    assert_eq!(read.ok(200)["reason"], "second");
    get(&nobody, TOKEN, &format!("{flow}x")).await.refused(400, "INVALID_PARAMETER");
    // Nor does it miss its own, where the agent writes what it wrote before, by whatever credential.
    let same = r#"{"reason":"second"}"#;
    let third = line.visit("?x").await;
    let agent = line.agent_writes(&third, same).await.ok(200);
    assert_eq!(agent["changed"], true);
    assert_eq!(line.agent_writes(&third, same).await.ok(200)["changed"], false);
    assert!(task(&line.asks_at(&third.action, "").await)["handoff_reason"] == "second");
    let fourth = line.visit("?y").await;
    let path = format!("/v1/acme/line/handoff_state?id={CALL}");
    let admin = line.centre.server.admin();
    admin.put(&path, format!(r#"{{"data":{same}}}"#)).await.ok(200);
    assert!(task(&line.asks_at(&fourth.action, "").await)["handoff_reason"] == "second");
    let fifth = line.visit("?z").await;
    admin.patch(&path, r#"{"data":{}}"#).await.ok(200);
    assert!(task(&line.asks_at(&fifth.action, "").await)["handoff_reason"] == "second");
}

#[tokio::test]
async fn a_call_waits_for_a_handoff_that_comes_late_and_no_longer_than_three_seconds() {
    let line = Line::open().await;
    let visit = line.visit("").await;
    let (back, ()) = tokio::join!(line.asks_at(&visit.action, ""), async {
        line.centre.server.until_one_waits().await;
        line.agent_writes(&visit, r#"{"destination":"billing"}"#).await.ok(201);
    });
    assert!(back.ok_text(200).contains(BILLING));
    let visit = line.visit("").await;
    let started = std::time::Instant::now();
    let missing = line.asks_at(&visit.action, "").await;
    assert!((2900..3900).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert!(missing.ok_text(200).contains(WORKFLOW));
    line.set(&json!({"routing": {"on_missing": "hangup"}})).await;
    let visit = line.visit("?x=1").await;
    assert!(
        line.asks_at(&visit.action, "")
            .await
            .ok_text(200)
            .contains("<Response><Hangup/></Response>")
    );
    // But a failed agent's call always reaches a person.
    for (more, query) in [("&SessionStatus=failed", "?x=2"), ("&DialCallStatus=no-answer", "?x=3")]
    {
        let visit = line.visit(query).await;
        assert!(line.asks_at(&visit.action, more).await.ok_text(200).contains(WORKFLOW), "{more}");
    }
    let visit = line.visit("?x=4").await;
    let stream = attribute(&visit.twiml, "statusCallback");
    let closed = "&StreamEvent=stream-error&StreamError=31921+Stream+-+WebSocket+-+Close+Error";
    assert_eq!(line.asks_at(&stream, closed).await.status, 204);
    assert!(line.asks_at(&visit.action, "").await.ok_text(200).contains("<Hangup/>"));
    let visit = line.visit("?x=5").await;
    let stream = attribute(&visit.twiml, "statusCallback");
    let failed = "&StreamEvent=stream-error&StreamError=31920+Stream+-+WebSocket+-+Handshake+Error";
    let (back, told) = tokio::join!(line.asks_at(&visit.action, ""), async {
        line.centre.server.until_one_waits().await;
        line.asks_at(&stream, failed).await
    });
    assert_eq!((told.status, told.text()), (204, ""));
    assert!(back.ok_text(200).contains(WORKFLOW), "{}", back.text());
}

#[tokio::test]
async fn a_caller_who_hung_up_is_neither_waited_for_nor_queued() {
    let line = Line::open().await;
    let visit = line.visit("").await;
    let started = std::time::Instant::now();
    for status in ["completed", "failed"] {
        let more = format!("&CallStatus={status}");
        assert_eq!(line.asks_at(&visit.action, &more).await.ok_text(200), EMPTY);
    }
    assert!(started.elapsed() < Duration::from_secs(2));
    // The call has ended with that.
    let agent = bearer(&line.centre.server, &visit.token);
    agent.write(CALL, "{}").await.ok(201);
    line.centre.server.clock.advance(Duration::from_secs(15 * 60 - 1));
    agent.read(CALL).await.ok(200);
    line.centre.server.clock.advance(Duration::from_secs(1));
    agent.read(CALL).await.refused(401, "TOKEN_EXPIRED");
}

#[tokio::test]
async fn nobody_but_the_linked_account_moves_a_call_and_a_removed_link_only_those_of_before() {
    let line = Line::open().await;
    let nobody = line.centre.server.nobody();
    let form = format!("AccountSid={ACCOUNT}&CallSid={CALL}&CallStatus=in-progress");
    let routes = ["voice", "stream", "handoff", "refer", "queue", "status"];
    for route in routes {
        let target = format!("/twilio/{route}/{}", line.centre.id);
        let unsigned = nobody
            .send(
                reqwest::Method::POST,
                &target,
                &[("content-type", crate::twilio::FORM)],
                Some(form.clone().into_bytes()),
            )
            .await;
        let wrong = post(&nobody, "wrong", &target, &form).await;
        let other = post(&nobody, TOKEN, &target, &form.replace(ACCOUNT, OTHER)).await;
        let none = post(&nobody, TOKEN, &target, &format!("CallSid={CALL}")).await;
        let twice = post(&nobody, TOKEN, &target, &format!("{form}&CallSid={CALL}")).await;
        let key = line
            .centre
            .server
            .admin()
            .send(
                reqwest::Method::POST,
                &target,
                &[("content-type", crate::twilio::FORM)],
                Some(form.clone().into_bytes()),
            )
            .await;
        for refused in [unsigned, wrong, other, none, twice, key] {
            assert_eq!((refused.status, refused.text()), (403, ""), "{route}");
        }
        let elsewhere = format!("/twilio/{route}/conn_00000000000000000000");
        assert_eq!(post(&nobody, TOKEN, &elsewhere, &form).await.status, 403);
    }
    let visit = line.visit("").await;
    line.agent_writes(&visit, r#"{"destination":"billing"}"#).await.ok(201);
    line.centre.twilio.account(OTHER, &["others"]);
    line.centre.server.clock.advance(Duration::from_secs(1));
    line.centre.relink(json!({ "account_sid": OTHER, "auth_token": "others" })).await.ok(200);
    // The call of before comes back; one that begins now is not its any more.
    assert!(line.asks_at(&visit.action, "").await.ok_text(200).contains(BILLING));
    let new = form.replace(CALL, "CAffffffffffffffffffffffffffffffff");
    for route in ["voice", "handoff", "queue", "status"] {
        let target = format!("/twilio/{route}/{}", line.centre.id);
        let refused = post(&nobody, TOKEN, &target, &new).await;
        assert_eq!((refused.status, refused.text()), (403, ""), "{route}");
    }
}

#[tokio::test]
async fn a_previous_token_of_the_account_and_a_get_are_as_good() {
    let line = Line::open().await;
    let mut wanted = by_token();
    wanted["secondary_auth_token"] = json!(SECOND);
    line.centre.relink(wanted).await.ok(200);
    let nobody = line.centre.server.nobody();
    let target =
        format!("/twilio/voice/{}?AccountSid={ACCOUNT}&CallSid={CALL}&From=x", line.centre.id);
    for token in [TOKEN, SECOND] {
        assert!(get(&nobody, token, &target).await.ok_text(200).contains("<Stream "));
    }
    let target = format!(
        "/twilio/status/{}?AccountSid={ACCOUNT}&CallSid={CALL}&CallStatus=busy",
        line.centre.id
    );
    assert_eq!(get(&nobody, TOKEN, &target).await.status, 204);
}
