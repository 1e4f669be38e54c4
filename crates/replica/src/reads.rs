//! Linearizable reads: up to where must this node have applied?
//!
//! The leader confirms with a majority that it still leads and names its commit index; any node
//! that has applied that far may answer from its own database.
//!
//! Many readers share one confirmation: those that come while one is under way wait for the next,
//! so a confirmation always starts after the read that it serves.

use std::{sync::Arc, time::Duration};

use openraft::raft::ReadPolicy;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{Lane, Member, ReadError, Transport, apply::Raft};

/// Readers waiting for a confirmation. At the bound further ones wait before they queue, until
/// their own deadline.
const WAITING_MAX: usize = 4096;

/// How long one confirmation may take before it is tried again.
const CONFIRM_LIMIT: Duration = Duration::from_millis(1000);

/// Result of a confirmation: the index, or the leader if this node does not lead.
pub(crate) type Confirmed = Result<u64, Option<u64>>;

/// The way in.
#[derive(Clone)]
pub(crate) struct Handle {
    waiting: mpsc::Sender<oneshot::Sender<Confirmed>>,
}

impl Handle {
    /// Returns the index up to which a read that starts now must have applied. The caller sets the
    /// deadline by dropping the future.
    pub(crate) async fn confirm(&self) -> Result<Confirmed, ReadError> {
        let (reply, confirmed) = oneshot::channel();
        self.waiting
            .send(reply)
            .await
            .map_err(|_| ReadError::Stopping)?;
        Ok(confirmed.await.unwrap_or(Err(None)))
    }
}

/// Confirms on behalf of all that wait.
pub(crate) struct Reads {
    pub(crate) node: u64,
    pub(crate) raft: Raft,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) leader: watch::Receiver<Option<u64>>,
    pub(crate) member_of: Arc<dyn Fn(u64) -> Option<Member> + Send + Sync>,
}

impl Reads {
    /// Starts the task; it ends when the last handle is dropped.
    pub(crate) fn start(self) -> Handle {
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        tokio::spawn(self.run(queue));
        Handle { waiting }
    }

    async fn run(self, mut queue: mpsc::Receiver<oneshot::Sender<Confirmed>>) {
        let mut waiting = Vec::new();
        while queue.recv_many(&mut waiting, WAITING_MAX).await > 0 {
            let leader = *self.leader.borrow();
            let confirmed = match leader {
                Some(leader) if leader == self.node => self.here().await,
                Some(leader) => self.from(leader).await,
                None => Err(None),
            };
            for reply in waiting.drain(..) {
                // A caller that has stopped waiting does not miss it.
                let _ = reply.send(confirmed);
            }
        }
    }

    /// Asks a majority, as the leader.
    pub(crate) async fn here(&self) -> Confirmed {
        let confirmation = self.raft.get_read_log_id(ReadPolicy::ReadIndex);
        match tokio::time::timeout(CONFIRM_LIMIT, confirmation).await {
            Ok(Ok((read, _applied))) => Ok(read.index()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "failed to confirm a read index");
                Err(None)
            }
            Err(_) => Err(None),
        }
    }

    /// Asks the leader to ask a majority, as a follower.
    async fn from(&self, leader: u64) -> Confirmed {
        let member = (self.member_of)(leader).ok_or(None)?;
        let peer = self.transport.peer(leader, &member, Lane::Calls);
        let mut known = self.leader.clone();
        let asked = tokio::select! {
            asked = peer.read_index(CONFIRM_LIMIT) => asked,
            // A leader that hangs must not hold callers that could ask the next one.
            _ = known.wait_for(|now| *now != Some(leader)) => return Err(None),
        };
        match asked {
            Ok(Ok(index)) => Ok(index),
            Ok(Err(ReadError::NotLeader { leader })) => Err(leader),
            Ok(Err(_)) | Err(_) => Err(None),
        }
    }
}
