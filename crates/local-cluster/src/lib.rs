//! Runs a cluster on this machine, as real child processes of the program `conclave`.
//!
//! `up`, `demo`, `bench` and the tests all start nodes here. The caller names the program; this
//! crate chooses ports, passes each node its addresses and its secret, and waits until the nodes
//! serve.
//!
//! It runs no node inside its own process, sends no messages, and prints nothing.
//!
//! Always true: every wait has a deadline; a child that was started here is killed when its cluster
//! is dropped, and ends itself when this process dies.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use conclave_local_cluster::{Bootstrap, LocalCluster, Options, Ports};
//!
//! # async fn survive() -> Result<(), Box<dyn std::error::Error>> {
//! const LIMIT: Duration = Duration::from_secs(30);
//! let options = Options {
//!     program: "target/release/conclave".into(),
//!     directory: "conclave-data".into(),
//!     nodes: 3,
//!     initial_members: 3,
//!     bootstrap: Bootstrap::Discovery,
//!     ports: Ports::free(3).ok_or("there are no free ports")?,
//!     plain: true,
//!     relays: false,
//!     settings: None,
//!     environment: Default::default(),
//! };
//! let cluster = LocalCluster::start(options, LIMIT).await?;
//! let leader = cluster.wait_for_leader(LIMIT).await?;
//! cluster.kill(leader).await?;
//! println!("node {} leads now", cluster.wait_for_leader(LIMIT).await?);
//! cluster.stop_all().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Start reading with [`LocalCluster`], then `start.rs`, which waits for nodes, and `child.rs`, one
//! process.

mod child;
mod error;
mod ports;
mod relay;
mod start;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use conclave_client::{Authority, Builder, CallError, Client, Fingerprint, OperatorCredential, v1};
use conclave_server::{ClusterSecret, OPERATOR_FILE};
use futures::future::join_all;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use child::{Node, Phase};
pub use error::ClusterError;
use error::{file, process};
pub use ports::{NODES_MAX, Ports};
pub use relay::CAN_CUT_OFF;
use relay::Relays;

/// Longest time until a process listens: it reads its log first, which may be large.
const LISTEN_LIMIT: Duration = Duration::from_secs(30);
/// Longest time that a node may take to stop; the node itself promises 25 seconds.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Interval between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);
/// Longest time that one node may take to report its status.
const STATUS_LIMIT: Duration = Duration::from_secs(3);
/// Log file of a node, beside its data.
const LOG_FILE: &str = "node.log";

/// Options of a local cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path of the program `conclave`.
    pub program: PathBuf,
    /// Directory with the directories of the nodes.
    pub directory: PathBuf,
    /// Number of nodes.
    pub nodes: u64,
    /// Number of nodes that bootstrap the cluster; the others join it, with a token or after an
    /// operator has added them.
    pub initial_members: u64,
    /// Way in which the initial members know each other.
    pub bootstrap: Bootstrap,
    /// Ports on which the nodes listen.
    pub ports: Ports,
    /// Whether the nodes talk to clients in plain text.
    pub plain: bool,
    /// Whether the connections between nodes pass relays, so that nodes can be cut off; only where
    /// [`CAN_CUT_OFF`].
    pub relays: bool,
    /// Settings of each node, in the form of its file, if they are to change while nodes run.
    pub settings: Option<String>,
    /// Variables that are added to the environment of each node.
    pub environment: BTreeMap<u64, Vec<(String, String)>>,
}

/// Ways in which the initial members of a cluster know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// Each initial member has the numbers of all: it listens at once, whether or not the others
    /// run.
    Numbered,
    /// The initial members find each other: none listens before all have started for the first
    /// time.
    Discovery,
}

/// A cluster of child processes. Nodes are numbered from 1.
#[derive(Debug)]
pub struct LocalCluster {
    options: Options,
    running: Vec<Mutex<Option<Node>>>,
    relays: Option<Relays>,
    client: Client,
    setup_token: watch::Sender<Option<String>>,
    /// The credential of the cluster's first operator, once it was found.
    operator: OnceLock<OperatorCredential>,
    /// The token with which each node joins.
    tokens: Mutex<BTreeMap<u64, String>>,
}

impl LocalCluster {
    /// Prepares a cluster of which no node runs yet. Must be called within a tokio runtime.
    pub fn prepare(options: Options) -> Result<Self, ClusterError> {
        let endpoints = (1..=options.nodes).map(|node| options.ports.client(node));
        make_secret(&options.directory)?;
        let mut client = Client::builder()
            .endpoints(endpoints)
            .attempt_timeout(STATUS_LIMIT)
            .total_timeout(STATUS_LIMIT);
        if !options.plain {
            client = client.pinned(&authority(&options.directory)?);
        }
        let client = client.build()?;
        let running = (0..options.nodes).map(|_| Mutex::new(None)).collect();
        let relays = options
            .relays
            .then(|| Relays::open(options.ports, options.nodes));
        let relays = relays.transpose().map_err(ClusterError::Relays)?;
        let cluster = Self {
            options,
            running,
            relays,
            client,
            setup_token: watch::Sender::new(None),
            operator: OnceLock::new(),
            tokens: Mutex::default(),
        };
        if let Some(settings) = &cluster.options.settings {
            for node in cluster.nodes() {
                cluster.write_settings(node, settings)?;
            }
        }
        Ok(cluster)
    }

    /// Makes the nodes that are started from now on talk encrypted.
    pub fn encrypt(&mut self) -> Result<(), ClusterError> {
        self.options.plain = false;
        *self = Self::prepare(self.options.clone())?;
        Ok(())
    }

    /// Returns the numbers of all nodes.
    pub fn nodes(&self) -> Vec<u64> {
        (1..=self.options.nodes).collect()
    }

    /// Returns the address at which clients reach this node.
    pub fn endpoint(&self, node: u64) -> String {
        self.options.ports.client(node)
    }

    /// Returns the addresses at which clients reach the nodes.
    pub fn endpoints(&self) -> Vec<String> {
        (1..=self.options.nodes)
            .map(|node| self.endpoint(node))
            .collect()
    }

    /// Returns the address at which peers reach this node.
    pub fn peer_address(&self, node: u64) -> String {
        self.options.ports.peer(node)
    }

    /// Returns the data directory of this node.
    pub fn directory(&self, node: u64) -> PathBuf {
        self.options.directory.join(format!("node-{node}"))
    }

    /// Returns the path of this node's log.
    pub fn log_path(&self, node: u64) -> PathBuf {
        self.directory(node).join(LOG_FILE)
    }

    /// Makes this node join with a token when it is started; the cluster then chooses its number.
    pub fn give_token(&self, node: u64, token: &str) {
        self.tokens().insert(node, token.to_owned());
    }

    /// Sets how the initial members know each other when they are started for the first time.
    pub fn set_bootstrap(&mut self, bootstrap: Bootstrap) {
        self.options.bootstrap = bootstrap;
    }

    /// Sets a variable in the environment of a node when it is started the next time.
    pub fn set_variable(&mut self, node: u64, name: &str, value: &str) {
        let variables = self.options.environment.entry(node).or_default();
        variables.push((name.to_owned(), value.to_owned()));
    }

    fn tokens(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        // The value is sound after every statement that changes it.
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the process ID of this node, if it runs.
    pub fn pid(&self, node: u64) -> Option<u32> {
        self.slot(node).as_ref().map(Node::pid)
    }

    /// Returns the credential of the cluster's first operator; `None` if no node has it on its disk
    /// yet.
    pub fn operator(&self) -> Option<OperatorCredential> {
        if let Some(known) = self.operator.get() {
            return Some(known.clone());
        }
        let found = self.nodes().into_iter().find_map(|node| {
            let file = self.directory(node).join(OPERATOR_FILE);
            OperatorCredential::from_text(&fs::read_to_string(file).ok()?)
        })?;
        Some(self.operator.get_or_init(|| found).clone())
    }

    /// Makes a client of all nodes, without a session, that does not wait long. It carries the
    /// credential of an operator if that is already known.
    pub fn operator_client(&self) -> Client {
        match self.operator() {
            Some(credential) => self.client.with_operator(&credential),
            None => self.client.clone(),
        }
    }

    /// Returns a builder for clients that trust this cluster, with nodes and session of the
    /// caller's choice.
    pub fn client_builder(&self) -> Builder {
        Client::builder().trusting_like(&self.client)
    }

    /// Returns the fingerprint by which clients know the cluster; `None` if it talks in plain text.
    pub fn fingerprint(&self) -> Result<Option<Fingerprint>, ClusterError> {
        match self.options.plain {
            true => Ok(None),
            false => Ok(Some(authority(&self.options.directory)?.fingerprint())),
        }
    }

    /// Returns a receiver of the newest setup token, with which an administrator can be made; nodes
    /// print them while there is none. A used token stays: nodes do not report that.
    pub fn setup_token(&self) -> watch::Receiver<Option<String>> {
        self.setup_token.subscribe()
    }

    /// Ends this node as `kill -9` does. Does nothing if it does not run.
    pub async fn kill(&self, node: u64) -> Result<(), ClusterError> {
        let running = self.slot(node).take();
        match running {
            Some(running) => running.kill().await.map_err(process(node, "kill")),
            None => Ok(()),
        }
    }

    /// Asks this node to stop and waits until it has. Returns `None` if it had to be killed, or did
    /// not run.
    pub async fn stop(&self, node: u64) -> Result<Option<ExitStatus>, ClusterError> {
        let running = self.slot(node).take();
        match running {
            Some(running) => running
                .stop(STOP_LIMIT)
                .await
                .map_err(process(node, "stop")),
            None => Ok(None),
        }
    }

    /// Asks all nodes to stop and waits until they have.
    pub async fn stop_all(&self) -> Result<(), ClusterError> {
        let stopped = join_all(self.nodes().into_iter().map(|node| self.stop(node))).await;
        stopped
            .into_iter()
            .try_for_each(|stopped| stopped.map(drop))
    }

    /// Cuts this node off from all others, or ends that; clients reach it all the same. Does
    /// nothing in a cluster without relays.
    pub fn set_cut_off(&self, node: u64, is_cut_off: bool) {
        if let Some(relays) = &self.relays {
            relays.set_cut_off(node, is_cut_off);
        }
    }

    /// Writes other settings for this node, which it reads now if it runs. They count only in a
    /// cluster that was prepared with settings.
    pub fn write_settings(&self, node: u64, settings: &str) -> Result<(), ClusterError> {
        let path = self.settings_file(node);
        fs::write(&path, settings).map_err(file(&path))?;
        self.read_again(node)
    }

    /// Returns the path of the settings of this node.
    fn settings_file(&self, node: u64) -> PathBuf {
        self.directory(node).with_extension("toml")
    }

    /// Pauses this node: it hangs.
    pub fn pause(&self, node: u64) -> Result<(), ClusterError> {
        let paused = self.slot(node).as_ref().map_or(Ok(()), Node::pause);
        paused.map_err(process(node, "pause"))
    }

    /// Resumes a paused node.
    pub fn resume(&self, node: u64) -> Result<(), ClusterError> {
        let resumed = self.slot(node).as_ref().map_or(Ok(()), Node::resume);
        resumed.map_err(process(node, "resume"))
    }

    /// Makes this node read its settings again.
    pub fn read_again(&self, node: u64) -> Result<(), ClusterError> {
        let read = self.slot(node).as_ref().map_or(Ok(()), Node::read_again);
        read.map_err(process(node, "signal"))
    }

    /// Removes and returns the nodes that ended by themselves since the last call.
    pub fn take_ended(&self) -> Result<Vec<(u64, ExitStatus)>, ClusterError> {
        let mut ended = Vec::new();
        for node in self.nodes() {
            let mut slot = self.slot(node);
            let Some(running) = slot.as_mut() else {
                continue;
            };
            if let Some(status) = running.has_ended().map_err(process(node, "wait for"))? {
                *slot = None;
                ended.push((node, status));
            }
        }
        Ok(ended)
    }

    /// Returns the cluster's status as this node sees it.
    pub async fn status(&self, node: u64) -> Result<v1::GetClusterStatusResponse, CallError> {
        let asking = self.operator_client();
        asking.cluster_status(&self.endpoint(node)).await
    }

    /// Returns the node that a majority of the nodes takes for the leader.
    pub async fn leader(&self) -> Option<u64> {
        let asked = self.nodes().into_iter().map(|node| self.status(node));
        let statuses = join_all(asked).await;
        let mut votes: BTreeMap<u64, u64> = BTreeMap::new();
        for status in statuses.iter().flatten() {
            if status.leader_id != 0 {
                *votes.entry(status.leader_id).or_default() += 1;
            }
        }
        let majority = self.options.nodes / 2 + 1;
        let (leader, _) = votes.into_iter().find(|(_, votes)| *votes >= majority)?;
        // A repaired node has another number in its cluster than it has here.
        let mut here = self.nodes().into_iter().zip(&statuses);
        let is_it = |status: &v1::GetClusterStatusResponse| status.node_id == leader;
        let (leader, _) = here.find(|(_, status)| status.as_ref().is_ok_and(is_it))?;
        self.slot(leader).is_some().then_some(leader)
    }

    /// Waits until there is a leader that a majority agrees on.
    pub async fn wait_for_leader(&self, limit: Duration) -> Result<u64, ClusterError> {
        wait(limit, async || {
            self.leader().await.ok_or_else(|| "no leader".to_owned())
        })
        .await
    }

    /// Waits until all nodes that run agree on a leader and have applied what it had committed.
    pub async fn wait_until_caught_up(&self, limit: Duration) -> Result<(), ClusterError> {
        let leader = self.wait_for_leader(limit).await?;
        let commit = wait(limit, async || {
            let status = self.status(leader).await.map_err(|e| e.to_string())?;
            if status.partial {
                return Err("the cluster has no operator yet".to_owned());
            }
            let commits = status.nodes.iter().map(|node| node.commit_index);
            commits.max().ok_or_else(|| "no members".to_owned())
        })
        .await?;
        wait(limit, async || {
            let nodes = self.nodes().into_iter();
            let running: Vec<u64> = nodes.filter(|node| self.slot(*node).is_some()).collect();
            let asked = running.iter().map(|node| self.status(*node));
            for (node, status) in running.iter().zip(join_all(asked).await) {
                caught_up(*node, commit, status)?;
            }
            Ok(())
        })
        .await
    }

    fn slot(&self, node: u64) -> MutexGuard<'_, Option<Node>> {
        let place = usize::try_from(node - 1).expect("a local cluster is small");
        // A slot is sound after every statement that changes it.
        let slot = self.running[place].lock();
        slot.unwrap_or_else(PoisonError::into_inner)
    }
}

fn caught_up(
    node: u64,
    commit: u64,
    status: Result<v1::GetClusterStatusResponse, CallError>,
) -> Result<(), String> {
    let status = status.map_err(|error| format!("node {node}: {error}"))?;
    let asked = status.node_id;
    let own = status.nodes.iter().find(|own| own.node_id == asked);
    let applied = own.map_or(0, |own| own.applied_index);
    if status.partial {
        Err(format!("node {node} knows no operator yet"))
    } else if status.leader_id == 0 {
        Err(format!("node {node} knows no leader"))
    } else if applied < commit {
        Err(format!("node {node} has applied {applied} of {commit}"))
    } else {
        Ok(())
    }
}

/// Looks again and again until the condition holds; the error says what the last look found.
async fn wait<T>(
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, ClusterError> {
    let deadline = Instant::now() + limit;
    let mut last = "no node has answered".to_owned();
    loop {
        match timeout_at(deadline, look()).await {
            Ok(Ok(seen)) => return Ok(seen),
            Ok(Err(why)) => last = why,
            Err(_) => return Err(ClusterError::NotReady { limit, last }),
        }
        if Instant::now() + LOOK_INTERVAL >= deadline {
            return Err(ClusterError::NotReady { limit, last });
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Returns the path of a local cluster's secret.
fn secret_file(directory: &Path) -> PathBuf {
    directory.join("secret")
}

/// Makes the secret of a new cluster; an existing secret stays.
fn make_secret(directory: &Path) -> Result<(), ClusterError> {
    let path = secret_file(directory);
    let make = || {
        fs::create_dir_all(directory)?;
        let mut options = fs::File::options();
        options.write(true).create_new(true).mode(0o600);
        let secret = ClusterSecret::generate()?;
        options.open(&path)?.write_all(secret.to_text().as_bytes())
    };
    match make() {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(file(&path)(error)),
        _ => Ok(()),
    }
}

/// Returns the authority by which clients know the cluster.
fn authority(directory: &Path) -> Result<Authority, ClusterError> {
    let path = secret_file(directory);
    let text = fs::read_to_string(&path).map_err(file(&path))?;
    let damaged = || file(&path)(io::Error::from(io::ErrorKind::InvalidData));
    let secret = ClusterSecret::from_text(&text).map_err(|_| damaged())?;
    Authority::from_der(secret.authority()).map_err(|_| damaged())
}
