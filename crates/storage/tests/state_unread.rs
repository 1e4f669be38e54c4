//! Unread messages: the oldest first over all conversations, at a cost that follows the number of
//! results.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;

use conclave_core::{
    AccountId, Command, ConversationId, Sequence,
    limits::{BATCH_COMMANDS_MAX, DELETE_MESSAGES_MAX, PAGE_MAX},
};
use conclave_storage::state::State;
use read_support::*;
use state_support::{accept, ask, people, say};

/// Number of messages that a reader looks at together.
const STEP_MAX: u64 = 64;

/// Sends these messages, one after the other, in entries as large as they may be.
fn send_all(state: &mut State, commands: Vec<Command>) {
    for part in commands.chunks(BATCH_COMMANDS_MAX) {
        accept(state, part.to_vec());
    }
}

fn texts(state: &State, account: u64, limit: usize) -> Vec<String> {
    let rows = state.reader().unread(AccountId(account), limit).unwrap();
    rows.into_iter().map(|row| row.text.unwrap()).collect()
}

/// Returns the reported number of unread messages in the first conversation.
fn unread(state: &State, account: u64) -> u64 {
    let list = state.reader().conversations(AccountId(account), None, 1);
    list.unwrap()[0].unread
}

#[test]
fn unread_reads_skip_runs_of_own_messages() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    accept(
        &mut state,
        vec![
            ask(1, 1, create_room("Hall", true)),
            ask(2, 1, join("Hall")),
        ],
    );
    let (mut numbers, mut expected, mut commands) = ([1, 1], Vec::new(), Vec::new());
    let mut say_in_hall = |who: usize, text: &str| {
        numbers[who] += 1;
        ask(1 + who as u64, numbers[who], say_room("Hall", text))
    };
    for run in [0, 1, 2, 6, 7, 8, 9, 63, 64, 65, 200, 3000, 1, 0] {
        commands.extend((0..run).map(|_| say_in_hall(0, "own")));
        expected.push(format!("after {run}"));
        commands.push(say_in_hall(1, &format!("after {run}")));
    }
    commands.extend((0..70).map(|_| say_in_hall(0, "own")));
    send_all(&mut state, commands);
    assert_eq!(texts(&state, 1, 1000), expected);
    assert_eq!(texts(&state, 1, 3), expected[..3]);
    assert_eq!(unread(&state, 1), expected.len() as u64);
    assert_eq!(unread(&state, 2), 3000 + 426 + 70);
    assert_eq!(texts(&state, 2, 5), ["own"; 5]);
    // Between two runs and in the middle of one.
    let number = number_after(&state);
    accept(&mut state, vec![ask(1, number, advance(1, 5, 5))]);
    assert_eq!(texts(&state, 1, 2), expected[2..4]);
    assert_eq!(unread(&state, 1), expected.len() as u64 - 2);
}

/// Returns a request number that session 1 has not used.
fn number_after(state: &State) -> u64 {
    let mut token = [7; 32];
    token[..8].copy_from_slice(&1_u64.to_be_bytes());
    let token = conclave_core::TokenHash(token);
    let session = state.reader().session_by_token(&token).unwrap().unwrap();
    state.reader().request_last(session.id).unwrap() + 1
}

#[test]
fn deleted_and_hidden_messages_are_not_unread() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    let sends = (1..=20).map(|n| ask(2, n, say("ann", &format!("@ann {n}"))));
    send_all(&mut state, sends.collect());
    let gone: Vec<u64> = (1..=9).collect();
    accept(
        &mut state,
        vec![
            ask(2, 21, delete(1, &gone, true)),
            // One of these is deleted already, so it is left out once.
            ask(1, 1, delete(1, &[9, 10, 12], false)),
        ],
    );
    assert_eq!(texts(&state, 1, 2), ["@ann 11", "@ann 13"]);
    assert_eq!(unread(&state, 1), 9);
    let list = state.reader().conversations(AccountId(1), None, 1).unwrap();
    assert_eq!(list[0].unread_mentions, 9);
    accept(&mut state, vec![ask(1, 2, advance(1, 15, 15))]);
    assert_eq!(unread(&state, 1), 5);
    // The account's own deleted messages were never unread.
    accept(
        &mut state,
        vec![
            ask(1, 3, say("bea", "own")),
            ask(1, 4, delete(1, &[21], true)),
        ],
    );
    assert_eq!(unread(&state, 1), 5);
    assert_eq!(texts(&state, 1, 9).len(), 5);
}

fn unread_before(state: &State, account: u64, before: u64) -> u64 {
    let reader = state.reader();
    let found = reader.unread_before(AccountId(account), ConversationId(1), Sequence(before));
    found.unwrap()
}

#[test]
fn unread_before_a_page_is_counted_past_many_deleted_messages() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea", "cyd"]);
    let deleted = 2 * PAGE_MAX as u64;
    let commands = (1..=deleted).map(|n| ask(2, n, say("ann", "x")));
    send_all(&mut state, commands.collect());
    let sequences: Vec<u64> = (1..=deleted).collect();
    let parts = sequences.chunks(DELETE_MESSAGES_MAX).zip(deleted + 1..);
    let commands = parts.map(|(part, n)| ask(2, n, delete(1, part, true)));
    send_all(&mut state, commands.collect());
    let n = deleted + 100;
    let (hidden, own) = (deleted + 2, deleted + 3);
    accept(
        &mut state,
        vec![
            ask(2, n, say("ann", "first")),
            ask(2, n + 1, say("ann", "hidden")),
            ask(1, 1, say("bea", "own")),
            ask(2, n + 2, say("ann", "last")),
            ask(1, 2, delete(1, &[hidden], false)),
        ],
    );
    let last = own + 1;
    let cases = [
        (0, 0),
        (1, 0),
        (2, 0),
        (deleted, 0),
        (deleted + 1, 0),
        (hidden, 1),
        (own, 1),
        (last, 1),
        (last + 1, 2),
    ];
    for (before, expected) in cases {
        assert_eq!(unread_before(&state, 1, before), expected, "{before}");
    }
    // The sender has read nothing and sent all but one; the third account is no member.
    assert_eq!(unread_before(&state, 2, last + 1), 1);
    assert_eq!(unread_before(&state, 3, last + 1), 0);
    accept(
        &mut state,
        vec![ask(1, 3, advance(1, deleted + 1, deleted + 1))],
    );
    assert_eq!(unread_before(&state, 1, last), 0);
    assert_eq!(unread_before(&state, 1, last + 1), 1);
}

#[test]
fn messages_to_the_own_account_count_as_read() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann"]);
    accept(&mut state, vec![ask(1, 1, say("ann", "note"))]);
    assert_eq!(texts(&state, 1, 9), [""; 0]);
    assert_eq!(unread(&state, 1), 0);
}

#[test]
fn unread_past_many_deletions_is_listed_after_an_advance() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea", "cyd"]);
    let sends = 4 * PAGE_MAX as u64 + STEP_MAX;
    let commands = (1..=sends).map(|n| ask(2, n, say("ann", "x")));
    send_all(&mut state, commands.collect());
    let sequences: Vec<u64> = (1..=sends).collect();
    let parts = sequences.chunks(DELETE_MESSAGES_MAX).zip(sends + 1..);
    let commands = parts.map(|(part, n)| ask(2, n, delete(1, part, true)));
    send_all(&mut state, commands.collect());
    accept(
        &mut state,
        vec![
            ask(2, sends + 100, say("ann", "behind")),
            ask(3, 1, say("ann", "beside")),
        ],
    );
    assert_eq!(texts(&state, 1, 9), ["beside"]);
    let number = number_after(&state);
    accept(&mut state, vec![ask(1, number, advance(1, 100, 100))]);
    assert_eq!(texts(&state, 1, 9), ["behind", "beside"]);
}
