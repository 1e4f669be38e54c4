//! `conclave webhook`: addresses to which programs post messages for a room.

use std::process::ExitCode;

use conclave_client::{Freshness, v1};
use conclave_core::WebhookId;
use serde_json::json;

use crate::{
    connection::{Connected, Connection},
    errors::note,
    names::room,
    output::{self, Format},
};

/// Arguments of `webhook`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Create a webhook and write its address to stdout; it is shown only once
    Create {
        /// Room name
        #[arg(value_parser = room)]
        room: String,
        /// Name of the new account under which the webhook posts
        name: String,
    },
    /// List the webhooks of a room
    List {
        /// Room name
        #[arg(value_parser = room)]
        room: String,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Delete a webhook and its account
    Delete {
        /// Number of the webhook in the list
        id: u64,
    },
}

/// Creates, lists or deletes webhooks.
///
/// # Errors
/// If the caller does not moderate the room or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Connected {
        client,
        endpoints,
        is_encrypted,
        ..
    } = args.connection.connect().await?;
    match args.command {
        Command::Create { room, name } => {
            let created = client.create_webhook(&room, &name).await?;
            let node = endpoints.first().map_or("127.0.0.1:7400", String::as_str);
            let scheme = if is_encrypted { "https" } else { "http" };
            let take_back = client.delete_webhook(WebhookId(created.webhook_id));
            let address = format!("{scheme}://{node}{}", created.path);
            output::secret_line(&address, take_back).await?;
            note("POST {\"text\": \"…\"} as application/json to it, on any node");
        }
        Command::List { room, output } => {
            let webhooks = client.webhooks(&room, Freshness::default()).await?;
            list(&webhooks, output, &args.connection)?;
        }
        Command::Delete { id } => {
            client.delete_webhook(WebhookId(id)).await?;
            note("it cannot be used any more");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(webhooks: &[v1::Webhook], format: Format, connection: &Connection) -> anyhow::Result<()> {
    if format == Format::Json {
        for webhook in webhooks {
            output::json_line(&json!({
                "id": webhook.webhook_id,
                "name": webhook.account_name,
                "by": webhook.by_name,
                "created_at_ms": webhook.created_at_ms,
            }))?;
        }
        return Ok(());
    }
    let zone = connection.zone();
    let row = |webhook: &v1::Webhook| {
        vec![
            webhook.webhook_id.to_string(),
            output::clean(&webhook.account_name),
            output::person(&webhook.by_name),
            output::local_time(webhook.created_at_ms, &zone),
        ]
    };
    let rows: Vec<_> = webhooks.iter().map(row).collect();
    Ok(output::table(&["id", "name", "by", "created"], &rows)?)
}
