//! Takes commands, packs those that wait into one entry, and proposes or forwards it.
//!
//! While an entry is under way the next commands gather, for a millisecond or two at most, so one
//! command on an idle node leaves at once and a thousand on a busy one leave together.
//!
//! Always true: every command that was taken gets exactly one reply, at the latest when the
//! proposer is dropped; at most [`FLIGHTS_MAX`] entries are under way; commands that one caller
//! proposes together stay together, in their order; and no entry is written above the cluster
//! version.

use std::{sync::Arc, time::Duration};

use conclave_core::{Command, VersionRange, limits::BATCH_COMMANDS_MAX};
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
    acks::gate::{Gate, Verdict},
    apply::{Raft, VersionNow},
    backlog::{BACKLOG_MAX, Backlog, Place},
    clocks::Clocks,
    convert::{Completion, TypeConfig},
    health::meter::Meter,
    packs::{bytes_of, cut},
    trace::{OpenSpan, Proposal, SpanKind, Traced},
};

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

/// Outcome of one attempt to get a command through.
pub(crate) type Attempt = Result<Outcome, Failure>;

/// The reason why an attempt did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Whether the command may have been proposed all the same.
    pub(crate) maybe_proposed: bool,
    /// The leader, if the attempt failed because another node leads.
    pub(crate) leader: Option<u64>,
    /// Whether it failed because the node that it reached has too much under way.
    pub(crate) busy: bool,
}

impl Failure {
    fn before_proposing(leader: Option<u64>) -> Self {
        Self {
            maybe_proposed: false,
            leader,
            busy: false,
        }
    }

    const BUSY: Self = Self {
        maybe_proposed: false,
        leader: None,
        busy: true,
    };

    const UNKNOWN: Self = Self {
        maybe_proposed: true,
        leader: None,
        busy: false,
    };
}

/// Returns whether the command of an attempt may be in the log.
pub(crate) fn is_maybe_proposed(attempt: &Attempt) -> bool {
    match attempt {
        Ok(_) => true,
        Err(failure) => failure.maybe_proposed,
    }
}

/// Returns whether the node that an attempt has reached has too much under way.
pub(crate) fn is_busy(attempt: &Attempt) -> bool {
    matches!(attempt, Err(failure) if failure.busy)
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
    caller: Caller,
    /// The traces of the caller, if it has any.
    traced: Option<Traced>,
}

/// Where the results of some commands go.
struct Caller {
    count: usize,
    reply: oneshot::Sender<Vec<Attempt>>,
    place: Place,
}

/// The way in.
#[derive(Clone)]
pub(crate) struct Handle {
    queue: mpsc::Sender<Waiting>,
    backlog: Backlog,
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
        let traced = Traced::current();
        let mut attempts = Vec::with_capacity(count);
        let mut waiting = Vec::with_capacity(1);
        for commands in entries(commands) {
            let count = commands.len();
            // The commands behind those that are refused would overtake them.
            let Some(place) = self.backlog.enter(count) else {
                break;
            };
            let (reply, outcomes) = oneshot::channel();
            let sent = self.queue.try_send(Waiting {
                commands,
                reach,
                caller: Caller {
                    count,
                    reply,
                    place,
                },
                traced: traced.clone(),
            });
            match sent {
                Ok(()) => waiting.push((count, outcomes)),
                Err(mpsc::error::TrySendError::Full(_)) => break,
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(ProposeError::Stopping),
            }
        }
        if waiting.is_empty() && count > 0 {
            return Err(ProposeError::Busy);
        }
        for (count, outcomes) in waiting {
            let unknown = |_| vec![Err(Failure::UNKNOWN); count];
            attempts.extend(outcomes.await.unwrap_or_else(unknown));
        }
        attempts.resize(count, Err(Failure::BUSY));
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
    /// Cluster versions that this node applies.
    pub(crate) versions: VersionRange,
    pub(crate) version: VersionNow,
    /// Whether this node is a witness, and so decides nothing for callers.
    pub(crate) witness: bool,
    pub(crate) gate: Gate,
}

impl Proposer {
    /// Starts the proposer; it ends when the last handle is dropped.
    pub(crate) fn start(self) -> Handle {
        let (queue, waiting) = mpsc::channel(BACKLOG_MAX);
        tokio::spawn(self.run(waiting));
        Handle {
            queue,
            backlog: Backlog::new(),
        }
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
            taken.retain(|waiting| !waiting.caller.reply.is_closed());
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
    async fn propose(&self, mut pack: Vec<Waiting>, flight: OwnedSemaphorePermit) {
        if self.witness {
            // It could not answer. Another voter leads in a moment.
            return Replies::of(pack).1.fail(Failure::before_proposing(None));
        }
        let is_too_new =
            |waiting: &mut Waiting| !waiting.commands.iter().all(|one| self.may_write(one));
        let too_new: Vec<_> = pack.extract_if(.., is_too_new).collect();
        // A caller that knows a higher version than this node asks again in a moment.
        Replies::of(too_new).1.fail(Failure::before_proposing(None));
        if pack.is_empty() {
            return;
        }
        let count = commands_in(&pack);
        let mut proposal = Proposal::open(traced(&mut pack), count);
        let (commands, replies) = Replies::of(pack);
        let mut entry = self.clocks.entry(commands, &*self.codec).await;
        entry.trace = proposal.as_ref().map(|proposal| proposal.entry());
        let (meter, gate, began) = (self.meter.clone(), self.gate.clone(), Instant::now());
        let completion = Completion(Box::new(move |result: ClientWriteResult<TypeConfig>| {
            drop(flight);
            if let Some(proposal) = &mut proposal {
                proposal.concluded(result.as_ref().ok().map(|decided| decided.log_id.index()));
            }
            match &result {
                Ok(_) => meter.committed(began),
                Err(ClientWriteError::ForwardToLeader(_)) => {}
                Err(_) => meter.outcome_unknown(),
            }
            let index = match &result {
                Ok(decided) if gate.holds() => decided.log_id.index(),
                _ => {
                    close(proposal);
                    return replies.conclude(result);
                }
            };
            let reply = move |verdict| {
                close(proposal);
                match verdict {
                    Verdict::Reached => replies.conclude(result),
                    Verdict::Unknown => replies.fail(Failure::UNKNOWN),
                }
            };
            gate.hold(index, Box::new(reply));
        }));
        // If the core has stopped, the completion is dropped, and the replies with it.
        if let Err(error) = self.raft.write(entry).responder(completion).await {
            tracing::debug!(%error, "the core has stopped");
        }
    }

    /// Returns whether every member can apply this command: an entry above the cluster version
    /// would stop those that cannot. The version never falls, so this node may only be behind it.
    fn may_write(&self, command: &Command) -> bool {
        let operation = &command.operation;
        operation.needs() <= self.versions.newest && operation.is_introduced(self.version.get())
    }

    /// Forwards commands to the leader. Those that were forwarded once go no further.
    fn forward(&self, leader: u64, pack: Vec<Waiting>, flight: OwnedSemaphorePermit) {
        let (here, mut away): (Vec<_>, Vec<_>) = pack
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
        let spans = Traced::open(traced(&mut away), "forward", SpanKind::Client);
        let mut known = self.leader.clone();
        tokio::spawn(async move {
            // A leader that hangs must not hold what waits for the next one.
            let deposed = async move { known.wait_for(|now| *now != Some(leader)).await.is_ok() };
            forward_to(&*peer, away, spans, deposed).await;
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

/// Takes the traces of those that wait.
fn traced(pack: &mut [Waiting]) -> impl Iterator<Item = Traced> {
    pack.iter_mut().filter_map(|waiting| waiting.traced.take())
}

/// Ends the spans of a proposal, if there are any.
fn close(proposal: Option<Box<Proposal>>) {
    if let Some(proposal) = proposal {
        proposal.close();
    }
}

/// Forwards, and replies with what came of it; no longer than the peer leads.
async fn forward_to(
    peer: &dyn Peer,
    away: Vec<Waiting>,
    spans: Vec<OpenSpan>,
    deposed: impl Future<Output = bool>,
) {
    let (commands, replies) = Replies::of(away);
    let count = commands.len();
    let traces = spans.iter().map(OpenSpan::inside).collect();
    let forwarded = tokio::select! {
        forwarded = peer.forward(commands, traces, FORWARD_LIMIT) => forwarded,
        _ = deposed => Err(PeerError::Failed("another node leads".to_owned())),
    };
    for span in spans {
        span.close(Instant::now(), forwarded.is_err(), Vec::new());
    }
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
            ProposeError::Busy => Failure::BUSY,
            ProposeError::NoLeader { .. }
            | ProposeError::OutcomeUnknown { .. }
            | ProposeError::VersionTooLow { .. }
            | ProposeError::Stopping => Failure::UNKNOWN,
        })
    }));
}

/// The callers that wait for the commands of one entry, in the order of their commands.
struct Replies(Vec<Caller>);

impl Replies {
    /// Returns the commands of a pack, and where their results go.
    fn of(pack: Vec<Waiting>) -> (Vec<Command>, Self) {
        let mut commands = Vec::with_capacity(pack.iter().map(|w| w.commands.len()).sum());
        let mut replies = Vec::with_capacity(pack.len());
        for waiting in pack {
            replies.push(waiting.caller);
            commands.extend(waiting.commands);
        }
        (commands, Self(replies))
    }

    /// Sends each caller its results. A caller that has stopped waiting will ask again, with the
    /// same number.
    fn send(self, attempts: impl IntoIterator<Item = Attempt>) {
        let mut attempts = attempts.into_iter();
        for caller in self.0 {
            let own = attempts.by_ref().take(caller.count).collect();
            let _ = caller.reply.send(own);
            caller.place.done();
        }
    }

    fn fail(self, failure: Failure) {
        for caller in self.0 {
            let _ = caller.reply.send(vec![Err(failure); caller.count]);
        }
    }

    /// Sends what came of an entry.
    fn conclude(self, result: ClientWriteResult<TypeConfig>) {
        match result {
            Ok(ClientWriteResponse { data, .. }) => {
                let count: usize = self.0.iter().map(|caller| caller.count).sum();
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

#[cfg(test)]
#[path = "proposer_tests.rs"]
mod tests;
