//! `conclave delete`: deletes all named messages, or none.

use std::process::ExitCode;

use conclave_core::MessageRef;

use crate::{connection::Connection, errors::note, names::message_id};

/// Arguments of `delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// IDs of the messages as `read` shows them, such as 3.17
    #[arg(required = true, value_parser = message_id, value_name = "ID")]
    messages: Vec<MessageRef>,
    /// Delete for everyone, not for yourself alone: your own messages, and all in a room that you
    /// moderate
    #[arg(long)]
    everyone: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Deletes the named messages.
///
/// # Errors
/// If one of the messages may not be deleted (then none is), or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.connect().await?.client;
    let count = client
        .delete_messages(&args.messages, args.everyone)
        .await?;
    note(&match (count, args.messages.len() as u64) {
        (count, asked) if count == asked => format!("deleted {count}"),
        (count, asked) => format!("deleted {count}; {} were deleted before", asked - count),
    });
    Ok(ExitCode::SUCCESS)
}
