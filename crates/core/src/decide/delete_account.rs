//! Deletes an account and ends all its sessions.
//!
//! What becomes of its messages is told in `docs/protocol.md`: those it sent stay with their
//! recipients; those it had not read stay with their senders, undelivered for ever; a
//! conversation whose last member goes is removed with all its messages.

use super::{Ruling, close_session};
use crate::{Accepted, AccountId, Event, Lookup, Timestamp};

pub(super) fn delete_account(lookup: &impl Lookup, by: AccountId, now: Timestamp) -> Ruling {
    let mut events = Vec::new();
    for session in lookup.sessions_of(by)? {
        events.extend(close_session(session, now).1);
    }
    events.push(Event::AccountDeleted { account: by });
    Ok((Accepted::AccountDeleted, events))
}
