//! Sets the display name of an account.

use super::ruling::Ruling;
use crate::{Accepted, AccountEvent, AccountId, DisplayName, Event};

pub(super) fn set_display_name(by: AccountId, display_name: &DisplayName) -> Ruling {
    let changed = Event::Account(AccountEvent::DisplayNameChanged {
        account: by,
        display_name: display_name.clone(),
    });
    Ok((Accepted::Done, vec![changed]))
}
