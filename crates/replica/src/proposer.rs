//! Takes commands, packs those that wait into one entry, and proposes or forwards it.
//!
//! While an entry is under way the next commands gather, for a millisecond or two at most, so one
//! command on an idle node leaves at once and a thousand on a busy one leave together.
//!
//! Always true: every command that was taken gets exactly one reply, at the latest when the
//! proposer is dropped; at most [`FLIGHTS_MAX`] entries are under way; commands that one caller
//! proposes together stay together, in their order.

use std::{sync::Arc, time::Duration};

use conclave_core::{
    AccessOperation, AccountOperation, AdminOperation, Batch, Command, MessageOperation, Operation,
    limits::{BATCH_BYTES_MAX, BATCH_COMMANDS_MAX},
};
use openraft::{
    errors::ClientWriteError,
    raft::{ClientWriteResponse, ClientWriteResult},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::{Instant, timeout},
};

use crate::{
    Codec, Lane, Member, Outcome, Peer, PeerError, ProposeError, Transport,
    apply::Raft,
    clocks::Clocks,
    convert::{Commands, Completion, TypeConfig},
    health::meter::Meter,
};

/// Commands, or groups of them, waiting to be packed. At the bound further ones are refused:
/// [`ProposeError::Busy`]. The callers bound the number of commands under way.
pub(crate) const QUEUE_MAX: usize = 8192;

/// Entries (or forwarded batches) under way. More would make batches smaller; fewer would leave
/// the disk idle while the network works.
const FLIGHTS_MAX: usize = 8;

/// So many commands leave without waiting for others: their own work is greater than that of the
/// entry around them.
const GATHER_COMMANDS: usize = 64;

/// How long fewer commands wait for others. Under load an entry takes about as long; where nodes
/// are far from each other it is little beside the way.
const GATHER_LIMIT: Duration = Duration::from_millis(1);

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

/// Commands of one caller, which stay together: in one entry, in this order.
struct Waiting {
    commands: Vec<Command>,
    reach: Reach,
    reply: oneshot::Sender<Vec<Attempt>>,
}

/// The way in.
#[derive(Clone)]
pub(crate) struct Handle {
    queue: mpsc::Sender<Waiting>,
}

impl Handle {
    /// Makes one attempt, which has one result for each command. Commands that fit one entry stay
    /// together in one. The caller sets the deadline by dropping the future; the commands may still
    /// commit then.
    pub(crate) async fn attempt(
        &self,
        commands: Vec<Command>,
        reach: Reach,
    ) -> Result<Vec<Attempt>, ProposeError> {
        let count = commands.len();
        let mut attempts = Vec::with_capacity(count);
        let mut waiting = Vec::with_capacity(1);
        for commands in entries(commands) {
            let (reply, outcomes) = oneshot::channel();
            let part = (commands.len(), outcomes);
            let sent = self.queue.try_send(Waiting {
                commands,
                reach,
                reply,
            });
            match sent {
                Ok(()) => waiting.push(part),
                Err(mpsc::error::TrySendError::Full(_)) if waiting.is_empty() => {
                    return Err(ProposeError::Busy);
                }
                // The commands behind these would overtake them.
                Err(mpsc::error::TrySendError::Full(_)) => break,
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(ProposeError::Stopping),
            }
        }
        for (count, outcomes) in waiting {
            let unknown = |_| vec![Err(Failure::UNKNOWN); count];
            attempts.extend(outcomes.await.unwrap_or_else(unknown));
        }
        attempts.resize(count, Err(Failure::before_proposing(None)));
        Ok(attempts)
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
    pub(crate) meter: Meter,
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
        let mut before = 0;
        loop {
            gather(&mut queue, &mut taken, &flights, before).await;
            let Ok(flight) = flights.clone().acquire_owned().await else {
                return;
            };
            while taken.len() < BATCH_COMMANDS_MAX
                && let Ok(more) = queue.try_recv()
            {
                taken.push(more);
            }
            if taken.is_empty() {
                return;
            }
            before = commands_in(&taken);
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
                    None => Replies::of(pack).1.fail(Failure::before_proposing(None)),
                }
            }
        }
    }

    /// Proposes one entry. The replies are given where the outcome becomes known.
    async fn propose(&self, pack: Vec<Waiting>, flight: OwnedSemaphorePermit) {
        let (commands, replies) = Replies::of(pack);
        let now = self.clocks.stamp().await;
        let batch = Batch {
            proposed_at: now.log_time,
            date: now.date,
            commands,
        };
        let entry = Commands::of(batch, &*self.codec);
        let (meter, began) = (self.meter.clone(), Instant::now());
        let completion = Completion(Box::new(move |result: ClientWriteResult<TypeConfig>| {
            drop(flight);
            match &result {
                Ok(_) => meter.committed(began),
                Err(ClientWriteError::ForwardToLeader(_)) => {}
                Err(_) => meter.outcome_unknown(),
            }
            replies.conclude(result);
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
        let (_, refused) = Replies::of(here);
        refused.fail(Failure::before_proposing(Some(leader)));
        if away.is_empty() {
            return;
        }
        let Some(member) = (self.member_of)(leader) else {
            return Replies::of(away).1.fail(Failure::before_proposing(None));
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

/// Takes what waits, at least one, and more until it is worth an entry; nothing if the queue has
/// ended. `before` is the number of commands that left last.
async fn gather(
    queue: &mut mpsc::Receiver<Waiting>,
    taken: &mut Vec<Waiting>,
    flights: &Semaphore,
    before: usize,
) {
    if queue.recv_many(taken, BATCH_COMMANDS_MAX).await == 0 {
        return;
    }
    let is_alone = || flights.available_permits() == FLIGHTS_MAX;
    if is_worth_an_entry(commands_in(taken), is_alone(), before) {
        return;
    }
    let gathered = async {
        while !is_worth_an_entry(commands_in(taken), is_alone(), before) {
            let room = BATCH_COMMANDS_MAX.saturating_sub(taken.len()).max(1);
            tokio::select! {
                biased;
                more = queue.recv_many(taken, room) => if more == 0 {
                    return;
                },
                _ = flights.acquire_many(FLIGHTS_MAX as u32), if !is_alone() => {}
            }
        }
    };
    // What has come leaves all the same.
    let _ = timeout(GATHER_LIMIT, gathered).await;
}

/// Returns whether so many commands leave now. An entry costs all nodes as much as many commands
/// do, so a few of them wait for others: while another entry is under way, or for the callers of
/// the last one, which will soon come back if they send one command after another.
fn is_worth_an_entry(commands: usize, is_alone: bool, before: usize) -> bool {
    commands >= GATHER_COMMANDS || (is_alone && 2 * commands >= before)
}

fn commands_in(taken: &[Waiting]) -> usize {
    taken.iter().map(|waiting| waiting.commands.len()).sum()
}

/// Forwards, and replies with what came of it; no longer than the peer leads.
async fn forward_to(peer: &dyn Peer, away: Vec<Waiting>, deposed: impl Future<Output = bool>) {
    let (commands, replies) = Replies::of(away);
    let count = commands.len();
    let forwarded = tokio::select! {
        forwarded = peer.forward(commands, FORWARD_LIMIT) => forwarded,
        _ = deposed => Err(PeerError::Failed("another node leads".to_owned())),
    };
    let outcomes = match forwarded {
        Ok(outcomes) if outcomes.len() == count => outcomes,
        Ok(_) | Err(PeerError::Failed(_) | PeerError::BadSnapshot(_) | PeerError::Timeout(_)) => {
            return replies.fail(Failure::UNKNOWN);
        }
        Err(PeerError::Unreachable(_)) => return replies.fail(Failure::before_proposing(None)),
    };
    replies.send(outcomes.into_iter().map(|outcome| {
        outcome.map_err(|error| match error {
            ProposeError::NotLeader { leader } => Failure::before_proposing(leader),
            ProposeError::Busy => Failure::before_proposing(None),
            ProposeError::NoLeader { .. }
            | ProposeError::OutcomeUnknown { .. }
            | ProposeError::Stopping => Failure::UNKNOWN,
        })
    }));
}

/// The callers that wait for the commands of one entry, in the order of their commands.
struct Replies(Vec<(usize, oneshot::Sender<Vec<Attempt>>)>);

impl Replies {
    /// Returns the commands of a pack, and where their results go.
    fn of(pack: Vec<Waiting>) -> (Vec<Command>, Self) {
        let mut commands = Vec::with_capacity(pack.iter().map(|w| w.commands.len()).sum());
        let mut replies = Vec::with_capacity(pack.len());
        for waiting in pack {
            replies.push((waiting.commands.len(), waiting.reply));
            commands.extend(waiting.commands);
        }
        (commands, Self(replies))
    }

    /// Sends each caller its results. A caller that has stopped waiting will ask again, with the
    /// same number.
    fn send(self, attempts: impl IntoIterator<Item = Attempt>) {
        let mut attempts = attempts.into_iter();
        for (count, reply) in self.0 {
            let _ = reply.send(attempts.by_ref().take(count).collect());
        }
    }

    fn fail(self, failure: Failure) {
        for (count, reply) in self.0 {
            let _ = reply.send(vec![Err(failure); count]);
        }
    }

    /// Sends what came of an entry.
    fn conclude(self, result: ClientWriteResult<TypeConfig>) {
        match result {
            Ok(ClientWriteResponse { data, .. }) => {
                let count: usize = self.0.iter().map(|(count, _)| count).sum();
                assert_eq!(
                    data.0.len(),
                    count,
                    "an entry has one answer for each command"
                );
                let outcome = |(answer, index)| Ok(Outcome { answer, index });
                self.send(data.0.into_iter().map(outcome));
            }
            Err(ClientWriteError::ForwardToLeader(to)) => {
                self.fail(Failure::before_proposing(to.leader_id));
            }
            Err(error) => {
                tracing::debug!(%error, "proposal outcome unknown");
                self.fail(Failure::UNKNOWN);
            }
        }
    }
}

/// Cuts the commands of one caller into parts that fit one entry each.
fn entries(commands: Vec<Command>) -> Vec<Vec<Command>> {
    cut(commands, |command| (1, bytes_of(command)))
}

/// Cuts what was taken into entries.
fn packs(taken: &mut Vec<Waiting>) -> Vec<Vec<Waiting>> {
    cut(taken.drain(..), |waiting| {
        let commands = &waiting.commands;
        (commands.len(), commands.iter().map(bytes_of).sum())
    })
}

/// Cuts a list into parts of at most [`BATCH_COMMANDS_MAX`] and [`BATCH_BYTES_MAX`], by the number
/// of commands and of bytes of each item.
fn cut<T>(items: impl IntoIterator<Item = T>, size: impl Fn(&T) -> (usize, usize)) -> Vec<Vec<T>> {
    let items = items.into_iter();
    let mut parts = Vec::with_capacity(1);
    let mut part = Vec::with_capacity(items.size_hint().0);
    let (mut commands, mut bytes) = (0, 0);
    for item in items {
        let (count, more) = size(&item);
        let is_full = commands + count > BATCH_COMMANDS_MAX || bytes + more > BATCH_BYTES_MAX;
        if is_full && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            (commands, bytes) = (0, 0);
        }
        commands += count;
        bytes += more;
        part.push(item);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_gather_only_while_others_are_under_way_or_expected() {
        let leave_alone = |commands, before| is_worth_an_entry(commands, true, before);
        assert!(leave_alone(1, 0) && leave_alone(1, 1) && leave_alone(1, 2));
        assert!(!leave_alone(1, 3) && !leave_alone(7, 16) && leave_alone(8, 16));
        assert!(leave_alone(GATHER_COMMANDS, BATCH_COMMANDS_MAX));
        assert!(!is_worth_an_entry(1, false, 1));
        assert!(!is_worth_an_entry(GATHER_COMMANDS - 1, false, 0));
        assert!(is_worth_an_entry(GATHER_COMMANDS, false, 0));
    }

    #[tokio::test]
    async fn what_waits_leaves_in_the_end_even_if_nothing_follows() {
        let (queue, mut waiting) = mpsc::channel(4);
        let flights = Semaphore::new(FLIGHTS_MAX);
        let mut taken = Vec::new();
        let under_way = flights.acquire().await.unwrap();
        for count in 1..3 {
            let one = Waiting {
                commands: Vec::new(),
                reach: Reach::Here,
                reply: oneshot::channel().0,
            };
            queue.try_send(one).unwrap();
            gather(&mut waiting, &mut taken, &flights, BATCH_COMMANDS_MAX).await;
            assert_eq!(taken.len(), count);
        }
        drop((queue, under_way));
        taken.clear();
        gather(&mut waiting, &mut taken, &flights, 0).await;
        assert!(taken.is_empty(), "the queue has ended");
    }

    #[test]
    fn groups_stay_whole_and_entries_within_their_bounds() {
        let group = |commands, bytes| (commands, bytes);
        let size = |group: &(usize, usize)| *group;
        let max = BATCH_COMMANDS_MAX;
        let groups = [
            group(max - 10, 100),
            group(10, 100),
            // One command too many.
            group(1, 100),
            group(1, BATCH_BYTES_MAX - 100),
            // One byte too many.
            group(1, 1),
            // Longer than an entry by itself: it has one for itself.
            group(1, 2 * BATCH_BYTES_MAX),
            group(1, 1),
        ];
        let entries = cut(groups, size);
        let lengths: Vec<usize> = entries.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 2, 1, 1, 1]);
        assert_eq!(entries.concat(), groups);
        assert!(cut([], size).is_empty());
    }
}
