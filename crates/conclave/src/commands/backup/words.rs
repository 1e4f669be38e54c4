//! What a backup says of itself and why it cannot be used, in words and for programs.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    path::Path,
};

use conclave_server::{BackupError, BackupHead, UnpackError};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::{
    errors::{CommandError, EXIT_DAMAGED, EXIT_FAILED, EXIT_NOT_FOUND, EXIT_USAGE},
    output,
    progress::bytes,
};

/// Opens a backup: a file, or stdin for `-`.
///
/// # Errors
/// If the file cannot be opened.
pub(crate) fn open(file: &Path) -> Result<Box<dyn Read + Send>, CommandError> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(io::stdin()));
    }
    match File::open(file) {
        Ok(opened) => Ok(Box::new(opened)),
        Err(error) => {
            let sentence = format!("{}: {error}", file.display());
            let hint = "name a file that conclave backup has made, or - for standard input";
            Err(CommandError::new(EXIT_NOT_FOUND, sentence, hint))
        }
    }
}

/// Returns the rows of a table: what is in the backup.
pub(crate) fn rows(head: &BackupHead, zone: &TimeZone) -> Vec<Vec<String>> {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let table = |name: &str| head.rows_of(name).to_string();
    vec![
        row("cluster", output::clean(&head.cluster)),
        row("made", output::local_time(head.made_at_ms, zone)),
        row("made by node", head.node.to_string()),
        row("entry", head.last.index.to_string()),
        row("term", head.last.term.to_string()),
        row("accounts", table("accounts")),
        row("conversations", table("conversations")),
        row("messages", table("messages")),
        row("database", bytes(head.bytes)),
        row("tables", format!("version {}", head.schema)),
        row(
            "program",
            format!("version {}", output::clean(&head.program)),
        ),
        row("digest", hex(&head.digest)),
    ]
}

/// Returns what is in the backup for programs.
pub(crate) fn json(head: &BackupHead) -> Value {
    json!({
        "cluster": head.cluster,
        "node": head.node,
        "index": head.last.index,
        "term": head.last.term,
        "made_at_ms": head.made_at_ms,
        "accounts": head.rows_of("accounts"),
        "conversations": head.rows_of("conversations"),
        "messages": head.rows_of("messages"),
        "rows": head.rows,
        "database_bytes": head.bytes,
        "schema": head.schema,
        "program": head.program,
        "digest": hex(&head.digest),
        "chain": hex(&head.chain),
    })
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Puts into words why a backup cannot be used.
pub(crate) fn explained(error: &BackupError) -> CommandError {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let sentence = causes.fold(error.to_string(), |all, cause| format!("{all}: {cause}"));
    let (code, hint) = match error {
        damaged if damaged.is_damage() => (
            EXIT_DAMAGED,
            "use another backup; this one cannot be trusted in any part",
        ),
        BackupError::Unpack(UnpackError::NotABackup) => (
            EXIT_USAGE,
            "name a file that conclave backup has made; its first line says so",
        ),
        BackupError::Unpack(UnpackError::Version { .. }) | BackupError::Schema { .. } => (
            EXIT_FAILED,
            "use the version of the program that made the backup: head -n 12 FILE shows it",
        ),
        _ => (
            EXIT_FAILED,
            "give it a disk with room for the database (--scratch, --data), and try again",
        ),
    };
    CommandError::new(code, sentence, hint)
}
