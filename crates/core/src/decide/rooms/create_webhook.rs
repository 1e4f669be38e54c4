//! Creates an address for programs: an account without a password that is a member of the room.

use super::join_room;
use crate::{
    Accepted, AccountId, AccountName, AccountRole, Bound, Event, Lookup, MemberRole, Rejection,
    RoomEvent, RoomName, Timestamp, TokenHash,
    decide::{accounts::create_account, rooms, ruling::Ruling},
    limits::{WEBHOOKS_PER_ACCOUNT_MAX, WEBHOOKS_PER_ROOM_MAX},
};

pub(crate) fn create_webhook(
    lookup: &impl Lookup,
    now: Timestamp,
    by: AccountId,
    name: &RoomName,
    account: &AccountName,
    token: TokenHash,
) -> Ruling {
    let room = rooms::room_with_role(lookup, by, name, MemberRole::Moderator)?;
    if lookup.webhook_by_token(&token)?.is_some() {
        return Err(Rejection::TokenInUse.into());
    }
    if lookup.webhooks(room.id)?.len() as u64 >= WEBHOOKS_PER_ROOM_MAX {
        let what = Bound::Webhooks;
        return Err(Rejection::TooMany { what }.into());
    }
    if lookup.webhooks_by(by)? >= WEBHOOKS_PER_ACCOUNT_MAX {
        let what = Bound::WebhooksOfAccount;
        return Err(Rejection::TooMany { what }.into());
    }
    let (poster, created) =
        create_account::new_account(lookup, now, account, "", AccountRole::Bot)?;
    let joined = join_room::enter(&room, poster, MemberRole::Member)?;
    let webhook = lookup.webhook_last()?.next();
    let made = Event::Room(RoomEvent::WebhookCreated {
        webhook,
        token,
        conversation: room.id,
        account: poster,
        by,
        at: now,
    });
    let accepted = Accepted::WebhookCreated {
        webhook,
        account: poster,
    };
    Ok((accepted, vec![created, joined, made]))
}
