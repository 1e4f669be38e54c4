//! Long texts: a page ends by its bytes, says that there is more, and nothing is left out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod search_support;
mod state_support;

use conclave_core::{
    AccountId, ConversationId, Position, Sequence,
    limits::{
        PAGE_BYTES_MAX, PAGE_MAX, REACTION_BYTES_MAX, REACTION_KINDS_MAX, REACTIONS_OF_ONE_MAX,
        TEXT_BYTES_MAX,
    },
};
use conclave_storage::{
    search::{CancelFlag, SearchError},
    state::{HistoryFrom, MessageRow, State, StreamEvent},
};
use search_support::World;
use state_support::{START, accept, apply_at, ask, people, say};

/// Number of messages, with more bytes than two pages have.
const MESSAGES: u64 = 200;

/// Number of reactions that an account gives in a minute, less than it may.
const REACTIONS_PER_MINUTE: usize = 500;

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
fn a_history_page_is_bounded_in_bytes_in_both_directions() {
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
fn unread_pages_are_bounded_in_bytes() {
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
fn a_stream_page_is_bounded_in_bytes() {
    let (_directory, state) = long_story();
    let (mut after, mut seen) = (Position(0), 0);
    loop {
        let page = state.reader().stream(ANN, after, 1000).unwrap();
        let rows = page.items.iter().filter_map(|item| match &item.what {
            StreamEvent::Sent(row) => Some(row.bytes()),
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

/// Gives messages as many and as long reactions as there may be: the bytes of these, without the
/// texts, fill more than one page.
#[test]
fn reactions_count_towards_the_bytes_of_a_page() {
    let messages = PAGE_BYTES_MAX / (REACTION_KINDS_MAX * REACTION_BYTES_MAX) + 1;
    assert!(messages < PAGE_MAX);
    let (_directory, mut state) = read_support::opened();
    let names = ["ann", "bea", "cyd", "dan", "eve"];
    people(&mut state, &names);
    accept(
        &mut state,
        vec![ask(1, 1, read_support::create_room("Hall", true))],
    );
    for who in 2..=names.len() as u64 {
        accept(&mut state, vec![ask(who, 1, read_support::join("Hall"))]);
    }
    let sends = (0..messages as u64).map(|n| ask(1, 2 + n, read_support::say_room("Hall", "x")));
    let mut commands: Vec<_> = sends.collect();
    let long = |kind: usize| format!("{kind:0>width$}", width = REACTION_BYTES_MAX);
    for (of, who) in (2..=5).enumerate() {
        let kinds = of * REACTIONS_OF_ONE_MAX..(of + 1) * REACTIONS_OF_ONE_MAX;
        let all = (1..=messages as u64).flat_map(|at| kinds.clone().map(move |kind| (at, kind)));
        let asked = all.zip(2..);
        let reacts = asked.map(|((at, kind), number)| {
            ask(who, number, read_support::react(1, at, &long(kind), true))
        });
        commands.extend(reacts);
    }
    // Each part is a minute later, so that no account reacts faster than it may.
    for (minute, part) in (1..).zip(commands.chunks(REACTIONS_PER_MINUTE)) {
        let answers = apply_at(&mut state, START + minute * 60_000, part.to_vec()).answers;
        assert!(answers.iter().all(Result::is_ok));
    }
    let (reader, id) = (state.reader(), ConversationId(1));
    for from in [HistoryFrom::After(Sequence(0)), HistoryFrom::End] {
        let page = reader.history(BEA, id, from, PAGE_MAX).unwrap().unwrap();
        check_page(&page.rows, false);
        let reactions = page.rows.iter().map(|row| row.reactions.len());
        assert_eq!(reactions.min(), Some(REACTION_KINDS_MAX));
        assert!(page.older.or(page.newer).is_some());
    }
    check_page(&reader.unread(BEA, PAGE_MAX).unwrap(), false);
    let (mut after, mut seen) = (Position(0), 0);
    loop {
        let page = reader.stream(ANN, after, PAGE_MAX).unwrap();
        let rows = page.items.iter().filter_map(|item| match &item.what {
            StreamEvent::Sent(row) => Some(row.bytes()),
            _ => None,
        });
        let bytes: Vec<usize> = rows.collect();
        seen += bytes.len();
        assert!(bytes.iter().sum::<usize>() <= 300 * 1024);
        after = page.scanned_to;
        if page.complete {
            break;
        }
    }
    assert_eq!(seen, messages);
}

#[test]
fn a_search_page_is_bounded_in_bytes_and_can_be_stopped() {
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
    let stop = CancelFlag::default();
    stop.set();
    let query = search_support::query("word");
    let stopped = world.search.find(BEA, &query, None, 100, &stop);
    assert!(matches!(stopped, Err(SearchError::Stopped)), "{stopped:?}");
    // The connection that was interrupted serves the next one.
    let found = search_support::find(&world.search, 2, "word", None, 1);
    assert_eq!(found.rows.len(), 1);
}
