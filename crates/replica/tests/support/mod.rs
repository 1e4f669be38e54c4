//! Replicas in one process, joined by a network whose links can be cut.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "each test file uses a part")]

mod network;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use conclave_core::{
    Accepted, AccessOperation, AccountName, Answer, Batch, ClusterVersion, Command, Digest,
    MessageOperation, MessageText, OnceId, Operation, Origin, Recipient, SessionId, Timestamp,
    TokenHash, VersionRange,
};
use conclave_replica::{
    Codec, CodecError, Config, LogRetention, Member, Members, Replica, StartError, Timers,
};
use tempfile::TempDir;
use tokio::time::Instant;

use network::{From, Network};

/// Maximum time for anything, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

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
pub(crate) struct TestCodec {
    newest: ClusterVersion,
}

impl Default for TestCodec {
    fn default() -> Self {
        let newest = VersionRange::BUILD.newest;
        Self { newest }
    }
}

impl Codec for TestCodec {
    fn encode_batch(&self, batch: &Batch) -> Bytes {
        conclave_wire::batch::encode(batch)
    }

    fn decode_batch(&self, bytes: &Bytes) -> Result<Batch, CodecError> {
        let decoded = conclave_wire::batch::decode(bytes.clone(), self.newest);
        decoded.map_err(|error| CodecError(error.into()))
    }

    fn encode_members(&self, members: &Members) -> Bytes {
        let nodes = members.nodes.keys().copied().collect();
        let aside = members.nodes.iter().filter(|(_, member)| member.set_aside);
        let aside = aside.map(|(node, _)| *node).collect();
        let sets = [&nodes, &aside].into_iter().chain(&members.voters);
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
        let (nodes, aside) = (sets.remove(0), sets.remove(0));
        let member = |node| Member {
            set_aside: aside.contains(&node),
            ..member(node)
        };
        Ok(Members {
            voters: sets,
            nodes: nodes.into_iter().map(|node| (node, member(node))).collect(),
        })
    }
}

/// The first number of a witness; a full node has a lower one.
pub(crate) const WITNESS_FIRST: u64 = 30;

/// Returns the advertised addresses of a node; the network of the test does not use them.
pub(crate) fn member(node: u64) -> Member {
    Member {
        peer_address: format!("node-{node}:1"),
        client_address: format!("node-{node}:2"),
        witness: node >= WITNESS_FIRST,
        set_aside: false,
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
    /// Nodes of a build that applies no version after this one.
    pub(crate) newest: Mutex<BTreeMap<u64, ClusterVersion>>,
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
            newest: Mutex::default(),
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
        let newest = self.newest.lock().unwrap().get(&node).copied();
        let newest = newest.unwrap_or(VersionRange::BUILD.newest);
        let config = Config {
            versions: VersionRange::BUILD.up_to(newest),
            node,
            members,
            data,
            timers: self.timers,
            sync: true,
            bootstrap,
            admitted: !self.waiting.lock().unwrap().contains(&node),
            sync_delay: None,
            retention: self.retention,
            witness: node >= WITNESS_FIRST,
            clock: self.clocks.of(node),
        };
        let transport = Arc::new(From {
            node,
            network: self.network.clone(),
        });
        let listener = Arc::new(SilentListener);
        let codec = Arc::new(TestCodec { newest });
        let replica = Replica::start(config, codec, transport, listener).await?;
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

/// Returns a request outside of sessions.
pub(crate) fn once(id: u8, operation: Operation) -> Command {
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
    fn decided(&self, _: u64, _: Vec<(conclave_core::Position, conclave_core::Event)>) {}
    fn installed(&self, _: u64) {}
}
