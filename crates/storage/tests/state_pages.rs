//! Random logs: pages of any size, from any position, return everything that the account may see
//! once and in order, and stored counts are what counting returns.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;

use std::collections::BTreeMap;

use conclave_core::{
    AccountId, AccountOperation, ConversationId, DisplayName, MemberRole, Operation, Position,
    limits::PAGE_MAX,
};
use conclave_storage::state::{
    HistoryFrom, MessageRow, RoomChange, State, StreamEvent, StreamItem,
};
use proptest::prelude::*;
use read_support::{model::Model, *};
use state_support::{ask, people, say};

const NAMES: [&str; 4] = ["ann", "bea", "cyd", "dan"];
const ROOMS: [&str; 3] = ["hall", "den", "bar"];

/// Account and operation, with three numbers that each operation uses as it needs.
type Step = (u64, u8, u64, u64);

/// Steps before the random ones: a room with three members, a private one, and a direct
/// conversation.
const BEFORE: [Step; 5] = [
    (0, 15, 0, 0),
    (0, 0, 1, 0),
    (1, 17, 0, 0),
    (2, 17, 0, 0),
    (1, 15, 0, 1),
];

fn operation(what: u8, x: u64, y: u64) -> Operation {
    // Most operations on messages concern the first conversations and their first messages.
    let (of, at) = (1 + x % 3, 1 + y % 12);
    let name = NAMES[(x % 4) as usize];
    let room = ROOMS[(y % 3) as usize];
    match what {
        0..=5 => say(name, &format!("@{} {x} {y}", NAMES[(y % 4) as usize])),
        6..=14 => say_room(room, &format!("@{name}, {x}")),
        15 | 16 => create_room(room, room != "den"),
        17..=20 => join(room),
        21 => leave(room),
        22 => invite(room, name),
        23 => kick(room, name),
        24 => set_topic(room, name),
        25 => set_role(room, name, MemberRole::Moderator),
        26..=28 => edit(of, at, &format!("@{name} again")),
        29..=31 => react(of, at, ["+", "-"][(x % 2) as usize], !y.is_multiple_of(3)),
        32..=35 => advance(of, at, y % 12),
        36 | 37 => delete(of, &[at], true),
        38..=40 => delete(of, &[at, 1 + y % 5], false),
        41 => block(name, !y.is_multiple_of(3)),
        42 => Operation::Account(AccountOperation::SetDisplayName {
            display_name: DisplayName::new(room).unwrap(),
        }),
        43 if x < 8 => Operation::Account(AccountOperation::DeleteAccount {
            password_version: 1,
        }),
        _ => invite("den", name),
    }
}

/// Applies steps in entries of up to three commands; some commands are refused.
fn play(state: &mut State, model: &mut Model, numbers: &mut [u64; 4], steps: &[Step]) {
    for entry in steps.chunks(3) {
        let commands = entry.iter().map(|(who, what, x, y)| {
            numbers[*who as usize] += 1;
            ask(1 + who, numbers[*who as usize], operation(*what, *x, *y))
        });
        let result = state_support::apply(state, commands.collect());
        for (position, event) in &result.events {
            model.apply(*position, event);
        }
    }
}

fn kind(item: &StreamItem) -> &'static str {
    match &item.what {
        StreamEvent::Sent(_) => "sent",
        StreamEvent::Edited(_) => "edited",
        StreamEvent::Deleted(_) => "deleted",
        StreamEvent::Hidden(_) => "hidden",
        StreamEvent::Reaction { .. } => "reaction",
        StreamEvent::Advanced { .. } => "advanced",
        StreamEvent::Opened { .. } => "opened",
        StreamEvent::Forgotten { .. } => "forgotten",
        StreamEvent::Room(RoomChange::Joined { .. }) => "joined",
        StreamEvent::Room(RoomChange::Left { .. }) => "left",
        StreamEvent::Room(RoomChange::RoleChanged { .. }) => "role",
        StreamEvent::Room(RoomChange::TopicChanged { .. }) => "topic",
        StreamEvent::Room(RoomChange::Invited { .. }) => "invited",
        StreamEvent::AccountChanged(_) => "account",
    }
}

/// Returns all items after `after`, read in pages of `limit`.
fn stream(state: &State, account: u64, after: Position, limit: usize) -> Vec<StreamItem> {
    let (mut items, mut position) = (Vec::new(), after);
    loop {
        let page = state
            .reader()
            .stream(AccountId(account), position, limit)
            .unwrap();
        assert!(page.items.len() <= limit && !page.gap);
        assert!(
            page.items
                .iter()
                .all(|item| item.position <= page.scanned_to)
        );
        items.extend(page.items);
        if page.complete {
            return items;
        }
        assert!(
            page.scanned_to > position,
            "a page that is not the last goes on"
        );
        position = page.scanned_to;
    }
}

fn history(state: &State, account: u64, conversation: u64, limit: usize) -> Vec<MessageRow> {
    let (mut rows, mut from) = (Vec::new(), HistoryFrom::After(conclave_core::Sequence(0)));
    loop {
        let id = ConversationId(conversation);
        let page = state.reader().history(AccountId(account), id, from, limit);
        let page = page.unwrap().unwrap();
        rows.extend(page.rows);
        match page.newer {
            Some(after) => from = HistoryFrom::After(after),
            None => return rows,
        }
    }
}

/// Checks pages of the stream from the beginning and from some item on.
fn check_stream(state: &State, model: &Model, account: u64, limit: usize) {
    let expected = model.stream(account);
    let middle = expected
        .get(expected.len() / 2)
        .map(|(position, _)| *position);
    for after in [Position(0), middle.unwrap_or_default()] {
        let items = stream(state, account, after, limit);
        let told: Vec<_> = items
            .iter()
            .map(|item| (item.position, kind(item)))
            .collect();
        let rest: Vec<_> = expected
            .iter()
            .copied()
            .filter(|(at, _)| *at > after)
            .collect();
        assert_eq!(told, rest, "account {account} after {after}, limit {limit}");
        for item in &items {
            let (StreamEvent::Sent(row) | StreamEvent::Edited(row)) = &item.what else {
                continue;
            };
            let from = HistoryFrom::Before(row.sequence.next());
            let page = state
                .reader()
                .history(AccountId(account), row.conversation, from, 1);
            assert_eq!(&page.unwrap().unwrap().rows[0], row);
        }
    }
    let page = state
        .reader()
        .stream(AccountId(account), Position(u64::MAX >> 1), 1)
        .unwrap();
    let rooms = model.conversations(account).into_iter();
    let rooms = rooms
        .filter(|id| !model.directs.contains(id))
        .map(ConversationId);
    assert_eq!(page.rooms, rooms.collect::<Vec<_>>());
}

fn check_history(state: &State, model: &Model, account: u64, limit: usize) {
    for conversation in model.conversations(account) {
        let rows = history(state, account, conversation, limit);
        let expected: Vec<_> = model.history(account, conversation).collect();
        assert_eq!(rows.len(), expected.len());
        for (row, (sequence, message)) in rows.iter().zip(expected) {
            assert_eq!((row.position, row.sequence.0), (message.position, sequence));
            assert_eq!((row.by.0, &row.text), (message.by, &message.text));
            let mentions: Vec<u64> = row.mentions.iter().map(|id| id.0).collect();
            assert_eq!(mentions, message.mentions);
            let mut counted: BTreeMap<&str, (u64, bool)> = BTreeMap::new();
            for (reaction, whose) in &message.reactions {
                let entry = counted.entry(reaction).or_default();
                *entry = (entry.0 + 1, entry.1 || *whose == account);
            }
            let told: Vec<_> = row
                .reactions
                .iter()
                .map(|found| (found.reaction.as_str(), (found.count, found.mine)))
                .collect();
            assert_eq!(told, counted.into_iter().collect::<Vec<_>>());
        }
    }
}

fn check_unread(state: &State, model: &Model, account: u64, limit: usize) {
    let own = model.conversations(account);
    let mut expected = Vec::new();
    let list = state
        .reader()
        .conversations(AccountId(account), None, PAGE_MAX)
        .unwrap();
    let ids: Vec<u64> = list.iter().map(|row| row.id.0).collect();
    assert_eq!(ids, own);
    for row in list {
        let unread = model.unread(account, row.id.0);
        let mentions = unread
            .iter()
            .filter(|message| message.mentions.contains(&account));
        let mentions = mentions.count() + model.late(account, row.id.0);
        assert_eq!(row.unread_mentions, mentions as u64, "{row:?}");
        assert_eq!(row.unread, unread.len() as u64, "{row:?}");
        expected.extend(unread.iter().map(|message| message.position));
    }
    expected.sort_unstable();
    expected.truncate(limit);
    let rows = state.reader().unread(AccountId(account), limit).unwrap();
    let found: Vec<_> = rows.iter().map(|row| row.position).collect();
    assert_eq!(found, expected);
    assert_eq!(
        state
            .reader()
            .messages_at(AccountId(account), &found)
            .unwrap(),
        rows
    );
}

/// Adds everything after `after` to `index`.
fn learn(
    state: &State,
    index: &mut BTreeMap<Position, String>,
    mut after: Position,
    limit: usize,
) -> Position {
    loop {
        let page = state.reader().for_index(after, limit).unwrap();
        for row in page.rows {
            match row.text {
                Some(text) => index.insert(row.position, text),
                None => index.remove(&row.position),
            };
        }
        after = page.scanned_to;
        if page.complete {
            return after;
        }
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn change_pages_of_any_size_show_each_change_once(
        steps in prop::collection::vec((0..4_u64, 0..44_u8, 0..64_u64, 0..64_u64), 50..300),
        limit in prop_oneof![Just(1_usize), 2..9_usize, Just(PAGE_MAX)],
    ) {
        let (_directory, mut state) = opened();
        people(&mut state, &NAMES);
        let mut model = Model::default();
        model.accounts.extend(1..=4);
        let mut numbers = [0; 4];
        let mut index = BTreeMap::new();
        let half = steps.len() / 2;
        play(&mut state, &mut model, &mut numbers, &BEFORE);
        play(&mut state, &mut model, &mut numbers, &steps[..half]);
        let learned = learn(&state, &mut index, Position(0), limit);
        play(&mut state, &mut model, &mut numbers, &steps[half..]);
        learn(&state, &mut index, learned, limit);
        for account in model.accounts.clone() {
            check_stream(&state, &model, account, limit);
            check_history(&state, &model, account, limit);
            check_unread(&state, &model, account, limit);
            for conversation in model.conversations(account) {
                for message in model.messages.range((conversation, 0)..=(conversation, u64::MAX)) {
                    let found = index.get(&message.1.position);
                    prop_assert_eq!(found, message.1.text.as_ref());
                }
            }
        }
    }
}
