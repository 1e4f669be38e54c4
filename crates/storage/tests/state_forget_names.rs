//! What names a forgotten message gets a clear answer, and so does everything beside it; a limit
//! for all conversations together forgets the oldest of all.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod retention_support;
mod state_support;
mod story;

use conclave_core::{
    Accepted, AccountId, ConversationId, Reaction, Recipient, Rejection, RetentionChange, Sequence,
};
use conclave_storage::state::{HistoryFrom, State};
use read_support::*;
use retention_support::*;
use state_support::*;
use story::rows;

const HOUR: u64 = 60 * 60 * 1000;

#[test]
fn what_names_a_forgotten_message_gets_a_clear_answer() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    prepare(&mut state);
    let first = apply(&mut state, vec![ask(1, 1, say("bea", "hello @bea"))]);
    let (first_at, _) = *first.events.last().unwrap();
    for n in 2..=9 {
        accept(&mut state, vec![ask(1, n, say("bea", "hello @bea"))]);
    }
    accept(
        &mut state,
        vec![
            ask(2, 1, react(1, 3, "+1", true)),
            ask(2, 2, advance(1, 2, 2)),
            once(7, keep_newest(2)),
        ],
    );
    forget_all(&mut state, START, &[1]);
    let gone = |sequence| {
        Err(Rejection::NoSuchMessage {
            conversation: 1,
            sequence,
        })
    };
    let none = Ok(Accepted::MessagesDeleted { count: 0 });
    let answer_to = |message| {
        send(
            Recipient::Conversation(ConversationId(1)),
            "so",
            message,
            false,
        )
    };
    for (number, (session, asked, expected)) in [
        (1, edit(1, 7, "other"), gone(7)),
        (2, react(1, 3, "+1", false), gone(3)),
        (2, react(1, 3, "heart", true), gone(3)),
        (1, edit(1, 0, "other"), gone(0)),
        (1, delete(1, &[1, 7], true), none.clone()),
        (2, delete(1, &[7], false), none),
        (1, delete(1, &[0], true), gone(0)),
        (2, answer_to(Some(10)), gone(10)),
    ]
    .into_iter()
    .enumerate()
    {
        let asked = ask(session, 100 + number as u64, asked);
        let answers = apply(&mut state, vec![asked]).answers;
        assert_eq!(answers, [expected], "{number}");
    }
    // Answering it, and having read up to it, is allowed.
    accept(&mut state, vec![ask(2, 200, answer_to(Some(3)))]);
    accept(&mut state, vec![ask(2, 201, advance(1, 5, 4))]);
    let reader = state.reader();
    let bea = AccountId(2);
    assert_eq!(reader.message(bea, message(1, 7)).unwrap(), None);
    assert_eq!(reader.message_for_all(message(1, 7)).unwrap(), None);
    assert_eq!(reader.messages_at(bea, &[first_at]).unwrap(), []);
    let like = Reaction::new("+1").unwrap();
    let reactors = reader.reactors(bea, message(1, 3), &like, None, 9);
    assert_eq!(reactors.unwrap(), None);
    let before = |sequence| reader.unread_before(bea, ConversationId(1), Sequence(sequence));
    assert_eq!([3, 8, 9, 10].map(|at| before(at).unwrap()), [0, 0, 1, 2]);
    let found = reader.conversations_with_last(bea, None, 9).unwrap();
    assert_eq!((found[0].unread, found[0].unread_mentions), (2, 2));
    assert_eq!(found[0].last.as_ref().unwrap().sequence, Sequence(10));
    for edge in [0, 1, 7, 8, u64::MAX].map(Sequence) {
        for from in [
            HistoryFrom::Before(edge),
            HistoryFrom::After(edge),
            HistoryFrom::Around(edge),
        ] {
            let page = reader.history(bea, ConversationId(1), from, 9);
            let page = page.unwrap().unwrap();
            let older = page.older.map_or(9, |older| older.0);
            assert!(older > 8, "{from:?} {older}");
            assert!(page.rows.iter().all(|row| row.sequence.0 > 7), "{from:?}");
        }
    }
    digest(&state);
}

#[test]
fn everything_may_be_forgotten_and_the_conversation_goes_on() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    prepare(&mut state);
    for n in 1..=3 {
        accept(&mut state, vec![ask(1, n, say("bea", "hi @bea"))]);
    }
    let hour = RetentionChange {
        age_ms: Some(HOUR),
        ..RetentionChange::default()
    };
    accept(&mut state, vec![once(7, set_retention(hour))]);
    forget_all(&mut state, START + HOUR, &[1]);
    let bea = AccountId(2);
    let listed = |state: &State| {
        let found = state.reader().conversations_with_last(bea, None, 9);
        found.unwrap().remove(0)
    };
    let row = listed(&state);
    assert_eq!((row.sequence_last, row.unread), (Sequence(3), 0));
    assert_eq!((row.unread_mentions, row.last), (0, None));
    for from in [HistoryFrom::End, HistoryFrom::Around(Sequence(2))] {
        let page = state.reader().history(bea, ConversationId(1), from, 9);
        let page = page.unwrap().unwrap();
        assert_eq!(
            (page.rows, page.older, page.forgotten),
            (vec![], None, Sequence(3))
        );
    }
    accept(
        &mut state,
        vec![
            ask(2, 1, advance(1, 3, 3)),
            ask(1, 4, say("bea", "and on @bea")),
        ],
    );
    let row = listed(&state);
    assert_eq!((row.sequence_last, row.unread), (Sequence(4), 1));
    assert_eq!(row.unread_mentions, 1);
    digest(&state);
}

#[test]
fn of_too_many_messages_in_all_the_oldest_go_wherever_they_are() {
    let (directory, mut state) = opened();
    let at = directory.path();
    people(&mut state, &["ann", "bea", "cyd"]);
    prepare(&mut state);
    accept(&mut state, vec![ask(1, 1, create_room("lobby", true))]);
    for n in 0..100 {
        accept(
            &mut state,
            vec![
                ask(1, 10 + 2 * n, say("bea", "hi")),
                ask(1, 11 + 2 * n, say_room("lobby", "hello")),
            ],
        );
    }
    let in_all = |total_messages| {
        set_retention(RetentionChange {
            total_messages: Some(total_messages),
            ..RetentionChange::default()
        })
    };
    assert!(!state.reader().has_surplus().unwrap());
    accept(&mut state, vec![once(7, in_all(30))]);
    assert!(state.reader().has_surplus().unwrap());
    assert_eq!(forget_all(&mut state, START, &[]), 3, "64, 64 and 42");
    assert!(!state.reader().has_surplus().unwrap());
    assert_eq!(digest(&state).messages, 30);
    let kept = "SELECT conversation, min(sequence), max(sequence) FROM messages
        GROUP BY conversation ORDER BY conversation";
    assert_eq!(rows(at, kept), ["1|86|100", "2|86|100"]);
    // What the sweep removes anyway is not made up for by others.
    let both = vec![
        once(8, in_all(20)),
        ask(1, 300, leave("lobby")),
        once(9, forget(&[])),
    ];
    let answers = accept(&mut state, both);
    assert_eq!(answers[2], Ok(Accepted::MessagesDeleted { count: 0 }));
    while rows(at, "SELECT count(*) FROM orphans") != ["0"] {
        apply(&mut state, vec![]);
    }
    assert_eq!(forget_all(&mut state, START + 1, &[]), 0);
    assert_eq!(rows(at, kept), ["2|86|100"]);
    digest(&state);
}
