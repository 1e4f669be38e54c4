//! `conclave completions`: what a shell needs to complete command lines.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// What `completions` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For which shell
    shell: clap_complete::Shell,
}

/// Writes the completions of `program` to stdout.
///
/// # Errors
/// If stdout is closed or full.
pub(crate) fn run(args: Args, mut program: clap::Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "conclave", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
