//! The binary: reads the command line, runs one subcommand and reports its result.
//!
//! Data goes to stdout, everything else to stderr. Every failure ends as one `error:` and one
//! `hint:` line and an exit code that means something; nothing is ever shown as a Debug dump.

#![cfg_attr(
    test,
    allow(clippy::too_many_lines, reason = "a test tells its story in one piece")
)]

mod arguments;
mod cli;
mod commands;
mod connection;
mod credentials;
mod errors;
mod files;
mod learned;
mod local_nodes;
mod names;
mod operators;
mod output;
mod pipe;
mod progress;
mod trust;
mod zone;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => return errors::tell_usage(&error),
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = cli.worker_threads() {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(cli.run());
            // A thread that waits for the terminal must not keep the process alive.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|error| errors::tell(&error))
}

/// Parses the command line, and keeps its arguments for the errors that they cause.
fn parse() -> Result<cli::Cli, clap::Error> {
    let mut command = cli::Cli::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    arguments::remember(arguments::Given::of(&command, &matches));
    cli::Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}
