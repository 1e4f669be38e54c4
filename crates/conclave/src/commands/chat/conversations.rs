//! `conclave conversations`: the caller's conversations, and how much of each is unread.

use std::process::ExitCode;

use conclave_client::v1;
use serde_json::json;

use crate::{
    connection::{Connection, freshness},
    output::{self, Format},
};

/// Arguments of `conversations`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Maximum number of results
    #[arg(long, default_value_t = 1000)]
    limit: u32,
    /// Accept the data of any node, also without a quorum
    #[arg(long)]
    stale: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Lists the conversations in the order in which they were opened.
///
/// # Errors
/// If there is no session or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.connect().await?.client;
    let mut conversations = client
        .conversations(args.limit as usize + 1, freshness(args.stale))
        .await?;
    output::cut(&mut conversations, args.limit);
    if args.output == Format::Json {
        for conversation in conversations {
            output::json_line(&json!({
                "id": conversation.id,
                "with": conversation.peer_name,
                "room": conversation.room_name,
                "messages": conversation.sequence_last,
                "delivered": conversation.sequence_delivered,
                "read": conversation.sequence_read,
                "unread": conversation.unread,
                "unread_mentions": conversation.unread_mentions,
                "peer_delivered": conversation.peer_delivered,
                "peer_read": conversation.peer_read,
            }))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let row = |conversation: &v1::Conversation| {
        vec![
            conversation.id.to_string(),
            output::place(
                &conversation.room_name,
                &conversation.peer_name,
                conversation.id,
            ),
            conversation.sequence_last.to_string(),
            conversation.unread.to_string(),
            conversation.unread_mentions.to_string(),
        ]
    };
    let rows: Vec<_> = conversations.iter().map(row).collect();
    output::table(&["id", "with", "messages", "unread", "mentions"], &rows)?;
    Ok(ExitCode::SUCCESS)
}
