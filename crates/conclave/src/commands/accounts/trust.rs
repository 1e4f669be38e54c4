//! `conclave trust`: the authorities by which clusters are known on this machine.

use std::process::ExitCode;

use crate::{
    errors::{CommandError, EXIT_NOT_FOUND, note},
    output, trust,
};

/// Arguments of `trust`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the known clusters, with their fingerprints
    List,
    /// Write the certificate of a cluster's authority (PEM) to stdout, for other programs
    Export {
        /// Address of one of its nodes
        #[arg(value_name = "HOST:PORT")]
        address: String,
    },
    /// Forget a cluster; the next command asks for its fingerprint again
    Forget {
        /// Address of one of its nodes
        #[arg(value_name = "HOST:PORT")]
        address: String,
    },
}

/// Lists, exports or forgets the authorities of clusters.
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
            note(&format!(
                "forgot the cluster and {forgotten} of its addresses"
            ));
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
