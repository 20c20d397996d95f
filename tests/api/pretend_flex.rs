//! A pretend of what a contact centre's Twilio answers beside its REST API: IAM, which says whether a
//! Flex user's token is good, and TaskRouter, which keeps the tasks. Both are one real server on a free
//! port of this machine, which knows the accounts, tokens and tasks a test gave it. It shares no code
//! with the crate, so that a mistake there is not repeated here.

use std::sync::Arc;
use std::sync::Mutex;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::pretend_flex_wire::Mood;
use crate::pretend_flex_wire::Port;
use crate::pretend_flex_wire::Reply;
use crate::pretend_flex_wire::Seen;

pub const WORKER: &str = "WK0123456789abcdef0123456789abcdef";
pub const IDENTITY: &str = "ada_40example_2Ecom";

const MAX_ATTRIBUTES_CHARACTERS: usize = 4096;
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// A task as TaskRouter keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub account_sid: String,
    pub workspace_sid: String,
    pub sid: String,
    /// A JSON text, byte for byte.
    pub attributes: String,
    pub assignment_status: String,
    revision: u64,
}

/// The running pretend. Dropping it stops it.
pub struct PretendFlex {
    port: Port,
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    iam: Mood,
    taskrouter: Mood,
    logins: Vec<[String; 3]>,
    tokens: Vec<(String, String, Value)>,
    tasks: Vec<Task>,
    preconditions_to_fail: usize,
    has_bare_etags: bool,
    meanwhile: Option<Meanwhile>,
    seen: Vec<Seen>,
}

type Meanwhile = Box<dyn FnMut(&mut Task) + Send>;

/// What IAM says of a good token.
pub fn good(expiration: &str, roles: &[&str]) -> Value {
    json!({
        "valid": true, "code": 0, "message": null, "expiration": expiration,
        "realm_user_id": "ada@example.com", "identity": IDENTITY, "roles": roles, "worker_sid": WORKER,
    })
}

/// What IAM says of any other.
pub fn bad() -> Value {
    json!({ "valid": false, "message": "not valid" })
}

impl PretendFlex {
    /// Starts it on a free port, with no account, and both in [`Mood::Answers`].
    pub fn start() -> Self {
        let world: Arc<Mutex<World>> = Arc::default();
        let answering = Arc::clone(&world);
        let answer =
            move |seen: &Seen, password: &str| answering.lock().unwrap().heed(seen, password);
        Self { port: Port::open(Arc::new(answer)), world }
    }

    /// Where both are, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.port.address)
    }

    /// How IAM answers every request that arrives from now on.
    pub fn iam(&self, mood: Mood) {
        self.world.lock().unwrap().iam = mood;
    }

    /// The same of TaskRouter.
    pub fn taskrouter(&self, mood: Mood) {
        self.world.lock().unwrap().taskrouter = mood;
    }

    /// Adds an account, or gives one it has other auth tokens. Each of them is good.
    pub fn account(&self, sid: &str, auth_tokens: &[&str]) {
        let logins = &mut self.world.lock().unwrap().logins;
        logins.retain(|[_, user, _]| user != sid);
        logins.extend(auth_tokens.iter().map(|token| [sid, sid, token].map(str::to_owned)));
    }

    /// Adds an API key of an account.
    pub fn api_key(&self, account_sid: &str, key_sid: &str, secret: &str) {
        self.world.lock().unwrap().logins.push([account_sid, key_sid, secret].map(str::to_owned));
    }

    /// What IAM says from now on when an account asks about a token; [`bad`] of those never given.
    pub fn token(&self, account_sid: &str, token: &str, answer: Value) {
        let tokens = &mut self.world.lock().unwrap().tokens;
        tokens.retain(|(account, known, _)| account != account_sid || known != token);
        tokens.push((account_sid.to_owned(), token.to_owned(), answer));
    }

    /// Adds a task that waits for a worker.
    pub fn task(&self, account_sid: &str, workspace_sid: &str, sid: &str, attributes: &str) {
        self.world.lock().unwrap().tasks.push(Task {
            account_sid: account_sid.to_owned(),
            workspace_sid: workspace_sid.to_owned(),
            sid: sid.to_owned(),
            attributes: attributes.to_owned(),
            assignment_status: "pending".to_owned(),
            revision: 0,
        });
    }

    /// A task as it is now.
    pub fn shown(&self, sid: &str) -> Task {
        let world = self.world.lock().unwrap();
        world.tasks.iter().find(|task| task.sid == sid).unwrap().clone()
    }

    /// Changes a task, as another writer would.
    pub fn change(&self, sid: &str, how: impl FnOnce(&mut Task)) {
        let mut world = self.world.lock().unwrap();
        world.tasks.iter_mut().find(|task| task.sid == sid).unwrap().change(how);
    }

    /// What another writer does to a task right after each GET of it. It must not ask this pretend.
    pub fn after_each_get(&self, change: impl FnMut(&mut Task) + Send + 'static) {
        self.world.lock().unwrap().meanwhile = Some(Box::new(change));
    }

    /// So many updates are answered 412, whatever they say.
    pub fn fail_preconditions(&self, count: usize) {
        self.world.lock().unwrap().preconditions_to_fail = count;
    }

    /// ETags are bare numbers from now on: nobody has written down which Twilio's are.
    pub fn bare_etags(&self) {
        self.world.lock().unwrap().has_bare_etags = true;
    }

    /// Every request so far, the oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.world.lock().unwrap().seen.clone()
    }

    /// Those that IAM was asked.
    pub fn questions(&self) -> Vec<Seen> {
        self.requests().into_iter().filter(is_of_iam).collect()
    }

    /// Connecting fails from now on, and a request still waiting is dropped.
    pub fn refuse_connections(&self) {
        self.port.close();
    }

    /// Listens on the same port again.
    pub fn come_back(&self) {
        self.port.reopen();
    }
}

impl Task {
    fn change(&mut self, how: impl FnOnce(&mut Self)) {
        let before = self.clone();
        how(self);
        self.revision += u64::from(*self != before);
    }

    fn reply(&self, has_bare_etag: bool) -> Reply {
        let revision = self.revision;
        let etag = if has_bare_etag { revision.to_string() } else { format!("\"{revision}\"") };
        let Self { account_sid, workspace_sid, sid, attributes, assignment_status, .. } = self;
        let workspace = format!("https://taskrouter.twilio.com/v1/Workspaces/{workspace_sid}");
        let moment = "2026-11-22T16:02:42Z";
        let task = json!({
            "account_sid": account_sid, "addons": "{}", "age": 7,
            "assignment_status": assignment_status, "attributes": attributes,
            "date_created": moment, "date_updated": moment, "ignore_capacity": false, "priority": 0,
            "reason": null, "routing_target": null, "sid": sid,
            "task_channel_sid": "TC0123456789abcdef0123456789abcdef",
            "task_channel_unique_name": "voice", "task_queue_entered_date": moment,
            "task_queue_friendly_name": "Everyone",
            "task_queue_sid": "WQ0123456789abcdef0123456789abcdef", "timeout": 86400,
            "url": format!("{workspace}/Tasks/{sid}"), "virtual_start_time": moment,
            "workflow_friendly_name": "Assign to Anyone",
            "workflow_sid": "WW0123456789abcdef0123456789abcdef", "workspace_sid": workspace_sid,
            "links": { "workspace": workspace },
        });
        Reply { etag: Some(etag), ..Reply::of(200, task.to_string()) }
    }
}

impl World {
    /// The mood, and what is answered in a mood to do what was asked for.
    fn heed(&mut self, seen: &Seen, password: &str) -> (Mood, Reply) {
        self.seen.push(seen.clone());
        let mood = if is_of_iam(seen) { self.iam.clone() } else { self.taskrouter.clone() };
        let reply = match &mood {
            Mood::Answers | Mood::Slow(_) | Mood::Huge => self.answer(seen, password),
            _ => Reply::refusal(500),
        };
        (mood, reply)
    }

    fn answer(&mut self, seen: &Seen, password: &str) -> Reply {
        let its =
            |[_, user, pass]: &&[String; 3]| Some(user) == seen.user.as_ref() && pass == password;
        let Some([account, _, _]) = self.logins.iter().find(its).cloned() else {
            return Reply::refusal(401);
        };
        let parts: Vec<_> = seen.path.split('/').skip(1).collect();
        match (seen.method.as_str(), parts.as_slice()) {
            ("POST", ["v1", "Accounts", asked, "Tokens", "validate"]) if *asked == account => {
                self.validate(&account, seen)
            }
            (_, ["v1", "Accounts", ..]) => Reply::refusal(401),
            (method, ["v1", "Workspaces", workspace, "Tasks", sid]) => {
                let is_it = |task: &Task| {
                    let its = [&task.account_sid, &task.workspace_sid, &task.sid];
                    its == [account.as_str(), workspace, sid]
                };
                match (method, self.tasks.iter().position(is_it)) {
                    (_, None) => Reply::refusal(404),
                    ("GET", Some(at)) => self.fetch(at),
                    ("POST", Some(at)) => self.update(at, seen),
                    _ => Reply::refusal(405),
                }
            }
            _ => Reply::refusal(404),
        }
    }

    fn validate(&self, account: &str, seen: &Seen) -> Reply {
        let asked: Value = serde_json::from_str(&seen.body).unwrap_or_default();
        let token = asked["token"].as_str().filter(|_| seen.content_type.starts_with(JSON));
        let Some(token) = token else { return Reply::refusal(400) };
        let of = |(of, known, _): &&(String, String, Value)| of == account && known == token;
        let answer = self.tokens.iter().find(of).map_or_else(bad, |(_, _, answer)| answer.clone());
        Reply::of(200, answer.to_string())
    }

    fn fetch(&mut self, at: usize) -> Reply {
        let task = &mut self.tasks[at];
        let reply = task.reply(self.has_bare_etags);
        if let Some(meanwhile) = &mut self.meanwhile {
            task.change(meanwhile);
        }
        reply
    }

    fn update(&mut self, at: usize, seen: &Seen) -> Reply {
        let task = &mut self.tasks[at];
        if self.preconditions_to_fail > 0 {
            self.preconditions_to_fail -= 1;
            return Reply::refusal(412);
        }
        // Twilio's own code sends it without the quotation marks.
        let revision = task.revision.to_string();
        let fails = |tag: &String| tag != "*" && tag.trim_matches('"') != revision;
        if seen.if_match.as_ref().is_some_and(fails) {
            return Reply::refusal(412);
        }
        let form = Some(seen.body.as_str()).filter(|_| seen.content_type.starts_with(FORM));
        if let Some(attributes) = form.and_then(|form| field(form, "Attributes")) {
            let is_object = serde_json::from_str::<Map<String, Value>>(&attributes).is_ok();
            if !is_object || attributes.chars().count() > MAX_ATTRIBUTES_CHARACTERS {
                return Reply::refusal(400);
            }
            task.change(|task| task.attributes = attributes);
        }
        task.reply(self.has_bare_etags)
    }
}

fn is_of_iam(seen: &Seen) -> bool {
    seen.path.starts_with("/v1/Accounts/")
}

/// A field of a form, decoded.
fn field(form: &str, name: &str) -> Option<String> {
    let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    let mut bytes = value.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use baton::telemetry::outbound;
    use reqwest::Method;
    use reqwest::Response;

    use super::*;

    const ACCOUNT: &str = "AC11111111111111111111111111111111";
    const WORKSPACE: &str = "WS0123456789abcdef0123456789abcdef";
    const TASK: &str = "WT0123456789abcdef0123456789abcdef";

    async fn ask(flex: &PretendFlex, method: Method, headers: &[(&str, &str)]) -> Response {
        let url = format!("{}/v1/Workspaces/{WORKSPACE}/Tasks/{TASK}", flex.url());
        let http = outbound::client(Duration::from_secs(5)).unwrap();
        let mut request = http.request(method, url).basic_auth(ACCOUNT, Some("secret"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body("Attributes=%7B%22a%22%3A+%22%C3%A9%22%7D").send().await.unwrap()
    }

    #[tokio::test]
    async fn the_pretended_taskrouter_takes_an_update_of_the_revision_that_is_there() {
        let flex = PretendFlex::start();
        flex.account(ACCOUNT, &["secret"]);
        flex.task(ACCOUNT, WORKSPACE, TASK, "{}");
        let mut turns = 0;
        flex.after_each_get(move |task| {
            turns += 1;
            if turns == 1 {
                task.attributes = "{\"theirs\":1}".to_owned();
            }
        });
        let read = ask(&flex, Method::GET, &[]).await;
        assert_eq!(read.headers()["etag"], "\"0\"");
        assert!(read.text().await.unwrap().contains(r#""attributes":"{}""#));
        let form = ("content-type", FORM);
        let update =
            async |tag| ask(&flex, Method::POST, &[form, ("if-match", tag)]).await.status();
        assert_eq!(update("\"0\"").await, 412);
        flex.fail_preconditions(1);
        assert_eq!(update("\"1\"").await, 412);
        assert_eq!(flex.shown(TASK).attributes, "{\"theirs\":1}");
        assert_eq!(update("\"1\"").await, 200);
        assert_eq!(flex.shown(TASK).attributes, "{\"a\": \"é\"}");
        flex.change(TASK, |task| task.assignment_status = "reserved".to_owned());
        assert_eq!(update("\"2\"").await, 412);
        flex.bare_etags();
        assert_eq!(ask(&flex, Method::GET, &[]).await.headers()["etag"], "3");
        assert_eq!(update("3").await, 200);
        assert_eq!(update("W/\"3\"").await, 412);
        flex.taskrouter(Mood::Status(500));
        assert_eq!(update("\"3\"").await, 500);
        assert_eq!(flex.requests()[1].if_match.as_deref(), Some("\"0\""));
        assert_eq!(flex.questions(), []);
    }
}
