//! [`ViewLinks`]: short-lived tokens for the panel, each for one handoff. Nothing is kept of one: it is
//! good until its time, while whoever made it is.

use std::sync::Arc;

use secrecy::SecretString;
use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

use crate::auth::jwt::BadSigningKey;
use crate::auth::jwt::Jwts;
use crate::auth::jwt::Purpose;
use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::clock::Timestamp;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
use crate::domain::principal::Projects;
use crate::domain::principal::Reach;
use crate::domain::principal::ReadDefaults;
use crate::domain::principal::Scope;
use crate::domain::random::random_text;
use crate::domain::view_link::Maker;
use crate::domain::view_link::ViewLink;

const PURPOSE: Purpose = Purpose { typ: "baton-view+jwt", audience: "baton:view" };

/// Makes view links, and reads them.
#[derive(Debug)]
pub struct ViewLinks {
    jwts: Arc<Jwts>,
}

/// What a view link is to open.
#[derive(Clone, Debug)]
pub struct Opens<'h> {
    /// Whose handoff.
    pub account: &'h AccountId,
    /// Of which project.
    pub project: &'h ProjectId,
    /// Of which environment, if it is of one.
    pub environment: Option<ClientEnv>,
    /// Which.
    pub id: &'h HandoffId,
    /// Who makes the link.
    pub by: Maker,
}

/// A view link could not be made.
#[derive(Clone, Copy, Debug, Error)]
pub enum NotMade {
    /// It could not be signed.
    #[error(transparent)]
    Unsigned(#[from] BadSigningKey),
    /// The system has no random bytes.
    #[error("the system's random source failed")]
    NoRandom,
}

#[derive(Serialize, Deserialize)]
struct Says {
    sub: HandoffId,
    jti: String,
    acc: AccountId,
    prj: ProjectId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<ClientEnv>,
    by: Maker,
}

impl ViewLinks {
    /// Links signed by `jwts`.
    pub fn new(jwts: Arc<Jwts>) -> Self {
        Self { jwts }
    }

    /// The text of a link's token, good from `now` until `end`, to the second.
    pub fn mint(
        &self,
        opens: &Opens<'_>,
        now: Timestamp,
        end: Timestamp,
    ) -> Result<SecretString, NotMade> {
        let says = Says {
            sub: opens.id.clone(),
            jti: random_text(10).map_err(|_no_random| NotMade::NoRandom)?,
            acc: opens.account.clone(),
            prj: opens.project.clone(),
            env: opens.environment,
            by: opens.by.clone(),
        };
        let life = (now.micros() / 1_000_000, end.micros() / 1_000_000);
        Ok(self.jwts.sign(PURPOSE, life, says)?)
    }

    /// Who presents a link's token; whether it still is good, and its maker, is for the caller to see.
    pub(super) fn read(&self, text: &str) -> Option<Principal> {
        let claims = self.jwts.read::<Says>(PURPOSE, text)?;
        let Says { sub, acc, prj, env, by, .. } = claims.says;
        // All links of one maker are one reader: whoever makes many must not push out others.
        let name = match &by {
            Maker::Key(mark) => mark.split(':').next().unwrap_or_default().to_owned(),
            Maker::Token(connector, _) | Maker::Connector(connector) => connector.to_string(),
        };
        let link = ViewLink { id: sub, environment: env, by };
        Some(Principal {
            credential: Credential::ViewLink(Arc::new(link)),
            name: format!("view:{name}"),
            reach: Reach::Account(acc),
            projects: Projects::Only(vec![prj]),
            scopes: vec![Scope::HandoffRead],
            expires_at: Some(Timestamp::from_micros(claims.exp.saturating_mul(1_000_000))),
            read_defaults: ReadDefaults::default(),
            acting: None,
        })
    }
}
