//! Decides one command: once, in log order, on every node.
//!
//! This file is the gate of "exactly once"; each command's own rule is in a file of its own.
//!
//! Always true: a request that was executed is never executed again; it gets its first answer as
//! long as that is remembered and a refusal afterwards.

mod advance_position;
mod create_account;
mod delete_account;
mod delete_messages;
mod open_session;
mod send_message;

use crate::{
    Accepted, Answer, Broken, Command, Event, Lookup, Operation, Origin, Position, Rejection,
    Session, SessionId, Timestamp,
    limits::{LOG_TIME_MAX_MS, SESSION_CLOSED_MS, SESSION_MS, SESSION_RENEW_MS},
    lookup::Remembered,
    requests::Admission,
};

/// What a command comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// For the one who asked.
    pub answer: Answer,
    /// To be written, in this order. Empty if the command was refused or answered from memory.
    pub events: Vec<Event>,
    /// Whether and under which name the answer must be remembered.
    pub remember: Remember,
}

/// Where an answer is to be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remember {
    /// Under the origin of the command: it was executed, or refused by its rule.
    Yes,
    /// It is remembered already, or the request never reached its rule.
    No,
}

/// Why a rule ends early.
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

/// What a rule gives: the answer and the events behind it.
pub(crate) type Ruling = Result<(Accepted, Vec<Event>), Stop>;

/// Decides `command`.
///
/// `now` is the log time of its entry. `position_of(n)` is where the n-th of the command's events
/// (from 0) will stand in the log.
///
/// # Errors
/// [`Broken`] if the state cannot be read; the node must stop. Refusals are answers, not errors.
pub fn decide(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    command: &Command,
) -> Result<Decision, Broken> {
    match command.origin {
        Origin::Session { session, number } => {
            in_session(lookup, now, position_of, session, number, command)
        }
        Origin::Once(id) => match lookup.remembered_once(&id)? {
            Some(remembered) => Ok(recall(remembered, command, 0)),
            None => conclude(outside_session(lookup, now, command), Vec::new()),
        },
    }
}

/// The log time of a batch: never earlier than the one before, whatever the leader's clock says.
#[must_use]
pub fn log_time(before: Timestamp, proposed_at: Timestamp) -> Timestamp {
    before.max(proposed_at.min(Timestamp(LOG_TIME_MAX_MS)))
}

fn in_session(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    id: SessionId,
    number: u64,
    command: &Command,
) -> Result<Decision, Broken> {
    let refuse = |rejection| {
        Ok(Decision {
            answer: Err(rejection),
            events: Vec::new(),
            remember: Remember::No,
        })
    };
    let Some(session) = lookup.session(id)? else {
        return refuse(Rejection::SessionExpired);
    };
    let last = session.requests.last();
    match session.requests.admit(number) {
        Admission::Used => {
            return match lookup.remembered(id, number)? {
                Some(remembered) => Ok(recall(remembered, command, last)),
                None => refuse(Rejection::RequestTooOld { last }),
            };
        }
        Admission::TooOld => return refuse(Rejection::RequestTooOld { last }),
        Admission::OutOfRange => return refuse(Rejection::RequestOutOfRange { last }),
        Admission::Fresh => {}
    }
    if session.closed || session.expires_at <= now {
        return refuse(Rejection::SessionExpired);
    }
    let renewal = renewal(&session, now);
    // The renewal is the command's first event, if there is one.
    let offset = renewal.len() as u64;
    let by = session.account;
    let ruling = match &command.operation {
        Operation::DeleteAccount => delete_account::delete_account(lookup, by, now),
        Operation::CloseSession => Ok(close_session(id, now)),
        Operation::SendMessage { to, text } => {
            let position_of = |event| position_of(event + offset);
            send_message::send_message(lookup, by, now, position_of, to, text)
        }
        Operation::AdvancePosition {
            conversation,
            progress,
        } => advance_position::advance_position(lookup, by, *conversation, *progress),
        Operation::DeleteMessages {
            messages,
            for_everyone,
        } => delete_messages::delete_messages(lookup, by, now, messages, *for_everyone),
        Operation::CreateAccount { .. } | Operation::OpenSession { .. } => {
            Err(Rejection::SessionMisplaced { needed: false }.into())
        }
    };
    conclude(ruling, renewal)
}

fn outside_session(lookup: &impl Lookup, now: Timestamp, command: &Command) -> Ruling {
    match &command.operation {
        Operation::CreateAccount {
            name,
            password_hash,
        } => create_account::create_account(lookup, now, name, password_hash),
        Operation::OpenSession {
            account,
            password_version,
            token,
        } => open_session::open_session(lookup, now, *account, *password_version, *token),
        Operation::DeleteAccount
        | Operation::CloseSession
        | Operation::SendMessage { .. }
        | Operation::AdvancePosition { .. }
        | Operation::DeleteMessages { .. } => {
            Err(Rejection::SessionMisplaced { needed: true }.into())
        }
    }
}

/// Ends a session; what it has answered is remembered for as long as a client may ask again.
fn close_session(session: SessionId, now: Timestamp) -> (Accepted, Vec<Event>) {
    let forget_at = now.plus_ms(SESSION_CLOSED_MS);
    (
        Accepted::SessionClosed,
        vec![Event::SessionClosed { session, forget_at }],
    )
}

fn renewal(session: &Session, now: Timestamp) -> Vec<Event> {
    let expires_at = now.plus_ms(SESSION_MS);
    // Subtracted, not added: at the end of time a sum would stay equal and renew for ever.
    if expires_at.0.saturating_sub(session.expires_at.0) < SESSION_RENEW_MS {
        return Vec::new();
    }
    vec![Event::SessionRenewed {
        session: session.id,
        expires_at,
    }]
}

fn recall(remembered: Remembered, command: &Command, last: u64) -> Decision {
    let answer = if remembered.digest == command.digest {
        remembered.answer
    } else {
        Err(Rejection::RequestReused { last })
    };
    Decision {
        answer,
        events: Vec::new(),
        remember: Remember::No,
    }
}

fn conclude(ruling: Ruling, before: Vec<Event>) -> Result<Decision, Broken> {
    let (answer, events) = match ruling {
        Ok((accepted, events)) => (Ok(accepted), before.into_iter().chain(events).collect()),
        Err(Stop::Rejected(rejection)) => (Err(rejection), before),
        Err(Stop::Broken(broken)) => return Err(broken),
    };
    Ok(Decision {
        answer,
        events,
        remember: Remember::Yes,
    })
}
