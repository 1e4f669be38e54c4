//! Log entries: batches of commands as bytes.
//!
//! Always true: what is decoded equals what was encoded, also by an older version. An entry says
//! the lowest cluster version whose builds can apply it. What a build cannot understand is an error
//! that stops the node; it is never skipped. No leader writes such an entry before every member has
//! said that it can apply it.

mod decode;
mod encode;

use bytes::Bytes;
use conclave_core::{
    Batch, ClusterOperation, ClusterVersion, Command, Digest, MessageOperation, OnceId, Operation,
    Origin, Rejection, SessionId, Timestamp,
    limits::{
        DELETE_MESSAGES_MAX, FORGET_CONVERSATIONS_MAX, MEMBERS_ASKED_MAX, POSITIONS_PER_REQUEST_MAX,
    },
};
use prost::Message as _;

use crate::peer;

/// These bytes are not a batch that this version can apply.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not the protobuf that it should be.
    #[error("the bytes are not a batch")]
    Protobuf(#[from] prost::DecodeError),
    /// Made by a newer build.
    #[error(
        "the entry needs cluster version {needed}, and this build applies versions up to {newest}: \
         start the newer build again"
    )]
    Version {
        /// The lowest version whose builds can apply it.
        needed: u32,
        /// The newest version of this build.
        newest: ClusterVersion,
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

/// Returns the lowest cluster version whose builds can apply these commands.
fn needs(commands: &[Command]) -> ClusterVersion {
    let versions = commands.iter().map(|command| command.operation.needs());
    versions.max().unwrap_or(ClusterVersion::FIRST)
}

/// Encodes a batch.
#[must_use]
pub fn encode(batch: &Batch) -> Bytes {
    let encoded = peer::Batch {
        needs_version: needs(&batch.commands).0,
        proposed_at_ms: batch.proposed_at.0,
        date_ms: batch.date.0,
        commands: batch.commands.iter().map(encode_command).collect(),
    };
    encoded.encode_to_vec().into()
}

/// Checks that a build which applies versions up to `newest` can apply an entry.
///
/// # Errors
/// [`DecodeError::Version`] if it cannot.
pub fn check_version(needed: u32, newest: ClusterVersion) -> Result<(), DecodeError> {
    match needed > newest.0 {
        true => Err(DecodeError::Version { needed, newest }),
        false => Ok(()),
    }
}

/// Decodes a batch, in a build that applies versions up to `newest`.
///
/// # Errors
/// See [`DecodeError`]: the node that reads this from its log must stop.
pub fn decode(bytes: Bytes, newest: ClusterVersion) -> Result<Batch, DecodeError> {
    let batch = peer::Batch::decode(bytes)?;
    check_version(batch.needs_version, newest)?;
    let commands = batch
        .commands
        .into_iter()
        .map(command_in)
        .collect::<Result<_, _>>()?;
    Ok(Batch {
        proposed_at: Timestamp(batch.proposed_at_ms),
        date: Timestamp(batch.date_ms),
        commands,
    })
}

/// Encodes one command for a peer.
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
        operation: Some(encode::operation(&command.operation)),
    }
}

/// Decodes one command from a peer, before it is proposed: the lengths of lists are checked, too.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_command(command: peer::Command) -> Result<Command, DecodeError> {
    let command = command_in(command)?;
    let (items, max) = match &command.operation {
        Operation::Message(MessageOperation::AdvancePositions { positions }) => {
            (positions.len(), POSITIONS_PER_REQUEST_MAX)
        }
        Operation::Message(MessageOperation::DeleteMessages { messages, .. }) => {
            (messages.len(), DELETE_MESSAGES_MAX)
        }
        Operation::Cluster(ClusterOperation::RaiseVersion { asked, .. }) => {
            (asked.len(), MEMBERS_ASKED_MAX)
        }
        Operation::Cluster(ClusterOperation::ForgetMessages { conversations }) => {
            (conversations.len(), FORGET_CONVERSATIONS_MAX)
        }
        _ => return Ok(command),
    };
    // It forgets the oldest of all then.
    let may_be_empty = matches!(
        command.operation,
        Operation::Cluster(ClusterOperation::ForgetMessages { .. })
    );
    match items {
        0 if !may_be_empty => Err(Rejection::ListEmpty.into()),
        items if items > max => Err(Rejection::ListTooLong.into()),
        _ => Ok(command),
    }
}

fn command_in(command: peer::Command) -> Result<Command, DecodeError> {
    let origin = match command.once_id.is_empty() {
        true => Origin::Session {
            session: SessionId(command.session_id),
            number: command.number,
        },
        false => Origin::Once(OnceId::try_from(&command.once_id[..])?),
    };
    let operation = command.operation.ok_or(DecodeError::UnknownOperation)?;
    Ok(Command {
        origin,
        digest: Digest(command.digest),
        operation: decode::operation(operation)?,
    })
}

#[cfg(test)]
mod tests;
