//! Opens a session for an account whose password was verified where the request arrived.
//!
//! A success forgives what was held against the owner: from a place that the account knows, what
//! was counted there; from elsewhere, what was counted for the account, and its share of what was
//! counted for the address. The place is known from then on.
//!
//! Also sweeps away a few sessions whose time has come, so that their number stays bounded by the
//! rate of log-ins and no task has to sweep by a clock.

use super::try_password;
use crate::{
    Accepted, AccessEvent, AccountEvent, AccountId, AccountRole, Event, LoginKeys, Lookup,
    Rejection, SessionEvent, SessionId, SessionLabel, Timestamp, TokenHash,
    decide::{
        accounts::create_account::is_hash,
        ruling::{Ruling, Stop, close_session},
    },
    limits::{
        LOGIN_PLACES_MAX, SESSION_MS, SESSION_RENEW_MS, SESSIONS_PER_ACCOUNT_MAX,
        SESSIONS_SWEPT_MAX,
    },
};

/// The requested session.
#[derive(Clone, Copy)]
pub(crate) struct RequestedSession<'a> {
    pub(crate) account: AccountId,
    pub(crate) password_version: u64,
    pub(crate) token: TokenHash,
    pub(crate) label: &'a SessionLabel,
    pub(crate) keys: &'a LoginKeys,
    pub(crate) renewed_hash: Option<&'a str>,
}

pub(crate) fn open_session(
    lookup: &impl Lookup,
    now: Timestamp,
    asked: RequestedSession<'_>,
) -> Ruling {
    let RequestedSession { account, token, .. } = asked;
    // A program has no password: no session of its account may outlive its webhook.
    let may = |found: &crate::Account| {
        found.password_version == asked.password_version && found.role != AccountRole::Bot
    };
    let found = lookup.account(account)?.filter(may);
    let found = found.ok_or(Rejection::WrongCredentials)?;
    if found.suspended {
        return Err(Rejection::AccountSuspended.into());
    }
    if !asked.renewed_hash.is_none_or(is_hash) {
        return Err(Rejection::PasswordHashInvalid.into());
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
            .map(|session| Event::Session(SessionEvent::Forgotten { session })),
    );
    for unused in least_recently_used(lookup, now, open, too_many)? {
        events.extend(close_session(unused, now).1);
    }
    let session = lookup.session_last()?.next();
    let expires_at = now.plus_ms(SESSION_MS);
    events.push(Event::Session(SessionEvent::Opened {
        session,
        account,
        token,
        label: asked.label.clone(),
        at: now,
        began_at: now,
        expires_at,
    }));
    if let Some(password_hash) = asked.renewed_hash {
        events.push(Event::Account(AccountEvent::PasswordRehashed {
            account,
            password_hash: password_hash.to_owned(),
        }));
    }
    forgive(lookup, now, asked.keys, &mut events)?;
    remember_places(lookup, now, account, asked.keys, &mut events)?;
    Ok((
        Accepted::SessionOpened {
            session,
            account,
            expires_at,
        },
        events,
    ))
}

/// Returns the `count` sessions among `open` that were used least recently. Use is noted once a
/// minute: of those that were used in the last minute, as far as is known, the ones that were only
/// opened go first.
fn least_recently_used(
    lookup: &impl Lookup,
    now: Timestamp,
    open: Vec<SessionId>,
    count: usize,
) -> Result<Vec<SessionId>, Stop> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut ranked = Vec::with_capacity(open.len());
    for id in open {
        let Some(session) = lookup.session(id)? else {
            continue;
        };
        let is_recent = now.0.saturating_sub(session.used_at.0) < SESSION_RENEW_MS;
        let rank = match is_recent {
            true => (true, u64::from(session.used_at > session.began_at)),
            false => (false, session.used_at.0),
        };
        ranked.push((rank, id));
    }
    ranked.sort_unstable();
    Ok(ranked.into_iter().map(|(_, id)| id).take(count).collect())
}

fn forgive(
    lookup: &impl Lookup,
    now: Timestamp,
    keys: &LoginKeys,
    events: &mut Vec<Event>,
) -> Result<(), Stop> {
    if let Some(key) = try_password::apart(lookup, keys)? {
        if lookup.throttle(&key)?.is_some() {
            events.push(Event::Access(AccessEvent::LoginForgiven { key }));
        }
        return Ok(());
    }
    if let Some(share) = lookup.throttle(&keys.pair)? {
        events.push(Event::Access(AccessEvent::LoginForgiven { key: keys.pair }));
        // Keys of different kinds differ; should two be the same, it is forgiven once.
        if keys.address != keys.pair {
            events.extend(try_password::forgive_share(
                lookup,
                now,
                keys.address,
                share.failures,
            )?);
        }
    }
    let is_forgiven = [keys.pair, keys.address].contains(&keys.account);
    if !is_forgiven && lookup.throttle(&keys.account)?.is_some() {
        let key = keys.account;
        events.push(Event::Access(AccessEvent::LoginForgiven { key }));
    }
    Ok(())
}

fn remember_places(
    lookup: &impl Lookup,
    now: Timestamp,
    account: AccountId,
    keys: &LoginKeys,
    events: &mut Vec<Event>,
) -> Result<(), Stop> {
    let own: Vec<_> = keys.device.into_iter().chain([keys.pair]).collect();
    let mut others = lookup.places_of(account)?;
    others.retain(|(place, _)| !own.contains(place));
    others.sort_by_key(|(place, used_at)| (*used_at, *place));
    let excess = (others.len() + own.len()).saturating_sub(LOGIN_PLACES_MAX);
    for (place, _) in others.into_iter().take(excess) {
        events.push(Event::Access(AccessEvent::LoginForgotten {
            account,
            place,
        }));
    }
    for place in own {
        let at = now;
        events.push(Event::Access(AccessEvent::LoginKnown {
            account,
            place,
            at,
        }));
    }
    Ok(())
}
