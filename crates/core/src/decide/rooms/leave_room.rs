//! Ends an account's membership of a room.

use crate::{
    Accepted, AccountId, Lookup, Rejection, RoomName,
    decide::{rooms, ruling::Ruling},
};

pub(crate) fn leave_room(lookup: &impl Lookup, by: AccountId, name: &RoomName) -> Ruling {
    let room = rooms::visible_room(lookup, by, name)?;
    if room.own.is_none() {
        return Err(Rejection::NotAMember.into());
    }
    let mut events = Vec::new();
    rooms::leave(lookup, room.id, by, by, &mut events)?;
    Ok((Accepted::Done, events))
}
