//! What clients ask for, after their bounds were checked and before the log has decided.
//!
//! A command carries everything that is not the same everywhere: password hashes, token hashes
//! and digests are made where the request arrives, the time is stamped by the leader that
//! proposes the [`Batch`]. Nothing is made up while applying.

use crate::{Digest, OnceId, Operation, SessionId, Timestamp};

/// One log entry's worth of commands, decided in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The log time by the leader's measure of the time that has passed. The entry has this or the
    /// log time before, whichever is later.
    pub proposed_at: Timestamp,
    /// The date that the clocks of the voters agree on.
    pub date: Timestamp,
    /// At most [`crate::limits::BATCH_COMMANDS_MAX`].
    pub commands: Vec<Command>,
}

/// One request of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The caller, and which of its requests this is.
    pub origin: Origin,
    /// Digest of what the request says: distinguishes a retry from another request with the same
    /// number.
    pub digest: Digest,
    /// The requested operation.
    pub operation: Operation,
}

/// The caller, and the name under which the answer is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A request of a session.
    Session {
        /// The session.
        session: SessionId,
        /// Chosen by the client: the same on every retry, new for every request.
        number: u64,
    },
    /// A request before there is a session, named by the client's random bits.
    Once(OnceId),
}
