//! `conclave sessions`: the open sessions of the caller's account.

use std::process::ExitCode;

use conclave_client::{Freshness, v1};
use conclave_core::SessionId;
use serde_json::json;

use crate::{
    connection::Connection,
    errors::note,
    output::{self, Format},
};

/// Arguments of `sessions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End the session with this ID instead of listing all
    #[arg(long, value_name = "ID")]
    end: Option<u64>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Lists sessions, the oldest first, or ends one.
///
/// # Errors
/// If the caller has no session, there is none with this ID, or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.connect().await?.client;
    if let Some(session) = args.end {
        client.end_session(SessionId(session)).await?;
        note(&format!("ended session {session}"));
        return Ok(ExitCode::SUCCESS);
    }
    let sessions = client.sessions(Freshness::default()).await?;
    if args.output == Format::Json {
        for session in sessions {
            output::json_line(&json!({
                "id": session.session_id,
                "label": session.label,
                "opened_at_ms": session.opened_at_ms,
                "expires_at_ms": session.expires_at_ms,
                "current": session.current,
            }))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let zone = args.connection.zone();
    let row = |session: &v1::Session| {
        vec![
            session.session_id.to_string(),
            output::clean(&session.label),
            output::local_time(session.opened_at_ms, &zone),
            output::local_time(session.expires_at_ms, &zone),
            (if session.current { "this one" } else { "" }).to_owned(),
        ]
    };
    let rows: Vec<_> = sessions.iter().map(row).collect();
    output::table(&["id", "label", "opened", "expires", ""], &rows)?;
    Ok(ExitCode::SUCCESS)
}
