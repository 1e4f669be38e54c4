//! What the owner of a replica says about elections and leadership, and what it proposes only for
//! as long as it leads.

use std::time::Duration;

use conclave_core::Command;
use openraft::{errors::ClientWriteError, vote::RaftLeaderId as _};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    Outcome, ProposeError, Replica,
    convert::{Completion, Leader},
};

impl Replica {
    /// Notes that the connection from another node has broken. If that one leads, this node
    /// campaigns as soon as its lease has run out, and not only after an election timeout.
    pub fn connection_lost(&self, node: u64) {
        self.inner.campaign.lost(node);
    }

    /// Leaves it to the other voters to campaign early, or takes its turn among them again. It is
    /// elected all the same if none of them is.
    pub fn stand_back(&self, stands_back: bool) {
        self.inner.campaign.stand_back(stands_back);
    }

    /// Transfers leadership, if this node has it, to the full follower with the most of the log.
    /// Returns whether another node leads when `limit` has passed.
    pub async fn step_down(&self, limit: Duration) -> bool {
        self.step_down_for(None, limit).await
    }

    /// Transfers leadership likewise, to node `to` if there is one.
    pub(crate) async fn step_down_for(&self, to: Option<u64>, limit: Duration) -> bool {
        self.inner.transferrer.transfer(to, limit).await
    }

    /// Proposes a command in this term and in no other: for a step that is right only if no other
    /// node has led since this one looked. Once an entry of this term is committed, so is
    /// everything that any other node has committed before it.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] if this node does not lead, leads in another term, has not heard
    /// from a majority since it was elected, or is a witness: nothing was proposed. Else see
    /// [`Replica::propose`].
    pub async fn propose_in_term(
        &self,
        command: Command,
        term: u64,
        limit: Duration,
    ) -> Result<Outcome, ProposeError> {
        if self.inner.config.witness {
            // It could not answer. Another voter leads in a moment.
            return Err(ProposeError::NotLeader { leader: None });
        }
        let unknown = || ProposeError::OutcomeUnknown { waited: limit };
        let commands = vec![command];
        self.is_introduced(&commands)?;
        let attempt = async {
            let entry = self.inner.clocks.entry(commands, &*self.inner.codec).await;
            let (reply, replied) = oneshot::channel();
            let completion = Completion(Box::new(move |result| {
                // A caller whose time has passed knows nothing of the outcome.
                let _ = reply.send(result);
            }));
            let as_leader = Leader::new(term, self.node());
            let write = self.inner.raft.write(entry).with_leader(as_leader);
            // If the core has stopped, the completion is dropped, and the reply with it.
            let _ = write.responder(completion).await;
            replied.await
        };
        match timeout(limit, attempt).await {
            Ok(Ok(Ok(decided))) => {
                let decided = decided.data.0.into_iter().next();
                let outcome = decided.map(|(answer, index)| Outcome { answer, index });
                outcome.ok_or_else(unknown)
            }
            Ok(Ok(Err(ClientWriteError::ForwardToLeader(to)))) => Err(ProposeError::NotLeader {
                leader: to.leader_id,
            }),
            Ok(Ok(Err(_))) | Err(_) => Err(unknown()),
            Ok(Err(_)) => Err(ProposeError::Stopping),
        }
    }
}
