//! `conclave bench`: measures a cluster.

use std::process::ExitCode;

use crate::errors::{CommandError, EXIT_FAILED};

/// What `bench` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Measures a cluster.
///
/// # Errors
/// Always: this build does not have it.
pub(crate) async fn run(_args: Args) -> anyhow::Result<ExitCode> {
    let sentence = "`bench` is not part of this build";
    Err(CommandError::new(EXIT_FAILED, sentence, "use a newer build").into())
}
