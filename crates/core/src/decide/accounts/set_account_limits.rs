//! Sets limits of accounts: all that are named, or none.

use crate::{
    Accepted, AccountEvent, AccountLimit, Event, Lookup, Rejection,
    allowance::limit_table::ACCOUNT_LIMITS, decide::ruling::Ruling,
};

pub(crate) fn set_account_limits(lookup: &impl Lookup, values: &[(AccountLimit, u64)]) -> Ruling {
    match values.len() {
        0 => return Err(Rejection::ListEmpty.into()),
        1..=ACCOUNT_LIMITS => {}
        _ => return Err(Rejection::ListTooLong.into()),
    }
    let before = lookup.account_limits()?;
    let mut limits = before;
    for (limit, value) in values {
        limits.set(*limit, *value)?;
    }
    let events = match limits == before {
        true => Vec::new(),
        false => vec![Event::Account(AccountEvent::LimitsChanged { limits })],
    };
    Ok((Accepted::Done, events))
}
