//! What TaskRouter tells of tasks, by Event Callback and by Event Streams: who may tell it, what of it is
//! kept, and that neither order nor repetition changes it.

use std::collections::BTreeSet;

use baton::domain::clock::Timestamp;
use baton::twilio::signature::body_hash;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::connectors::PATH;
use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::flex_door::Desk;
use crate::harness::Answer;
use crate::harness::Client;
use crate::harness::SID;
use crate::links::SECOND;
use crate::links::TOKEN;
use crate::links::by_token;
use crate::pretend_flex::WORKER;
use crate::twilio::ACCOUNT;
use crate::twilio::FORM;
use crate::twilio::OTHER;
use crate::twilio::PUBLIC;
use crate::twilio::sign;

pub const WORKSPACE: &str = "WS0123456789abcdef0123456789abcdef";
/// A second after these tests' servers begin, in milliseconds.
pub const START: u64 = 1_795_366_963_433;
/// Of a server that is asked very much.
pub const UNLIMITED: [&str; 6] =
    ["--store", "memory", "--rate-requests", "0", "--rate-misses", "0"];
pub const CALL: &str = "CAcccccccccccccccccccccccccccccccc";
pub const TASK: &str = "WT0123456789abcdef0123456789abcdef";
const NOBODYS: &str = "conn_00000000000000000000";
pub const WAYS: [Way; 2] = [Way::Form, Way::Stream];

#[derive(Clone, Copy, Debug)]
pub enum Way {
    Form,
    Stream,
}

/// Something that became of a task, at a moment in milliseconds.
#[derive(Clone, Debug)]
pub struct Told {
    pub kind: &'static str,
    pub account: String,
    pub task: String,
    pub worker: String,
    pub at: u64,
    pub attributes: String,
}

impl Told {
    pub fn of(kind: &'static str, task: &str, attributes: impl Into<String>) -> Self {
        Self {
            kind,
            account: ACCOUNT.to_owned(),
            task: task.to_owned(),
            worker: WORKER.to_owned(),
            at: START,
            attributes: attributes.into(),
        }
    }

    /// Somebody took the call.
    pub fn accepted(call: &str) -> Self {
        Self::of("reservation.accepted", TASK, of_call(call))
    }

    pub fn at(self, at: u64) -> Self {
        Self { at, ..self }
    }

    pub fn body(&self, way: Way) -> String {
        match way {
            Way::Form => self.form(),
            Way::Stream => json!([self.event()]).to_string(),
        }
    }

    /// Their names in forms and in streams, and what they are.
    fn members(&self) -> Vec<(&'static str, &'static str, String)> {
        let text = str::to_owned;
        let mut members = vec![
            ("EventType", "eventtype", text(self.kind)),
            ("AccountSid", "account_sid", self.account.clone()),
            ("WorkspaceSid", "workspace_sid", text(WORKSPACE)),
            ("TaskSid", "task_sid", self.task.clone()),
            ("TaskAttributes", "task_attributes", self.attributes.clone()),
        ];
        if self.kind.starts_with("reservation.") {
            members.push(("ReservationSid", "reservation_sid", format!("WR{}", &self.task[2..])));
            members.push(("WorkerSid", "worker_sid", self.worker.clone()));
            members.push(("WorkerName", "worker_name", text("ada")));
        }
        members
    }

    fn form(&self) -> String {
        let numbers = [("Timestamp", self.at / 1000), ("TimestampMs", self.at), ("TaskAge", 3)];
        let numbers = numbers.map(|(name, number)| (name, number.to_string()));
        let texts = self.members().into_iter().map(|(name, _, value)| (name, value));
        let encoded = |(name, value): (&str, String)| {
            format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC))
        };
        texts.chain(numbers).map(encoded).collect::<Vec<_>>().join("&")
    }

    fn event(&self) -> Value {
        let moment = Timestamp::from_micros(self.at * 1000);
        let mut payload = json!({ "timestamp": moment, "task_age": 3, "worker_sid": null });
        for (_, name, value) in self.members() {
            payload[name] = json!(value);
        }
        json!({
            "specversion": "1.0", "type": format!("com.twilio.taskrouter.{}", self.kind),
            "source": WORKSPACE, "id": self.task, "datacontenttype": "application/json",
            "data": { "publisher_metadata": "{}", "payload": payload },
        })
    }
}

/// The attributes of a call's task.
pub fn of_call(call: &str) -> String {
    json!({ "type": "inbound", "call_sid": call, "handoff_id": call }).to_string()
}

/// Where a body goes and with which headers, signed as Twilio signs it.
fn signed(token: &str, to: &str, way: Way, body: &str) -> (String, [(&'static str, String); 2]) {
    let path = format!("/twilio/taskrouter/{to}");
    let hashed = || format!("{path}?bodySHA256={}", body_hash(body.as_bytes()));
    let (target, form, kind) = match way {
        Way::Form => (path.clone(), body, FORM),
        Way::Stream => (hashed(), "", "application/json"),
    };
    let signature = sign(token, &format!("{PUBLIC}{target}"), form);
    (target, [("x-twilio-signature", signature), ("content-type", kind.to_owned())])
}

/// Tells something through a connector, signed with a token.
pub async fn tell(client: &Client, token: &str, connector: &str, way: Way, body: &str) -> Answer {
    let (target, headers) = signed(token, connector, way, body);
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    client.send(Method::POST, &target, &headers, Some(body.as_bytes().to_vec())).await
}

/// The same where there is very much to tell; the status.
pub async fn tell_bare(client: &Client, connector: &str, way: Way, body: String) -> u16 {
    let (target, headers) = signed(TOKEN, connector, way, &body);
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    client.bare_with(Method::POST, &target, &headers, Some(body)).await.0
}

/// Tells something through the desk's connector, which listens.
pub async fn noted(desk: &Desk, way: Way, told: &Told) {
    let answer = tell(&desk.server.nobody(), TOKEN, &desk.id, way, &told.body(way)).await;
    assert_eq!((answer.status, answer.text()), (204, ""), "{told:?}");
}

pub async fn set(desk: &Desk, settings: &Value) {
    let path = format!("{PATH}/{}", desk.id);
    desk.server.admin().patch(&path, settings.to_string()).await.ok(200);
}

pub async fn timeline(client: &Client, id: &str) -> Answer {
    client.get(&format!("/v1/handoff_state/timeline?id={id}")).await
}

pub fn routed(timeline: &Value) -> Vec<&Value> {
    let events = timeline["events"].as_array().unwrap().iter();
    events.filter(|event| event["event"] == "taskrouter").collect()
}

/// The `n`th order of what there is.
fn order<T>(mut left: Vec<T>, mut n: usize) -> Vec<T> {
    let mut order = Vec::new();
    while !left.is_empty() {
        let count = left.len();
        order.push(left.remove(n % count));
        n /= count;
    }
    order
}

#[tokio::test]
async fn what_became_of_a_task_stands_in_the_timeline_of_its_call_by_any_of_its_ids() {
    let desk = Desk::open().await;
    let agent = desk.agent();
    agent.write("conv-1", "{}").await.ok(201);
    agent.post("/v1/handoff_state/aliases?id=conv-1", &json!({"aliases": [CALL]})).await.ok(200);
    let ties = [
        json!({ "handoff_id": "conv-1" }),
        json!({ "call_sid": CALL }),
        json!({ "conference": { "participants": { "customer": CALL, "worker": "x" } } }),
        json!({ "handoff_id": "none", "call_sid": CALL }),
    ];
    for (n, tie) in (0..).zip(&ties) {
        let (task, at) = (format!("WT{n:032x}"), START + 10 * n);
        let accepted = Told::of("reservation.accepted", &task, tie.to_string()).at(at);
        noted(&desk, Way::Form, &accepted).await;
        let completed = Told::of("task.completed", &task, tie.to_string()).at(at + 1000);
        // What it tells of another account is passed over.
        let foreign = Told { account: OTHER.to_owned(), task: TASK.to_owned(), ..accepted };
        let body = json!([foreign.event(), completed.event(), foreign.event()]).to_string();
        let answer = tell(&desk.server.nobody(), TOKEN, &desk.id, Way::Stream, &body).await;
        assert_eq!(answer.status, 204);
    }
    let by_own = timeline(&agent, "conv-1").await.ok(200);
    assert_eq!(timeline(&agent, CALL).await.ok(200), by_own);
    let events = routed(&by_own);
    assert_eq!((events.len(), &by_own["id"]), (8, &json!("conv-1")), "{by_own}");
    let accepted = json!({
        "at": "2026-11-22T17:02:43.433000Z", "event": "taskrouter", "type": "reservation.accepted",
        "task_sid": format!("WT{:032x}", 0), "reservation_sid": format!("WR{:032x}", 0),
        "worker_sid": WORKER, "worker": "ada", "connector_id": desk.id,
    });
    assert_eq!((events[0], &events[4]["type"]), (&accepted, &json!("task.completed")));
}

#[tokio::test]
async fn whatever_comes_first_and_by_whatever_way_it_is_repeated_the_timeline_is_the_same() {
    let desk = Desk::with(&UNLIMITED).await;
    set(&desk, &json!({ "flex": { "late_writes": false } })).await;
    let kinds = "task.created reservation.created reservation.accepted task.transfer-initiated task.completed";
    let (agent, nobody) = (desk.agent(), desk.server.nobody());
    let mut timelines = BTreeSet::new();
    for n in 0..120 {
        let (call, task) = (format!("CAa{n:031x}"), format!("WTa{n:031x}"));
        let order = order((0_u64..).zip(kinds.split(' ')).collect(), n);
        // Told twice, what came as a form comes as a stream, and the other way round.
        for (turn, &(at, kind)) in order.iter().chain(order.iter().rev()).enumerate() {
            if turn == n % 10 {
                agent.write(&call, "{}").await.ok(201);
            }
            let told = Told::of(kind, &task, of_call(&call)).at(START + 1001 * at);
            let way = WAYS[(turn + n) % 2];
            assert_eq!(tell_bare(&nobody, &desk.id, way, told.body(way)).await, 204);
        }
        let told = timeline(&agent, &call).await;
        assert_eq!(routed(&told.ok(200)).len(), 5, "{order:?}: {}", told.text());
        timelines.insert(told.text().replace(&format!("a{n:031x}"), "n"));
    }
    assert_eq!(timelines.len(), 1, "{timelines:#?}");
}

#[tokio::test]
async fn what_happened_at_one_moment_has_one_order_too() {
    let desk = Desk::open().await;
    let mut timelines = BTreeSet::new();
    for n in 0..6 {
        let (call, task) = (format!("CAa{n:031x}"), format!("WTa{n:031x}"));
        for kind in order(vec!["task.created", "reservation.created", "reservation.accepted"], n) {
            noted(&desk, Way::Form, &Told::of(kind, &task, of_call(&call))).await;
        }
        let told = timeline(&desk.agent(), &call).await;
        timelines.insert(told.ok_text(200).replace(&format!("a{n:031x}"), "n"));
    }
    assert_eq!(timelines.len(), 1, "{timelines:#?}");
}

#[tokio::test]
async fn what_is_of_no_interest_is_taken_and_leaves_nothing() {
    let desk = Desk::open().await;
    let before = timeline(&desk.agent(), SID).await.ok(200);
    let others = "reservation.completed reservation.wrapup reservation.failed task.updated task.system-deleted worker.activity.update";
    let kinds = others.split(' ').map(|kind| Told::of(kind, TASK, of_call(SID)));
    let ties = ["", "{}", "no JSON", "[]", r#"{"handoff_id":"undefined","call_sid":7}"#];
    let ties = ties.map(|tie| Told::of("reservation.accepted", TASK, tie));
    for told in kinds.chain(ties) {
        for way in WAYS {
            noted(&desk, way, &told).await;
        }
    }
    let test = r#"[{"specversion":"1.0","type":"com.twilio.eventstreams.test-event","source":"Sink","id":"AC11111111111111111111111111111111","dataschema":"https://events-schemas.twilio.com/EventStreams.TestSink/1.json","datacontenttype":"application/json","time":"2026-06-10T06:02:54.377Z","data":{"test_id":"5b0e8c2d-7f91-4a63-b8d0-c1e6a4f72935"}}]"#;
    let bare = r#"[{"type":"com.twilio.taskrouter.task.created","data":{}},{}]"#;
    let taken = [test, bare, "[]", "[7]", "[[]]"].map(|body| (body, 204));
    for (body, status) in taken.into_iter().chain(["no JSON", "{}", "7"].map(|body| (body, 400))) {
        let answer = tell(&desk.server.nobody(), TOKEN, &desk.id, Way::Stream, body).await;
        assert_eq!((answer.status, answer.text()), (status, ""), "{body}");
    }
    assert_eq!(timeline(&desk.agent(), SID).await.ok(200), before);
}

fn refused(answer: &Answer) {
    assert_eq!((answer.status, answer.text()), (403, ""));
}

#[tokio::test]
async fn only_what_the_linked_account_signed_is_heard() {
    let desk = Desk::open().await;
    let before = timeline(&desk.agent(), SID).await.ok(200);
    let (nobody, admin) = (desk.server.nobody(), desk.server.admin());
    let (unlinked, _) = made(&admin, &reference("b", "live")).await;
    let mut told = Told::accepted(SID);
    for way in WAYS {
        let body = told.body(way);
        let (target, headers) = signed(TOKEN, &desk.id, way, &body);
        let [signature, kind] = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let changed = body.replace("ada", "eve");
        for (client, headers, body) in [
            (&nobody, &[kind][..], &body),
            (&admin, &[kind], &body),
            (&nobody, &[kind, signature], &changed),
            (&nobody, &[kind, signature, signature], &body),
        ] {
            let body = Some(body.as_bytes().to_vec());
            refused(&client.send(Method::POST, &target, headers, body).await);
        }
        let own = desk.id.as_str();
        let others = [("wrong", own), ("others", own), (TOKEN, &unlinked), (TOKEN, NOBODYS)];
        for (token, connector) in others {
            refused(&tell(&nobody, token, connector, way, &body).await);
        }
    }
    // Without its hash in the URL a body of JSON is not signed at all.
    let (target, [(name, signature), _]) = signed(TOKEN, &desk.id, Way::Form, "");
    let headers = [(name, signature.as_str()), ("content-type", "application/json")];
    let body = Some(told.body(Way::Stream).into_bytes());
    refused(&nobody.send(Method::POST, &target, &headers, body).await);
    told.account = OTHER.to_owned();
    for token in [TOKEN, "others"] {
        refused(&tell(&nobody, token, &desk.id, Way::Form, &told.form()).await);
    }
    assert_eq!(timeline(&desk.agent(), SID).await.ok(200), before);
}

#[tokio::test]
async fn a_removed_link_is_heard_no_more() {
    let (desk, told) = (Desk::open().await, Told::accepted(SID));
    let nobody = desk.server.nobody();
    desk.unlink().await;
    refused(&tell(&nobody, TOKEN, &desk.id, Way::Stream, &told.body(Way::Stream)).await);
    desk.twilio.account(ACCOUNT, &[SECOND]);
    let link = json!({ "account_sid": ACCOUNT, "auth_token": SECOND, "connector_id": desk.id });
    desk.server.admin().post(&format!("{PATH}/link"), &link).await.ok(200);
    let told = told.form();
    // By a call's SID it still reads; it tells nothing by one.
    for form in [told.clone(), format!("{told}&CallSid={SID}")] {
        refused(&tell(&nobody, TOKEN, &desk.id, Way::Form, &form).await);
    }
    assert_eq!(routed(&timeline(&desk.agent(), SID).await.ok(200)).len(), 0);
    assert_eq!(tell(&nobody, SECOND, &desk.id, Way::Form, &told).await.status, 204);
    assert_eq!(routed(&timeline(&desk.agent(), SID).await.ok(200)).len(), 1);
}

#[tokio::test]
async fn a_task_is_of_the_connector_that_it_names_where_that_is_of_the_same_tenant_and_link() {
    let desk = Desk::open().await;
    let admin = desk.server.admin();
    let with = async |name: &str, (member, value): (&str, &str), link: &Value| {
        let mut wanted = reference(name, "sandbox");
        wanted[member] = json!(value);
        let (id, token) = made(&admin, &wanted).await;
        desk.link(&token, link).await.ok(200);
        (id, bearer(&desk.server, &token))
    };
    let by_other = json!({ "account_sid": OTHER, "auth_token": "others" });
    let (own, owner) = with("b", ("project_id", "other"), &by_token()).await;
    let (foreign, _) = with("c", ("account_id", "tenant"), &by_token()).await;
    let (others, _) = with("d", ("project_id", "line"), &by_other).await;
    let (unlinked, _) = made(&admin, &reference("e", "live")).await;
    let named = |connector: &str, call: &str| {
        json!({ "call_sid": call, "baton": { "connector_id": connector } }).to_string()
    };
    owner.write(CALL, "{}").await.ok(201);
    noted(&desk, Way::Form, &Told::of("reservation.accepted", TASK, named(&own, CALL))).await;
    let told = timeline(&owner, CALL).await.ok(200);
    assert_eq!(routed(&told)[0]["connector_id"], json!(own));
    for (n, connector) in (0..).zip([foreign.as_str(), &others, &unlinked, NOBODYS]) {
        let call = format!("CA{n:032x}");
        let told = Told::of("reservation.accepted", TASK, named(connector, &call));
        noted(&desk, WAYS[n % 2], &told).await;
        for account in ["acme", "tenant"] {
            let told = timeline(&admin, &format!("{call}&account_id={account}")).await;
            told.refused(404, "HANDOFF_NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn a_handoff_of_another_project_or_environment_is_left_alone() {
    let desk = Desk::open().await;
    for (call, project, env) in [("CA1", "other", "live"), ("CA2", "line", "sandbox")] {
        let owner = bearer(&desk.server, &desk.connector(project, env).await);
        owner.write(call, "{}").await.ok(201);
        let before = timeline(&owner, call).await.ok(200);
        for way in WAYS {
            noted(&desk, way, &Told::accepted(call)).await;
        }
        assert_eq!(timeline(&owner, call).await.ok(200), before);
        assert_eq!(timeline(&desk.agent(), call).await.status, 404);
    }
}
