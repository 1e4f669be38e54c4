//! `conclave export`: everything that people wrote, as JSON lines, out of a backup.
//!
//! It talks to no node: a backup is what a cluster gives out, and one that was verified is the same
//! for every reader.

use std::{path::PathBuf, process::ExitCode};

use conclave_server::unpack_backup;
use conclave_transfer::{ExportError, Exported, Origin, export};
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::{
    commands::backup::{self, Bar},
    errors::{CommandError, EXIT_CONFLICT, EXIT_DAMAGED, EXIT_FAILED, note},
    output::{self, Format},
};

/// Name of the database in the scratch directory.
const DATABASE: &str = "export.db";

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The backup; - for standard input
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// Directory to make, or an empty one
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
    /// Directory with room for the database, which is removed afterwards [default: TMPDIR, else
    /// /tmp]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Exports a backup.
///
/// # Errors
/// If the backup is damaged, or the directory is not empty or cannot be written.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let source = backup::open(&args.backup)?;
    let parent = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let made = tempfile::Builder::new()
        .prefix("conclave-export-")
        .tempdir_in(&parent);
    // Owned here, so that an interrupted command removes it.
    let scratch = made.map_err(|error| {
        let sentence = format!("{}: cannot be used: {error}", parent.display());
        let hint = "name a directory with room: --scratch DIR";
        CommandError::new(EXIT_FAILED, sentence, hint)
    })?;
    let (database, directory) = (scratch.path().join(DATABASE), args.directory.clone());
    let exporting = spawn_blocking(move || -> Result<_, CommandError> {
        let mut bar = Bar::new();
        let head = unpack_backup(source, &database, &mut |done, total| {
            bar.show(done, total, "computing the digest of");
        });
        let head = head.map_err(|error| backup::explained(&error))?;
        let origin = Origin {
            cluster: head.cluster.clone(),
            entry: head.last.index,
            made_at_ms: head.made_at_ms,
            messages: head.rows_of("messages"),
        };
        let exported = export(&database, &origin, &directory, &mut |done, total| {
            bar.count(done, total, "messages");
        });
        Ok((head, exported.map_err(|error| explained(&error))?))
    });
    let (head, exported) = exporting.await??;
    drop(scratch);
    tell(&head, exported, &args)?;
    Ok(ExitCode::SUCCESS)
}

fn tell(head: &conclave_server::BackupHead, exported: Exported, args: &Args) -> anyhow::Result<()> {
    let Exported {
        accounts,
        rooms,
        directs,
        members,
        messages,
    } = exported;
    let directory = args.directory.display().to_string();
    if args.output == Format::Json {
        return Ok(output::json_line(&json!({
            "directory": directory,
            "cluster": head.cluster,
            "index": head.last.index,
            "made_at_ms": head.made_at_ms,
            "accounts": accounts,
            "rooms": rooms,
            "direct_conversations": directs,
            "members": members,
            "messages": messages,
        }))?);
    }
    output::line(&format!(
        "{}: {messages} messages in {rooms} rooms and {directs} direct conversations, {accounts} \
         accounts; up to entry {}",
        output::clean(&directory),
        head.last.index
    ))?;
    note(
        "it has no passwords and no tokens, and everything that people wrote: keep it where only \
         operators can read it",
    );
    Ok(())
}

fn explained(error: &ExportError) -> CommandError {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let sentence = causes.fold(error.to_string(), |all, cause| format!("{all}: {cause}"));
    let (exit, hint) = match error {
        ExportError::Exists(_) => (
            EXIT_CONFLICT,
            "name a directory that does not exist, or remove what an export has left there",
        ),
        ExportError::Browse(_) => (
            EXIT_DAMAGED,
            "use another backup: conclave backup verify FILE says whether one is whole",
        ),
        ExportError::Write { .. } => (
            EXIT_FAILED,
            "nothing was made; name a directory on a disk with room",
        ),
    };
    CommandError::new(exit, sentence, hint)
}
