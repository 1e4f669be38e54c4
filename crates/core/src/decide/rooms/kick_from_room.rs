//! Removes a member of a lower role, or an invitation.

use crate::{
    Accepted, AccountId, AccountName, Event, Lookup, MemberRole, Rejection, RoomEvent, RoomName,
    decide::{rooms, ruling::Ruling},
};

pub(crate) fn kick_from_room(
    lookup: &impl Lookup,
    by: AccountId,
    name: &RoomName,
    account: &AccountName,
) -> Ruling {
    let room = rooms::room_with_role(lookup, by, name, MemberRole::Moderator)?;
    let own = room.own.ok_or(Rejection::NotAMember)?;
    let target = rooms::account_named(lookup, account)?;
    if target == by {
        return Err(Rejection::Oneself.into());
    }
    let mut events = Vec::new();
    match lookup.membership(room.id, target)? {
        Some(member) if member.role >= own.role => return Err(Rejection::NotAllowed.into()),
        // A webhook goes with its address.
        Some(_) if lookup.webhook_of(target)?.is_some() => {
            return Err(Rejection::NotAllowed.into());
        }
        Some(_) => rooms::leave(lookup, room.id, target, by, &mut events)?,
        None if lookup.is_invited(room.id, target)? => {
            events.push(Event::Room(RoomEvent::InvitationRemoved {
                conversation: room.id,
                account: target,
            }))
        }
        None => return Err(Rejection::NotAMember.into()),
    }
    Ok((Accepted::Done, events))
}
