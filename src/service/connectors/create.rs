//! Making a connector; one of each name in an environment of a project.

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::connector::Connector;
use crate::domain::connector::ConnectorId;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::connector::settings::Settings;
use crate::domain::principal::Principal;
use crate::domain::principal::Scope;
use crate::service::connectors::Connectors;
use crate::service::connectors::Issued;
use crate::service::connectors::RACES;
use crate::service::connectors::may_issue;
use crate::service::error::ConnectorError;
use crate::service::error::ServiceError;
use crate::service::require;
use crate::store::connector::Named;
use crate::store::connector::StoredConnector;
use crate::store::connector::StoredName;
use crate::store::kv::Change;
use crate::store::kv::Expect;
use crate::store::names;
use crate::store::record::Record;
use crate::store::records::Written;

/// A connector that shall be.
#[derive(Debug)]
pub struct New {
    /// Whose; the maker's own account when none is named.
    pub account: Option<AccountId>,
    /// Of which project.
    pub project: ProjectId,
    /// Of which environment.
    pub client_env: ClientEnv,
    /// All else.
    pub settings: Settings,
}

impl Connectors {
    /// Makes a connector and its first token.
    pub async fn create(&self, who: &Principal, new: New) -> Result<Issued, ServiceError> {
        let account = require(who, Scope::ConnectorManage, new.account.as_ref())?;
        may_issue(who)?;
        if !who.projects.include(&new.project) {
            return Err(ServiceError::ForeignProject(new.project));
        }
        let token = self.new_token(who)?;
        let id = ConnectorId::random().map_err(|_no_random| ServiceError::NoRandom)?;
        let text = self.mint(&id, &token)?;
        let connector = Connector {
            id: id.clone(),
            account,
            project: new.project,
            client_env: new.client_env,
            settings: new.settings,
            created_at: self.clock.now().micros(),
            tokens: vec![token.clone()],
            link: None,
            pending: None,
            cut_offs: 0,
            former: Vec::new(),
        };
        let naming = self.naming.lock().await;
        self.claim_name(&connector).await?;
        let key = names::connector(&id);
        let put = StoredConnector::new(connector.clone());
        let stored = match self.records.put(key, put, Expect::Absent, Change::Content).await? {
            Written::Done(stored) => stored,
            // Two of one id: 62^20 of them make this a failed random source.
            Written::Conflict => return Err(ServiceError::NoRandom),
        };
        if let Err(taken) = self.keeps_name(&connector).await {
            self.records.delete(names::connector(&id), Expect::Anything).await?;
            return Err(taken);
        }
        drop(naming);
        tracing::info!(key = who.name, connector = %id, "a connector was made");
        Ok(Issued { stored, token, text })
    }

    /// Gives a connector its name, unless another one that is there has it. The name is written before
    /// the connector, so that what a process that died half-way left behind is a name without one,
    /// which the next who asks takes over. Call it with [`Connectors::naming`] held: to a second
    /// process over the same store, a connector that is being made looks like that too.
    pub(super) async fn claim_name(&self, connector: &Connector) -> Result<(), ServiceError> {
        let key = names::connector_named(connector);
        for _ in 0..RACES {
            let there = self.names.load(&key).await?.live();
            let expect = match &there {
                None => Expect::Absent,
                Some(there) if there.record.id == connector.id => return Ok(()),
                Some(there) => {
                    let other =
                        self.records.load(&names::connector(&there.record.id)).await?.live();
                    let has_it =
                        |other: &StoredConnector| names::connector_named(&other.record) == key;
                    if other.is_some_and(|other| has_it(&other)) {
                        return Err(ConnectorError::NameTaken(there.record.id.clone()).into());
                    }
                    Expect::Revision(there.revision())
                }
            };
            let name = StoredName::new(Named { id: connector.id.clone() }, Timestamp::NEVER);
            match self.names.put(key.clone(), name, expect, Change::Content).await? {
                Written::Done(_) => return Ok(()),
                Written::Conflict => {}
            }
        }
        Err(ServiceError::Contended)
    }

    /// Whether a connector that is there by now still has its name: another may have taken it over
    /// before.
    pub(super) async fn keeps_name(&self, connector: &Connector) -> Result<(), ServiceError> {
        let there = self.names.load(&names::connector_named(connector)).await?.live();
        match there {
            Some(there) if there.record.id != connector.id => {
                Err(ConnectorError::NameTaken(there.record.id.clone()).into())
            }
            _ => Ok(()),
        }
    }

    /// Gives up a connector's name, if it has it. One that is not given up is taken over by the next who
    /// asks for it, so what was done before is not undone for it.
    pub(super) async fn release_name(&self, connector: &Connector) {
        let key = names::connector_named(connector);
        let released = async {
            let there = self.names.load(&key).await?.live();
            match there.filter(|there| there.record.id == connector.id) {
                // Taken over meanwhile, it is another's.
                Some(there) => {
                    let expect = Expect::Revision(there.revision());
                    self.names.delete(key.clone(), expect).await.map(|_| ())
                }
                None => Ok(()),
            }
        };
        if let Err(error) = released.await {
            tracing::warn!(connector = %connector.id, %error, "a name was not given up");
        }
    }
}
