//! Says what a room is about.

use crate::{
    Accepted, AccountId, Event, Lookup, MemberRole, RoomEvent, RoomName, Topic,
    decide::{rooms, ruling::Ruling},
};

pub(crate) fn set_topic(
    lookup: &impl Lookup,
    by: AccountId,
    name: &RoomName,
    topic: &Topic,
) -> Ruling {
    let room = rooms::room_with_role(lookup, by, name, MemberRole::Moderator)?;
    let changed = Event::Room(RoomEvent::TopicChanged {
        conversation: room.id,
        topic: topic.clone(),
    });
    Ok((Accepted::Done, vec![changed]))
}
