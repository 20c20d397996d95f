//! Exactly so many reads, one after the other, for counting instructions.

use crate::client::Client;

pub fn send(address: &str, path: &str, key: &str, count: &str) {
    let mut client = Client::connect(address, key).unwrap();
    for _ in 0..count.parse::<u32>().unwrap() {
        assert_eq!(client.get(path).unwrap().status, 200);
    }
}
