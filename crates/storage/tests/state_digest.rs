//! The digest: it differs if any value of any table differs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;
mod story;

use conclave_storage::state::State;
use read_support::*;
use rusqlite::{Connection, params_from_iter, types::Value};
use story::*;

/// Returns another value of the same type and length.
fn another(value: Value, declared: &str) -> Value {
    match (value, declared) {
        (Value::Integer(number), _) => Value::Integer(number + 1_000_000),
        (Value::Text(text), _) => Value::Text(text + "!"),
        (Value::Blob(mut bytes), _) => {
            bytes[0] ^= 1;
            Value::Blob(bytes)
        }
        (Value::Null, "INTEGER") => Value::Integer(1),
        (Value::Null, "TEXT") => Value::Text(String::new()),
        (Value::Null, "BLOB") => Value::Blob(vec![0; 32]),
        (value, declared) => panic!("{declared} {value:?}"),
    }
}

/// Returns the digest of all rows, although they contradict what the state counts.
fn all_rows(state: &State) -> [u8; 32] {
    state.reader().digest().unwrap().digest
}

/// Sets a column of the row with this key; returns the key that the row has then.
fn set(
    connection: &Connection,
    table: &str,
    keys: &[String],
    row: &[Value],
    (column, value): (&str, &Value),
) -> Vec<Value> {
    let found: Vec<String> = keys.iter().map(|key| format!("{key} IS ?")).collect();
    let found = found.join(" AND ");
    let sql = format!("UPDATE {table} SET {column} = ? WHERE {found}");
    let values = std::iter::once(value).chain(row);
    let changed = connection.execute(&sql, params_from_iter(values)).unwrap();
    assert_eq!(changed, 1, "{sql}");
    let now = |(key, before): (&String, &Value)| match key == column {
        true => value.clone(),
        false => before.clone(),
    };
    keys.iter().zip(row).map(now).collect()
}

#[test]
fn no_value_of_any_table_changes_without_changing_the_digest() {
    let (directory, mut state) = opened();
    story(&mut state);
    let before = all_rows(&state);
    let connection = Connection::open(directory.path().join("state.db")).unwrap();
    let mut changed = 0;
    for table in tables(directory.path()) {
        let columns = |what: &str| {
            let sql = format!("SELECT name FROM pragma_table_info('{table}') WHERE {what}");
            rows(directory.path(), &sql)
        };
        let keys = columns("pk > 0");
        let sql = format!("SELECT {} FROM {table} LIMIT 1", keys.join(", "));
        let row: Vec<Value> = connection
            .query_row(&sql, [], |row| {
                (0..keys.len()).map(|at| row.get(at)).collect()
            })
            .unwrap();
        // There is one row with this number, and there can be no other.
        let is_fixed = |column: &String| column == "id" && keys.len() == 1;
        let is_single = table == "meta" || table == "membership";
        for column in columns("1") {
            if is_single && is_fixed(&column) {
                continue;
            }
            let found: Vec<String> = keys.iter().map(|key| format!("{key} IS ?")).collect();
            let sql = format!(
                "SELECT {column}, (SELECT type FROM pragma_table_info('{table}')
                    WHERE name = '{column}') FROM {table} WHERE {}",
                found.join(" AND ")
            );
            let (value, declared): (Value, String) = connection
                .query_row(&sql, params_from_iter(&row), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .unwrap();
            let other = another(value.clone(), &declared);
            let moved = set(&connection, &table, &keys, &row, (&column, &other));
            assert_ne!(all_rows(&state), before, "{table}.{column}");
            set(&connection, &table, &keys, &moved, (&column, &value));
            assert_eq!(all_rows(&state), before, "{table}.{column}");
            changed += 1;
        }
    }
    assert!(changed > 100, "only {changed} columns were tried");
}

#[test]
fn a_row_that_is_missing_changes_the_digest() {
    let (directory, mut state) = opened();
    story(&mut state);
    let before = all_rows(&state);
    while_each_table_is_empty(directory.path(), |table, is_empty| {
        assert_eq!(all_rows(&state) != before, is_empty, "{table}");
    });
}
