//! Blocks an account, or ends the block. Setting what is so already is no error.

use crate::{
    Accepted, AccountEvent, AccountId, AccountName, Bound, Event, Lookup, Rejection,
    decide::{rooms::account_named, ruling::Ruling},
    limits::BLOCKS_PER_ACCOUNT_MAX,
};

pub(crate) fn set_block(
    lookup: &impl Lookup,
    by: AccountId,
    name: &AccountName,
    blocked: bool,
) -> Ruling {
    let other = account_named(lookup, name)?;
    if other == by {
        return Err(Rejection::Oneself.into());
    }
    if lookup.is_blocked(by, other)? == blocked {
        return Ok((Accepted::Done, Vec::new()));
    }
    if blocked && lookup.blocks_of(by)? >= BLOCKS_PER_ACCOUNT_MAX {
        let what = Bound::Blocks;
        return Err(Rejection::TooMany { what }.into());
    }
    let changed = Event::Account(AccountEvent::BlockChanged {
        account: by,
        other,
        blocked,
    });
    Ok((Accepted::Done, vec![changed]))
}
