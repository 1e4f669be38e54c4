//! Replicas in one process, joined by a network whose links can be cut.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use conclave_core::{
    Accepted, AccessOperation, AccountName, Answer, Batch, Command, Digest, MessageOperation,
    MessageText, OnceId, Operation, Origin, Recipient, SessionId, Timestamp, TokenHash,
};
use conclave_replica::{
    AppendRequest, AppendResponse, Codec, CodecError, Config, Lane, LogRetention, Member, Members,
    Outcome, Peer, PeerError, ProposeError, ReadError, Replica, SnapshotOffer, StartError, Timers,
    Transport, VoteRequest, VoteResponse,
};
use conclave_storage::log::{Entry, EntryKind, LogId, Vote};
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::time::Instant;

/// Maximum time for anything, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The running nodes, and the directed links that are cut.
#[derive(Default)]
struct Net {
    nodes: BTreeMap<u64, Replica>,
    cut: BTreeSet<(u64, u64)>,
    trap: Option<Trap>,
}

/// Waits for a moment in a change of the membership: the `nth` membership entry of the leader
/// since the trap was set has been delivered to `deliveries` nodes.
pub(crate) struct Trap {
    pub(crate) leader: u64,
    pub(crate) nth: usize,
    pub(crate) deliveries: usize,
    /// Whether the trap cuts the leader off at that moment.
    pub(crate) cut: bool,
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

#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<Net>>);

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

struct From {
    node: u64,
    network: Network,
}

impl Transport for From {
    fn peer(&self, node: u64, _member: &Member, _lane: Lane) -> Arc<dyn Peer> {
        Arc::new(To {
            source: self.node,
            target: node,
            network: self.network.clone(),
        })
    }
}

struct To {
    source: u64,
    target: u64,
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

impl Peer for To {
    fn append(
        &self,
        request: AppendRequest,
        limit: Duration,
    ) -> BoxFuture<'_, Result<AppendResponse, PeerError>> {
        Box::pin(async move {
            self.network
                .pass(self.source, self.target, &request.entries)?;
            self.call(limit, |node| async move { node.on_append(request).await })
                .await?
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
        limit: Duration,
    ) -> BoxFuture<'_, Result<Vec<Result<Outcome, ProposeError>>, PeerError>> {
        Box::pin(async move {
            let call = |node: Replica| async move { node.propose_here(commands, limit).await };
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

/// An arbitrary date.
const SOME_DAY_MS: u64 = 1_800_000_000_000;

/// The clocks of the nodes, each of which can be set.
#[derive(Clone)]
pub(crate) struct Clocks {
    began: Instant,
    ahead_ms: Arc<Mutex<BTreeMap<u64, i64>>>,
}

impl Default for Clocks {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            ahead_ms: Arc::default(),
        }
    }
}

impl Clocks {
    /// Sets a clock this far ahead of the true time.
    pub(crate) fn set(&self, node: u64, ahead_ms: i64) {
        self.ahead_ms.lock().unwrap().insert(node, ahead_ms);
    }

    /// Returns the true time.
    pub(crate) fn truth(&self) -> u64 {
        SOME_DAY_MS + u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    fn of(&self, node: u64) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        let clocks = self.clone();
        Arc::new(move || {
            let ahead = clocks.ahead_ms.lock().unwrap().get(&node).copied();
            Timestamp(clocks.truth().saturating_add_signed(ahead.unwrap_or(0)))
        })
    }
}

/// A codec for batches as on the wire, and for members as lists of numbers, from which their
/// addresses follow.
pub(crate) struct TestCodec;

impl Codec for TestCodec {
    fn encode_batch(&self, batch: &Batch) -> Bytes {
        conclave_wire::batch::encode(batch)
    }

    fn decode_batch(&self, bytes: &Bytes) -> Result<Batch, CodecError> {
        conclave_wire::batch::decode(bytes.clone()).map_err(|error| CodecError(error.into()))
    }

    fn encode_members(&self, members: &Members) -> Bytes {
        let nodes = members.nodes.keys().copied().collect();
        let sets = std::iter::once(&nodes).chain(&members.voters);
        let numbers = sets.flat_map(|set| {
            let count = u64::try_from(set.len()).unwrap();
            std::iter::once(count).chain(set.iter().copied())
        });
        numbers.flat_map(u64::to_le_bytes).collect()
    }

    fn decode_members(&self, bytes: &Bytes) -> Result<Members, CodecError> {
        let (numbers, _) = bytes.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        let mut sets = Vec::new();
        while let Some(count) = numbers.next() {
            let count = usize::try_from(count).unwrap();
            sets.push(numbers.by_ref().take(count).collect::<BTreeSet<u64>>());
        }
        let nodes = sets.remove(0);
        Ok(Members {
            voters: sets,
            nodes: nodes.into_iter().map(|node| (node, member(node))).collect(),
        })
    }
}

/// Returns the advertised addresses of a node; the network of the test does not use them.
pub(crate) fn member(node: u64) -> Member {
    Member {
        peer_address: format!("node-{node}:1"),
        client_address: format!("node-{node}:2"),
    }
}

/// Some replicas, their directories and the network between them.
pub(crate) struct Cluster {
    pub(crate) size: u64,
    pub(crate) network: Network,
    pub(crate) retention: LogRetention,
    pub(crate) clocks: Clocks,
    pub(crate) timers: Timers,
    /// Nodes that are started without taking part.
    pub(crate) waiting: Mutex<BTreeSet<u64>>,
    directory: TempDir,
}

impl Cluster {
    pub(crate) async fn start(size: u64) -> Self {
        Self::start_with(size, LogRetention::default()).await
    }

    pub(crate) async fn start_with(size: u64, retention: LogRetention) -> Self {
        Self::start_as(size, retention, Timers::default()).await
    }

    pub(crate) async fn start_with_timers(size: u64, timers: Timers) -> Self {
        Self::start_as(size, LogRetention::default(), timers).await
    }

    async fn start_as(size: u64, retention: LogRetention, timers: Timers) -> Self {
        let cluster = Self {
            size,
            network: Network::default(),
            retention,
            clocks: Clocks::default(),
            timers,
            waiting: Mutex::default(),
            directory: TempDir::new().unwrap(),
        };
        for node in 1..=size {
            cluster.start_node(node).await;
        }
        cluster
    }

    pub(crate) async fn start_node(&self, node: u64) {
        self.try_start_node(node).await.unwrap();
    }

    /// Returns the data directory of this node.
    pub(crate) fn directory(&self, node: u64) -> PathBuf {
        self.directory.path().join(format!("node-{node}"))
    }

    pub(crate) async fn try_start_node(&self, node: u64) -> Result<(), StartError> {
        // A node that is not among the first members joins them.
        let bootstrap = node <= self.size;
        let first = (1..=self.size).filter(|_| bootstrap);
        let members = first.chain([node]).map(|node| (node, member(node)));
        let members = members.collect();
        let data = self.directory(node);
        std::fs::create_dir_all(&data).unwrap();
        let config = Config {
            node,
            members,
            data,
            timers: self.timers,
            sync: true,
            bootstrap,
            admitted: !self.waiting.lock().unwrap().contains(&node),
            retention: self.retention,
            clock: self.clocks.of(node),
        };
        let transport = Arc::new(From {
            node,
            network: self.network.clone(),
        });
        let listener = Arc::new(SilentListener);
        let replica = Replica::start(config, Arc::new(TestCodec), transport, listener).await?;
        self.network.0.lock().unwrap().nodes.insert(node, replica);
        Ok(())
    }

    pub(crate) async fn stop_node(&self, node: u64) {
        let replica = self.network.0.lock().unwrap().nodes.remove(&node).unwrap();
        replica.stop().await;
    }

    pub(crate) fn node(&self, node: u64) -> Replica {
        self.network.0.lock().unwrap().nodes[&node].clone()
    }

    pub(crate) fn nodes(&self) -> Vec<u64> {
        self.network
            .0
            .lock()
            .unwrap()
            .nodes
            .keys()
            .copied()
            .collect()
    }

    /// Waits until one of `among` knows a leader that is also among them.
    pub(crate) async fn leader_among(&self, among: &[u64]) -> u64 {
        wait_for("a leader", || {
            let known = among.iter().map(|node| self.node(*node));
            known
                .filter(|node| node.status().role == conclave_replica::Role::Leader)
                .find_map(|node| node.status().leader)
                .filter(|leader| among.contains(leader))
        })
        .await
    }

    pub(crate) async fn leader(&self) -> u64 {
        self.leader_among(&self.nodes()).await
    }

    /// Waits until all nodes follow one leader. Nodes that start together may elect twice.
    pub(crate) async fn leader_of_all(&self) -> u64 {
        wait_for("one leader of all", || {
            let nodes = self.nodes().into_iter();
            let mut known: Vec<_> = nodes
                .map(|node| self.node(node).status())
                .map(|status| (status.leader, status.term))
                .collect();
            known.dedup();
            match known[..] {
                [(leader, _)] => leader,
                _ => None,
            }
        })
        .await
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes() {
            self.stop_node(node).await;
        }
    }
}

/// Calls `look` again until it returns a value.
pub(crate) async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            match look() {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    found.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

fn name(name: &str) -> AccountName {
    AccountName::new(name).unwrap()
}

fn once(id: u8, operation: Operation) -> Command {
    Command {
        origin: Origin::Once(OnceId([id; 16])),
        digest: Digest(id.into()),
        operation,
    }
}

/// Creates the account `who` (request `id`) and opens a session for it.
pub(crate) async fn open_session(replica: &Replica, who: &str, id: u8) -> SessionId {
    let operation = Operation::Access(AccessOperation::CreateAccount {
        grant: conclave_core::Grant::Open,
        name: name(who),
        password_hash: "$x".to_owned(),
    });
    let created = replica
        .propose(once(id, operation), PATIENCE)
        .await
        .unwrap();
    let Ok(Accepted::AccountCreated { account }) = created.answer else {
        panic!("{created:?}");
    };
    let token = TokenHash([id; 32]);
    let operation = Operation::Access(AccessOperation::OpenSession {
        label: Default::default(),
        keys: conclave_core::LoginKeys::default(),
        renewed_hash: None,
        account,
        password_version: 1,
        token,
    });
    let opened = replica
        .propose(once(id + 100, operation), PATIENCE)
        .await
        .unwrap();
    match opened.answer {
        Ok(Accepted::SessionOpened { session, .. }) => session,
        other => panic!("{other:?}"),
    }
}

/// Returns the session's request `number`: a message to `to`.
pub(crate) fn send(session: SessionId, number: u64, to: &str, text: &str) -> Command {
    Command {
        origin: Origin::Session { session, number },
        digest: Digest(number),
        operation: Operation::Message(MessageOperation::SendMessage {
            reply_to: None,
            action: false,
            to: Recipient::Account(name(to)),
            text: MessageText::new(text).unwrap(),
        }),
    }
}

/// Returns the sequence of a message that was sent.
pub(crate) fn sequence(answer: &Answer) -> u64 {
    match answer {
        Ok(Accepted::MessageSent { sequence, .. }) => sequence.0,
        other => panic!("{other:?}"),
    }
}

/// A listener that ignores all events.
struct SilentListener;

impl conclave_replica::Listener for SilentListener {
    fn applied(&self, _: u64, _: Vec<(conclave_core::Position, conclave_core::Event)>) {}
    fn installed(&self, _: u64) {}
}
