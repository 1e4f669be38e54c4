//! `conclave bot`: accounts for programs.

use std::process::ExitCode;

use crate::{connection::Connection, errors::note, output};

/// Arguments of `bot`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Create an account for a program and write its token to stdout; it is shown only once
    Create {
        /// 1 to 32 letters, digits, '.', '_' or '-'
        name: String,
    },
}

/// Creates an account for a program.
///
/// # Errors
/// If the caller is no administrator, the name is taken, or no node serves.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.connect().await?.client;
    let Command::Create { name } = args.command;
    let created = client.create_bot(&name).await?;
    output::secret_line(&created.token, client.remove_account(&name)).await?;
    note("the program uses it as CONCLAVE_TOKEN; it does not expire");
    Ok(ExitCode::SUCCESS)
}
