//! Edges of the command line: zones, texts from files and terminals, logins that cannot be stored,
//! secrets that cannot be shown, and conversations whose other account was deleted.

use std::{fs, os::fd::OwnedFd};

use jiff::{Timestamp, tz::TimeZone};
use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

use crate::{
    command::{Person, Ran, run},
    support::{Cluster, PATIENCE, until},
};

/// Starts a cluster of one node and logs a person in to it.
async fn alone(name: &str) -> (Cluster, Person) {
    let cluster = Cluster::start(1).await;
    let person = Person::named(&[cluster.endpoint(1)], name).await;
    (cluster, person)
}

async fn talk(person: &Person, with: &str) -> Vec<Value> {
    let args = ["read", "--with", with, "--peek", "-o", "json"];
    person.run(&args).await.json()
}

/// Waits until a search finds this many messages.
async fn is_found(person: &Person, word: &str, count: usize) {
    until("the index has what was sent", async || {
        let found = person.run(&["search", word, "-o", "json"]).await;
        (found.json().len() == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_shown_in_the_zone_and_utc_is_marked() {
    let (_cluster, alice) = alone("alice").await;
    alice.run(&["send", "alice", "hello"]).await.succeeded();
    is_found(&alice, "hello", 1).await;
    let sent_at = talk(&alice, "alice").await[0]["sent_at_ms"]
        .as_i64()
        .unwrap();
    let sent_at = Timestamp::from_millisecond(sent_at).unwrap();
    let shown = async |zone: Option<&str>, args: &[&str]| -> Ran {
        let mut command = alice.command(args);
        if let Some(zone) = zone {
            command.env("TZ", zone);
        }
        run(command, b"").await
    };
    let read = ["read", "--with", "alice"];
    let search = ["search", "hello"];
    let cases = [
        (Some("Asia/Tokyo"), "", "Asia/Tokyo"),
        (Some(":America/New_York"), "", "America/New_York"),
        (Some("JST-9"), "", "Asia/Tokyo"),
        (Some("Asia/Tokyo"), "UTC", "UTC"),
        (Some(""), "", "UTC"),
        (None, "Asia/Kathmandu", "Asia/Kathmandu"),
    ];
    for (variable, flag, expected) in cases {
        let zone = TimeZone::get(expected).unwrap();
        let time = sent_at.to_zoned(zone).strftime("[%Y-%m-%d %H:%M:%S");
        let end = if expected == "UTC" { "Z] " } else { "] " };
        let begin = format!("{time}{end}alice");
        for words in [&read[..], &search] {
            let flag = if flag.is_empty() {
                vec![]
            } else {
                vec!["--zone", flag]
            };
            let ran = shown(variable, &[words, &flag[..]].concat()).await;
            assert!(!ran.stderr.contains("zone"), "{ran:?}");
            let line = ran.succeeded();
            assert!(
                line.starts_with(&begin),
                "{variable:?} {flag:?}: {line}, not {begin}"
            );
        }
    }
    let unknown = shown(Some("Mars/Olympus"), &read).await;
    assert_eq!(
        unknown.stderr.matches("TZ=Mars/Olympus").count(),
        1,
        "{unknown:?}"
    );
    assert!(unknown.succeeded().contains("Z] alice"));
    let wrong = shown(None, &["whoami", "--zone", "Mars/Olympus"]).await;
    wrong.failed(2, "--zone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_or_stdin_is_one_message_or_refused_with_its_size() {
    let (cluster, alice) = alone("alice").await;
    let trace: String = (1..=81).map(|n| format!("  at frame {n}\n")).collect();
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = home.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = file("trace.txt", trace.as_bytes());
    let sent = alice.run(&["send", "alice", "--file", &good]).await;
    assert_eq!(sent.succeeded(), "sent 1.1\n");
    let sent = alice.run_with(&["send", "alice", "--stdin-as-one"], trace.as_bytes());
    assert_eq!(sent.await.succeeded(), "sent 1.2\n");
    let answer = ["send", "alice", "--stdin-as-one", "--reply-to", "1.1"];
    let sent = alice.run_with(&answer, b"/me is no action in a file");
    assert_eq!(sent.await.succeeded(), "sent 1.3\n");

    let long = file("long.txt", &[b'x'; 20_000]);
    let bytes = file("bytes", b"ab\xff");
    let empty = file("empty", b"\n");
    let sizes = "20000 bytes, and a message at most 16384";
    let cases: [(&[&str], &[u8], &str); 7] = [
        (&["--file", &long], b"", sizes),
        (&["--stdin-as-one"], &[b'x'; 20_000], sizes),
        (&["--file", &bytes], b"", "not UTF-8 at byte 3"),
        (&["--file", &empty], b"", "there is no text"),
        (&["--file", "/nowhere/x"], b"", "--file /nowhere/x: "),
        (&["-", "--reply-to", "1.1"], b"a\nb\n", "--reply-to"),
        (&["text", "--file", &good], b"", "--file"),
    ];
    for (args, input, told) in cases {
        let args = [&["send", "alice"][..], args].concat();
        alice.run_with(&args, input).await.failed(2, told);
    }
    let said = talk(&alice, "alice").await;
    let texts: Vec<_> = said.iter().map(|line| &line["text"]).collect();
    let whole = json!(trace.trim_end());
    assert_eq!(
        texts,
        [&whole, &whole, &json!("/me is no action in a file")]
    );
    assert_eq!(said[2]["reply_to"], 1);
    // The reader of the command's output does not decide what is sent.
    let script = r#"printf 'one\ntwo\nthree\n' | "$CONCLAVE" send alice - | true"#;
    assert_eq!(run(alice.shell(script), b"").await.stderr, "");
    assert_eq!(talk(&alice, "alice").await.len(), 6);
    drop(cluster);
}

/// Opens a terminal: returns the person's side and the program's side.
fn terminal() -> (tokio::fs::File, OwnedFd) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let program = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let person = fs::File::from(person);
    (tokio::fs::File::from_std(person), program)
}

/// Reads from the terminal until this text has appeared.
async fn says(output: &mut (impl AsyncRead + Unpin), part: &str) {
    let mut seen = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(part) {
            let mut some = [0; 256];
            let count = output.read(&mut some).await.unwrap();
            assert!(
                count > 0,
                "it ended without {part}: {}",
                String::from_utf8_lossy(&seen)
            );
            seen.extend_from_slice(&some[..count]);
        }
    };
    timeout(PATIENCE, reading).await.expect(part);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_before_many_pasted_lines_are_sent() {
    let (_cluster, alice) = alone("alice").await;
    let (mut keyboard, program) = terminal();
    let mut command = alice.command(&["send", "alice", "-"]);
    let mut child = command.stdin(program).spawn().unwrap();
    drop(command);
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut stderr = child.stderr.take().unwrap();
    let mut sent = async |count: usize| {
        for _ in 0..count {
            let line = timeout(PATIENCE, stdout.next_line())
                .await
                .expect("it is sent");
            assert!(line.unwrap().unwrap().starts_with("sent 1."));
        }
    };
    let mut type_in = async |text: &str| {
        tokio::io::AsyncWriteExt::write_all(&mut keyboard, text.as_bytes())
            .await
            .unwrap();
        tokio::io::AsyncWriteExt::flush(&mut keyboard)
            .await
            .unwrap();
    };
    type_in("typed\n").await;
    sent(1).await;
    type_in("a\nb\nc\n").await;
    sent(3).await;
    let question = "4 lines were pasted: send them as [o]ne message, as 4 messages";
    for (answer, count) in [("o\n", 1), ("e\n", 4)] {
        type_in("1\n2\n\n3\n4\n").await;
        says(&mut stderr, question).await;
        type_in(answer).await;
        sent(count).await;
    }
    type_in("5\n6\n7\n8\n").await;
    says(&mut stderr, question).await;
    type_in("n\n").await;
    says(&mut stderr, "nothing was sent").await;
    type_in("\u{4}").await;
    let ended = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
    let said = talk(&alice, "alice").await;
    let texts: Vec<_> = said
        .iter()
        .map(|line| line["text"].as_str().unwrap())
        .collect();
    let expected = ["typed", "a", "b", "c", "1\n2\n\n3\n4", "1", "2", "3", "4"];
    assert_eq!(texts, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_cannot_be_saved_leaves_no_session() {
    let (cluster, alice) = alone("alice").await;
    let sessions = async || alice.run(&["sessions", "-o", "json"]).await.json().len();
    assert_eq!(sessions().await, 1);
    let stranger = Person::new(&[cluster.endpoint(1)]);
    // No file can be created below a file.
    let mut command = stranger.command(&["login", "alice"]);
    command.env("XDG_CONFIG_HOME", "/dev/null/home");
    run(command, b"").await.failed(1, "cannot write");
    assert_eq!(sessions().await, 1);
    // The file can be created, and cannot be moved to its place.
    fs::create_dir_all(stranger.credentials()).unwrap();
    let refused = stranger.run(&["login", "alice"]).await;
    refused.failed(1, "the session was closed again");
    assert_eq!(sessions().await, 1);
    let directory = stranger.credentials().parent().unwrap().to_owned();
    let left = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        left.filter_map(|name| name.into_string().ok())
            .all(|name| !name.ends_with(".new"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_be_printed_is_revoked() {
    let (cluster, alice) = alone("alice").await;
    let (_, token) = cluster.administrator().await;
    alice.run(&["room", "create", "ops"]).await.succeeded();
    let as_root = async |mut command: Command| {
        command.env("CONCLAVE_TOKEN", &token);
        run(command, b"").await
    };
    for command in ["invite create", "bot create ci"] {
        let script = format!(r#""$CONCLAVE" {command} > /dev/full"#);
        let ran = as_root(alice.shell(&script)).await;
        ran.failed(1, "revoked again");
    }
    let script = r#""$CONCLAVE" webhook create ops hook > /dev/full"#;
    run(alice.shell(script), b"")
        .await
        .failed(1, "revoked again");
    let invites = as_root(alice.command(&["invite", "list", "-o", "json"])).await;
    assert_eq!(invites.succeeded(), "");
    let hooks = alice.run(&["webhook", "list", "ops", "-o", "json"]).await;
    assert_eq!(hooks.succeeded(), "");
    let accounts = alice.run(&["account", "list", "-o", "json"]).await.json();
    let names: Vec<_> = accounts.iter().map(|line| &line["name"]).collect();
    assert_eq!(names, ["alice", "root"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_stays_readable_after_its_peer_is_deleted() {
    let (cluster, alice) = alone("alice").await;
    let bob = Person::named(&[cluster.endpoint(1)], "bob").await;
    bob.run(&["send", "alice", "remember this"])
        .await
        .succeeded();
    bob.run(&["account", "delete", "--yes"]).await.succeeded();
    let listed = alice.run(&["conversations"]).await.succeeded();
    assert!(
        listed.starts_with("1\tdeleted account #1\t1\t1\t"),
        "{listed}"
    );
    for with in ["deleted account #1", "id:1"] {
        let shown = alice.run(&["read", "--with", with]).await.succeeded();
        assert!(
            shown.contains("] deleted account #1 → alice  1.1  remember this\n"),
            "{shown}"
        );
    }
    is_found(&alice, "remember", 1).await;
    let found = alice
        .run(&["search", "remember", "in:id:1"])
        .await
        .succeeded();
    assert!(found.contains("remember this"), "{found}");
    let none = alice.run(&["search", "remember", "in:id:2"]).await;
    assert_eq!(none.succeeded(), "");
    alice
        .run(&["read", "--with", "id:2"])
        .await
        .failed(3, "conversation");
    alice
        .run(&["read", "--with", "id:x"])
        .await
        .failed(2, "--with");
    alice
        .run(&["send", "id:1", "are you there?"])
        .await
        .failed(5, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_list_says_so() {
    let (_cluster, alice) = alone("alice").await;
    for room in ["ops", "news", "fun"] {
        alice.run(&["room", "create", room]).await.succeeded();
        alice
            .run(&["send", &format!("#{room}"), "hello"])
            .await
            .succeeded();
    }
    is_found(&alice, "hello", 3).await;
    for list in ["room list", "conversations", "search hello"] {
        let words: Vec<&str> = list.split(' ').collect();
        let cut = alice.run(&[&words[..], &["--limit", "2"]].concat()).await;
        assert!(cut.stderr.contains("--limit 4 for more"), "{list}: {cut:?}");
        assert_eq!(cut.succeeded().lines().count(), 2, "{list}");
        let all = alice.run(&[&words[..], &["--limit", "3"]].concat()).await;
        assert!(!all.stderr.contains("--limit"), "{list}: {all:?}");
        assert_eq!(all.succeeded().lines().count(), 3, "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bold_text_is_used_only_on_capable_terminals() {
    let (_cluster, alice) = alone("alice").await;
    alice
        .run(&["send", "alice", "hello there"])
        .await
        .succeeded();
    is_found(&alice, "hello", 1).await;
    let cases = [
        (("xterm", ""), true),
        (("xterm", "1"), false),
        (("dumb", ""), false),
    ];
    for ((term, no_color), is_bold) in cases {
        let (mut screen, program) = terminal();
        let mut command = alice.command(&["search", "hello"]);
        command
            .env("TERM", term)
            .env("NO_COLOR", no_color)
            .stdout(program);
        let mut child = command.spawn().unwrap();
        drop(command);
        let ended = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "{ended}");
        let mut shown = Vec::new();
        // A terminal whose program has ended gives an error.
        let _ = screen.read_to_end(&mut shown).await;
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("hello"), "{shown:?}");
        assert_eq!(
            shown.contains("\x1b[1mhello"),
            is_bold,
            "{term} {no_color:?}: {shown:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_begins_with_the_argument_that_caused_it() {
    let (_cluster, alice) = alone("alice").await;
    alice.run(&["room", "create", "ops"]).await.succeeded();
    alice.run(&["send", "alice", "note"]).await.succeeded();
    let cases: [(&[&str], i32, &str); 14] = [
        (&["send", "mallory", "hi"], 3, "error: mallory: "),
        (&["send", "#none", "hi"], 3, "error: '#none': "),
        (&["send", "alice", " "], 2, "error: TEXT: "),
        (&["read", "--with", "mallory"], 3, "error: --with mallory: "),
        (&["account", "block", "mallory"], 3, "error: mallory: "),
        (&["account", "create", "alice"], 5, "error: alice: "),
        (&["account", "create", "a b"], 2, "error: 'a b': "),
        (&["room", "join", "none"], 3, "error: none: "),
        (&["room", "invite", "ops", "mallory"], 3, "error: mallory: "),
        (&["room", "topic", "ops", "a\nb"], 2, "error: 'a"),
        (&["edit", "9.1", "x"], 3, "error: 9.1: "),
        (&["react", "1.1", "two words"], 2, "error: 'two words': "),
        (&["search", "before:soon"], 2, "error: before:soon: "),
        (&["sessions", "--end", "99"], 3, "error: --end 99: "),
    ];
    for (args, code, begin) in cases {
        let ran = alice.run(args).await;
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        assert!(ran.stderr.starts_with(begin), "{args:?}: {ran:?}");
    }
    // An error names a line of stdin by its number.
    let ran = alice
        .run_with(&["send", "alice", "-"], b"good\n\xe2\x80\x8b\n")
        .await;
    assert!(ran.stderr.starts_with("error: line 2: "), "{ran:?}");
    assert!(!ran.stderr.contains("alice"), "{ran:?}");
}
