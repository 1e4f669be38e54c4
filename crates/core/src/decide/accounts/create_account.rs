//! Creates an account under a name that no account has, if something allows it.

use crate::{
    Accepted, AccessEvent, AccountEvent, AccountId, AccountName, AccountRole, Event, Grant, Lookup,
    Rejection, Timestamp,
    decide::ruling::{Ruling, Stop},
    limits::{ACCOUNTS_MAX, PASSWORD_HASH_BYTES_MAX},
};

pub(crate) fn create_account(
    lookup: &impl Lookup,
    now: Timestamp,
    name: &AccountName,
    password_hash: &str,
    grant: Grant,
) -> Ruling {
    // Only the form is judged: parsing PHC strings on every replica would tie the log's meaning
    // to a library's version.
    if !is_hash(password_hash) {
        return Err(Rejection::PasswordHashInvalid.into());
    }
    let (role, used) = allow(lookup, now, grant)?;
    let (account, created) = new_account(lookup, now, name, password_hash, role)?;
    let events = [created].into_iter().chain(used).collect();
    Ok((Accepted::AccountCreated { account }, events))
}

/// Returns whether this can be the PHC string of a password.
pub(crate) fn is_hash(password_hash: &str) -> bool {
    password_hash.starts_with('$') && password_hash.len() <= PASSWORD_HASH_BYTES_MAX
}

/// Returns the number of a new account under a name that no account has, and the event that creates
/// it.
pub(crate) fn new_account(
    lookup: &impl Lookup,
    now: Timestamp,
    name: &AccountName,
    password_hash: &str,
    role: AccountRole,
) -> Result<(AccountId, Event), Stop> {
    if lookup.account_by_key(&name.key())?.is_some() {
        return Err(Rejection::NameTaken.into());
    }
    if lookup.account_by_skeleton(&name.skeleton())?.is_some() {
        return Err(Rejection::NameAlike.into());
    }
    if lookup.accounts()? >= ACCOUNTS_MAX {
        return Err(Rejection::TooManyAccounts.into());
    }
    let account = lookup.account_last()?.next();
    let created = Event::Account(AccountEvent::Created {
        account,
        name: name.clone(),
        password_hash: password_hash.to_owned(),
        role,
        at: now,
    });
    Ok((account, created))
}

/// Returns the role that the grant gives the account, and the event that uses up the grant.
fn allow(
    lookup: &impl Lookup,
    now: Timestamp,
    grant: Grant,
) -> Result<(AccountRole, Option<Event>), Stop> {
    match grant {
        Grant::Open => Ok((AccountRole::User, None)),
        Grant::Invite(code) => {
            let invite = lookup
                .invite_by_code(&code)?
                .filter(|invite| invite.expires_at > now && invite.uses_left > 0)
                .ok_or(Rejection::InviteInvalid)?;
            let used = Event::Access(AccessEvent::InviteUsed {
                invite: invite.id,
                uses_left: invite.uses_left - 1,
            });
            Ok((AccountRole::User, Some(used)))
        }
        Grant::Setup(token) => {
            if lookup.setup_token()? != Some(token) {
                return Err(Rejection::SetupTokenInvalid.into());
            }
            Ok((AccountRole::Admin, None))
        }
        Grant::Admin(session) => {
            let session = lookup
                .session(session)?
                .filter(|session| !session.closed && session.expires_at > now)
                .ok_or(Rejection::RegistrationClosed)?;
            let by = lookup.account(session.account)?;
            if by.is_none_or(|by| by.suspended || by.role != AccountRole::Admin) {
                return Err(Rejection::RegistrationClosed.into());
            }
            Ok((AccountRole::User, None))
        }
    }
}
