//! Tests of page tokens, and of how much the largest pages hold.

use conclave_core::{
    AccountId, ConversationId, Position, Sequence, Timestamp,
    limits::{
        DISPLAY_NAME_BYTES_MAX, MENTIONS_MAX, NAME_BYTES_MAX, PAGE_BYTES_MAX, PAGE_MAX,
        REACTION_BYTES_MAX, REACTION_KINDS_MAX, TEXT_BYTES_MAX, TOPIC_BYTES_MAX,
    },
};
use conclave_storage::state::{Delivery, Destination, MessageRow, ReactionRow};
use conclave_wire::v1;
use prost::Message as _;

use super::*;
use crate::protocol::show;

/// Largest message that a gRPC client accepts by default.
const CLIENTS_TAKE: usize = 4 * 1024 * 1024;

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// Returns a message as large as one with this much text and so many mentions and reactions may
/// be.
fn worst_message(text_bytes: usize, mentions: usize, reactions: usize) -> MessageRow {
    let reaction = ReactionRow {
        reaction: text(REACTION_BYTES_MAX),
        count: u64::from(u32::MAX),
        mine: true,
    };
    MessageRow {
        position: Position(u64::MAX),
        conversation: ConversationId(u64::MAX),
        sequence: Sequence(u64::MAX),
        by: AccountId(u64::MAX),
        by_name: Some(text(NAME_BYTES_MAX)),
        to: Destination::Peer {
            account: AccountId(u64::MAX),
            name: Some(text(NAME_BYTES_MAX)),
            delivery: Delivery::Read,
        },
        sent_at: Timestamp(u64::MAX),
        text: Some(text(text_bytes)),
        edited_at: Some(Timestamp(u64::MAX)),
        reply_to: Some(Sequence(u64::MAX)),
        action: true,
        mentions: vec![AccountId(u64::MAX); mentions],
        reactions: vec![reaction; reactions],
    }
}

#[test]
fn no_message_exceeds_its_counted_bytes() {
    for text_bytes in [1, 300, TEXT_BYTES_MAX] {
        for mentions in [0, 1, MENTIONS_MAX] {
            for reactions in [0, 1, REACTION_KINDS_MAX] {
                let row = worst_message(text_bytes, mentions, reactions);
                let counted = row.bytes();
                // In the form that it has in a page, with its length before it.
                let page = v1::ListMessagesResponse {
                    messages: vec![show::message(row)],
                    ..Default::default()
                };
                let is = page.encoded_len();
                assert!(is <= counted, "{text_bytes} {mentions} {reactions}: {is}");
            }
        }
    }
    // So clients accept a page, which ends with the message that reaches its bytes.
    let longest = worst_message(TEXT_BYTES_MAX, MENTIONS_MAX, REACTION_KINDS_MAX).bytes();
    assert!(PAGE_BYTES_MAX + longest < CLIENTS_TAKE / 3);
}

#[test]
fn the_largest_page_of_each_list_fits_the_client_limit() {
    let account = v1::Account {
        id: u64::MAX,
        name: text(NAME_BYTES_MAX),
        created_at_ms: u64::MAX,
        display_name: text(DISPLAY_NAME_BYTES_MAX),
        role: i32::MAX,
        suspended: true,
    };
    let conversation = v1::Conversation {
        id: u64::MAX,
        peer_name: text(NAME_BYTES_MAX),
        sequence_last: u64::MAX,
        sequence_delivered: u64::MAX,
        sequence_read: u64::MAX,
        unread: u64::MAX,
        unread_mentions: u64::MAX,
        room_name: text(NAME_BYTES_MAX),
        topic: text(TOPIC_BYTES_MAX),
        peer_delivered: u64::MAX,
        peer_read: u64::MAX,
        last_message: Some(v1::MessagePreview {
            sequence: u64::MAX,
            position: u64::MAX,
            sender_id: u64::MAX,
            sender_name: text(NAME_BYTES_MAX),
            sent_at_ms: u64::MAX,
            // As many bytes as 200 characters have at most.
            text: text(800),
            deleted: true,
            action: true,
        }),
    };
    let room = v1::Room {
        name: text(NAME_BYTES_MAX),
        topic: text(TOPIC_BYTES_MAX),
        retention: Some(v1::Retention {
            age_ms: u64::MAX,
            messages: u64::MAX,
        }),
        own_retention: Some(v1::RoomRetention {
            age_ms: Some(u64::MAX),
            messages: Some(u64::MAX),
        }),
        ..Default::default()
    };
    let member = v1::Member {
        account: Some(account.clone()),
        ..Default::default()
    };
    let with_last = v1::ListConversationsResponse {
        conversations: vec![conversation.clone(); WITH_LAST_MAX],
        ..Default::default()
    };
    let conversation = v1::Conversation {
        last_message: None,
        ..conversation
    };
    let conversations = v1::ListConversationsResponse {
        conversations: vec![conversation; PAGE_MAX],
        ..Default::default()
    };
    let rooms = v1::ListRoomsResponse {
        rooms: vec![room; PAGE_MAX],
        ..Default::default()
    };
    let members = v1::ListMembersResponse {
        members: vec![member; PAGE_MAX],
        ..Default::default()
    };
    let accounts = v1::ListAccountsResponse {
        accounts: vec![account; PAGE_MAX],
        ..Default::default()
    };
    for (name, bytes) in [
        ("conversations", conversations.encoded_len()),
        ("with last messages", with_last.encoded_len()),
        ("rooms", rooms.encoded_len()),
        ("members", members.encoded_len()),
        ("accounts", accounts.encoded_len()),
    ] {
        assert!(bytes < PAGE_BYTES_MAX, "{name}: {bytes}");
    }
}

#[test]
fn a_page_token_holds_the_end_of_the_previous_page() {
    assert_eq!(
        key_of(&token_of_key(Some("anna".to_owned()))),
        Ok(Some("anna".to_owned()))
    );
    assert_eq!(number_of(&token_of_number(Some(7))), Ok(Some(7)));
    assert_eq!(key_of(&token_of_key(None)), Ok(None));
    assert_eq!(number_of(&token_of_number(None)), Ok(None));
}

#[test]
fn a_malformed_page_token_is_refused() {
    for bad in ["!", "_w"] {
        assert_eq!(
            key_of(bad).unwrap_err().reason(),
            Reason::PageTokenInvalid,
            "{bad}"
        );
    }
    for bad in ["x", "-1", "99999999999999999999"] {
        assert_eq!(
            number_of(bad).unwrap_err().reason(),
            Reason::PageTokenInvalid,
            "{bad}"
        );
    }
}
