//! A disk that fills up: writes are refused with 507, reads go on, and when there is room again the
//! store reopens by itself with everything it acknowledged.
//!
//! `folder` must be a small file system of its own (tests/faults mounts one).

use std::fs;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::server::Server;

pub fn run(baton: &str, folder: &str) {
    let data = format!("{folder}/data");
    fs::create_dir_all(&data).unwrap();
    // Room that is given back later.
    let ballast = format!("{folder}/ballast");
    fs::write(&ballast, vec![1; 4 << 20]).unwrap();
    let mut server = Server::start(baton, &data);
    let mut client = server.connect();
    let path = |n: u64| format!("/v1/handoff_state?id=full-{n}");
    let write = |n: u64| {
        format!("{{\"data\":{{\"n\":{n},\"pad\":\"{}\"}}}}", "x".repeat(20_000)).into_bytes()
    };
    let mut acknowledged = Vec::new();
    let mut refusals = Vec::new();
    for n in 0..5000 {
        match client.put(&path(n), &write(n)).unwrap().status {
            201 => acknowledged.push(n),
            status => {
                refusals.push(status);
                if refusals.len() == 20 {
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
    assert!(acknowledged.len() > 20 && refusals.len() == 20, "void: the disk did not fill up");
    let unready = client.get("/readyz").unwrap().status;
    let read_all = |client: &mut crate::client::Client| {
        acknowledged.iter().filter(|n| client.get(&path(**n)).unwrap().status == 200).count()
    };
    let while_full = read_all(&mut client);
    fs::remove_file(&ballast).unwrap();
    let freed = Instant::now();
    while client.put(&path(9_999), &write(9_999)).unwrap().status != 201 {
        assert!(freed.elapsed() < Duration::from_secs(10), "writes never came back");
        thread::sleep(Duration::from_millis(20));
    }
    let recovered = freed.elapsed();
    let after = read_all(&mut client);
    server.kill();
    let server = Server::start(baton, &data);
    let restarted = read_all(&mut server.connect());
    refusals.dedup();
    println!(
        "disk full: {} acknowledged, then {refusals:?}, /readyz {unready}; read while full {while_full}, after {after}, restarted {restarted}; writes again after {recovered:?}",
        acknowledged.len()
    );
    assert!(refusals.iter().all(|status| [503, 507].contains(status)) && refusals.contains(&507));
    assert_eq!(
        (unready, while_full, after, restarted),
        (503, acknowledged.len(), acknowledged.len(), acknowledged.len())
    );
}
