//! `conclave account`: creates, deletes and lists accounts.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
};

use conclave_client::Freshness;
use conclave_core::AccountName;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::{
    commands::login::{Asking, Password},
    connection::{Connected, Connection},
    credentials,
    errors::{CommandError, EXIT_FAILED, EXIT_USAGE, note},
    output::{self, Format},
};

/// What `account` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Create an account
    Create {
        /// 1 to 32 letters, digits, '.', '_' or '-'
        name: String,
        #[command(flatten)]
        password: Password,
    },
    /// Delete your account and end all its sessions
    Delete {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List accounts by name
    List {
        /// '*' is any run of characters, '?' any one; quote it
        #[arg(default_value = "")]
        pattern: String,
        /// At most so many
        #[arg(long, default_value_t = 1000)]
        limit: u32,
        /// Take what any node has, also without a quorum
        #[arg(long)]
        stale: bool,
        /// In which form
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

/// Creates, deletes or lists.
///
/// # Errors
/// If the cluster refuses or does not serve.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Create { name, password } => create(args.connection, name, password).await,
        Command::Delete { yes } => delete(args.connection, yes).await,
        Command::List {
            pattern,
            limit,
            stale,
            output,
        } => {
            let freshness = freshness(stale);
            let Connected { client, .. } = args.connection.connect()?;
            let accounts = client
                .list_all_accounts(&pattern, limit as usize, freshness)
                .await?;
            if output == Format::Json {
                for account in accounts {
                    output::json_line(&json!({
                        "id": account.id,
                        "name": account.name,
                        "created_at_ms": account.created_at_ms,
                    }))?;
                }
                return Ok(ExitCode::SUCCESS);
            }
            let zone = TimeZone::system();
            let row = |account: &conclave_client::v1::Account| {
                let created = output::local_time(account.created_at_ms, &zone);
                vec![
                    account.id.to_string(),
                    output::clean(&account.name),
                    created,
                ]
            };
            let rows: Vec<_> = accounts.iter().map(row).collect();
            output::table(&["id", "name", "created"], &rows)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// How fresh, for commands with `--stale`.
pub(crate) fn freshness(stale: bool) -> Freshness {
    if stale {
        Freshness::Stale { min_position: 0 }
    } else {
        Freshness::Linearizable
    }
}

async fn create(
    connection: Connection,
    name: String,
    password: Password,
) -> anyhow::Result<ExitCode> {
    // Before the password is asked for.
    AccountName::new(name.clone()).map_err(conclave_client::CallError::from)?;
    let Connected { client, .. } = connection.connect_as_nobody()?;
    let password = password.ask(Asking::Twice).await?;
    let id = client.create_account(&name, &password).await?;
    note(&format!(
        "created account {id}; log in with: conclave login {name}"
    ));
    Ok(ExitCode::SUCCESS)
}

async fn delete(connection: Connection, yes: bool) -> anyhow::Result<ExitCode> {
    let Connected {
        client, from_file, ..
    } = connection.connect()?;
    let session = client.session(Freshness::default()).await?;
    let name = session.account.unwrap_or_default().name;
    if !yes {
        let asked = name.clone();
        tokio::task::spawn_blocking(move || confirm(&asked)).await??;
    }
    client.delete_account().await?;
    if from_file {
        credentials::remove(&credentials::path()?)?;
    }
    note(&format!("deleted account {}", output::clean(&name)));
    Ok(ExitCode::SUCCESS)
}

fn confirm(name: &str) -> Result<(), CommandError> {
    let hint = "use --yes to delete without being asked";
    if !io::stdin().is_terminal() {
        let sentence = "there is no terminal to ask whether you are sure";
        return Err(CommandError::new(EXIT_USAGE, sentence, hint));
    }
    let failed = |error: io::Error| CommandError::new(EXIT_FAILED, error.to_string(), hint);
    let name = output::clean(name);
    write!(
        io::stderr(),
        "This cannot be undone. Type the name {name} to delete the account: "
    )
    .map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    if answer.trim().eq_ignore_ascii_case(&name) {
        return Ok(());
    }
    Err(CommandError::new(
        EXIT_FAILED,
        "nothing was deleted: the name was not typed",
        hint,
    ))
}
