//! SQLite's query plans: no statement that runs per message, request or page scans a table.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;

use std::{fs, path::Path};

use read_support::opened;

/// Sources whose statements scan whole tables on purpose, seldom.
const WHOLE: [&str; 7] = [
    "database",
    "digest",
    "install",
    "migrations",
    "snapshot",
    "search",
    "witness",
];

/// Source with pieces of statements.
const PIECES: &str = "sent";

/// Returns the string literals of a source, each with the text before and after it.
fn literals(text: &str) -> Vec<(&str, &str, &str)> {
    let parts: Vec<&str> = text.split('"').collect();
    let inner = (1..parts.len().saturating_sub(1)).step_by(2);
    inner
        .map(|at| {
            (
                parts[at - 1].trim_end(),
                parts[at].trim(),
                parts[at + 1].trim_start(),
            )
        })
        .collect()
}

/// Returns the text that each macro puts before the literal that it gets.
fn heads(text: &str) -> Vec<(String, String)> {
    let is_head =
        |after: &str| after.starts_with(',') && after[1..].trim_start().starts_with("$rest");
    let named = |before: &str| {
        let (_, name) = before.rsplit_once("macro_rules! ")?;
        name.split_whitespace().next().map(str::to_owned)
    };
    literals(text)
        .into_iter()
        .filter(|(_, _, after)| is_head(after))
        .filter_map(|(before, sql, _)| Some((named(before)?, sql.to_owned())))
        .collect()
}

fn sources(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if WHOLE.contains(&stem.as_str()) || stem == PIECES {
            continue;
        } else if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// Returns a source in which the pieces of SQL of `sent.rs` stand where they are named.
fn filled(text: &str, pieces: &str) -> String {
    let (_, body) = pieces.split_once("concat!(").unwrap();
    let (body, _) = body.split_once("\n        )\n").unwrap();
    let body: Vec<&str> = body.split('"').collect();
    let mut filled = text.replace("sent!(", "sent_up_to!(");
    while let Some((before, rest)) = filled.split_once("sent_up_to!(\"") {
        let (arguments, after) = rest.split_once("\")").unwrap();
        let arguments: Vec<&str> = arguments.split("\", \"").collect();
        let sequence = arguments.get(2).unwrap_or(&"1");
        // Literals, and between them the names of pieces.
        let piece = |(at, piece): (usize, &&str)| match piece.trim_matches([',', ' ', '\n']) {
            "$conversation" => arguments[0].to_owned(),
            "$account" => arguments[1].to_owned(),
            "$sequence" => (*sequence).to_owned(),
            _ if at % 2 == 1 => (*piece).to_owned(),
            _ => String::new(),
        };
        let sql: Vec<String> = body.iter().enumerate().map(piece).collect();
        let before = before
            .trim_end()
            .trim_end_matches(',')
            .trim_end_matches('"');
        let after = after.trim_start_matches(',').trim_start();
        let after = after.strip_prefix('"').unwrap_or("\"");
        filled = format!("{before} {} {after}", sql.join(" "));
    }
    filled
}

/// Returns the statements, as they stand in the sources.
fn statements() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/state");
    let pieces = fs::read_to_string(folder.join(PIECES).with_extension("rs")).unwrap();
    let texts: Vec<String> = sources(&folder)
        .iter()
        .map(|text| filled(text, &pieces))
        .collect();
    let heads: Vec<_> = texts.iter().flat_map(|text| heads(text)).collect();
    assert_eq!(heads.len(), 4, "{heads:?}");
    let verbs = ["SELECT ", "UPDATE ", "DELETE ", "INSERT "];
    let mut found = Vec::new();
    for text in &texts {
        for (before, sql, after) in literals(text) {
            let of_macro = |(name, _): &&(String, String)| before.ends_with(&format!("{name}!("));
            if let Some((_, head)) = heads.iter().find(of_macro) {
                found.push(format!("{head} {sql}"));
            } else if verbs.iter().any(|verb| sql.starts_with(verb))
                && !after.starts_with(",\n            $rest")
                // A witness removes all rows of the tables that it does without.
                && !sql.contains("{table}")
            {
                // A statement for each table, from a row on.
                let key = "conversation, sequence, account, reaction";
                let after = format!("({key}) > (1, 1, 1, '')");
                let sql = sql.replace("{name}", "reactions");
                let sql = sql.replace("{columns}", "reaction");
                let sql = sql.replace("1{}{}", &after);
                found.push(sql.replace("{key}", key));
            }
        }
    }
    assert!(
        found.len() > 100,
        "only {} statements were found",
        found.len()
    );
    found
}

#[test]
fn no_statement_scans_a_table() {
    let (directory, state) = opened();
    let connection = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    for sql in statements() {
        let mut plan = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap_or_else(|error| panic!("{sql}\n{error}"));
        let unbound = (1..=plan.parameter_count()).map(|_| rusqlite::types::Null);
        let rows = plan.query_map(rusqlite::params_from_iter(unbound), |row| row.get(3));
        for step in rows.unwrap() {
            let step: String = step.unwrap();
            // A scan in the order of a key and up to a limit is not a scan of the table.
            let has_limit = [
                "number",
                "key",
                "node",
                "token",
                "position",
                "log_index",
                "log_index DESC",
                "i.id",
                "failures, failed_at, key",
                "expires_at, token",
            ]
            .iter()
            .any(|key| sql.contains(&format!("ORDER BY {key} LIMIT")));
            let is_bounded = has_limit
                || step.starts_with("SCAN (subquery")
                || step == "SCAN h"
                || step == "SCAN n"
                || step.contains("CONSTANT ROW");
            assert!(!step.starts_with("SCAN") || is_bounded, "{sql}\n{step}");
            assert!(!step.contains("TEMP B-TREE"), "{sql}\n{step}");
        }
    }
    drop(state);
}

#[test]
fn sqlite_is_built_without_a_lock_that_all_connections_share() {
    let (directory, _state) = opened();
    let connection = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    let mut statement = connection.prepare("PRAGMA compile_options").unwrap();
    let options = statement.query_map([], |row| row.get(0)).unwrap();
    let options: Vec<String> = options.collect::<Result<_, _>>().unwrap();
    // See .cargo/config.toml.
    assert!(options.iter().any(|option| option == "DEFAULT_MEMSTATUS=0"));
    let shared = "ENABLE_MEMORY_MANAGEMENT";
    assert!(
        !options.iter().any(|option| option == shared),
        "{options:?}"
    );
}
