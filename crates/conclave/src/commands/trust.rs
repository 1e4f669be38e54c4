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
    /// Forget a cluster; its fingerprint is asked for again
    Forget {
        /// One of its addresses
        #[arg(value_name = "HOST:PORT")]
        address: String,
    },
}

/// Lists or forgets.
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
        Command::Forget { address } => {
            let forgotten = trust::forget(&address)?;
            if forgotten == 0 {
                let sentence = format!("no cluster is known at {address}");
                let hint = "list them with: conclave trust list";
                return Err(CommandError::new(EXIT_NOT_FOUND, sentence, hint).into());
            }
            note(&format!("forgotten, with {forgotten} of its addresses"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
