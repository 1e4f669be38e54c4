//! Takes commands, packs those that wait into one entry, and proposes or forwards it.
//!
//! There is no timer: while an entry is under way the next commands gather, so one command on an
//! idle node leaves at once and a thousand on a busy one leave together.
//!
//! Always true: every command that was taken gets exactly one reply, at the latest when the
//! proposer is dropped; at most [`FLIGHTS_MAX`] entries are under way.

use std::{sync::Arc, time::Duration};

use conclave_core::{
    AccessOperation, AccountOperation, AdminOperation, Batch, Command, MessageOperation, Operation,
    limits::{BATCH_BYTES_MAX, BATCH_COMMANDS_MAX},
};
use openraft::{
    errors::ClientWriteError,
    raft::{ClientWriteResponse, ClientWriteResult},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::{
    Codec, Lane, Member, Outcome, Peer, PeerError, ProposeError, Transport,
    apply::Raft,
    clocks::Clocks,
    convert::{Commands, Completion, TypeConfig},
};

/// Commands waiting to be packed. At the bound further ones are refused: [`ProposeError::Busy`].
pub(crate) const QUEUE_MAX: usize = 8192;

/// Entries (or forwarded batches) under way. More would make batches smaller; fewer would leave
/// the disk idle while the network works.
const FLIGHTS_MAX: usize = 8;

/// How long a leader may take over a forwarded batch before another way is tried.
const FORWARD_LIMIT: Duration = Duration::from_secs(2);

/// Bytes of a command besides its texts: an upper estimate that needs no encoding.
const COMMAND_BYTES: usize = 128;
/// Bytes of the names and lines of a command that has no long text: two names, a hash, a topic.
const SHORT_BYTES_MAX: usize = 512;

/// Outcome of one attempt to get a command through.
pub(crate) type Attempt = Result<Outcome, Failure>;

/// The reason why an attempt did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Whether the command may have been proposed all the same.
    pub(crate) maybe_proposed: bool,
    /// The leader, if the attempt failed because another node leads.
    pub(crate) leader: Option<u64>,
}

impl Failure {
    fn before_proposing(leader: Option<u64>) -> Self {
        Self {
            maybe_proposed: false,
            leader,
        }
    }

    const UNKNOWN: Self = Self {
        maybe_proposed: true,
        leader: None,
    };
}

/// How far a command may travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To the leader, wherever it is.
    Cluster,
    /// No further than here: it has been forwarded already.
    Here,
}

struct Waiting {
    command: Command,
    reach: Reach,
    reply: oneshot::Sender<Attempt>,
}

/// The way in.
#[derive(Clone)]
pub(crate) struct Handle {
    queue: mpsc::Sender<Waiting>,
}

impl Handle {
    /// Makes one attempt. The caller sets the deadline by dropping the future; the command may
    /// still commit then.
    pub(crate) async fn attempt(
        &self,
        command: Command,
        reach: Reach,
    ) -> Result<Attempt, ProposeError> {
        let (reply, outcome) = oneshot::channel();
        self.queue
            .try_send(Waiting {
                command,
                reach,
                reply,
            })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => ProposeError::Busy,
                mpsc::error::TrySendError::Closed(_) => ProposeError::Stopping,
            })?;
        Ok(outcome.await.unwrap_or(Err(Failure::UNKNOWN)))
    }
}

/// Owns the queue.
pub(crate) struct Proposer {
    pub(crate) node: u64,
    pub(crate) raft: Raft,
    pub(crate) codec: Arc<dyn Codec>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) leader: watch::Receiver<Option<u64>>,
    pub(crate) member_of: Arc<dyn Fn(u64) -> Option<Member> + Send + Sync>,
    pub(crate) clocks: Clocks,
}

impl Proposer {
    /// Starts the proposer; it ends when the last handle is dropped.
    pub(crate) fn start(self) -> Handle {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(self.run(waiting));
        Handle { queue }
    }

    async fn run(self, mut queue: mpsc::Receiver<Waiting>) {
        let flights = Arc::new(Semaphore::new(FLIGHTS_MAX));
        let mut taken = Vec::with_capacity(BATCH_COMMANDS_MAX);
        while let Ok(flight) = flights.clone().acquire_owned().await {
            if queue.recv_many(&mut taken, BATCH_COMMANDS_MAX).await == 0 {
                return;
            }
            // A caller that has stopped waiting will ask again, with the same number.
            taken.retain(|waiting| !waiting.reply.is_closed());
            let leader = *self.leader.borrow();
            let mut flight = Some(flight);
            for pack in packs(&mut taken) {
                let flight = match flight.take() {
                    Some(flight) => flight,
                    None => match flights.clone().acquire_owned().await {
                        Ok(flight) => flight,
                        Err(_) => return,
                    },
                };
                match leader {
                    Some(leader) if leader == self.node => self.propose(pack, flight).await,
                    Some(leader) => self.forward(leader, pack, flight),
                    None => fail(pack.into_iter(), Failure::before_proposing(None)),
                }
            }
        }
    }

    /// Proposes one entry. The replies are given where the outcome becomes known.
    async fn propose(&self, pack: Vec<Waiting>, flight: OwnedSemaphorePermit) {
        let (commands, replies): (Vec<_>, Vec<_>) = pack
            .into_iter()
            .map(|waiting| (waiting.command, waiting.reply))
            .unzip();
        let now = self.clocks.stamp().await;
        let batch = Batch {
            proposed_at: now.log_time,
            date: now.date,
            commands,
        };
        let entry = Commands::of(batch, &*self.codec);
        let completion = Completion(Box::new(move |result: ClientWriteResult<TypeConfig>| {
            drop(flight);
            reply_all(replies, result);
        }));
        // If the core has stopped, the completion is dropped, and the replies with it.
        if let Err(error) = self.raft.write(entry).responder(completion).await {
            tracing::debug!(%error, "the core has stopped");
        }
    }

    /// Forwards commands to the leader. Those that were forwarded once go no further.
    fn forward(&self, leader: u64, pack: Vec<Waiting>, flight: OwnedSemaphorePermit) {
        let (here, away): (Vec<_>, Vec<_>) = pack
            .into_iter()
            .partition(|waiting| waiting.reach == Reach::Here);
        fail(here.into_iter(), Failure::before_proposing(Some(leader)));
        if away.is_empty() {
            return;
        }
        let Some(member) = (self.member_of)(leader) else {
            return fail(away.into_iter(), Failure::before_proposing(None));
        };
        let peer = self.transport.peer(leader, &member, Lane::Calls);
        let mut known = self.leader.clone();
        tokio::spawn(async move {
            // A leader that hangs must not hold what waits for the next one.
            let deposed = async move { known.wait_for(|now| *now != Some(leader)).await.is_ok() };
            forward_to(&*peer, away, deposed).await;
            drop(flight);
        });
    }
}

/// Forwards, and replies with what came of it; no longer than the peer leads.
async fn forward_to(peer: &dyn Peer, away: Vec<Waiting>, deposed: impl Future<Output = bool>) {
    let (commands, replies): (Vec<_>, Vec<_>) = away
        .into_iter()
        .map(|waiting| (waiting.command, waiting.reply))
        .unzip();
    let forwarded = tokio::select! {
        forwarded = peer.forward(commands, FORWARD_LIMIT) => forwarded,
        _ = deposed => Err(PeerError::Failed("another node leads".to_owned())),
    };
    let outcomes = match forwarded {
        Ok(outcomes) if outcomes.len() == replies.len() => outcomes,
        Ok(_) | Err(PeerError::Failed(_) | PeerError::BadSnapshot(_) | PeerError::Timeout(_)) => {
            return replies
                .into_iter()
                .for_each(|reply| drop(reply.send(Err(Failure::UNKNOWN))));
        }
        Err(PeerError::Unreachable(_)) => {
            let failure = Failure::before_proposing(None);
            return replies
                .into_iter()
                .for_each(|reply| drop(reply.send(Err(failure))));
        }
    };
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        let attempt = outcome.map_err(|error| match error {
            ProposeError::NotLeader { leader } => Failure::before_proposing(leader),
            ProposeError::Busy => Failure::before_proposing(None),
            ProposeError::NoLeader { .. }
            | ProposeError::OutcomeUnknown { .. }
            | ProposeError::Stopping => Failure::UNKNOWN,
        });
        // A caller that has stopped waiting will ask again, with the same number.
        let _ = reply.send(attempt);
    }
}

fn reply_all(replies: Vec<oneshot::Sender<Attempt>>, result: ClientWriteResult<TypeConfig>) {
    let failure = match result {
        Ok(ClientWriteResponse { data, .. }) => {
            assert_eq!(
                data.0.len(),
                replies.len(),
                "an entry has one answer for each command"
            );
            for (reply, (answer, index)) in replies.into_iter().zip(data.0) {
                let _ = reply.send(Ok(Outcome { answer, index }));
            }
            return;
        }
        Err(ClientWriteError::ForwardToLeader(to)) => Failure::before_proposing(to.leader_id),
        Err(error) => {
            tracing::debug!(%error, "proposal outcome unknown");
            Failure::UNKNOWN
        }
    };
    replies
        .into_iter()
        .for_each(|reply| drop(reply.send(Err(failure))));
}

fn fail(pack: impl Iterator<Item = Waiting>, failure: Failure) {
    pack.for_each(|waiting| drop(waiting.reply.send(Err(failure))));
}

/// Cuts what was taken into entries of at most [`BATCH_BYTES_MAX`].
fn packs(taken: &mut Vec<Waiting>) -> Vec<Vec<Waiting>> {
    let mut packs = Vec::with_capacity(1);
    let mut pack = Vec::with_capacity(taken.len());
    let mut bytes = 0;
    for waiting in taken.drain(..) {
        let more = bytes_of(&waiting.command);
        if bytes + more > BATCH_BYTES_MAX && !pack.is_empty() {
            packs.push(std::mem::take(&mut pack));
            bytes = 0;
        }
        bytes += more;
        pack.push(waiting);
    }
    if !pack.is_empty() {
        packs.push(pack);
    }
    packs
}

fn bytes_of(command: &Command) -> usize {
    COMMAND_BYTES
        + match &command.operation {
            Operation::Message(MessageOperation::SendMessage { text, .. })
            | Operation::Message(MessageOperation::EditMessage { text, .. })
            | Operation::Access(AccessOperation::PostByWebhook { text, .. }) => text.as_str().len(),
            Operation::Access(AccessOperation::CreateAccount { password_hash, .. })
            | Operation::Admin(AdminOperation::ResetPassword { password_hash, .. })
            | Operation::Access(AccessOperation::OpenSession {
                renewed_hash: Some(password_hash),
                ..
            })
            | Operation::Account(AccountOperation::ChangePassword { password_hash, .. }) => {
                SHORT_BYTES_MAX + password_hash.len()
            }
            // Numbers of at most ten bytes each.
            Operation::Message(MessageOperation::DeleteMessages { messages, .. }) => {
                20 * messages.len()
            }
            Operation::Message(MessageOperation::AdvancePositions { positions }) => {
                30 * positions.len()
            }
            // Names, hashes and lines, which all have small bounds.
            _ => SHORT_BYTES_MAX,
        }
}
