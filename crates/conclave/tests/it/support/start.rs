//! The ways in which a test starts or prepares its cluster.
//!
//! Always true: a cluster waits for its turn before its processes start, and ports and directory
//! are its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use conclave_local_cluster::{Bootstrap, LocalCluster, Options, Ports};
use futures::future::join_all;
use tempfile::TempDir;
use tokio::sync::SemaphorePermit;

use super::{CLUSTERS_MAX, Cluster, TURNS};

/// Environment variable with the offset of a node's clock, in milliseconds.
const CLOCK_VARIABLE: &str = "CONCLAVE_CLOCK_OFFSET_MS";
/// Environment variable with the number of log entries that a node keeps.
const KEEP_VARIABLE: &str = "CONCLAVE_LOG_KEEP_ENTRIES";
/// Environment variable with the number of bytes of snapshots that a node sends in a second.
const PACE_VARIABLE: &str = "CONCLAVE_SNAPSHOT_BYTES_PER_SECOND";

impl Cluster {
    /// Starts a cluster of this many nodes and waits until it serves.
    pub(crate) async fn start(nodes: u64) -> Self {
        let cluster = Self::prepare(nodes).await;
        cluster.start_all().await;
        cluster
    }

    /// Starts the same with nodes that use encryption.
    pub(crate) async fn start_encrypted(nodes: u64) -> Self {
        let mut cluster = Self::build(nodes, 1, BTreeMap::new()).await;
        cluster.encrypt();
        cluster.start_all().await;
        cluster
    }

    /// Starts a cluster whose nodes use encryption and may have only this many open files.
    pub(crate) async fn start_with_descriptors(nodes: u64, descriptors: u64) -> Self {
        Self::start_after(nodes, &format!("ulimit -n {descriptors}"), false).await
    }

    /// Starts a cluster whose nodes get an error for a write beyond a limit, and are not ended by
    /// it.
    pub(crate) async fn start_with_writes_that_fail(nodes: u64) -> Self {
        Self::start_after(nodes, "trap '' XFSZ", true).await
    }

    /// Starts a cluster whose nodes are started by a shell, after it has run `first`.
    async fn start_after(nodes: u64, first: &str, plain: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("conclave");
        let program = env!("CARGO_BIN_EXE_conclave");
        let text = format!("#!/bin/sh\n{first}\nexec '{program}' \"$@\"\n");
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let options = |mut options: Options| {
            options.program = script;
            options.plain = plain;
            options
        };
        let turn = TURNS.acquire_many(1).await.unwrap();
        let cluster = Self::build_in(directory, turn, nodes, nodes, BTreeMap::new(), options);
        cluster.start_all().await;
        cluster
    }

    /// Starts a cluster of nodes in plain text that run this program.
    pub(crate) async fn start_program(nodes: u64, program: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = program.to_owned();
        let options = |options: Options| Options { program, ..options };
        let turn = TURNS.acquire_many(1).await.unwrap();
        let cluster = Self::build_in(directory, turn, nodes, nodes, BTreeMap::new(), options);
        cluster.start_all().await;
        cluster
    }

    /// Starts a cluster while no other one runs, for tests that measure times.
    pub(crate) async fn start_undisturbed(nodes: u64) -> Self {
        let cluster = Self::build(nodes, CLUSTERS_MAX, BTreeMap::new()).await;
        cluster.start_all().await;
        cluster
    }

    /// Starts a cluster whose nodes have wrong clocks, by these offsets in milliseconds.
    pub(crate) async fn start_with_clocks(offsets_ms: &[(u64, i64)]) -> Self {
        let clock = |offset_ms: i64| vec![(CLOCK_VARIABLE.to_owned(), offset_ms.to_string())];
        let environment = offsets_ms
            .iter()
            .map(|(node, offset_ms)| (*node, clock(*offset_ms)))
            .collect();
        let cluster = Self::build(offsets_ms.len() as u64, 1, environment).await;
        cluster.start_all().await;
        cluster
    }

    /// Starts a cluster whose clocks can be set; see [`Cluster::set_clock`].
    pub(crate) async fn start_with_settable_clocks(nodes: u64) -> Self {
        let mut cluster = Self::prepare(nodes).await;
        for node in 1..=nodes {
            let file = cluster.settings_file(node);
            fs::write(&file, "").unwrap();
            cluster.set_variable(node, "CONCLAVE_CONFIG", file.to_str().unwrap());
        }
        cluster.start_all().await;
        cluster
    }

    /// Starts a cluster whose nodes keep this many log entries, so that a node that was down for
    /// longer gets a snapshot.
    pub(crate) async fn start_with_short_logs(nodes: u64, keep_entries: u64) -> Self {
        let short = vec![(KEEP_VARIABLE.to_owned(), keep_entries.to_string())];
        let environment = (1..=nodes).map(|node| (node, short.clone())).collect();
        let cluster = Self::build(nodes, 1, environment).await;
        cluster.start_all().await;
        cluster
    }

    /// Starts a cluster of this many nodes that keep few log entries and send snapshots slowly,
    /// with one place more for a machine that joins.
    pub(crate) async fn start_with_slow_snapshots(
        nodes: u64,
        keep_entries: u64,
        bytes_per_second: u64,
    ) -> Self {
        let slow = vec![
            (KEEP_VARIABLE.to_owned(), keep_entries.to_string()),
            (PACE_VARIABLE.to_owned(), bytes_per_second.to_string()),
        ];
        let environment = (1..=nodes + 1).map(|node| (node, slow.clone())).collect();
        let cluster = Self::build_with(nodes + 1, nodes, 1, environment).await;
        join_all((1..=nodes).map(|node| cluster.start_node(node))).await;
        cluster.all_rejoined().await;
        cluster
    }

    /// Prepares a cluster that its first node bootstraps alone; the others can be added to it. No
    /// node runs yet.
    pub(crate) async fn prepare_growing(nodes: u64) -> Self {
        Self::build_with(nodes, 1, 1, BTreeMap::new()).await
    }

    /// Prepares a cluster with this many places, of which the first ones bootstrap it. No node runs
    /// yet.
    pub(crate) async fn prepare_with_places(nodes: u64, initial_members: u64) -> Self {
        Self::build_with(nodes, initial_members, 1, BTreeMap::new()).await
    }

    /// Prepares a cluster whose nodes find each other. No node runs yet.
    pub(crate) async fn prepare_meeting(nodes: u64) -> Self {
        let mut cluster = Self::build(nodes, 1, BTreeMap::new()).await;
        cluster.local.set_bootstrap(Bootstrap::Discovery);
        cluster
    }

    /// Prepares a cluster of which no node runs yet.
    pub(crate) async fn prepare(nodes: u64) -> Self {
        Self::build(nodes, 1, BTreeMap::new()).await
    }

    async fn build(
        nodes: u64,
        turns: u32,
        environment: BTreeMap<u64, Vec<(String, String)>>,
    ) -> Self {
        Self::build_with(nodes, nodes, turns, environment).await
    }

    async fn build_with(
        nodes: u64,
        initial_members: u64,
        turns: u32,
        environment: BTreeMap<u64, Vec<(String, String)>>,
    ) -> Self {
        let turn = TURNS.acquire_many(turns).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        Self::build_in(
            directory,
            turn,
            nodes,
            initial_members,
            environment,
            |all| all,
        )
    }

    fn build_in(
        directory: TempDir,
        turn: SemaphorePermit<'static>,
        nodes: u64,
        initial_members: u64,
        environment: BTreeMap<u64, Vec<(String, String)>>,
        change: impl FnOnce(Options) -> Options,
    ) -> Self {
        let options = Options {
            program: env!("CARGO_BIN_EXE_conclave").into(),
            directory: directory.path().to_owned(),
            nodes,
            initial_members,
            bootstrap: Bootstrap::Numbered,
            ports: Ports::free(nodes).expect("there are free ports"),
            plain: true,
            relays: false,
            settings: None,
            environment,
        };
        Self {
            local: LocalCluster::prepare(change(options)).unwrap(),
            witnesses: BTreeSet::new(),
            _directory: directory,
            _turn: turn,
        }
    }
}
