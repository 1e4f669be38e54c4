//! `conclave restore`: makes of a backup the first node of a new cluster.
//!
//! The command talks to no node: it fills a directory that is new.

use std::{path::PathBuf, process::ExitCode};

use conclave_server::{IdentityError, RestoreError, Restored, restore};
use serde_json::json;

use crate::{
    commands::backup::{self, Bar},
    connection::Connection,
    errors::{CommandError, EXIT_CONFLICT, EXIT_FAILED, note},
    output::{self, Format},
};

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The backup; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Data directory of the new node: empty, or not there yet
    #[arg(long, value_name = "DIR", env = "CONCLAVE_DATA")]
    data: PathBuf,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Restores a backup into a new directory.
///
/// # Errors
/// If the directory is not empty, or the backup is damaged or of another version.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let source = backup::open(&args.file)?;
    let data = args.data.clone();
    let restoring = tokio::task::spawn_blocking(move || {
        let mut bar = Bar::new();
        restore(source, &data, &mut |done, total| {
            bar.show(done, total, "verifying");
        })
    });
    let restored = restoring.await?.map_err(|error| explained(&error))?;
    tell(&restored, &args)?;
    Ok(ExitCode::SUCCESS)
}

fn tell(restored: &Restored, args: &Args) -> anyhow::Result<()> {
    let data = output::clean(&args.data.display().to_string());
    if args.output == Format::Json {
        let mut told = json!({
            "cluster": restored.cluster_id,
            "node": restored.node,
            "data": args.data.display().to_string(),
        });
        told["backup"] = backup::json(&restored.backup);
        output::json_line(&told)?;
    } else {
        let rows = backup::rows(&restored.backup, &args.connection.zone());
        output::table(&["", ""], &rows)?;
        output::line(&format!(
            "node {} of the new cluster {} is in {data}",
            restored.node, restored.cluster_id
        ))?;
    }
    note(&format!(
        "start it: conclave serve --data {data}, with the addresses of this machine. It writes the \
         credential of a new operator to {data}/operator.token; with that let other machines join: \
         conclave token create. All sessions have ended: people log in again with their passwords, \
         after conclave trust forget if the addresses are those of the old cluster"
    ));
    Ok(())
}

fn explained(error: &RestoreError) -> CommandError {
    let words = |exit, hint| {
        let causes =
            std::iter::successors(std::error::Error::source(error), |error| error.source());
        let sentence = causes.fold(error.to_string(), |all, cause| format!("{all}: {cause}"));
        CommandError::new(exit, sentence, hint)
    };
    match error {
        RestoreError::NotEmpty { .. } => words(
            EXIT_CONFLICT,
            "a backup is restored into a new directory: name one, or move that one away first",
        ),
        RestoreError::Identity(IdentityError::InUse { .. }) => words(
            EXIT_CONFLICT,
            "a node runs with this directory: name another one",
        ),
        RestoreError::Identity(IdentityError::OtherUser { .. } | IdentityError::Lock { .. }) => {
            words(
                EXIT_FAILED,
                "run the command as the user that will run the node (sudo -u): it could not use \
                 the files of another one",
            )
        }
        RestoreError::Backup(error) => backup::explained(error),
        RestoreError::Identity(_) | RestoreError::Log(_) => words(
            EXIT_FAILED,
            "see that the directory can be written and has room, and run the command again",
        ),
    }
}
