//! A call on its way: to the agent, back from it, and to its end.

use std::time::Duration;

use baton::domain::handoff::rendered_characters;
use quick_xml::events::Event;
use serde_json::Value;
use serde_json::json;

use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::harness::Answer;
use crate::harness::SID;
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
        let mut form = format!(
            "AccountSid={ACCOUNT}&CallSid={CALL}&From=%2B15551234567&To=%2B15557654321&Direction=inbound"
        );
        if !more.contains("CallStatus=") {
            form.push_str("&CallStatus=in-progress");
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
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Say language=\"en-GB\">One &lt;moment&gt; &amp; \"hold\"</Say><Connect action=\"{PUBLIC}/twilio/handoff/{id}?leg=1&amp;after=0\" method=\"POST\"><Stream url=\"wss://agent.example/media\" statusCallback=\"{PUBLIC}/twilio/stream/{id}?leg=1&amp;after=0\" statusCallbackMethod=\"POST\"><Parameter name=\"handoff_url\" value=\"{PUBLIC}/v1/handoff_state?id={CALL}\"/><Parameter name=\"call_token\" value=\""
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
    assert!(enqueue.contains(&format!("<Enqueue workflowSid=\"{BILLING}\" action=\"{PUBLIC}/twilio/queue/{id}?leg=1&amp;after=0\" method=\"POST\"><Task priority=\"5\" timeout=\"200\">")), "{enqueue}");
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
    assert!(second.action.ends_with(&format!("?leg=2&after={revision}")), "{}", second.action);
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
async fn where_a_call_goes_is_by_status_and_by_a_key_of_the_connectors_table_alone() {
    let line = Line::open().await;
    let id = line.centre.id.clone();
    let queue = format!("action=\"{PUBLIC}/twilio/queue/{id}?leg=");
    for (n, (data, more, wanted)) in [
        (
            r#"{"contained":"true","destination":"desk"}"#,
            "",
            vec!["<Response><Hangup/></Response>"],
        ),
        (r#"{"destination":"desk"}"#, "", vec!["<Dial ", &queue, ">+441632960000</Dial>"]),
        (
            r#"{"handoff_to":"branch"}"#,
            "",
            vec!["<Dial ", "<Sip>sip:branch@pbx.example?X-Call-Sid=CA"],
        ),
        (
            r#"{"destination":"branch"}"#,
            "&SipDomain=x.sip.twilio.com",
            vec!["<Refer ", &queue, "<Sip>sip:branch@"],
        ),
        (r#"{"destination":"+15550001111"}"#, "", vec![WORKFLOW]),
        (r#"{"destination":"sip:x@y"}"#, "", vec![WORKFLOW]),
        (r#"{"priority":7}"#, "", vec![WORKFLOW, "<Task priority=\"7\">"]),
    ]
    .into_iter()
    .enumerate()
    {
        let visit = line.visit(&format!("?n={n}")).await;
        assert!(line.agent_writes(&visit, data).await.status < 202);
        let back = line.asks_at(&visit.action, more).await;
        for part in wanted {
            assert!(back.ok_text(200).contains(part), "{data}: {}", back.text());
        }
        assert!(!back.text().split("<Task").next().unwrap().contains("+1555000"));
    }
    line.set(&json!({"flex": {"wait_url": "https://example.com/music?a=1&b=2"}})).await;
    let visit = line.visit("?n=x").await;
    line.agent_writes(&visit, r#"{"status":"x"}"#).await.ok(200);
    let back = line.asks_at(&visit.action, "").await;
    assert_eq!(attribute(back.ok_text(200), "waitUrl"), "https://example.com/music?a=1&b=2");
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
async fn a_flow_gets_its_call_back_at_once_with_what_its_log_should_show() {
    let line = Line::open().await;
    let visit = line.visit(&format!("?flow={FLOW}")).await;
    assert!(visit.action.ends_with(&format!("?leg=1&after=0&flow={FLOW}")), "{}", visit.action);
    let back = line.asks_at(&visit.action, "").await;
    let flow =
        format!("https://webhooks.twilio.com/v1/Accounts/{ACCOUNT}/Flows/{FLOW}?FlowEvent=return");
    let url = text(back.ok_text(200), "Redirect");
    assert_eq!(url, format!("{flow}&leg=1&after=0&action=pending&destination=&reason="));
    assert!(back.text().contains("<Redirect method=\"POST\">"));
    let failed = line.asks_at(&visit.action, "&SessionStatus=failed").await;
    assert!(text(failed.ok_text(200), "Redirect").contains("action=fallback"));
    line.agent_writes(&visit, r#"{"destination":"desk","reason":"late & \"bill\""}"#).await.ok(201);
    let url = text(line.asks_at(&visit.action, "&Digits=1").await.ok_text(200), "Redirect");
    assert_eq!(
        url,
        format!("{flow}&leg=1&after=0&action=dial&destination=desk&reason=late%20%26%20%22bill%22")
    );
    let nobody = line.centre.server.nobody();
    let read = get(&nobody, TOKEN, &line.centre.studio(&format!("id={CALL}"))).await.ok(200);
    assert_eq!((&read["action"], &read["destination"]), (&json!("dial"), &json!("desk")));
    // No flow's SID: the call comes back by Baton.
    for none in ["{{flow.flow_sid}}", "FW1", "x%22y"] {
        let target = none.replace('{', "%7B").replace('}', "%7D");
        let visit = line.visit(&format!("?flow={target}")).await;
        assert!(!visit.action.contains("flow="), "{}", visit.action);
    }
    // Studio needs to hear of the call's end; then Twilio is sent on to it.
    let told = line.asks("status", &format!("?flow={FLOW}"), "&CallStatus=completed").await;
    assert_eq!((told.status, told.text()), (302, ""));
    assert_eq!(
        told.header("location"),
        format!("https://webhooks.twilio.com/v1/Accounts/{ACCOUNT}/Flows/{FLOW}")
    );
}

#[tokio::test]
async fn a_sip_agent_is_called_with_its_headers_and_refers_back() {
    let line = Line::open().await;
    let sip = json!({"uri": "sip:agent@sip.example.com", "headers": {"X-PolyAi-Auth-Token": "se/cret&1", "x-call-sid": "fixed"}});
    line.set(&json!({"routing": {"mode": "sip", "sip": sip}})).await;
    let answer = line.asks("voice", "", "").await;
    let id = &line.centre.id;
    let uri = text(answer.ok_text(200), "Sip");
    let start = "sip:agent@sip.example.com;secure=true?X-PolyAi-Auth-Token=se%2Fcret%261&x-call-sid=fixed&X-Call-Token=bct_";
    assert!(uri.starts_with(start) && uri.len() <= 1024, "{uri}");
    assert!(
        uri.contains(
            "&X-Handoff-Url=https%3A%2F%2Fvoice.example.com%2Fv1%2Fhandoff_state%3Fid%3DCAa"
        ) && uri.contains(&format!("&X-Connector-Id={}", id)),
        "{uri}"
    );
    assert_eq!(attribute(answer.text(), "answerOnBridge"), "true");
    let refer = attribute(answer.text(), "referUrl");
    assert_eq!(refer, format!("{PUBLIC}/twilio/refer/{id}?leg=1&after=0"));
    let target = "&ReferTransferTarget=%3Csip:billing@pbx.example?X-Reason=late%2520bill%26X-Customer-ID=7%3E";
    let back = line.asks_at(&refer, target).await;
    assert!(back.ok_text(200).contains(BILLING));
    assert_eq!(task(&back)["handoff_reason"], "late bill");
    assert_eq!(line.asks_at(&refer, target).await.ok_text(200), back.text());
    let read = line.centre.agent().read(CALL).await.ok(200);
    assert_eq!(
        read["data"],
        json!({"destination": "billing", "reason": "late bill", "customer_id": "7", "refer_to": "sip:billing@pbx.example"})
    );
    // What the agent wrote itself stays.
    let again = "&ReferTransferTarget=sip:desk@pbx.example";
    assert!(line.asks_at(&refer, again).await.ok_text(200).contains(BILLING));
    assert_eq!(line.centre.agent().read(CALL).await.ok(200)["data"]["destination"], "billing");
}

#[tokio::test]
async fn what_an_agent_gives_with_the_call_is_its_handoff_where_it_wrote_none() {
    let line = Line::open().await;
    let visit = line.visit("").await;
    let given =
        "&SessionStatus=ended&HandoffData=%7B%22destination%22:%22billing%22,%22n%22:1.10%7D";
    assert!(line.asks_at(&visit.action, given).await.ok_text(200).contains(BILLING));
    let read = line.centre.agent().read(CALL).await;
    assert!(read.ok_text(200).contains(r#""data":{"destination":"billing","n":1.10}"#));
    // Of the next visit it takes the place of the one before, and never of what the agent wrote.
    let visit = line.visit("").await;
    let plain = line.asks_at(&visit.action, "&HandoffData=She+wants+a+person").await;
    assert_eq!(task(&plain)["handoff_summary"], "She wants a person");
    let visit = line.visit("").await;
    line.agent_writes(&visit, r#"{"reason":"written"}"#).await.ok(200);
    let written = line.asks_at(&visit.action, "&HandoffData=given").await;
    assert_eq!(
        (&task(&written)["handoff_reason"], &task(&written)["handoff_summary"]),
        (&json!("written"), &json!(""))
    );
    // Also of one who hung up.
    let visit = line.visit("").await;
    line.asks_at(&visit.action, "&CallStatus=completed&HandoffData=gone").await.ok_text(200);
    assert_eq!(line.centre.agent().read(CALL).await.ok(200)["data"], json!({"summary": "gone"}));
}

#[tokio::test]
async fn a_call_that_nobody_takes_gets_the_fallback_or_the_numbers_own() {
    let line = Line::open().await;
    let id = line.centre.id.clone();
    for ended in ["&QueueResult=bridged", "&QueueResult=hangup", "&DialCallStatus=completed"] {
        assert_eq!(line.asks("queue", "?leg=1", ended).await.ok_text(200), EMPTY);
    }
    let full = "&QueueResult=queue-full";
    let bare = line.asks("queue", "?leg=1", full).await;
    assert_eq!((bare.status, bare.text()), (502, ""));
    line.set(&json!({"fallback": {"say": "Sorry <all>", "number": "+441632960001"}})).await;
    let wanted = "<Response><Say language=\"en-GB\">Sorry &lt;all&gt;</Say><Dial>+441632960001</Dial></Response>";
    for failed in
        [full, "&QueueResult=system-error", "&DialCallStatus=busy", "&ReferCallStatus=failed"]
    {
        assert!(
            line.asks("queue", "?leg=1", failed).await.ok_text(200).contains(wanted),
            "{failed}"
        );
    }
    let gone = "&QueueResult=system-error&CallStatus=completed";
    assert_eq!(line.asks("queue", "?leg=1", gone).await.ok_text(200), EMPTY);
    // No agent, no call, no workflow.
    line.set(&json!({"routing": {"agent_url": null}, "flex": {"workflow_sid": null}})).await;
    assert!(line.asks("voice", "", "").await.ok_text(200).contains(wanted));
    assert!(
        line.asks("handoff", "?leg=1&after=0", "&SessionStatus=failed")
            .await
            .ok_text(200)
            .contains(wanted)
    );
    let nobody = line.centre.server.nobody();
    let target = format!("/twilio/voice/{id}");
    let without = post(&nobody, TOKEN, &target, &format!("AccountSid={ACCOUNT}")).await;
    assert!(without.ok_text(200).contains(wanted));
    line.set(&json!({"fallback": {"say": "Bye", "number": null}})).await;
    assert!(line.asks("voice", "", "").await.ok_text(200).contains("Bye</Say></Response>"));
}

#[tokio::test]
async fn the_references_own_form_is_answered_byte_for_byte() {
    let line = Line::with(json!({"routing": {"mode": "compat"}})).await;
    let reference = include_str!("../vectors/reference-twiml.xml").trim_end();
    let wanted = reference.replace("[Your Connector ID]", &line.centre.id);
    assert_eq!(line.asks("voice", "", "").await.ok_text(200), wanted);
}

#[tokio::test]
async fn a_calls_end_holds_its_handoff_and_joins_its_legs() {
    let line = Line::with(json!({"routing": {"task_hold_seconds": 200_000}})).await;
    let visit = line.visit("").await;
    let agent = bearer(&line.centre.server, &visit.token);
    let short = |data: &str| format!(r#"{{"data":{data},"ttl_seconds":60}}"#);
    let path = format!("/v1/handoff_state?id={CALL}");
    let first = agent.put(&path, short(r#"{"n":1}"#)).await.ok(201);
    for status in ["ringing", "in-progress"] {
        assert_eq!(line.asks("status", "", &format!("&CallStatus={status}")).await.status, 204);
    }
    let over = "&CallStatus=completed";
    assert_eq!(line.asks("status", "", over).await.status, 204);
    let clock = &line.centre.server.clock;
    clock.advance(Duration::from_secs(61));
    // Held, by the same revision; and a write renews that.
    let held = agent.read(CALL).await;
    assert_eq!(held.ok(200)["data"], json!({"n": 1}));
    assert_eq!(held.header("x-handoff-revision"), first["revision"].to_string());
    let ends = held.header("x-handoff-expires-at").to_owned();
    assert_eq!(line.asks("status", "", over).await.status, 204);
    assert_eq!(agent.read(CALL).await.header("x-handoff-expires-at"), ends);
    agent.put(&path, short(r#"{"n":2}"#)).await.ok(200);
    clock.advance(Duration::from_secs(199_999));
    line.centre.agent().read(CALL).await.ok(200);
    clock.advance(Duration::from_secs(1));
    line.centre.agent().read(CALL).await.refused(404, "HANDOFF_EXPIRED");
    // Written only once the call was over.
    let late = "CAcccccccccccccccccccccccccccccccc";
    let nobody = line.centre.server.nobody();
    let target = format!("/twilio/status/{}", line.centre.id);
    let form =
        format!("AccountSid={ACCOUNT}&CallSid={late}&ParentCallSid={SID}&CallStatus=completed");
    assert_eq!(post(&nobody, TOKEN, &target, &form).await.status, 204);
    let agent = line.centre.agent();
    agent.put(&format!("/v1/handoff_state?id={late}"), short("{}")).await.ok(201);
    clock.advance(Duration::from_secs(61));
    agent.read(late).await.ok(200);
    // Of a call that another began, both find the handoff.
    for (child, parent, written) in [
        ("CA00000000000000000000000000000001", "CA00000000000000000000000000000002", 2),
        ("CA00000000000000000000000000000003", "CA00000000000000000000000000000004", 3),
    ] {
        let voice = format!("/twilio/voice/{}", line.centre.id);
        let form = format!("AccountSid={ACCOUNT}&CallSid={parent}");
        post(&nobody, TOKEN, &voice, &form).await.ok_text(200);
        agent.write(&format!("CA{written:032}"), r#"{"joined":true}"#).await.ok(201);
        let form = format!(
            "AccountSid={ACCOUNT}&CallSid={child}&ParentCallSid={parent}&CallStatus=completed"
        );
        for _ in 0..2 {
            assert_eq!(post(&nobody, TOKEN, &target, &form).await.status, 204);
        }
        assert_eq!(
            agent.read(child).await.ok(200)["data"],
            agent.read(parent).await.ok(200)["data"]
        );
    }
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
async fn a_task_never_outgrows_what_flex_takes_and_says_what_is_left_out() {
    let line = Line::with(json!({"flex": {
        "expose": ["account", "tried", "long"],
        "insights": {"conversation_attribute_1": "intent", "conversation_attribute_10": "n"},
    }}))
    .await;
    let nasty = "\"]]>\u{7}é😀<b>&'".repeat(300);
    let all = json!({
        "reason": nasty, "destination": nasty, "summary": nasty, "name": nasty, "content": nasty,
        "ivr_path": nasty, "language": nasty, "phone": nasty, "intent": nasty, "n": 7,
        "account": "A-1", "tried": ["reset", {"at": 1}], "long": nasty, "call_sid": "CAx",
        "secret": "not exposed", "big": 1,
    });
    let visit = line.visit("").await;
    line.agent_writes(&visit, &all.to_string()).await.ok(201);
    let back = line.asks_at(&visit.action, "").await;
    let json = text(back.ok_text(200), "Task");
    assert!(rendered_characters(&json) <= 2600, "{}", rendered_characters(&json));
    let told = task(&back);
    assert_eq!(told["handoff"], json!({"account": "A-1", "tried": ["reset", {"at": 1}]}));
    assert!(told["handoff_omitted"].as_str().unwrap().contains("data.long"), "{told}");
    assert!(told.get("call_sid").is_none() && !json.contains("not exposed"));
    let small = json!({"intent": "refund", "n": 7, "account": {"id": 12_345_678_901_234_567_890_u64}, "summary": "s".repeat(900)});
    let visit = line.visit("?x").await;
    line.agent_writes(&visit, &small.to_string()).await.ok(200);
    let told = task(&line.asks_at(&visit.action, "").await);
    let insights = &told["conversations"];
    assert_eq!(
        (&insights["conversation_attribute_1"], &insights["conversation_attribute_10"]),
        (&json!("refund"), &json!("7"))
    );
    assert_eq!(told["handoff"]["account"]["id"], "12345678901234567890");
    assert_eq!(told["handoff_summary"].as_str().unwrap().chars().count(), 800);
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
