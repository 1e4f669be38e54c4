//! Sets the role of a member. A room keeps an owner.

use crate::{
    Accepted, AccountId, AccountName, Event, Lookup, MemberRole, Rejection, RoomEvent, RoomName,
    decide::{rooms, ruling::Ruling},
};

pub(crate) fn set_member_role(
    lookup: &impl Lookup,
    by: AccountId,
    name: &RoomName,
    account: &AccountName,
    role: MemberRole,
) -> Ruling {
    let room = rooms::room_with_role(lookup, by, name, MemberRole::Owner)?;
    let target = rooms::account_named(lookup, account)?;
    let before = lookup
        .membership(room.id, target)?
        .ok_or(Rejection::NotAMember)?;
    if before.role == role {
        return Ok((Accepted::Done, Vec::new()));
    }
    // A webhook governs nothing.
    if lookup.webhook_of(target)?.is_some() {
        return Err(Rejection::NotAllowed.into());
    }
    if before.role == MemberRole::Owner {
        let next = lookup.next_in_line(room.id, target)?;
        if next.is_none_or(|(_, role)| role < MemberRole::Owner) {
            return Err(Rejection::LastOfItsKind { admin: false }.into());
        }
    }
    let changed = Event::Room(RoomEvent::MemberRoleChanged {
        conversation: room.id,
        account: target,
        role,
    });
    Ok((Accepted::Done, vec![changed]))
}
