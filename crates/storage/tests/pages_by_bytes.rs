//! Long texts: a page ends by its bytes, says that there is more, and nothing is left out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod search_support;
mod state_support;

use conclave_core::{
    AccountId, ConversationId, Position, Sequence,
    limits::{PAGE_BYTES_MAX, TEXT_BYTES_MAX},
};
use conclave_storage::{
    search::{SearchError, Stop},
    state::{Happened, HistoryFrom, MessageRow, State},
};
use search_support::World;
use state_support::{accept, ask, people, say};

/// More bytes than two pages have.
const MESSAGES: u64 = 200;

const ANN: AccountId = AccountId(1);
const BEA: AccountId = AccountId(2);

fn long_story() -> (tempfile::TempDir, State) {
    let (directory, mut state) = read_support::opened();
    people(&mut state, &["ann", "bea"]);
    let text = "word ".repeat(TEXT_BYTES_MAX / 5);
    for number in 1..=MESSAGES {
        accept(&mut state, vec![ask(1, number, say("bea", &text))]);
    }
    (directory, state)
}

fn check_page(rows: &[MessageRow], is_last: bool) {
    let bytes: usize = rows.iter().map(MessageRow::bytes).sum();
    let most = PAGE_BYTES_MAX + TEXT_BYTES_MAX + 1024;
    assert!(bytes <= most, "{bytes}");
    assert!(
        is_last || bytes >= PAGE_BYTES_MAX,
        "{bytes}: it ended early"
    );
}

#[test]
fn a_page_of_history_ends_by_its_bytes_in_both_directions() {
    let (_directory, state) = long_story();
    let (reader, id) = (state.reader(), ConversationId(1));
    let (mut from, mut seen) = (HistoryFrom::After(Sequence(0)), Vec::new());
    loop {
        let page = reader.history(BEA, id, from, 1000).unwrap().unwrap();
        check_page(&page.rows, page.newer.is_none());
        seen.extend(page.rows.iter().map(|row| row.sequence.0));
        let Some(newer) = page.newer else { break };
        from = HistoryFrom::After(newer);
    }
    assert_eq!(seen, (1..=MESSAGES).collect::<Vec<_>>());
    let (mut from, mut seen) = (HistoryFrom::End, Vec::new());
    loop {
        let page = reader.history(BEA, id, from, 1000).unwrap().unwrap();
        check_page(&page.rows, page.older.is_none());
        seen.extend(page.rows.iter().rev().map(|row| row.sequence.0));
        let Some(older) = page.older else { break };
        from = HistoryFrom::Before(older);
    }
    assert_eq!(seen, (1..=MESSAGES).rev().collect::<Vec<_>>());
}

#[test]
fn what_is_unread_comes_in_pages_that_end_by_their_bytes() {
    let (_directory, mut state) = long_story();
    let (mut seen, mut number) = (0, 0);
    while seen < MESSAGES {
        let rows = state.reader().unread(BEA, 1000).unwrap();
        let first = rows.first().unwrap().sequence.0;
        assert_eq!(first, seen + 1);
        seen = rows.last().unwrap().sequence.0;
        check_page(&rows, seen == MESSAGES);
        number += 1;
        let read = read_support::advance(1, seen, seen);
        accept(&mut state, vec![ask(2, number, read)]);
    }
    assert!(number > 2);
}

#[test]
fn a_page_of_a_stream_ends_by_its_bytes() {
    let (_directory, state) = long_story();
    let (mut after, mut seen) = (Position(0), 0);
    loop {
        let page = state.reader().stream(ANN, after, 1000).unwrap();
        let rows = page.items.iter().filter_map(|item| match &item.what {
            Happened::Sent(row) => Some(row.bytes()),
            _ => None,
        });
        let bytes: Vec<usize> = rows.collect();
        seen += bytes.len() as u64;
        assert!(bytes.iter().sum::<usize>() <= 300 * 1024);
        after = page.scanned_to;
        if page.complete {
            break;
        }
    }
    assert_eq!(seen, MESSAGES);
}

#[test]
fn a_page_of_a_search_ends_by_its_bytes_and_a_search_can_be_stopped() {
    let mut world = World::of(&["alice", "bob"]);
    let text = "word ".repeat(TEXT_BYTES_MAX / 5);
    for _ in 0..200 {
        world.tells(1, "bob", &text);
    }
    world.settle();
    let (mut before, mut seen) = (None, 0);
    loop {
        let found = search_support::find(&world.search, 2, "word", before, 100);
        check_page(
            &found.rows,
            found.rows.len() == 100 || found.next_before.is_none(),
        );
        seen += found.rows.len();
        before = found.next_before;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, 200);
    let stop = Stop::default();
    stop.set();
    let query = search_support::query("word");
    let stopped = world.search.find(BEA, &query, None, 100, &stop);
    assert!(matches!(stopped, Err(SearchError::Stopped)), "{stopped:?}");
    // The connection that was interrupted serves the next one.
    let found = search_support::find(&world.search, 2, "word", None, 1);
    assert_eq!(found.rows.len(), 1);
}
