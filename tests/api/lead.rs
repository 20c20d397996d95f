//! Whether context comes in time: ten minutes of two hundred calls each, with late agents, lost and doubled
//! webhooks, and workers with and without the plugin, measured by the server and by the script itself.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use baton::domain::clock::Timestamp;
use baton::domain::timeline::lead::GRACE;
use baton::domain::timeline::lead::LONGEST;
use reqwest::Method;
use serde_json::json;

use crate::connectors::bearer;
use crate::connectors::made;
use crate::connectors::reference;
use crate::flex_door::Desk;
use crate::flex_door::OF;
use crate::flex_door::jwe;
use crate::harness::Client;
use crate::harness::Server;
use crate::harness::until;
use crate::links::by_token;
use crate::pretend_flex::good;
use crate::taskrouter::Told;
use crate::taskrouter::UNLIMITED;
use crate::taskrouter::WAYS;
use crate::taskrouter::Way;
use crate::taskrouter::of_call;
use crate::taskrouter::tell_bare;
use crate::taskrouter::timeline;
use crate::twilio::ACCOUNT;
use crate::twilio::PUBLIC;

const SEED: u64 = 0x0ba7_0007;
const WORKERS: usize = 6;
const WITH_PLUGIN: usize = 4;

/// What a server measured of one connector.
#[derive(Clone, Debug, Default, PartialEq)]
struct Figures {
    outcomes: BTreeMap<String, usize>,
    count: usize,
    sum: f64,
    /// Of each bound, how many are not above it.
    buckets: Vec<(f64, usize)>,
}

impl Figures {
    async fn of(server: &Server, connector: &str) -> Self {
        let mut figures = Self::default();
        let metrics = server.nobody().get("/metrics").await;
        let ours = format!("connector=\"{connector}\"");
        for line in metrics.text().lines().filter(|line| line.contains(&ours)) {
            let (name, rest) = line.split_once('{').unwrap();
            let (labels, value) = rest.rsplit_once("} ").unwrap();
            let label = |name: &str| {
                let mut labels = labels.split(',').filter_map(|label| label.split_once('='));
                labels.find(|(known, _)| *known == name).unwrap().1.trim_matches('"')
            };
            let count = || value.parse().unwrap();
            let bound = || label("le").parse().unwrap();
            match name.strip_prefix("baton_context_").unwrap_or_default() {
                "accepted_total" => {
                    figures.outcomes.insert(label("outcome").to_owned(), count());
                }
                "lead_seconds_count" => figures.count = count(),
                "lead_seconds_sum" => figures.sum = value.parse().unwrap(),
                "lead_seconds_bucket" => figures.buckets.push((bound(), count())),
                _ => {}
            }
        }
        figures
    }
}

/// Waits until all that is due is counted: whatever was due with one call is counted before the next one is.
async fn until_counted(server: &Server, marker: &str) {
    static MARKERS: AtomicU64 = AtomicU64::new(0);
    for _ in 0..2 {
        let n = MARKERS.fetch_add(1, Ordering::SeqCst);
        let before = Figures::of(server, marker).await;
        taken_and_over(server, marker, n, server.clock.now()).await;
        server.clock.advance(GRACE * 2);
        until(async || Figures::of(server, marker).await != before).await;
    }
}

/// A call that is taken and at once over.
async fn taken_and_over(server: &Server, connector: &str, n: u64, at: Timestamp) {
    for kind in ["reservation.accepted", "task.completed"] {
        let (call, task) = (format!("CAffff{n:028x}"), format!("WTffff{n:028x}"));
        let told = Told::of(kind, &task, of_call(&call)).at(at.micros() / 1000);
        let body = told.body(Way::Stream);
        assert_eq!(tell_bare(&server.nobody(), connector, Way::Stream, body).await, 204);
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn says(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn way(&mut self) -> Way {
        WAYS[usize::from(self.says(50))]
    }
}

/// A call of the script. Moments are milliseconds since it began.
#[derive(Clone, Debug)]
struct Call {
    sid: String,
    task: String,
    through: usize,
    worker: usize,
    accepted: u64,
    /// Whether TaskRouter's word of it arrives.
    is_heard: bool,
    written: Option<u64>,
    /// When the plugin says that the call was accepted, and that its context is seen.
    said: Option<u64>,
    rendered: Option<u64>,
    names_task: bool,
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Writes,
    Tells(&'static str, u64, Way),
    Says(&'static str),
}

/// Something that happens to a call, at its moment.
type Step = (u64, usize, Deed);

impl Call {
    fn new(n: u64, dice: &mut Dice, steps: &mut Vec<Step>) -> Self {
        let at = usize::try_from(n).unwrap();
        let worker = usize::try_from(dice.below(60)).unwrap() % WORKERS;
        let ring = 5000 + n * 300 + dice.below(300);
        let accepted = ring + 1000 + dice.below(4000);
        let written = match dice.below(100) {
            0..=4 => None,
            5..=24 => Some(accepted - 500 + dice.below(5500)),
            _ => Some(ring - dice.below(3000)),
        };
        steps.extend(written.map(|moment| (moment, at, Deed::Writes)));
        // What arrives late does so before anything is counted without it.
        let arrivals = match dice.below(10) {
            0 => vec![],
            1 => vec![dice.below(300), dice.below(25_000)],
            2 => vec![1000 + dice.below(19_000)],
            _ => vec![dice.below(300)],
        };
        let is_heard = !arrivals.is_empty();
        for delay in arrivals {
            let deed = Deed::Tells("reservation.accepted", accepted, dice.way());
            steps.push((accepted + delay, at, deed));
        }
        let over = accepted + 3000 + dice.below(60_000);
        for _ in 0..[0, 1, 1, 1, 1, 2][usize::try_from(dice.below(6)).unwrap()] {
            let deed = Deed::Tells("task.completed", over, dice.way());
            steps.push((over + dice.below(2000), at, deed));
        }
        let seen = match dice.below(100) {
            0..=44 => Some(accepted - dice.below(1000)),
            45..=69 => Some(accepted + dice.below(2001)),
            70..=84 => Some(accepted + 2001 + dice.below(26_000)),
            _ => None,
        };
        let says = dice.says(70).then(|| accepted + 50 + dice.below(250));
        let has_plugin = worker < WITH_PLUGIN;
        // A plugin without a handoff asks in vain; one whose agent is late waits.
        let waits = |moment: u64, more| moment.max(written.map_or(0, |written| written + more));
        let seen = seen.filter(|_| has_plugin).map(|moment| waits(moment, 1));
        let says = says.filter(|_| has_plugin).map(|moment| waits(moment, 50));
        steps.extend(seen.map(|moment| (moment, at, Deed::Says("rendered"))));
        steps.extend(says.map(|moment| (moment, at, Deed::Says("accepted"))));
        Self {
            sid: format!("CA{n:032x}"),
            task: format!("WT{n:032x}"),
            through: usize::from(dice.says(40)),
            worker,
            accepted,
            is_heard,
            written,
            said: says.filter(|_| written.is_some()),
            rendered: seen.filter(|_| written.is_some()),
            names_task: dice.says(80),
        }
    }

    /// Its outcome, and by how many milliseconds it was seen after it was accepted.
    fn comes_to(&self) -> Option<(&'static str, Option<i64>)> {
        let accepted = if self.is_heard { Some(self.accepted) } else { self.said };
        let lead = accepted.zip(self.rendered);
        let lead = lead.map(|(accepted, rendered)| rendered.cast_signed() - accepted.cast_signed());
        match (accepted, lead) {
            (None, _) => self.rendered.map(|_| ("unknown", None)),
            (Some(_), None) => Some(("never", None)),
            (Some(_), Some(..=0)) => Some(("before", lead)),
            (Some(_), Some(1..=2000)) => Some(("within_2s", lead)),
            (Some(_), Some(_)) => Some(("late", lead)),
        }
    }
}

fn seconds(millis: i64) -> f64 {
    f64::from(i32::try_from(millis).unwrap()) / 1000.0
}

/// A contact centre: two connectors of one workspace, which tells of both through the first, and one
/// that nobody calls but [`until_counted`].
struct Floor {
    desk: Desk,
    began: u64,
    nobody: Client,
    connectors: Vec<String>,
    agents: Vec<Client>,
    workers: Vec<Client>,
    marker: String,
}

fn worker(n: usize) -> String {
    format!("WK{n:032x}")
}

impl Floor {
    async fn open() -> Self {
        let desk = Desk::with(&UNLIMITED).await;
        let (second, token) = made(&desk.server.admin(), &reference("second", "live")).await;
        desk.link(&token, &by_token()).await.ok(200);
        let (marker, marking) = made(&desk.server.admin(), &reference("marker", "sandbox")).await;
        desk.link(&marking, &by_token()).await.ok(200);
        let now = desk.server.clock.now();
        let end = now.plus(Duration::from_secs(86_400)).to_string();
        let workers = (0..WORKERS).map(|n| {
            let (token, mut answer) = (jwe(&format!("worker{n}")), good(&end, &["agent"]));
            answer["worker_sid"] = json!(worker(n));
            answer["identity"] = json!(format!("worker{n}"));
            desk.flex.token(ACCOUNT, &token, answer);
            bearer(&desk.server, &token)
        });
        Self {
            began: now.micros() / 1000 + 1,
            nobody: desk.server.nobody(),
            connectors: vec![desk.id.clone(), second],
            agents: vec![desk.agent(), bearer(&desk.server, &token)],
            workers: workers.collect(),
            marker,
            desk,
        }
    }

    /// So many calls of the script, and all that happens to them, in its order.
    fn script(calls: u64) -> (Vec<Call>, Vec<Step>) {
        let (mut dice, mut steps) = (Dice(SEED), Vec::new());
        let calls = (0..calls).map(|n| Call::new(n, &mut dice, &mut steps)).collect();
        steps.sort_by_key(|(moment, ..)| *moment);
        (calls, steps)
    }

    async fn play(&self, calls: &[Call], steps: &[Step]) {
        let clock = &self.desk.server.clock;
        for &(moment, at, deed) in steps {
            clock.advance(Timestamp::from_micros((self.began + moment) * 1000).until(clock.now()));
            let call = &calls[at];
            let said = if call.written.is_some() { 200 } else { 404 };
            let (status, wanted) = match deed {
                Deed::Writes => (self.writes(call).await, 201),
                Deed::Tells(kind, at, way) => (self.tells(call, kind, at, way).await, 204),
                Deed::Says(what) => (self.says(call, what).await, said),
            };
            assert_eq!(status, wanted, "seed {SEED:#x}: {deed:?} of {call:?}");
        }
    }

    async fn writes(&self, call: &Call) -> u16 {
        let path = format!("/v1/handoff_state?id={}", call.sid);
        let body = r#"{"data":{"reason":"billing"}}"#.to_owned();
        self.agents[call.through].bare(Method::PUT, &path, Some(body)).await.0
    }

    async fn tells(&self, call: &Call, kind: &'static str, at: u64, way: Way) -> u16 {
        let named = json!({ "connector_id": self.connectors[call.through] });
        let attributes = json!({ "call_sid": call.sid, "baton": named }).to_string();
        let told = Told::of(kind, &call.task, attributes).at(self.began + at);
        let body = Told { worker: worker(call.worker), ..told }.body(way);
        tell_bare(&self.nobody, &self.connectors[0], way, body).await
    }

    async fn says(&self, call: &Call, what: &str) -> u16 {
        let path = format!("/v1/handoff_state/receipts?id={}", call.sid);
        let mut body = json!({ "receipt": what });
        if call.names_task {
            body["task_sid"] = json!(call.task);
        }
        let (worker, body) = (&self.workers[call.worker], Some(body.to_string()));
        worker.bare_with(Method::POST, &path, &[(OF, ACCOUNT)], body).await.0
    }

    /// What was measured once all is settled.
    async fn settled(&self) -> [Figures; 2] {
        self.desk.server.clock.advance(LONGEST + GRACE);
        until_counted(&self.desk.server, &self.marker).await;
        let figures = |through: usize| Figures::of(&self.desk.server, &self.connectors[through]);
        [figures(0).await, figures(1).await]
    }
}

#[tokio::test]
async fn the_figures_of_ten_busy_minutes_are_those_of_their_script() {
    let floor = Floor::open().await;
    let (calls, steps) = Floor::script(2000);
    floor.play(&calls, &steps).await;
    for (through, measured) in floor.settled().await.into_iter().enumerate() {
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        let own = calls.iter().filter(|call| call.through == through);
        let came: Vec<_> = own.filter_map(Call::comes_to).collect();
        for (outcome, _) in &came {
            *outcomes.entry((*outcome).to_owned()).or_default() += 1;
        }
        assert_eq!(outcomes.len(), 5, "seed {SEED:#x} leaves something out: {outcomes:?}");
        assert_eq!(measured.outcomes, outcomes, "seed {SEED:#x}");
        let leads: Vec<_> = came.iter().filter_map(|(_, lead)| *lead).collect();
        let sum = seconds(leads.iter().sum());
        assert!((measured.sum - sum).abs() < 0.001, "seed {SEED:#x}: {} {sum}", measured.sum);
        assert!(measured.buckets.len() > 8, "{measured:?}");
        assert_eq!(measured.count, leads.len(), "seed {SEED:#x}");
        for (bound, count) in measured.buckets {
            let within = leads.iter().filter(|lead| seconds(**lead) <= bound).count();
            assert_eq!(count, within, "seed {SEED:#x}: up to {bound}");
        }
    }
}

#[tokio::test]
async fn what_is_told_again_once_it_was_counted_changes_no_figure() {
    let floor = Floor::open().await;
    let (calls, mut steps) = Floor::script(60);
    floor.play(&calls, &steps).await;
    let measured = floor.settled().await;
    assert!(measured[0].count > 0 && measured[1].count > 0, "{measured:?}");
    steps.retain(|(.., deed)| !matches!(deed, Deed::Writes));
    steps.reverse();
    floor.play(&calls, &steps).await;
    assert_eq!(floor.settled().await, measured);
}

#[tokio::test]
async fn what_is_told_again_after_a_restart_is_not_counted_again() {
    let desk = Desk::open().await;
    let (marker, token) = made(&desk.server.admin(), &reference("marker", "sandbox")).await;
    desk.link(&token, &by_token()).await.ok(200);
    let Desk { server, id, twilio: _twilio, flex: _flex, .. } = desk;
    let now = server.clock.now();
    let again = async |server: &Server| {
        taken_and_over(server, &id, u64::MAX, now).await;
        server.clock.advance(GRACE * 2);
        until_counted(server, &marker).await;
        Figures::of(server, &id).await.outcomes
    };
    assert_eq!(again(&server).await, BTreeMap::from([("never".to_owned(), 1)]));
    let (data, clock) = (server.folder(), server.clock.clone());
    drop(server);
    let server = Server::on(&data, clock, &["--public-url", PUBLIC]);
    assert_eq!(again(&server).await, BTreeMap::new());
}

#[tokio::test]
async fn what_was_seen_of_a_call_that_nobody_says_was_taken_is_unknown_and_never_in_time() {
    let floor = Floor::open().await;
    let (calls, _) = Floor::script(20);
    let calls: Vec<_> = calls.iter().filter(|call| call.through == 0).take(2).collect();
    for call in &calls {
        assert_eq!((floor.writes(call).await, floor.says(call, "rendered").await), (201, 200));
    }
    let server = &floor.desk.server;
    server.clock.advance(LONGEST - 5 * GRACE);
    until_counted(server, &floor.marker).await;
    assert_eq!(Figures::of(server, &floor.desk.id).await, Figures::default());
    // TaskRouter's word may come late; without it nothing is made of it.
    assert_eq!(floor.tells(calls[0], "reservation.accepted", 1000, Way::Form).await, 204);
    let [measured, _] = floor.settled().await;
    let outcomes = ["before", "unknown"].map(|outcome| (outcome.to_owned(), 1));
    assert_eq!((measured.outcomes, measured.count), (BTreeMap::from(outcomes), 1));
    let told = timeline(&floor.desk.agent(), &calls[1].sid).await.ok(200);
    assert_eq!(told["acceptances"][0]["outcome"], "unknown", "{told}");
}
