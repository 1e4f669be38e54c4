//! The network between replicas in one process: links that can be cut or stalled, and a trap for a
//! moment in a change of the membership.
//!
//! Always true: a call over a link that is cut fails, also if the link is cut before the answer.
//! Appends on a stalled link arrive when it goes on, also those of a stream that was given up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use conclave_core::{Command, Timestamp};
use conclave_replica::{
    APPENDS_UNANSWERED_MAX, AppendRequest, AppendResponse, Appends, Lane, Member, Outcome, Peer,
    PeerError, ProposeError, ReadError, Replica, SnapshotOffer, Trace, Transport, VoteRequest,
    VoteResponse, within,
};
use conclave_storage::log::{Entry, EntryKind, LogId, Vote};
use futures::{StreamExt as _, future::BoxFuture, stream};
use tokio::sync::mpsc;

/// The running nodes, and the directed links that are cut.
#[derive(Default)]
pub(super) struct Net {
    pub(super) nodes: BTreeMap<u64, Replica>,
    cut: BTreeSet<(u64, u64)>,
    stalled: BTreeSet<(u64, u64, Lane)>,
    trap: Option<Trap>,
}

/// Waits for a moment in a change of the membership: the `nth` membership entry of the leader
/// since the trap was set has been delivered to `deliveries` nodes.
struct Trap {
    leader: u64,
    nth: usize,
    deliveries: usize,
    /// Whether the trap cuts the leader off at that moment.
    cut: bool,
    /// Last entry before the trap was set: older ones may be sent again.
    after: u64,
    seen: Vec<LogId>,
    delivered: BTreeSet<u64>,
    sprung: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Trap {
    /// Records entries that the leader is about to send; returns whether this is the moment.
    fn springs(&mut self, source: u64, target: u64, entries: &[Entry]) -> bool {
        if source != self.leader || self.sprung.is_none() {
            return false;
        }
        for entry in entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::Membership && entry.id.index > self.after)
        {
            if !self.seen.contains(&entry.id) {
                self.seen.push(entry.id);
            }
            if self.seen.iter().position(|id| *id == entry.id) == Some(self.nth) {
                if self.delivered.len() >= self.deliveries && !self.delivered.contains(&target) {
                    return true;
                }
                self.delivered.insert(target);
            }
        }
        false
    }
}

/// The network of one cluster. All clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Network(pub(super) Arc<Mutex<Net>>);

impl Network {
    fn reach(&self, source: u64, target: u64) -> Result<Replica, PeerError> {
        let net = self.0.lock().unwrap();
        if net.cut.contains(&(source, target)) {
            return Err(PeerError::Unreachable("cut".to_owned()));
        }
        let node = net.nodes.get(&target).cloned();
        node.ok_or_else(|| PeerError::Unreachable("not running".to_owned()))
    }

    /// Sets a trap; the receiver gets a message when it springs.
    pub(crate) fn set_trap(
        &self,
        (leader, nth, deliveries): (u64, usize, usize),
        cut: bool,
    ) -> tokio::sync::oneshot::Receiver<()> {
        let (sprung, word) = tokio::sync::oneshot::channel();
        let mut net = self.0.lock().unwrap();
        let after = net.nodes[&leader].status().log_index_last;
        net.trap = Some(Trap {
            leader,
            nth,
            deliveries,
            cut,
            after,
            seen: Vec::new(),
            delivered: BTreeSet::new(),
            sprung: Some(sprung),
        });
        word
    }

    /// Checks whether entries on their way spring the trap; fails if they must not be delivered.
    fn pass(&self, source: u64, target: u64, entries: &[Entry]) -> Result<(), PeerError> {
        let mut net = self.0.lock().unwrap();
        let Some(trap) = &mut net.trap else {
            return Ok(());
        };
        if !trap.springs(source, target, entries) {
            return Ok(());
        }
        let cut = trap.cut;
        let _ = trap.sprung.take().unwrap().send(());
        if !cut {
            return Ok(());
        }
        let others: Vec<u64> = net.nodes.keys().copied().collect();
        for other in others {
            net.cut.extend([(source, other), (other, source)]);
        }
        Err(PeerError::Unreachable("cut".to_owned()))
    }

    /// Stalls the appends of a link in one direction, or lets them go on.
    pub(crate) fn stall(&self, source: u64, target: u64, lane: Lane, stalled: bool) {
        let mut net = self.0.lock().unwrap();
        let link = (source, target, lane);
        match stalled {
            true => net.stalled.insert(link),
            false => net.stalled.remove(&link),
        };
    }

    /// Waits while the link is stalled.
    async fn flow(&self, source: u64, target: u64, lane: Lane) {
        let link = (source, target, lane);
        while self.0.lock().unwrap().stalled.contains(&link) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Cuts or mends every link of a node, in both directions.
    pub(crate) fn isolate(&self, node: u64, others: impl Iterator<Item = u64>, cut: bool) {
        let mut net = self.0.lock().unwrap();
        for link in others.flat_map(|other| [(node, other), (other, node)]) {
            match cut {
                true => net.cut.insert(link),
                false => net.cut.remove(&link),
            };
        }
    }
}

/// A node's access to the network.
pub(super) struct From {
    pub(super) node: u64,
    pub(super) network: Network,
}

impl Transport for From {
    fn peer(&self, node: u64, _member: &Member, lane: Lane) -> Arc<dyn Peer> {
        Arc::new(To {
            source: self.node,
            target: node,
            lane,
            network: self.network.clone(),
        })
    }
}

/// The way from one node to another.
#[derive(Clone)]
struct To {
    source: u64,
    target: u64,
    lane: Lane,
    network: Network,
}

impl To {
    /// Calls the target if the link is there, both on the way out and on the way back.
    async fn call<T, F: Future<Output = T>>(
        &self,
        limit: Duration,
        call: impl FnOnce(Replica) -> F,
    ) -> Result<T, PeerError> {
        let target = self.network.reach(self.source, self.target)?;
        let answer = tokio::time::timeout(limit, call(target)).await;
        self.network
            .reach(self.target, self.source)
            .map_err(|_| PeerError::Timeout(limit))?;
        answer.map_err(|_| PeerError::Timeout(limit))
    }
}

fn arriving<T: Send + 'static>(
    queue: mpsc::Receiver<T>,
) -> impl futures::Stream<Item = T> + Send + 'static {
    stream::unfold(queue, |mut queue| async {
        Some((queue.recv().await?, queue))
    })
}

impl To {
    /// Carries the appends of one stream, and what they are answered. A sender that gives the
    /// stream up does not take back what it has sent.
    async fn carry(
        self,
        target: Replica,
        requests: mpsc::Receiver<AppendRequest>,
        answers: mpsc::Sender<Result<AppendResponse, PeerError>>,
    ) {
        let (source, way) = (self.source, self.clone());
        let requests = arriving(requests).then(move |request| {
            let way = way.clone();
            async move {
                way.network.flow(source, way.target, way.lane).await;
                way.network.reach(source, way.target)?;
                way.network.pass(source, way.target, &request.entries)?;
                Ok(request)
            }
        });
        let mut responses = std::pin::pin!(target.on_appends(requests));
        while let Some(response) = responses.next().await {
            self.network.flow(self.target, source, self.lane).await;
            let back = self.network.reach(self.target, source).map(drop);
            let response = back.and(response).flatten();
            let failed = response.is_err();
            let _ = answers.send(response).await;
            if failed {
                return;
            }
        }
    }
}

impl Peer for To {
    fn appends(&self, _: Duration) -> BoxFuture<'_, Result<Appends, PeerError>> {
        Box::pin(async move {
            let target = self.network.reach(self.source, self.target)?;
            let (requests, queue) = mpsc::channel(APPENDS_UNANSWERED_MAX);
            let (answers, responses) = mpsc::channel(APPENDS_UNANSWERED_MAX);
            tokio::spawn(self.clone().carry(target, queue, answers));
            Ok(Appends {
                requests,
                responses: arriving(responses).boxed(),
            })
        })
    }

    fn vote(
        &self,
        request: VoteRequest,
        limit: Duration,
    ) -> BoxFuture<'_, Result<VoteResponse, PeerError>> {
        Box::pin(async move {
            self.call(limit, |node| async move { node.on_vote(request).await })
                .await?
        })
    }

    fn timeout_now(
        &self,
        from: Vote,
        to: u64,
        last: Option<LogId>,
        limit: Duration,
    ) -> BoxFuture<'_, Result<(), PeerError>> {
        Box::pin(async move {
            let call = |node: Replica| async move { node.on_timeout_now(from, to, last).await };
            self.call(limit, call).await?
        })
    }

    fn install_snapshot(
        &self,
        offer: SnapshotOffer,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Vote, PeerError>> {
        Box::pin(async move {
            let call = |node: Replica| async move {
                // The sender removes its file; the receiver owns a copy.
                let file = node.snapshots_dir().join("received.db");
                std::fs::copy(&offer.file, &file).unwrap();
                node.on_snapshot(SnapshotOffer { file, ..offer }).await
            };
            self.call(limit, call).await?
        })
    }

    fn forward(
        &self,
        commands: Vec<Command>,
        traces: Vec<Trace>,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Vec<Result<Outcome, ProposeError>>, PeerError>> {
        Box::pin(async move {
            let call = |node: Replica| async move {
                within(traces, node.propose_here(commands, limit)).await
            };
            self.call(limit, call).await
        })
    }

    fn read_index(
        &self,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Result<u64, ReadError>, PeerError>> {
        Box::pin(async move {
            self.call(
                limit,
                |node| async move { node.read_index_here(limit).await },
            )
            .await
        })
    }

    fn clock(&self, limit: Duration) -> BoxFuture<'_, Result<Timestamp, PeerError>> {
        Box::pin(async move {
            self.call(limit, |node| async move { node.own_clock() })
                .await
        })
    }
}
