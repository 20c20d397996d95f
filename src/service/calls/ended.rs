//! A call's end, and what is told of its stream.

use std::time::Duration;

use tokio::time::timeout;

use crate::domain::connector::routing::TaskHold;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Scope;
use crate::domain::timeline::What;
use crate::service::calls::Asked;
use crate::service::calls::Calls;
use crate::service::calls::STORE_PATIENCE;
use crate::service::calls::admit;
use crate::service::calls::ask;
use crate::service::calls::goes_on_without;
use crate::service::error::CallError;
use crate::service::error::ServiceError;
use crate::service::handoffs::Ask;
use crate::service::handoffs::By;
use crate::service::require;
use crate::store::l1::Found;
use crate::store::names;
use crate::twilio::webhook::StreamError;

impl Calls {
    /// A call's status. Once it is over, its tokens end soon, and its handoff is held as long as a task
    /// may wait for a person. Of a call that another began, both SIDs find the handoff from now on.
    pub async fn ended(&self, asked: &Asked<'_>) -> Result<(), ServiceError> {
        require(asked.who, Scope::HandoffWrite, Some(&asked.connector.account))?;
        let Some(call) = asked.webhook.call() else { return Ok(()) };
        let known = self.parts.calls.get(&names::call(&asked.connector.id, &call)).await;
        admit(asked, &known.map(Found::live))?;
        if asked.webhook.is_over() {
            let TaskHold(seconds) = asked.connector.settings.routing.task_hold_seconds;
            // It may stand under the SID of the call's parent.
            let handoff = self.there(asked, &call).await?.ok();
            let now = self.parts.clock.now();
            let held_until = now.plus(Duration::from_secs(seconds.into()));
            let lives_until = handoff.as_ref().map_or(held_until, |handoff| handoff.expires_at);
            let keep_until = held_until.max(lives_until);
            let what = What::CallStatus { status: asked.webhook.status().to_owned() };
            let notes = self.noted(asked, &call, &what, "ended");
            self.change(asked, &call, &notes, |call| call.ended(now, keep_until)).await?;
            let connector = Some(asked.connector.id.clone());
            self.parts.timelines.settle(&asked.connector.account, &call, connector);
            // After that: whoever writes looks for the end once it has written.
            let own = handoff.map_or(call.clone(), |handoff| handoff.heading.id.clone());
            let ask = Ask { by: By::Id(own), ..ask(asked, &call) };
            self.parts.handoffs.hold(asked.who, &ask, seconds).await?;
        }
        match asked.webhook.parent().filter(|parent| *parent != call) {
            Some(parent) => self.join(asked, &call, &parent).await,
            None => Ok(()),
        }
    }

    /// The same where somebody else must be told of it all the same.
    pub async fn ended_in_flow(&self, asked: &Asked<'_>) -> Result<(), ServiceError> {
        match timeout(STORE_PATIENCE, self.ended(asked)).await {
            Ok(Err(refused @ ServiceError::Call(CallError::Unknown))) => Err(refused),
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => {
                goes_on_without(asked, &why);
                Ok(())
            }
            Err(late) => {
                goes_on_without(asked, &late);
                Ok(())
            }
        }
    }

    /// Lets the handoff of either of two calls be found by the other's SID too.
    async fn join(
        &self,
        asked: &Asked<'_>,
        call: &HandoffId,
        parent: &HandoffId,
    ) -> Result<(), ServiceError> {
        // The agent's leg of a call that was sent there. Whatever else a request names as its parent may be
        // somebody else's call.
        let parents = self.parts.calls.get(&names::call(&asked.connector.id, parent)).await?;
        if parents.live().is_none_or(|parent| parent.record.legs == 0) {
            return Ok(());
        }
        for (own, other) in [(call, parent), (parent, call)] {
            let mut ask = ask(asked, call);
            ask.by = By::Id(own.clone());
            match self.parts.handoffs.add_aliases(asked.who, &ask, vec![other.clone()]).await {
                // Each has one of its own, or this one has no room for more.
                Err(ServiceError::AliasTaken(_) | ServiceError::TooManyAliases) => return Ok(()),
                Err(ServiceError::NoHandoff(_)) => {}
                added => return added.map(drop),
            }
        }
        Ok(())
    }

    /// What is told of a stream. An agent that closes its socket when it is done ends its stream with
    /// error 31921, which is as it should be.
    pub async fn streamed(&self, asked: &Asked<'_>) -> Result<(), ServiceError> {
        require(asked.who, Scope::HandoffWrite, Some(&asked.connector.account))?;
        let Some(call) = asked.webhook.call() else { return Ok(()) };
        let connector_id = &asked.connector.id;
        match asked.webhook.stream_error() {
            None => Ok(()),
            Some(StreamError::ClosedByAgent) => {
                tracing::info!(%connector_id, call_sid = %call, "the agent closed its stream; Twilio's error 31921 is expected then");
                Ok(())
            }
            Some(StreamError::Failed) => {
                tracing::warn!(%connector_id, call_sid = %call, "the agent's stream failed; Twilio's debugger has the error");
                let known = self.parts.calls.get(&names::call(connector_id, &call)).await;
                admit(asked, &known.map(Found::live))?;
                let leg = asked.webhook.leg();
                let notes = self.noted(asked, &call, &What::AgentFailed { leg }, "failed");
                self.change(asked, &call, &notes, |call| call.failed(leg)).await
            }
        }
    }
}
