//! The state of a witness: of the log it decides what concerns the cluster alone, and passes over
//! the rest.
//!
//! The rules of the cluster (members, operators, tokens, its version and its secret) read no row of
//! people, so a witness decides them as every full node does. What it writes otherwise differs: its
//! chain and its rows are compared with those of no other node.
//!
//! Always true: its database has no row of people, also not after a snapshot of a full node.

use conclave_core::{Command, Operation};
use rusqlite::{Connection, Result, TransactionBehavior};

/// Tables with rows of people.
const OF_PEOPLE: [&str; 21] = [
    "accounts",
    "allowances",
    "sessions",
    "answers",
    "conversations",
    "members",
    "invitations",
    "messages",
    "mentions",
    "reactions",
    "reaction_counts",
    "changes",
    "hidden",
    "blocks",
    "invites",
    "webhooks",
    "throttles",
    "login_places",
    "orphans",
    "audit",
    "seal",
];

/// Returns whether a witness decides this command.
pub(super) fn decides(command: &Command) -> bool {
    matches!(command.operation, Operation::Cluster(_))
}

/// Removes the rows of people, if there are any, and gives their room back to the disk. A crash in
/// between leaves all of them, and the next opening removes them.
pub(super) fn strip(connection: &mut Connection) -> Result<()> {
    let mut found = false;
    for table in OF_PEOPLE {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table})");
        found |= connection.query_row(&sql, [], |row| row.get::<_, bool>(0))?;
    }
    if !found {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for table in OF_PEOPLE {
        transaction.execute(&format!("DELETE FROM {table}"), [])?;
    }
    // Greatest numbers stay: they say what was given out, not what is there.
    transaction.execute(
        "UPDATE meta SET accounts = 0, messages = 0, orphans = 0, admins = 0, rooms = 0,
            invites = 0, throttles = 0, changes = 0, setup_token = NULL,
            audit_entries = 0, audit_refusals = 0 WHERE id = 1",
        [],
    )?;
    transaction.commit()?;
    connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
}
