//! `conclave whoami`: the account of this session.

use std::process::ExitCode;

use conclave_client::Freshness;
use serde_json::json;

use crate::{
    connection::Connection,
    errors::note,
    output::{self, Format},
};

/// Arguments of `whoami`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Writes the name to stdout and the rest to stderr.
///
/// # Errors
/// If there is no session or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let connected = args.connection.connect().await?;
    let session = connected.client.session(Freshness::default()).await?;
    let account = session.account.unwrap_or_default();
    if args.output == Format::Json {
        output::json_line(&json!({
            "name": account.name,
            "account": account.id,
            "session": session.session_id,
            "expires_at_ms": session.expires_at_ms,
            "endpoints": connected.endpoints,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&output::clean(&account.name))?;
    let until = output::local_time(session.expires_at_ms, &args.connection.zone());
    note(&format!("session {} until {until}", session.session_id));
    Ok(ExitCode::SUCCESS)
}
