//! `conclave backup`: a file with everything that the cluster keeps, made while it serves.
//!
//! Always true: a file appears under its name only when it is whole, synced and read back, and no
//! file is replaced unless the operator says so.

mod bar;
mod verify;
mod words;

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use conclave_client::{Backup, Client};
use conclave_server::{BackupHead, check_backup};
use tokio::task::spawn_blocking;

pub(crate) use bar::Bar;
pub(crate) use words::{explained, json, open, rows};

use crate::{
    connection::{Connection, freshness},
    errors::{CommandError, EXIT_CONFLICT, EXIT_FAILED, EXIT_UNAVAILABLE, EXIT_USAGE, note},
    files::draft::Draft,
    output::{self, Format},
    progress::bytes,
};

/// Bytes after which a file is synced, so that no flood of pages waits for the disk.
const SYNC_BYTES: usize = 8 << 20;

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// File to make, which must not exist; - for standard output
    #[arg(value_name = "FILE", required = true)]
    file: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// Maximum rate in bytes per second, such as 500k, 8M or 1G [default: one that other callers
    /// hardly notice]
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    rate: Option<u64>,
    /// Take what some node has, which may lag behind. Works without a quorum
    #[arg(long)]
    stale: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read a backup to its end, compute the digest of all its rows again, and list what is in it
    Verify(verify::Args),
}

/// Parses a number of bytes with an optional unit: powers of 1024.
fn rate(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 8 * 1024;
    let number = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "" => 1,
        "k" | "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err("write it as 500k, 8M or 1G".to_owned()),
    };
    let number: Option<u64> = number.parse().ok();
    let rate = number.and_then(|number| number.checked_mul(unit));
    let rate = rate.ok_or_else(|| "write it as 500k, 8M or 1G".to_owned())?;
    match rate >= LEAST {
        true => Ok(rate),
        false => Err("a backup has at least 8k per second".to_owned()),
    }
}

/// Makes or verifies a backup.
///
/// # Errors
/// If the caller is no operator, no node makes a backup, or the file cannot be written.
pub(crate) async fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    if let Some(Command::Verify(verify)) = args.command.take() {
        return verify::run(verify, &args.connection).await;
    }
    let file = args.file.clone().unwrap_or_default();
    if file.as_os_str() == "-" {
        return to_stdout(&args).await;
    }
    if !args.force && file.exists() {
        return Err(exists(&file).into());
    }
    let draft = Draft::begin(&file, 0o600).map_err(|error| unwritable(&file, &error))?;
    let client = args.connection.connect_as_operator().await?.client;
    let mut backup = begin(&client, &args).await?;
    let written = Writer::new(draft.file());
    receive(&mut backup, written, &file).await?;
    let head = put(draft, file.clone(), args.force).await?;
    tell(&head, &file, &args)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a backup to stdout, which another program reads.
async fn to_stdout(args: &Args) -> anyhow::Result<ExitCode> {
    if io::stdout().is_terminal() {
        let hint = "name a file, or give stdout to a program: conclave backup - | …";
        return Err(
            CommandError::new(EXIT_USAGE, "a backup is no text for a terminal", hint).into(),
        );
    }
    let client = args.connection.connect_as_operator().await?.client;
    let mut backup = begin(&client, args).await?;
    receive(&mut backup, io::stdout(), Path::new("stdout")).await?;
    note("the backup is complete; its reader can verify it: conclave backup verify -");
    Ok(ExitCode::SUCCESS)
}

async fn begin(client: &Client, args: &Args) -> anyhow::Result<Backup> {
    let backup = client
        .take_backup(freshness(args.stale), args.rate.unwrap_or(0))
        .await?;
    note(&format!(
        "the node at {} makes the backup",
        output::clean(backup.node())
    ));
    Ok(backup)
}

/// Writes what the node streams, to the end.
async fn receive(backup: &mut Backup, mut to: impl Write, file: &Path) -> anyhow::Result<()> {
    let mut bar = Bar::new();
    let (mut done, mut total) = (0, 0);
    loop {
        let part = backup.next().await.map_err(|error| {
            let sentence = format!("the backup was broken off: {error}");
            let hint = "no file was made; run the command again, perhaps at another node \
                        (--endpoints)";
            match CommandError::from(&error) {
                refused if error.reason().is_some() => refused,
                _ => CommandError::new(EXIT_UNAVAILABLE, sentence, hint),
            }
        })?;
        let Some(part) = part else { break };
        to.write_all(&part.data)
            .map_err(|error| match error.kind() {
                // The program behind stdout does not want more.
                io::ErrorKind::BrokenPipe => {
                    let hint =
                        "the program that reads the backup has ended before it had all of it";
                    CommandError::new(EXIT_FAILED, "stdout was closed", hint)
                }
                _ => unwritable(file, &error),
            })?;
        (done, total) = (part.done, part.total);
        match total {
            0 => bar.say("making a snapshot"),
            _ => bar.show(done, total, "checking"),
        }
    }
    to.flush().map_err(|error| unwritable(file, &error))?;
    bar.clear();
    if total == 0 || done < total {
        let hint = "run the command again, perhaps at another node (--endpoints)";
        let sentence = "the node ended the backup before it was complete";
        return Err(CommandError::new(EXIT_UNAVAILABLE, sentence, hint).into());
    }
    Ok(())
}

/// Syncs the file, reads it back, and gives it its name.
async fn put(draft: Draft, file: PathBuf, force: bool) -> anyhow::Result<BackupHead> {
    let putting = spawn_blocking(move || -> anyhow::Result<BackupHead> {
        let failed = |error: &io::Error| unwritable(&file, error);
        draft.file().sync_all().map_err(|error| failed(&error))?;
        let written = File::open(draft.path()).map_err(|error| failed(&error))?;
        let head = check_backup(written, &mut |_, _| {}).map_err(|error| explained(&error))?;
        let put = match force {
            true => draft.replace(),
            false => draft.put(),
        };
        put.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&file),
            _ => failed(&error),
        })?;
        Ok(head)
    });
    putting.await?
}

fn tell(head: &BackupHead, file: &Path, args: &Args) -> io::Result<()> {
    let length = file.metadata()?.len();
    if args.output == Format::Json {
        let mut told = json(head);
        told["file"] = file.display().to_string().into();
        told["file_bytes"] = length.into();
        return output::json_line(&told);
    }
    output::line(&format!(
        "{}: {} of {}, up to entry {}; {}",
        output::clean(&file.display().to_string()),
        counted(head.rows_of("messages"), "message"),
        counted(head.rows_of("accounts"), "account"),
        head.last.index,
        bytes(length),
    ))?;
    note("it holds everything that people wrote: keep it where only operators can read it");
    Ok(())
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn exists(file: &Path) -> CommandError {
    let sentence = format!("{} exists", file.display());
    CommandError::new(
        EXIT_CONFLICT,
        sentence,
        "name another file, or replace it with --force",
    )
}

fn unwritable(file: &Path, error: &io::Error) -> CommandError {
    let sentence = format!("{}: cannot be written: {error}", file.display());
    let hint = "nothing was made; name a file in a directory that exists and has room";
    CommandError::new(EXIT_FAILED, sentence, hint)
}

/// A file that is synced as it grows.
struct Writer<'a> {
    file: &'a File,
    unsynced: usize,
}

impl<'a> Writer<'a> {
    fn new(file: &'a File) -> Self {
        Self { file, unsynced: 0 }
    }
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced += written;
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            self.file.sync_data()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_of_bytes_with_a_unit() {
        let cases = [
            ("8192", 8192),
            ("500k", 512_000),
            ("8M", 8 << 20),
            ("1G", 1 << 30),
        ];
        for (text, bytes) in cases {
            assert_eq!(rate(text), Ok(bytes));
        }
        for text in ["", "M", "8MB", "-1", "8191", "0", "99999999999G"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
