//! What a record is made of: one event, one line of JSON.
//!
//! All times of one history come from one monotonic clock, in microseconds since the run began.
//! An invocation is stamped before the request leaves, an outcome after the answer arrived, so
//! that "answered before asked" is never an artefact of the stamping.

use serde::{Deserialize, Serialize};

/// One thing that a driver of the run did or saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Time of writing, on the run's one clock.
    pub at_us: u64,
    /// The content of the event.
    #[serde(flatten)]
    pub what: What,
}

/// What an event says; `kind` on the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A client asks for something. Retries of it belong to the same operation.
    Invoke {
        /// The client that asks.
        client: u64,
        /// The number of the operation, unique over the run.
        op: u64,
        /// The requested action.
        action: Action,
    },
    /// The operation was acknowledged: it happened, durably.
    Ok {
        /// The client that asked.
        client: u64,
        /// The operation.
        op: u64,
        /// The place that a send was given; absent for a deletion.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    /// The operation was refused: it definitely did not happen and never will.
    ///
    /// A time-out is never this; it is [`What::Unknown`].
    Fail {
        /// The client that asked.
        client: u64,
        /// The operation.
        op: u64,
    },
    /// A time-out or a lost connection: it may have happened, may happen later, or never.
    Unknown {
        /// The client that asked.
        client: u64,
        /// The operation.
        op: u64,
    },
    /// What one node returned for a conversation, or what a live reader received from it.
    Observe {
        /// The node that was read.
        node: u64,
        /// The live reader, if it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<u64>,
        /// The conversation that was read.
        conversation: String,
        /// When the reading was requested; what was acknowledged before must be in it.
        asked_us: u64,
        /// The first place that was requested.
        #[serde(default = "first_seq")]
        from_seq: u64,
        /// What came, in the order in which it came.
        messages: Vec<Observed>,
        /// Whether this is the whole conversation as the node had it, from its first message to
        /// its last (a linearizable reading, or one taken when the node had caught up).
        #[serde(default)]
        complete: bool,
    },
    /// A node's digest of its state after applying the log up to a position.
    Digest {
        /// The node.
        node: u64,
        /// The last log index that the digest covers.
        applied: u64,
        /// The digest, in any notation that all nodes share.
        digest: String,
    },
}

/// An action that a client may request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Send a message.
    Send {
        /// The conversation's key, such as `alice/bob`.
        conversation: String,
        /// A word that occurs in this message of the run and in no other.
        message: String,
    },
    /// Delete a message for everyone; its place stays.
    Delete {
        /// The conversation's key.
        conversation: String,
        /// The place of the message.
        seq: u64,
    },
}

/// One message as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The message's place in the conversation.
    pub seq: u64,
    /// The word that identifies it. What a deleted message said is gone: empty, and ignored.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Whether it was deleted for everyone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
}

fn first_seq() -> u64 {
    1
}

// The signature is serde's.
fn is_false(flag: &bool) -> bool {
    !*flag
}
