//! `conclave react`: adds a reaction to a message, or removes it.

use std::process::ExitCode;

use conclave_core::MessageRef;

use crate::{connection::Connection, names::message_id};

/// Arguments of `react`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// ID of the message as `read` shows it, such as 3.17
    #[arg(value_parser = message_id, value_name = "ID")]
    message: MessageRef,
    /// Reaction: an emoji or a short word
    reaction: String,
    /// Remove the reaction
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Adds or removes the reaction.
///
/// # Errors
/// If there is no such message, or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.connect().await?.client;
    client
        .set_reaction(args.message, &args.reaction, !args.remove)
        .await?;
    Ok(ExitCode::SUCCESS)
}
