//! What becomes of an export of Slack, part by part.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{fs, io::Write as _, path::Path};

use serde_json::{Value, json};
use support::*;

#[test]
fn every_part_of_a_workspace_has_its_place() {
    let slack = world(&sample("slack"), "alice");
    assert_eq!(
        slack.said("rooms/general"),
        [
            "alice: Welcome @bob.smith! See #old & the rules (https://example.org/a?b=1&c=2) 🎉",
            "CI-server: Build 7 (https://ci.example.org/7)\nfailed in \
             https://ci.example.org/7/log\nBranch: main",
            "bob.smith: The plan (https://example.org/files/F1)",
            "bob.smith: waves",
            "alice: same moment",
            "alice: -",
            "u9: I am in no list",
            "alice: (this message had no text)",
            "bob.smith: thank you, @alice",
            "zo-m-ller: and for all: 1 < 2",
            "bob.smith: what did it say?",
            "bob.smith: an answer to nothing",
            "carol: I have left since",
        ]
    );
    let messages = slack.messages("rooms/general");
    assert_eq!(messages[0]["sent_at_ms"], 1_577_836_801_000_u64);
    assert_eq!(messages[0]["mentions"], json!(["bob.smith"]));
    let reactions = json!([
        {"reaction": "partyparrot", "accounts": ["bob.smith", "carol"]},
        {"reaction": "👍🏼", "accounts": ["bob.smith"]},
    ]);
    assert_eq!(messages[0]["reactions"], reactions);
    assert_eq!(messages[3]["action"], true);
    assert_eq!(messages[5]["deleted_at_ms"], 1_577_836_805_000_u64);
    let answers: Vec<&Value> = messages[8..12]
        .iter()
        .map(|message| &message["reply_to"])
        .collect();
    assert_eq!(answers, [&json!(1), &json!(1), &json!(6), &Value::Null]);
    assert_eq!(messages[8]["edited_at_ms"], 1_577_923_260_000_u64);

    assert_eq!(slack.said("rooms/old"), ["carol: an archived word"]);
    assert_eq!(slack.said("rooms/secret"), ["bob.smith: only for us"]);
    assert_eq!(
        slack.said("direct/alice+bob.smith"),
        ["alice: hello Bob", "bob.smith: hello Alice"]
    );
    assert_eq!(
        slack.said("direct/bob.smith+deploybot"),
        ["deploybot: deployed"]
    );
    assert_eq!(
        slack.said("rooms/group-alice-bob.smith-carol"),
        ["carol: three of us"]
    );
}

#[test]
fn accounts_rooms_and_members_are_mapped_and_named() {
    let slack = world(&sample("slack"), "alice");
    let account = |name: &str, field: &str| slack.account(name)[field].clone();
    assert_eq!(account("alice", "role"), "admin");
    assert_eq!(account("alice", "display_name"), "Ali");
    assert_eq!(account("bob.smith", "role"), "user");
    assert_eq!(account("bob.smith", "display_name"), "Bob Smith");
    assert_eq!(account("carol", "suspended"), true);
    assert_eq!(account("deploybot", "role"), "bot");
    assert_eq!(account("CI-server", "role"), "bot");
    assert_eq!(account("a1ice-2", "display_name"), "Not Alice");
    let reported = slack.reported("account");
    for line in [
        "alice (U1) -> alice",
        "a1ice (U5) -> a1ice-2",
        "zoë müller (U6) -> zo-m-ller",
        "U9 -> u9",
    ] {
        assert!(reported.contains(&line.to_owned()), "{line}: {reported:?}");
    }
    // The account that made a room owns it; members that have left are none.
    let members = slack.members("rooms/general");
    assert_eq!(
        members,
        [
            "a1ice-2 member",
            "alice owner",
            "bob.smith member",
            "zo-m-ller member"
        ]
    );
    assert_eq!(slack.members("rooms/old"), ["alice owner"]);
    assert_eq!(
        slack.members("rooms/secret"),
        ["alice member", "bob.smith owner"]
    );
    let rooms: Vec<(&Value, &Value, &Value)> = slack.files["rooms.jsonl"][1..]
        .iter()
        .map(|room| (&room["room"], &room["topic"], &room["public"]))
        .collect();
    assert_eq!(
        rooms,
        [
            (&json!("general"), &json!("Company-wide news"), &json!(true)),
            (
                &json!("group-alice-bob.smith-carol"),
                &Value::Null,
                &json!(false)
            ),
            (&json!("old"), &json!("What was"), &json!(true)),
            (&json!("secret"), &Value::Null, &json!(false)),
        ]
    );
    // Nothing is unread.
    let members = slack.files["members.jsonl"].iter().skip(1);
    for member in members.filter(|member| member["conversation"] == "rooms/general") {
        assert_eq!(
            (&member["delivered"], &member["read"]),
            (&json!(13), &json!(13))
        );
    }
}

#[test]
fn what_is_not_as_it_was_stands_in_the_report() {
    let slack = world(&sample("slack"), "alice");
    let first = "general/2020-01-01.json, message";
    let second = "general/2020-01-02.json, message";
    for (what, lines) in [
        (
            "notice_left_out",
            vec![format!("{first} 1 -> channel_join")],
        ),
        (
            "text_missing",
            vec![format!("{first} 9 -> (this message had no text)")],
        ),
        (
            "file_as_link",
            vec![format!(
                "{first} 4 -> The plan (https://example.org/files/F1)"
            )],
        ),
        (
            "reaction_lost",
            vec![format!(
                "{first} 2, partyparrot -> the export does not name 1 accounts"
            )],
        ),
        (
            "reply_without_message",
            vec![format!(
                "{second} 4 -> what it answers is not in the export"
            )],
        ),
        (
            "author_without_account",
            vec![
                "CI server (B9) -> CI-server".to_owned(),
                "U9 -> u9".to_owned(),
            ],
        ),
        ("owner_replaced", vec!["#old -> alice".to_owned()]),
    ] {
        let mut found = slack.reported(what);
        found.sort();
        assert_eq!(found, lines, "{what}");
        assert_eq!(slack.imported.changes[what], lines.len() as u64);
    }
    for what in ["message_lost", "room_lost", "member_lost", "change_lost"] {
        assert_eq!(slack.reported(what), Vec::<String>::new());
    }
    let text = serde_json::to_string(&slack.files).unwrap();
    assert!(
        !text.contains("xoxe-secret"),
        "the token of a file is not kept"
    );
    assert_eq!(slack.imported.messages, 19);
}

/// Packs a directory as a browser downloads it.
fn packed(directory: &Path, prefix: &str) -> tempfile::NamedTempFile {
    let made = tempfile::NamedTempFile::new().unwrap();
    let mut archive = zip::ZipWriter::new(made.reopen().unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for (name, text) in files(directory) {
        archive
            .start_file(format!("{prefix}{name}"), options)
            .unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    made
}

#[test]
fn an_archive_gives_what_its_directory_gives() {
    let directory = world(&sample("slack"), "alice");
    for prefix in ["", "My Workspace Slack export/"] {
        let archive = packed(&sample("slack"), prefix);
        let found = world(archive.path(), "alice");
        assert_eq!(found.files, directory.files);
        assert_eq!(found.report, directory.report);
    }
}

/// Writes a workspace with one channel and these messages.
fn workspace(messages: &Value) -> tempfile::TempDir {
    let made = tempfile::tempdir().unwrap();
    let write = |name: &str, value: &Value| {
        fs::write(made.path().join(name), value.to_string()).unwrap();
    };
    write(
        "users.json",
        &json!([{"id": "U1", "name": "alice"}, {"id": "U2", "name": "bob"}]),
    );
    let channel = json!({"id": "C1", "name": "general", "members": ["U1", "U2"]});
    write("channels.json", &json!([channel]));
    fs::create_dir(made.path().join("general")).unwrap();
    write("general/2020-01-01.json", messages);
    made
}

#[test]
fn a_long_text_becomes_several_messages() {
    let long = "0123456789 ".repeat(4000);
    let thread = "1577836800.000100";
    let made = workspace(&json!([
        {"user": "U1", "text": long, "ts": thread, "thread_ts": thread},
        {"user": "U2", "text": "short", "ts": "1577836801.000100", "thread_ts": thread},
    ]));
    let found = world(made.path(), "alice");
    let texts: Vec<&str> = found
        .messages("rooms/general")
        .iter()
        .map(|m| m["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts.len(), 4);
    assert_eq!(texts[..3].concat(), long);
    assert_eq!(found.messages("rooms/general")[3]["reply_to"], 1);
    assert_eq!(found.reported("text_split").len(), 1);
}

#[test]
fn what_the_rules_refuse_is_reported_and_the_rest_is_there() {
    let reactions: Vec<Value> = (0..40_usize)
        .map(|number| {
            let user = ["U1", "U2"][number % 2];
            json!({"name": format!("r{number}"), "users": [user]})
        })
        .chain([json!({"name": "not a word!", "users": ["U1"]})])
        .collect();
    let made = workspace(&json!([
        {"user": "U1", "text": "popular", "ts": "1577836800.000100", "reactions": reactions},
        {"text": "by none", "ts": "1577836801.000100"},
        {"user": "U1", "text": "without a time"},
        {"user": "U1", "text": "odd time", "ts": "soon"},
        {"user": "U2", "text": "and on", "ts": "1577836802.000100"},
    ]));
    let found = world(made.path(), "alice");
    assert_eq!(
        found.said("rooms/general"),
        ["alice: popular", "bob: and on"]
    );
    assert_eq!(found.reported("message_lost").len(), 3);
    // Eight of each account.
    assert_eq!(found.imported.reactions, 16);
    assert_eq!(found.reported("reaction_lost").len(), 25);
}

#[test]
fn a_malformed_file_is_an_error_with_its_name_and_line() {
    for (file, text, expected) in [
        (
            "users.json",
            "[\n{\"id\": \"U1\"}]",
            "users.json, line 2: missing field `name`",
        ),
        ("users.json", "{}", "users.json, line 1: invalid type"),
        (
            "channels.json",
            "[{\"id\": 7}]",
            "channels.json, line 1: invalid type: integer",
        ),
        (
            "general/2020-01-01.json",
            "[\n{},\n{\"ts\": 5}]",
            "general/2020-01-01.json, line 3",
        ),
        (
            "general/2020-01-01.json",
            "[{\"user\": \"U1\"",
            "general/2020-01-01.json, line 1: EOF",
        ),
    ] {
        let made = workspace(&json!([]));
        fs::write(made.path().join(file), text).unwrap();
        let refused = try_import(made.path(), "alice").unwrap_err();
        assert!(
            refused.to_string().starts_with(expected),
            "{file}: {refused}"
        );
    }
}
