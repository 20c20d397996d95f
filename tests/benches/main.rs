//! What `tests/bench` and `tests/faults` run beside Baton: peers to compare with, exact loads, and
//! the fault programmes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::pedantic,
    clippy::as_conversions,
    unreachable_pub,
    missing_debug_implementations,
    missing_docs,
    reason = "a programme that fails should say so and stop"
)]

mod bare;
mod calls;
mod client;
mod disk_full;
mod figures;
mod gets;
mod growth;
mod kill9;
mod raw_redb;
mod server;
mod waiters;

fn main() {
    // cargo itself passes `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["bare", address, body] => bare::serve(address, body),
        ["gets", address, path, key, count] => gets::send(address, path, key, count),
        ["fill", address, key, count] => gets::fill(address, key, count),
        ["redb", folder, writes, group] => raw_redb::write(folder, writes, group),
        ["kill9", baton, folder, cycles, seed] => kill9::run(baton, folder, cycles, seed),
        ["disk-full", baton, folder] => disk_full::run(baton, folder),
        ["waiters", address, key, pid, count] => waiters::wait(address, key, pid, count),
        ["cold", address, key, path, count] => waiters::cold(address, key, path, count),
        ["calls", address, connector, account, token, rate, seconds] => {
            calls::play(address, connector, (account, token), (rate, seconds));
        }
        ["growth", baton, folder, counts] => growth::run(baton, folder, counts),
        [] => {}
        other => {
            eprintln!("unknown programme {other:?}; tests/bench and tests/faults know them");
            std::process::exit(64);
        }
    }
}
