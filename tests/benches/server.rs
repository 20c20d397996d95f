//! A Baton process that can be killed.

use std::io::BufRead;
use std::io::BufReader;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::client::Client;

pub struct Server {
    pub child: Child,
    pub address: String,
    pub key: String,
    /// From the start of the process to its first ready answer.
    pub ready_in: Duration,
}

impl Server {
    /// Starts `baton` on `folder` and waits until it is ready.
    pub fn start(baton: &str, folder: &str) -> Self {
        let started = Instant::now();
        let mut child = Command::new(baton)
            .args(["serve", "--listen", "127.0.0.1:0", "--drain-seconds", "0", "--log", "error"])
            // No limit on one key, which here is all clients there are.
            .args(["--data-dir", folder, "--rate-requests", "0", "--rate-misses", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
        let address = greeting.trim().rsplit('/').next().unwrap().to_owned();
        assert!(!address.is_empty(), "the server did not start");
        let key = std::fs::read_to_string(format!("{folder}/admin.key")).unwrap().trim().to_owned();
        loop {
            let ready = Client::connect(&address, &key).and_then(|mut c| c.get("/readyz"));
            if ready.is_ok_and(|answer| answer.status == 200) {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "never ready");
        }
        Self { child, address, key, ready_in: started.elapsed() }
    }

    pub fn connect(&self) -> Client {
        Client::connect(&self.address, &self.key).unwrap()
    }

    /// SIGTERM, and waits until it has ended well.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
