//! Presence and typing, which are true only for a moment.

use std::sync::Arc;

use conclave_core::ConversationId;
use conclave_wire::v1;

use crate::{CallError, Client, attempts::Attempts, rpc::Rpc};

impl Client {
    /// Returns the presence of 1 to 100 accounts, in the order of the names.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn presence(
        &self,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Vec<v1::Presence>, CallError> {
        let request = v1::GetPresenceRequest {
            names: names.into_iter().map(Into::into).collect(),
        };
        Ok(self.ask(request).await?.presences)
    }

    /// Tells the others in a conversation that the caller is writing. The cluster forgets it after
    /// six seconds, so it is tried once, and an error means only that the others were not told.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_CONVERSATION`.
    pub async fn set_typing(&self, conversation: ConversationId) -> Result<(), CallError> {
        let conversation_id = conversation.0;
        self.ask_once(v1::SetTypingRequest { conversation_id })
            .await?;
        Ok(())
    }

    /// Sets whether the caller is away from its device. The presence belongs to the stream
    /// ([`Client::subscribe`]) and is forgotten with it: set it again after
    /// [`crate::Item::Reconnected`]. Tried once.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_presence(&self, away: bool) -> Result<(), CallError> {
        self.ask_once(v1::SetPresenceRequest { away }).await?;
        Ok(())
    }

    /// Asks the node that serves the stream, or else the preferred node, and no other.
    async fn ask_once<R: Rpc>(&self, request: R) -> Result<R::Answer, CallError> {
        let timeouts = self.shared.timeouts;
        let mut attempts = Attempts::new(timeouts.total);
        let streaming = self.session.streaming().as_ref().map(Arc::clone);
        let node = streaming.unwrap_or_else(|| self.shared.nodes.pick());
        let Some(limit) = attempts.begin(&node, timeouts.attempt) else {
            return Err(attempts.give_up(R::KIND, None));
        };
        let failure = match self.attempt(&node, request, limit).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        attempts.note(&failure, true);
        let refusal = failure.next(R::KIND, false).refusal();
        Err(refusal.unwrap_or_else(|| attempts.give_up(R::KIND, None)))
    }
}
