//! Sweeping: expired data is removed whole, and a little at a time: orphans, and the oldest
//! changes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;
mod story;

use std::path::Path;

use conclave_core::{
    AccountOperation, Operation, Position,
    limits::{CHANGES_KEPT_MAX, SWEEP_ROWS_PER_ENTRY},
};
use conclave_storage::state::State;
use read_support::*;
use state_support::*;
use story::rows;

/// Returns the only number that a query finds.
fn number(directory: &Path, sql: &str) -> u64 {
    rows(directory, sql)[0].parse().unwrap()
}

/// Returns the number of a conversation's rows in the tables that a sweep empties.
fn left_of(directory: &Path, conversation: u64) -> u64 {
    let tables = [
        "messages",
        "mentions",
        "reactions",
        "reaction_counts",
        "hidden",
    ];
    let of = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table} WHERE conversation = {conversation}");
        number(directory, &sql)
    };
    tables.into_iter().map(of).sum()
}

/// Applies empty entries until nothing is left of a conversation; returns how many.
fn sweep(state: &mut State, directory: &Path, conversation: u64) -> u64 {
    let mut before = left_of(directory, conversation);
    let mut entries = 0;
    while number(directory, "SELECT count(*) FROM orphans") > 0 {
        apply(state, vec![]);
        let left = left_of(directory, conversation);
        assert!(
            before - left <= SWEEP_ROWS_PER_ENTRY as u64,
            "one entry swept too much"
        );
        before = left;
        entries += 1;
        assert!(entries < 1000, "the sweep does not end");
    }
    assert_eq!(before, 0, "the sweep ended too early");
    entries
}

#[test]
fn a_room_without_members_is_removed_with_its_content() {
    let (directory, mut state) = opened();
    let at = directory.path();
    people(&mut state, &["ann", "bea", "cyd"]);
    accept(
        &mut state,
        vec![
            ask(1, 1, create_room("lobby", true)),
            ask(2, 1, join("lobby")),
            ask(3, 1, join("lobby")),
            ask(1, 2, say("cyd", "this stays")),
            ask(1, 3, say("cyd", "and this, @cyd")),
            ask(3, 2, react(2, 1, "+1", true)),
            ask(3, 3, delete(2, &[1], false)),
        ],
    );
    let messages = 150;
    for n in 0..messages {
        accept(
            &mut state,
            vec![
                ask(1, 10 + 2 * n, say_room("lobby", "hello @bea and @cyd")),
                ask(2, 10 + 2 * n, react(1, n + 1, "+1", true)),
                ask(3, 10 + 2 * n, react(1, n + 1, "heart", true)),
                ask(3, 11 + 2 * n, delete(1, &[n + 1], false)),
            ],
        );
    }
    // One message, two mentions, two reactions of two kinds, one hidden message.
    let all = messages * (1 + 2 + (2 + 2) + 1);
    assert_eq!(left_of(at, 1), all);
    accept(&mut state, vec![ask(2, 400, leave("lobby"))]);
    accept(&mut state, vec![ask(3, 400, leave("lobby"))]);
    accept(&mut state, vec![ask(1, 400, invite("lobby", "cyd"))]);
    assert_eq!(left_of(at, 1), all, "rows are left");
    accept(&mut state, vec![ask(1, 401, leave("lobby"))]);
    assert_eq!(number(at, "SELECT rooms FROM meta"), 0);
    assert_eq!(number(at, "SELECT count(*) FROM invitations"), 0);
    assert!(left_of(at, 1) > 0, "one entry swept everything");

    // The room's name is free at once, and the new room is another one.
    accept(&mut state, vec![ask(2, 401, create_room("LOBBY", true))]);
    accept(
        &mut state,
        vec![ask(2, 402, say_room("lobby", "anew, @bea"))],
    );
    let entries = sweep(&mut state, at, 1);
    assert!(entries >= all / SWEEP_ROWS_PER_ENTRY as u64 - 3);
    assert_eq!(
        rows(at, "SELECT id, name, members FROM conversations"),
        ["2|-|-", "3|LOBBY|1"]
    );
    for (table, kept) in [
        ("messages", 3),
        ("mentions", 1),
        ("reactions", 1),
        ("reaction_counts", 1),
        ("hidden", 1),
        ("members", 3),
    ] {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(number(at, &sql), kept, "{table}");
    }
}

#[test]
fn a_deleted_account_leaves_no_block_invitation_or_hidden_row() {
    let (directory, mut state) = opened();
    let at = directory.path();
    people(&mut state, &["ann", "bea", "cyd"]);
    accept(
        &mut state,
        vec![
            ask(1, 1, create_room("lobby", true)),
            ask(1, 2, invite("lobby", "bea")),
            ask(1, 3, invite("lobby", "cyd")),
            ask(1, 4, block("bea", true)),
            ask(2, 1, block("ann", true)),
            ask(2, 2, block("cyd", true)),
            ask(3, 1, block("ann", true)),
            ask(2, 3, say("bea", "a note to myself")),
            ask(2, 4, delete(2, &[1], false)),
        ],
    );
    accept(
        &mut state,
        vec![ask(
            2,
            5,
            Operation::Account(AccountOperation::DeleteAccount {
                password_version: 1,
            }),
        )],
    );
    sweep(&mut state, at, 2);
    assert_eq!(rows(at, "SELECT account, other FROM blocks"), ["3|1"]);
    let invited = "SELECT conversation, account FROM invitations";
    assert_eq!(rows(at, invited), ["1|3"]);
    assert_eq!(number(at, "SELECT count(*) FROM hidden"), 0);
    assert_eq!(rows(at, "SELECT id FROM conversations"), ["1"]);
}

/// Applies empty entries until nothing is left to sweep; none may remove more than it may.
fn sweep_rows(state: &mut State, directory: &Path, count: &str) -> u64 {
    let (mut entries, mut before) = (0, number(directory, count));
    while number(directory, "SELECT count(*) FROM orphans") > 0 {
        apply(state, vec![]);
        let left = number(directory, count);
        assert!(
            before - left <= SWEEP_ROWS_PER_ENTRY as u64,
            "one entry swept too much"
        );
        before = left;
        entries += 1;
        assert!(entries < 1000, "the sweep does not end");
    }
    assert_eq!(before, 0);
    entries
}

#[test]
fn many_reactions_to_a_deleted_message_go_in_pieces() {
    let (directory, mut state) = opened();
    let at = directory.path();
    let names: Vec<String> = (1..=200).map(|n| format!("p{n}")).collect();
    people(
        &mut state,
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    accept(&mut state, vec![ask(1, 1, create_room("lobby", true))]);
    let joins = (2..=200).map(|n| ask(n, 1, join("lobby")));
    accept(&mut state, joins.collect());
    accept(&mut state, vec![ask(1, 2, say_room("lobby", "hi"))]);
    let kept = |account| {
        let sql = format!("SELECT stored_bytes FROM allowances WHERE account = {account}");
        number(at, &sql)
    };
    let before = kept(200);
    let reactions = (1..=200).map(|n| ask(n, 3, react(1, 1, "+1", true)));
    accept(&mut state, reactions.collect());
    assert!(kept(200) > before);

    accept(&mut state, vec![ask(1, 4, delete(1, &[1], true))]);
    let row = state
        .reader()
        .message(conclave_core::AccountId(2), message(1, 1));
    assert_eq!(
        row.unwrap().unwrap().reactions,
        [],
        "what is deleted is shown"
    );
    assert!(kept(200) > before, "one entry swept everything");
    let entries = sweep_rows(&mut state, at, "SELECT count(*) FROM reactions");
    assert!((1..=3).contains(&entries), "{entries}");
    assert_eq!(kept(200), before, "freed, and once");
    assert_eq!(number(at, "SELECT orphans FROM meta"), 0);
}

#[test]
fn many_conversations_and_blocks_of_an_account_go_in_pieces() {
    let (directory, mut state) = opened();
    let at = directory.path();
    let names: Vec<String> = (1..=150).map(|n| format!("p{n}")).collect();
    people(
        &mut state,
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let sends = (2..=150).map(|n| ask(n, 1, say("p1", "hi")));
    accept(&mut state, sends.collect());
    accept(&mut state, vec![ask(1, 1, advance(1, 1, 1))]);
    let blocks = (2..=150).map(|n| ask(n, 2, block("p1", true)));
    accept(&mut state, blocks.collect());
    let leave = Operation::Account(AccountOperation::DeleteAccount {
        password_version: 1,
    });
    accept(&mut state, vec![ask(1, 2, leave)]);

    let left = "SELECT (SELECT count(*) FROM members WHERE account = 1)
        + (SELECT count(*) FROM blocks WHERE other = 1)";
    assert!(number(at, left) > 150, "one entry swept everything");
    let reader = state.reader();
    let p150 = conclave_core::AccountId(150);
    let rows = reader.conversations(p150, None, 10).unwrap();
    let conclave_storage::state::Counterpart::Peer { name, progress, .. } = &rows[0].with else {
        panic!("it is a direct conversation");
    };
    assert_eq!((name, progress.read.0), (&None, 0));
    assert_eq!(reader.blocks(p150).unwrap(), []);
    let stream = reader.stream(conclave_core::AccountId(2), Position(0), 100);
    let told = stream.unwrap().items;
    let is_advance = |item: &conclave_storage::state::StreamItem| {
        matches!(
            item.what,
            conclave_storage::state::StreamEvent::Advanced { .. }
        )
    };
    assert!(!told.iter().any(is_advance), "{told:?}");
    sweep_rows(&mut state, at, left);
    let sql = "SELECT count(*) FROM conversations";
    assert_eq!(number(at, sql), 149, "the others keep theirs");
}

/// Writes as many changes as are kept, as if they had happened before the first entry's end.
fn fill_changes(directory: &Path) {
    let connection = rusqlite::Connection::open(directory.join("state.db")).unwrap();
    let sql = format!(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT {CHANGES_KEPT_MAX})
        INSERT INTO changes (position, kind, account) SELECT n, 12, 1 FROM n;
        UPDATE meta SET changes = (SELECT count(*) FROM changes)"
    );
    connection.execute_batch(&sql).unwrap();
}

#[test]
fn changes_beyond_the_bound_are_dropped_and_the_floor_rises() {
    let (directory, mut state) = opened();
    let at = directory.path();
    people(&mut state, &["ann", "bea"]);
    accept(&mut state, vec![ask(1, 1, say("bea", "hi"))]);
    drop(state);
    fill_changes(at);
    let mut state = State::open(at, Default::default()).unwrap();
    let kept = |floor: u64| {
        let sql = "SELECT changes, (SELECT count(*) FROM changes), changes_after,
            (SELECT min(position) > changes_after FROM changes) FROM meta";
        let expected = format!("{CHANGES_KEPT_MAX}|{CHANGES_KEPT_MAX}|{floor}|1");
        assert_eq!(rows(at, sql), [expected]);
    };
    // The conversation that was opened is one change more than are kept: the next entry removes the
    // oldest.
    apply(&mut state, vec![]);
    kept(1);
    accept(&mut state, vec![ask(1, 2, react(1, 1, "+1", true))]);
    kept(2);
    // However many changes one entry brings, no more than the bound are kept after it.
    let toggles = (0..200).map(|n| ask(1, 3 + n, react(1, 1, "+1", n % 2 == 1)));
    accept(&mut state, toggles.collect());
    kept(202);
    apply(&mut state, vec![]);
    kept(202);
    let resumed = |after| {
        let page = state
            .reader()
            .stream(conclave_core::AccountId(1), Position(after), 10);
        page.unwrap().gap
    };
    assert!(resumed(201));
    assert!(!resumed(202));
}

#[test]
fn a_send_to_a_warm_conversation_reads_no_table() {
    let (directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    accept(&mut state, vec![ask(1, 1, create_room("lobby", true))]);
    let send = |state: &mut State, number: u64| {
        accept(
            state,
            vec![
                ask(1, number, say("bea", "hi")),
                ask(1, number + 1, say_in(2, "hi")),
                ask(1, number + 2, say_room("lobby", "hi")),
            ],
        );
    };
    send(&mut state, 2);
    // A reader of a table would now find no member, and no message.
    let connection = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    let tables = [
        "accounts",
        "sessions",
        "answers",
        "conversations",
        "members",
        "messages",
        "blocks",
        "hidden",
        "mentions",
    ];
    for table in tables {
        let sql = format!("DELETE FROM {table}");
        connection.execute(&sql, []).unwrap();
    }
    send(&mut state, 5);
    assert_eq!(
        rows(
            directory.path(),
            "SELECT conversation, sequence, ordinal FROM messages ORDER BY position"
        ),
        ["2|3|3", "2|4|4", "1|2|2"]
    );
}
