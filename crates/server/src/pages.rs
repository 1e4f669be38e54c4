//! Where the next page of a list begins, as clients carry it from one call to the next.
//!
//! Always true: a token says only what the page before has shown, and one that no node has given
//! is refused.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_wire::Problem;

/// The number of items that a page could have, as it is told.
pub(crate) fn told(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// The token of the page after the item with this key; empty if there is none.
pub(crate) fn token_of_key(key: Option<String>) -> String {
    key.map_or_else(String::new, |key| URL_SAFE_NO_PAD.encode(key))
}

/// After which key the page begins; `None` for the first one.
pub(crate) fn key_of(token: &str) -> Result<Option<String>, Problem> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let key = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    key.map(Some).ok_or_else(bad_token)
}

/// The token of the page that begins beside this number; empty if there is none.
pub(crate) fn token_of_number(number: Option<u64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

/// Beside which number the page begins; `None` for the first one.
pub(crate) fn number_of(token: &str) -> Result<Option<u64>, Problem> {
    match token {
        "" => Ok(None),
        token => token.parse().map(Some).map_err(|_| bad_token()),
    }
}

fn bad_token() -> Problem {
    Problem::Refused {
        reason: "PAGE_TOKEN_INVALID".to_owned(),
        sentence: "the page token is none that a node has given".to_owned(),
        request_last: None,
    }
}

#[cfg(test)]
mod tests {
    use conclave_core::limits::{
        DISPLAY_NAME_BYTES_MAX, MENTIONS_MAX, NAME_BYTES_MAX, PAGE_BYTES_MAX, PAGE_MAX,
        REACTION_BYTES_MAX, TEXT_BYTES_MAX, TOPIC_BYTES_MAX,
    };
    use conclave_wire::v1;
    use prost::Message as _;

    use super::*;

    /// What a client of gRPC takes if it is not told otherwise.
    const CLIENTS_TAKE: usize = 4 * 1024 * 1024;
    /// Kinds of reactions that a message has at most.
    const REACTIONS: usize = 32;

    fn text(bytes: usize) -> String {
        "x".repeat(bytes)
    }

    fn worst_message(text_bytes: usize) -> v1::Message {
        let reaction = v1::Reaction {
            reaction: text(REACTION_BYTES_MAX),
            count: u32::MAX,
            mine: true,
        };
        v1::Message {
            conversation_id: u64::MAX,
            sequence: u64::MAX,
            position: u64::MAX,
            sender_id: u64::MAX,
            sender_name: text(NAME_BYTES_MAX),
            recipient_name: text(NAME_BYTES_MAX),
            sent_at_ms: u64::MAX,
            text: text(text_bytes),
            deleted: true,
            delivery: i32::MAX,
            room_name: text(NAME_BYTES_MAX),
            edited_at_ms: u64::MAX,
            reply_to: u64::MAX,
            action: true,
            mentioned_ids: vec![u64::MAX; MENTIONS_MAX],
            reactions: vec![reaction; REACTIONS],
        }
    }

    #[test]
    fn the_largest_page_of_each_list_is_what_every_client_takes() {
        // As many messages as a page has, and the last one that fits is the longest.
        let least = PAGE_BYTES_MAX / PAGE_MAX;
        let mut messages = vec![worst_message(least); PAGE_MAX];
        messages.push(worst_message(TEXT_BYTES_MAX));
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
        };
        let room = v1::Room {
            name: text(NAME_BYTES_MAX),
            topic: text(TOPIC_BYTES_MAX),
            ..Default::default()
        };
        let member = v1::Member {
            account: Some(account.clone()),
            ..Default::default()
        };
        let messages = v1::ListMessagesResponse {
            messages,
            ..Default::default()
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
        let longest = messages.encoded_len();
        assert!(longest < CLIENTS_TAKE * 9 / 10, "{longest}");
        for (name, bytes) in [
            ("conversations", conversations.encoded_len()),
            ("rooms", rooms.encoded_len()),
            ("members", members.encoded_len()),
            ("accounts", accounts.encoded_len()),
        ] {
            assert!(bytes < PAGE_BYTES_MAX, "{name}: {bytes}");
        }
    }

    #[test]
    fn a_token_leads_to_where_the_page_before_has_ended() {
        assert_eq!(
            key_of(&token_of_key(Some("anna".to_owned()))),
            Ok(Some("anna".to_owned()))
        );
        assert_eq!(number_of(&token_of_number(Some(7))), Ok(Some(7)));
        assert_eq!(key_of(&token_of_key(None)), Ok(None));
        assert_eq!(number_of(&token_of_number(None)), Ok(None));
    }

    #[test]
    fn a_token_that_no_node_has_given_is_refused() {
        for bad in ["!", "_w"] {
            assert_eq!(
                key_of(bad).unwrap_err().reason(),
                "PAGE_TOKEN_INVALID",
                "{bad}"
            );
        }
        for bad in ["x", "-1", "99999999999999999999"] {
            assert_eq!(
                number_of(bad).unwrap_err().reason(),
                "PAGE_TOKEN_INVALID",
                "{bad}"
            );
        }
    }
}
