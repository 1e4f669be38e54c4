//! `conclave edit`: edits one of the caller's messages.

use std::process::ExitCode;

use conclave_core::MessageRef;

use crate::{connection::Connection, errors::note, names::message_id};

/// Arguments of `edit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// ID of one of your messages as `read` shows it, such as 3.17
    #[arg(value_parser = message_id, value_name = "ID")]
    message: MessageRef,
    /// New text of the message
    text: String,
    #[command(flatten)]
    connection: Connection,
}

/// Edits the message.
///
/// # Errors
/// If the message is not the caller's or was deleted, or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.connect().await?.client;
    client.edit_message(args.message, args.text).await?;
    note("edited");
    Ok(ExitCode::SUCCESS)
}
