//! What stands on connectors: their tokens, the accounts that sign for them, their use cases.

use std::sync::Arc;

use crate::app::CREDENTIALS_FIRST;
use crate::app::StartError;
use crate::app::block_on;
use crate::app::patiently;
use crate::auth::api_key::KeyDoor;
use crate::auth::call_token::CallTokens;
use crate::auth::connector_token::ConnectorTokens;
use crate::auth::doors::Doors;
use crate::auth::flex::FlexDoor;
use crate::auth::jwt::Jwts;
use crate::auth::session::SessionDoor;
use crate::auth::twilio_request::TwilioDoor;
use crate::auth::view_link::ViewLinks;
use crate::config::Settings;
use crate::domain::public_url::PublicUrl;
use crate::service::calls;
use crate::service::calls::Calls;
use crate::service::connectors::Connectors;
use crate::service::connectors::Parts;
use crate::service::connectors::Reached;
use crate::service::console::Console;
use crate::service::handoffs::Handoffs;
use crate::service::tasks;
use crate::service::tasks::Open;
use crate::service::tasks::Tasks;
use crate::service::timelines::Timelines;
use crate::service::view_links::Views;
use crate::store::call::StoredAnswer;
use crate::store::call::StoredCall;
use crate::store::callers::Callers;
use crate::store::connector::StoredConnector;
use crate::store::instance::Instance;
use crate::store::journals::Journals;
use crate::store::record::StoredKey;
use crate::store::records::Records;
use crate::store::records::Store;
use crate::store::session::StoredSession;
use crate::telemetry::metrics::LookUps;
use crate::telemetry::metrics::Metrics;
use crate::twilio::iam::Iam;
use crate::twilio::rest::Rest;
use crate::twilio::tasks::TaskApi;

// A connector takes some five kilobytes.
const L1_BYTES: u64 = 8 << 20;
// A call takes some three kilobytes while its answer is remembered; what has left memory is read from
// the store.
const CALLS_L1_BYTES: u64 = 16 << 20;
const ANSWERS_L1_BYTES: u64 = 8 << 20;
const TASKS_L1_BYTES: u64 = 8 << 20;
const SESSIONS_L1_BYTES: u64 = 1 << 20;

/// Connectors and the doors they open.
pub(super) struct Linked {
    pub(super) stored: Arc<Records<StoredConnector>>,
    pub(super) twilio: Arc<TwilioDoor>,
    pub(super) calls: Arc<Records<StoredCall>>,
    pub(super) answers: Arc<Records<StoredAnswer>>,
    pub(super) timelines: Arc<Timelines>,
    pub(super) open: Arc<Open>,
    pub(super) views: Arc<ViewLinks>,
    pub(super) callers: Callers,
    tokens: Arc<ConnectorTokens>,
    store: Store,
}

impl Linked {
    /// Connectors in `store`; `local` are this server's own URLs, for when no public one is set.
    pub(super) fn new(
        settings: &Settings,
        store: &Store,
        local: Vec<PublicUrl>,
        metrics: &Metrics,
    ) -> Result<Self, StartError> {
        let clock = &store.clock;
        let look_ups = metrics.look_ups("connector");
        let stored = Records::new(store.clone(), L1_BYTES, look_ups).first_for(CREDENTIALS_FIRST);
        let stored = Arc::new(stored);
        let look_ups = metrics.look_ups("call");
        let calls = Arc::new(Records::new(store.clone(), CALLS_L1_BYTES, look_ups));
        let look_ups = metrics.look_ups("answer");
        let answers = Arc::new(Records::new(store.clone(), ANSWERS_L1_BYTES, look_ups));
        let made = || Instance::find_or_make(store.kv.as_ref(), &store.seal);
        let instance = block_on(patiently(made))?;
        // The store's own key last: what it signed before others were given stays good.
        let given = settings.signing_keys.iter().flatten().cloned();
        let keys: Vec<_> = given.chain([instance.signing_key]).collect();
        let jwts = Arc::new(Jwts::new(&keys, instance.id).map_err(StartError::SigningKeys)?);
        let tokens = Arc::new(ConnectorTokens::new(Arc::clone(&jwts)));
        let views = Arc::new(ViewLinks::new(jwts));
        let twilio = Arc::new(TwilioDoor::new(&settings.twilio, local, clock.clone()));
        let timelines = Arc::new(Timelines::new(
            Journals::new(store.clone()),
            settings.timeline,
            clock.clone(),
            (metrics.reads_dropped.clone(), Arc::clone(&metrics.hour)),
        ));
        let callers = Callers::new(&store.seal)?;
        let open = if store.sharing.is_some() { Open::shared() } else { Open::default() };
        let (open, store) = (Arc::new(open), store.clone());
        Ok(Self { stored, twilio, calls, answers, timelines, open, views, callers, tokens, store })
    }

    /// The doors of those who hold a secret.
    pub(super) fn doors(&self, settings: &Settings, keys: KeyDoor) -> Result<Doors, StartError> {
        let clock = self.store.clock.clone();
        let iam = Iam::new(&settings.flex.iam_url);
        let roles = settings.flex.roles.clone();
        Ok(Doors {
            flex: FlexDoor::new(Arc::clone(&self.stored), iam, roles, clock),
            keys,
            tokens: Arc::clone(&self.tokens),
            views: Arc::clone(&self.views),
            sessions: SessionDoor::new(self.sessions(), self.store.clock.clone()),
            calls: CallTokens::new(&self.store.seal)?,
            visits: Arc::clone(&self.calls),
            connectors: Arc::clone(&self.stored),
            clock: self.store.clock.clone(),
        })
    }

    fn sessions(&self) -> Arc<Records<StoredSession>> {
        Arc::new(Records::new(self.store.clone(), SESSIONS_L1_BYTES, LookUps::default()))
    }

    /// What is done with view links.
    pub(super) fn view_links(&self, settings: &Settings, handoffs: Arc<Handoffs>) -> Views {
        let is_reached = !settings.twilio.public_urls.is_empty() || settings.twilio.is_local;
        Views {
            handoffs,
            links: Arc::clone(&self.views),
            public_url: is_reached.then(|| self.twilio.public_url().to_owned()),
            clock: self.store.clock.clone(),
        }
    }

    /// What operators see.
    pub(super) fn console(&self, handoffs: Arc<Handoffs>, metrics: &Metrics) -> Console {
        let look_ups = metrics.look_ups("task");
        Console {
            handoffs,
            timelines: Arc::clone(&self.timelines),
            calls: Arc::clone(&self.calls),
            // Kept in memory by whoever changes them.
            tasks: Arc::new(Records::new(self.store.clone(), 0, look_ups)),
            connectors: Arc::clone(&self.stored),
            callers: self.callers.clone(),
            clock: self.store.clock.clone(),
        }
    }

    /// What is done with calls.
    pub(super) fn calls(
        &self,
        handoffs: Arc<Handoffs>,
        metrics: &Metrics,
    ) -> Result<Calls, StartError> {
        Ok(Calls::new(calls::Parts {
            handoffs,
            calls: Arc::clone(&self.calls),
            answers: Arc::clone(&self.answers),
            tokens: CallTokens::new(&self.store.seal)?,
            links: Arc::clone(&self.views),
            callers: self.callers.clone(),
            public_url: self.twilio.public_url().to_owned(),
            timelines: Arc::clone(&self.timelines),
            clock: self.store.clock.clone(),
            outcomes: metrics.calls.clone(),
        }))
    }

    /// What is done with tasks.
    pub(super) fn tasks(
        &self,
        settings: &Settings,
        handoffs: Arc<Handoffs>,
        metrics: &Metrics,
    ) -> Tasks {
        let look_ups = metrics.look_ups("task");
        Tasks::new(tasks::Parts {
            handoffs,
            timelines: Arc::clone(&self.timelines),
            connectors: Arc::clone(&self.stored),
            calls: Arc::clone(&self.calls),
            open: Arc::clone(&self.open),
            tasks: Arc::new(Records::new(self.store.clone(), TASKS_L1_BYTES, look_ups)),
            api: TaskApi::new(&settings.flex.taskrouter_url),
            public_url: self.twilio.public_url().to_owned(),
            clock: self.store.clock.clone(),
        })
    }

    /// What is done with connectors.
    pub(super) fn use_cases(
        self,
        settings: &Settings,
        keys: Arc<Records<StoredKey>>,
    ) -> Connectors {
        Connectors::new(Parts {
            // Names are looked up when one is given, and never else.
            names: Arc::new(Records::new(self.store.clone(), 0, LookUps::default())),
            records: self.stored,
            keys,
            tokens: self.tokens,
            twilio: self.twilio,
            rest: Rest::new(&settings.twilio.api_url),
            clock: self.store.clock,
            reached: Reached {
                is_set: !settings.twilio.public_urls.is_empty(),
                is_local: settings.twilio.is_local,
            },
        })
    }
}
