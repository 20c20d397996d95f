//! Readers who wait, all at once: what they cost in memory, and how soon a write wakes its own.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::client::Client;
use crate::figures::at;
use crate::figures::metric;
use crate::figures::resident;

// Of those who wait, so many are woken, one after the other, while all others go on waiting.
const WOKEN: usize = 1000;
const BATCH: usize = 500;

pub fn wait(address: &str, key: &str, pid: &str, count: &str) {
    let count: usize = count.parse().unwrap();
    let mut writer = Client::connect(address, key).unwrap();
    for n in 0..200 {
        writer.put(&format!("/v1/handoff_state?id=warm{n}"), b"{\"data\":{}}").unwrap();
        writer.get(&format!("/v1/handoff_state?id=warm{n}")).unwrap();
    }
    let rest = resident(pid);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rest = Rest { pid, size: rest };
    runtime.block_on(hold(address, key, count, rest, writer));
}

/// A server at rest, and its size then.
struct Rest<'a> {
    pid: &'a str,
    size: u64,
}

async fn hold(address: &str, key: &str, count: usize, rest: Rest<'_>, mut writer: Client) {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(TcpStream::connect(address).await.unwrap());
    }
    let key: Arc<str> = key.into();
    let mut woken = Vec::new();
    for (n, mut stream) in streams.into_iter().enumerate() {
        let request = format!(
            "GET /v1/handoff_state?id=w{n}&wait=8 HTTP/1.1\r\nHost: b\r\nx-api-key: {key}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let mut answer = [0; 1024];
            let length = stream.read(&mut answer).await.unwrap();
            let _ = tell.send((Instant::now(), answer[..length].starts_with(b"HTTP/1.1 200")));
        });
        woken.push(told);
        // As calls end, one after the other, if quickly: so many at once would be turned away.
        if (n + 1) % BATCH == 0 || n + 1 == count {
            until_waiting(&mut writer, n + 1).await;
        }
    }
    let held = resident(rest.pid);
    let mut took = Vec::new();
    for (n, told) in woken.into_iter().enumerate().step_by(count / WOKEN).take(WOKEN) {
        let sent = Instant::now();
        writer.put(&format!("/v1/handoff_state?id=w{n}"), b"{\"data\":{\"n\":1}}").unwrap();
        let (at, is_found) = told.await.unwrap();
        assert!(is_found, "a waiter was answered something else");
        took.push(at.duration_since(sent));
    }
    let left = metric(&mut writer, "baton_reads_waiting") as usize;
    assert!(left >= count - WOKEN, "void: others did not go on waiting: {left}");
    println!(
        "waiting reads: {count} held at once take {:.0} MB over the resting {:.0} MB (goal 150), {:.1} kB each; {WOKEN} of them woken one by one, from the write's sending to the waiter's answer: p50 {:?}, p99 {:?} (goal 10 ms, 50 ms)",
        (held - rest.size) as f64 / 1e6,
        rest.size as f64 / 1e6,
        (held - rest.size) as f64 / 1e3 / count as f64,
        at(&mut took, 50),
        at(&mut took, 99),
    );
}

async fn until_waiting(client: &mut Client, count: usize) {
    let begun = Instant::now();
    loop {
        let waiting = metric(client, "baton_reads_waiting") as usize;
        if waiting >= count {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "void: only {waiting} wait in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// One id that is in the store and not in memory, asked for by many at once.
pub fn cold(address: &str, key: &str, path: &str, count: &str) {
    let count: usize = count.parse().unwrap();
    let mut client = Client::connect(address, key).unwrap();
    // The key is in memory from here on.
    client.get("/v1/keys").unwrap();
    let before = metric(&mut client, "baton_store_reads_total");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..count {
            streams.push(TcpStream::connect(address).await.unwrap());
        }
        let request = format!("GET {path} HTTP/1.1\r\nHost: b\r\nx-api-key: {key}\r\n\r\n");
        for stream in &mut streams {
            stream.write_all(request.as_bytes()).await.unwrap();
        }
        for stream in &mut streams {
            let mut answer = [0; 4096];
            let length = stream.read(&mut answer).await.unwrap();
            assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "not found");
        }
    });
    let trips = metric(&mut client, "baton_store_reads_total") - before;
    println!("cold id: {count} concurrent readers, {trips} trip(s) to the store (goal 1)");
}
