//! Failures of a call, sorted by what the caller may do next.

use std::{fmt, time::Duration};

use conclave_wire::Reason;

use crate::trust::Distrust;

/// Names one request of a session: the same key on a retry means the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// Number of the request in the session.
    pub number: u64,
    /// Random number of the program that chose the request's number.
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
        /// The reason, such as [`Reason::NameTaken`].
        reason: Reason,
        /// Sentence for people.
        sentence: String,
    },
    /// There is no session, or it has ended. Log in again.
    #[error("{sentence}")]
    SessionExpired {
        /// Sentence for people.
        sentence: String,
        /// Whether this request certainly changed nothing. False if an earlier attempt of it got no
        /// answer: that attempt may have ended the session.
        certain: bool,
    },
    /// The request was certainly not executed: it never left this machine, or every node that was
    /// reached refused it before executing it. The caller may make it again as a new request. A
    /// read that got no answer ends here too, because it changes nothing.
    #[error("not done after {} s and {attempts} attempts: {sentence}", seconds(*.waited))]
    NotDone {
        /// Cause of the last attempt's failure.
        sentence: String,
        /// Why the certificate of the node was not accepted, if that is the cause.
        distrust: Option<Distrust>,
        /// Number of attempts.
        attempts: u32,
        /// Time since the call began.
        waited: Duration,
        /// The nodes that were tried.
        nodes: Vec<String>,
    },
    /// The request may or may not have been executed. Ask again with the same key (see
    /// [`crate::Client::send_again`]); a new request might be executed twice.
    #[error("no answer after {} s and {attempts} attempts: {sentence}", seconds(*.waited))]
    Unknown {
        /// Cause of the last attempt's failure.
        sentence: String,
        /// Number of attempts.
        attempts: u32,
        /// Time since the call began.
        waited: Duration,
        /// The nodes that were tried.
        nodes: Vec<String>,
        /// Key of the request, if it belongs to a session.
        request: Option<RequestKey>,
    },
}

impl CallError {
    /// Returns the reason of a refusal.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } => Some(*reason),
            Self::SessionExpired { .. } | Self::NotDone { .. } | Self::Unknown { .. } => None,
        }
    }
}

impl From<conclave_core::Rejection> for CallError {
    /// Converts the rejection of a bound that the client itself has checked.
    fn from(rejection: conclave_core::Rejection) -> Self {
        Self::Refused {
            reason: Reason::from(&rejection),
            sentence: rejection.to_string(),
        }
    }
}

fn seconds(waited: Duration) -> String {
    format!("{:.1}", waited.as_secs_f64())
}
