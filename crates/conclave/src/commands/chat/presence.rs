//! `conclave presence`: whether users are online.

use std::process::ExitCode;

use conclave_client::v1;
use serde_json::json;

use crate::{
    connection::Connection,
    output::{self, Format},
};

/// Arguments of `presence`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Account names
    #[arg(required = true, value_name = "USER")]
    names: Vec<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Shows the presence of each account, in the order of the names.
///
/// # Errors
/// If there is no session or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let zone = args.connection.zone();
    let client = args.connection.connect().await?.client;
    let presences = client.presence(args.names).await?;
    let state = |presence: &v1::Presence| match presence.state() {
        v1::PresenceState::Online => "online",
        v1::PresenceState::Away => "away",
        v1::PresenceState::Offline | v1::PresenceState::Unspecified => "offline",
    };
    if args.output == Format::Json {
        for presence in presences {
            output::json_line(&json!({
                "name": presence.account_name,
                "state": state(&presence),
                "last_seen_at_ms": presence.last_seen_at_ms,
            }))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let row = |presence: &v1::Presence| {
        let last_seen = match presence.last_seen_at_ms {
            0 => String::new(),
            ms => output::local_time(ms, &zone),
        };
        vec![
            output::clean(&presence.account_name),
            state(presence).to_owned(),
            last_seen,
        ]
    };
    let rows: Vec<_> = presences.iter().map(row).collect();
    output::table(&["name", "state", "last seen"], &rows)?;
    Ok(ExitCode::SUCCESS)
}
