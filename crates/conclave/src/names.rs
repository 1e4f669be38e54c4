//! How people name conversations and messages on a command line.

use conclave_core::{AccountName, ConversationId, MessageRef, Recipient, RoomName, Sequence};

/// A person by its name, or a room as `#name`.
pub(crate) fn recipient(word: &str) -> Result<Recipient, String> {
    match word.strip_prefix('#') {
        Some(room) => RoomName::new(room).map(Recipient::Room),
        None => AccountName::new(word).map(Recipient::Account),
    }
    .map_err(|rejection| rejection.to_string())
}

/// The same as it is typed in a shell.
pub(crate) fn shown(recipient: &Recipient) -> String {
    match recipient {
        Recipient::Account(name) => name.as_str().to_owned(),
        Recipient::Room(name) => format!("'#{}'", name.as_str()),
        Recipient::Conversation(id) => format!("'deleted account #{}'", id.0),
    }
}

/// A room by its name, with or without the `#` that a shell may take for a comment.
pub(crate) fn room(word: &str) -> Result<String, String> {
    let name = word.strip_prefix('#').unwrap_or(word);
    let room = RoomName::new(name).map_err(|rejection| rejection.to_string())?;
    Ok(room.as_str().to_owned())
}

/// The message with this ID: conversation, dot, sequence.
pub(crate) fn message_id(id: &str) -> Result<MessageRef, String> {
    let number = |digits: &str| {
        // `parse` alone would take a sign.
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u64>().ok()).flatten()
    };
    id.split_once('.')
        .and_then(|(conversation, sequence)| Some((number(conversation)?, number(sequence)?)))
        .map(|(conversation, sequence)| MessageRef {
            conversation: ConversationId(conversation),
            sequence: Sequence(sequence),
        })
        .ok_or_else(|| "an ID is two numbers, such as 3.17".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_sign_makes_it_a_room() {
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
