//! Exactly so many reads, one after the other, for counting instructions; and so many handoffs to read.

use crate::client::Client;

pub fn send(address: &str, path: &str, key: &str, count: &str) {
    let mut client = Client::connect(address, key).unwrap();
    for _ in 0..count.parse::<u32>().unwrap() {
        assert_eq!(client.get(path).unwrap().status, 200);
    }
}

/// Writes so many handoffs of 2 KB, by several writers at once.
pub fn fill(address: &str, key: &str, count: &str) {
    const WRITERS: u32 = 16;
    let count: u32 = count.parse().unwrap();
    let body = format!("{{\"data\":{{\"pad\":\"{}\"}}}}", "x".repeat(1980));
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let body = body.as_bytes();
            scope.spawn(move || {
                let mut client = Client::connect(address, key).unwrap();
                for n in (1..=count).filter(|n| n % WRITERS == writer) {
                    let path = format!("/v1/handoff_state?id=CA{n:032x}");
                    assert_eq!(client.put(&path, body).unwrap().status, 201);
                }
            });
        }
    });
}
