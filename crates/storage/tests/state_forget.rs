//! Forgotten messages leave nothing behind: no row, no search result, no count that is wrong; and
//! every state that has applied the same entries has forgotten the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod retention_support;
mod search_support;
mod state_support;
mod story;

use conclave_core::{
    AccountId, ClusterOperation, ClusterVersion, ConversationId, NodeId, Operation, Position,
    RetentionChange, Sequence, Timestamp, limits::SWEEP_ROWS_PER_ENTRY,
};
use conclave_storage::state::{DuePage, HistoryFrom, Options, State, StreamEvent};
use read_support::*;
use retention_support::*;
use search_support::{ALICE, BOB, World, wait_for};
use state_support::*;
use story::rows;

const HOUR: u64 = 60 * 60 * 1000;

fn number(directory: &std::path::Path, sql: &str) -> u64 {
    rows(directory, sql)[0].parse().unwrap()
}

#[test]
fn forgotten_messages_leave_no_row_and_no_wrong_count() {
    let (directory, mut state) = opened();
    let at = directory.path();
    people(&mut state, &["ann", "bea", "cyd"]);
    prepare(&mut state);
    accept(
        &mut state,
        vec![
            ask(1, 1, create_room("lobby", true)),
            ask(2, 1, join("lobby")),
            ask(3, 1, join("lobby")),
        ],
    );
    let messages = 150;
    for n in 0..messages {
        accept(
            &mut state,
            vec![
                ask(
                    1 + n % 2,
                    10 + 4 * n,
                    say_room("lobby", "hello @bea and @cyd"),
                ),
                ask(2, 11 + 4 * n, react(1, n + 1, "+1", true)),
                ask(3, 12 + 4 * n, react(1, n + 1, "heart", true)),
                ask(3, 13 + 4 * n, delete(1, &[n + 1], false)),
            ],
        );
    }
    accept(&mut state, vec![once(7, keep_newest(10))]);
    assert_eq!(forget_all(&mut state, START, &[1]), 3, "64, 64 and 12");
    // What is left goes with the sweep, a few rows for each entry.
    let mut before = u64::MAX;
    while number(at, "SELECT count(*) FROM orphans") > 0 {
        let left = number(
            at,
            "SELECT (SELECT count(*) FROM reactions) + (SELECT count(*) FROM hidden)",
        );
        assert!(before == u64::MAX || before - left <= SWEEP_ROWS_PER_ENTRY as u64);
        before = left;
        apply(&mut state, vec![]);
    }
    for (table, kept) in [
        ("messages", 10),
        ("mentions", 15),
        ("reactions", 20),
        ("reaction_counts", 20),
        ("hidden", 10),
        ("members", 3),
    ] {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(number(at, &sql), kept, "{table}");
    }
    assert_eq!(number(at, "SELECT messages FROM meta"), 10);
    // Each account keeps as many bytes as its rows that are left.
    let text = "hello @bea and @cyd".len() as u64;
    for (account, bytes) in [
        (1, 5 * (256 + text)),
        (2, 5 * (256 + text) + 10 * 128),
        (3, 1280),
    ] {
        let sql = format!("SELECT stored_bytes FROM allowances WHERE account = {account}");
        assert_eq!(number(at, &sql), bytes, "{account}");
    }
    let reader = state.reader();
    // Bea has read nothing: five of the ten that are left are of ann. Cyd has hidden all of them.
    for (account, unread, mentions) in [(1, 5, 0), (2, 5, 5), (3, 0, 0)] {
        let found = reader.conversations(AccountId(account), None, 9).unwrap();
        assert_eq!(
            (found[0].unread, found[0].unread_mentions),
            (unread, mentions),
            "{account}"
        );
        assert_eq!(found[0].sequence_last, Sequence(150));
        let unread = usize::try_from(unread).unwrap();
        assert_eq!(reader.unread(AccountId(account), 99).unwrap().len(), unread);
    }
    // The next message is number 151, and the sender's number goes on, too.
    accept(&mut state, vec![ask(2, 700, say_room("lobby", "and on"))]);
    let sql = "SELECT sequence, ordinal FROM messages ORDER BY position DESC LIMIT 1";
    assert_eq!(rows(at, sql), ["151|76"]);
    digest(&state);
}

#[test]
fn a_history_says_where_what_is_kept_begins() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    prepare(&mut state);
    for n in 1..=20 {
        accept(&mut state, vec![ask(1, n, say("bea", "hi"))]);
    }
    accept(&mut state, vec![once(7, keep_newest(5))]);
    forget_all(&mut state, START, &[1]);
    let page = |from, limit| {
        let found = state
            .reader()
            .history(AccountId(2), ConversationId(1), from, limit);
        let page = found.unwrap().unwrap();
        assert_eq!(
            (page.forgotten, page.sequence_last),
            (Sequence(15), Sequence(20))
        );
        let sequences: Vec<u64> = page.rows.iter().map(|row| row.sequence.0).collect();
        (sequences, page.older, page.newer)
    };
    assert_eq!(
        page(HistoryFrom::End, 3),
        (vec![18, 19, 20], Some(Sequence(18)), None)
    );
    assert_eq!(
        page(HistoryFrom::Before(Sequence(18)), 9),
        (vec![16, 17], None, Some(Sequence(17)))
    );
    // What is asked for behind the beginning is empty, and there is nothing older.
    assert_eq!(
        page(HistoryFrom::Before(Sequence(9)), 9).0,
        Vec::<u64>::new()
    );
    assert_eq!(page(HistoryFrom::Before(Sequence(9)), 9).1, None);
    let from_the_first = page(HistoryFrom::After(Sequence(0)), 3);
    assert_eq!(from_the_first, (vec![16, 17, 18], None, Some(Sequence(18))));
    assert_eq!(page(HistoryFrom::Around(Sequence(3)), 4).0, [16, 17]);
    assert_eq!(page(HistoryFrom::Around(Sequence(3)), 4).1, None);
}

#[test]
fn a_stream_that_resumes_is_told_what_is_gone() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea", "cyd"]);
    prepare(&mut state);
    let result = apply(&mut state, vec![ask(1, 1, say("bea", "one"))]);
    let (seen, _) = *result.events.last().unwrap();
    for n in 2..=200 {
        accept(&mut state, vec![ask(1, n, say("bea", "hi"))]);
    }
    accept(
        &mut state,
        vec![once(7, keep_newest(1)), ask(1, 300, say("cyd", "hello"))],
    );
    forget_all(&mut state, START, &[1, 2]);
    let reader = state.reader();
    let items = |after: Position| reader.stream(AccountId(2), after, 1000).unwrap().items;
    for after in [Position(0), seen] {
        let items = items(after);
        let told = items.iter().filter_map(|item| match &item.what {
            StreamEvent::Forgotten {
                conversation,
                through,
            } => Some((conversation.0, through.0)),
            _ => None,
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [(1, 199)],
            "only the last time is told"
        );
        let sent = items
            .iter()
            .filter(|item| matches!(item.what, StreamEvent::Sent(_)));
        assert_eq!(sent.count(), 1);
        assert!(items.is_sorted_by_key(|item| item.position));
    }
    let end = reader.stream(AccountId(2), seen, 1000).unwrap().scanned_to;
    assert!(items(end).is_empty(), "it is told once");
}

#[test]
fn a_search_finds_nothing_of_forgotten_messages() {
    let mut world = World::with_lobby();
    prepare(&mut world.state);
    for n in 0..30 {
        world.says(ALICE, "lobby", &format!("needle {n}"));
    }
    assert_eq!(world.finds(BOB, "needle").len(), 30);
    accept(&mut world.state, vec![once(7, keep_newest(4))]);
    forget_all(&mut world.state, START, &[1]);
    // Before the index has noticed, and after it.
    let newest = ["needle 29", "needle 28", "needle 27", "needle 26"];
    assert_eq!(world.finds_at_once(BOB, "needle"), newest);
    let index = world.directory.path().join("search.db");
    wait_for(|| {
        let connection = rusqlite::Connection::open(&index).unwrap();
        let sql = "SELECT count(*) FROM docs";
        let docs: i64 = connection.query_row(sql, [], |row| row.get(0)).ok()?;
        (docs == 4).then_some(())
    });
    assert_eq!(world.finds(BOB, "needle"), newest);
}

#[test]
fn messages_from_before_the_version_age_from_then_on() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    accept(&mut state, vec![ask(1, 1, say("bea", "old"))]);
    apply_at(&mut state, START + 10 * HOUR, vec![]);
    let raise = Operation::Cluster(ClusterOperation::RaiseVersion {
        to: ClusterVersion::RETENTION,
        asked: vec![NodeId(1)],
    });
    let first = Operation::Cluster(ClusterOperation::MakeFirstOperator { token: token(9) });
    apply_at(
        &mut state,
        START + 10 * HOUR,
        vec![once(1, raise), once(2, first)],
    );
    apply_at(
        &mut state,
        START + 11 * HOUR,
        vec![ask(1, 2, say("bea", "new"))],
    );
    let hour = RetentionChange {
        age_ms: Some(HOUR),
        ..RetentionChange::default()
    };
    let nothing = |state: &State, at: u64| {
        let now = Timestamp(START + at);
        state.reader().due(None, now).unwrap() == DuePage::default()
    };
    assert!(nothing(&state, 99 * HOUR), "nothing has a limit");
    apply_at(
        &mut state,
        START + 11 * HOUR - 1,
        vec![once(3, set_retention(hour))],
    );
    // Log time stands still when a leader's measure is behind.
    assert_eq!(forget_all(&mut state, START + 11 * HOUR - 1, &[1]), 1);
    assert!(
        nothing(&state, 12 * HOUR - 1),
        "the new one is an hour old at 12"
    );
    assert_eq!(forget_all(&mut state, START + 12 * HOUR - 1, &[1]), 0);
    assert!(!nothing(&state, 12 * HOUR));
    assert_eq!(forget_all(&mut state, START + 12 * HOUR, &[1]), 1);
    assert!(nothing(&state, 99 * HOUR));
}

#[test]
fn an_orphaned_room_is_left_to_the_sweep() {
    let (directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    prepare(&mut state);
    accept(&mut state, vec![ask(1, 1, create_room("lobby", true))]);
    for n in 2..=200 {
        accept(&mut state, vec![ask(1, n, say_room("lobby", "hello"))]);
    }
    accept(
        &mut state,
        vec![once(7, keep_newest(1)), ask(1, 300, leave("lobby"))],
    );
    assert_eq!(forget_all(&mut state, START, &[1]), 0);
    while number(directory.path(), "SELECT count(*) FROM orphans") > 0 {
        apply(&mut state, vec![]);
    }
    assert_eq!(number(directory.path(), "SELECT count(*) FROM messages"), 0);
    digest(&state);
}

#[test]
fn a_state_opened_in_the_middle_forgets_the_same() {
    let run = |reopen: bool| {
        let (directory, mut state) = opened();
        people(&mut state, &["ann", "bea"]);
        prepare(&mut state);
        for n in 1..=300 {
            accept(&mut state, vec![ask(1 + n % 2, n, say("bea", "hi"))]);
        }
        accept(&mut state, vec![once(7, keep_newest(3))]);
        for number in 0..6 {
            if reopen {
                drop(state);
                state = State::open(directory.path(), Options::default()).unwrap();
            }
            apply(&mut state, vec![once(1000 + number, forget(&[1, 2]))]);
        }
        digest(&state)
    };
    let digest = run(false);
    assert_eq!(run(true), digest);
    assert_eq!(digest.messages, 6, "three of each conversation");
}
