//! Whether anything grows with what is stored: start-up after a stop and after a kill, the latency
//! of a read that memory cannot answer, and memory itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton::domain::account::AccountId;
use baton::domain::account::ProjectId;
use baton::domain::clock::Clock;
use baton::domain::handoff::Handoff;
use baton::domain::handoff::Heading;
use baton::domain::handoff::Status;
use baton::store::embedded::Embedded;
use baton::store::kv::Change;
use baton::store::kv::Expect;
use baton::store::names;
use baton::store::records::Records;
use baton::store::records::Store;
use baton::store::seal::Seal;
use baton::telemetry::metrics::LookUps;
use baton::telemetry::metrics::StoreMeter;
use tokio::task::JoinSet;

use crate::figures::at;
use crate::figures::resident;
use crate::server::Server;

const STARTS: usize = 7;
const READS: u64 = 2000;
const WRITERS: usize = 512;

pub fn run(baton: &str, folder: &str, counts: &str) {
    let mut stored = 0;
    for count in counts.split(',').map(|count| count.parse::<u64>().unwrap()) {
        // Makes the keys and the store.
        Server::start(baton, folder).stop();
        fill(Path::new(folder), stored, count);
        stored = count;
        measure(baton, folder, count);
    }
}

fn id(n: u64) -> String {
    format!(
        "CA{:032x}",
        (u128::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    )
}

/// Stores handoffs `from..to`, through Baton's own store.
fn fill(folder: &Path, from: u64, to: u64) {
    let text = std::fs::read_to_string(folder.join("seal.key")).unwrap();
    let key = STANDARD.decode(text.trim()).unwrap();
    let clock = Clock::system();
    let file = folder.join("baton.redb");
    let kv = Arc::new(Embedded::open(&file, clock.clone(), StoreMeter::default()).unwrap());
    let seal = Arc::new(Seal::new(vec![key.into()]).unwrap());
    let store = Store { kv, seal, clock: clock.clone(), watchers: Arc::default(), sharing: None };
    let records = Arc::new(Records::<Handoff>::new(store, 0, LookUps::default()));
    let write = |n: u64| {
        let (records, clock) = (Arc::clone(&records), clock.clone());
        async move {
            let heading = Heading {
                id: id(n).parse().unwrap(),
                account: AccountId::default(),
                project: ProjectId::default(),
                shared_id: None,
                status: Status::Ready,
                ttl_seconds: 86_400,
                connector: None,
                client_env: None,
                left_over: false,
                held_seconds: None,
                caller: None,
            };
            let key = names::handoff(&heading.account, &heading.id);
            let data = format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(400));
            let expires_at = clock.now().plus(Duration::from_secs(86_400));
            let handoff = Handoff::new(heading, &data, 0, expires_at);
            records.put(key, handoff, Expect::Absent, Change::Content).await.unwrap();
        }
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut under_way = JoinSet::new();
        for n in from..to {
            if under_way.len() >= WRITERS {
                under_way.join_next().await.unwrap().unwrap();
            }
            under_way.spawn(write(n));
        }
        while let Some(done) = under_way.join_next().await {
            done.unwrap();
        }
    });
}

fn measure(baton: &str, folder: &str, count: u64) {
    let (mut after_stop, mut after_kill) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let mut server = Server::start(baton, folder);
        after_stop.push(server.ready_in);
        server.kill();
        let server = Server::start(baton, folder);
        after_kill.push(server.ready_in);
        server.stop();
    }
    let server = Server::start(baton, folder);
    let mut client = server.connect();
    let mut took = Vec::new();
    let reads = READS.min(count);
    for n in 0..reads {
        // Spread over all there are, each once: memory has none of them.
        let path = format!("/v1/handoff_state?id={}", id(n * (count / reads)));
        let sent = Instant::now();
        assert_eq!(client.get(&path).unwrap().status, 200);
        took.push(sent.elapsed());
    }
    println!(
        "{count} handoffs: ready after a stop in {:?}, after kill -9 in {:?}; {reads} reads spread over all, none in memory: p50 {:?}, p99 {:?}; then {:.0} MB resident",
        at(&mut after_stop, 50),
        at(&mut after_kill, 50),
        at(&mut took, 50),
        at(&mut took, 99),
        resident(&server.child.id().to_string()) as f64 / 1e6,
    );
}
