//! `conclave bench live`: measures the streams of a cluster on this machine.
//!
//! Four questions: what an idle subscriber costs and when the last of a crowd has a message; how
//! long after its acknowledgement a message arrives elsewhere; what readers that do not read do to
//! the others; and what happens when a node with a crowd dies. Each has a file here.
//!
//! Always true: everything waits with a limit, and the nodes end with this command. All clients
//! run in this one process, on the same processors as the nodes: figures are upper bounds.

pub(super) mod crowd;
mod delivery;
mod idle;
pub(super) mod load;
mod raw;
mod slow;
mod storm;

use std::{process::ExitCode, time::Duration};

use conclave_core::limits::TEXT_BYTES_MAX;
use conclave_local_cluster::{LocalCluster, NODES_MAX};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{limits, process};
use crate::{
    commands::up::words,
    errors::{CommandError, EXIT_FAILED, EXIT_UNAVAILABLE},
    output::{self, Format},
    scratch,
};

/// Maximum number of subscribers that one node takes.
const SUBSCRIBERS_MAX: u64 = 9_000;
/// Limit for steps that usually take a moment.
const PATIENCE: Duration = Duration::from_secs(60);
/// Interval between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Number of open files besides the two ends of each subscriber.
const FILES_BESIDES: u64 = 2_000;

/// Arguments of `bench live`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    what: What,
    /// Number of nodes to start
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u64).range(3..=NODES_MAX))]
    nodes: u64,
    /// Seconds of each part of a measurement
    #[arg(long, default_value = "8", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Number of senders besides the measured streams
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u64).range(1..=1024))]
    concurrency: u64,
    /// Number of messages to the crowd
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u64).range(1..=1000))]
    messages: u64,
    /// Messages of all senders per second [default: 400; with --delivery half of the cluster's
    /// maximal rate]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: Option<u64>,
    /// Bytes of one message
    #[arg(
        long,
        default_value = "100",
        value_parser = clap::value_parser!(u64).range(32..=TEXT_BYTES_MAX as u64)
    )]
    payload: u64,
    /// Output format of the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// The measurement to run.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Measure N idle subscribers on one node: memory, CPU, and messages to all of them
    #[arg(
        long, num_args = 0..=1, default_missing_value = "5000", value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=SUBSCRIBERS_MAX)
    )]
    idle: Option<u64>,
    /// Measure the time from the acknowledgement to the arrival on another node, at half of the
    /// maximal load
    #[arg(long)]
    delivery: bool,
    /// Measure other readers beside N that stop, and N that read a byte per second
    #[arg(
        long, num_args = 0..=1, default_missing_value = "50", value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=1000)
    )]
    slow: Option<u64>,
    /// Measure N subscribers of a node that is killed
    #[arg(
        long, num_args = 0..=1, default_missing_value = "1000", value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=SUBSCRIBERS_MAX)
    )]
    storm: Option<u64>,
}

impl Args {
    fn part(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn payload(&self) -> usize {
        usize::try_from(self.payload).expect("a text is short")
    }

    /// Returns the number of senders' sessions, and how many messages of each are under way at
    /// once.
    fn senders(&self) -> (u64, u64) {
        const SESSIONS: u64 = 8;
        let sessions = SESSIONS.min(self.concurrency);
        (sessions, self.concurrency.div_ceil(sessions))
    }
}

/// A cluster with the roles of its nodes.
struct Stage {
    cluster: LocalCluster,
    leader: u64,
    /// The node that serves the streams: a follower.
    host: u64,
}

impl Stage {
    /// Returns the addresses of all nodes: these first, in their order.
    fn endpoints(&self, first: &[u64]) -> Vec<String> {
        let nodes = self.cluster.nodes().into_iter();
        let others = nodes.filter(|node| !first.contains(node));
        let ordered = first.iter().copied().chain(others);
        ordered.map(|node| self.cluster.endpoint(node)).collect()
    }

    /// Returns the process ID of a node.
    fn process(&self, node: u64) -> anyhow::Result<String> {
        let pid = self.cluster.pid(node);
        Ok(pid
            .ok_or_else(|| failed("a node does not run"))?
            .to_string())
    }

    /// Returns the memory of a node.
    fn memory_kib(&self, node: u64) -> anyhow::Result<u64> {
        let kib = process::memory_kib(&self.process(node)?);
        kib.ok_or_else(|| failed("this system does not tell the memory of a process"))
    }

    /// Returns the CPU time of a node so far.
    fn cpu_us(&self, node: u64) -> anyhow::Result<u64> {
        let us = process::cpu_us(&self.process(node)?);
        us.ok_or_else(|| failed("this system does not tell the time of a process"))
    }
}

/// Figures with their names.
type Rows = Vec<(&'static str, String)>;

/// Starts a cluster, measures, ends it, and shows the result.
pub(super) async fn bench(args: &Args) -> anyhow::Result<ExitCode> {
    let subscribers = args.what.idle.or(args.what.storm).unwrap_or(0);
    allow_files(2 * subscribers + FILES_BESIDES)?;
    let directory = tempfile::Builder::new()
        .prefix("conclave-bench-")
        .tempdir()?;
    let cluster = scratch::cluster(args.nodes, false, directory.path())
        .await
        .map_err(words)?;
    let leader = cluster.wait_for_leader(PATIENCE).await.map_err(words)?;
    let nobody = cluster.client_builder().endpoints(cluster.endpoints());
    limits::lift(&cluster, &nobody.build()?).await?;
    let host = leader % args.nodes + 1;
    let stage = Stage {
        cluster,
        leader,
        host,
    };
    let holds = if let Some(count) = args.what.idle {
        show(args, &idle::measure(args, &stage, count).await?)?
    } else if let Some(count) = args.what.slow {
        show(args, &slow::measure(args, &stage, count).await?)?
    } else if let Some(count) = args.what.storm {
        show(args, &storm::measure(args, &stage, count).await?)?
    } else {
        show(args, &delivery::measure(args, &stage).await?)?
    };
    stage.cluster.stop_all().await.map_err(words)?;
    match holds {
        true => Ok(ExitCode::SUCCESS),
        false => Err(failed(
            "the streams did not give every message exactly once",
        )),
    }
}

/// Result of a measurement.
trait Figures: Serialize {
    fn rows(&self) -> Rows;
    /// Returns whether the promises held.
    fn holds(&self) -> bool {
        true
    }
}

fn show(args: &Args, figures: &impl Figures) -> anyhow::Result<bool> {
    match args.output {
        Format::Json => output::json_line(&serde_json::to_value(figures)?)?,
        Format::Table => {
            let rows = figures.rows().into_iter();
            let rows: Vec<Vec<String>> = rows
                .map(|(name, value)| vec![name.to_owned(), value])
                .collect();
            output::table(&["measured", "value"], &rows)?;
        }
    }
    Ok(figures.holds())
}

/// Waits for a condition.
async fn until(what: &str, holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    until_within(PATIENCE, what, holds).await
}

async fn until_within(
    limit: Duration,
    what: &str,
    mut holds: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    while !holds() {
        if Instant::now() >= deadline {
            return Err(failed(&format!("waited too long: {what}")));
        }
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

fn failed(sentence: &str) -> anyhow::Error {
    let hint = "run it again on a machine that does nothing else";
    CommandError::new(EXIT_FAILED, sentence, hint).into()
}

/// Allows this process, and the nodes that it starts, to open this number of files.
fn allow_files(wanted: u64) -> anyhow::Result<()> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: now.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|_| {
        let sentence = format!("this system does not allow {wanted} open files");
        let hint = "ask for fewer subscribers, or raise the limit: ulimit -Hn";
        CommandError::new(EXIT_UNAVAILABLE, sentence, hint).into()
    })
}

/// Formats a time in microseconds as milliseconds.
fn ms(us: u64) -> String {
    format!("{:.1} ms", us as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_allowed_already_need_nothing() {
        allow_files(1).unwrap();
        assert!(
            allow_files(u64::MAX / 2).is_err() || getrlimit(Resource::Nofile).current.is_none()
        );
    }

    #[tokio::test]
    async fn a_condition_that_never_holds_is_an_error_after_a_while() {
        let mut looks = 0;
        let third = || {
            looks += 1;
            looks == 3
        };
        assert!(until("the third look", third).await.is_ok());
        let never = until_within(2 * LOOK_INTERVAL, "never", || false).await;
        assert!(never.is_err());
    }
}
