//! Makes an account a member of a room: a public one, or one that it is invited to. Joining twice
//! is joining once.

use crate::{
    Accepted, AccountId, Bound, Event, Lookup, MemberRole, Progress, Rejection, RoomEvent,
    RoomName,
    decide::{
        rooms,
        ruling::{Ruling, Stop},
    },
    limits::{ROOM_MEMBERS_MAX, ROOMS_PER_ACCOUNT_MAX},
};

pub(crate) fn join_room(lookup: &impl Lookup, by: AccountId, name: &RoomName) -> Ruling {
    let room = rooms::visible_room(lookup, by, name)?;
    let entered = Accepted::RoomEntered {
        conversation: room.id,
    };
    if room.own.is_some() {
        return Ok((entered, Vec::new()));
    }
    if lookup.rooms_of(by)?.len() as u64 >= ROOMS_PER_ACCOUNT_MAX {
        let what = Bound::RoomsOfAccount;
        return Err(Rejection::TooMany { what }.into());
    }
    // A room in which only webhooks were left has an owner again.
    let role = match lookup.next_in_line(room.id, by)? {
        Some(_) => MemberRole::Member,
        None => MemberRole::Owner,
    };
    Ok((entered, vec![enter(&room, by, role)?]))
}

/// Returns the event of a new member, which has read everything that is there.
pub(crate) fn enter(
    room: &rooms::VisibleRoom,
    account: AccountId,
    role: MemberRole,
) -> Result<Event, Stop> {
    if room.members >= ROOM_MEMBERS_MAX {
        let what = Bound::Members;
        return Err(Rejection::TooMany { what }.into());
    }
    Ok(Event::Room(RoomEvent::MemberJoined {
        conversation: room.id,
        account,
        role,
        progress: Progress {
            delivered: room.sequence_last,
            read: room.sequence_last,
        },
    }))
}
