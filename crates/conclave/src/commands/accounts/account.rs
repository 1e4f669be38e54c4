//! `conclave account`: creates, deletes, lists, blocks and governs accounts.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
};

use conclave_client::{Client, Freshness, Grant, v1};
use conclave_core::AccountName;
use serde_json::json;

use crate::{
    commands::accounts::login::{Asking, Password},
    connection::{Connected, Connection, freshness},
    credentials,
    errors::{CommandError, EXIT_FAILED, EXIT_USAGE, note},
    output::{self, Format},
};

/// Arguments of `account`.
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
        /// Code of an invite, where accounts cannot be created without one
        #[arg(
            long,
            env = "CONCLAVE_INVITE",
            hide_env_values = true,
            value_name = "CODE",
            conflicts_with = "setup_token"
        )]
        invite: Option<String>,
        /// Setup token that the server prints while there is no administrator: the account becomes
        /// one
        #[arg(
            long,
            env = "CONCLAVE_SETUP_TOKEN",
            hide_env_values = true,
            value_name = "TOKEN"
        )]
        setup_token: Option<String>,
    },
    #[command(flatten)]
    Own(Own),
    /// List the accounts that you have blocked
    Blocks,
    #[command(flatten)]
    Govern(Govern),
    /// Give an account a new password, end its sessions and print the password; for administrators
    RequirePassword {
        /// Account name
        name: String,
    },
    /// Delete your account and end all its sessions
    Delete {
        /// Do not ask for the name as confirmation
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        password: Password,
    },
    /// List accounts by name
    List {
        /// Pattern of names: '*' is any run of characters, '?' any one; quote it
        #[arg(default_value = "")]
        pattern: String,
        /// Maximum number of results
        #[arg(long, default_value_t = 1000)]
        limit: u32,
        /// Accept the data of any node, also without a quorum
        #[arg(long)]
        stale: bool,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

/// Changes of your own account, which have nothing to show.
#[derive(Debug, clap::Subcommand)]
enum Own {
    /// Set your display name; without one, remove it
    DisplayName {
        /// Display name, one line
        #[arg(default_value = "")]
        display_name: String,
    },
    /// Block an account: no messages from it, no invitations
    Block {
        /// Account name
        name: String,
    },
    /// End a block
    Unblock {
        /// Account name
        name: String,
    },
}

/// Changes of other accounts, which have nothing to show.
#[derive(Debug, clap::Subcommand)]
enum Govern {
    /// Make an account an administrator, or a user again; for administrators
    Role {
        /// Account name
        name: String,
        /// Role to give
        #[arg(value_enum)]
        role: Role,
    },
    /// Delete another account; for administrators
    Remove {
        /// Account name
        name: String,
    },
    /// Suspend an account: logging in to it is refused and its sessions end; for administrators
    Suspend {
        /// Account name
        name: String,
    },
    /// End the suspension of an account; for administrators
    Reactivate {
        /// Account name
        name: String,
    },
    /// End all sessions of an account; for administrators
    EndSessions {
        /// Account name
        name: String,
    },
}

/// Roles that an administrator can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// A person who also governs accounts
    Admin,
    /// A person
    User,
}

/// Runs `account`.
///
/// # Errors
/// If the cluster refuses or does not serve.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Create {
            name,
            password,
            invite,
            setup_token,
        } => {
            let grant = match (invite, setup_token) {
                (Some(code), _) => Grant::Invite(code),
                (None, Some(token)) => Grant::Setup(token),
                (None, None) => Grant::Open,
            };
            create(args.connection, name, password, grant).await
        }
        Command::Delete { yes, password } => delete(args.connection, yes, password).await,
        Command::RequirePassword { name } => {
            let client = args.connection.connect().await?.client;
            let password = client.reset_password(&name).await?;
            let name = output::clean(&name);
            note(&format!(
                "{name} has a new password and no session; give it to the owner, to change \
                it with: conclave passwd"
            ));
            output::line(&password)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::List {
            pattern,
            limit,
            stale,
            output,
        } => {
            let freshness = freshness(stale);
            let Connected { client, .. } = args.connection.connect().await?;
            let mut accounts = client
                .list_all_accounts(&pattern, limit as usize + 1, freshness)
                .await?;
            output::cut(&mut accounts, limit);
            list(&accounts, output, &args.connection)
        }
        Command::Blocks => {
            let client = args.connection.connect().await?.client;
            let accounts = client.blocks(Freshness::default()).await?;
            list(&accounts, Format::Table, &args.connection)
        }
        Command::Own(command) => {
            let client = args.connection.connect().await?.client;
            note(&change(&client, command).await?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Govern(command) => {
            let client = args.connection.connect().await?.client;
            note(&govern(&client, command).await?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs a change of one's own account; returns the sentence to show.
async fn change(client: &Client, command: Own) -> anyhow::Result<String> {
    Ok(match command {
        Own::DisplayName { display_name } => {
            client.set_display_name(&display_name).await?;
            "changed your display name".to_owned()
        }
        Own::Block { name } => {
            client.set_block(&name, true).await?;
            format!("blocked {}", output::clean(&name))
        }
        Own::Unblock { name } => {
            client.set_block(&name, false).await?;
            format!("unblocked {}", output::clean(&name))
        }
    })
}

/// Runs a change of another account; returns the sentence to show.
async fn govern(client: &Client, command: Govern) -> anyhow::Result<String> {
    Ok(match command {
        Govern::Role { name, role } => {
            let (role, shown) = match role {
                Role::Admin => (v1::AccountRole::Admin, "an administrator"),
                Role::User => (v1::AccountRole::User, "a user"),
            };
            client.set_account_role(&name, role).await?;
            format!("{} is {shown}", output::clean(&name))
        }
        Govern::Remove { name } => {
            client.remove_account(&name).await?;
            format!("removed account {}", output::clean(&name))
        }
        Govern::Suspend { name } => {
            client.set_suspended(&name, true).await?;
            format!("suspended {}", output::clean(&name))
        }
        Govern::Reactivate { name } => {
            client.set_suspended(&name, false).await?;
            format!("reactivated {}", output::clean(&name))
        }
        Govern::EndSessions { name } => {
            client.end_sessions(&name).await?;
            format!("ended the sessions of {}", output::clean(&name))
        }
    })
}

/// Shows accounts.
fn list(
    accounts: &[v1::Account],
    format: Format,
    connection: &Connection,
) -> anyhow::Result<ExitCode> {
    let role = |account: &v1::Account| match account.role() {
        v1::AccountRole::Admin => "admin",
        v1::AccountRole::Bot => "bot",
        v1::AccountRole::User | v1::AccountRole::Unspecified => "user",
    };
    if format == Format::Json {
        for account in accounts {
            output::json_line(&json!({
                "id": account.id,
                "name": account.name,
                "display_name": account.display_name,
                "role": role(account),
                "suspended": account.suspended,
                "created_at_ms": account.created_at_ms,
            }))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let zone = connection.zone();
    let row = |account: &v1::Account| {
        vec![
            account.id.to_string(),
            output::clean(&account.name),
            output::local_time(account.created_at_ms, &zone),
            match account.suspended {
                true => format!("{} (suspended)", role(account)),
                false => role(account).to_owned(),
            },
            output::clean(&account.display_name),
        ]
    };
    let rows: Vec<_> = accounts.iter().map(row).collect();
    output::table(&["id", "name", "created", "role", "display name"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

async fn create(
    connection: Connection,
    name: String,
    password: Password,
    grant: Grant,
) -> anyhow::Result<ExitCode> {
    // An invalid name is refused before the password prompt.
    AccountName::new(name.clone()).map_err(conclave_client::CallError::from)?;
    let Connected { client, .. } = connection.connect_with_optional_session().await?;
    let password = password.ask(Asking::Twice).await?;
    let id = client.create_account_with(&name, &password, grant).await?;
    note(&format!(
        "created account {id}; log in with: conclave login {name}"
    ));
    Ok(ExitCode::SUCCESS)
}

async fn delete(connection: Connection, yes: bool, password: Password) -> anyhow::Result<ExitCode> {
    let Connected {
        client, from_file, ..
    } = connection.connect().await?;
    let session = client.session(Freshness::default()).await?;
    let account = session.account.unwrap_or_default();
    let is_bot = account.role() == v1::AccountRole::Bot;
    let name = account.name;
    if !yes {
        let asked = name.clone();
        tokio::task::spawn_blocking(move || confirm(&asked)).await??;
    }
    // A program has no password.
    let password = match is_bot {
        true => String::new(),
        false => password.ask(Asking::Once).await?,
    };
    client.delete_account(&password).await?;
    if from_file {
        credentials::remove(&credentials::path()?)?;
    }
    note(&format!("deleted account {}", output::clean(&name)));
    Ok(ExitCode::SUCCESS)
}

fn confirm(name: &str) -> Result<(), CommandError> {
    let hint = "use --yes to delete without confirmation";
    if !io::stdin().is_terminal() {
        let sentence = "there is no terminal to ask for confirmation";
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
        "nothing was deleted: the typed name is another one",
        hint,
    ))
}
