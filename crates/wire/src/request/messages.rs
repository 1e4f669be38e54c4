//! Requests about messages.

use conclave_core::{
    AccountName, Command, ConversationId, MessageOperation, MessageRef, Operation, Progress,
    Recipient, Rejection, RoomName, Sequence, SessionId,
    limits::{DELETE_MESSAGES_MAX, POSITIONS_PER_REQUEST_MAX},
};

use super::{SessionRequest, command};
use crate::{Problem, Reason, v1};

impl SessionRequest for v1::SendMessageRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        use v1::send_message_request::To;
        let text = conclave_text::message(self.text)?;
        // Distinguished by their first byte: a person and a room may have the same name.
        let (to, target) = match self.to {
            Some(To::RecipientName(name)) => {
                let name = AccountName::new(name)?;
                let key = format!("@{}", name.key());
                (Recipient::Account(name), key.into_bytes())
            }
            Some(To::RoomName(name)) => {
                let name = RoomName::new(name)?;
                let key = format!("#{}", name.key());
                (Recipient::Room(name), key.into_bytes())
            }
            Some(To::ConversationId(id)) => (
                Recipient::Conversation(ConversationId(id)),
                id.to_le_bytes().to_vec(),
            ),
            None => {
                return Err(Problem::refused(
                    Reason::RecipientMissing,
                    "the message has no recipient",
                ));
            }
        };
        let digest_of = text.clone();
        let reply_to = self.reply_to.to_le_bytes();
        let action = [u8::from(self.action)];
        let parts = [
            &target[..],
            digest_of.as_str().as_bytes(),
            &reply_to,
            &action,
        ];
        let operation = Operation::Message(MessageOperation::SendMessage {
            to,
            text,
            reply_to: (self.reply_to != 0).then_some(Sequence(self.reply_to)),
            action: self.action,
        });
        command(session, self.request, "send_message", &parts, operation)
    }
}

/// Returns the name of a message.
///
/// # Errors
/// [`Reason::MessageMissing`] if none is named.
pub fn message_of(message: Option<v1::MessageRef>) -> Result<MessageRef, Problem> {
    let message =
        message.ok_or_else(|| Problem::refused(Reason::MessageMissing, "no message is named"))?;
    Ok(MessageRef {
        conversation: ConversationId(message.conversation_id),
        sequence: Sequence(message.sequence),
    })
}

fn bytes_of(message: MessageRef) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&message.conversation.0.to_le_bytes());
    bytes[8..].copy_from_slice(&message.sequence.0.to_le_bytes());
    bytes
}

impl SessionRequest for v1::EditMessageRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let message = message_of(self.message)?;
        let text = conclave_text::message(self.text)?;
        let digest_of = text.clone();
        let parts = [&bytes_of(message)[..], digest_of.as_str().as_bytes()];
        let operation = Operation::Message(MessageOperation::EditMessage { message, text });
        command(session, self.request, "edit_message", &parts, operation)
    }
}

impl SessionRequest for v1::SetReactionRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let message = message_of(self.message)?;
        let reaction = conclave_text::reaction(&self.reaction)?;
        // As it was written: another node may know other emoji, and a retry there is one too.
        let parts = [
            &bytes_of(message)[..],
            self.reaction.as_bytes(),
            &[u8::from(self.present)],
        ];
        let operation = Operation::Message(MessageOperation::SetReaction {
            message,
            reaction,
            present: self.present,
        });
        command(session, self.request, "set_reaction", &parts, operation)
    }
}

impl SessionRequest for v1::AdvancePositionsRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        match self.progress.len() {
            0 => return Err(Rejection::ListEmpty.into()),
            1..=POSITIONS_PER_REQUEST_MAX => {}
            // The rule's own sentence gives the bound of messages to delete.
            _ => {
                let most = POSITIONS_PER_REQUEST_MAX;
                let sentence = format!("at most {most} conversations may be named at once");
                return Err(Problem::refused(Reason::ListTooLong, &sentence));
            }
        }
        let mut bytes = Vec::with_capacity(24 * self.progress.len());
        let mut positions = Vec::with_capacity(self.progress.len());
        for progress in self.progress {
            let numbers = [
                progress.conversation_id,
                progress.sequence_delivered,
                progress.sequence_read,
            ];
            bytes.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
            let far = Progress {
                delivered: Sequence(progress.sequence_delivered),
                read: Sequence(progress.sequence_read),
            };
            positions.push((ConversationId(progress.conversation_id), far));
        }
        let operation = Operation::Message(MessageOperation::AdvancePositions { positions });
        command(
            session,
            self.request,
            "advance_positions",
            &[&bytes],
            operation,
        )
    }
}

impl SessionRequest for v1::DeleteMessagesRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        match self.messages.len() {
            0 => return Err(Rejection::ListEmpty.into()),
            1..=DELETE_MESSAGES_MAX => {}
            _ => return Err(Rejection::ListTooLong.into()),
        }
        let mut bytes = vec![u8::from(self.for_everyone)];
        let mut messages = Vec::with_capacity(self.messages.len());
        for message in self.messages {
            bytes.extend(message.conversation_id.to_le_bytes());
            bytes.extend(message.sequence.to_le_bytes());
            messages.push(MessageRef {
                conversation: ConversationId(message.conversation_id),
                sequence: Sequence(message.sequence),
            });
        }
        let operation = Operation::Message(MessageOperation::DeleteMessages {
            messages,
            for_everyone: self.for_everyone,
        });
        command(
            session,
            self.request,
            "delete_messages",
            &[&bytes],
            operation,
        )
    }
}
