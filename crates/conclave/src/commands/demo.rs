//! `conclave demo`: shows a cluster that survives killed nodes.
//!
//! The work is done by [`conclave_bench::demo`]; here are the flags, the lines that people watch,
//! and the result.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use conclave_bench::demo::{Happening, Options, play};
use conclave_local_cluster::NODES_MAX;

use crate::{
    errors::{CommandError, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, note},
    local_nodes::{interrupted, signals, this_program, without_result},
    output::{self, Format},
};

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

/// Shows a cluster that survives killed nodes.
///
/// # Errors
/// If more nodes are to be killed than may fail, or the cluster does not come up.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let tolerated = (args.nodes - 1) / 2;
    if args.kill > tolerated {
        let sentence = format!("{} nodes tolerate {tolerated} killed nodes", args.nodes);
        let hint = "kill fewer with --kill, or start more with --nodes";
        return Err(CommandError::new(EXIT_USAGE, sentence, hint).into());
    }
    let mut signals = signals()?;
    tokio::select! {
        ended = Box::pin(show(&args)) => ended,
        // The nodes end with their handles.
        () = interrupted(&mut signals) => Ok(ExitCode::from(EXIT_INTERRUPTED)),
    }
}

async fn show(args: &Args) -> anyhow::Result<ExitCode> {
    let mut directory = tempfile::Builder::new()
        .prefix("conclave-demo-")
        .tempdir()?;
    directory.disable_cleanup(args.keep);
    let options = Options {
        program: this_program()?,
        directory: directory.path().to_owned(),
        nodes: args.nodes,
        kill: args.kill,
        seconds: args.seconds,
    };
    let tell = |at, what| {
        if !args.headless {
            tell(at, what);
        }
    };
    let report = play(&options, tell).await.map_err(without_result)?;
    if args.keep {
        note(&format!(
            "the data is kept in {}",
            directory.path().display()
        ));
    }
    match args.output {
        Format::Json => output::json_line(&serde_json::to_value(&report)?)?,
        Format::Table => output::line(&report.to_string())?,
    }
    if report.holds() {
        return Ok(ExitCode::SUCCESS);
    }
    report.broken().iter().for_each(|sentence| note(sentence));
    let hint = "this is a defect of Conclave: please report it with the output of --keep";
    Err(CommandError::new(EXIT_FAILED, "a promise was broken", hint).into())
}

/// Writes what happens to stderr: one line that changes, and lines that stay.
fn tell(at: Duration, what: Happening) {
    let sentence = match what {
        Happening::Progress { acked, left } => return progress(acked, left),
        Happening::Starting { nodes } => format!("starting {nodes} nodes"),
        Happening::Sending { people } => format!("{people} people send messages"),
        Happening::Killed { leader } => format!("kill -9 node {leader} (leader)"),
        Happening::Restarting { nodes } => {
            let nodes: Vec<String> = nodes.iter().map(|node| format!("node {node}")).collect();
            format!("start {} again", nodes.join(" and "))
        }
        Happening::Reading => "no more messages; comparing every node completely".to_owned(),
    };
    if io::stderr().is_terminal() {
        // If stderr is closed, there is no reader left for any line.
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    let seconds = at.as_secs();
    note(&format!(
        "{:02}:{:02} {sentence}",
        seconds / 60,
        seconds % 60
    ));
}

fn progress(acked: u64, left: Duration) {
    if io::stderr().is_terminal() {
        let left = left.as_secs();
        let _ = write!(
            io::stderr(),
            "\r\x1b[K      {acked} acknowledged, {left} s left"
        );
    }
}
