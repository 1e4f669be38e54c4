//! `conclave up`: runs a whole cluster on this machine.
//!
//! A node that dies is started again after a while, so that people can watch what happens when they
//! kill some. Ctrl-C stops all nodes gracefully; a second Ctrl-C kills them.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use conclave_client::Fingerprint;
use conclave_local_cluster::{Bootstrap, LocalCluster, NODES_MAX, Options, Ports};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, interval};

use crate::{
    errors::{CommandError, EXIT_CONFLICT, EXIT_INTERRUPTED, EXIT_USAGE, note},
    local_nodes::{interrupted, signals, this_program, words},
    operators, output,
};

/// Longest time until a cluster serves.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Time for which a dead node is left dead, so that people can see that the cluster serves without
/// it.
const RESTART_DELAY: Duration = Duration::from_secs(10);
/// Interval at which the children are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// File that describes the cluster in a directory.
const SHAPE_FILE: &str = "cluster.json";
/// Lock file, held by the process that runs the cluster of a directory.
const LOCK_FILE: &str = "cluster.lock";

/// Arguments of `up`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of nodes: five survive any two failures
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u64).range(1..=NODES_MAX))]
    nodes: u64,
    /// Directory in which the nodes keep their data
    #[arg(long, default_value = "./conclave-data", value_name = "DIR")]
    data: PathBuf,
    /// First port; node 2 listens ten ports further
    #[arg(long, default_value = "7400", value_name = "PORT")]
    base_port: u16,
    /// Encrypt the connections of clients, as on several machines; those between nodes always are
    #[arg(long)]
    tls: bool,
    /// Do not restart a node that has died
    #[arg(long)]
    no_restart: bool,
}

/// Settings that may not change between two runs: the nodes have them in their logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Shape {
    nodes: u64,
    base_port: u16,
}

/// Runs a whole cluster on this machine.
///
/// # Errors
/// If the directory is in use or another cluster's, or the nodes do not come up.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let ports = Ports::fixed(args.base_port, args.nodes).ok_or_else(|| {
        let hint = "choose a lower --base-port";
        CommandError::new(EXIT_USAGE, "the last port would be beyond 65535", hint)
    })?;
    let _lock = claim(&args)?;
    let mut interrupts = signals()?;
    let options = Options {
        program: this_program()?,
        directory: args.data.clone(),
        nodes: args.nodes,
        initial_members: args.nodes,
        bootstrap: Bootstrap::Discovery,
        ports,
        plain: !args.tls,
        relays: false,
        settings: None,
        environment: Default::default(),
    };
    let started = tokio::select! {
        started = LocalCluster::start(options, READY_LIMIT) => started,
        () = interrupted(&mut interrupts) => return Ok(ExitCode::from(EXIT_INTERRUPTED)),
    };
    let cluster = started.map_err(words)?;
    show(&cluster)?;
    let seconds = began.elapsed().as_secs_f64();
    note(&format!("ready in {seconds:.1} s"));
    keep_operator(&cluster);
    let program = program_name();
    let fingerprint = cluster.fingerprint().map_err(words)?;
    note(&suggestions(&cluster, fingerprint, &program));
    tokio::select! {
        watched = watch(&cluster, args.no_restart) => watched?,
        () = tell_setup_tokens(&cluster, &program) => {}
        () = interrupted(&mut interrupts) => {}
    }
    note("stopping all nodes; Ctrl-C again kills them");
    tokio::select! {
        stopped = cluster.stop_all() => stopped.map_err(words)?,
        // Nodes that still run are killed with their handles.
        () = interrupted(&mut interrupts) => return Ok(ExitCode::from(EXIT_INTERRUPTED)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps the credential of the cluster's first operator where the other commands find it.
fn keep_operator(cluster: &LocalCluster) {
    let Some(credential) = cluster.operator() else {
        return;
    };
    // The cluster runs with or without a home directory.
    if let Err(error) = operators::keep(&cluster.endpoints(), &credential) {
        note(&format!(
            "warning: failed to keep the credential of the operator: {error}"
        ));
    }
}

/// Locks the directory, and checks that it is this cluster's.
fn claim(args: &Args) -> anyhow::Result<File> {
    let data = &args.data;
    let unusable = |error: io::Error| {
        let sentence = format!("cannot use the data directory {}: {error}", data.display());
        CommandError::new(1, sentence, "name another one with --data")
    };
    fs::create_dir_all(data).map_err(unusable)?;
    let lock = File::create(data.join(LOCK_FILE)).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let sentence = format!("the data directory {} is in use", data.display());
            let hint = "a cluster runs there already; stop it, or name another one with --data";
            return Err(CommandError::new(EXIT_CONFLICT, sentence, hint).into());
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error).into()),
    }
    let shape = Shape {
        nodes: args.nodes,
        base_port: args.base_port,
    };
    keep_shape(&data.join(SHAPE_FILE), shape)?;
    Ok(lock)
}

fn keep_shape(path: &Path, shape: Shape) -> anyhow::Result<()> {
    let kept = match fs::read(path) {
        Ok(kept) => kept,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(fs::write(path, serde_json::to_vec(&shape)?)?);
        }
        Err(error) => return Err(error.into()),
    };
    let kept: Shape = serde_json::from_slice(&kept).map_err(|error| {
        let sentence = format!("{} cannot be read: {error}", path.display());
        CommandError::new(
            EXIT_CONFLICT,
            sentence,
            "name another directory with --data",
        )
    })?;
    if kept == shape {
        return Ok(());
    }
    let sentence = format!(
        "the data directory is of a cluster with --nodes {} --base-port {}",
        kept.nodes, kept.base_port
    );
    let hint = "start it with these, or name another directory with --data";
    Err(CommandError::new(EXIT_CONFLICT, sentence, hint).into())
}

/// Prints how the first administrator is made, and again when another leader has another token.
/// Never ends.
async fn tell_setup_tokens(cluster: &LocalCluster, program: &str) {
    let mut tokens = cluster.setup_token();
    let mut first = true;
    loop {
        let token = tokens.borrow_and_update().clone();
        if let Some(token) = token {
            let why = if first {
                "no administrator yet"
            } else {
                "the leader has changed, and with it the token"
            };
            note(&format!(
                "{why}: {program} account create NAME --setup-token {token}"
            ));
            first = false;
        }
        if tokens.changed().await.is_err() {
            // This cannot happen: the cluster lives as long as this task.
            return std::future::pending().await;
        }
    }
}

/// Restarts nodes that have died.
async fn watch(cluster: &LocalCluster, no_restart: bool) -> anyhow::Result<()> {
    let mut due: Vec<(Instant, u64)> = Vec::new();
    let mut look = interval(LOOK_INTERVAL);
    loop {
        let now = look.tick().await;
        for (node, _) in cluster.take_ended().map_err(words)? {
            if no_restart {
                note(&format!("node {node} died"));
                continue;
            }
            let seconds = RESTART_DELAY.as_secs();
            note(&format!(
                "node {node} died; starting it again in {seconds} s"
            ));
            due.push((now + RESTART_DELAY, node));
        }
        let (again, later) = due.into_iter().partition(|(when, _)| *when <= now);
        due = later;
        for (_, node) in Vec::from_iter::<Vec<(Instant, u64)>>(again) {
            match cluster.start_node(node).await {
                Ok(()) => {
                    let pid = cluster.pid(node).unwrap_or_default();
                    note(&format!("node {node} runs again with pid {pid}"));
                }
                Err(error) => {
                    note(&format!("{error}; trying again"));
                    due.push((now + RESTART_DELAY, node));
                }
            }
        }
    }
}

fn show(cluster: &LocalCluster) -> io::Result<()> {
    const HEADER: [&str; 6] = ["node", "clients", "peers", "pid", "data", "admin"];
    let row = |node: u64| {
        vec![
            node.to_string(),
            cluster.endpoint(node),
            cluster.peer_address(node),
            cluster.pid(node).unwrap_or_default().to_string(),
            cluster.directory(node).display().to_string(),
            cluster.admin_address(node),
        ]
    };
    let rows: Vec<_> = cluster.nodes().into_iter().map(row).collect();
    output::table(&HEADER, &rows)
}

fn suggestions(cluster: &LocalCluster, known: Option<Fingerprint>, program: &str) -> String {
    let tolerated = (cluster.nodes().len() - 1) / 2;
    let pids: Vec<String> = cluster
        .nodes()
        .into_iter()
        .take(tolerated)
        .filter_map(|node| cluster.pid(node))
        .map(|pid| pid.to_string())
        .collect();
    let kill = match pids.is_empty() {
        true => String::new(),
        false => format!(
            "\n  kill -9 {}   # any {tolerated} may die, and the cluster goes on",
            pids.join(" ")
        ),
    };
    let known = known.map(|known| format!("\n  export CONCLAVE_FINGERPRINT={known}"));
    let known = known.unwrap_or_default();
    format!(
        "In another terminal:
  export CONCLAVE_ENDPOINTS={}{known}
  {program} account create alice
  {program} account create bob
  {program} login alice
  {program} send bob hello
  {program} read --follow{kill}
  {program} cluster status
Ctrl-C stops all nodes.",
        cluster.endpoints().join(",")
    )
}

/// Returns the name with which the program was called.
fn program_name() -> String {
    std::env::args()
        .next()
        .unwrap_or_else(|| "conclave".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(data: &Path, nodes: u64) -> Args {
        Args {
            nodes,
            data: data.to_owned(),
            base_port: 7400,
            tls: false,
            no_restart: false,
        }
    }

    #[test]
    fn a_directory_holds_one_cluster_of_a_fixed_size() {
        let directory = tempfile::tempdir().unwrap();
        let first = claim(&args(directory.path(), 5)).unwrap();
        let second = claim(&args(directory.path(), 5)).unwrap_err();
        assert!(second.to_string().contains("in use"), "{second}");
        drop(first);
        let other = claim(&args(directory.path(), 3)).unwrap_err();
        assert!(other.to_string().contains("--nodes 5"), "{other}");
        claim(&args(directory.path(), 5)).unwrap();
    }
}
