//! The head of a backup: which cluster, which entry, which versions, and how much.
//!
//! It is text, so that `head -n 12 FILE` shows it without this program. A reader ignores keys that
//! it does not know; a change that an older reader must not ignore raises [`FORMAT_VERSION`].

use std::{collections::BTreeMap, fmt::Write as _};

use crate::log::LogId;

/// Version of the format. A file of another version is refused.
pub const FORMAT_VERSION: u32 = 1;
/// Begin of the first line, before the version.
const MAGIC: &str = "conclave backup ";
/// Maximum length of a head in bytes: it has about 1500.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Prefix of the keys that count the rows of tables.
const ROWS: &str = "rows ";

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Name of the cluster.
    pub cluster: String,
    /// Number of the node that made it.
    pub node: u64,
    /// Last entry whose changes are in it.
    pub last: LogId,
    /// Date in milliseconds since 1970, as the cluster knew it when the backup was made.
    pub made_at_ms: u64,
    /// Version of the tables.
    pub schema: i32,
    /// Version of the program that made it.
    pub program: String,
    /// Length of the database in bytes.
    pub bytes: u64,
    /// BLAKE3 of all rows: every node has the same after the same entry.
    pub digest: [u8; 32],
    /// BLAKE3 over everything decided since the first entry.
    pub chain: [u8; 32],
    /// Number of rows of each table.
    pub rows: BTreeMap<String, u64>,
}

impl Head {
    /// Returns the number of rows of a table; 0 if the backup does not name it.
    #[must_use]
    pub fn rows_of(&self, table: &str) -> u64 {
        self.rows.get(table).copied().unwrap_or(0)
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{MAGIC}{FORMAT_VERSION}\n");
        let LogId { term, node, index } = self.last;
        let lines: [(&str, String); 11] = [
            ("cluster", self.cluster.clone()),
            ("made by node", self.node.to_string()),
            ("index", index.to_string()),
            ("term", term.to_string()),
            ("term of node", node.to_string()),
            ("made at", self.made_at_ms.to_string()),
            ("schema", self.schema.to_string()),
            ("program", self.program.clone()),
            ("bytes", self.bytes.to_string()),
            ("digest", hex(&self.digest)),
            ("chain", hex(&self.chain)),
        ];
        for (key, value) in lines {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key}: {value}");
        }
        for (table, rows) in &self.rows {
            let _ = writeln!(text, "{ROWS}{table}: {rows}");
        }
        text.push('\n');
        text
    }

    /// Reads the version of the first line; `None` if it is no backup.
    pub(super) fn version_in(line: &str) -> Option<u32> {
        let version = line.strip_prefix(MAGIC)?;
        let is_plain = version.bytes().all(|byte| byte.is_ascii_digit());
        version.parse().ok().filter(|_| is_plain)
    }

    /// Reads the lines after the first one; `None` if one is missing or cannot be read.
    pub(super) fn from_lines(text: &str) -> Option<Self> {
        let mut found = BTreeMap::new();
        for line in text.lines() {
            let (key, value) = line.split_once(": ")?;
            found.insert(key, value);
        }
        let number = |key: &str| found.get(key)?.parse::<u64>().ok();
        let text = |key: &str| found.get(key).map(|&value| value.to_owned());
        let digest = |key: &str| from_hex(found.get(key)?);
        let rows = found.iter().filter_map(|(key, value)| {
            let table = key.strip_prefix(ROWS)?;
            Some(value.parse::<u64>().map(|rows| (table.to_owned(), rows)))
        });
        Some(Self {
            cluster: text("cluster")?,
            node: number("made by node")?,
            last: LogId {
                term: number("term")?,
                node: number("term of node")?,
                index: number("index")?,
            },
            made_at_ms: number("made at")?,
            schema: i32::try_from(number("schema")?).ok()?,
            program: text("program")?,
            bytes: number("bytes")?,
            digest: digest("digest")?,
            chain: digest("chain")?,
            rows: rows.collect::<Result<_, _>>().ok()?,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (digits, rest) = text.as_bytes().as_chunks::<2>();
    if digits.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(digits) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}
