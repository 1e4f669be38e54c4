//! Only messages that a person could see are marked as read: pages, pipes that are closed early or
//! not read, and looks that mark nothing.

use conclave_core::{Recipient, RoomName};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

use crate::{
    command::{Person, run},
    support::{Cluster, PATIENCE, until},
    witness::{PASSWORD, person},
};

/// Number of unread messages: three times what `read` shows by default.
const WAITING: usize = 60;

/// Returns a reader with unread messages in #news, and the cluster that has them.
async fn reader() -> (Cluster, Person) {
    let cluster = Cluster::start(1).await;
    let endpoints = [cluster.endpoint(1)];
    let alice = Person::named(&endpoints, "alice").await;
    let bob = Person::named(&endpoints, "bob").await;
    alice.run(&["room", "create", "news"]).await.succeeded();
    bob.run(&["room", "join", "news"]).await.succeeded();
    let lines: Vec<String> = (1..=WAITING).map(|n| format!("news {n}\n")).collect();
    let lines = lines.concat();
    let sent = alice.run_with(&["send", "#news", "-"], lines.as_bytes());
    sent.await.succeeded();
    (cluster, bob)
}

/// Makes a command wait for the program behind its pipe as long as a test does, however busy the
/// machine is.
fn patient(mut command: Command) -> Command {
    let wait = PATIENCE.as_secs().to_string();
    command.env("CONCLAVE_PIPE_WAIT", wait);
    command
}

async fn unread(person: &Person) -> u64 {
    let listed = person.run(&["conversations", "-o", "json"]).await.json();
    listed[0]["unread"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_shown_messages_are_marked_as_read() {
    let (_cluster, bob) = reader().await;
    let peeked = bob.run(&["read", "--limit", "5", "--peek"]).await;
    assert_eq!(peeked.succeeded().lines().count(), 5);
    assert_eq!(unread(&bob).await, 60, "a look marks nothing");

    let newest = bob.run(&["read", "--with", "#news"]).await;
    let hint = "40 older messages are unread, none is marked read: conclave read --with '#news' \
                --unread 60";
    assert!(newest.stderr.contains(hint), "{newest:?}");
    let shown = newest.succeeded();
    assert_eq!(shown.lines().count(), 20);
    assert!(
        shown.contains("news 41\n") && shown.contains("news 60\n"),
        "{shown}"
    );
    assert_eq!(unread(&bob).await, 60, "40 older ones were not shown");

    let before = bob
        .run(&["read", "--with", "#news", "--before", "1.41"])
        .await;
    let shown = before.succeeded();
    assert!(
        shown.contains("news 21\n") && shown.contains("news 40\n"),
        "{shown}"
    );
    let other = bob
        .run(&["read", "--with", "#news", "--before", "9.41"])
        .await;
    other.failed(2, "--before names a message of conversation 9");
    assert_eq!(unread(&bob).await, 60);

    // From the first unread message on, as many as requested; then the rest.
    let some = bob
        .run(&["read", "--with", "#news", "--unread", "15"])
        .await;
    assert!(some.stderr.contains("newer messages: "), "{some:?}");
    let shown = some.succeeded();
    assert!(
        shown.contains("news 1\n") && shown.contains("news 15\n"),
        "{shown}"
    );
    assert_eq!(unread(&bob).await, 45);
    let rest = bob.run(&["read", "--with", "#news", "--limit", "45"]).await;
    assert_eq!(rest.stderr, "");
    assert_eq!(rest.succeeded().lines().count(), 45);
    assert_eq!(unread(&bob).await, 0);
    let none = bob
        .run(&["read", "--with", "#news", "--unread", "15"])
        .await;
    assert_eq!(none.succeeded(), "");
}

/// A running `read --follow` that starts after a position.
struct Follower {
    child: Child,
    shown: Lines<BufReader<ChildStdout>>,
    told: Lines<BufReader<ChildStderr>>,
}

impl Follower {
    fn start(person: &Person, since: u64, more: &[&str]) -> Self {
        let since = since.to_string();
        let args = ["read", "--follow", "--since", &since];
        let mut child = person.command(&[&args[..], more].concat()).spawn().unwrap();
        let shown = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, shown, told }
    }

    /// Waits for the next line on stdout, and checks that it is this message.
    async fn shows(&mut self, text: &str) {
        let line = timeout(PATIENCE, self.shown.next_line()).await;
        let line = line.expect("it is shown in time").unwrap().unwrap();
        assert!(line.ends_with(text), "{line}");
    }

    /// Waits for the next line on stderr, and checks that it contains this part.
    async fn tells(&mut self, part: &str) {
        let line = timeout(PATIENCE, self.told.next_line()).await;
        let line = line.expect("it is told in time").unwrap().unwrap();
        assert!(line.contains(part), "{line}");
    }

    async fn end(mut self) {
        self.child.kill().await.unwrap();
    }
}

async fn until_all_is_read(person: &Person) {
    until("everything is read", async || {
        (unread(person).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn following_from_a_position_marks_no_unshown_message_as_read() {
    let (cluster, bob) = reader().await;
    let carol = Person::named(&[cluster.endpoint(1)], "carol").await;
    carol.run(&["room", "join", "news"]).await.succeeded();
    let args = ["--before", "1.41", "--limit", "1", "--peek", "-o", "json"];
    let fortieth = bob
        .run(&[&["read", "--with", "#news"], &args[..]].concat())
        .await;
    let since = fortieth.json()[0]["position"].as_u64().unwrap();
    let mut followers = [
        Follower::start(&bob, since, &[]),
        Follower::start(&bob, since, &["--with", "#news"]),
    ];
    for follower in &mut followers {
        for number in 41..=WAITING {
            follower.shows(&format!("news {number}")).await;
        }
        let hint = "40 older messages are unread, none is marked read: conclave read --with id:1 \
                    --unread 40";
        follower.tells(hint).await;
    }
    assert_eq!(unread(&bob).await, 60);

    // Once the older messages are read, those that the followers have shown are read, too.
    let older = r#""$CONCLAVE" read --with '#news' --unread 40 | cat"#;
    let older = run(patient(bob.shell(older)), b"").await.succeeded();
    assert!(older.ends_with("news 40\n"), "{older}");
    until_all_is_read(&bob).await;
    for follower in followers {
        follower.end().await;
    }

    // If everything before a message is read, a follower marks the message when it shows it.
    carol.run(&["send", "#news", "61"]).await.succeeded();
    let mut follower = Follower::start(&bob, since, &["--with", "#news"]);
    for number in 41..=WAITING {
        follower.shows(&format!("news {number}")).await;
    }
    follower.shows("joined #news").await;
    follower.shows("61").await;
    until_all_is_read(&bob).await;
    follower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_outlives_its_removal_from_a_room() {
    let (cluster, bob) = reader().await;
    let all = bob.run(&["read", "--unread", "60", "--peek", "-o", "json"]);
    let last = all.await.json().pop().unwrap();
    let all = r#""$CONCLAVE" read --unread 60 | cat"#;
    run(patient(bob.shell(all)), b"").await.succeeded();
    let alice = cluster.client();
    let login = alice.login("alice", PASSWORD).await.unwrap();
    let alice = alice.with_token(&login.token).unwrap();
    let since = last["position"].as_u64().unwrap();
    let mut follower = Follower::start(&bob, since, &[]);

    // The follower knows now that everything before is read.
    let news = Recipient::Room(RoomName::new("news").unwrap());
    alice.send(&news, "one").await.unwrap();
    follower.shows("one").await;
    until_all_is_read(&bob).await;
    // It is still to mark this message when it may not any more.
    alice.send(&news, "two").await.unwrap();
    alice.kick_from_room("news", "bob").await.unwrap();
    follower.shows("two").await;
    follower.shows("bob left #news").await;
    alice.send(&person("bob"), "hello").await.unwrap();
    follower.shows("hello").await;
    until_all_is_read(&bob).await;
    follower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_closed_early_marks_only_the_lines_taken_from_it() {
    let (_cluster, bob) = reader().await;
    // The outer shell prints on stderr how the program ended.
    let script = |command: &str, lines: usize| {
        format!(r#"{{ "$CONCLAVE" {command}; echo "ended with $?" >&2; }} | head -{lines}"#)
    };
    let cases = [
        ("read --unread 60", 1, 59),
        ("read --unread 60 -o json", 3, 56),
        ("read --with '#news' --unread 30", 1, 55),
        ("read --follow", 2, 53),
    ];
    for (command, lines, left) in cases {
        let ran = run(patient(bob.shell(&script(command, lines))), b"").await;
        assert_eq!(ran.stderr, "ended with 0\n", "{command}");
        assert_eq!(ran.stdout.lines().count(), lines, "{command}");
        assert_eq!(unread(&bob).await, left, "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_left_in_a_pipe_are_not_marked_as_read() {
    let (_cluster, bob) = reader().await;
    // A program that reads the output only after the command has ended.
    let mut child = bob.command(&["read", "--unread", "60"]).spawn().unwrap();
    let ended = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
    let (mut shown, mut told) = (String::new(), String::new());
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut shown).await.unwrap();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut told).await.unwrap();
    assert_eq!(shown.lines().count(), 60);
    assert!(told.contains("60 of these were not taken"), "{told}");
    assert_eq!(unread(&bob).await, 60);

    let taken = r#""$CONCLAVE" read --unread 60 | cat"#;
    let ran = run(patient(bob.shell(taken)), b"").await;
    assert_eq!((ran.stderr.as_str(), ran.stdout.lines().count()), ("", 60));
    assert_eq!(unread(&bob).await, 0);
}
