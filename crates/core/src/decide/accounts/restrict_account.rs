//! What an administrator may do to another account short of deleting it: suspend and reactivate it,
//! end its sessions, set another password. Nothing of it is deleted.
//!
//! Always true: an administrator cannot do any of these to its own account, so one that is not
//! suspended is left.

use super::create_account::is_hash;
use crate::{
    Accepted, Account, AccountEvent, AccountId, AccountName, AccountRole, Event, Lookup, Rejection,
    Timestamp,
    decide::ruling::{Ruling, Stop, close_session},
};

/// Returns the account with this name, which is not the caller's own.
fn other(lookup: &impl Lookup, by: AccountId, name: &AccountName) -> Result<Account, Stop> {
    let found = lookup.account_by_key(&name.key())?;
    let found = found.ok_or(Rejection::NoSuchAccount)?;
    match found.id == by {
        true => Err(Rejection::Oneself.into()),
        false => Ok(found),
    }
}

fn end_all(
    lookup: &impl Lookup,
    now: Timestamp,
    account: &Account,
    events: &mut Vec<Event>,
) -> Result<(), Stop> {
    // A program's token is made once: it is refused while the account is suspended, and does not
    // end.
    if account.role == AccountRole::Bot {
        return Ok(());
    }
    for session in lookup.sessions_of(account.id)? {
        events.extend(close_session(session, now).1);
    }
    Ok(())
}

pub(crate) fn set_suspended(
    lookup: &impl Lookup,
    now: Timestamp,
    by: AccountId,
    name: &AccountName,
    suspended: bool,
) -> Ruling {
    let account = other(lookup, by, name)?;
    let mut events = Vec::new();
    if account.suspended != suspended {
        if suspended {
            end_all(lookup, now, &account, &mut events)?;
        }
        events.push(Event::Account(AccountEvent::Suspended {
            account: account.id,
            suspended,
        }));
    }
    Ok((Accepted::Done, events))
}

pub(crate) fn end_sessions(
    lookup: &impl Lookup,
    now: Timestamp,
    by: AccountId,
    name: &AccountName,
) -> Ruling {
    let account = other(lookup, by, name)?;
    if account.role == AccountRole::Bot {
        return Err(Rejection::NotAllowed.into());
    }
    let mut events = Vec::new();
    end_all(lookup, now, &account, &mut events)?;
    Ok((Accepted::Done, events))
}

pub(crate) fn reset_password(
    lookup: &impl Lookup,
    now: Timestamp,
    by: AccountId,
    name: &AccountName,
    password_hash: &str,
) -> Ruling {
    if !is_hash(password_hash) {
        return Err(Rejection::PasswordHashInvalid.into());
    }
    let account = other(lookup, by, name)?;
    if account.role == AccountRole::Bot {
        return Err(Rejection::NotAllowed.into());
    }
    let mut events = Vec::new();
    end_all(lookup, now, &account, &mut events)?;
    events.push(Event::Account(AccountEvent::PasswordChanged {
        account: account.id,
        password_hash: password_hash.to_owned(),
        password_version: account.password_version + 1,
    }));
    Ok((Accepted::Done, events))
}
