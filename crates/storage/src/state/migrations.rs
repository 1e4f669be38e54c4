//! The versions of the tables, and the steps from each to the next.
//!
//! A directory is brought to the newest version when it is opened, one transaction for each step; a
//! new one takes all steps from the first on, so that old and new directories have the same tables.
//! A step adds tables or columns that an earlier build may leave alone, so that a node can go back
//! to the previous release: `docs/data.md` says how to change the tables.
//!
//! Always true: a crash in a step leaves the version before it, whole.

use rusqlite::{Connection, OptionalExtension as _, Result, Transaction, TransactionBehavior};

use super::error::OpenError;

/// Marks the file as ours ("Conc").
pub(super) const APPLICATION_ID: i32 = 0x436f_6e63;

/// A step to the next version of the tables.
struct Step {
    /// The version after it.
    to: i32,
    /// Changes the tables and their rows, also what `format` says of them. It knows no clock and no
    /// randomness, and decides nothing that is in the log.
    run: fn(&Transaction<'_>) -> Result<()>,
}

/// All steps, in order. A step that a release has had is never changed.
const STEPS: [Step; 3] = [
    Step {
        to: 10,
        run: |transaction| transaction.execute_batch(include_str!("schema/10.sql")),
    },
    Step {
        to: 11,
        run: |transaction| transaction.execute_batch(include_str!("schema/11.sql")),
    },
    Step {
        to: 12,
        run: |transaction| transaction.execute_batch(include_str!("schema/12.sql")),
    },
];

/// The version of the tables that this build writes.
pub const SCHEMA_VERSION: i32 = STEPS[STEPS.len() - 1].to;
/// The lowest version that this build brings to its own.
pub const SCHEMA_OLDEST: i32 = STEPS[0].to;
/// The first version whose files say it in a table, too.
const SCHEMA_WITH_FORMAT: i32 = 11;
/// The first version in which the state has a cluster version.
const SCHEMA_WITH_CLUSTER_VERSION: i32 = 11;

/// Returns the version of the tables of a file; 0 if it has none.
pub(super) fn version_of(connection: &Connection) -> Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Refuses files with tables that this build can neither use nor bring to its own version.
pub(super) fn check_version(connection: &Connection) -> Result<(), OpenError> {
    let found = version_of(connection)?;
    let (oldest, newest) = (SCHEMA_OLDEST, SCHEMA_VERSION);
    let said = format_of(connection)?;
    let (version, readable_from) = said.unwrap_or((found.min(SCHEMA_WITH_FORMAT - 1), found));
    if version != found {
        return Err(OpenError::TwoVersions { found, version });
    }
    if found < oldest {
        return Err(OpenError::TooOld {
            found,
            oldest,
            newest,
        });
    }
    if found > newest && readable_from > newest {
        return Err(OpenError::TooNew {
            found,
            oldest,
            newest,
        });
    }
    Ok(())
}

/// Returns the version of the tables and the lowest version whose builds can read them, as the file
/// says in a table; `None` before there was one.
fn format_of(connection: &Connection) -> Result<Option<(i32, i32)>> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE name = 'format'";
    if connection
        .query_row(sql, [], |_| Ok(()))
        .optional()?
        .is_none()
    {
        return Ok(None);
    }
    let sql = "SELECT version, readable_from FROM format WHERE id = 1";
    let said = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Some(said))
}

/// Returns whether the tables of a file have the cluster version.
pub(super) fn has_cluster_version(connection: &Connection) -> Result<bool> {
    Ok(version_of(connection)? >= SCHEMA_WITH_CLUSTER_VERSION)
}

/// Brings the tables to the newest version. A file of a later one that this build can read stays as
/// it is.
pub(super) fn run(connection: &mut Connection) -> Result<()> {
    let found = version_of(connection)?;
    for step in STEPS.iter().filter(|step| step.to > found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        (step.run)(&transaction)?;
        // With the first tables, so that no interrupted opening leaves a file that is not ours.
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", step.to)?;
        transaction.commit()?;
    }
    let newest = SCHEMA_VERSION;
    if found != 0 && found < newest {
        tracing::info!(
            from = found,
            to = newest,
            "the tables of the state were migrated"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a file whose tables have this version.
    fn at_version(version: i32) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        for step in STEPS.iter().filter(|step| step.to <= version) {
            let transaction = connection.transaction().unwrap();
            (step.run)(&transaction).unwrap();
            transaction
                .pragma_update(None, "user_version", step.to)
                .unwrap();
            transaction.commit().unwrap();
        }
        connection
    }

    fn tables(connection: &Connection) -> Vec<String> {
        let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_>>().unwrap()
    }

    #[test]
    fn every_version_is_brought_to_the_same_tables() {
        let newest = tables(&at_version(SCHEMA_VERSION));
        for version in std::iter::once(0).chain(STEPS.iter().map(|step| step.to)) {
            let mut connection = at_version(version);
            run(&mut connection).unwrap();
            assert_eq!(tables(&connection), newest, "{version}");
            assert_eq!(version_of(&connection).unwrap(), SCHEMA_VERSION);
        }
        let versions: Vec<i32> = STEPS.iter().map(|step| step.to).collect();
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    }

    #[test]
    fn a_file_of_a_later_build_is_opened_only_if_it_says_so() {
        let mut later = at_version(SCHEMA_VERSION);
        let next = SCHEMA_VERSION + 1;
        later.pragma_update(None, "user_version", next).unwrap();
        let refused = check_version(&later).unwrap_err();
        assert!(refused.is_damage(), "{refused}");
        later
            .execute("UPDATE format SET version = ?1", [next])
            .unwrap();
        assert!(check_version(&later).is_ok(), "it adds only");
        run(&mut later).unwrap();
        assert_eq!(version_of(&later).unwrap(), next, "it stays as it is");
        later
            .execute("UPDATE format SET readable_from = ?1", [next])
            .unwrap();
        let refused = check_version(&later).unwrap_err();
        assert!(matches!(refused, OpenError::TooNew { .. }), "{refused}");
        later
            .pragma_update(None, "user_version", SCHEMA_OLDEST)
            .unwrap();
        let refused = check_version(&later).unwrap_err();
        assert!(refused.is_damage(), "{refused}");
        let older = at_version(SCHEMA_OLDEST);
        assert!(check_version(&older).is_ok());
        older
            .pragma_update(None, "user_version", SCHEMA_OLDEST - 1)
            .unwrap();
        let refused = check_version(&older).unwrap_err();
        assert!(matches!(refused, OpenError::TooOld { .. }), "{refused}");
    }
}
