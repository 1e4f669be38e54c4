//! Parses the names of conversations and messages on a command line.

use conclave_core::{AccountName, ConversationId, MessageRef, Recipient, RoomName, Sequence};

/// Shown before the number of a direct conversation whose other account was deleted.
pub(crate) const DELETED_ACCOUNT: &str = "deleted account #";
/// Prefix of the number of a conversation; no name has a colon.
const NUMBER_PREFIX: &str = "id:";

/// Parses a recipient: an account by its name, a room as `#name`, a conversation by its number as
/// `id:7`, or as it is shown where the other account was deleted.
pub(crate) fn recipient(word: &str) -> Result<Recipient, String> {
    let mut prefixes = [NUMBER_PREFIX, DELETED_ACCOUNT].into_iter();
    if let Some(digits) = prefixes.find_map(|prefix| word.strip_prefix(prefix)) {
        let id = number(digits).filter(|id| *id > 0).map(ConversationId);
        return id
            .map(Recipient::Conversation)
            .ok_or_else(|| "a conversation has a number, such as id:7".to_owned());
    }
    match word.strip_prefix('#') {
        Some(room) => RoomName::new(room).map(Recipient::Room),
        None => AccountName::new(word).map(Recipient::Account),
    }
    .map_err(|rejection| rejection.to_string())
}

/// Formats a recipient as it is typed in a shell.
pub(crate) fn shown(recipient: &Recipient) -> String {
    match recipient {
        Recipient::Account(name) => name.as_str().to_owned(),
        Recipient::Room(name) => format!("'#{}'", name.as_str()),
        Recipient::Conversation(id) => format!("{NUMBER_PREFIX}{}", id.0),
    }
}

/// Parses the name of a room, with or without the `#` that a shell may take for a comment.
pub(crate) fn room(word: &str) -> Result<String, String> {
    let name = word.strip_prefix('#').unwrap_or(word);
    let room = RoomName::new(name).map_err(|rejection| rejection.to_string())?;
    Ok(room.as_str().to_owned())
}

/// Parses the ID of a message: conversation, dot, sequence.
pub(crate) fn message_id(id: &str) -> Result<MessageRef, String> {
    id.split_once('.')
        .and_then(|(conversation, sequence)| Some((number(conversation)?, number(sequence)?)))
        .map(|(conversation, sequence)| MessageRef {
            conversation: ConversationId(conversation),
            sequence: Sequence(sequence),
        })
        .ok_or_else(|| "an ID is two numbers, such as 3.17".to_owned())
}

fn number(digits: &str) -> Option<u64> {
    // `parse` alone would accept a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_sign_marks_a_room() {
        let room_of = |name: &str| Recipient::Room(RoomName::new(name).unwrap());
        assert_eq!(recipient("#ops"), Ok(room_of("ops")));
        assert!(matches!(recipient("ops"), Ok(Recipient::Account(_))));
        assert!(recipient("#").is_err());
        assert!(recipient("a b").is_err());
        assert_eq!(room("#ops"), Ok("ops".to_owned()));
        assert_eq!(room("ops"), Ok("ops".to_owned()));
        assert!(room("##ops").is_err());
    }

    #[test]
    fn a_conversation_has_a_number_where_no_name_is_left() {
        let seventh = Recipient::Conversation(ConversationId(7));
        for word in ["id:7", "deleted account #7"] {
            assert_eq!(recipient(word), Ok(seventh.clone()), "{word}");
        }
        for bad in [
            "id:",
            "id:0",
            "id:+7",
            "id:x",
            "deleted account #",
            "deleted account",
        ] {
            assert!(recipient(bad).is_err(), "{bad}");
        }
        assert!(matches!(recipient("7"), Ok(Recipient::Account(_))));
        for word in ["id:7", "#ops", "bob"] {
            let is = recipient(word).unwrap();
            assert_eq!(recipient(shown(&is).trim_matches('\'')), Ok(is), "{word}");
        }
    }

    #[test]
    fn an_id_is_two_numbers_and_a_dot() {
        let expected = MessageRef {
            conversation: ConversationId(3),
            sequence: Sequence(17),
        };
        assert_eq!(message_id("3.17"), Ok(expected));
        for bad in [
            "",
            ".",
            "3",
            "3.",
            ".17",
            "3.17.1",
            "+3.17",
            "3.-1",
            "a.b",
            "3 .17",
            "3.99999999999999999999",
        ] {
            assert!(message_id(bad).is_err(), "{bad}");
        }
    }
}
