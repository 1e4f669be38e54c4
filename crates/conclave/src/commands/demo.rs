//! `conclave demo`: shows a cluster that survives killed nodes.
//!
//! The work is done by [`conclave_bench::demo`]; here are the flags, the lines that people watch,
//! and the result.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use conclave_bench::{
    BenchError,
    demo::{self, Happening, Options, Show, play},
};
use conclave_local_cluster::NODES_MAX;
use tokio::sync::oneshot;

use crate::{
    errors::{CommandError, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, note},
    local_nodes::{Page, interrupted, signals, this_program, without_result},
    output::{self, Format},
};

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of nodes
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u64).range(1..=NODES_MAX))]
    nodes: u64,
    /// Number of nodes to kill, the leader first [default: 2, with --serve 0]
    #[arg(long)]
    kill: Option<u64>,
    /// Seconds during which messages are sent, unless a person opens the panel
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
    /// Show only the result
    #[arg(long, conflicts_with = "serve")]
    headless: bool,
    /// Go on until Ctrl-C, for people who break nodes in the browser
    #[arg(long)]
    serve: bool,
    /// Output format of the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Write a page with what happened to FILE as well
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Keep the data of the nodes
    #[arg(long)]
    keep: bool,
}

/// Number of nodes that are killed if no other is asked for.
const KILL: u64 = 2;

impl Args {
    fn kill(&self) -> u64 {
        let usual = if self.serve { 0 } else { KILL };
        self.kill.unwrap_or(usual)
    }
}

/// Shows a cluster that survives killed nodes.
///
/// # Errors
/// If more nodes are to be killed than may fail, or the cluster does not come up.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let tolerated = (args.nodes - 1) / 2;
    if args.kill() > tolerated {
        let sentence = format!("{} nodes tolerate {tolerated} killed nodes", args.nodes);
        let hint = "kill fewer with --kill, or start more with --nodes";
        return Err(CommandError::new(EXIT_USAGE, sentence, hint).into());
    }
    let mut signals = signals()?;
    let (stop, stopped) = oneshot::channel();
    let interrupted = async {
        interrupted(&mut signals).await;
        if !args.headless && stop.send(()).is_ok() {
            // The first one ends a show that is open, with its verdict.
            interrupted(&mut signals).await;
        }
    };
    tokio::select! {
        ended = Box::pin(show(&args, stopped)) => ended,
        // The nodes end with their handles.
        () = interrupted => Ok(ExitCode::from(EXIT_INTERRUPTED)),
    }
}

async fn show(args: &Args, stopped: oneshot::Receiver<()>) -> anyhow::Result<ExitCode> {
    // A page that cannot be written is found out before the show, and not after it.
    let page = args.report.as_deref().map(Page::begin).transpose()?;
    let mut directory = tempfile::Builder::new()
        .prefix("conclave-demo-")
        .tempdir()?;
    directory.disable_cleanup(args.keep);
    let options = Options {
        program: this_program()?,
        directory: directory.path().to_owned(),
        nodes: args.nodes,
        kill: args.kill(),
        seconds: args.seconds,
        show: match args.headless {
            true => Show::Alone,
            false => Show::Panel { held: args.serve },
        },
    };
    let stop = async {
        if stopped.await.is_err() {
            std::future::pending().await
        }
    };
    let tell = |at, what| {
        if !args.headless {
            tell(at, what);
        }
    };
    let report = match play(&options, stop, tell).await {
        Err(BenchError::Stopped) => return Ok(ExitCode::from(EXIT_INTERRUPTED)),
        ended => ended.map_err(without_result)?,
    };
    if let (Some(page), Some(path)) = (page, &args.report) {
        page.write(&demo::page(&report))?;
        note(&format!("the report is in {}", path.display()));
    }
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
        Happening::Panel { url } => return note(&format!("watch and break it: {url}")),
        Happening::Opened => "the page is open: Ctrl-C ends the show and checks it".to_owned(),
        Happening::TakenOver => "from now on you break the nodes".to_owned(),
        Happening::Told(sentence) => sentence,
        Happening::Healing => "healing every node".to_owned(),
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

fn progress(acked: u64, left: Option<Duration>) {
    if io::stderr().is_terminal() {
        let left = left.map_or_else(
            || "Ctrl-C ends the show".to_owned(),
            |left| format!("{} s left", left.as_secs()),
        );
        let _ = write!(io::stderr(), "\r\x1b[K      {acked} acknowledged, {left}");
    }
}
