//! Reading rooms: the rooms that an account may know of, their members, and their messages.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;

use conclave_core::{AccountId, ConversationId, MemberRole, NamePattern, Recipient, Sequence};
use conclave_storage::state::{
    ConversationInfo, Counterpart, Destination, HistoryFrom, ReactionRow, RoomsPage, State,
};
use read_support::*;
use state_support::{START, accept, ask, once, people, say};

/// Creates Ann's rooms: Hall (public), Den (private; cyd is invited), attic (private); bea has
/// "bar".
fn house(state: &mut State) {
    people(state, &["ann", "bea", "cyd"]);
    accept(
        state,
        vec![
            ask(1, 1, create_room("Hall", true)),
            ask(1, 2, create_room("Den", false)),
            ask(1, 3, create_room("attic", false)),
            ask(2, 1, create_room("bar", true)),
            ask(1, 4, invite("Den", "cyd")),
            ask(2, 2, join("hall")),
        ],
    );
}

fn names(page: &RoomsPage) -> Vec<&str> {
    page.rows.iter().map(|row| row.name.as_str()).collect()
}

#[test]
fn a_private_room_is_known_to_members_and_invited_accounts() {
    let (_directory, mut state) = opened();
    house(&mut state);
    let reader = state.reader();
    let den = |account| reader.room_by_key(AccountId(account), "den").unwrap();
    let own = den(1).unwrap();
    assert_eq!(
        (own.name.as_str(), own.topic.as_str()),
        ("Den", "about Den")
    );
    assert_eq!((own.id.0, own.members, own.public), (2, 1, false));
    assert_eq!((own.role, own.invited), (Some(MemberRole::Owner), false));
    assert_eq!(den(2), None);
    let offered = den(3).unwrap();
    assert_eq!((offered.role, offered.invited), (None, true));
    let hall = reader.room_by_key(AccountId(3), "hall").unwrap().unwrap();
    assert_eq!((hall.role, hall.members, hall.public), (None, 2, true));
    assert_eq!(
        reader.room_by_key(AccountId(1), "Hall").unwrap(),
        None,
        "a key is lower case"
    );
}

#[test]
fn a_list_of_rooms_continues_after_its_last_row() {
    let (_directory, mut state) = opened();
    house(&mut state);
    let reader = state.reader();
    let all = NamePattern::new("").unwrap();
    let cases: [(u64, &str, bool, &[&str]); 6] = [
        (1, "", false, &["attic", "bar", "Den", "Hall"]),
        (2, "", false, &["bar", "Hall"]),
        (3, "", false, &["bar", "Den", "Hall"]),
        (1, "", true, &["attic", "Den", "Hall"]),
        (3, "", true, &["Den"]),
        (1, "?a*", true, &["Hall"]),
    ];
    for (account, pattern, only_own, expected) in cases {
        let pattern = NamePattern::new(pattern).unwrap();
        for limit in [1, 2, 1000] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = reader
                    .rooms(
                        AccountId(account),
                        &pattern,
                        only_own,
                        after.as_deref(),
                        limit,
                    )
                    .unwrap();
                assert!(page.rows.len() <= limit);
                found.extend(names(&page).into_iter().map(str::to_owned));
                after = page.next_after_key;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{account} {pattern:?} {only_own} {limit}");
        }
    }
    let stranger = reader
        .rooms(AccountId(u64::MAX), &all, true, None, 9)
        .unwrap();
    assert_eq!(stranger, RoomsPage::default());
}

#[test]
fn members_come_in_order_of_their_numbers_with_their_roles() {
    let (_directory, mut state) = opened();
    house(&mut state);
    accept(
        &mut state,
        vec![
            ask(3, 1, join("Hall")),
            ask(1, 5, set_role("Hall", "cyd", MemberRole::Moderator)),
        ],
    );
    let reader = state.reader();
    let hall = ConversationId(1);
    let page = |after: Option<u64>, limit| {
        let rows = reader.members(hall, after.map(AccountId), limit).unwrap();
        let told = |row: conclave_storage::state::MemberRow| (row.account.name, row.role);
        rows.into_iter().map(told).collect::<Vec<_>>()
    };
    let (ann, bea) = ("ann".to_owned(), "bea".to_owned());
    let cyd = ("cyd".to_owned(), MemberRole::Moderator);
    assert_eq!(
        page(None, 2),
        [(ann, MemberRole::Owner), (bea, MemberRole::Member)]
    );
    assert_eq!(page(Some(2), 2), [cyd]);
    assert_eq!(page(Some(3), 2), []);
    let role = |account| reader.member_role(hall, AccountId(account)).unwrap();
    assert_eq!(role(3), Some(MemberRole::Moderator));
    accept(&mut state, vec![ask(3, 2, leave("Hall"))]);
    assert_eq!(role(3), None);
}

#[test]
fn a_conversation_has_its_info_until_its_last_member_leaves() {
    let (_directory, mut state) = opened();
    house(&mut state);
    accept(&mut state, vec![ask(3, 1, say("ann", "x"))]);
    let reader = state.reader();
    let of = |id| reader.conversation_of(ConversationId(id)).unwrap();
    let bar = ConversationInfo::Room {
        name: "bar".to_owned(),
        topic: "about bar".to_owned(),
    };
    assert_eq!(of(4), Some(bar));
    let pair = ConversationInfo::Direct(AccountId(1), AccountId(3));
    assert_eq!((of(5), of(6)), (Some(pair), None));
    accept(&mut state, vec![ask(2, 3, leave("bar"))]);
    assert_eq!(of(4), None);
    assert_eq!(reader.room_by_key(AccountId(2), "bar").unwrap(), None);
}

#[test]
fn a_room_message_is_read_back_with_all_its_fields() {
    let (_directory, mut state) = opened();
    house(&mut state);
    let to_hall = Recipient::Room(room("hall"));
    accept(
        &mut state,
        vec![
            ask(1, 5, say_room("Hall", "first")),
            ask(2, 3, send(to_hall, "@ann waves", Some(1), true)),
            ask(1, 6, react(1, 2, "b", true)),
            ask(2, 4, react(1, 2, "b", true)),
            ask(2, 5, react(1, 2, "a", true)),
            ask(2, 6, edit(1, 2, "waves at @Ann.")),
            ask(2, 7, react(1, 1, "c", true)),
        ],
    );
    let reader = state.reader();
    let page = reader.history(AccountId(1), ConversationId(1), HistoryFrom::End, 10);
    let page = page.unwrap().unwrap();
    let [first, second] = &page.rows[..] else {
        panic!("{page:?}")
    };
    let name = "Hall".to_owned();
    assert_eq!(second.to, Destination::Room { name });
    assert_eq!(
        (second.by_name.as_deref(), second.action),
        (Some("bea"), true)
    );
    assert_eq!(second.text.as_deref(), Some("waves at @Ann."));
    assert_eq!(
        (second.reply_to, second.edited_at.map(|at| at.0)),
        (Some(Sequence(1)), Some(START))
    );
    assert_eq!(second.mentions, [AccountId(1)]);
    let of = |reaction: &str, count, mine| ReactionRow {
        reaction: reaction.to_owned(),
        count,
        mine,
    };
    assert_eq!(second.reactions, [of("a", 1, false), of("b", 2, true)]);
    assert_eq!(
        (first.reactions.clone(), first.edited_at),
        (vec![of("c", 1, false)], None)
    );
    assert_eq!(
        reader
            .message(AccountId(1), message(1, 2))
            .unwrap()
            .as_ref(),
        Some(second)
    );
    assert_eq!(reader.message(AccountId(3), message(1, 2)).unwrap(), None);
    let both = reader.messages_at(AccountId(1), &[second.position, first.position]);
    assert_eq!(both.unwrap(), [second.clone(), first.clone()]);

    let list = reader.conversations(AccountId(1), None, 10).unwrap();
    let with = Counterpart::Room {
        name: "Hall".to_owned(),
        topic: "about Hall".to_owned(),
    };
    assert_eq!(
        (&list[0].with, list[0].unread, list[0].unread_mentions),
        (&with, 1, 1)
    );
    assert_eq!((list.len(), list[1].unread), (3, 0));
}

#[test]
fn webhooks_are_listed_without_their_secrets() {
    let (_directory, mut state) = opened();
    house(&mut state);
    accept(
        &mut state,
        vec![
            ask(1, 5, webhook("Hall", "builds", 7)),
            ask(1, 6, webhook("Hall", "alarms", 8)),
            once(1, post(8, "fire")),
        ],
    );
    let reader = state.reader();
    let rows = reader.webhooks(ConversationId(1)).unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.id.0, row.account_name.as_str(), row.by_name.as_deref()))
        .collect();
    assert_eq!(
        told,
        [(1, "builds", Some("ann")), (2, "alarms", Some("ann"))]
    );
    assert_eq!(rows[0].created_at.0, START);
    assert_eq!(reader.webhooks(ConversationId(2)).unwrap(), []);
    let found = reader.webhook_by_token(&token(8)).unwrap().unwrap();
    assert_eq!((found.0.0, found.1.0, found.2.0), (2, 1, 5));
    assert_eq!(reader.webhook_by_token(&token(9)).unwrap(), None);
    let unread = reader.unread(AccountId(2), 9).unwrap();
    assert_eq!(unread[0].by_name.as_deref(), Some("alarms"));
}

#[test]
fn a_suspended_webhook_is_not_found_by_its_secret() {
    let (directory, mut state) = opened();
    house(&mut state);
    let hook = webhook("Hall", "alarms", 8);
    accept(&mut state, vec![ask(1, 5, hook)]);
    let beside = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    for (suspended, is_found) in [(true, false), (false, true)] {
        let sql = "UPDATE accounts SET suspended = ?1 WHERE key = 'alarms'";
        assert_eq!(beside.execute(sql, [suspended]).unwrap(), 1);
        let found = state.reader().webhook_by_token(&token(8)).unwrap();
        assert_eq!(found.is_some(), is_found, "{suspended}");
    }
}
