//! Outcomes of the messages in an outbox, and failures of an outbox.

use std::{io, path::PathBuf, sync::Arc};

use crate::{CallError, Sent};

/// Outcome of a message.
pub type Outcome = Result<Sent, OutboxError>;

/// Failures of an outbox.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OutboxError {
    /// The session does not send the message.
    ///
    /// [`CallError::Refused`]: the message was refused. [`CallError::Unknown`]: its outcome cannot
    /// be known any more, because it was perhaps sent in a session that has ended, or that has
    /// forgotten its number. In both cases it is no longer in the outbox.
    ///
    /// [`CallError::SessionExpired`]: the session has ended, and the outbox with it. The message
    /// stays in the file, if there is one: log in, and open the file again. If `certain`, the next
    /// outbox sends it; if not, that one reports it as unknown.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The file cannot be read or written. A message that was not taken was not sent.
    #[error("cannot keep messages in {}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the failure.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another program uses the file.
    #[error("{} is in use by another program", path.display())]
    InUse {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file is not an outbox of this version.
    #[error("{} is not an outbox of this version", path.display())]
    NotAnOutbox {
        /// Path of the file.
        path: PathBuf,
    },
    /// The outbox has ended before the message was acknowledged. It is still in the file, if
    /// there is one.
    #[error("the outbox has ended")]
    Ended,
}
