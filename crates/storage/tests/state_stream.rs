//! The stream: its events, the accounts that get them, and their form after they were changed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;

use conclave_core::{
    AccountId, AccountOperation, ConversationId, DisplayName, MemberRole, Operation, Position,
    Progress, Sequence,
};
use conclave_storage::state::{IndexRow, RoomChange, State, StreamEvent};
use read_support::*;
use state_support::{START, accept, ask, people, say};

/// Returns everything that an account gets from a position on.
fn told(state: &State, account: u64, after: Position) -> Vec<StreamEvent> {
    let page = state.reader().stream(AccountId(account), after, 1000);
    let page = page.unwrap();
    assert!(page.complete);
    page.items.into_iter().map(|item| item.what).collect()
}

fn now(state: &State) -> Position {
    state.reader().applied_position().unwrap()
}

/// Returns the events that an account gets for these commands alone.
fn told_of(
    state: &mut State,
    account: u64,
    commands: Vec<conclave_core::Command>,
) -> Vec<StreamEvent> {
    let before = now(state);
    accept(state, commands);
    told(state, account, before)
}

#[test]
fn message_changes_reach_the_accounts_that_see_the_message() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea", "cyd"]);
    accept(
        &mut state,
        vec![ask(1, 1, say("bea", "x")), ask(1, 2, say("bea", "y"))],
    );
    let before = now(&state);
    accept(
        &mut state,
        vec![
            ask(1, 3, edit(1, 1, "@bea z")),
            ask(2, 1, react(1, 1, "+", true)),
            ask(2, 2, react(1, 1, "+", false)),
            ask(1, 4, delete(1, &[2], true)),
        ],
    );
    // Both are shown as late as this: after the second one no account gives the reaction.
    let reaction = |present| StreamEvent::Reaction {
        message: message(1, 1),
        account: AccountId(2),
        name: Some("bea".to_owned()),
        reaction: "+".to_owned(),
        present,
        count: 0,
    };
    let edited = |account| {
        let row = state.reader().message(AccountId(account), message(1, 1));
        let row = row.unwrap().unwrap();
        assert_eq!(
            (row.text.as_deref(), row.mentions.len()),
            (Some("@bea z"), 1)
        );
        StreamEvent::Edited(row)
    };
    let deleted = StreamEvent::Deleted(message(1, 2));
    for account in [1, 2] {
        let expected = [
            edited(account),
            reaction(true),
            reaction(false),
            deleted.clone(),
        ];
        assert_eq!(told(&state, account, before), expected);
    }
    assert_eq!(told(&state, 3, Position(0)), []);

    // A hidden message is not delivered again, and only the account that hid it learns that it is
    // hidden.
    accept(&mut state, vec![ask(2, 3, delete(1, &[1], false))]);
    let hidden = StreamEvent::Hidden(message(1, 1));
    assert_eq!(told(&state, 2, before), [deleted, hidden]);
    assert_eq!(told(&state, 1, before).len(), 4);
}

#[test]
fn a_member_gets_room_events_from_joining_until_leaving() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    accept(
        &mut state,
        vec![
            ask(1, 1, create_room("Hall", true)),
            ask(1, 2, say_room("Hall", "early")),
        ],
    );
    let hall = ConversationId(1);
    let name = |name: &str| Some(name.to_owned());
    let joined = StreamEvent::Room(RoomChange::Joined {
        conversation: hall,
        room_name: name("Hall"),
        account: AccountId(2),
        name: name("bea"),
    });
    accept(&mut state, vec![ask(2, 1, join("Hall"))]);
    assert_eq!(told(&state, 2, Position(0)), [joined]);
    let page = state.reader().stream(AccountId(2), now(&state), 1).unwrap();
    assert_eq!(page.rooms, [hall]);
    let role = StreamEvent::Room(RoomChange::RoleChanged {
        conversation: hall,
        account: AccountId(2),
        role: MemberRole::Moderator,
    });
    let topic = StreamEvent::Room(RoomChange::TopicChanged {
        conversation: hall,
        topic: "tea".to_owned(),
    });
    let commands = vec![
        ask(1, 3, set_role("Hall", "bea", MemberRole::Moderator)),
        ask(2, 2, set_topic("Hall", "tea")),
    ];
    assert_eq!(told_of(&mut state, 2, commands), [role, topic]);
    let left = StreamEvent::Room(RoomChange::Left {
        conversation: hall,
        room_name: name("Hall"),
        account: AccountId(2),
        name: name("bea"),
        by: AccountId(1),
    });
    accept(&mut state, vec![ask(1, 4, kick("Hall", "bea"))]);
    assert_eq!(
        told(&state, 2, Position(0)),
        [left],
        "a room that one is not in is not told"
    );
    let page = state.reader().stream(AccountId(2), now(&state), 1).unwrap();
    assert_eq!(page.rooms, []);
}

#[test]
fn invitations_and_account_changes_reach_only_their_account() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    accept(&mut state, vec![ask(1, 1, create_room("Den", false))]);
    let before = now(&state);
    let display_name = DisplayName::new("Bea").unwrap();
    accept(
        &mut state,
        vec![
            ask(1, 2, invite("Den", "bea")),
            ask(
                2,
                1,
                Operation::Account(AccountOperation::SetDisplayName { display_name }),
            ),
        ],
    );
    let invited = StreamEvent::Room(RoomChange::Invited {
        conversation: ConversationId(1),
        room_name: Some("Den".to_owned()),
        by: AccountId(1),
    });
    let bea = state.reader().account(AccountId(2)).unwrap().unwrap();
    assert_eq!(bea.display_name, "Bea");
    assert_eq!(
        told(&state, 2, before),
        [invited, StreamEvent::AccountChanged(bea)]
    );
    assert_eq!(told(&state, 1, before), []);
}

#[test]
fn only_the_last_advance_is_streamed_and_in_rooms_only_the_own() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    accept(
        &mut state,
        vec![
            ask(1, 1, say("bea", "x")),
            ask(1, 2, say("bea", "y")),
            ask(1, 3, create_room("Hall", true)),
            ask(2, 1, join("Hall")),
            ask(1, 4, say_room("Hall", "z")),
        ],
    );
    let before = now(&state);
    accept(
        &mut state,
        vec![
            ask(2, 2, advance(1, 1, 1)),
            ask(2, 3, advance(1, 2, 1)),
            ask(2, 4, advance(2, 1, 1)),
        ],
    );
    let of_bea = |conversation, delivered, read| StreamEvent::Advanced {
        conversation: ConversationId(conversation),
        account: AccountId(2),
        progress: Progress {
            delivered: Sequence(delivered),
            read: Sequence(read),
        },
    };
    assert_eq!(told(&state, 2, before), [of_bea(1, 2, 1), of_bea(2, 1, 1)]);
    assert_eq!(told(&state, 1, before), [of_bea(1, 2, 1)]);
    let opened = |peer: &str| StreamEvent::Opened {
        conversation: ConversationId(1),
        peer_name: Some(peer.to_owned()),
    };
    assert_eq!(told(&state, 1, Position(0))[0], opened("bea"));
    assert_eq!(told(&state, 2, Position(0))[0], opened("ann"));
}

#[test]
fn resuming_before_the_forgotten_changes_reports_a_gap() {
    let (directory, mut state) = opened();
    people(&mut state, &["ann"]);
    // As if the changes up to there had been forgotten.
    let beside = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    let forgotten = Position::new(1, 5);
    let sql = "UPDATE meta SET changes_after = ?1";
    beside.execute(sql, [forgotten.0.cast_signed()]).unwrap();
    let reader = state.reader();
    for (after, gap) in [
        (Position(0), true),
        (Position::new(1, 4), true),
        (forgotten, false),
    ] {
        assert_eq!(reader.stream(AccountId(1), after, 1).unwrap().gap, gap);
        assert_eq!(reader.for_index(after, 1).unwrap().gap, gap);
    }
}

#[test]
fn messages_of_others_cost_a_resuming_stream_no_page() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea", "cyd"]);
    accept(&mut state, vec![ask(3, 1, say("bea", "first"))]);
    let begin = now(&state);
    for number in 1..=20 {
        let others = (0..250).map(|n| ask(1, 250 * number + n, say("bea", "not for cyd")));
        let result =
            state_support::apply_at(&mut state, START + 600_000 * number, others.collect());
        assert!(result.answers.iter().all(Result::is_ok));
    }
    accept(&mut state, vec![ask(3, 2, say("bea", "last"))]);
    let [StreamEvent::Sent(last)] = &told(&state, 3, begin)[..] else {
        panic!("more than one message of its own");
    };
    assert_eq!(last.text.as_deref(), Some("last"));
}

#[test]
fn a_stream_goes_on_behind_any_message_of_a_long_conversation() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    for number in 1..=67 {
        accept(&mut state, vec![ask(1, number, say("bea", "x"))]);
    }
    let messages = |after| {
        let items = state.reader().stream(AccountId(2), after, 1000);
        let items = items.unwrap().items.into_iter();
        let sent = items.filter(|item| matches!(item.what, StreamEvent::Sent(_)));
        sent.map(|item| item.position).collect::<Vec<_>>()
    };
    let all = messages(Position(0));
    assert_eq!(all.len(), 67);
    for (at, position) in all.iter().enumerate() {
        assert_eq!(messages(*position), all[at + 1..]);
        assert_eq!(messages(Position(position.0 - 1)), all[at..]);
    }
}

#[test]
fn the_index_gets_all_sends_edits_and_deletions() {
    let (_directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    accept(
        &mut state,
        vec![
            ask(1, 1, say("bea", "one")),
            ask(2, 1, say("ann", "two")),
            ask(1, 2, say("bea", "three")),
        ],
    );
    let reader = state.reader();
    let first = reader.for_index(Position(0), 2).unwrap();
    let texts = |rows: &[IndexRow]| -> Vec<Option<String>> {
        rows.iter().map(|row| row.text.clone()).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(texts(&first.rows), [some("one"), some("two")]);
    assert_eq!(first.scanned_to, first.rows[1].position);
    assert_eq!((first.rows[1].by.0, first.rows[1].conversation.0), (2, 1));
    assert_eq!((first.rows[1].sent_at.0, first.complete), (START, false));
    let rest = reader.for_index(first.scanned_to, 1000).unwrap();
    assert_eq!(
        (texts(&rest.rows), rest.complete),
        (vec![some("three")], true)
    );
    assert_eq!(rest.scanned_to, now(&state));
    accept(
        &mut state,
        vec![
            ask(1, 3, edit(1, 1, "uno")),
            ask(2, 2, react(1, 1, "+", true)),
            ask(2, 3, delete(1, &[2], true)),
            ask(2, 4, delete(1, &[1], false)),
        ],
    );
    let later = reader.for_index(rest.scanned_to, 1000).unwrap();
    assert_eq!(texts(&later.rows), [some("uno"), None]);
    let positions = |rows: &[IndexRow]| rows.iter().map(|row| row.position).collect::<Vec<_>>();
    assert_eq!(positions(&later.rows), positions(&first.rows));
}
