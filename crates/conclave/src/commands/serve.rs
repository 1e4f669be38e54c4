//! `conclave serve`: runs one node.

use std::process::ExitCode;

use crate::errors::{CommandError, EXIT_FAILED};

/// What `serve` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs one node.
///
/// # Errors
/// Always: this build does not have it.
pub(crate) async fn run(_args: Args) -> anyhow::Result<ExitCode> {
    let sentence = "`serve` is not part of this build";
    Err(CommandError::new(EXIT_FAILED, sentence, "use a newer build").into())
}
