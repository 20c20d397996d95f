//! Concurrent clients of one id: whatever they saw must be explained by some order in which each
//! request took effect at one instant between its sending and its answer (linearizability, checked
//! as Wing and Gong do).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use reqwest::Method;
use serde_json::json;

use crate::harness::Client;
use crate::harness::Server;

/// What is under the id: a value, or nothing.
type State = Option<u64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Wrote(u64),
    /// `If-None-Match: *`; whether it was stored.
    Claimed(u64, bool),
    /// Whether there was anything to patch.
    Patched(u64, bool),
    /// Whether there was anything.
    Erased(bool),
    Saw(State),
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    sent: u64,
    answered: u64,
    did: Did,
}

/// The state after `did`, if it can be done to `state`.
fn apply(state: State, did: Did) -> Option<State> {
    match did {
        Did::Wrote(value) => Some(Some(value)),
        Did::Claimed(value, true) => state.is_none().then_some(Some(value)),
        Did::Claimed(_, false) | Did::Erased(true) | Did::Patched(_, true) if state.is_none() => {
            None
        }
        Did::Patched(value, true) => Some(Some(value)),
        Did::Patched(_, false) => state.is_none().then_some(None),
        Did::Claimed(_, false) => Some(state),
        Did::Erased(true) => Some(None),
        Did::Erased(false) => state.is_none().then_some(None),
        Did::Saw(seen) => (seen == state).then_some(state),
    }
}

/// Whether some order explains `history`.
fn is_linear(history: &[Operation]) -> bool {
    fn search(
        history: &[Operation],
        done: u64,
        state: State,
        seen: &mut HashSet<(u64, State)>,
    ) -> bool {
        if (0..history.len()).all(|n| done & (1 << n) != 0) {
            return true;
        }
        if !seen.insert((done, state)) {
            return false;
        }
        let left = || history.iter().enumerate().filter(|(n, _)| done & (1 << n) == 0);
        // Only what was sent before the first answer still outstanding can be next.
        let first_answer = left().map(|(_, operation)| operation.answered).min().unwrap();
        left().filter(|(_, operation)| operation.sent <= first_answer).any(|(n, operation)| {
            apply(state, operation.did)
                .is_some_and(|state| search(history, done | (1 << n), state, seen))
        })
    }
    search(history, 0, None, &mut HashSet::new())
}

#[test]
fn the_check_refuses_what_no_order_explains() {
    let operation = |sent, answered, did| Operation { sent, answered, did };
    assert!(is_linear(&[operation(1, 4, Did::Wrote(1)), operation(2, 3, Did::Saw(None))]));
    assert!(is_linear(&[operation(1, 4, Did::Wrote(1)), operation(2, 3, Did::Saw(Some(1)))]));
    // A read after an acknowledged write sees nothing.
    assert!(!is_linear(&[operation(1, 2, Did::Wrote(1)), operation(3, 4, Did::Saw(None))]));
    // Two reads, one after the other, see the past come back.
    assert!(!is_linear(&[
        operation(1, 2, Did::Wrote(1)),
        operation(3, 9, Did::Wrote(2)),
        operation(4, 5, Did::Saw(Some(2))),
        operation(6, 7, Did::Saw(Some(1))),
    ]));
    // Two claim it and both get it.
    assert!(!is_linear(&[
        operation(1, 4, Did::Claimed(1, true)),
        operation(2, 3, Did::Claimed(2, true))
    ]));
}

async fn operate(client: &Client, path: &str, what: u64, value: u64) -> Did {
    let body = || Some(json!({ "data": { "v": value } }).to_string());
    let claim = [("if-none-match", "*")];
    match what {
        0 | 1 => {
            let (status, _) = client.bare(Method::PUT, path, body()).await;
            assert!([200, 201].contains(&status), "{status}");
            Did::Wrote(value)
        }
        2 => {
            let claimed = client.bare_with(Method::PUT, path, &claim, body()).await.0;
            assert!([201, 412].contains(&claimed), "{claimed}");
            Did::Claimed(value, claimed == 201)
        }
        4 => {
            let (status, _) = client.bare(Method::PATCH, path, body()).await;
            assert!([200, 404].contains(&status), "{status}");
            Did::Patched(value, status == 200)
        }
        // Nothing is ever so new: it answers what there is when time is up.
        5 => {
            let path = format!("{path}&wait=1&min_revision=99999999999999999");
            let (status, answer) = client.bare(Method::GET, &path, None).await;
            assert!([200, 404].contains(&status), "{status}");
            Did::Saw(answer["data"]["v"].as_u64())
        }
        3 => Did::Erased(client.bare(Method::DELETE, path, None).await.0 == 204),
        _ => {
            let (status, answer) = client.bare(Method::GET, path, None).await;
            assert!([200, 404].contains(&status), "{status}");
            Did::Saw(answer["data"]["v"].as_u64())
        }
    }
}

/// `clients` of one id, each doing some things one after the other.
async fn history(client: &Client, round: u64, clients: u64) -> Vec<Operation> {
    let tick = Arc::new(AtomicU64::new(0));
    let one = |n: u64| {
        let (client, tick) = (client.clone(), Arc::clone(&tick));
        tokio::spawn(async move {
            let path = format!("/v1/handoff_state?id=round{round}");
            let mut done = Vec::new();
            for step in 0..6 {
                // No two histories alike, and the same ones in every run.
                let mut mixed = (round << 16) ^ (n << 8) ^ step;
                mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                // One in sixteen waits: it takes a second.
                let what = match (mixed >> 40) % 16 {
                    some @ (0..=4 | 15) => some.min(5),
                    some => [0, 2, 3, 4, 6, 6, 6, 6, 6, 6][usize::try_from(some - 5).unwrap()],
                };
                let value = 1 + n * 100 + step;
                let sent = tick.fetch_add(1, Ordering::SeqCst);
                let did = operate(&client, &path, what, value).await;
                let answered = tick.fetch_add(1, Ordering::SeqCst);
                done.push(Operation { sent, answered, did });
            }
            done
        })
    };
    let running: Vec<_> = (0..clients).map(one).collect();
    let mut all = Vec::new();
    for client in running {
        all.extend(client.await.unwrap());
    }
    all
}

async fn rounds(flags: &'static [&'static str], count: u64) {
    let server = Server::with(
        &[flags, &["--rate-requests", "0", "--rate-misses", "0", "--log", "off"]].concat(),
    );
    for round in 0..count {
        let seen = history(&server.admin(), round, 6).await;
        assert!(is_linear(&seen), "round {round}: {seen:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_concurrent_clients_of_one_id_see_is_linear() {
    let running = [
        tokio::spawn(rounds(&[], 40)),
        tokio::spawn(rounds(&["--l1-max-bytes", "0"], 40)),
        tokio::spawn(rounds(&["--store", "memory"], 60)),
    ];
    for rounds in running {
        rounds.await.unwrap();
    }
}
