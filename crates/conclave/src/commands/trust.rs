//! `conclave trust`: by which authorities clusters are known on this machine.

use std::process::ExitCode;

use crate::{
    errors::{CommandError, EXIT_NOT_FOUND, note},
    output, trust,
};

/// What `trust` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the clusters that are known, with their fingerprints
    List,
    /// Write the certificate of a cluster's authority (PEM) to stdout, for other programs
    Export {
        /// One of its addresses
        #[arg(value_name = "HOST:PORT")]
        address: String,
    },
    /// Forget a cluster; its fingerprint is asked for again
    Forget {
        /// One of its addresses
        #[arg(value_name = "HOST:PORT")]
        address: String,
    },
}

/// Lists, exports or forgets.
///
/// # Errors
/// If the cluster is not known or the file cannot be used.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List => {
            let row = |(address, fingerprint): (String, _)| vec![address, format!("{fingerprint}")];
            let rows: Vec<_> = trust::known()?.into_iter().map(row).collect();
            output::table(&["address", "fingerprint"], &rows)?;
        }
        Command::Export { address } => {
            let pem = trust::exported(&address)?;
            output::line(&pem.ok_or_else(|| unknown(&address))?)?;
        }
        Command::Forget { address } => {
            let forgotten = trust::forget(&address)?;
            if forgotten == 0 {
                return Err(unknown(&address).into());
            }
            note(&format!("forgotten, with {forgotten} of its addresses"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(address: &str) -> CommandError {
    CommandError::new(
        EXIT_NOT_FOUND,
        format!("no cluster is known at {address}"),
        "list them with: conclave trust list",
    )
}
