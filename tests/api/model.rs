//! The API against a simple model of it: the same steps done to both must be answered alike.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest::test_runner::TestCaseError;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::harness::Client;
use crate::harness::Server;

// Few ids, so that steps meet.
const IDS: usize = 3;
const SHARED: usize = 2;
const TTL: u64 = 60;

#[derive(Clone, Debug)]
enum Step {
    /// By `PUT` or `POST`, with or without a shared id.
    Write {
        id: usize,
        post: bool,
        value: u8,
        shared: Option<usize>,
    },
    /// By a shared id alone.
    WriteShared {
        shared: usize,
        value: u8,
    },
    Patch {
        id: usize,
        value: Option<u8>,
    },
    Delete {
        id: usize,
    },
    DeleteShared {
        shared: usize,
    },
    Alias {
        id: usize,
        alias: usize,
    },
    Expire,
    Read {
        id: usize,
    },
    ReadAlias {
        alias: usize,
    },
    ReadShared {
        shared: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let shared = prop::option::of(0..SHARED);
    prop_oneof![
        4 => (0..IDS, any::<bool>(), 0..3_u8, shared)
            .prop_map(|(id, post, value, shared)| Step::Write { id, post, value, shared }),
        1 => (0..SHARED, 0..3_u8).prop_map(|(shared, value)| Step::WriteShared { shared, value }),
        2 => (0..IDS, prop::option::of(0..3_u8)).prop_map(|(id, value)| Step::Patch { id, value }),
        1 => (0..IDS).prop_map(|id| Step::Delete { id }),
        1 => (0..SHARED).prop_map(|shared| Step::DeleteShared { shared }),
        1 => (0..IDS, 0..2_usize).prop_map(|(id, alias)| Step::Alias { id, alias }),
        1 => Just(Step::Expire),
        2 => (0..IDS).prop_map(|id| Step::Read { id }),
        1 => (0..2_usize).prop_map(|alias| Step::ReadAlias { alias }),
        2 => (0..SHARED).prop_map(|shared| Step::ReadShared { shared }),
    ]
}

/// A handoff as the model has it.
#[derive(Clone, Debug)]
struct Kept {
    data: Value,
    shared: Option<String>,
    /// Counts changes of content, over all handoffs.
    at: u64,
}

#[derive(Default)]
struct Model {
    live: BTreeMap<String, Kept>,
    gone: BTreeMap<String, &'static str>,
    aliases: BTreeMap<String, String>,
    changes: u64,
}

/// What an answer says, without times and revisions.
type Said = (u16, String);

fn said(status: u16, what: impl Into<String>) -> Said {
    (status, what.into())
}

impl Model {
    fn found(&self, id: &str) -> Result<String, Said> {
        if self.live.contains_key(id) {
            return Ok(id.to_owned());
        }
        match self.aliases.get(id).filter(|named| self.live.contains_key(*named)) {
            Some(named) => Ok(named.clone()),
            None => Err(said(404, self.gone.get(id).copied().unwrap_or("HANDOFF_NOT_FOUND"))),
        }
    }

    fn sharing(&self, shared: &str) -> Result<String, Said> {
        let carries = |kept: &Kept| kept.shared.as_deref() == Some(shared);
        let carrying = self.live.iter().filter(|(_, kept)| carries(kept));
        let newest = carrying.max_by_key(|(_, kept)| kept.at).map(|(id, _)| id.clone());
        newest.ok_or_else(|| said(404, "HANDOFF_NOT_FOUND"))
    }

    fn write(&mut self, id: &str, data: Value, shared: Option<String>) -> Said {
        self.changes += 1;
        let before = self.live.get(id).cloned();
        let shared = shared.or_else(|| before.as_ref().and_then(|kept| kept.shared.clone()));
        let same = before.as_ref().is_some_and(|kept| kept.data == data && kept.shared == shared);
        let at = before.as_ref().filter(|_| same).map_or(self.changes, |kept| kept.at);
        self.live.insert(id.to_owned(), Kept { data, shared, at });
        said(if before.is_some() { 200 } else { 201 }, format!("{id} changed {}", !same))
    }

    fn erase(&mut self, id: &str) -> Said {
        self.live.remove(id);
        self.gone.insert(id.to_owned(), "HANDOFF_ERASED");
        self.aliases.retain(|_, named| named != id);
        said(204, "")
    }

    fn read(&self, id: &str) -> Said {
        let kept = &self.live[id];
        let mut document = json!({ "id": id, "data": kept.data });
        if let Some(shared) = &kept.shared {
            document["shared_id"] = json!(shared);
        }
        said(200, document.to_string())
    }

    fn take(&mut self, step: &Step, names: &Names) -> Said {
        let done = match step {
            Step::Write { id, value, shared, .. } => {
                let shared = shared.map(|n| names.shared(n));
                return self.write(&names.id(*id), json!({ "v": value }), shared);
            }
            Step::WriteShared { shared, value } => {
                let shared = names.shared(*shared);
                let id = self.sharing(&shared).unwrap_or_else(|_| shared.clone());
                return self.write(&id, json!({ "v": value }), Some(shared));
            }
            Step::Patch { id, value } => self.found(&names.id(*id)).map(|id| {
                let mut data = self.live[&id].data.clone();
                match value {
                    Some(value) => data["p"] = json!(value),
                    None => drop(data.as_object_mut().unwrap().remove("p")),
                }
                self.write(&id, data, None)
            }),
            Step::Delete { id } => self.found(&names.id(*id)).map(|id| self.erase(&id)),
            Step::DeleteShared { shared } => {
                self.sharing(&names.shared(*shared)).map(|id| self.erase(&id))
            }
            Step::Alias { id, alias } => self.found(&names.id(*id)).map(|id| {
                let alias = names.alias(*alias);
                match self.aliases.get(&alias).filter(|named| self.live.contains_key(*named)) {
                    Some(named) if *named != id => said(409, "ALIAS_TAKEN"),
                    _ => {
                        // Whatever is gone loses all its aliases when one of them is given anew.
                        let before = self.aliases.get(&alias).cloned();
                        if let Some(before) = before.filter(|before| *before != id) {
                            self.aliases.retain(|_, named| *named != before);
                        }
                        self.aliases.insert(alias, id);
                        said(200, "")
                    }
                }
            }),
            Step::Expire => {
                for (id, _) in std::mem::take(&mut self.live) {
                    self.gone.insert(id, "HANDOFF_EXPIRED");
                }
                Ok(said(0, ""))
            }
            Step::Read { id } => self.found(&names.id(*id)).map(|id| self.read(&id)),
            Step::ReadAlias { alias } => self.found(&names.alias(*alias)).map(|id| self.read(&id)),
            Step::ReadShared { shared } => {
                self.sharing(&names.shared(*shared)).map(|id| self.read(&id))
            }
        };
        done.unwrap_or_else(|missed| missed)
    }
}

/// Ids of one sequence, apart from those of all others.
struct Names(u64);

impl Names {
    fn id(&self, n: usize) -> String {
        format!("{}-id{n}", self.0)
    }

    fn shared(&self, n: usize) -> String {
        format!("{}-shared{n}", self.0)
    }

    fn alias(&self, n: usize) -> String {
        format!("{}-alias{n}", self.0)
    }
}

/// Does a step to the server.
async fn take(server: &Server, client: &Client, step: &Step, names: &Names) -> Said {
    server.clock.advance(Duration::from_micros(1));
    let body = |value: &u8, shared: Option<String>| {
        let mut body = json!({ "data": { "v": value }, "ttl_seconds": TTL });
        if let Some(shared) = shared {
            body["shared_id"] = json!(shared);
        }
        body.to_string()
    };
    let (method, query, body) = match step {
        Step::Write { id, post, value, shared } => {
            let method = if *post { Method::POST } else { Method::PUT };
            let body = body(value, shared.map(|n| names.shared(n)));
            (method, format!("?id={}", names.id(*id)), Some(body))
        }
        Step::WriteShared { shared, value } => {
            (Method::PUT, format!("?shared_id={}", names.shared(*shared)), Some(body(value, None)))
        }
        Step::Patch { id, value } => {
            let body = json!({ "data": { "p": value } }).to_string();
            (Method::PATCH, format!("?id={}", names.id(*id)), Some(body))
        }
        Step::Delete { id } => (Method::DELETE, format!("?id={}", names.id(*id)), None),
        Step::DeleteShared { shared } => {
            (Method::DELETE, format!("?shared_id={}", names.shared(*shared)), None)
        }
        Step::Alias { id, alias } => {
            let body = json!({ "aliases": [names.alias(*alias)] }).to_string();
            (Method::POST, format!("/aliases?id={}", names.id(*id)), Some(body))
        }
        Step::Expire => {
            server.clock.advance(Duration::from_secs(TTL));
            return said(0, "");
        }
        Step::Read { id } => (Method::GET, format!("?id={}", names.id(*id)), None),
        Step::ReadAlias { alias } => (Method::GET, format!("?id={}", names.alias(*alias)), None),
        Step::ReadShared { shared } => {
            (Method::GET, format!("?shared_id={}", names.shared(*shared)), None)
        }
    };
    let (status, answer) =
        client.bare(method.clone(), &format!("/v1/handoff_state{query}"), body).await;
    let what = match (method, &answer) {
        _ if status >= 400 => answer["error_code"].as_str().unwrap_or_default().to_owned(),
        (Method::GET, _) => answer.to_string(),
        (_, answer) if answer.get("changed").is_some() => {
            format!("{} changed {}", answer["id"].as_str().unwrap(), answer["changed"])
        }
        _ => String::new(),
    };
    said(status, what)
}

fn hold_to_the_model(flags: &[&str], sequences: u32) {
    let limits = ["--rate-requests", "0", "--rate-misses", "0", "--log", "off"];
    let server = Server::with(&[flags, &limits].concat());
    let client = server.admin();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let count = RefCell::new(0);
    let config = Config { cases: sequences, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 1..14), |steps| {
        *count.borrow_mut() += 1;
        let names = Names(*count.borrow());
        let mut model = Model::default();
        runtime.block_on(async {
            for (n, step) in steps.iter().enumerate() {
                let wanted = model.take(step, &names);
                let given = take(&server, &client, step, &names).await;
                let same = wanted.0 == given.0
                    && (wanted.1 == given.1 || {
                        let read = |text: &str| serde_json::from_str::<Value>(text).ok();
                        read(&wanted.1).is_some() && read(&wanted.1) == read(&given.1)
                    });
                if !same {
                    let why = format!("step {n}, {step:?}: model {wanted:?}, server {given:?}");
                    return Err(TestCaseError::fail(why));
                }
            }
            Ok(())
        })
    });
    outcome.unwrap_or_else(|why| panic!("{why}"));
    assert!(*count.borrow() >= u64::from(sequences));
}

#[test]
fn ten_thousand_sequences_are_answered_as_the_model_says() {
    let halves: Vec<_> = (0..2)
        .map(|_| std::thread::spawn(|| hold_to_the_model(&["--store", "memory"], 5000)))
        .collect();
    halves.into_iter().for_each(|half| half.join().unwrap());
}

#[test]
fn the_embedded_store_answers_as_the_model_says_and_so_it_does_without_memory() {
    hold_to_the_model(&[], 150);
    hold_to_the_model(&["--l1-max-bytes", "0"], 150);
}
