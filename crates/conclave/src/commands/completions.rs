//! `conclave completions`: the script with which a shell completes command lines.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shell for which to write completions
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
