//! An export of Conclave that is imported and exported again gives the same files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::too_many_lines, reason = "a test tells its story in one piece")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use support::*;

/// Writes an export with one of everything.
fn write(directory: &Path) {
    for (name, text) in files(&sample("conclave")) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn an_export_that_was_imported_gives_the_same_files() {
    let source = tempfile::tempdir().unwrap();
    write(source.path());
    let expected = files(source.path());
    let first = world(source.path(), "Alice");
    let out = first.directory.path().join("export");
    let found = files(&out);
    for (name, text) in &expected {
        assert_eq!(found.get(name), Some(text), "{name}");
    }
    assert_eq!(found.len(), expected.len(), "{:?}", found.keys());
    for what in first.imported.changes.keys() {
        assert!(
            ["account", "room"].contains(&what.as_str()),
            "{:?}",
            first.report
        );
    }
    // Other users of the machine read none of it.
    for name in found.keys() {
        let mode = fs::metadata(out.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(
        fs::metadata(&out).unwrap().permissions().mode() & 0o777,
        0o700
    );
    // And once more, with another administrator.
    let second = world(&out, "dave");
    let again = files(&second.directory.path().join("export"));
    assert_eq!(again, found);
    let all: String = again.values().map(String::as_str).collect();
    assert!(!all.contains("argon2"), "there is a hash of a password");
}

#[test]
fn an_administrator_that_is_not_in_the_export_is_made() {
    let source = tempfile::tempdir().unwrap();
    write(source.path());
    let made = world(source.path(), "root");
    assert_eq!(made.account("root")["role"], "admin");
    assert_eq!(made.account("Alice")["role"], "admin");
    for (name, why) in [
        ("ci", "that account is a program's"),
        ("b0b", "has a name that looks the same"),
        ("deleted-1", "a deleted account"),
    ] {
        let refused = try_import(source.path(), name).unwrap_err();
        assert!(refused.to_string().contains(why), "{name}: {refused}");
    }
    // Of two spellings the one of the export stays.
    assert_eq!(
        world(source.path(), "alice").account("Alice")["role"],
        "admin"
    );
}

#[test]
fn a_directory_with_something_in_it_is_not_exported_into() {
    let source = tempfile::tempdir().unwrap();
    write(source.path());
    let made = world(source.path(), "Alice");
    let origin = conclave_transfer::Origin {
        cluster: String::new(),
        entry: 1,
        made_at_ms: 1,
        messages: 1,
    };
    let before = files(source.path());
    let exported = |directory: &Path| {
        let snapshot = &made.imported.snapshot;
        conclave_transfer::export(snapshot, &origin, directory, &mut |_, _| {})
    };
    exported(source.path()).unwrap_err();
    assert_eq!(files(source.path()), before);
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(exported(empty.path()).unwrap().messages, 13);
    let file = made.directory.path().join("export/export.json");
    exported(&file).unwrap_err();
}

#[test]
fn a_changed_export_is_an_error_with_file_and_line() {
    let ops = fs::read_to_string(sample("conclave/rooms/ops.jsonl")).unwrap();
    for (file, from, to, expected) in [
        (
            "export.json",
            r#""messages":13"#,
            r#""messages":14"#,
            "export.json, line 1: it counts 14",
        ),
        (
            "export.json",
            r#"export":1"#,
            r#"export":2"#,
            "export.json, line 1: the export has version 2",
        ),
        (
            "accounts.jsonl",
            r#"export":1"#,
            r#"export":9"#,
            "accounts.jsonl, line 1: the export has",
        ),
        (
            "accounts.jsonl",
            r#""role":"bot""#,
            r#""role":"king""#,
            "accounts.jsonl, line 5: unknown",
        ),
        (
            "accounts.jsonl",
            r#""account":"bob""#,
            r#""account":"b b""#,
            "accounts.jsonl, line 3: no account can be named",
        ),
        (
            "accounts.jsonl",
            r#""account":"dave""#,
            r#""account":"Alice""#,
            "accounts.jsonl, line 6: ",
        ),
        (
            "accounts.jsonl",
            r#"["Carol"]"#,
            r#"["Eve"]"#,
            "accounts.jsonl, line 3: no account \"Eve\"",
        ),
        (
            "members.jsonl",
            "rooms/ops",
            "rooms/oops",
            "members.jsonl, line 5: no conversation",
        ),
        (
            "rooms.jsonl",
            r#""messages":7"#,
            r#""messages":6"#,
            "rooms/General.jsonl, line 8: it has 7",
        ),
        (
            "rooms/General.jsonl",
            r#""sequence":3"#,
            r#""sequence":4"#,
            "rooms/General.jsonl, line 4: the sequence",
        ),
        (
            "rooms/General.jsonl",
            "rooms/General",
            "rooms/ops",
            "rooms/General.jsonl, line 1: it is another file",
        ),
        (
            "rooms/General.jsonl",
            r#""author":"ci""#,
            r#""author":"Eve""#,
            "rooms/General.jsonl, line 6: no account",
        ),
        (
            "rooms/General.jsonl",
            r#","action":true"#,
            r#","colour":7"#,
            "rooms/General.jsonl, line 6: unknown field",
        ),
        (
            "rooms/General.jsonl",
            r#","deleted_at_ms":1600000009000"#,
            "",
            "rooms/General.jsonl, line 5: a message has either",
        ),
        (
            "rooms/ops.jsonl",
            r#"{"sequence":1"#,
            r#"{"sequence":1,"#,
            "rooms/ops.jsonl, line 2: ",
        ),
        (
            "rooms/ops.jsonl",
            &ops,
            "",
            "rooms/ops.jsonl, line 1: it is empty",
        ),
    ] {
        let source = tempfile::tempdir().unwrap();
        write(source.path());
        let path = source.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} {from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let refused = try_import(source.path(), "Alice").unwrap_err();
        assert!(
            refused.to_string().starts_with(expected),
            "{from}: {refused}"
        );
        assert!(refused.is_about_the_source());
    }
    for file in ["members.jsonl", "rooms/ops.jsonl"] {
        let source = tempfile::tempdir().unwrap();
        write(source.path());
        fs::remove_file(source.path().join(file)).unwrap();
        let refused = try_import(source.path(), "Alice").unwrap_err();
        assert!(refused.to_string().contains(file), "{file}: {refused}");
    }
}

#[test]
fn messages_that_were_forgotten_keep_their_numbers() {
    let source = tempfile::tempdir().unwrap();
    write(source.path());
    let path = source.path().join("rooms/ops.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(r#""sequence":1"#, r#""sequence":4"#)).unwrap();
    let made = world(source.path(), "Alice");
    assert_eq!(
        made.said("rooms/ops"),
        ["bob: -", "bob: -", "bob: -", "bob: quiet"]
    );
    let reported = made.reported("message_forgotten");
    let charged = "rooms/ops.jsonl -> 3 deleted messages, 768 stored bytes of bob";
    assert_eq!(reported, [charged]);
    // No more than there can be.
    let endless = r#""sequence":18446744073709551615"#;
    fs::write(&path, text.replace(r#""sequence":1"#, endless)).unwrap();
    let refused = try_import(source.path(), "Alice").unwrap_err().to_string();
    assert!(
        refused.starts_with("rooms/ops.jsonl, line 2: the sequence is"),
        "{refused}"
    );
}
