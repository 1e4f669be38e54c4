//! The digest of the whole state: every row of every table, in order of the primary keys.
//!
//! Two nodes that have applied the same entries give the same digest, whatever their builds: what
//! is in it follows from the cluster version of the state alone. It reads everything: asked for by
//! operators and tests, and made once per snapshot. Nodes compare their rows in short steps instead
//! (`ranges.rs`).

use blake3::Hasher;
use conclave_core::ClusterVersion;
use rusqlite::{Connection, Result, types::ValueRef};

use super::chain;
use crate::{
    log::LogId,
    state::{
        ReadError, Reader,
        meta::{self, Meta},
    },
};

/// A table as digests read it.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The columns of the primary key.
    pub(crate) key: &'static str,
    /// The cluster version from which on digests have the table. Tables are in order of it.
    since: ClusterVersion,
    /// The columns of every digest, in this order for ever.
    columns: &'static str,
    /// Columns that digests have from a cluster version on.
    added: &'static [(ClusterVersion, &'static str)],
}

/// Every table but the seal and what belongs to the file alone. Digests name their columns, so that
/// a column that only some builds have changes no digest; how a value is fed never changes.
pub(crate) const TABLES: [Table; 31] = [
    Table {
        name: "meta",
        key: "id",
        since: ClusterVersion::FIRST,
        columns: "id, applied_term, applied_node, applied_index, log_time, date, account_last, \
         accounts, session_last, conversation_last, once_last, orphan_last, orphans, \
         admins, rooms, invite_last, invites, webhook_last, throttles, changes, \
         changes_after, setup_token, node_last, preferred_leader, authority_generation, \
         authority_next, messages, chain",
        added: &[
            (ClusterVersion(2), "cluster_version"),
            (ClusterVersion(3), "ack_all"),
            (
                ClusterVersion::RETENTION,
                "keep_ms, keep_messages, rooms_may_exceed, keep_total, aged_since",
            ),
            (
                ClusterVersion::AUDIT,
                "audit_last, audit_entries, audit_refusals",
            ),
        ],
    },
    table("membership", "id", "id, term, node, log_index, bytes"),
    table("chain_points", "log_index", "log_index, chain"),
    table(
        "accounts",
        "id",
        "id, name, key, skeleton, password_hash, password_version, created_at, role, \
         display_name, suspended",
    ),
    table(
        "allowances",
        "account",
        "account, messages, bytes, edits, reactions, deletions, positions, rooms, \
         changes, conversations, stored_bytes",
    ),
    table("account_limits", "number", "number, value"),
    table(
        "sessions",
        "id",
        "id, account, token, opened_at, expires_at, closed, label, began_at, used_at",
    ),
    table(
        "answers",
        "session, slot",
        "session, slot, number, digest, answer, log_index",
    ),
    table(
        "once_answers",
        "number",
        "number, id, pool, digest, answer, log_index, forget_at",
    ),
    table("once_pools", "pool", "pool, answers"),
    Table {
        name: "conversations",
        key: "id",
        since: ClusterVersion::FIRST,
        columns: "id, direct_low, direct_high, opened_at, name, key, topic, public, members, \
         message_last",
        added: &[(
            ClusterVersion::RETENTION,
            "keep_ms, keep_messages, forgotten, forgotten_at",
        )],
    },
    Table {
        name: "members",
        key: "conversation, account",
        since: ClusterVersion::FIRST,
        columns: "conversation, account, delivered, read, sent_read, advanced_at, role, joined_at",
        added: &[(ClusterVersion::RETENTION, "sent_forgotten")],
    },
    table(
        "invitations",
        "conversation, account",
        "conversation, account, by_account",
    ),
    Table {
        name: "messages",
        key: "position",
        since: ClusterVersion::FIRST,
        columns: "position, conversation, sequence, by_account, sent_at, text, deleted_at, \
         edited_at, reply_to, action, ordinal, in_room",
        added: &[(ClusterVersion::RETENTION, "log_time")],
    },
    table(
        "mentions",
        "conversation, sequence, account",
        "conversation, sequence, account, late",
    ),
    table(
        "reactions",
        "conversation, sequence, account, reaction",
        "conversation, sequence, account, reaction",
    ),
    table(
        "reaction_counts",
        "conversation, sequence, reaction",
        "conversation, sequence, reaction, count",
    ),
    table(
        "changes",
        "position",
        "position, kind, conversation, account, sequence, subject, by_account, value",
    ),
    table(
        "hidden",
        "account, conversation, sequence",
        "account, conversation, sequence",
    ),
    table("blocks", "account, other", "account, other"),
    table(
        "invites",
        "id",
        "id, code, by_account, expires_at, uses_left",
    ),
    table(
        "join_tokens",
        "token",
        "token, expires_at, voter, by_operator, created_at",
    ),
    table("date_steps", "log_index", "log_index"),
    table(
        "operators",
        "key",
        "key, name, token, by_operator, created_at",
    ),
    table("cluster_nodes", "node", "node"),
    table("retired_nodes", "node", "node"),
    table(
        "webhooks",
        "id",
        "id, token, conversation, account, by_account, created_at",
    ),
    table("throttles", "key", "key, failures, not_before, failed_at"),
    table("login_places", "place", "place, account, used_at"),
    Table {
        name: "orphans",
        key: "number",
        since: ClusterVersion::FIRST,
        columns: "number, conversation, sequence, account",
        added: &[(ClusterVersion::RETENTION, "through")],
    },
    Table {
        name: "audit",
        key: "sequence",
        since: ClusterVersion::AUDIT,
        columns: "sequence, log_index, log_time, date, actor_kind, actor, actor_name, act, target, \
         detail, refusal, noted_refusal",
        added: &[],
    },
];

const fn table(name: &'static str, key: &'static str, columns: &'static str) -> Table {
    Table {
        name,
        key,
        since: ClusterVersion::FIRST,
        columns,
        added: &[],
    }
}

/// Returns the tables of a digest of a state that has this cluster version.
pub(crate) fn tables(version: ClusterVersion) -> &'static [Table] {
    let later = TABLES.iter().position(|table| table.since > version);
    &TABLES[..later.unwrap_or(TABLES.len())]
}

impl Table {
    /// Returns the columns of a digest of a state that has this cluster version, in order.
    pub(crate) fn columns(&self, version: ClusterVersion) -> String {
        let later = self.added.iter().filter(|(since, _)| *since <= version);
        let later = later.map(|(_, column)| *column);
        std::iter::once(self.columns)
            .chain(later)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

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
    let Some((digest, messages)) = of_rows(connection, pause)? else {
        return Ok(None);
    };
    Ok(Some(Digest {
        applied: meta.applied,
        digest,
        chain: meta.chain,
        messages,
        accounts: meta.accounts,
    }))
}

/// Returns the digest of the rows of a file whose tables may be of an earlier build, and how many
/// messages it has. `None` if `pause` said to stop.
pub(crate) fn of_rows(
    connection: &Connection,
    pause: &mut dyn FnMut() -> bool,
) -> Result<Option<([u8; 32], u64)>> {
    let version = meta::cluster_version_of(connection)?;
    let mut hasher = Hasher::new();
    let mut messages = 0;
    for table in tables(version) {
        let Some(rows) = feed_table(connection, &mut hasher, (table, version), pause)? else {
            return Ok(None);
        };
        if table.name == "messages" {
            messages = rows;
        }
    }
    Ok(Some((hasher.finalize().into(), messages)))
}

fn feed_table(
    connection: &Connection,
    hasher: &mut Hasher,
    (table, version): (&Table, ClusterVersion),
    pause: &mut dyn FnMut() -> bool,
) -> Result<Option<u64>> {
    let Table { name, key, .. } = table;
    chain::bytes(hasher, name.as_bytes());
    let columns = table.columns(version);
    let sql = format!("SELECT {columns} FROM {name} ORDER BY {key}");
    let mut statement = connection.prepare(&sql)?;
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
