//! Runs Conclave beside etcd, NATS JetStream, hiqlite and ejabberd on the same work, in turns.
//!
//! It starts three nodes of each on loopback, measures them while the rest of the machine is idle,
//! stops everything that it has started, and prints ratios, costs and what each promises. The page
//! `docs/performance.md` is made from its JSON. It is no part of Conclave.

mod kills;
mod load;
mod machine;
mod run;
mod servers;
mod systems;

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand, value_parser};
use conclave_figures::{performance, results::Results};
use tokio::signal::unix::{SignalKind, signal};

use crate::systems::{Kind, conclave};

/// Exit code after Ctrl-C.
const EXIT_INTERRUPTED: u8 = 130;
/// Directory of the repository's documents.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

/// Run Conclave beside other systems on the same work
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Measure messages per second, latency and costs
    Rounds(Rounds),
    /// Measure how long sending pauses after SIGKILL of the leader
    Kills(Kills),
    #[cfg(feature = "hiqlite")]
    #[command(hide = true)]
    HiqliteNode {
        #[arg(long)]
        id: u64,
        #[arg(long, value_delimiter = ',')]
        ports: Vec<u16>,
        #[arg(long)]
        directory: PathBuf,
    },
}

#[derive(clap::Args)]
struct Rounds {
    /// Systems to measure
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "conclave,etcd,nats"
    )]
    systems: Vec<Kind>,
    /// Numbers of callers
    #[arg(
        long, value_delimiter = ',', default_value = "1,16,64,256",
        value_parser = value_parser!(u64).range(1..=4096)
    )]
    callers: Vec<u64>,
    /// Number of rounds
    #[arg(long, default_value = "5", value_parser = value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Seconds of one measurement
    #[arg(long, default_value = "5", value_parser = value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Further arguments of `conclave bench`, separated by spaces
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    conclave_arguments: String,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
struct Kills {
    /// Number of kills of each system
    #[arg(long, default_value = "20", value_parser = value_parser!(u64).range(1..=1000))]
    kills: u64,
    /// Number of callers
    #[arg(long, default_value = "16", value_parser = value_parser!(u64).range(1..=64))]
    callers: u64,
    /// Pause of each caller between two messages, in milliseconds
    #[arg(long, default_value = "5", value_parser = value_parser!(u64).range(0..=1000))]
    pause_ms: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
struct Common {
    /// Number of nodes of each system
    #[arg(long, default_value = "3", value_parser = value_parser!(u64).range(3..=9))]
    nodes: u64,
    /// Bytes of one message
    #[arg(long, default_value = "100", value_parser = value_parser!(u64).range(1..=16_384))]
    payload: u64,
    /// Greatest CPU of other processes, in percent of one core
    #[arg(long, default_value = "15")]
    other_cpu_percent: f64,
    /// Directory for the data of all nodes, on a disk
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
    /// The program `conclave` [default: the release build of this repository]
    #[arg(long, env = "CONCLAVE")]
    conclave: Option<PathBuf>,
    /// Install Debian packages that are missing
    #[arg(long)]
    install: bool,
    /// Write the results to a file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the results to docs/performance/NAME.json and make the page again
    #[arg(long, value_name = "NAME", value_parser = performance::PARTS)]
    docs: Option<String>,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    match runtime.block_on(interruptible()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs until the end or a signal; what was started is stopped in either case.
async fn interruptible() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = dispatch(arguments) => done.map(|()| ExitCode::SUCCESS),
        _ = interrupt.recv() => Ok(ExitCode::from(EXIT_INTERRUPTED)),
        _ = terminate.recv() => Ok(ExitCode::from(EXIT_INTERRUPTED)),
    }
}

async fn dispatch(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.what {
        What::Rounds(rounds) => measure_rounds(rounds).await,
        What::Kills(kills) => measure_kills(kills).await,
        #[cfg(feature = "hiqlite")]
        What::HiqliteNode {
            id,
            ports,
            directory,
        } => systems::hiqlite::node(id, directory, ports).await,
    }
}

async fn measure_rounds(arguments: Rounds) -> anyhow::Result<()> {
    let common = &arguments.common;
    let program = conclave::program(common.conclave.clone())?;
    let mut results = begin(common)?;
    for system in &arguments.systems {
        system.install(common.install)?;
        results.systems.push(system.describe(&program)?);
    }
    let more = arguments.conclave_arguments.split_whitespace();
    let more: Vec<String> = more.map(str::to_owned).collect();
    let plan = run::Plan {
        systems: &arguments.systems,
        callers: &arguments.callers,
        rounds: arguments.rounds,
        seconds: arguments.seconds,
        payload: common.payload,
        nodes: usize::try_from(common.nodes)?,
        other_cpu_percent: common.other_cpu_percent,
        directory: &common.directory,
        conclave: &program,
        conclave_arguments: &more,
    };
    results.runs = run::rounds(&plan).await?;
    results.rounds = arguments.rounds;
    results.seconds = arguments.seconds as f64;
    finish(common, &results)
}

async fn measure_kills(arguments: Kills) -> anyhow::Result<()> {
    let common = &arguments.common;
    let program = conclave::program(common.conclave.clone())?;
    let mut results = begin(common)?;
    for system in [Kind::Conclave, Kind::Etcd] {
        system.install(common.install)?;
        results.systems.push(system.describe(&program)?);
    }
    let plan = kills::Plan {
        kills: arguments.kills,
        callers: arguments.callers,
        pause: Duration::from_millis(arguments.pause_ms),
        nodes: usize::try_from(common.nodes)?,
        payload: common.payload,
        other_cpu_percent: common.other_cpu_percent,
        directory: &common.directory,
        conclave: &program,
    };
    plan.check()?;
    results.kills = kills::measure(&plan).await?;
    finish(common, &results)
}

/// Makes results without figures.
fn begin(common: &Common) -> anyhow::Result<Results> {
    Ok(Results {
        day: jiff::Timestamp::now()
            .to_string()
            .chars()
            .take("2026-11-27".len())
            .collect(),
        command: command(),
        machine: machine::describe(&common.directory)?,
        nodes: common.nodes,
        payload_bytes: common.payload,
        warm_up_seconds: run::WARM_UP.as_secs_f64(),
        seconds: 0.0,
        rounds: 0,
        other_cpu_percent_max: common.other_cpu_percent,
        systems: Vec::new(),
        runs: Vec::new(),
        kills: Vec::new(),
    })
}

/// Returns the command that measures the same again, without what is of this machine only.
fn command() -> String {
    let mut words = vec!["bench/peers/run".to_owned()];
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--install" => {}
            "--directory" | "--conclave" | "--json" => drop(arguments.next()),
            _ => words.push(argument),
        }
    }
    words.join(" ")
}

/// Prints the results and writes them where they are wanted.
fn finish(common: &Common, results: &Results) -> anyhow::Result<()> {
    println!("{}", performance::for_terminal(results));
    let json = serde_json::to_string_pretty(results)? + "\n";
    if let Some(path) = &common.json {
        fs::write(path, &json).with_context(|| format!("failed to write {}", path.display()))?;
    }
    if let Some(name) = &common.docs {
        let docs = PathBuf::from(DOCS);
        fs::create_dir_all(docs.join("performance"))?;
        fs::write(docs.join(format!("performance/{name}.json")), &json)?;
        performance::write(&docs)?;
    }
    let failed: BTreeMap<&str, u64> = results
        .runs
        .iter()
        .filter(|run| run.verified == Some(false) || run.errors > 0)
        .map(|run| (run.system.as_str(), run.errors))
        .collect();
    if !failed.is_empty() {
        eprintln!(
            "some operations failed, or a cluster does not hold what it acknowledged: {failed:?}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the commands of this program in a document.
    fn commands(text: &str) -> Vec<Vec<&str>> {
        let parts = text.split(['`', '\n']).map(str::trim);
        let mine = parts.filter_map(|part| part.strip_prefix("bench/peers/run "));
        mine.map(|rest| rest.split_whitespace().collect()).collect()
    }

    #[test]
    fn commands_of_documents_are_understood() {
        let documents = [
            include_str!("../README.md"),
            include_str!("../../../docs/performance.md"),
            include_str!("../../../docs/scale/inputs.json"),
        ];
        let mut count = 0;
        for command in documents.iter().flat_map(|text| commands(text)) {
            let words = ["run"].into_iter().chain(command.iter().copied());
            if let Err(error) = Arguments::try_parse_from(words) {
                let is_help = error.kind() == clap::error::ErrorKind::DisplayHelp;
                assert!(is_help, "{command:?}: {error}");
            }
            count += 1;
        }
        assert!(count > 5, "{count}");
    }
}
