//! What the rules of rooms share: the room that a command names, the rights of its members, and
//! leaving.
//!
//! Always true: for an account that is neither in a private room nor invited to it, the room does
//! not exist; a room in which people are has an owner.

pub(crate) mod create_room;
pub(crate) mod create_webhook;
pub(crate) mod delete_webhook;
pub(crate) mod invite_to_room;
pub(crate) mod join_room;
pub(crate) mod kick_from_room;
pub(crate) mod leave_room;
pub(crate) mod post_by_webhook;
pub(crate) mod set_member_role;
pub(crate) mod set_room_retention;
pub(crate) mod set_topic;

use super::ruling::Stop;
use crate::{
    AccountId, AccountName, ConversationId, Event, Kind, Lookup, MemberRole, Membership, Rejection,
    RoomEvent, RoomName,
    limits::{EVENTS_PER_COMMAND_MAX, ROOMS_PER_ACCOUNT_MAX},
};

/// Events of one command after which webhooks of deserted rooms are left where they are: what the
/// command must do still has to fit.
const CLOSING_EVENTS_MAX: usize = 400;

const _: () = assert!(
    CLOSING_EVENTS_MAX + 2 * ROOMS_PER_ACCOUNT_MAX as usize + 64 <= EVENTS_PER_COMMAND_MAX,
    "what has to be done does not fit behind the closing of rooms"
);

/// A room as one account sees it.
pub(super) struct VisibleRoom {
    pub(super) id: ConversationId,
    pub(super) public: bool,
    pub(super) members: u64,
    pub(super) sequence_last: crate::Sequence,
    /// `None` if it is not a member.
    pub(super) own: Option<Membership>,
}

/// Returns the room with this name, if `by` may see it.
pub(super) fn visible_room(
    lookup: &impl Lookup,
    by: AccountId,
    name: &RoomName,
) -> Result<VisibleRoom, Stop> {
    let id = lookup
        .room_by_key(&name.key())?
        .ok_or(Rejection::NoSuchConversation)?;
    let found = lookup
        .conversation(id)?
        .ok_or(Rejection::NoSuchConversation)?;
    let Kind::Room { public, members } = found.kind else {
        return Err(Rejection::NoSuchConversation.into());
    };
    let own = lookup.membership(id, by)?;
    if own.is_none() && !public && !lookup.is_invited(id, by)? {
        return Err(Rejection::NoSuchConversation.into());
    }
    Ok(VisibleRoom {
        id,
        public,
        members,
        sequence_last: found.sequence_last,
        own,
    })
}

/// Returns the room with this name, if `by` has at least this role there.
pub(super) fn room_with_role(
    lookup: &impl Lookup,
    by: AccountId,
    name: &RoomName,
    role: MemberRole,
) -> Result<VisibleRoom, Stop> {
    let seen = visible_room(lookup, by, name)?;
    let own = seen.own.ok_or(Rejection::NotAMember)?;
    if own.role < role {
        return Err(Rejection::NotAllowed.into());
    }
    Ok(seen)
}

/// Returns the number of the account with this name.
pub(super) fn account_named(lookup: &impl Lookup, name: &AccountName) -> Result<AccountId, Stop> {
    let found = lookup.account_by_key(&name.key())?;
    Ok(found.ok_or(Rejection::NoSuchAccount)?.id)
}

/// Takes a member out of a room. The last owner's role goes to the next in line; a room in which
/// only webhooks are left is left by them, too.
pub(super) fn leave(
    lookup: &impl Lookup,
    room: ConversationId,
    account: AccountId,
    by: AccountId,
    events: &mut Vec<Event>,
) -> Result<(), Stop> {
    let own = lookup
        .membership(room, account)?
        .ok_or(Rejection::NotAMember)?;
    events.push(Event::Room(RoomEvent::MemberLeft {
        conversation: room,
        account,
        by,
    }));
    match lookup.next_in_line(room, account)? {
        Some((next, role)) => {
            if own.role == MemberRole::Owner && role < MemberRole::Owner {
                events.push(Event::Room(RoomEvent::MemberRoleChanged {
                    conversation: room,
                    account: next,
                    role: MemberRole::Owner,
                }));
            }
        }
        None => {
            let webhooks = lookup.webhooks(room)?;
            // Too many at once stay: the account that joins such a room next owns it.
            if events.len() + 3 * webhooks.len() <= CLOSING_EVENTS_MAX {
                for webhook in webhooks {
                    delete_webhook::remove(lookup, webhook, by, events)?;
                }
            }
        }
    }
    Ok(())
}
