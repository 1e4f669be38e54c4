//! The command line: which subcommands there are.
//!
//! What a subcommand takes and does is in its own file under `commands/`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{bench, demo, serve, up};

/// A replicated chat server that a team runs on machines of its own.
#[derive(Debug, Parser)]
#[command(name = "conclave", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one node
    Serve(serve::Args),
    /// Run a whole cluster on this machine
    Up(up::Args),
    /// Watch a cluster on this machine survive killed nodes
    Demo(demo::Args),
    /// Measure a cluster
    Bench(bench::Args),
}

impl Cli {
    /// Runs the subcommand that was asked for.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(args) => Box::pin(serve::run(args)).await,
            Command::Up(args) => Box::pin(up::run(args)).await,
            Command::Demo(args) => Box::pin(demo::run(args)).await,
            Command::Bench(args) => Box::pin(bench::run(args)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_free_of_contradictions() {
        Cli::command().debug_assert();
    }
}
