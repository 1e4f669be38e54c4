//! `conclave logout`: ends this session and no other.

use std::process::ExitCode;

use crate::{connection::Connection, credentials, errors::note};

/// Arguments of `logout`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
}

/// Logs out. A session that has already ended is no error, nor is the lack of one.
///
/// # Errors
/// If no node serves: then the credentials are kept, so that the command can be repeated.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if !args.connection.has_login()? {
        note("not logged in");
        return Ok(ExitCode::SUCCESS);
    }
    let connected = args.connection.connect().await?;
    connected.client.logout().await?;
    if connected.from_file {
        credentials::remove(&credentials::path()?)?;
    }
    note("logged out");
    Ok(ExitCode::SUCCESS)
}
