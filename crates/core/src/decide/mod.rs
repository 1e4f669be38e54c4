//! Decides one command: once, in log order, on every node.
//!
//! This file is the gate of "exactly once"; each command's own rule is in a file of its own.
//!
//! Always true: a request that was executed is never executed again; it gets its first answer as
//! long as that is remembered and a refusal afterwards.

mod accounts;
mod dates;
mod introduced;
mod messages;
mod nodes;
mod once_pool;
mod rooms;
mod rules;
mod ruling;
mod sessions;
mod spending;

use crate::{
    Account, Bound, Broken, ClusterVersion, Command, Event, Lookup, Now, OncePool, Operation,
    Origin, Position, Rejection, Session, SessionEvent, SessionId, Timestamp,
    limits::{SESSION_MS, SESSION_RENEW_MS, SESSION_WHOLE_MS},
    lookup::Remembered,
    requests::Admission,
};
use dates::show_dates;
use rules::{outside_session, rule};
pub use ruling::{Decision, Remember};
use ruling::{Ruling, Stop};
use spending::{Paid, pay, payer};

/// Decides `command`.
///
/// `now` has the times of its entry. `position_of(n)` is where the n-th of the command's events
/// (from 0) will stand in the log.
///
/// # Errors
/// [`Broken`] if the state cannot be read; the node must stop. Refusals are answers, not errors.
pub fn decide(
    lookup: &impl Lookup,
    now: Now,
    position_of: impl Fn(u64) -> Position,
    command: &Command,
) -> Result<Decision, Broken> {
    let log_time = now.log_time;
    let mut decision = match command.origin {
        Origin::Session { session, number } => {
            in_session(lookup, log_time, position_of, session, number, command)?
        }
        Origin::Once(id) => match lookup.remembered_once(&id)? {
            Some(remembered) => return Ok(recall(remembered, command, 0)),
            None => asked_once(lookup, log_time, position_of, command)?,
        },
    };
    // What is answered from memory was shown in dates before.
    if decision.remember == Remember::Yes {
        show_dates(&mut decision, now);
    }
    Ok(decision)
}

/// Decides a request outside of sessions that no remembered answer answers.
fn asked_once(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    command: &Command,
) -> Result<Decision, Broken> {
    if let Some(refused) = before_its_version(lookup, &command.operation)? {
        return Ok(refused);
    }
    let pool = OncePool::of(lookup, &command.operation)?;
    if matches!(pool, OncePool::Webhook(_)) && lookup.once_answers(pool)? >= pool.answers_max() {
        let what = Bound::WebhookKeys;
        return Ok(Decision {
            answer: Err(Rejection::TooMany { what }),
            events: Vec::new(),
            remember: Remember::No,
            spent: None,
            decided_in: None,
            pool,
        });
    }
    let operation = &command.operation;
    let paid = match payer(lookup, operation)? {
        Some(account) => match pay(lookup, now, account, operation)? {
            Ok(paid) => paid,
            Err(rejection) => return Ok(refused(rejection)),
        },
        None => None,
    };
    let ruling = within_quotas(paid, operation)
        .and_then(|()| outside_session(lookup, now, position_of, operation));
    let decision = conclude(ruling, Vec::new(), paid)?;
    Ok(Decision { pool, ..decision })
}

fn in_session(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    id: SessionId,
    number: u64,
    command: &Command,
) -> Result<Decision, Broken> {
    let refuse = |rejection| Ok(refused(rejection));
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
    let is_suspended = |account: Account| account.suspended;
    let suspended = lookup.account(session.account)?.is_some_and(is_suspended);
    if session.closed || session.expires_at <= now || suspended {
        return refuse(Rejection::SessionExpired);
    }
    if let Some(refused) = before_its_version(lookup, &command.operation)? {
        return Ok(refused);
    }
    let paid = match pay(lookup, now, session.account, &command.operation)? {
        Ok(paid) => paid,
        Err(rejection) => return refuse(rejection),
    };
    let renewal = renewal(&session, now);
    // The renewal is the command's first event, if there is one.
    let offset = renewal.len() as u64;
    let position_of = |event| position_of(event + offset);
    let ruling = within_quotas(paid, &command.operation)
        .and_then(|()| rule(lookup, now, position_of, &session, &command.operation));
    conclude(ruling, renewal, paid)
}

fn within_quotas(paid: Option<Paid>, operation: &Operation) -> Result<(), Stop> {
    Ok(paid.map_or(Ok(()), |paid| paid.check_quotas(operation))?)
}

/// Returns the refusal of an operation that the cluster version does not have. No leader proposes
/// one; if one did, all nodes would decide alike.
fn before_its_version(
    lookup: &impl Lookup,
    operation: &Operation,
) -> Result<Option<Decision>, Broken> {
    let version = lookup.cluster_version()?.unwrap_or(ClusterVersion::FIRST);
    if operation.is_introduced(version) {
        return Ok(None);
    }
    let needed = operation.needs().0;
    Ok(Some(refused(Rejection::VersionTooLow { needed })))
}

/// Returns the decision on a request that never reached its rule.
fn refused(rejection: Rejection) -> Decision {
    Decision {
        answer: Err(rejection),
        events: Vec::new(),
        remember: Remember::No,
        spent: None,
        decided_in: None,
        pool: OncePool::default(),
    }
}

fn renewal(session: &Session, now: Timestamp) -> Vec<Event> {
    // In both directions: log time may have been set back.
    if now.0.abs_diff(session.used_at.0) < SESSION_RENEW_MS {
        return Vec::new();
    }
    let end = session.began_at.plus_ms(SESSION_WHOLE_MS);
    let expires_at = match session.expires_at > end {
        // A program's.
        true => session.expires_at,
        false => now.plus_ms(SESSION_MS).min(end),
    };
    vec![Event::Session(SessionEvent::Renewed {
        session: session.id,
        expires_at,
        used_at: now,
    })]
}

fn recall(remembered: Remembered, command: &Command, last: u64) -> Decision {
    let (answer, decided_in) = if remembered.digest == command.digest {
        (remembered.answer, Some(remembered.decided_in))
    } else {
        (Err(Rejection::RequestReused { last }), None)
    };
    Decision {
        answer,
        events: Vec::new(),
        remember: Remember::No,
        spent: None,
        decided_in,
        pool: OncePool::default(),
    }
}

fn conclude(ruling: Ruling, before: Vec<Event>, paid: Option<Paid>) -> Result<Decision, Broken> {
    let ruling = ruling.and_then(|(accepted, events)| match paid {
        Some(paid) => {
            let spent = paid.settle(&events)?;
            Ok((accepted, events, Some(spent)))
        }
        None => Ok((accepted, events, None)),
    });
    let (answer, events, spent) = match ruling {
        Ok((accepted, events, spent)) => {
            let events = before.into_iter().chain(events).collect();
            (Ok(accepted), events, spent)
        }
        Err(Stop::Rejected(rejection)) => (Err(rejection), before, paid.map(Paid::spent)),
        Err(Stop::Broken(broken)) => return Err(broken),
    };
    let remember = match answer {
        Err(Rejection::LoginThrottled { .. }) => Remember::No,
        _ => Remember::Yes,
    };
    Ok(Decision {
        answer,
        events,
        remember,
        spent,
        decided_in: None,
        pool: OncePool::default(),
    })
}
