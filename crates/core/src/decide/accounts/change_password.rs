//! Changes a password that was verified where the request arrived, and ends all other sessions.

use super::create_account::is_hash;
use crate::{
    Accepted, AccountEvent, Event, Lookup, Rejection, Session, Timestamp,
    decide::ruling::{Ruling, close_session},
};

pub(crate) fn change_password(
    lookup: &impl Lookup,
    now: Timestamp,
    session: &Session,
    password_version: u64,
    password_hash: &str,
) -> Ruling {
    let account = session.account;
    if !is_hash(password_hash) {
        return Err(Rejection::PasswordHashInvalid.into());
    }
    let is_current = |found: &crate::Account| found.password_version == password_version;
    let found = lookup.account(account)?.filter(is_current);
    if found.is_none() {
        return Err(Rejection::WrongCredentials.into());
    }
    let mut events = Vec::new();
    for other in lookup.sessions_of(account)? {
        if other != session.id {
            events.extend(close_session(other, now).1);
        }
    }
    events.push(Event::Account(AccountEvent::PasswordChanged {
        account,
        password_hash: password_hash.to_owned(),
        password_version: password_version + 1,
    }));
    Ok((Accepted::Done, events))
}
