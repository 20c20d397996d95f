//! What programmes read off a running server, and how they sum it up.

use std::time::Duration;

use crate::client::Client;

/// A metric's value.
pub fn metric(client: &mut Client, name: &str) -> f64 {
    let text = String::from_utf8(client.get("/metrics").unwrap().body).unwrap();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Bytes of memory that a process holds.
pub fn resident(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// The time that `percent` of all took at most.
pub fn at(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
