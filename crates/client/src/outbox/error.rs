//! What becomes of a message in an outbox, and why an outbox cannot do what it should.

use std::{io, path::PathBuf, sync::Arc};

use crate::{CallError, Sent};

/// What became of a message.
pub type Outcome = Result<Sent, OutboxError>;

/// Why an outbox cannot do what it should.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OutboxError {
    /// The message was refused, or its outcome cannot be known any more
    /// ([`CallError::Unknown`]: its session has ended, or the memory of its number). It is no
    /// longer in the outbox.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The file cannot be read or written. What was not taken was not sent.
    #[error("cannot keep messages in {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another program uses the file.
    #[error("{} is in use by another program", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is no outbox of this version", path.display())]
    NotAnOutbox {
        /// Which.
        path: PathBuf,
    },
    /// The outbox has ended before the message was acknowledged. It is still in the file, if
    /// there is one.
    #[error("the outbox has ended")]
    Ended,
}
