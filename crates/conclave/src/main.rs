//! The binary: reads the command line, runs one subcommand and tells how it ended.
//!
//! Data goes to stdout, talk to stderr. Every failure ends as one `error:` and one `hint:` line
//! and an exit code that means something; nothing is ever shown as a Debug dump.

mod cli;
mod cluster;
mod commands;
mod connection;
mod credentials;
mod errors;
mod learned;
mod names;
mod operators;
mod output;
mod pipe;
mod progress;
mod trust;
mod zone;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
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
            // A thread that waits for the terminal must not keep the process.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|error| errors::tell(&error))
}
