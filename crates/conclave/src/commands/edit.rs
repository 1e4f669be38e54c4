//! `conclave edit`: gives a message another text.

use std::process::ExitCode;

use conclave_core::MessageRef;

use crate::{connection::Connection, errors::note, names::message_id};

/// What `edit` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A message of yours as `read` shows it, such as 3.17
    #[arg(value_parser = message_id, value_name = "ID")]
    message: MessageRef,
    /// What it says from now on
    text: String,
    #[command(flatten)]
    connection: Connection,
}

/// Edits.
///
/// # Errors
/// If it is not the caller's or was deleted, or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.connect().await?.client;
    client.edit_message(args.message, args.text).await?;
    note("edited");
    Ok(ExitCode::SUCCESS)
}
