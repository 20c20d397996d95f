//! A call's end, and what is told of its stream.

use crate::domain::call::Call;
use crate::domain::connector::routing::TaskHold;
use crate::domain::handoff_id::HandoffId;
use crate::domain::principal::Scope;
use crate::service::calls::Asked;
use crate::service::calls::Calls;
use crate::service::calls::admit;
use crate::service::calls::ask;
use crate::service::error::ServiceError;
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
        let known = known.map(Found::live);
        admit(asked, &known)?;
        if let Some(parent) = asked.webhook.parent().filter(|parent| *parent != call) {
            self.join(asked, &call, &parent).await?;
        }
        let has_ended = known?.is_some_and(|known| known.record.ended_at.is_some());
        if has_ended || !asked.webhook.is_over() {
            return Ok(());
        }
        let TaskHold(seconds) = asked.connector.settings.routing.task_hold_seconds;
        self.parts.handoffs.hold(asked.who, &ask(asked, &call), seconds).await?;
        // Last: whoever repeats what failed half-way finds that there is something left to do.
        let now = self.parts.clock.now().micros();
        self.change(asked, &call, |call| {
            let is_new = call.ended_at.is_none();
            is_new.then(|| Call { ended_at: Some(now), ..call.clone() })
        })
        .await
    }

    /// Lets the handoff of either of two calls be found by the other's SID too.
    async fn join(
        &self,
        asked: &Asked<'_>,
        call: &HandoffId,
        parent: &HandoffId,
    ) -> Result<(), ServiceError> {
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
                self.change(asked, &call, |call| {
                    let is_new = leg > call.failed_leg && leg <= call.legs;
                    is_new.then(|| Call { failed_leg: leg, ..call.clone() })
                })
                .await
            }
        }
    }
}
