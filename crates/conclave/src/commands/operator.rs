//! `conclave operator`: the operators, who may run the machines of the cluster.
//!
//! A credential goes to a file that only its owner can read, and never to the terminal.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use conclave_client::{OperatorCredential, new_credential};
use conclave_server::{OPERATOR_FILE, OPERATOR_RESET_FILE, check_owner};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    connection::Connection,
    credentials,
    errors::{CommandError, EXIT_CONFLICT, EXIT_FAILED, EXIT_UNAVAILABLE, EXIT_USAGE, note},
    operators,
    output::{self, Format},
};

/// Longest time that a node may take to replace the operators.
const RESET_LIMIT: Duration = Duration::from_secs(30);
/// Interval at which the replacement is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Arguments of `operator`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Keep the credential in a file for the cluster at these endpoints
    Use {
        /// File with the credential
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Add an operator and write its credential to a new file
    Create {
        /// Name of the operator
        name: String,
        /// File for the credential [default: ./NAME.operator.token]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List the operators
    List {
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Remove an operator: its credential is refused from then on
    Revoke {
        /// Name of the operator
        name: String,
    },
    /// Replace all operators by one, if all credentials are lost: on the machine of a node that
    /// votes, as the user that runs the node
    Reset {
        /// Data directory of the node
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}

/// Adds, lists, removes or replaces operators.
///
/// # Errors
/// If the caller is no operator, or the request is refused.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let connection = args.connection;
    match args.command {
        Command::Use { file } => keep(&file, &connection).await?,
        Command::Create { name, file } => create(&name, file, &connection).await?,
        Command::List { output } => list(output, &connection).await?,
        Command::Revoke { name } => {
            let client = connection.connect_as_operator().await?.client;
            client.revoke_operator(&name).await?;
            note(&format!(
                "{} is not an operator any more",
                output::clean(&name)
            ));
        }
        Command::Reset { data } => reset(&data).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps a credential once the cluster has accepted it.
async fn keep(file: &Path, connection: &Connection) -> anyhow::Result<()> {
    let credential = operators::read(file)?;
    let connected = connection.connect_with_optional_session().await?;
    connected
        .client
        .with_operator(&credential)
        .operators()
        .await?;
    let kept = operators::keep(&connected.endpoints, &credential)?;
    note(&format!("the credential is kept in {}", kept.display()));
    Ok(())
}

async fn create(name: &str, file: Option<PathBuf>, connection: &Connection) -> anyhow::Result<()> {
    let client = connection.connect_as_operator().await?.client;
    let file = file.unwrap_or_else(|| PathBuf::from(format!("{name}.{OPERATOR_FILE}")));
    let credential = new_credential();
    // The file comes first: an operator whose credential was lost would stay in the cluster for
    // ever.
    write_new(&file, &credential)?;
    if let Err(error) = client.create_operator(name, &credential).await {
        if error.reason().is_some() {
            let _ = fs::remove_file(&file);
        }
        return Err(error.into());
    }
    output::line(&file.display().to_string())?;
    note(&format!(
        "give this file to {}, to be kept with: conclave operator use FILE",
        output::clean(name)
    ));
    Ok(())
}

async fn list(output: Format, connection: &Connection) -> anyhow::Result<()> {
    const HEADER: [&str; 3] = ["name", "since", "made by"];
    let client = connection.connect_as_operator().await?.client;
    let all = client.operators().await?;
    if output == Format::Json {
        let row = |row: &conclave_client::v1::Operator| {
            json!({
                "name": row.name,
                "created_at_ms": row.created_at_ms,
                "by": row.by_name,
            })
        };
        return Ok(output::json_line(&json!(
            all.iter().map(row).collect::<Vec<_>>()
        ))?);
    }
    let zone = connection.zone();
    let row = |row: conclave_client::v1::Operator| {
        let by = match row.by_name.is_empty() {
            true => "the cluster".to_owned(),
            false => output::clean(&row.by_name),
        };
        let since = output::local_time(row.created_at_ms, &zone);
        vec![output::clean(&row.name), since, by]
    };
    let rows: Vec<_> = all.into_iter().map(row).collect();
    Ok(output::table(&HEADER, &rows)?)
}

/// Leaves a credential where the node finds it, and waits until the node has used it.
async fn reset(data: &Path) -> anyhow::Result<()> {
    if !data.join("identity.json").exists() {
        let sentence = format!("{} is not the data directory of a node", data.display());
        let hint = "name the directory that the node was given with --data";
        return Err(CommandError::new(EXIT_USAGE, sentence, hint).into());
    }
    check_owner(data).map_err(|error| {
        let hint = "run the command as the user that runs the node (sudo -u)";
        CommandError::new(EXIT_FAILED, error.to_string(), hint)
    })?;
    let asked = data.join(OPERATOR_RESET_FILE);
    let made = data.join(OPERATOR_FILE);
    if !asked.exists() {
        // The file must be whole from its first moment on: the node may look at any time.
        let draft = data.join(format!("{OPERATOR_RESET_FILE}.{}", std::process::id()));
        let credential = new_credential();
        write_new(&draft, &credential)?;
        let placed = fs::rename(&draft, &asked);
        placed.map_err(|error| credentials::failed("write", &asked, &error))?;
    }
    note("waiting until the node has replaced the operators");
    let deadline = Instant::now() + RESET_LIMIT;
    while asked.exists() {
        if Instant::now() >= deadline {
            let sentence = "the node has not replaced the operators yet";
            let hint = "it does so as soon as it runs, votes, and reaches a majority of the \
                        nodes; its log says what prevents it";
            return Err(CommandError::new(EXIT_UNAVAILABLE, sentence, hint).into());
        }
        sleep(LOOK_INTERVAL).await;
    }
    output::line(&made.display().to_string())?;
    note("all earlier operators are removed; keep this one with: conclave operator use FILE");
    Ok(())
}

/// Writes a credential to a file that does not exist yet.
fn write_new(path: &Path, credential: &OperatorCredential) -> Result<(), CommandError> {
    let write = || {
        let mut options = fs::File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(format!("{}\n", credential.to_text()).as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => CommandError::new(
            EXIT_CONFLICT,
            format!("{} already exists", path.display()),
            "name another file with --file",
        ),
        _ => credentials::failed("write", path, &error),
    })
}
