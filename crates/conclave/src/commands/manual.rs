//! `conclave manual`: the pages of the manual, one for each command, for packages.

use std::{fs, path::PathBuf, process::ExitCode};

use crate::errors::{CommandError, EXIT_FAILED};

/// Arguments of `manual`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory for the pages; made if it does not exist
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Writes the pages of `program` into a directory, in the format of `man`.
///
/// # Errors
/// If the directory cannot be made or written.
pub(crate) fn run(args: &Args, program: clap::Command) -> anyhow::Result<ExitCode> {
    let directory = &args.directory;
    let written =
        fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(program, directory));
    written.map_err(|error| {
        let sentence = format!("failed to write to {}: {error}", directory.display());
        CommandError::new(
            EXIT_FAILED,
            sentence,
            "name a directory that can be written",
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
