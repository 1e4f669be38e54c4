//! `conclave passwd`: changes the password and ends all other sessions.

use std::process::ExitCode;

use crate::{commands::accounts::login::Password, connection::Connection, errors::note};

/// Arguments of `passwd`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    password: Password,
    #[command(flatten)]
    connection: Connection,
}

/// Changes the password.
///
/// # Errors
/// If the old password is wrong, there is no session or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.connect().await?.client;
    let (old, new) = args.password.ask_change().await?;
    client.change_password(&old, &new).await?;
    note("changed the password; all other sessions have ended");
    Ok(ExitCode::SUCCESS)
}
