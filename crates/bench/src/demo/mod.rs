//! Shows a cluster that survives killed nodes.
//!
//! A throw-away cluster is under live load while nodes are killed and come back. Every request and
//! answer is recorded; at the end every node is read completely and [`conclave_history`] checks the
//! record.

mod load;
mod proof;
mod timeline;

use std::{collections::VecDeque, fmt, path::PathBuf, time::Duration};

use conclave_history::Verdict;
use conclave_local_cluster::{ClusterError, LocalCluster};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{error::BenchError, scratch};
use load::Load;
use timeline::{Step, timeline};

/// Longest time until the cluster serves, at the start and with all nodes at the end.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Interval at which due steps are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What to demonstrate, and how.
#[derive(Debug)]
pub struct Options {
    /// Path of the program `conclave`.
    pub program: PathBuf,
    /// Directory in which the nodes keep their data.
    pub directory: PathBuf,
    /// Number of nodes.
    pub nodes: u64,
    /// Number of nodes to kill, the leader first: fewer than half.
    pub kill: u64,
    /// Seconds during which messages are sent.
    pub seconds: u64,
}

/// What happens in a demonstration, for people that watch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The nodes are being started.
    Starting {
        /// Number of nodes.
        nodes: u64,
    },
    /// The first messages are sent.
    Sending {
        /// Number of people that send.
        people: usize,
    },
    /// Messages are sent: reported many times in a second.
    Progress {
        /// Number of acknowledged messages.
        acked: u64,
        /// Time that is left.
        left: Duration,
    },
    /// The leader was killed.
    Killed {
        /// Number of the node.
        leader: u64,
    },
    /// Dead nodes are being started again.
    Restarting {
        /// Numbers of the nodes.
        nodes: Vec<u64>,
    },
    /// The last message was sent; every node is being read.
    Reading,
}

/// Result of a demonstration.
#[derive(Debug, Serialize)]
pub struct Report {
    sent: u64,
    acked: u64,
    unknown: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    invented: u64,
    failovers: Vec<Failover>,
    nodes: u64,
    digests_equal: bool,
    seconds: u64,
    #[serde(skip)]
    verdict: Verdict,
}

/// One killed node.
#[derive(Clone, Debug, Serialize)]
struct Failover {
    killed: u64,
    leader_before: u64,
    stall_ms: u64,
}

/// Sends messages while nodes are killed and come back, and checks the record. Calls `tell` with
/// the time since the first message and what happens.
///
/// # Errors
/// If the cluster does not come up, or cannot be read at the end.
pub async fn play(
    options: &Options,
    mut tell: impl FnMut(Duration, Happening),
) -> Result<Report, BenchError> {
    let (program, nodes) = (&options.program, options.nodes);
    tell(Duration::ZERO, Happening::Starting { nodes });
    let cluster = scratch::cluster(program, nodes, false, &options.directory).await?;
    let load = Load::begin(&cluster).await?;
    let people = load.people.len();
    tell(load.elapsed(), Happening::Sending { people });
    let failovers = disturb(options, &cluster, &load, &mut tell).await?;
    tell(load.elapsed(), Happening::Reading);
    let slow = load.stop().await;
    let proof = proof::read(&cluster, load, READY_LIMIT)
        .await
        .map_err(|error| BenchError::Unproven(Box::new(error)))?;
    let failovers = failovers
        .into_iter()
        .map(|(at, failover)| Failover {
            stall_ms: load::stall_ms(&slow, at),
            ..failover
        })
        .collect();
    let verdict = proof.verdict;
    let report = Report {
        sent: verdict.sent,
        acked: verdict.acked,
        unknown: verdict.unknown,
        lost: verdict.lost.count,
        duplicated: verdict.duplicated.count,
        reordered: verdict.reordered.count,
        invented: verdict.invented.count,
        failovers,
        nodes,
        digests_equal: proof.digests_equal,
        seconds: options.seconds,
        verdict,
    };
    cluster.stop_all().await?;
    Ok(report)
}

/// Maximum number of findings of one kind that are shown.
const FINDINGS_SHOWN: usize = 5;

impl Report {
    /// Returns whether the promises held, and at least one message was acknowledged.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdict.holds() && self.digests_equal && self.acked > 0
    }

    /// Returns what contradicts the promises: a sentence for each of the first findings.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let properties = self.verdict.properties().into_iter();
        let shown = properties.flat_map(|(property, findings)| {
            let first = findings.first.iter().take(FINDINGS_SHOWN);
            first.map(move |finding| format!("{property}: {finding}"))
        });
        shown.collect()
    }
}

/// Kills and starts nodes as the timeline says; returns which node was killed when.
async fn disturb(
    options: &Options,
    cluster: &LocalCluster,
    load: &Load,
    tell: &mut impl FnMut(Duration, Happening),
) -> Result<Vec<(Instant, Failover)>, ClusterError> {
    let end = Duration::from_secs(options.seconds);
    let mut due: VecDeque<(Duration, Step)> = timeline(end, options.kill).into();
    let mut killed: Vec<(Instant, Failover)> = Vec::new();
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while load.elapsed() < end {
        look.tick().await;
        let (at, acked) = (load.elapsed(), load.acked());
        let left = end.saturating_sub(at);
        tell(at, Happening::Progress { acked, left });
        let Some((_, step)) = due.pop_front_if(|(at, _)| *at <= load.elapsed()) else {
            continue;
        };
        match step {
            Step::Kill => {
                let leader = cluster.wait_for_leader(READY_LIMIT).await?;
                let at = Instant::now();
                cluster.kill(leader).await?;
                let failover = Failover {
                    killed: leader,
                    leader_before: leader,
                    stall_ms: 0,
                };
                killed.push((at, failover));
                tell(load.elapsed(), Happening::Killed { leader });
            }
            Step::Restart => {
                let nodes = killed.iter().map(|(_, failover)| failover.killed).collect();
                tell(load.elapsed(), Happening::Restarting { nodes });
                cluster.start_all().await?;
            }
        }
    }
    Ok(killed)
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "sent {}, acknowledged {}, lost {}, duplicated {}, out of order {}",
            self.sent, self.acked, self.lost, self.duplicated, self.reordered
        )?;
        let stalls = self.failovers.iter().map(|failover| failover.stall_ms);
        match stalls.max() {
            Some(ms) => write!(formatter, "\nlongest pause after a killed leader: {ms} ms"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            sent: 7,
            acked: 6,
            unknown: 1,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            invented: 0,
            failovers: vec![Failover {
                killed: 3,
                leader_before: 3,
                stall_ms: 742,
            }],
            nodes: 5,
            digests_equal: true,
            seconds: 20,
            verdict: Verdict::default(),
        }
    }

    #[test]
    fn the_closing_sentence_has_the_figures() {
        assert_eq!(
            report().to_string(),
            "sent 7, acknowledged 6, lost 0, duplicated 0, out of order 0\n\
             longest pause after a killed leader: 742 ms"
        );
    }

    #[test]
    fn the_json_has_the_keys_that_scripts_read() {
        let value = serde_json::to_value(report()).unwrap();
        for key in [
            "sent",
            "acked",
            "unknown",
            "lost",
            "duplicated",
            "reordered",
            "nodes",
            "seconds",
        ] {
            assert!(value[key].is_u64(), "{key}");
        }
        assert_eq!(value["failovers"][0]["stall_ms"], 742);
        assert_eq!(value["digests_equal"], true);
    }
}
