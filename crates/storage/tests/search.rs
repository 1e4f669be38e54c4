//! Search results: words, phrases and filters, and never a message that the searcher may not see.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod search_support;
mod state_support;

use conclave_core::{AccountId, Operation, Position, RoomName, RoomOperation};
use search_support::{ALICE, BOB, CAROL, World, at, find, january, texts, to_lobby};

#[test]
fn members_find_and_others_do_not() {
    let mut world = World::with_lobby();
    world.says(ALICE, "lobby", "the red balloon");
    world.tells(ALICE, "bob", "a blue balloon");
    assert_eq!(
        world.finds(BOB, "balloon"),
        ["a blue balloon", "the red balloon"]
    );
    assert_eq!(world.finds(ALICE, "Balloon red"), ["the red balloon"]);
    assert!(world.finds(CAROL, "balloon").is_empty());
    assert!(world.finds(BOB, "green").is_empty());
    // A session that outlives its account searches under an account number that no longer exists.
    assert!(world.finds(99, "balloon").is_empty());
}

#[test]
fn a_former_member_finds_nothing_and_a_new_member_all_history() {
    let mut world = World::with_lobby();
    world.says(ALICE, "lobby", "the red balloon");
    world.leaves(BOB, "lobby");
    assert!(world.finds(BOB, "balloon").is_empty());
    let name = RoomName::new("lobby").unwrap();
    world.asks(CAROL, Operation::Room(RoomOperation::JoinRoom { name }));
    assert_eq!(world.finds(CAROL, "balloon"), ["the red balloon"]);
}

#[test]
fn hidden_messages_are_found_only_by_others() {
    let mut world = World::with_lobby();
    let message = world.says(ALICE, "lobby", "the red balloon");
    world.deletes(BOB, message, false);
    assert!(world.finds(BOB, "balloon").is_empty());
    assert_eq!(world.finds(ALICE, "balloon"), ["the red balloon"]);
}

#[test]
fn deleted_messages_disappear_from_search_at_once() {
    let mut world = World::with_lobby();
    let message = world.says(ALICE, "lobby", "the red balloon");
    assert_eq!(world.finds(BOB, "balloon").len(), 1);
    world.deletes(ALICE, message, true);
    // The search does not wait for the index.
    assert!(world.finds_at_once(BOB, "balloon").is_empty());
    assert!(world.finds(BOB, "balloon").is_empty());
}

#[test]
fn an_edited_message_is_found_by_its_new_words_only() {
    let mut world = World::with_lobby();
    let message = world.says(ALICE, "lobby", "the red balloon");
    assert_eq!(world.finds(BOB, "red").len(), 1);
    world.edits(ALICE, message, "the green balloon");
    // The search does not wait for the index: the old word is gone at once, the unchanged word is
    // found.
    assert!(world.finds_at_once(BOB, "red").is_empty());
    let still = world.finds_at_once(BOB, "balloon");
    assert_eq!(still, ["the green balloon"]);
    assert_eq!(world.finds(BOB, "green"), ["the green balloon"]);
    assert!(world.finds(BOB, "red").is_empty());
    world.edits(ALICE, message, "red again");
    assert_eq!(world.finds(BOB, "red"), ["red again"]);
    assert!(world.finds(BOB, "green").is_empty());
}

#[test]
fn filters_narrow_the_search_results() {
    let mut world = World::with_lobby();
    world.room("attic", ALICE, &[BOB]);
    world.room("cellar", CAROL, &[]);
    world.now = january(19, 23);
    world.says(ALICE, "lobby", "word one");
    world.now = january(20, 0);
    world.says(BOB, "lobby", "word two");
    world.now = january(20, 23);
    world.says(BOB, "attic", "word three");
    world.now = january(21, 0);
    world.tells(ALICE, "bob", "word four");
    world.says(CAROL, "cellar", "word five");
    let four = ["word four", "word three", "word two", "word one"];
    for (typed, found) in [
        ("word", &four[..]),
        ("word from:bob", &four[1..3]),
        ("from:ALICE word", &[four[0], four[3]]),
        ("word in:#lobby", &four[2..]),
        ("word in:#Attic", &four[1..2]),
        ("word in:bob", &four[..1]),
        ("word from:bob in:#lobby", &four[2..3]),
        ("word before:1970-01-20", &four[3..]),
        ("word before:1970-01-21", &four[1..]),
        ("word after:1970-01-20", &four[..1]),
        ("word after:1970-01-19", &four[..3]),
        ("word after:1970-01-19 before:1970-01-21", &four[1..3]),
        ("word after:1970-01-20 before:1970-01-20", &[]),
        ("word before:1970-01-01", &[]),
        ("word after:9999-12-31", &[]),
        ("two before:1970-01-21 from:bob in:#lobby", &four[2..3]),
        ("word from:mallory", &[]),
        ("word from:carol", &[]),
        ("word in:#nowhere", &[]),
        ("word in:#cellar", &[]),
        ("word in:carol", &[]),
        ("word in:mallory", &[]),
    ] {
        assert_eq!(world.finds(ALICE, typed), found, "{typed}");
    }
    assert_eq!(world.finds(BOB, "word in:alice"), &four[..1]);
}

#[test]
fn messages_are_found_by_date_after_dates_went_back() {
    let mut world = World::with_lobby();
    // The clocks of a majority were ten days ahead for a while, and a month for a message.
    let days = [
        (18, "one"),
        (19, "two"),
        (29, "three"),
        (20, "four"),
        (51, "five"),
        (21, "six"),
    ];
    for (day, text) in days {
        world.now = january(day, 12);
        world.says(ALICE, "lobby", &format!("word {text}"));
    }
    let found = |typed: &str| world.finds(BOB, typed);
    assert_eq!(
        found("word after:1970-01-19 before:1970-01-22"),
        ["word six", "word four"]
    );
    assert_eq!(
        found("word before:1970-01-22"),
        ["word six", "word four", "word two", "word one"]
    );
    assert_eq!(found("word after:1970-01-25"), ["word five", "word three"]);
    assert_eq!(
        found("word after:1970-01-20 before:1970-01-30"),
        ["word six", "word three"]
    );
}

#[test]
fn words_are_folded_and_phrases_keep_their_order() {
    let mut world = World::with_lobby();
    let text = "Our Crème brûlée, served well-done";
    world.says(ALICE, "lobby", text);
    for (typed, is_found) in [
        ("creme", true),
        ("BRÛLÉE", true),
        ("\"creme brulee\"", true),
        ("\"brulee creme\"", false),
        ("\"our creme served\"", false),
        ("serv", false),
        ("serv*", true),
        ("\"brulee serv\"", false),
        ("well-done", true),
        ("done-well", false),
        ("well-do*", true),
        ("creme missing", false),
    ] {
        let found = !world.finds(BOB, typed).is_empty();
        assert_eq!(found, is_found, "{typed}");
    }
}

#[test]
fn index_syntax_in_a_query_is_never_executed() {
    let mut world = World::with_lobby();
    world.says(ALICE, "lobby", "alpha beta");
    world.says(ALICE, "lobby", "say NEAR and not or text tags c2 a1");
    for (typed, count) in [
        ("alpha AND beta", 0),
        ("alpha OR missing", 0),
        ("alpha NOT missing", 0),
        ("NOT", 1),
        ("and OR near", 1),
        ("NEAR(alpha", 0),
        ("NEAR(alpha beta)", 0),
        ("\"alpha\" \"beta\"", 1),
        ("alpha\"beta", 1),
        ("alpha\"\"beta", 1),
        ("alpha' beta;--", 1),
        ("text:alpha", 0),
        ("tags:c2", 1),
        ("\u{e000}c1", 0),
        ("{tags}:alpha", 0),
        ("c2 alpha", 0),
        ("^alpha", 1),
        ("^beta", 1),
        ("-beta", 1),
        ("alpha -beta", 0),
        ("--beta", 1),
        ("alpha + beta", 1),
        ("(alpha", 1),
        ("alpha)", 1),
        ("\"alpha*\"", 1),
        ("\"alph*\"", 0),
        ("*alpha", 1),
        ("alpha\0beta", 1),
        ("\"alpha\0beta\"", 1),
        ("ⅻ", 0),
        ("\u{1e900}", 0),
        ("\u{e000}c1 alpha", 0),
    ] {
        assert_eq!(world.finds(BOB, typed).len(), count, "{typed}");
    }
}

#[test]
fn search_pages_show_each_result_once_newest_first() {
    let mut world = World::with_lobby();
    for hundred in 0..3 {
        let text = |n| format!("word {}", hundred * 100 + n);
        let hundred = (0..100).map(|n| to_lobby(&text(n))).collect();
        world.ask_all(ALICE, hundred);
    }
    world.settle();
    let all: Vec<String> = (0..300).rev().map(|n| format!("word {n}")).collect();
    for limit in [1, 7, 100, 299, 300, 1000] {
        assert_eq!(world.finds_by_pages(BOB, "word", limit), all, "{limit}");
    }
    let none = find(&world.search, BOB, "word", Some(Position(0)), 10);
    assert!(none.rows.is_empty() && none.next_before.is_none());
    let all = find(&world.search, BOB, "word", Some(Position(u64::MAX)), 10);
    assert_eq!(all.rows.len(), 10);
}

#[test]
fn a_search_covers_exactly_the_rooms_of_its_caller() {
    let mut world = World::with_lobby();
    for room in 0..70 {
        let name = format!("room-{room}");
        world.room(&name, CAROL, &[]);
        world.says(CAROL, &name, &format!("word {room}"));
    }
    elsewhere(&mut world, 1000);
    world.settle();
    let all: Vec<String> = (0..70).rev().map(|n| format!("word {n}")).collect();
    let first = find(&world.search, CAROL, "word", None, 20);
    assert_eq!(texts(&first), all[..20]);
    assert_eq!(world.finds_by_pages(CAROL, "word", 20), all);
    assert_eq!(world.finds(CAROL, "word in:#room-7"), ["word 7"]);
    assert!(world.finds(CAROL, "word from:alice").is_empty());
}

#[test]
fn a_search_in_very_many_conversations_covers_all_by_pages() {
    let mut world = World::with_lobby();
    for room in 0..256 {
        world.room(&format!("room-{room}"), CAROL, &[]);
    }
    world.says(CAROL, "room-0", "word one");
    world.tells(CAROL, "carol", "word two");
    // Far more messages that the searcher may not see than one page looks at.
    elsewhere(&mut world, 5000);
    world.settle();
    let first = find(&world.search, CAROL, "word", None, 20);
    assert!(first.rows.is_empty() && first.next_before.is_some());
    assert_eq!(
        world.finds_by_pages(CAROL, "word", 20),
        ["word two", "word one"]
    );
}

/// Sends messages that Carol may not see.
fn elsewhere(world: &mut World, count: usize) {
    for _ in 0..count / 200 {
        let messages = (0..200).map(|_| to_lobby("word elsewhere")).collect();
        world.ask_all(ALICE, messages);
    }
}

#[test]
fn a_search_row_equals_the_message_in_the_state() {
    let mut world = World::with_lobby();
    let message = world.says(ALICE, "lobby", "the red balloon");
    world.says(BOB, "lobby", "something else");
    world.settle();
    let found = find(&world.search, BOB, "balloon", None, 5);
    let reader = world.state.reader();
    let row = reader.message(AccountId(BOB), message).unwrap().unwrap();
    assert_eq!(message, at(row.conversation, 1));
    assert_eq!(found.rows, [row]);
    assert_eq!(found.complete_to, found.applied);
}
