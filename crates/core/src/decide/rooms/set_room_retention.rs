//! Sets how long a room keeps messages, and how many: less than the cluster, or more if an operator
//! allows it. Only an owner may, because what is forgotten does not come back.

use crate::{
    Accepted, AccountId, Event, Lookup, MemberRole, Rejection, RoomEvent, RoomName, RoomRetention,
    decide::{rooms, ruling::Ruling},
};

pub(crate) fn set_room_retention(
    lookup: &impl Lookup,
    by: AccountId,
    name: &RoomName,
    retention: RoomRetention,
) -> Ruling {
    let room = rooms::room_with_role(lookup, by, name, MemberRole::Owner)?;
    if !retention.is_valid() {
        return Err(Rejection::RetentionOutOfRange.into());
    }
    if !lookup.cluster_retention()?.allows(retention) {
        return Err(Rejection::RetentionTooLong.into());
    }
    let changed = Event::Room(RoomEvent::RetentionChanged {
        conversation: room.id,
        retention,
    });
    Ok((Accepted::Done, vec![changed]))
}
