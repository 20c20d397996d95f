//! [`Shared`]: what handlers ask for, made once and shared by all workers.

use actix_web::web::Data;
use actix_web::web::ServiceConfig;

use crate::http::edge::Edge;
use crate::http::health::Readiness;
use crate::http::pages::Pages;
use crate::http::routes;
use crate::service::calls::Calls;
use crate::service::connectors::Connectors;
use crate::service::console::Console;
use crate::service::handoffs::Handoffs;
use crate::service::keys::Keys;
use crate::service::tasks::Tasks;
use crate::service::view_links::Views;

/// What handlers ask for.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) edge: Data<Edge>,
    pub(super) readiness: Data<Readiness>,
    pub(super) handoffs: Data<Handoffs>,
    pub(super) calls: Data<Calls>,
    pub(super) tasks: Data<Tasks>,
    pub(super) keys: Data<Keys>,
    pub(super) connectors: Data<Connectors>,
    pub(super) pages: Data<Pages>,
    pub(super) views: Data<Views>,
    pub(super) console: Data<Console>,
}

impl Shared {
    /// Mounts every route, with what its handler asks for.
    pub(super) fn mount(self, config: &mut ServiceConfig) {
        config
            .app_data(self.edge)
            .app_data(self.readiness)
            .app_data(self.handoffs)
            .app_data(self.calls)
            .app_data(self.tasks)
            .app_data(self.keys)
            .app_data(self.connectors)
            .app_data(self.pages)
            .app_data(self.views)
            .app_data(self.console);
        routes::mount(config);
    }
}
