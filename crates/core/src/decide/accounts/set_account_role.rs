//! Makes an account an administrator's, or a user's again. The last administrator stays one.

use crate::{
    Accepted, AccountEvent, AccountName, AccountRole, Event, Lookup, Rejection,
    decide::ruling::Ruling,
};

pub(crate) fn set_account_role(
    lookup: &impl Lookup,
    name: &AccountName,
    role: AccountRole,
) -> Ruling {
    let found = lookup
        .account_by_key(&name.key())?
        .ok_or(Rejection::NoSuchAccount)?;
    if found.role == AccountRole::Bot || role == AccountRole::Bot {
        return Err(Rejection::NotAllowed.into());
    }
    if found.role == role {
        return Ok((Accepted::Done, Vec::new()));
    }
    if found.is_admin() && lookup.admins()? == 1 {
        return Err(Rejection::LastOfItsKind { admin: true }.into());
    }
    let changed = Event::Account(AccountEvent::RoleChanged {
        account: found.id,
        role,
    });
    Ok((Accepted::Done, vec![changed]))
}
