//! `conclave doctor`: what is wrong with the cluster or this machine, and what to do about it.
//!
//! Always true: it changes nothing, asks nothing that needs a quorum, and ends within its timeout.

mod cluster;
mod database;
mod findings;
mod machine;
mod reach;
mod upkeep;

use std::{path::PathBuf, process::ExitCode, time::SystemTime};

use self::findings::{Findings, Level};
use super::cluster::best_status;
use crate::{connection::Connection, errors::note, output};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also examine the data directory and the disk of the node on this machine, and whether this
    /// machine reaches the peer ports of all nodes
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Output format
    #[arg(short, long, visible_alias = "format", value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people; tab-separated columns if stdout is not a terminal
    #[default]
    Table,
    /// For programs
    Json,
    /// For monitors that run plugins of Nagios
    Nagios,
}

/// Examines the cluster, and with `--data` this machine; exits as plugins of Nagios do: 0 well, 1
/// warning, 2 critical, 3 unknown.
///
/// # Errors
/// If a credential must not be used, an address is invalid, or stdout is closed.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut found = Findings::default();
    let connected = args.connection.connect_as_operator_if_any().await?;
    let answers = connected.client.cluster_statuses().await;
    let asked = answers.len();
    match best_status(answers) {
        Some(status) => {
            cluster::examine(&status, &mut found);
            upkeep::examine(&status, now_ms(), &mut found);
            reach::examine(&status, args.data.is_some(), &mut found).await;
        }
        None => unanswered(asked, &mut found),
    }
    if let Some(data) = args.data {
        let here = tokio::task::spawn_blocking(move || {
            let mut found = Findings::default();
            machine::examine(&data, &mut found);
            database::examine(&data, &mut found);
            found
        });
        found.0.extend(here.await?.0);
    }
    match args.output {
        Format::Table => {
            found.lines().iter().try_for_each(|row| output::line(row))?;
            note(&found.summary());
        }
        Format::Json => output::json_line(&found.json())?,
        Format::Nagios => {
            let lines = found.nagios();
            lines.iter().try_for_each(|row| output::line(row))?;
        }
    }
    Ok(ExitCode::from(found.worst().exit()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "ages are of the time at which it is asked"
)]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

fn unanswered(asked: usize, found: &mut Findings) {
    found.add(
        "quorum",
        Level::Critical,
        "cluster",
        format!("none of {asked} nodes answered"),
        "start the nodes, or name others with --endpoints",
    );
}
