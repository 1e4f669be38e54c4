//! hiqlite: one message is one insertion; each node is a process of this program.
//!
//! The callers are in a process without a node and use one connection to the leader.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, bail};
use hiqlite::{Client, LogSync, Node, NodeConfig, Param};

use super::{Caller as AnyCaller, Cluster, Shape};
use crate::{
    load::payload,
    servers::{Servers, free_ports},
};

/// The version that `Cargo.lock` has.
const VERSION: &str = "0.15.3";
/// Both secrets: everything listens on loopback and ends soon.
const SECRET: &str = "peers-on-loopback-only";
const TABLE: &str = "CREATE TABLE message (id INTEGER PRIMARY KEY, text TEXT NOT NULL)";
const INSERT: &str = "INSERT INTO message (id, text) VALUES ($1, $2)";
const HEALTHY_LIMIT: Duration = Duration::from_secs(20);

/// Inserts messages.
#[derive(Clone)]
pub(crate) struct Caller {
    client: Client,
    payload: u64,
}

impl Caller {
    pub(crate) async fn send(&self, message: u64) -> anyhow::Result<()> {
        let text = String::from_utf8(payload(message, self.payload))?;
        let id = i64::try_from(message)?;
        let values = vec![Param::Integer(id), Param::Text(text)];
        self.client.execute(INSERT, values).await?;
        Ok(())
    }

    pub(crate) async fn stored(&self) -> anyhow::Result<u64> {
        let sql = "SELECT count(*) AS count FROM message";
        let mut rows = self.client.query_raw(sql, Vec::new()).await?;
        let row = rows.first_mut().context("no count")?;
        Ok(u64::try_from(row.get::<i64>("count"))?)
    }
}

pub(super) fn promises() -> [String; 5] {
    [
        VERSION.to_owned(),
        "an insertion of a row with a key of its own, one connection; `wal_sync = Immediate`"
            .to_owned(),
        "the log, synced on a majority".to_owned(),
        "in the logs of a majority, and in SQLite of the leader".to_owned(),
        "inserts again: the caller chooses keys so that this does no harm".to_owned(),
    ]
}

/// Runs a node until it is killed.
pub(crate) async fn node(id: u64, directory: PathBuf, ports: Vec<u16>) -> anyhow::Result<()> {
    let (api, raft) = ports.split_at(ports.len() / 2);
    let at = |port: &u16| format!("127.0.0.1:{port}");
    let nodes = (1..)
        .zip(api.iter().zip(raft))
        .map(|(id, (api, raft))| Node {
            id,
            addr_raft: at(raft),
            addr_api: at(api),
        });
    let _client = hiqlite::start_node(NodeConfig {
        node_id: id,
        nodes: nodes.collect(),
        listen_addr_api: "127.0.0.1".into(),
        listen_addr_raft: "127.0.0.1".into(),
        data_dir: directory.to_string_lossy().into_owned().into(),
        wal_sync: LogSync::Immediate,
        secret_raft: SECRET.to_owned(),
        secret_api: SECRET.to_owned(),
        health_check_delay: Duration::ZERO,
        ..NodeConfig::default()
    })
    .await?;
    std::future::pending().await
}

pub(super) async fn start(shape: Shape<'_>) -> anyhow::Result<Cluster> {
    let mut servers = Servers::new("hiqlite", shape.directory)?;
    let ports = free_ports(2 * shape.nodes)?;
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    let program = std::env::current_exe()?;
    for id in 1..=shape.nodes {
        let directory = servers.directory(&format!("n{id}"))?;
        servers.start(Path::new(&program), |command| {
            command.args([
                "hiqlite-node",
                "--id",
                &id.to_string(),
                "--ports",
                &list.join(","),
            ]);
            command.arg("--directory").arg(directory);
        })?;
    }
    let api: Vec<String> = ports[..shape.nodes]
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let client = Client::remote(api, false, false, SECRET.to_owned(), false, None).await?;
    let made = AtomicU64::new(0);
    let ready = servers.wait_for("hiqlite is healthy", || {
        healthy(&client, &made, shape.nodes)
    });
    let leader = ready.await?;
    let caller = Caller {
        client,
        payload: shape.payload,
    };
    let ids = servers.ids();
    Ok(Cluster {
        caller: AnyCaller::Hiqlite(caller),
        servers,
        ids,
        leader,
    })
}

/// Makes the table, once all nodes vote, and returns the number of the leader.
async fn healthy(client: &Client, made: &AtomicU64, nodes: usize) -> anyhow::Result<usize> {
    client.wait_until_healthy_db_timeout(HEALTHY_LIMIT).await?;
    let metrics = client.metrics_db().await?;
    let voters = metrics.membership_config.voter_ids().count();
    if voters != nodes {
        bail!("{voters} nodes vote");
    }
    if made.load(Relaxed) == 0 {
        client.execute(TABLE, Vec::new()).await?;
        made.store(1, Relaxed);
    }
    let leader = metrics.current_leader.context("there is no leader")?;
    Ok(usize::try_from(leader)? - 1)
}
