//! `conclave node`: single nodes of a cluster. For operators.

mod log_level;
mod planned_work;

use std::process::ExitCode;

use crate::connection::Connection;

/// Arguments of `node`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    #[command(flatten)]
    PlannedWork(planned_work::Command),
    /// Show which lines the logs of the nodes have, or change that until they start again
    LogLevel(log_level::Args),
}

/// Looks at nodes, or changes what they do by themselves.
///
/// # Errors
/// If the caller is no operator, or a node is unknown, refuses or does not answer.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::PlannedWork(command) => planned_work::run(command, &args.connection).await,
        Command::LogLevel(command) => log_level::run(command, &args.connection).await,
    }
}
