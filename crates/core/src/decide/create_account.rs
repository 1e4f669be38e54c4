//! Creates an account under a name that nobody has.

use super::Ruling;
use crate::{
    Accepted, AccountName, Event, Lookup, Rejection, Timestamp,
    limits::{ACCOUNTS_MAX, PASSWORD_HASH_BYTES_MAX},
};

pub(super) fn create_account(
    lookup: &impl Lookup,
    now: Timestamp,
    name: &AccountName,
    password_hash: &str,
) -> Ruling {
    // Only the form is judged: parsing PHC strings on every replica would tie the log's meaning
    // to a library's version.
    if !password_hash.starts_with('$') || password_hash.len() > PASSWORD_HASH_BYTES_MAX {
        return Err(Rejection::PasswordHashInvalid.into());
    }
    if lookup.account_by_key(&name.key())?.is_some() {
        return Err(Rejection::NameTaken.into());
    }
    if lookup.accounts()? >= ACCOUNTS_MAX {
        return Err(Rejection::TooManyAccounts.into());
    }
    let account = lookup.account_last()?.next();
    let created = Event::AccountCreated {
        account,
        name: name.clone(),
        password_hash: password_hash.to_owned(),
        at: now,
    };
    Ok((Accepted::AccountCreated { account }, vec![created]))
}
