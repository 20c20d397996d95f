//! [`RequestState`]: what the edge knows of a request and the rooms behind it add to.

use std::cell::Cell;
use std::cell::OnceCell;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::HttpRequest;
use actix_web::web::Bytes;
use tokio::time::Instant;

use crate::domain::account::AccountId;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Principal;
use crate::http::load::Permit;
use crate::store::connector::StoredConnector;
use crate::twilio::form::Pairs;

/// What a request is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its own body.
    Body,
    /// Its answer.
    Work,
}

/// The state of one request.
#[derive(Debug)]
pub struct RequestState {
    /// `X-PolyAI-Correlation-Id`, formatted once.
    pub correlation_id: String,
    /// Who asks, once the gate knows.
    pub principal: OnceCell<Arc<Principal>>,
    /// Which handoff it is about, for the access line.
    pub subject: OnceCell<HandoffId>,
    /// The parameters of a request of Twilio's, of query and body: those that were verified, or
    /// those that came with a key.
    pub parameters: OnceCell<Pairs>,
    /// Of a webhook, those of its query and those of its form apart: either can be moved into the other
    /// without breaking the signature.
    pub apart: OnceCell<(Pairs, Pairs)>,
    /// Of events that came as JSON, their body.
    pub streamed: OnceCell<Bytes>,
    /// The account that it names, or that its caller is of.
    pub account: OnceCell<AccountId>,
    /// The connector that such a request goes through, if it names one that there is.
    pub connector: OnceCell<Arc<StoredConnector>>,
    /// What such a request has in common with its own repetitions, and with nothing else.
    pub fingerprint: OnceCell<String>,
    /// Leave to be in flight; given up when it begins to wait.
    pub permit: RefCell<Option<Permit>>,
    /// When its head was there.
    pub started: Instant,
    /// When it began to wait for a handoff, if it did.
    pub waiting_since: Cell<Option<Instant>>,
    deadline: Cell<(Instant, Stage)>,
}

impl RequestState {
    /// A request that began at `started` and must be answered within `limit`.
    pub fn new(correlation_id: String, started: Instant, limit: Duration) -> Self {
        Self {
            correlation_id,
            principal: OnceCell::new(),
            subject: OnceCell::new(),
            parameters: OnceCell::new(),
            apart: OnceCell::new(),
            streamed: OnceCell::new(),
            account: OnceCell::new(),
            connector: OnceCell::new(),
            fingerprint: OnceCell::new(),
            permit: RefCell::new(None),
            started,
            waiting_since: Cell::new(None),
            deadline: Cell::new((started + limit, Stage::Work)),
        }
    }

    /// The state that the edge gave a request.
    pub fn of(request: &HttpRequest) -> Option<Rc<Self>> {
        request.extensions().get::<Rc<Self>>().cloned()
    }

    /// When it is over, and what it will have been waiting for.
    pub fn deadline(&self) -> (Instant, Stage) {
        self.deadline.get()
    }

    /// From now on it waits for `stage`, `limit` at most.
    pub fn wait_for(&self, stage: Stage, limit: Duration) {
        self.deadline.set((Instant::now() + limit, stage));
    }
}
