//! `conclave backup verify`: proves that a backup can be restored, without a cluster.

use std::{path::PathBuf, process::ExitCode};

use conclave_server::verify_backup;
use tokio::task::spawn_blocking;

use super::{Bar, explained, json, open, rows};
use crate::{
    connection::Connection,
    errors::{CommandError, EXIT_FAILED, note},
    output::{self, Format},
};

/// Arguments of `backup verify`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The backup; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Directory with room for the database, which is removed afterwards [default: TMPDIR, else
    /// /tmp]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Verifies a backup and lists what is in it.
///
/// # Errors
/// If it is damaged, or cannot be read.
pub(super) async fn run(args: Args, connection: &Connection) -> anyhow::Result<ExitCode> {
    let source = open(&args.file)?;
    let parent = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let scratch = tempfile::Builder::new()
        .prefix("conclave-verify-")
        .tempdir_in(&parent);
    // Owned here, so that an interrupted command removes it.
    let scratch = scratch.map_err(|error| {
        let sentence = format!("{}: cannot be used: {error}", parent.display());
        CommandError::new(
            EXIT_FAILED,
            sentence,
            "name a directory with room: --scratch DIR",
        )
    })?;
    let directory = scratch.path().to_owned();
    let verifying = spawn_blocking(move || {
        let mut bar = Bar::new();
        verify_backup(source, &directory, &mut |done, total| {
            bar.show(done, total, "computing the digest of");
        })
    });
    let head = verifying.await?.map_err(|error| explained(&error))?;
    drop(scratch);
    match args.output {
        Format::Json => {
            let mut told = json(&head);
            told["verified"] = true.into();
            output::json_line(&told)?;
        }
        Format::Table => output::table(&["", ""], &rows(&head, &connection.zone()))?,
    }
    note("the backup is whole, and its rows match their digest");
    Ok(ExitCode::SUCCESS)
}
