//! `conclave demo`: shows a cluster that survives killed nodes.
//!
//! A throw-away cluster is under live load while nodes are killed and come back. Every request and
//! answer is recorded; at the end every node is read completely and [`conclave_history`] checks the
//! record.

mod load;
mod proof;
mod timeline;

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use conclave_local_cluster::{ClusterError, LocalCluster, NODES_MAX};
use serde::Serialize;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    commands::up::{interrupted, words},
    errors::{CommandError, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_UNAVAILABLE, EXIT_USAGE, note},
    output::{self, Format},
    scratch,
};
use load::Load;
use timeline::{Step, timeline};

/// Longest time until the cluster serves, at the start and with all nodes at the end.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Interval at which due steps are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of nodes
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u64).range(1..=NODES_MAX))]
    nodes: u64,
    /// Number of nodes to kill, the leader first
    #[arg(long, default_value = "2")]
    kill: u64,
    /// Seconds during which messages are sent
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
    /// Show only the result
    #[arg(long)]
    headless: bool,
    /// Output format of the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Keep the data of the nodes
    #[arg(long)]
    keep: bool,
}

/// Result of a demonstration.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
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
}

/// One killed node.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failover {
    killed: u64,
    leader_before: u64,
    stall_ms: u64,
}

/// Shows a cluster that survives killed nodes.
///
/// # Errors
/// If more nodes are to be killed than may fail, or the cluster does not come up.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let tolerated = (args.nodes - 1) / 2;
    if args.kill > tolerated {
        let sentence = format!("{} nodes survive {tolerated} killed ones", args.nodes);
        let hint = "kill fewer with --kill, or start more with --nodes";
        return Err(CommandError::new(EXIT_USAGE, sentence, hint).into());
    }
    let mut signals = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    ];
    tokio::select! {
        ended = Box::pin(play(&args)) => ended,
        // The nodes end with their handles.
        () = interrupted(&mut signals) => Ok(ExitCode::from(EXIT_INTERRUPTED)),
    }
}

async fn play(args: &Args) -> anyhow::Result<ExitCode> {
    let mut directory = tempfile::Builder::new()
        .prefix("conclave-demo-")
        .tempdir()?;
    directory.disable_cleanup(args.keep);
    let display = Display {
        silent: args.headless,
    };
    display.event(Duration::ZERO, &format!("starting {} nodes", args.nodes));
    let cluster = scratch::cluster(args.nodes, false, directory.path())
        .await
        .map_err(words)?;
    let load = Load::begin(&cluster).await?;
    let what = format!("{} people send messages", load.people.len());
    display.event(load.elapsed(), &what);
    let failovers = disturb(args, &cluster, &load, &display)
        .await
        .map_err(words)?;
    display.event(
        load.elapsed(),
        "no more messages; comparing every node completely",
    );
    let slow = load.stop().await;
    let unproven = |error: anyhow::Error| {
        let sentence = format!("the nodes cannot be compared: {error}");
        let hint = "run it again with --keep and see the node.log files";
        CommandError::new(EXIT_UNAVAILABLE, sentence, hint)
    };
    let proof = proof::read(&cluster, load, READY_LIMIT)
        .await
        .map_err(unproven)?;
    let failovers = failovers
        .into_iter()
        .map(|(at, failover)| Failover {
            stall_ms: load::stall_ms(&slow, at),
            ..failover
        })
        .collect();
    let verdict = &proof.verdict;
    let report = Report {
        sent: verdict.sent,
        acked: verdict.acked,
        unknown: verdict.unknown,
        lost: verdict.lost.count,
        duplicated: verdict.duplicated.count,
        reordered: verdict.reordered.count,
        invented: verdict.invented.count,
        failovers,
        nodes: args.nodes,
        digests_equal: proof.digests_equal,
        seconds: args.seconds,
    };
    cluster.stop_all().await.map_err(words)?;
    if args.keep {
        note(&format!(
            "the data is kept in {}",
            directory.path().display()
        ));
    }
    match args.output {
        Format::Json => output::json_line(&serde_json::to_value(&report)?)?,
        Format::Table => output::line(&sentence(&report))?,
    }
    if verdict.holds() && proof.digests_equal && verdict.acked > 0 {
        return Ok(ExitCode::SUCCESS);
    }
    for (property, findings) in verdict.properties() {
        for finding in findings.first.iter().take(FINDINGS_SHOWN) {
            note(&format!("{property}: {finding}"));
        }
    }
    let hint = "this is a defect of Conclave: please report it with the output of --keep";
    Err(CommandError::new(EXIT_FAILED, "a promise was broken", hint).into())
}

/// Maximum number of findings of one kind that are shown.
const FINDINGS_SHOWN: usize = 5;

/// Kills and starts nodes as the timeline says; returns which node was killed when.
async fn disturb(
    args: &Args,
    cluster: &LocalCluster,
    load: &Load,
    display: &Display,
) -> Result<Vec<(Instant, Failover)>, ClusterError> {
    let end = Duration::from_secs(args.seconds);
    let mut due: VecDeque<(Duration, Step)> = timeline(end, args.kill).into();
    let mut killed: Vec<(Instant, Failover)> = Vec::new();
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while load.elapsed() < end {
        look.tick().await;
        display.progress(load, end);
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
                display.event(load.elapsed(), &format!("kill -9 node {leader} (leader)"));
            }
            Step::Restart => {
                let name = |(_, failover): &(_, Failover)| format!("node {}", failover.killed);
                let dead: Vec<String> = killed.iter().map(name).collect();
                let what = format!("start {} again", dead.join(" and "));
                display.event(load.elapsed(), &what);
                cluster.start_all().await?;
            }
        }
    }
    display.clear();
    Ok(killed)
}

/// One line that changes, and lines that stay, on stderr.
struct Display {
    silent: bool,
}

impl Display {
    fn event(&self, at: Duration, what: &str) {
        if !self.silent {
            self.clear();
            let seconds = at.as_secs();
            note(&format!("{:02}:{:02} {what}", seconds / 60, seconds % 60));
        }
    }

    fn progress(&self, load: &Load, end: Duration) {
        use std::io::IsTerminal as _;
        if self.silent || !io::stderr().is_terminal() {
            return;
        }
        let (at, acked) = (load.elapsed(), load.acked());
        let left = end.saturating_sub(at).as_secs();
        // If stderr is closed, there is no reader left for this line.
        let _ = write!(
            io::stderr(),
            "\r\x1b[K      {acked} acknowledged, {left} s left"
        );
    }

    fn clear(&self) {
        use std::io::IsTerminal as _;
        if !self.silent && io::stderr().is_terminal() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn sentence(report: &Report) -> String {
    let stall = report
        .failovers
        .iter()
        .map(|failover| failover.stall_ms)
        .max();
    let pause = match stall {
        Some(ms) => format!("\nlongest pause after a killed leader: {ms} ms"),
        None => String::new(),
    };
    format!(
        "sent {}, acknowledged {}, lost {}, duplicated {}, out of order {}{pause}",
        report.sent, report.acked, report.lost, report.duplicated, report.reordered
    )
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
        }
    }

    #[test]
    fn the_closing_sentence_has_the_figures() {
        assert_eq!(
            sentence(&report()),
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
