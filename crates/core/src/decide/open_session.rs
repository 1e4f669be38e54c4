//! Opens a session for somebody whose password was verified where the request arrived.
//!
//! Also sweeps away a few sessions whose time has come, so that their number stays bounded by
//! the rate of log-ins and nobody has to sweep by a clock.

use super::{Ruling, close_session};
use crate::{
    Accepted, AccountId, AccountRole, Event, Lookup, Rejection, SessionLabel, ThrottleKey,
    Timestamp, TokenHash,
    limits::{SESSION_MS, SESSIONS_PER_ACCOUNT_MAX, SESSIONS_SWEPT_MAX},
};

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) account: AccountId,
    pub(super) password_version: u64,
    pub(super) token: TokenHash,
    pub(super) label: &'a SessionLabel,
    pub(super) throttle: ThrottleKey,
}

pub(super) fn open_session(lookup: &impl Lookup, now: Timestamp, asked: Asked<'_>) -> Ruling {
    let Asked { account, token, .. } = asked;
    // A program has no password: no session of its account may outlive its webhook.
    let may = |found: crate::Account| {
        found.password_version == asked.password_version && found.role != AccountRole::Bot
    };
    if !lookup.account(account)?.is_some_and(may) {
        return Err(Rejection::WrongCredentials.into());
    }
    if lookup.token_in_use(&token)? {
        return Err(Rejection::TokenInUse.into());
    }
    let expired = lookup.sessions_expired(now, SESSIONS_SWEPT_MAX)?;
    let mut open = lookup.sessions_of(account)?;
    open.retain(|session| !expired.contains(session));
    let too_many = (open.len() + 1).saturating_sub(SESSIONS_PER_ACCOUNT_MAX);

    let mut events = Vec::new();
    events.extend(
        expired
            .into_iter()
            .map(|session| Event::SessionForgotten { session }),
    );
    for oldest in open.into_iter().take(too_many) {
        events.extend(close_session(oldest, now).1);
    }
    let session = lookup.session_last()?.next();
    let expires_at = now.plus_ms(SESSION_MS);
    events.push(Event::SessionOpened {
        session,
        account,
        token,
        label: asked.label.clone(),
        at: now,
        expires_at,
    });
    if lookup.throttle(&asked.throttle)?.is_some() {
        let key = asked.throttle;
        events.push(Event::LoginForgiven { key });
    }
    Ok((
        Accepted::SessionOpened {
            session,
            account,
            expires_at,
        },
        events,
    ))
}
