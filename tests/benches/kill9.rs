//! Writers over HTTP, SIGKILL at any moment, restart, read back: what was acknowledged is there, what
//! was not is there whole or not at all.
//!
//! A write that was under way when the process died is open, not failed: it may have landed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::server::Server;

const WRITERS: u64 = 4;

/// One writer's story: the counter it overwrote, and the keys it made.
struct Story {
    writer: u64,
    acknowledged: u64,
    attempted: u64,
}

pub fn run(baton: &str, folder: &str, cycles: &str, seed: &str) {
    let cycles: u64 = cycles.parse().unwrap();
    let mut random: u64 = seed.parse::<u64>().unwrap() | 1;
    let (mut acknowledged, mut lost, mut partial) = (0, 0, 0);
    let mut restarts = Vec::new();
    let mut server = Server::start(baton, folder);
    for cycle in 0..cycles {
        // xorshift64: the seed tells the whole run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let stories = write_until_killed(&mut server, cycle, 30 + random % 120);
        server = Server::start(baton, folder);
        restarts.push(server.ready_in);
        let mut client = server.connect();
        for story in &stories {
            acknowledged += story.acknowledged;
            let (l, p) = look(&mut client, cycle, story);
            lost += l;
            partial += p;
        }
    }
    restarts.sort();
    let at = |part: usize| restarts[(restarts.len() * part / 100).min(restarts.len() - 1)];
    println!(
        "kill -9: {cycles} cycles, seed {seed}: {acknowledged} acknowledged, {lost} lost, {partial} partial; ready again p50 {:?}, p99 {:?}",
        at(50),
        at(99)
    );
    // A run that hardly wrote anything shows nothing.
    assert!(acknowledged >= cycles * 20, "void: too few writes");
    assert!(lost == 0 && partial == 0, "acknowledged writes were lost");
}

fn body(n: u64) -> String {
    // Two kilobytes whose every part depends on n, so that half of one is noticed.
    format!("{{\"n\":{n},\"pad\":\"{}\"}}", format!("{n:08}").repeat(250))
}

fn counter(cycle: u64, writer: u64) -> String {
    format!("/v1/handoff_state?id=counter-{cycle}-{writer}")
}

fn fresh(cycle: u64, writer: u64, n: u64) -> String {
    format!("/v1/handoff_state?id=fresh-{cycle}-{writer}-{n}")
}

fn write_until_killed(server: &mut Server, cycle: u64, millis: u64) -> Vec<Story> {
    let over = Arc::new(AtomicBool::new(false));
    let writers = (0..WRITERS).map(|writer| {
        let (mut client, over) = (server.connect(), Arc::clone(&over));
        thread::spawn(move || {
            let mut story = Story { writer, acknowledged: 0, attempted: 0 };
            while !over.load(Ordering::Relaxed) {
                let n = story.attempted + 1;
                story.attempted = n;
                let write = format!("{{\"data\":{}}}", body(n));
                let mut put = |path: String| client.put(&path, write.as_bytes());
                let done = put(counter(cycle, writer)).and_then(|first| {
                    put(fresh(cycle, writer, n))
                        .map(|second| first.status < 300 && second.status < 300)
                });
                match done {
                    Ok(true) => story.acknowledged = n,
                    Ok(false) => panic!("a write was refused without a fault"),
                    Err(_) => break,
                }
            }
            story
        })
    });
    let writers: Vec<_> = writers.collect();
    thread::sleep(Duration::from_millis(millis));
    server.kill();
    over.store(true, Ordering::Relaxed);
    writers.into_iter().map(|writer| writer.join().unwrap()).collect()
}

/// How many of a story's acknowledged writes are lost, and how many records are not whole.
fn look(client: &mut Client, cycle: u64, story: &Story) -> (u64, u64) {
    let (mut lost, mut partial) = (0, 0);
    let mut read =
        |path: String, whole: &mut dyn FnMut(u64) -> bool| match client.get(&path).unwrap() {
            answer if answer.status == 404 => false,
            answer => {
                let json: serde_json::Value =
                    serde_json::from_slice(&answer.body).unwrap_or_default();
                let n = json["data"]["n"].as_u64().unwrap_or(0);
                if json["data"] != serde_json::from_str::<serde_json::Value>(&body(n)).unwrap() {
                    partial += 1;
                }
                whole(n)
            }
        };
    let newest = [story.acknowledged, story.attempted];
    if !read(counter(cycle, story.writer), &mut |n| newest.contains(&n)) && story.acknowledged > 0 {
        lost += 1;
    }
    for n in 1..=story.acknowledged {
        if !read(fresh(cycle, story.writer, n), &mut |found| found == n) {
            lost += 1;
        }
    }
    // The one that was under way: absent or whole.
    read(fresh(cycle, story.writer, story.attempted), &mut |_| true);
    (lost, partial)
}
