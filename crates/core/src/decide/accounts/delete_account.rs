//! Deletes an account and ends all its sessions.
//!
//! `docs/protocol.md` says what becomes of the account's messages: those it sent stay with their
//! recipients; those it had not read stay with their senders, undelivered for ever; a conversation
//! whose last member goes is removed with all its messages. It leaves its rooms as if it had left
//! them itself. The last administrator goes last.

use crate::{
    Accepted, AccountEvent, AccountId, AccountName, AccountRole, Event, Lookup, Rejection,
    Timestamp,
    decide::{
        rooms::{self, delete_webhook},
        ruling::{Ruling, Stop, close_session},
    },
};

pub(crate) fn delete_account(
    lookup: &impl Lookup,
    now: Timestamp,
    by: AccountId,
    password_version: u64,
) -> Ruling {
    let may = |own: &crate::Account| {
        own.role == AccountRole::Bot || own.password_version == password_version
    };
    lookup
        .account(by)?
        .filter(may)
        .ok_or(Rejection::WrongCredentials)?;
    Ok((Accepted::AccountDeleted, go(lookup, now, by, by)?))
}

/// Deletes another account in the same way, for an administrator.
pub(crate) fn remove_account(
    lookup: &impl Lookup,
    now: Timestamp,
    by: AccountId,
    name: &AccountName,
) -> Ruling {
    let account = rooms::account_named(lookup, name)?;
    Ok((Accepted::AccountDeleted, go(lookup, now, account, by)?))
}

fn go(
    lookup: &impl Lookup,
    now: Timestamp,
    account: AccountId,
    by: AccountId,
) -> Result<Vec<Event>, Stop> {
    let mut events = Vec::new();
    if let Some(webhook) = lookup.webhook_of(account)? {
        delete_webhook::remove(lookup, webhook, by, &mut events)?;
        return Ok(events);
    }
    let found = lookup.account(account)?.ok_or(Rejection::NoSuchAccount)?;
    let is_last_admin = found.is_admin() && lookup.admins()? == 1;
    if is_last_admin && lookup.accounts()? > 1 {
        return Err(Rejection::LastOfItsKind { admin: true }.into());
    }
    for session in lookup.sessions_of(account)? {
        events.extend(close_session(session, now).1);
    }
    for room in lookup.rooms_of(account)? {
        rooms::leave(lookup, room, account, by, &mut events)?;
    }
    events.push(Event::Account(AccountEvent::Deleted { account }));
    Ok(events)
}
