//! Facts: every event has its rows, and they exist after a restart and in a snapshot.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;
mod story;

use std::{collections::BTreeSet, path::Path};

use conclave_core::{
    AccessEvent, AccountEvent, ClusterEvent, ConversationEvent, Event, MessageEvent, RoomEvent,
    SessionEvent,
};
use conclave_storage::state::{Options, State};
use read_support::*;
use state_support::*;
use story::*;

/// Returns the kind of an event; a new kind must occur in the story, too.
fn kind(event: &Event) -> u8 {
    match event {
        Event::Account(AccountEvent::Created { .. }) => 0,
        Event::Account(AccountEvent::PasswordChanged { .. }) => 1,
        Event::Account(AccountEvent::DisplayNameChanged { .. }) => 2,
        Event::Account(AccountEvent::RoleChanged { .. }) => 3,
        Event::Account(AccountEvent::BlockChanged { .. }) => 4,
        Event::Access(AccessEvent::SetupOffered { .. }) => 5,
        Event::Access(AccessEvent::InviteCreated { .. }) => 6,
        Event::Access(AccessEvent::InviteUsed { .. }) => 7,
        Event::Access(AccessEvent::InviteRemoved { .. }) => 8,
        Event::Access(AccessEvent::LoginFailed { .. }) => 9,
        // `state_people` tests the event that forgets a place.
        Event::Access(AccessEvent::LoginForgiven { .. })
        | Event::Access(AccessEvent::LoginForgotten { .. }) => 10,
        Event::Account(AccountEvent::Deleted { .. }) => 11,
        Event::Session(SessionEvent::Opened { .. }) => 12,
        Event::Session(SessionEvent::Renewed { .. }) => 13,
        Event::Session(SessionEvent::Closed { .. }) => 14,
        Event::Session(SessionEvent::Forgotten { .. }) => 15,
        Event::Conversation(ConversationEvent::Opened { .. }) => 16,
        Event::Message(MessageEvent::Sent(_)) => 17,
        Event::Message(MessageEvent::Edited { .. }) => 18,
        Event::Message(MessageEvent::ReactionChanged { .. }) => 19,
        Event::Room(RoomEvent::Created { .. }) => 20,
        Event::Room(RoomEvent::MemberJoined { .. }) => 21,
        Event::Room(RoomEvent::MemberLeft { .. }) => 22,
        Event::Room(RoomEvent::MemberRoleChanged { .. }) => 23,
        Event::Room(RoomEvent::TopicChanged { .. }) => 24,
        Event::Room(RoomEvent::MemberInvited { .. }) => 25,
        Event::Room(RoomEvent::InvitationRemoved { .. }) => 26,
        Event::Room(RoomEvent::WebhookCreated { .. }) => 27,
        Event::Room(RoomEvent::WebhookDeleted { .. }) => 28,
        Event::Conversation(ConversationEvent::PositionAdvanced { .. }) => 29,
        Event::Message(MessageEvent::Hidden { .. }) => 30,
        Event::Message(MessageEvent::Deleted { .. }) => 31,
        Event::Cluster(ClusterEvent::JoinTokenCreated { .. }) => 32,
        Event::Cluster(ClusterEvent::JoinTokenRemoved { .. }) => 33,
        Event::Cluster(ClusterEvent::NodeAdmitted { .. }) => 34,
        Event::Cluster(ClusterEvent::NodeRetired { .. }) => 35,
        Event::Cluster(ClusterEvent::LeaderPreferred { .. }) => 36,
        Event::Cluster(ClusterEvent::OperatorCreated { .. }) => 37,
        Event::Cluster(ClusterEvent::OperatorRemoved { .. }) => 38,
        Event::Access(AccessEvent::LoginKnown { .. }) => 39,
        Event::Account(AccountEvent::PasswordRehashed { .. }) => 40,
        Event::Account(AccountEvent::Suspended { .. }) => 41,
        Event::Account(AccountEvent::LimitsChanged { .. }) => 42,
        Event::Cluster(ClusterEvent::AuthorityRotated { .. }) => 43,
        Event::Cluster(ClusterEvent::VersionRaised { .. }) => 44,
        Event::Cluster(ClusterEvent::AckPolicyChanged { .. }) => 45,
        Event::Cluster(ClusterEvent::RetentionChanged { .. }) => 46,
        Event::Room(RoomEvent::RetentionChanged { .. }) => 47,
        Event::Conversation(ConversationEvent::Forgotten { .. }) => 48,
    }
}

const KINDS: u8 = 49;

/// Returns all rows of all tables.
fn everything(directory: &Path) -> Vec<(String, Vec<String>)> {
    let of = |table: String| {
        let found = rows(directory, &format!("SELECT * FROM {table}"));
        (table, found)
    };
    tables(directory).into_iter().map(of).collect()
}

#[test]
fn every_kind_of_event_survives_a_restart_and_a_snapshot() {
    let (directory, mut state) = opened();
    let events = story(&mut state);
    let told: BTreeSet<u8> = events.iter().map(kind).collect();
    assert_eq!(told, (0..KINDS).collect(), "the story leaves something out");
    let (before, short) = (everything(directory.path()), digest(&state));
    for (table, rows) in &before {
        assert!(!rows.is_empty(), "the story leaves {table} empty");
    }
    drop(state);
    let state = State::open(directory.path(), Options::default()).unwrap();
    assert_eq!(everything(directory.path()), before);
    assert_eq!(digest(&state), short);
    let file = directory.path().join("snapshot");
    state.reader().snapshot_to(&file).unwrap();
    let (other, mut installed) = opened();
    installed.install(&file).unwrap();
    assert_eq!(everything(other.path()), before);
    assert_eq!(digest(&installed), short);
}

/// Checks the rows that the story leaves.
fn check(directory: &Path, sql: &str, expected: &[&str]) {
    assert_eq!(rows(directory, sql), expected, "{sql}");
}

#[test]
fn accounts_and_their_credentials_have_their_rows() {
    let (directory, mut state) = opened();
    story(&mut state);
    let at = directory.path();
    check(
        at,
        "SELECT id, name, password_hash, password_version, role, display_name FROM accounts",
        &[
            "1|ann|$argon2id$ann|1|1|",
            "2|bea|$argon2id$new|2|0|Bea the Bee",
            "3|cyd|$argon2id$cyd|1|0|",
            "4|dan|$argon2id$dan|1|0|",
            "5|eve|$argon2id$eve|1|0|",
            "7|robot||1|2|",
            "8|hook||1|2|",
        ],
    );
    check(
        at,
        "SELECT id, account, closed, label FROM sessions",
        &[
            "1|1|0|laptop",
            "2|2|0|laptop",
            "3|3|0|laptop",
            "4|4|0|laptop",
            "6|7|0|bot token",
            "7|5|0|laptop",
        ],
    );
    check(at, "SELECT account, other FROM blocks", &["4|2"]);
    check(
        at,
        "SELECT id, code, by_account, uses_left FROM invites",
        &["1|32x5b|1|1"],
    );
    check(
        at,
        "SELECT key, failures, not_before, failed_at FROM throttles",
        &[&format!("16xc8|1|{START}|{START}")],
    );
    check(
        at,
        "SELECT account_last, accounts, session_last, conversation_last, admins, rooms,
            invite_last, invites, webhook_last, throttles, setup_token, node_last,
            preferred_leader, authority_generation, authority_next, ack_all FROM meta",
        &["9|7|7|5|1|3|3|1|2|1|-|9|2|1|32x02|1"],
    );
    check(
        at,
        "SELECT hex(substr(token, 1, 1)), voter, by_operator, created_at FROM join_tokens",
        &[&format!("61|0|operator|{START}")],
    );
    check(
        at,
        "SELECT key, name, token, by_operator, created_at FROM operators",
        &[
            &format!("eva|eva|32x51|operator|{START}"),
            &format!("operator|operator|32x50|-|{START}"),
        ],
    );
    check(at, "SELECT node FROM retired_nodes", &["4", "9"]);
}

#[test]
fn rooms_and_messages_have_their_rows() {
    let (directory, mut state) = opened();
    story(&mut state);
    let at = directory.path();
    check(
        at,
        "SELECT id, direct_low, direct_high, name, key, topic, public, members
            FROM conversations WHERE id < 4",
        &[
            "1|-|-|lobby|lobby|what is new|1|3",
            "2|-|-|attic|attic|about attic|0|2",
            "3|1|3|-|-|-|-|-",
        ],
    );
    check(
        at,
        "SELECT conversation, account, delivered, read, sent_read, advanced_at > 0, role,
            joined_at > 0 FROM members",
        &[
            "1|1|0|0|0|0|2|1",
            "1|2|5|3|1|1|1|1",
            "1|8|0|0|0|0|0|1",
            "2|1|0|0|0|0|2|1",
            "2|3|0|0|0|0|0|1",
            "3|1|0|0|0|0|0|1",
            "3|3|0|0|0|0|0|1",
            "5|1|0|0|0|0|2|1",
        ],
    );
    check(
        at,
        "SELECT c.keep_ms, c.keep_messages, c.forgotten, c.forgotten_at > 0, m.sent_forgotten
            FROM conversations c JOIN members m ON m.conversation = c.id WHERE c.id = 5",
        &["-|1|2|1|2"],
    );
    check(
        at,
        "SELECT sequence, text, ordinal, log_time > 0 FROM messages WHERE conversation = 5",
        &["3|three|3|1"],
    );
    check(
        at,
        "SELECT conversation, account, by_account FROM invitations",
        &["2|5|1"],
    );
    check(
        at,
        "SELECT id, token, conversation, account, by_account FROM webhooks",
        &["1|32x5f|1|8|1"],
    );
    check(
        at,
        "SELECT conversation, sequence, by_account, text, deleted_at IS NOT NULL,
            edited_at IS NOT NULL, reply_to, action, ordinal
            FROM messages WHERE conversation < 4 ORDER BY conversation, sequence",
        &[
            "1|1|8|the build is green|0|0|-|0|1",
            "1|2|1|hello @bea and @hook|0|0|-|0|1",
            "1|3|2|waves|0|0|2|1|1",
            "1|4|1|a joke for @bea|0|1|-|0|2",
            "1|5|2|-|1|0|-|0|2",
            "3|1|1|psst|0|0|-|0|1",
        ],
    );
    check(
        at,
        "SELECT * FROM mentions WHERE conversation < 4",
        &["1|2|2|0", "1|2|8|0", "1|4|2|0"],
    );
    check(at, "SELECT * FROM reactions", &["1|2|2|+1"]);
    check(at, "SELECT * FROM reaction_counts", &["1|2|+1|1"]);
    check(at, "SELECT * FROM hidden", &["2|1|1", "2|1|4"]);
}

#[test]
fn the_change_list_has_all_changes_without_texts() {
    let (directory, mut state) = opened();
    story(&mut state);
    let about_accounts = ["12|-|2|-|-|-|-"; 2].into_iter();
    let about_accounts = about_accounts.chain(["12|-|3|-|-|-|-"; 2]);
    let about_accounts = about_accounts.chain(["12|-|4|-|-|-|-"; 3]);
    let others = [
        "7|1|-|-|1|-|-",
        "7|1|-|-|2|-|-",
        "8|1|-|-|2|2|-",
        "7|1|-|-|2|-|-",
        "7|2|-|-|1|-|-",
        "11|2|3|-|-|1|-",
        "11|2|4|-|-|1|-",
        "11|2|5|-|-|1|-",
        "7|2|-|-|3|-|-",
        "10|1|-|-|-|-|what is new",
        "9|1|-|-|2|-|1",
        "7|1|-|-|8|-|-",
        "7|1|-|-|9|-|-",
        "8|1|-|-|9|1|-",
        "1|1|-|4|-|-|-",
        "4|1|-|2|1|-|+1",
        "4|1|-|5|1|-|?",
        "4|1|-|2|2|-|+1",
        "4|1|-|5|2|-|?",
        "4|1|-|2|2|-|heart",
        "5|1|-|2|2|-|heart",
        "5|1|-|2|1|-|+1",
        "2|1|-|5|-|-|-",
        "3|1|2|1|-|-|-",
        "3|1|2|4|-|-|-",
        "6|3|-|-|3|1|-",
        "7|4|-|-|1|-|-",
        "7|5|-|-|1|-|-",
        "8|4|-|-|1|1|-",
    ];
    let expected: Vec<&str> = about_accounts.chain(others).collect();
    check(
        directory.path(),
        "SELECT kind, conversation, account, sequence, subject, by_account, value FROM changes",
        &expected,
    );
    let counted = format!("{}|0", expected.len());
    check(
        directory.path(),
        "SELECT changes, changes_after FROM meta",
        &[&counted],
    );
}

#[test]
fn own_earlier_messages_are_read_after_rejoining_a_room() {
    let (directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    accept(
        &mut state,
        vec![
            ask(1, 1, create_room("lobby", true)),
            ask(2, 1, join("lobby")),
            ask(2, 2, say_room("lobby", "one")),
            ask(2, 3, say_room("lobby", "two")),
            ask(2, 4, leave("lobby")),
            ask(1, 2, say_room("lobby", "where are you?")),
            ask(2, 5, join("lobby")),
            ask(2, 6, say_room("lobby", "three")),
        ],
    );
    let at = directory.path();
    check(
        at,
        "SELECT delivered, read, sent_read FROM members WHERE account = 2",
        &["3|3|2"],
    );
    check(
        at,
        "SELECT sequence, ordinal FROM messages WHERE by_account = 2",
        &["1|1", "2|2", "4|3"],
    );
}
