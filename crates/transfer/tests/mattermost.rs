//! What becomes of a bulk export of Mattermost, part by part.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{fs, io::Write as _};

use serde_json::{Value, json};
use support::*;

const LONG: &str = "a-name-of-more-than-thirty-two-c";

#[test]
fn every_part_of_a_server_has_its_place() {
    let found = world(&sample("mattermost/export.jsonl"), "ann");
    let second = format!("ben: second, with @{LONG} and @ann");
    assert_eq!(
        found.said("rooms/town-square"),
        [
            "ann: first",
            &second,
            "ben: [file: plan.pdf]",
            "ann: a reply 😄",
            "unlisted: me too",
        ]
    );
    let messages = found.messages("rooms/town-square");
    assert_eq!(messages[1]["edited_at_ms"], 1_600_000_009_000_u64);
    assert_eq!(messages[1]["sent_at_ms"], 1_600_000_002_000_u64);
    let reactions = json!([{"reaction": "👍", "accounts": ["ann", "ben"]}]);
    assert_eq!(messages[1]["reactions"], reactions);
    assert_eq!(messages[3]["reply_to"], 2);
    assert_eq!(messages[4]["reply_to"], 2);
    assert_eq!(found.said("direct/ann+ben"), ["ann: hi Ben", "ben: hi Ann"]);
    assert_eq!(found.said("direct/ann+ann"), ["ann: to myself"]);
    assert_eq!(
        found.said("rooms/group-ann-ben-reminder"),
        ["reminder: lunch"]
    );
    assert_eq!(found.said("rooms/board"), Vec::<String>::new());

    assert_eq!(found.account("ann")["role"], "admin");
    assert_eq!(found.account("ann")["display_name"], "Ann Lee");
    assert_eq!(found.account("ben")["display_name"], "Benny");
    assert_eq!(found.account(LONG)["suspended"], true);
    assert_eq!(found.account("reminder")["role"], "bot");
    assert_eq!(
        found.members("rooms/town-square"),
        ["ann owner", "ben member"]
    );
    assert_eq!(found.members("rooms/board"), ["ann owner"]);
    let topics: Vec<&Value> = found.files["rooms.jsonl"][1..]
        .iter()
        .map(|room| &room["topic"])
        .collect();
    assert_eq!(
        topics,
        [&json!("Quiet"), &json!("three"), &json!("All of us")]
    );
}

#[test]
fn what_is_not_as_it_was_stands_in_the_report() {
    let found = world(&sample("mattermost/export.jsonl"), "ann");
    for (what, lines) in [
        (
            "notice_left_out",
            vec!["export.jsonl, line 11 -> system_join_channel"],
        ),
        (
            "message_lost",
            vec!["export.jsonl, line 13 -> the export has no channel acme/nowhere"],
        ),
        (
            "member_lost",
            vec!["export.jsonl, line 5, gone in acme -> the export has no such channel"],
        ),
        (
            "file_as_link",
            vec!["export.jsonl, line 12 -> 20200913/teams/noteam/channels/1/users/2/3/plan.pdf"],
        ),
        ("author_without_account", vec!["unlisted -> unlisted"]),
        ("setting_lost", vec!["ann, ben -> between us"]),
    ] {
        assert_eq!(found.reported(what), lines, "{what}");
    }
}

#[test]
fn teams_with_channels_of_one_name_give_two_rooms() {
    let made = tempfile::tempdir().unwrap();
    let file = made.path().join("data.jsonl");
    let lines = [
        json!({"type": "version", "version": 1}),
        json!({"type": "team", "team": {"name": "red"}}),
        json!({"type": "team", "team": {"name": "blue"}}),
        json!({"type": "channel", "channel": {"team": "red", "name": "general", "type": "O"}}),
        json!({"type": "channel", "channel": {"team": "blue", "name": "general", "type": "O"}}),
        json!({"type": "user", "user": {"username": "ann"}}),
        json!({"type": "post", "post": {"team": "blue", "channel": "general", "user": "ann",
            "message": "hi", "create_at": 1_600_000_000_000_u64}}),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&file, &text).unwrap();
    let plain = world(&file, "ann");
    assert_eq!(plain.said("rooms/blue.general"), ["ann: hi"]);
    assert_eq!(plain.said("rooms/red.general"), Vec::<String>::new());
    // The same in an archive, beside files that people have attached.
    let packed = made.path().join("export.zip");
    let mut archive = zip::ZipWriter::new(fs::File::create(&packed).unwrap());
    for (name, bytes) in [
        ("data.jsonl", text.as_bytes()),
        ("data/a/plan.pdf", b"%PDF"),
    ] {
        archive
            .start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
    assert_eq!(world(&packed, "ann").files, plain.files);
}

#[test]
fn a_malformed_line_is_an_error_with_its_number() {
    let good = "{\"type\":\"version\",\"version\":1}\n";
    for (text, expected) in [
        (
            "{\"type\":\"team\"}\n".to_owned(),
            "data.jsonl, line 1: the first line",
        ),
        (
            "{\"type\":\"version\",\"version\":2}\n".to_owned(),
            "data.jsonl, line 1: the first line",
        ),
        (
            format!("{good}{{\"type\":\"post\"}}\n"),
            "data.jsonl, line 2: it has no \"post\"",
        ),
        (format!("{good}\n{{\n"), "data.jsonl, line 3: EOF"),
        (String::new(), "data.jsonl, line 1: it is empty"),
    ] {
        let made = tempfile::tempdir().unwrap();
        let file = made.path().join("data.jsonl");
        fs::write(&file, text).unwrap();
        let refused = try_import(&file, "ann").unwrap_err();
        assert!(refused.to_string().starts_with(expected), "{refused}");
    }
}
