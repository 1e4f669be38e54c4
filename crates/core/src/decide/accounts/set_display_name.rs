//! Sets the display name of an account.

use crate::{Accepted, AccountEvent, AccountId, DisplayName, Event, decide::ruling::Ruling};

pub(crate) fn set_display_name(by: AccountId, display_name: &DisplayName) -> Ruling {
    let changed = Event::Account(AccountEvent::DisplayNameChanged {
        account: by,
        display_name: display_name.clone(),
    });
    Ok((Accepted::Done, vec![changed]))
}
