//! The result of a rule, and the decision about a command that follows from it.
//!
//! Every rule and the gate in front of the rules use these types; they use none of the rules.

use crate::{
    Accepted, AccountId, Allowance, Answer, Broken, Event, OncePool, Rejection, SessionEvent,
    SessionId, Timestamp, limits::SESSION_CLOSED_MS,
};

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer for the caller.
    pub answer: Answer,
    /// Events to be written, in this order. Empty if the command was refused or answered from
    /// memory.
    pub events: Vec<Event>,
    /// Whether and under which name the answer must be remembered.
    pub remember: Remember,
    /// The account's use of its limits, if that has changed.
    pub spent: Option<(AccountId, Allowance)>,
    /// The log index of the entry in which an answer from memory was decided; `None`: this one.
    pub decided_in: Option<u64>,
    /// Where an answer to a request outside a session is remembered.
    pub pool: OncePool,
}

/// Where an answer is to be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remember {
    /// Under the origin of the command: it was executed, or refused by its rule.
    Yes,
    /// It is remembered already, the request never reached its rule, or the refusal holds for a
    /// moment only.
    No,
}

/// Reason why a rule ends early.
pub(crate) enum Stop {
    Rejected(Rejection),
    Broken(Broken),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Result of a rule: the answer and the events behind it.
pub(crate) type Ruling = Result<(Accepted, Vec<Event>), Stop>;

/// Ends a session; what it has answered is remembered for as long as a client may ask again.
pub(super) fn close_session(session: SessionId, now: Timestamp) -> (Accepted, Vec<Event>) {
    let forget_at = now.plus_ms(SESSION_CLOSED_MS);
    (
        Accepted::SessionClosed,
        vec![Event::Session(SessionEvent::Closed { session, forget_at })],
    )
}
