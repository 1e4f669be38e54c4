//! Filters without words, exclusions, the unread filter, and queries that no person would type.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod search_support;
mod state_support;

use conclave_core::{AccountId, MessageOperation, MessageRef, Operation, Progress};
use conclave_storage::search::CancelFlag;
use conclave_words::{SearchQuery, query::Zone};
use proptest::prelude::*;
use search_support::{ALICE, BOB, CAROL, World, find, january, texts, to_lobby};

fn reads(world: &mut World, account: u64, to: MessageRef) {
    let progress = Progress {
        delivered: to.sequence,
        read: to.sequence,
    };
    let advance = Operation::Message(MessageOperation::AdvancePositions {
        positions: vec![(to.conversation, progress)],
    });
    world.asks(account, advance);
}

#[test]
fn a_filter_alone_is_a_valid_query() {
    let mut world = World::with_lobby();
    world.room("attic", CAROL, &[ALICE]);
    world.now = january(10, 0);
    world.says(ALICE, "lobby", "one");
    world.now = january(11, 0);
    world.says(BOB, "lobby", "two https://example.org");
    world.now = january(12, 0);
    world.says(CAROL, "attic", "three 🎉");
    world.tells(BOB, "alice", "four");
    for (typed, found) in [
        ("from:alice", &["one"][..]),
        ("from:bob", &["four", "two https://example.org"]),
        ("in:#lobby", &["two https://example.org", "one"]),
        ("in:bob", &["four"]),
        ("🎉", &["three 🎉"]),
        ("has:link", &["two https://example.org"]),
        ("-has:link in:#lobby", &["one"]),
        ("on:1970-01-11", &["two https://example.org"]),
        ("before:1970-01-11", &["one"]),
        ("after:1970-01-11", &["four", "three 🎉"]),
        ("after:1970-01-10 -from:bob", &["three 🎉"]),
        ("-in:#lobby", &["four", "three 🎉"]),
        ("-in:#lobby -in:bob", &["three 🎉"]),
        ("-from:bob -from:carol", &["one"]),
        ("-from:mallory -in:#nowhere from:alice", &["one"]),
        ("-one -two -three", &["four"]),
    ] {
        assert_eq!(world.finds(ALICE, typed), found, "{typed}");
    }
    // A hidden message is not found by the absence of a word either.
    assert_eq!(world.finds(CAROL, "-x"), ["three 🎉"]);
    assert!(world.finds(CAROL, "from:bob").is_empty());
    assert!(world.finds(CAROL, "on:1970-01-10").is_empty());
}

#[test]
fn search_days_are_in_the_callers_zone() {
    let mut world = World::with_lobby();
    world.now = january(10, 20);
    world.says(ALICE, "lobby", "late");
    world.settle();
    let found = |typed: &str, offset| {
        let query = SearchQuery::parse(typed, &Zone::new(offset, Vec::new()).unwrap()).unwrap();
        let found = world
            .search
            .find(AccountId(BOB), &query, None, 9, &CancelFlag::default());
        found.unwrap().rows.len()
    };
    assert_eq!(
        (found("on:1970-01-10", 0), found("on:1970-01-11", 0)),
        (1, 0)
    );
    assert_eq!(
        (found("on:1970-01-10", 540), found("on:1970-01-11", 540)),
        (0, 1)
    );
    assert_eq!(
        (
            found("before:1970-01-11", 540),
            found("after:1970-01-10", 540)
        ),
        (0, 1)
    );
    assert_eq!(
        (
            found("before:1970-01-11", -300),
            found("after:1970-01-10", -300)
        ),
        (1, 0)
    );
}

#[test]
fn excluded_messages_stay_excluded_after_an_edit() {
    let mut world = World::with_lobby();
    world.says(ALICE, "lobby", "party tonight");
    let noon = world.says(ALICE, "lobby", "party at noon");
    assert_eq!(world.finds(BOB, "party -tonight"), ["party at noon"]);
    assert_eq!(world.finds(BOB, "party -\"at noon\""), ["party tonight"]);
    assert!(world.finds(BOB, "party -from:alice").is_empty());
    world.edits(ALICE, noon, "party tonight at noon");
    // The search does not wait for the index.
    assert!(world.finds_at_once(BOB, "party -tonight").is_empty());
}

#[test]
fn is_unread_finds_only_unread_messages() {
    let mut world = World::with_lobby();
    let first = world.says(ALICE, "lobby", "word one");
    world.says(ALICE, "lobby", "word two");
    world.says(BOB, "lobby", "word three");
    world.tells(ALICE, "bob", "word four");
    world.tells(BOB, "bob", "word to myself");
    assert_eq!(
        world.finds(BOB, "is:unread"),
        ["word four", "word two", "word one"]
    );
    reads(&mut world, BOB, first);
    assert_eq!(
        world.finds(BOB, "word is:unread"),
        ["word four", "word two"]
    );
    assert_eq!(world.finds(BOB, "is:unread in:#lobby"), ["word two"]);
    let read = ["word to myself", "word three", "word one"];
    assert_eq!(world.finds(BOB, "-is:unread"), read);
    assert_eq!(world.finds(ALICE, "is:unread"), ["word three"]);
}

#[test]
fn a_broad_exclusion_continues_page_by_page() {
    let mut world = World::with_lobby();
    world.says(ALICE, "lobby", "word wanted");
    for _ in 0..25 {
        let said = (0..200).map(|_| to_lobby("word barred")).collect();
        world.now += 60_000;
        world.ask_all(ALICE, said);
    }
    world.settle();
    let first = find(&world.search, BOB, "word -barred", None, 20);
    assert!(first.rows.is_empty() && first.next_before.is_some());
    let next = find(&world.search, BOB, "word -barred", first.next_before, 20);
    assert_eq!(texts(&next), ["word wanted"]);
    assert_eq!(next.next_before, None);
}

#[test]
fn a_search_in_long_texts_continues_page_by_page() {
    let mut world = World::with_lobby();
    world.says(ALICE, "lobby", "word wanted");
    let long = format!("word barred {}", "x ".repeat(8000));
    for _ in 0..30 {
        let said = (0..10).map(|_| to_lobby(&long)).collect();
        // Slowly enough for the limits of an account.
        world.now += 60_000;
        world.ask_all(ALICE, said);
    }
    world.settle();
    // Only 300 candidates, but of nearly 5 MB.
    let first = find(&world.search, BOB, "word -barred", None, 20);
    assert!(first.rows.is_empty() && first.next_before.is_some());
    let next = find(&world.search, BOB, "word -barred", first.next_before, 20);
    assert_eq!(texts(&next), ["word wanted"]);
}

#[test]
fn no_valid_query_fails_in_the_index() {
    let mut world = World::with_lobby();
    world.says(ALICE, "lobby", "word 東京 🎉 ไทย \"quoted\" NEAR");
    world.settle();
    proptest!(|(typed in prop_oneof![
        any::<String>(),
        "([ \"*:#a1é^(){}+-]|東京|🎉|\\PC|from:|in:|has:link|NEAR|AND|\u{0}){0,40}",
    ])| {
        if let Ok(query) = SearchQuery::parse(&typed, &Zone::default()) {
            let found = world.search.find(AccountId(BOB), &query, None, 9, &CancelFlag::default());
            prop_assert!(found.is_ok(), "{:?}", found);
        }
    });
}
