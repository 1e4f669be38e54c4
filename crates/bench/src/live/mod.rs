//! Measures the streams of a cluster on this machine.
//!
//! Four questions: what an idle subscriber costs and when the last of a crowd has a message; how
//! long after its acknowledgement a message arrives elsewhere; what readers that do not read do to
//! the others; and what happens when a node with a crowd dies. Each has a file here.
//!
//! Always true: everything waits with a limit, and the nodes end with the measurement.

pub(crate) mod crowd;
pub mod delivery;
pub mod idle;
pub(crate) mod load;
mod raw;
pub mod slow;
pub mod storm;

use std::{path::PathBuf, time::Duration};

use conclave_local_cluster::LocalCluster;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    Figures, Rows,
    error::{BenchError, failed},
    limits, process, scratch,
};

/// Limit for steps that usually take a moment.
const PATIENCE: Duration = Duration::from_secs(60);
/// Interval between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Number of open files besides the two ends of each subscriber.
const FILES_BESIDES: u64 = 2_000;

/// What to measure, and how.
#[derive(Debug)]
pub struct Options {
    /// Path of the program `conclave`.
    pub program: PathBuf,
    /// The measurement.
    pub question: Question,
    /// Number of nodes to start.
    pub nodes: u64,
    /// Seconds of each part of a measurement.
    pub seconds: u64,
    /// Number of senders besides the measured streams.
    pub concurrency: u64,
    /// Number of messages to the crowd.
    pub messages: u64,
    /// Messages of all senders per second; `None` for 400, and for half of the cluster's maximal
    /// rate where deliveries are measured.
    pub rate: Option<u64>,
    /// Bytes of one message.
    pub payload: u64,
}

/// The measurement to run.
#[derive(Clone, Copy, Debug)]
pub enum Question {
    /// What this number of idle subscribers of one node cost.
    Idle(u64),
    /// How long after its acknowledgement a message arrives on another node.
    Delivery,
    /// What so many readers that stop, and as many that read a byte per second, do to the others.
    Slow(u64),
    /// What happens to this number of subscribers when their node is killed.
    Storm(u64),
}

impl Options {
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
    fn process(&self, node: u64) -> Result<String, BenchError> {
        let pid = self.cluster.pid(node);
        Ok(pid
            .ok_or_else(|| failed("a node does not run"))?
            .to_string())
    }

    /// Returns the memory of a node.
    fn memory_kib(&self, node: u64) -> Result<u64, BenchError> {
        let kib = process::memory_kib(&self.process(node)?);
        kib.ok_or_else(|| failed("this system does not report the memory of a process"))
    }

    /// Returns the CPU time of a node so far.
    fn cpu_us(&self, node: u64) -> Result<u64, BenchError> {
        let us = process::cpu_us(&self.process(node)?);
        us.ok_or_else(|| failed("this system does not report the CPU time of a process"))
    }
}

/// Starts a cluster, measures, and ends it.
///
/// # Errors
/// If the cluster does not come up, or the streams do not get what they wait for.
pub async fn measure(options: &Options) -> Result<Report, BenchError> {
    let subscribers = match options.question {
        Question::Idle(count) | Question::Storm(count) => count,
        Question::Delivery | Question::Slow(_) => 0,
    };
    allow_files(2 * subscribers + FILES_BESIDES)?;
    let (directory, program) = (scratch::directory()?, &options.program);
    let cluster = scratch::cluster(program, options.nodes, false, directory.path()).await?;
    let leader = cluster.wait_for_leader(PATIENCE).await?;
    let anonymous = cluster.client_builder().endpoints(cluster.endpoints());
    limits::lift(&cluster, &anonymous.build()?).await?;
    let host = leader % options.nodes + 1;
    let stage = Stage {
        cluster,
        leader,
        host,
    };
    let report = match options.question {
        Question::Idle(count) => Report::Idle(idle::measure(options, &stage, count).await?),
        Question::Delivery => Report::Delivery(delivery::measure(options, &stage).await?),
        Question::Slow(count) => Report::Slow(slow::measure(options, &stage, count).await?),
        Question::Storm(count) => Report::Storm(storm::measure(options, &stage, count).await?),
    };
    stage.cluster.stop_all().await?;
    Ok(report)
}

/// Figures of the measurement.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Report {
    /// Of [`Question::Idle`].
    Idle(idle::Report),
    /// Of [`Question::Delivery`].
    Delivery(delivery::Report),
    /// Of [`Question::Slow`].
    Slow(slow::Report),
    /// Of [`Question::Storm`].
    Storm(storm::Report),
}

impl Figures for Report {
    fn rows(&self) -> Rows {
        match self {
            Self::Idle(report) => report.rows(),
            Self::Delivery(report) => report.rows(),
            Self::Slow(report) => report.rows(),
            Self::Storm(report) => report.rows(),
        }
    }

    fn holds(&self) -> bool {
        match self {
            Self::Idle(report) => report.holds(),
            Self::Delivery(report) => report.holds(),
            Self::Slow(report) => report.holds(),
            Self::Storm(report) => report.holds(),
        }
    }
}

/// Waits for a condition.
async fn until(what: &str, holds: impl FnMut() -> bool) -> Result<(), BenchError> {
    until_within(PATIENCE, what, holds).await
}

async fn until_within(
    limit: Duration,
    what: &str,
    mut holds: impl FnMut() -> bool,
) -> Result<(), BenchError> {
    let deadline = Instant::now() + limit;
    while !holds() {
        if Instant::now() >= deadline {
            return Err(failed(&format!("timed out: {what}")));
        }
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// Allows this process, and the nodes that it starts, to open this number of files.
fn allow_files(wanted: u64) -> Result<(), BenchError> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: now.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|_| BenchError::OpenFiles { wanted })
}

/// Formats a time in microseconds as milliseconds.
fn ms(us: u64) -> String {
    format!("{:.1} ms", us as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sufficient_file_limit_is_left_unchanged() {
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
