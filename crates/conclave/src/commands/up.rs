//! `conclave up`: runs a whole cluster on this machine.

use std::process::ExitCode;

use crate::errors::{CommandError, EXIT_FAILED};

/// What `up` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs a whole cluster on this machine.
///
/// # Errors
/// Always: this build does not have it.
pub(crate) async fn run(_args: Args) -> anyhow::Result<ExitCode> {
    let sentence = "`up` is not part of this build";
    Err(CommandError::new(EXIT_FAILED, sentence, "use a newer build").into())
}
