//! `conclave invite`: codes with which accounts can be created.

use std::{process::ExitCode, time::Duration};

use conclave_client::{Freshness, v1};
use conclave_core::InviteId;
use serde_json::json;

use crate::{
    connection::{Connected, Connection},
    errors::note,
    output::{self, Format},
};

/// Arguments of `invite`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Create an invite and write its code to stdout; it is shown only once
    Create {
        /// Days for which the invite can be used
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=30))]
        days: u64,
        /// Number of accounts that can be created with it
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        uses: u32,
    },
    /// List the invites that can still be used
    List {
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Revoke an invite
    Revoke {
        /// Number of the invite in the list
        id: u64,
    },
}

/// Creates, lists or revokes invites.
///
/// # Errors
/// If the caller is no administrator or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Connected {
        client, authority, ..
    } = args.connection.connect().await?;
    match args.command {
        Command::Create { days, uses } => {
            let ttl = Duration::from_secs(days * 24 * 60 * 60);
            let created = client.create_invite(ttl, uses).await?;
            let take_back = client.revoke_invite(InviteId(created.invite_id));
            output::secret_line(&created.code, take_back).await?;
            // By the fingerprint the invited person knows that it is the same cluster.
            let fingerprint = authority.map(|authority| authority.fingerprint());
            let fingerprint = fingerprint.map(|is| format!(" --fingerprint {is}"));
            note(&format!(
                "use it with: conclave account create NAME --invite CODE{}",
                fingerprint.unwrap_or_default()
            ));
        }
        Command::List { output } => {
            let invites = client.invites(Freshness::default()).await?;
            list(&invites, output, &args.connection)?;
        }
        Command::Revoke { id } => {
            client.revoke_invite(InviteId(id)).await?;
            note("it cannot be used any more");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(invites: &[v1::Invite], format: Format, connection: &Connection) -> anyhow::Result<()> {
    if format == Format::Json {
        for invite in invites {
            output::json_line(&json!({
                "id": invite.invite_id,
                "by": invite.by_name,
                "uses_left": invite.uses_left,
                "expires_at_ms": invite.expires_at_ms,
            }))?;
        }
        return Ok(());
    }
    let zone = connection.zone();
    let row = |invite: &v1::Invite| {
        vec![
            invite.invite_id.to_string(),
            output::person(&invite.by_name),
            invite.uses_left.to_string(),
            output::local_time(invite.expires_at_ms, &zone),
        ]
    };
    let rows: Vec<_> = invites.iter().map(row).collect();
    Ok(output::table(&["id", "by", "uses left", "expires"], &rows)?)
}
