//! Clusters for tests: real processes of the built binary, each in a directory of its own.
//!
//! Always true: a test waits for a condition, at most [`PATIENCE`], and no process or file
//! outlives its cluster. How a cluster is started is in `support/start.rs`.

mod start;

use std::{collections::BTreeSet, fs, path::PathBuf, sync::LazyLock, time::Duration};

use conclave_client::{Client, Grant, OperatorCredential, Reason, v1};
use conclave_local_cluster::LocalCluster;
use conclave_server::{ClusterSecret, OPERATOR_FILE};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep, timeout_at},
};

/// Maximum time for anything before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Number of clusters that run at the same time: more would only measure how busy the machine is.
const CLUSTERS_MAX: u32 = 2;

static TURNS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(CLUSTERS_MAX as usize));

/// The cluster of one test.
pub(crate) struct Cluster {
    local: LocalCluster,
    /// Nodes that join as witnesses.
    witnesses: BTreeSet<u64>,
    // Dropped in this order: the processes end, their files are removed, the next cluster may
    // start.
    _directory: TempDir,
    _turn: SemaphorePermit<'static>,
}

impl Cluster {
    /// Returns the kilobytes of memory that this node uses.
    pub(crate) fn memory_kb(&self, node: u64) -> u64 {
        let pid = self.local.pid(node).expect("it runs");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let text = line.and_then(|line| line.split_whitespace().next());
        text.expect("it uses memory").parse().unwrap()
    }

    /// Makes the nodes that are started from now on use encryption.
    pub(crate) fn encrypt(&mut self) {
        self.local.encrypt().unwrap();
    }

    /// Returns the secret that the nodes share, which no client may know.
    pub(crate) fn secret(&self) -> ClusterSecret {
        let text = fs::read_to_string(self.local.directory(1).join("secret")).unwrap();
        ClusterSecret::from_text(&text).unwrap()
    }

    /// Returns the fingerprint by which clients identify the cluster.
    pub(crate) fn fingerprint(&self) -> String {
        let fingerprint = self.local.fingerprint().unwrap();
        fingerprint.expect("it is encrypted").to_string()
    }

    fn settings_file(&self, node: u64) -> PathBuf {
        self.directory(node).with_extension("toml")
    }

    /// Sets the clock of this node this many milliseconds ahead of the machine's.
    pub(crate) fn set_clock(&self, node: u64, offset_ms: i64) {
        let settings = format!("clock_offset_ms = {offset_ms}\n");
        fs::write(self.settings_file(node), settings).unwrap();
        self.local.read_again(node).unwrap();
    }

    /// Makes this node join with a token, and get its number from the cluster.
    pub(crate) fn give_token(&self, node: u64, token: &str) {
        self.local.give_token(node, token);
    }

    /// Makes this node take the place of another one when it joins.
    pub(crate) fn let_replace(&mut self, node: u64, other: u64) {
        self.local
            .set_variable(node, "CONCLAVE_REPLACES", &other.to_string());
    }

    /// Returns the data directory of this node.
    pub(crate) fn directory(&self, node: u64) -> PathBuf {
        self.local.directory(node)
    }

    /// Removes all data of this node.
    pub(crate) fn wipe(&self, node: u64) {
        fs::remove_dir_all(self.local.directory(node)).unwrap();
    }

    /// Returns the numbers of all nodes, from 1.
    pub(crate) fn nodes(&self) -> Vec<u64> {
        self.local.nodes()
    }

    /// Makes a node that has not joined yet a witness.
    pub(crate) fn make_witness(&mut self, node: u64) {
        self.witnesses.insert(node);
        self.set_variable(node, "CONCLAVE_WITNESS", "true");
    }

    /// Returns the numbers of the nodes that have the whole state.
    pub(crate) fn full_nodes(&self) -> Vec<u64> {
        let nodes = self.nodes().into_iter();
        nodes
            .filter(|node| !self.witnesses.contains(node))
            .collect()
    }

    /// Returns the address at which clients reach this node.
    pub(crate) fn endpoint(&self, node: u64) -> String {
        self.local.endpoint(node)
    }

    /// Returns a new client that knows all nodes.
    pub(crate) fn client(&self) -> Client {
        let endpoints = self.local.endpoints();
        let builder = self.local.client_builder();
        builder.endpoints(endpoints).build().unwrap()
    }

    /// Returns the same with the credential of the cluster's first operator.
    pub(crate) async fn operator_client(&self) -> Client {
        self.client().with_operator(&self.operator().await)
    }

    /// Waits until a node leads and returns its number.
    pub(crate) async fn leader(&self) -> u64 {
        self.local.wait_for_leader(PATIENCE).await.unwrap()
    }

    /// Returns a node that does not lead.
    pub(crate) async fn a_follower(&self) -> u64 {
        let leader = self.leader().await;
        let mut nodes = self.nodes().into_iter();
        nodes.find(|node| *node != leader).unwrap()
    }

    /// Waits until this node answers and returns its view of the cluster.
    pub(crate) async fn status(&self, node: u64) -> v1::GetClusterStatusResponse {
        until("a node tells its status", async || {
            self.try_status(node).await
        })
        .await
    }

    /// Returns the cluster's id, as the nodes report it.
    pub(crate) async fn name(&self) -> String {
        let node = self.nodes()[0];
        self.status(node).await.cluster_id
    }

    /// Returns this node's view of the cluster, or `None` if the node does not answer.
    pub(crate) async fn try_status(&self, node: u64) -> Option<v1::GetClusterStatusResponse> {
        let told = self.local.status(node).await.ok()?;
        // A cluster that never had a majority has no operator, and answers every caller in part
        // only.
        if !told.partial || self.local.operator().is_none() {
            return Some(told);
        }
        // The node has not applied yet who an operator is: other nodes report its status.
        for other in self.nodes().into_iter().filter(|other| *other != node) {
            let of_other = self.local.status(other).await;
            if let Ok(status) = of_other
                && !status.partial
            {
                return Some(v1::GetClusterStatusResponse {
                    node_id: told.node_id,
                    leader_id: told.leader_id,
                    ..status
                });
            }
        }
        None
    }

    /// Waits until a node has written the credential of the cluster's first operator and returns
    /// it.
    pub(crate) async fn operator(&self) -> OperatorCredential {
        until("there is an operator", async || self.local.operator()).await
    }

    /// Returns the path of that credential's file.
    pub(crate) async fn operator_file(&self) -> PathBuf {
        until("a node has written it", async || {
            let nodes = self.nodes().into_iter();
            let mut files = nodes.map(|node| self.directory(node).join(OPERATOR_FILE));
            files.find(|file| file.exists())
        })
        .await
    }

    /// Returns whether this node has ended by itself since the last look.
    pub(crate) fn has_ended(&self, node: u64) -> bool {
        let ended = self.local.take_ended().unwrap();
        ended.iter().any(|(other, _)| *other == node)
    }

    /// Returns the current term of this node.
    pub(crate) async fn term(&self, node: u64) -> u64 {
        let status = self.status(node).await;
        let own = status.nodes.iter().find(|own| own.node_id == node);
        own.expect("it is a member").term
    }

    /// Kills this node as `kill -9` does.
    pub(crate) async fn kill(&self, node: u64) {
        self.local.kill(node).await.unwrap();
    }

    /// Kills all nodes as `kill -9` does.
    pub(crate) async fn kill_all(&self) {
        for node in self.nodes() {
            self.kill(node).await;
        }
    }

    /// Stops this node gracefully: it ends by itself and without an error.
    pub(crate) async fn stop(&self, node: u64) {
        let ended = self.local.stop(node).await.unwrap();
        let ended = ended.expect("it runs, and ends by itself");
        assert!(ended.success(), "{ended}: {}", self.log(node));
    }

    /// Asks this node to stop, as a service manager does, and does not wait until it has.
    pub(crate) fn ask_to_stop(&self, node: u64) {
        let pid = i32::try_from(self.pid(node)).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    }

    /// Makes this node hang.
    pub(crate) async fn pause(&self, node: u64) {
        self.local.pause(node).unwrap();
    }

    /// Lets a node that hangs go on.
    pub(crate) async fn resume(&self, node: u64) {
        self.local.resume(node).unwrap();
    }

    /// Starts this node and waits until it listens.
    pub(crate) async fn start_node(&self, node: u64) {
        self.local.start_node(node).await.unwrap();
    }

    /// Starts this node and checks that it is refused and ends: before it listens, or after.
    pub(crate) async fn start_refused_node(&self, node: u64) {
        if self.try_start_node(node).await.is_ok() {
            self.ends(node).await;
        }
    }

    /// Starts this node, which may end before it listens; returns why it did.
    pub(crate) async fn try_start_node(&self, node: u64) -> Result<(), String> {
        let started = self.local.start_node(node).await;
        started.map_err(|error| error.to_string())
    }

    /// Sets a variable in the environment of this node, from its next start on.
    pub(crate) fn set_variable(&mut self, node: u64, name: &str, value: &str) {
        self.local.set_variable(node, name, value);
    }

    /// Starts all nodes that do not run and waits until all of them serve.
    pub(crate) async fn start_all(&self) {
        self.local.start_all().await.unwrap();
        self.all_rejoined().await;
    }

    /// Waits until all nodes that run know the leader and have applied what it had committed.
    pub(crate) async fn all_rejoined(&self) {
        self.local.wait_until_caught_up(PATIENCE).await.unwrap();
    }

    /// Logs in the cluster's first administrator with the setup token that the leader prints, as a
    /// client with an operator's credential, too; returns the session's token.
    pub(crate) async fn administrator(&self) -> (Client, String) {
        let (mut tokens, client) = (self.local.setup_token(), self.client());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let token = timeout_at(deadline, tokens.wait_for(Option::is_some)).await;
            let token = token.expect("it prints one").unwrap().clone().unwrap();
            let grant = Grant::Setup(token);
            let made = client.create_account_with("root", ROOT_PASSWORD, grant);
            match made.await {
                Ok(_) => break,
                // Another node leads by now, and is about to print its own token.
                Err(error) if error.reason() == Some(Reason::SetupTokenInvalid) => {
                    assert!(Instant::now() < deadline, "no token can be used");
                    let newer = Instant::now() + 25 * LOOK_INTERVAL;
                    let _ = timeout_at(newer, tokens.changed()).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        let login = client.login("root", ROOT_PASSWORD).await.unwrap();
        let root = client.with_token(&login.token).unwrap();
        (root.with_operator(&self.operator().await), login.token)
    }

    /// Returns the address at which this node answers probes and serves its metrics.
    pub(crate) fn admin_address(&self, node: u64) -> String {
        self.local.admin_address(node)
    }

    /// Returns the address at which peers reach this node.
    pub(crate) fn peer_address(&self, node: u64) -> String {
        self.local.peer_address(node)
    }

    /// Returns the process id of this node, which runs.
    pub(crate) fn pid(&self, node: u64) -> u32 {
        self.local.pid(node).expect("it runs")
    }

    /// Waits until this node has ended by itself.
    pub(crate) async fn ends(&self, node: u64) {
        until("a node ends by itself", async || {
            let ended = self.local.take_ended().unwrap();
            ended.iter().any(|(other, _)| *other == node).then_some(())
        })
        .await;
    }

    /// Returns what this node has written to its log.
    pub(crate) fn log(&self, node: u64) -> String {
        fs::read_to_string(self.local.log_path(node)).unwrap()
    }
}

/// Password of [`Cluster::administrator`].
pub(crate) const ROOT_PASSWORD: &str = "correct horse battery";

/// Waits for a permit to load the machine, for nodes that are no [`Cluster`].
pub(crate) async fn turn() -> SemaphorePermit<'static> {
    TURNS.acquire().await.unwrap()
}

/// Calls `look` again and again until it returns a value.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(Some(seen)) = timeout_at(deadline, look()).await {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(LOOK_INTERVAL).await;
    }
}
