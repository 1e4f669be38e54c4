//! `conclave import`: makes of an export the first node of a new cluster.
//!
//! The command talks to no node: it builds the state of a new cluster in a new directory, as
//! `conclave restore` does. Accounts that it makes are disabled until an administrator gives each a
//! password.
//!
//! Always true: the report of another import is not touched, and that of an import that fails is
//! not left behind.

use std::{
    fs,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use conclave_core::AccountName;
use conclave_server::{
    Begun, IdentityError, RestoreError, begin_cluster, hash_alone, hash_of_no_password,
};
use conclave_transfer::{ImportError, Imported, Importing, Kind, Stage, import};
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::{
    commands::{
        accounts::login::{Asking, Password},
        backup::Bar,
    },
    errors::{CommandError, EXIT_CONFLICT, EXIT_FAILED, EXIT_USAGE, note},
    files::draft::Draft,
    output::{self, Format},
};

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The export: a directory or a ZIP archive; of Mattermost also its file of JSON lines
    #[arg(value_name = "EXPORT")]
    export: PathBuf,
    /// Data directory of the new node: empty, or not there yet
    #[arg(long, value_name = "DIR", env = "CONCLAVE_DATA")]
    data: PathBuf,
    /// Account of the administrator, who gives the others their passwords: one of the export, or a
    /// new one
    #[arg(long, value_name = "NAME")]
    admin: String,
    #[command(flatten)]
    password: Password,
    /// Whose export it is [default: what it looks like]
    #[arg(long, value_enum, value_name = "SYSTEM")]
    from: Option<System>,
    /// File for the report, which must not exist: a line of JSON for each name and for whatever is
    /// not as it was [default: DIR.import.jsonl]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Whose export it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum System {
    /// A directory that conclave export has made
    Conclave,
    /// The export of a workspace of Slack
    Slack,
    /// The bulk export of Mattermost
    Mattermost,
}

impl System {
    fn kind(self) -> Kind {
        match self {
            Self::Conclave => Kind::Conclave,
            Self::Slack => Kind::Slack,
            Self::Mattermost => Kind::Mattermost,
        }
    }

    fn name(kind: Kind) -> &'static str {
        match kind {
            Kind::Conclave => "Conclave",
            Kind::Slack => "Slack",
            Kind::Mattermost => "Mattermost",
        }
    }
}

/// What an import has failed with.
enum Failed {
    Import(ImportError),
    Begin(RestoreError),
    Scratch(io::Error),
    Report(CommandError),
}

impl From<RestoreError> for Failed {
    fn from(error: RestoreError) -> Self {
        Self::Begin(error)
    }
}

/// Imports an export into a new directory.
///
/// # Errors
/// If the directory is not empty, or the export is malformed or of no known system.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let admin = AccountName::new(args.admin.clone())
        .map_err(|rejection| usage(format!("--admin {}: {rejection}", args.admin)))?;
    let typed = args.password.ask(Asking::Twice).await?;
    let password = conclave_text::Password::new(&typed)
        .map_err(|refused| usage(format!("the password: {refused}")))?;
    let path = args.report.clone();
    let path = path.unwrap_or_else(|| args.data.with_added_extension("import.jsonl"));
    let (source, data, kind) = (args.export.clone(), args.data.clone(), args.from);
    let report_path = path.clone();
    let importing = spawn_blocking(move || -> Result<_, CommandError> {
        let hashes = hash_alone(&password).and_then(|own| Ok((own, hash_of_no_password()?)));
        let (own, none) = hashes.map_err(|error| scratch_failed(&error))?;
        let mut report = None;
        let mut bar = Bar::new();
        let make = |file: &Path| {
            // Not before the directory is this command's: it may hold what the report is of.
            let draft = begin_report(&report_path).map_err(Failed::Report)?;
            let draft = report.insert(draft);
            let mut lines = BufWriter::new(draft.file());
            // Removed with the rest if the command is interrupted: its name begins with that of an
            // unfinished restore.
            let scratch = file.with_extension("import");
            fs::create_dir(&scratch).map_err(Failed::Scratch)?;
            let importing = Importing {
                source: &source,
                kind: kind.map(System::kind),
                admin: &admin,
                admin_password_hash: &own,
                no_password_hash: &none,
                now_ms: now_ms(),
                scratch: &scratch,
            };
            let imported = import(&importing, &mut lines, &mut |stage| match stage {
                Stage::Reading(read) => bar.count_up(read, "messages read"),
                Stage::Building(done, total) => bar.count(done, total, "messages"),
            });
            let imported = imported.map_err(Failed::Import)?;
            lines.flush().map_err(Failed::Scratch)?;
            drop(lines);
            let moved = fs::rename(&imported.snapshot, file);
            moved
                .and_then(|()| fs::remove_dir_all(&scratch))
                .map_err(Failed::Scratch)?;
            Ok::<Imported, Failed>(imported)
        };
        let done = begin_cluster(&data, make, described);
        let done = done.map_err(|error| explained(&error))?;
        let report = report.expect("the import has begun with it");
        report
            .put_or_keep()
            .map_err(|(error, kept)| report_kept(&report_path, &kept, &error))?;
        Ok(done)
    });
    let (imported, begun) = importing.await??;
    tell(&imported, &begun, &args, &path)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns what the audit log says of an import.
fn described(imported: &Imported) -> String {
    let Imported {
        accounts,
        rooms,
        messages,
        ..
    } = imported;
    let from = System::name(imported.kind).to_lowercase();
    format!("from={from} accounts={accounts} rooms={rooms} messages={messages}")
}

/// Returns the date of the import, which accounts get whose export says none.
#[expect(
    clippy::disallowed_methods,
    reason = "a command at the edge stamps what it makes"
)]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(1, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

fn begin_report(path: &Path) -> Result<Draft, CommandError> {
    let shown = path.display();
    if path.exists() {
        let sentence = format!("{shown} exists: it may be the report of another import");
        let hint = "move it away, or name another file for the report: --report FILE";
        return Err(CommandError::new(EXIT_CONFLICT, sentence, hint));
    }
    Draft::begin(path, 0o600).map_err(|error| {
        let sentence = format!("{shown}: cannot be written: {error}");
        let hint = "name another file for the report: --report FILE";
        CommandError::new(EXIT_FAILED, sentence, hint)
    })
}

/// Returns the error for a report that did not get its name: the import is done all the same.
fn report_kept(path: &Path, kept: &Path, error: &io::Error) -> CommandError {
    let sentence = format!("the report cannot be put into {}: {error}", path.display());
    let hint = format!(
        "everything was imported; the report is in {}: move it to where you want it",
        kept.display()
    );
    CommandError::new(EXIT_FAILED, sentence, hint)
}

fn tell(imported: &Imported, begun: &Begun, args: &Args, report: &Path) -> anyhow::Result<()> {
    let data = output::clean(&args.data.display().to_string());
    if args.output == Format::Json {
        output::json_line(&json!({
            "from": System::name(imported.kind).to_lowercase(),
            "cluster": begun.cluster_id,
            "node": begun.node,
            "data": args.data.display().to_string(),
            "accounts": imported.accounts,
            "rooms": imported.rooms,
            "direct_conversations": imported.directs,
            "messages": imported.messages,
            "reactions": imported.reactions,
            "changes": imported.changes,
            "report": report.display().to_string(),
        }))?;
    } else {
        let row = |name: &str, value: u64| vec![name.to_owned(), value.to_string()];
        let mut rows = vec![
            row("accounts", imported.accounts),
            row("rooms", imported.rooms),
            row("direct conversations", imported.directs),
            row("messages", imported.messages),
            row("reactions", imported.reactions),
        ];
        // Every account and room has a line, so these say nothing.
        let changes = imported.changes.iter();
        let changes = changes.filter(|(what, _)| !["account", "room"].contains(&what.as_str()));
        rows.extend(changes.map(|(what, count)| row(&what.replace('_', " "), *count)));
        output::table(&["", ""], &rows)?;
        output::line(&format!(
            "node {} of the new cluster {} is in {data}",
            begun.node, begun.cluster_id
        ))?;
    }
    note(&format!(
        "{} has each name there and here, and whatever is not as it was. Start the node: conclave \
         serve --data {data}. {} is the administrator; all other accounts are disabled until they \
         get a password: conclave account require-password NAME",
        output::clean(&report.display().to_string()),
        output::clean(&args.admin),
    ));
    Ok(())
}

fn usage(sentence: String) -> CommandError {
    let hint = "name an account of the export, or a new one, and give it a password of 8 \
                characters or more";
    CommandError::new(EXIT_USAGE, sentence, hint)
}

fn scratch_failed(error: &io::Error) -> CommandError {
    let sentence = format!("the data directory cannot be written: {error}");
    let hint = "see that it has room for three times the export, and run the command again";
    CommandError::new(EXIT_FAILED, sentence, hint)
}

fn explained(failed: &Failed) -> CommandError {
    let words = |error: &dyn std::error::Error, exit, hint: &str| {
        let causes = std::iter::successors(error.source(), |error| error.source());
        let sentence = causes.fold(error.to_string(), |all, cause| format!("{all}: {cause}"));
        CommandError::new(exit, sentence, hint)
    };
    match failed {
        Failed::Scratch(error) => scratch_failed(error),
        Failed::Report(error) => error.clone(),
        Failed::Import(error @ ImportError::Admin { .. }) => words(
            error,
            EXIT_USAGE,
            "name another account: one of the export, or a new one",
        ),
        Failed::Import(error @ ImportError::Unknown { .. }) => words(
            error,
            EXIT_USAGE,
            "name the directory or archive as the other system has made it; --from says whose \
             it is",
        ),
        Failed::Import(error) if error.is_about_the_source() => words(
            error,
            EXIT_USAGE,
            "nothing was imported; correct the export, or have it made again",
        ),
        Failed::Import(error) => words(
            error,
            EXIT_FAILED,
            "nothing was imported; see that the disk has room for three times the export",
        ),
        Failed::Begin(error @ RestoreError::NotEmpty { .. }) => words(
            error,
            EXIT_CONFLICT,
            "an export is imported into a new directory: name one, or move that one away first",
        ),
        Failed::Begin(error @ RestoreError::Identity(IdentityError::InUse { .. })) => words(
            error,
            EXIT_CONFLICT,
            "a node runs with this directory: name another one",
        ),
        Failed::Begin(error) => words(
            error,
            EXIT_FAILED,
            "see that the directory can be written and has room, and run the command again",
        ),
    }
}
