//! Creates a room under a name that no other has; its creator owns it.

use crate::{
    Accepted, AccountId, Bound, Event, Lookup, MemberRole, Progress, Rejection, RoomEvent,
    RoomName, Timestamp, Topic,
    decide::ruling::Ruling,
    limits::{ROOMS_MAX, ROOMS_PER_ACCOUNT_MAX},
};

pub(crate) fn create_room(
    lookup: &impl Lookup,
    now: Timestamp,
    by: AccountId,
    name: &RoomName,
    topic: &Topic,
    public: bool,
) -> Ruling {
    let too_many = |what| Err(Rejection::TooMany { what }.into());
    if lookup.room_by_key(&name.key())?.is_some() {
        return Err(Rejection::NameTaken.into());
    }
    if lookup.rooms()? >= ROOMS_MAX {
        return too_many(Bound::Rooms);
    }
    if lookup.rooms_of(by)?.len() as u64 >= ROOMS_PER_ACCOUNT_MAX {
        return too_many(Bound::RoomsOfAccount);
    }
    let conversation = lookup.conversation_last()?.next();
    let created = Event::Room(RoomEvent::Created {
        conversation,
        name: name.clone(),
        topic: topic.clone(),
        public,
        at: now,
    });
    let joined = Event::Room(RoomEvent::MemberJoined {
        conversation,
        account: by,
        role: MemberRole::Owner,
        progress: Progress::default(),
    });
    let entered = Accepted::RoomEntered { conversation };
    Ok((entered, vec![created, joined]))
}
