//! How a call can fail, sorted by what the caller may do next.

use std::{fmt, time::Duration};

/// Names one request of a session: the same key on a retry means the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// Its number in the session.
    pub number: u64,
    /// The random number of the program that chose it.
    pub nonce: u64,
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}", self.number, self.nonce)
    }
}

/// A call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The rules said no. Nothing was changed; asking again gives the same answer.
    #[error("{sentence}")]
    Refused {
        /// The stable word, such as `NAME_TAKEN`.
        reason: String,
        /// For people.
        sentence: String,
    },
    /// There is no session, or it has ended. Log in again.
    #[error("{sentence}")]
    SessionExpired {
        /// For people.
        sentence: String,
        /// Whether this request certainly changed nothing. False if an earlier attempt of it
        /// got no answer: it may have been what ended the session.
        certain: bool,
    },
    /// It certainly did not happen: it never left this machine, or every node that was reached
    /// refused it at the door. It may be asked again as a new request. A read that got no answer
    /// ends here too, because it changes nothing.
    #[error("not done after {} s and {attempts} attempts: {sentence}", seconds(*.waited))]
    NotDone {
        /// Why the last attempt failed.
        sentence: String,
        /// How often it was tried.
        attempts: u32,
        /// For how long.
        waited: Duration,
        /// The nodes that were tried.
        nodes: Vec<String>,
    },
    /// It may or may not have happened. Ask again with the same key (see
    /// [`crate::Client::send_again`]); a new request might make it happen twice.
    #[error("no answer after {} s and {attempts} attempts: {sentence}", seconds(*.waited))]
    Unknown {
        /// Why the last attempt failed.
        sentence: String,
        /// How often it was tried.
        attempts: u32,
        /// For how long.
        waited: Duration,
        /// The nodes that were tried.
        nodes: Vec<String>,
        /// Which request it is, if it is one of a session.
        request: Option<RequestKey>,
    },
}

impl CallError {
    /// The stable word of a refusal.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            Self::SessionExpired { .. } | Self::NotDone { .. } | Self::Unknown { .. } => None,
        }
    }
}

impl From<conclave_core::Rejection> for CallError {
    /// A bound that was checked on this side.
    fn from(rejection: conclave_core::Rejection) -> Self {
        Self::Refused {
            reason: rejection.reason().to_owned(),
            sentence: rejection.to_string(),
        }
    }
}

fn seconds(waited: Duration) -> String {
    format!("{:.1}", waited.as_secs_f64())
}
