//! The digest of the whole state: every row of every table, in order of the primary keys.
//!
//! Two nodes that have applied the same entries give the same digest. It reads everything: asked
//! for by operators and tests, and made once per snapshot. Nodes compare their rows in short steps
//! instead (`ranges.rs`).

use blake3::Hasher;
use rusqlite::{Connection, Result, types::ValueRef};

use super::chain;
use crate::{
    log::LogId,
    state::{ReadError, Reader, meta::Meta},
};

/// Every table but the seal, with its primary key.
pub(crate) const TABLES: [(&str, &str); 30] = [
    ("meta", "id"),
    ("membership", "id"),
    ("chain_points", "log_index"),
    ("accounts", "id"),
    ("allowances", "account"),
    ("account_limits", "number"),
    ("sessions", "id"),
    ("answers", "session, slot"),
    ("once_answers", "number"),
    ("once_pools", "pool"),
    ("conversations", "id"),
    ("members", "conversation, account"),
    ("invitations", "conversation, account"),
    ("messages", "position"),
    ("mentions", "conversation, sequence, account"),
    ("reactions", "conversation, sequence, account, reaction"),
    ("reaction_counts", "conversation, sequence, reaction"),
    ("changes", "position"),
    ("hidden", "account, conversation, sequence"),
    ("blocks", "account, other"),
    ("invites", "id"),
    ("join_tokens", "token"),
    ("date_steps", "log_index"),
    ("operators", "key"),
    ("cluster_nodes", "node"),
    ("retired_nodes", "node"),
    ("webhooks", "id"),
    ("throttles", "key"),
    ("login_places", "place"),
    ("orphans", "number"),
];

/// The state in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Of the state after this entry.
    pub applied: Option<LogId>,
    /// BLAKE3 of all rows.
    pub digest: [u8; 32],
    /// BLAKE3 over all answers and events since the first entry.
    pub chain: [u8; 32],
    /// How many messages there are, deleted ones included.
    pub messages: u64,
    /// How many accounts there are.
    pub accounts: u64,
}

/// The state in numbers, without a look at its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Of the state after this entry.
    pub applied: Option<LogId>,
    /// BLAKE3 over all answers and events since the first entry.
    pub chain: [u8; 32],
    /// How many messages there are, deleted ones included.
    pub messages: u64,
    /// How many accounts there are.
    pub accounts: u64,
}

impl Reader {
    /// Returns what the state counts while it is written.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn counts(&self) -> std::result::Result<Counts, ReadError> {
        let meta = self.read(Meta::load)?;
        Ok(Counts {
            applied: meta.applied,
            chain: meta.chain,
            messages: meta.messages,
            accounts: meta.accounts,
        })
    }

    /// Returns the digest of the whole state. Reads all of it: takes seconds per gigabyte.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn digest(&self) -> std::result::Result<Digest, ReadError> {
        self.read(of)
    }
}

/// Rows between two pauses: a fraction of a millisecond.
const ROWS_AT_ONCE: u64 = 256;

/// Returns the digest of an open database.
pub(crate) fn of(connection: &Connection) -> Result<Digest> {
    let found = with_pauses(connection, &mut || true)?;
    Ok(found.expect("the read is not ended early"))
}

/// Returns the same digest; `pause` is called every few hundred rows. `None` if that said to stop.
pub(crate) fn with_pauses(
    connection: &Connection,
    pause: &mut dyn FnMut() -> bool,
) -> Result<Option<Digest>> {
    let meta = Meta::load(connection)?;
    let mut hasher = Hasher::new();
    let mut messages = 0;
    for (table, key) in TABLES {
        let Some(rows) = feed_table(connection, &mut hasher, (table, key), pause)? else {
            return Ok(None);
        };
        if table == "messages" {
            messages = rows;
        }
    }
    Ok(Some(Digest {
        applied: meta.applied,
        digest: hasher.finalize().into(),
        chain: meta.chain,
        messages,
        accounts: meta.accounts,
    }))
}

fn feed_table(
    connection: &Connection,
    hasher: &mut Hasher,
    (table, key): (&str, &str),
    pause: &mut dyn FnMut() -> bool,
) -> Result<Option<u64>> {
    chain::bytes(hasher, table.as_bytes());
    let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY {key}"))?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        hasher.update(b"r");
        for column in 0..columns {
            feed_value(hasher, row.get_ref(column)?);
        }
        seen += 1;
        if seen % ROWS_AT_ONCE == 0 && !pause() {
            return Ok(None);
        }
    }
    Ok(Some(seen))
}

pub(super) fn feed_value(hasher: &mut Hasher, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => {
            hasher.update(b"n");
        }
        ValueRef::Integer(number) => {
            hasher.update(b"i");
            hasher.update(&number.to_le_bytes());
        }
        ValueRef::Real(number) => {
            hasher.update(b"f");
            hasher.update(&number.to_bits().to_le_bytes());
        }
        ValueRef::Text(text) => {
            hasher.update(b"t");
            chain::bytes(hasher, text);
        }
        ValueRef::Blob(blob) => {
            hasher.update(b"b");
            chain::bytes(hasher, blob);
        }
    }
}
