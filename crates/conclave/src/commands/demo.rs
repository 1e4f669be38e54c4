//! `conclave demo`: shows a cluster that survives killed nodes.

use std::process::ExitCode;

use crate::errors::{CommandError, EXIT_FAILED};

/// What `demo` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Shows a cluster that survives killed nodes.
///
/// # Errors
/// Always: this build does not have it.
pub(crate) async fn run(_args: Args) -> anyhow::Result<ExitCode> {
    let sentence = "`demo` is not part of this build";
    Err(CommandError::new(EXIT_FAILED, sentence, "use a newer build").into())
}
