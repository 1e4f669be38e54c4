//! Reading: pages visit everything once, names and progress are right, and no frequent query scans.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;

use std::sync::atomic::{AtomicBool, Ordering};

use conclave_core::{
    AccountId, Command, ConversationId, NamePattern, Position, Progress, Sequence, TokenHash,
};
use conclave_storage::state::{
    Counterpart, Delivery, Destination, HistoryFrom, MessageRow, ReadError, StreamEvent,
};
use read_support::opened;
use state_support::{START, accept, apply_at, ask, digest, people, say};

/// Returns a command that deletes messages of conversation 1.
fn delete(session: u64, number: u64, sequences: &[u64], for_everyone: bool) -> Command {
    ask(
        session,
        number,
        read_support::delete(1, sequences, for_everyone),
    )
}

/// Returns a command that advances in conversation 1.
fn advance(session: u64, number: u64, delivered: u64, read: u64) -> Command {
    ask(session, number, read_support::advance(1, delivered, read))
}

fn sequences(rows: &[MessageRow]) -> Vec<u64> {
    rows.iter().map(|row| row.sequence.0).collect()
}

#[test]
fn every_field_is_read_back_as_written() {
    let (_directory, mut state) = opened();
    people(&mut state, &["Ann", "bea"]);
    let sent = apply_at(
        &mut state,
        START + 5,
        vec![ask(1, 1, say("BEA", "hé\0\u{1F600}"))],
    );
    accept(&mut state, vec![advance(2, 1, 1, 0)]);
    let reader = state.reader();
    let ann = reader.account_by_key("ann").unwrap().unwrap();
    assert_eq!(Some(&ann), reader.account(AccountId(1)).unwrap().as_ref());
    assert_eq!(
        (ann.name.as_str(), ann.password_hash.as_str()),
        ("Ann", "$argon2id$Ann")
    );
    assert_eq!((ann.password_version, ann.created_at.0), (1, START));
    let mut token = [7; 32];
    token[..8].copy_from_slice(&1_u64.to_be_bytes());
    let session = reader.session_by_token(&TokenHash(token)).unwrap().unwrap();
    assert_eq!(
        (session.id.0, session.account.0, session.closed),
        (1, 1, false)
    );
    assert_eq!(session.account_name.as_deref(), Some("Ann"));
    assert_eq!(reader.request_last(session.id).unwrap(), 1);
    assert_eq!(session.opened_at.0, START);

    let page = reader.history(AccountId(2), ConversationId(1), HistoryFrom::End, 10);
    let page = page.unwrap().unwrap();
    let [row] = &page.rows[..] else {
        panic!("{page:?}")
    };
    assert_eq!(row.position, sent.events.last().unwrap().0);
    assert_eq!((row.by.0, row.by_name.as_deref()), (1, Some("Ann")));
    let to_bea = Destination::Peer {
        account: AccountId(2),
        name: Some("bea".to_owned()),
        delivery: Delivery::Delivered,
    };
    assert_eq!(row.to, to_bea);
    assert_eq!(
        (row.reply_to, row.action, row.edited_at),
        (None, false, None)
    );
    assert_eq!(
        (row.sent_at.0, row.text.as_deref()),
        (START + 5, Some("hé\0\u{1F600}"))
    );
    assert_eq!(reader.unread(AccountId(2), 10).unwrap(), page.rows);
    assert_eq!(
        reader.direct_with(AccountId(2), "ann").unwrap(),
        Some(ConversationId(1))
    );
    let list = reader.conversations(AccountId(2), None, 10).unwrap();
    let ann = Counterpart::Peer {
        account: AccountId(1),
        name: Some("Ann".to_owned()),
        progress: Progress::default(),
    };
    assert_eq!((&list[0].with, list[0].unread), (&ann, 1));
    assert_eq!(
        (list[0].progress.delivered.0, list[0].sequence_last.0),
        (1, 1)
    );
}

#[test]
fn paging_visits_every_message_once_in_both_directions() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    for number in 1..=50 {
        accept(&mut state, vec![ask(1, number, say("bea", "x"))]);
    }
    let hidden: Vec<u64> = (10..30).collect();
    accept(
        &mut state,
        vec![delete(2, 1, &hidden, false), delete(1, 51, &[40], true)],
    );
    let expected: Vec<u64> = (1..10).chain(30..=50).collect();
    let reader = state.reader();
    for limit in [1, 7, 21, 1000] {
        let ask = |from| {
            let page = reader.history(AccountId(2), ConversationId(1), from, limit);
            page.unwrap().unwrap()
        };
        let mut up = Vec::new();
        let mut next = Some(Sequence(0));
        while let Some(after) = next {
            let page = ask(HistoryFrom::After(after));
            up.extend(sequences(&page.rows));
            next = page.newer;
        }
        assert_eq!(up, expected, "limit {limit}");
        let mut page = ask(HistoryFrom::End);
        let mut down = sequences(&page.rows);
        while let Some(before) = page.older {
            page = ask(HistoryFrom::Before(before));
            down.splice(0..0, sequences(&page.rows));
        }
        assert_eq!(down, expected, "limit {limit}");

        let mut stream = Vec::new();
        let mut position = Position(0);
        loop {
            let part = reader.stream(AccountId(2), position, limit).unwrap();
            stream.extend(part.items.iter().filter_map(|item| match &item.what {
                StreamEvent::Sent(row) => Some(row.sequence.0),
                _ => None,
            }));
            assert!(part.scanned_to >= position);
            position = part.scanned_to;
            if part.complete {
                break;
            }
        }
        assert_eq!(stream, expected, "limit {limit}");
        let last = state.applied().last.unwrap();
        assert_eq!(position, Position::end_of(last.index));
    }
    let page = reader.history(
        AccountId(2),
        ConversationId(1),
        HistoryFrom::Before(Sequence(41)),
        1,
    );
    assert_eq!(
        page.unwrap().unwrap().rows[0].text,
        None,
        "a deleted message keeps its place"
    );
    let stranger = reader.history(AccountId(3), ConversationId(1), HistoryFrom::End, 1);
    assert_eq!(stranger.unwrap(), None);
}

#[test]
fn a_page_around_a_message_has_both_sides() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    for number in 1..=20 {
        accept(&mut state, vec![ask(1, number, say("bea", "x"))]);
    }
    accept(&mut state, vec![delete(2, 1, &[9, 11], false)]);
    let reader = state.reader();
    let around = |at, limit| {
        let from = HistoryFrom::Around(Sequence(at));
        let page = reader.history(AccountId(2), ConversationId(1), from, limit);
        let page = page.unwrap().unwrap();
        let edges = (page.older.map(|at| at.0), page.newer.map(|at| at.0));
        (sequences(&page.rows), edges)
    };
    assert_eq!(around(10, 5), (vec![7, 8, 10, 12, 13], (Some(7), Some(13))));
    assert_eq!(around(10, 1), (vec![10], (Some(10), Some(10))));
    assert_eq!(around(1, 4), (vec![1, 2], (None, Some(2))));
    assert_eq!(around(0, 4), (vec![1, 2], (None, Some(2))));
    assert_eq!(around(20, 4), (vec![18, 19, 20], (Some(18), None)));
    assert_eq!(around(99, 4), (vec![19, 20], (Some(19), None)));
    assert_eq!(around(u64::MAX, 2).0, [20]);
    let stranger = HistoryFrom::Around(Sequence(1));
    let stranger = reader.history(AccountId(3), ConversationId(1), stranger, 4);
    assert_eq!(stranger.unwrap(), None);
}

#[test]
fn a_list_shows_the_last_message_that_is_not_hidden() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    let long = "é".repeat(300);
    accept(
        &mut state,
        vec![
            ask(1, 1, say("bea", &long)),
            ask(2, 1, say("ann", "last")),
            ask(1, 2, say("ann", "to herself")),
        ],
    );
    let last = |state: &conclave_storage::state::State, account| {
        let rows = state
            .reader()
            .conversations_with_last(AccountId(account), None, 10);
        let shown = |last: conclave_storage::state::PreviewRow| (last.sequence.0, last.text);
        let rows = rows.unwrap().into_iter();
        rows.map(|row| row.last.map(shown)).collect::<Vec<_>>()
    };
    let text = |text: &str| Some(text.to_owned());
    let two = Some((2, text("last")));
    assert_eq!(
        last(&state, 1),
        [two.clone(), Some((1, text("to herself")))]
    );
    accept(&mut state, vec![delete(1, 3, &[2], false)]);
    assert_eq!(last(&state, 1)[0], Some((1, text(&"é".repeat(200)))));
    assert_eq!(last(&state, 2), [two]);
    accept(
        &mut state,
        vec![delete(2, 2, &[2], true), delete(1, 4, &[1], false)],
    );
    assert_eq!(
        (&last(&state, 1)[0], &last(&state, 2)[0]),
        (&None, &Some((2, None)))
    );
    let plain = state
        .reader()
        .conversations(AccountId(2), None, 10)
        .unwrap();
    assert_eq!(plain[0].last, None, "it was not asked for");
}

#[test]
fn members_that_gave_a_reaction_are_listed_in_pages() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea", "cyd", "dan"]);
    accept(
        &mut state,
        vec![ask(1, 1, read_support::create_room("hall", true))],
    );
    for session in [2, 3] {
        accept(
            &mut state,
            vec![ask(session, 1, read_support::join("hall"))],
        );
    }
    accept(
        &mut state,
        vec![ask(1, 2, read_support::say_room("hall", "hi"))],
    );
    for session in [1, 2, 3] {
        let react = |reaction| read_support::react(1, 1, reaction, true);
        accept(
            &mut state,
            vec![ask(session, 3, react("+1")), ask(session, 4, react("x"))],
        );
    }
    accept(
        &mut state,
        vec![ask(2, 5, read_support::react(1, 1, "x", false))],
    );
    let reader = state.reader();
    let who = |account, sequence, reaction: &str, after: Option<u64>, limit| {
        let message = read_support::message(1, sequence);
        let reaction = conclave_core::Reaction::new(reaction).unwrap();
        let after = after.map(AccountId);
        let rows = reader.reactors(AccountId(account), message, &reaction, after, limit);
        let name = |row: conclave_storage::state::ReactorRow| row.name.unwrap();
        rows.unwrap()
            .map(|rows| rows.into_iter().map(name).collect::<Vec<_>>())
    };
    let some = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(who(1, 1, "+1", None, 2), some(&["ann", "bea"]));
    assert_eq!(who(1, 1, "+1", Some(2), 2), some(&["cyd"]));
    assert_eq!(who(2, 1, "x", None, 9), some(&["ann", "cyd"]));
    assert_eq!(who(2, 1, "y", None, 9), some(&[]));
    assert_eq!(who(4, 1, "+1", None, 9), None, "not a member");
    assert_eq!(who(1, 2, "+1", None, 9), None, "no such message");
}

#[test]
fn unread_lists_the_messages_of_others_in_log_order() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea", "cyd"]);
    let say_to_ann = |session, number, text: &str| ask(session, number, say("ann", text));
    accept(
        &mut state,
        vec![say_to_ann(2, 1, "b1"), say_to_ann(3, 1, "c1")],
    );
    accept(
        &mut state,
        vec![say_to_ann(2, 2, "b2"), ask(1, 1, say("bea", "own"))],
    );
    accept(
        &mut state,
        vec![say_to_ann(3, 2, "c2"), say_to_ann(2, 3, "b3")],
    );
    accept(
        &mut state,
        vec![advance(1, 2, 1, 1), delete(2, 4, &[2], true)],
    );
    let texts = |limit| -> Vec<String> {
        let rows = state.reader().unread(AccountId(1), limit).unwrap();
        rows.into_iter().map(|row| row.text.unwrap()).collect()
    };
    assert_eq!(texts(10), ["c1", "c2", "b3"]);
    assert_eq!(texts(2), ["c1", "c2"]);
    let list = state
        .reader()
        .conversations(AccountId(1), None, 10)
        .unwrap();
    assert_eq!(
        list.iter().map(|row| row.unread).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn a_list_of_accounts_continues_after_its_last_row() {
    let (_directory, mut state) = opened();
    people(&mut state, &["bob", "Alan", "alice", "Albert", "zoe"]);
    let pattern = NamePattern::new("al*").unwrap();
    for limit in [1, 2, 9] {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = state
                .reader()
                .accounts(&pattern, after.as_deref(), limit)
                .unwrap();
            names.extend(page.rows.into_iter().map(|row| row.name));
            after = page.next_after_key;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(names, ["Alan", "Albert", "alice"], "limit {limit}");
    }
}

#[test]
fn concurrent_readers_see_whole_transactions() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    accept(&mut state, vec![ask(1, 1, say("bea", "x"))]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let reader = state.reader();
            let done = &done;
            scope.spawn(move || {
                let mut last_before = 0;
                while !done.load(Ordering::Relaxed) {
                    let page = reader.history(AccountId(2), ConversationId(1), HistoryFrom::End, 9);
                    let page = page.unwrap().unwrap();
                    let last = page.sequence_last.0;
                    assert_eq!(page.rows.last().unwrap().sequence.0, last);
                    // Each entry sends three messages, after the first one.
                    assert_eq!(last % 3, 1, "half an entry was seen");
                    assert!(last >= last_before, "the state ran backwards");
                    last_before = last;
                }
            });
        }
        let mut number = 1;
        for _ in 0..300 {
            let sends = (1..=3)
                .map(|n| ask(1, number + n, say("bea", "x")))
                .collect();
            accept(&mut state, sends);
            number += 3;
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(digest(&state).messages, 901);
}

#[test]
fn a_closed_state_is_not_read() {
    let (_directory, state) = opened();
    let reader = state.reader();
    drop(state);
    assert!(matches!(reader.applied(), Err(ReadError::Closed)));
}

#[test]
fn the_cost_of_a_deletion_does_not_grow_with_the_mailbox() {
    for messages in [10, 5_000] {
        let (directory, mut state) = opened();
        people(&mut state, &["ann", "bea"]);
        for first in (1..=messages).step_by(100) {
            let last = messages.min(first + 99);
            let sends = (first..=last)
                .map(|number| ask(1, number, say("bea", "x")))
                .collect();
            accept(&mut state, sends);
        }
        assert!(state.checkpoint().unwrap().complete);
        // The write-ahead log was moved, so it restarts with this deletion.
        accept(
            &mut state,
            vec![delete(1, messages + 1, &[messages / 2], true)],
        );
        let beside = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
        let pages: i64 = beside
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))
            .unwrap();
        // A page for each table and index that changes, and the pages that a split adds.
        assert!(
            (1..=12).contains(&pages),
            "{messages} messages: {pages} pages were written"
        );
    }
}
