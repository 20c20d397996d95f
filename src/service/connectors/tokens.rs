//! A connector's tokens.

use std::time::Duration;

use crate::domain::connector::ConnectorId;
use crate::domain::connector::MAX_TOKENS;
use crate::domain::connector::Token;
use crate::domain::principal::Principal;
use crate::service::connectors::Connectors;
use crate::service::connectors::Issued;
use crate::service::connectors::may_issue;
use crate::service::error::ServiceError;

/// How long a token that is replaced still works, when nobody says.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 3600);
/// The longest grace.
pub const LONGEST_GRACE: Duration = Duration::from_secs(30 * 24 * 3600);

impl Connectors {
    /// Makes another token; those before it work for as long as `grace`, and then no more; of more than
    /// [`MAX_TOKENS`] the oldest stop at once. Without
    /// grace they stop with the answer to this.
    pub async fn rotate(
        &self,
        who: &Principal,
        id: &ConnectorId,
        grace: Duration,
    ) -> Result<Issued, ServiceError> {
        may_issue(who)?;
        self.reached_by(who, id).await?;
        let token = self.new_token(who)?;
        let text = self.mint(id, &token)?;
        let now = self.clock.now();
        let end = now.plus(grace.min(LONGEST_GRACE)).micros();
        let stored = self
            .change(id, |connector| {
                for old in &mut connector.tokens {
                    old.ends_at = old.ends_at.min(end);
                    old.replaced = true;
                }
                connector.tokens.retain(|old| old.is_live(now));
                connector.tokens.insert(0, token.clone());
                connector.tokens.truncate(MAX_TOKENS);
                Ok(())
            })
            .await?;
        let token_id = token.id.as_str();
        tracing::info!(key = who.name, connector = %id, token_id, "a connector has another token");
        Ok(Issued { stored, token, text })
    }

    /// The tokens that work, newest first.
    pub async fn tokens(
        &self,
        who: &Principal,
        id: &ConnectorId,
    ) -> Result<Vec<Token>, ServiceError> {
        let found = self.get(who, id).await?;
        Ok(found.record.live_tokens(self.clock.now()).cloned().collect())
    }
}
