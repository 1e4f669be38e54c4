//! Mentions that an edit adds to a message that was read: they count once, and until the account
//! reads again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;

use conclave_core::AccountId;
use conclave_storage::state::State;
use read_support::*;
use state_support::{accept, ask, people};

fn unread(state: &State, account: u64) -> (u64, u64) {
    let list = state.reader().conversations(AccountId(account), None, 1);
    let list = list.unwrap();
    (list[0].unread, list[0].unread_mentions)
}

/// Creates Ann, Bea and Cyd in a room in which Ann has sent `text`.
fn room_with(text: &str) -> (tempfile::TempDir, State) {
    let (directory, mut state) = opened();
    people(&mut state, &["ann", "bea", "cyd"]);
    accept(
        &mut state,
        vec![
            ask(1, 1, create_room("Hall", true)),
            ask(2, 1, join("Hall")),
            ask(3, 1, join("Hall")),
            ask(1, 2, say_room("Hall", text)),
        ],
    );
    (directory, state)
}

#[test]
fn a_mention_added_by_an_edit_counts_once() {
    let (_directory, mut state) = room_with("hello");
    accept(&mut state, vec![ask(2, 2, advance(1, 1, 1))]);
    assert_eq!(unread(&state, 2), (0, 0));
    accept(
        &mut state,
        vec![ask(1, 3, edit(1, 1, "hello @bea and @cyd"))],
    );
    assert_eq!(unread(&state, 2), (0, 1), "read before it was edited");
    assert_eq!(unread(&state, 3), (1, 1), "never read");
    // The mention is kept, and kept once more.
    accept(
        &mut state,
        vec![ask(1, 4, edit(1, 1, "hello @bea, and @cyd"))],
    );
    assert_eq!((unread(&state, 2), unread(&state, 3)), ((0, 1), (1, 1)));
    accept(&mut state, vec![ask(2, 3, advance(1, 1, 1))]);
    assert_eq!(unread(&state, 2), (0, 0), "read again");
    accept(&mut state, vec![ask(1, 5, edit(1, 1, "hello @bea!"))]);
    assert_eq!((unread(&state, 2), unread(&state, 3)), ((0, 0), (1, 0)));
}

#[test]
fn a_late_mention_ends_with_its_text_its_message_or_a_read() {
    let (_directory, mut state) = room_with("hello");
    accept(
        &mut state,
        vec![
            ask(2, 2, advance(1, 1, 1)),
            ask(1, 3, edit(1, 1, "hello @bea")),
        ],
    );
    assert_eq!(unread(&state, 2), (0, 1));
    accept(&mut state, vec![ask(1, 4, edit(1, 1, "hello"))]);
    assert_eq!(unread(&state, 2), (0, 0), "taken out again");
    accept(&mut state, vec![ask(1, 5, edit(1, 1, "@bea"))]);
    accept(&mut state, vec![ask(1, 6, delete(1, &[1], true))]);
    assert_eq!(unread(&state, 2), (0, 0), "deleted");
    accept(
        &mut state,
        vec![
            ask(1, 7, say_room("Hall", "two")),
            ask(2, 3, advance(1, 2, 2)),
            ask(1, 8, edit(1, 2, "two @bea")),
            ask(1, 9, say_room("Hall", "three @bea")),
        ],
    );
    assert_eq!(unread(&state, 2), (1, 2));
    accept(&mut state, vec![ask(2, 4, advance(1, 3, 3))]);
    assert_eq!(unread(&state, 2), (0, 0));
    // A member that leaves and joins again has read everything.
    accept(
        &mut state,
        vec![
            ask(1, 10, edit(1, 2, "two")),
            ask(1, 11, edit(1, 2, "two @bea")),
        ],
    );
    assert_eq!(unread(&state, 2), (0, 1));
    accept(
        &mut state,
        vec![ask(2, 5, leave("Hall")), ask(2, 6, join("Hall"))],
    );
    assert_eq!(unread(&state, 2), (0, 0));
}

#[test]
fn an_account_is_found_by_the_look_of_its_name() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "Will"]);
    let find = |state: &State, look: &str| {
        let found = state.reader().account_by_skeleton(look).unwrap();
        found.map(|row| row.name)
    };
    assert_eq!(find(&state, "will").as_deref(), Some("Will"));
    assert_eq!(find(&state, "Will"), None);
    let answer = state_support::apply(
        &mut state,
        vec![state_support::once(9, state_support::create("vvi11."))],
    );
    assert_eq!(answer.answers, [Err(conclave_core::Rejection::NameAlike)]);
}
