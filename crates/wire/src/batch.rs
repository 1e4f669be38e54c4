//! Log entries: batches of commands as bytes.
//!
//! Always true: what is decoded equals what was encoded, also by an older version. What this
//! version cannot understand is an error that stops the node; it is never skipped.

use bytes::Bytes;
use conclave_core::{
    AccountId, AccountName, Batch, Command, ConversationId, Digest, MessageRef, MessageText,
    OnceId, Operation, Origin, Progress, Recipient, Rejection, Sequence, SessionId, Timestamp,
    TokenHash, limits::DELETE_MESSAGES_MAX,
};
use prost::Message as _;

use crate::peer;

/// The feature level of this version: entries that need a higher one are refused.
pub const FEATURE_LEVEL: u32 = 1;

/// These bytes are not a batch that this version can apply.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not the protobuf that it should be.
    #[error("the bytes are not a batch")]
    Protobuf(#[from] prost::DecodeError),
    /// Made by a newer version.
    #[error("the entry needs feature level {needed}; this version has {FEATURE_LEVEL}")]
    FeatureLevel {
        /// What it needs.
        needed: u32,
    },
    /// An operation that this version does not know, or none.
    #[error("the entry has an operation that this version does not know")]
    UnknownOperation,
    /// A field breaks a bound that was checked before it was proposed.
    #[error("a field is out of its bounds")]
    Bounds(#[from] Rejection),
    /// A field of fixed length has another length.
    #[error("a field has the wrong length")]
    Length(#[from] std::array::TryFromSliceError),
}

/// The bytes of a batch.
#[must_use]
pub fn encode(batch: &Batch) -> Bytes {
    let encoded = peer::Batch {
        feature_level: FEATURE_LEVEL,
        proposed_at_ms: batch.proposed_at.0,
        commands: batch.commands.iter().map(encode_command).collect(),
    };
    encoded.encode_to_vec().into()
}

/// The batch in these bytes.
///
/// # Errors
/// See [`DecodeError`]: the node that reads this from its log must stop.
pub fn decode(bytes: Bytes) -> Result<Batch, DecodeError> {
    let batch = peer::Batch::decode(bytes)?;
    if batch.feature_level > FEATURE_LEVEL {
        return Err(DecodeError::FeatureLevel {
            needed: batch.feature_level,
        });
    }
    let commands = batch
        .commands
        .into_iter()
        .map(decode_command)
        .collect::<Result<_, _>>()?;
    Ok(Batch {
        proposed_at: Timestamp(batch.proposed_at_ms),
        commands,
    })
}

/// One command for a peer.
#[must_use]
pub fn encode_command(command: &Command) -> peer::Command {
    let (session_id, number, once_id) = match command.origin {
        Origin::Session { session, number } => (session.0, number, Bytes::new()),
        Origin::Once(id) => (0, 0, Bytes::copy_from_slice(&id.0)),
    };
    peer::Command {
        session_id,
        number,
        once_id,
        digest: command.digest.0,
        operation: Some(encode_operation(&command.operation)),
    }
}

/// One command from a peer.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_command(command: peer::Command) -> Result<Command, DecodeError> {
    let origin = match command.session_id {
        0 => Origin::Once(OnceId::try_from(&command.once_id[..])?),
        session => Origin::Session {
            session: SessionId(session),
            number: command.number,
        },
    };
    let operation = command.operation.ok_or(DecodeError::UnknownOperation)?;
    Ok(Command {
        origin,
        digest: Digest(command.digest),
        operation: decode_operation(operation)?,
    })
}

fn encode_operation(operation: &Operation) -> peer::command::Operation {
    use peer::command::Operation as Encoded;
    match operation {
        Operation::CreateAccount {
            name,
            password_hash,
        } => Encoded::CreateAccount(peer::CreateAccount {
            name: name.as_str().to_owned(),
            password_hash: password_hash.clone(),
        }),
        Operation::DeleteAccount => Encoded::DeleteAccount(peer::DeleteAccount {}),
        Operation::OpenSession {
            account,
            password_version,
            token,
        } => Encoded::OpenSession(peer::OpenSession {
            account_id: account.0,
            password_version: *password_version,
            token_hash: Bytes::copy_from_slice(&token.0),
        }),
        Operation::CloseSession => Encoded::CloseSession(peer::CloseSession {}),
        Operation::SendMessage { to, text } => {
            use peer::send_message::To;
            let to = match to {
                Recipient::Account(name) => To::RecipientName(name.as_str().to_owned()),
                Recipient::Conversation(id) => To::ConversationId(id.0),
            };
            let text = text.as_str().to_owned();
            Encoded::SendMessage(peer::SendMessage { to: Some(to), text })
        }
        Operation::AdvancePosition {
            conversation,
            progress,
        } => Encoded::AdvancePosition(peer::AdvancePosition {
            conversation_id: conversation.0,
            sequence_delivered: progress.delivered.0,
            sequence_read: progress.read.0,
        }),
        Operation::DeleteMessages {
            messages,
            for_everyone,
        } => {
            let pairs = messages
                .iter()
                .flat_map(|m| [m.conversation.0, m.sequence.0])
                .collect();
            Encoded::DeleteMessages(peer::DeleteMessages {
                conversation_sequence_pairs: pairs,
                for_everyone: *for_everyone,
            })
        }
    }
}

fn decode_operation(operation: peer::command::Operation) -> Result<Operation, DecodeError> {
    use peer::command::Operation as Encoded;
    Ok(match operation {
        Encoded::CreateAccount(create) => Operation::CreateAccount {
            name: AccountName::new(create.name)?,
            password_hash: create.password_hash,
        },
        Encoded::DeleteAccount(peer::DeleteAccount {}) => Operation::DeleteAccount,
        Encoded::OpenSession(open) => Operation::OpenSession {
            account: AccountId(open.account_id),
            password_version: open.password_version,
            token: TokenHash::try_from(&open.token_hash[..])?,
        },
        Encoded::CloseSession(peer::CloseSession {}) => Operation::CloseSession,
        Encoded::SendMessage(send) => {
            use peer::send_message::To;
            let to = match send.to.ok_or(DecodeError::UnknownOperation)? {
                To::RecipientName(name) => Recipient::Account(AccountName::new(name)?),
                To::ConversationId(id) => Recipient::Conversation(ConversationId(id)),
            };
            Operation::SendMessage {
                to,
                text: MessageText::new(send.text)?,
            }
        }
        Encoded::AdvancePosition(advance) => Operation::AdvancePosition {
            conversation: ConversationId(advance.conversation_id),
            progress: Progress {
                delivered: Sequence(advance.sequence_delivered),
                read: Sequence(advance.sequence_read),
            },
        },
        Encoded::DeleteMessages(delete) => {
            let (pairs, rest) = delete.conversation_sequence_pairs.as_chunks::<2>();
            if !rest.is_empty() || pairs.is_empty() {
                return Err(Rejection::ListEmpty.into());
            }
            if pairs.len() > DELETE_MESSAGES_MAX {
                return Err(Rejection::ListTooLong.into());
            }
            let message = |[conversation, sequence]: &[u64; 2]| MessageRef {
                conversation: ConversationId(*conversation),
                sequence: Sequence(*sequence),
            };
            Operation::DeleteMessages {
                messages: pairs.iter().map(message).collect(),
                for_everyone: delete.for_everyone,
            }
        }
    })
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
