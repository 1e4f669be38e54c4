//! Allows an account to join a room, and notifies it. Inviting a member, or twice, is no error.

use crate::{
    Accepted, AccountId, AccountName, Bound, Event, Lookup, MemberRole, Rejection, RoomEvent,
    RoomName,
    decide::{rooms, ruling::Ruling},
    limits::INVITATIONS_PER_ROOM_MAX,
};

pub(crate) fn invite_to_room(
    lookup: &impl Lookup,
    by: AccountId,
    name: &RoomName,
    account: &AccountName,
) -> Ruling {
    let room = rooms::visible_room(lookup, by, name)?;
    let own = room.own.ok_or(Rejection::NotAMember)?;
    if !room.public && own.role < MemberRole::Moderator {
        return Err(Rejection::NotAllowed.into());
    }
    let invited = rooms::account_named(lookup, account)?;
    if invited == by {
        return Err(Rejection::Oneself.into());
    }
    let is_member = lookup.membership(room.id, invited)?.is_some();
    if is_member || lookup.is_invited(room.id, invited)? {
        return Ok((Accepted::Done, Vec::new()));
    }
    if lookup.is_blocked(invited, by)? {
        return Err(Rejection::Blocked.into());
    }
    if lookup.invitations(room.id)? >= INVITATIONS_PER_ROOM_MAX {
        let what = Bound::Invitations;
        return Err(Rejection::TooMany { what }.into());
    }
    let event = Event::Room(RoomEvent::MemberInvited {
        conversation: room.id,
        account: invited,
        by,
    });
    Ok((Accepted::Done, vec![event]))
}
