//! [`Views`]: making view links.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use secrecy::SecretString;

use crate::auth::api_key::KeyDoor;
use crate::auth::view_link::Opens;
use crate::auth::view_link::ViewLinks;
use crate::domain::clock::Clock;
use crate::domain::clock::Timestamp;
use crate::domain::connector::Connector;
use crate::domain::handoff::Handoff;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Credential;
use crate::domain::principal::Principal;
use crate::domain::view_link::Maker;
use crate::service::error::ConnectorError;
use crate::service::error::ServiceError;
use crate::service::error::ViewLinkError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::Handoffs;
use crate::service::handoffs::Patience;
use crate::service::handoffs::Tells;

/// How long a link in a task's attributes is good: as a call token.
pub const IN_TASK: Duration = Duration::from_secs(4 * 3600);

/// Use cases on view links.
#[derive(Debug)]
pub struct Views {
    /// The handoffs that they open.
    pub handoffs: Arc<Handoffs>,
    /// What signs them.
    pub links: Arc<ViewLinks>,
    /// Where Baton is, as browsers reach it; nothing where nobody said so.
    pub public_url: Option<String>,
    /// What time it is.
    pub clock: Clock,
}

/// A view link, made.
#[derive(Debug)]
pub struct Made {
    /// The handoff that it opens.
    pub handoff: Arc<Handoff>,
    /// The link; its fragment is the secret.
    pub url: SecretString,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Views {
    /// Makes a link to a handoff that is there, good for `life`, or as long as whoever makes it is.
    pub async fn make(
        &self,
        keys: &KeyDoor,
        who: &Principal,
        ask: &Ask,
        life: Duration,
    ) -> Result<Made, ServiceError> {
        let by = match (&who.credential, &who.acting) {
            (Credential::Key, _) => Maker::Key(keys.mark(who)),
            (Credential::ConnectorToken(token), Some(acting)) => {
                Maker::Token(acting.connector.clone(), token.clone())
            }
            (
                Credential::ConnectorToken(_)
                | Credential::TwilioSignature
                | Credential::LinkedSignature { .. }
                | Credential::CallToken
                | Credential::FlexUser(_)
                | Credential::ViewLink(_),
                _,
            ) => return Err(ViewLinkError::NotByThis.into()),
        };
        let public_url = self.public_url.as_deref().ok_or(ConnectorError::NoPublicUrl)?;
        let peek = Patience { tells: Tells::Nothing, ..Patience::default() };
        let handoff = self.handoffs.read(who, ask, peek, || Ok(None::<()>)).await?.handoff;
        let now = self.clock.now();
        let end = now.plus(life);
        let expires_at = who.expires_at.map_or(end, |own| own.min(end));
        let heading = &handoff.heading;
        let opens = Opens {
            account: &heading.account,
            project: &heading.project,
            environment: heading.client_env,
            id: &heading.id,
            by,
        };
        let token = self.links.mint(&opens, now, expires_at).map_err(ViewLinkError::NotMade)?;
        let url = url(public_url, &heading.id, &token);
        // To the second, as the token has it.
        let expires_at = Timestamp::from_micros(expires_at.micros() / 1_000_000 * 1_000_000);
        Ok(Made { handoff, url, expires_at })
    }
}

/// The link of a connector's own to a call's handoff, for the attributes of its task, if it wants one
/// there.
pub fn in_task(
    links: &ViewLinks,
    connector: &Connector,
    id: &HandoffId,
    (public_url, now): (&str, Timestamp),
) -> Option<SecretString> {
    if !connector.settings.flex.view_link {
        return None;
    }
    let opens = Opens {
        account: &connector.account,
        project: &connector.project,
        environment: Some(connector.client_env),
        id,
        by: Maker::Connector(connector.id.clone()),
    };
    let made = links.mint(&opens, now, now.plus(IN_TASK));
    let made =
        made.inspect_err(|why| tracing::error!(error = %why, "a task goes without its view link"));
    made.ok().map(|token| url(public_url, id, &token))
}

/// The fragment is not sent to servers, so it stands in no log of theirs.
fn url(public_url: &str, id: &HandoffId, token: &SecretString) -> SecretString {
    format!("{public_url}/panel?id={id}#view={}", token.expose_secret()).into()
}
