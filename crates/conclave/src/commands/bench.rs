//! `conclave bench`: measures a cluster.
//!
//! The work is done by [`conclave_bench`]; here are the flags and the result. The flags of sends,
//! which `bench` alone measures, are in `bench/sends.rs`.

mod figures;
mod sends;
mod watch;

use std::{process::ExitCode, time::Duration};

use conclave_bench::{Figures as _, failover, live, snapshot};
use conclave_core::limits::TEXT_BYTES_MAX;
use conclave_local_cluster::NODES_MAX;

use crate::{
    errors::{CommandError, EXIT_FAILED, EXIT_INTERRUPTED},
    local_nodes::{MEASURE_AGAIN, interrupted, signals, this_program, without_result},
    output::{self, Format},
};
use sends::Sends;

/// Maximum number of subscribers that one node takes.
const SUBSCRIBERS_MAX: u64 = 9_000;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    sends: Sends,
}

/// Measurements other than sends.
#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Measure how long sending pauses when the leader is killed
    Failover(Failover),
    /// Measure the streams: memory, delay, slow readers, a dead node
    Live(Live),
    /// Measure what senders notice of a machine that joins and receives a snapshot
    Snapshot(Snapshot),
}

/// Arguments of `bench failover`.
#[derive(Debug, clap::Args)]
struct Failover {
    /// Number of nodes
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u64).range(3..=NODES_MAX))]
    nodes: u64,
    /// Number of times that the leader is killed, or a node is restarted
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    kills: u64,
    /// Restart one node after another as for planned work, instead of killing the leader
    #[arg(long)]
    planned: bool,
    /// Number of senders
    #[arg(long, default_value = "8", value_parser = clap::value_parser!(u64).range(1..=64))]
    senders: u64,
    /// Pause of each sender between two messages, in milliseconds
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u64).range(0..=1000))]
    pause_ms: u64,
    /// Start nodes that talk to clients encrypted
    #[arg(long)]
    tls: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Arguments of `bench live`.
#[derive(Debug, clap::Args)]
struct Live {
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

/// Arguments of `bench snapshot`.
#[derive(Debug, clap::Args)]
struct Snapshot {
    /// Mebibytes of messages in the state before the measurement
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u64).range(1..=16_384))]
    state_mib: u64,
    /// Messages per second during the measurement [default: half of the cluster's maximal rate]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: Option<u64>,
    /// Bytes of snapshots that a node sends per second, 0 for no limit [default: that of `conclave
    /// serve`]
    #[arg(long, value_name = "BYTES")]
    snapshot_bytes_per_second: Option<u64>,
    /// Number of senders
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u64).range(1..=1024))]
    concurrency: u64,
    /// Bytes of one message during the measurement
    #[arg(
        long,
        default_value = "100",
        value_parser = clap::value_parser!(u64).range(32..=TEXT_BYTES_MAX as u64)
    )]
    payload: u64,
    /// Seconds to measure before the machine joins
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Output format of the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Measures a cluster.
///
/// # Errors
/// If the cluster does not come up, or does not hold what it acknowledged.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut signals = signals()?;
    let measured = async {
        match &args.other {
            None => Box::pin(sends::run(&args.sends)).await,
            Some(Other::Failover(args)) => Box::pin(failover(args)).await,
            Some(Other::Live(args)) => Box::pin(live(args)).await,
            Some(Other::Snapshot(args)) => Box::pin(snapshot(args)).await,
        }
    };
    tokio::select! {
        ended = measured => ended,
        () = interrupted(&mut signals) => Ok(ExitCode::from(EXIT_INTERRUPTED)),
    }
}

async fn failover(args: &Failover) -> anyhow::Result<ExitCode> {
    let options = failover::Options {
        program: this_program()?,
        nodes: args.nodes,
        fault: match args.planned {
            true => failover::Fault::PlannedRestart,
            false => failover::Fault::KilledLeader,
        },
        times: args.kills,
        senders: args.senders,
        pause: Duration::from_millis(args.pause_ms),
        tls: args.tls,
    };
    let report = failover::measure(&options).await.map_err(without_result)?;
    match args.output {
        Format::Json => output::json_line(&serde_json::to_value(&report)?)?,
        Format::Table => output::line(&report.to_string())?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn live(args: &Live) -> anyhow::Result<ExitCode> {
    let options = live::Options {
        program: this_program()?,
        question: args.what.question(),
        nodes: args.nodes,
        seconds: args.seconds,
        concurrency: args.concurrency,
        messages: args.messages,
        rate: args.rate,
        payload: args.payload,
    };
    let report = live::measure(&options).await.map_err(without_result)?;
    figures::show(args.output, &report)?;
    if report.holds() {
        return Ok(ExitCode::SUCCESS);
    }
    let sentence = "the streams did not deliver every message exactly once";
    Err(CommandError::new(EXIT_FAILED, sentence, MEASURE_AGAIN).into())
}

impl What {
    fn question(&self) -> live::Question {
        if let Some(count) = self.idle {
            live::Question::Idle(count)
        } else if let Some(count) = self.slow {
            live::Question::Slow(count)
        } else if let Some(count) = self.storm {
            live::Question::Storm(count)
        } else {
            live::Question::Delivery
        }
    }
}

async fn snapshot(args: &Snapshot) -> anyhow::Result<ExitCode> {
    let options = snapshot::Options {
        program: this_program()?,
        state_mib: args.state_mib,
        rate: args.rate,
        snapshot_bytes_per_second: args.snapshot_bytes_per_second,
        concurrency: args.concurrency,
        payload: args.payload,
        seconds: args.seconds,
    };
    let report = snapshot::measure(&options).await.map_err(without_result)?;
    figures::show(args.output, &report)?;
    Ok(ExitCode::SUCCESS)
}
