//! Posts a message to a webhook's room, under the webhook's account.
//!
//! Always true: a webhook posts as long as its maker could make it: not after the maker was
//! removed from the room, left it, became a plain member, was suspended, or deleted its account.

use crate::{
    Lookup, MemberRole, MessageText, Position, Recipient, Rejection, Timestamp, TokenHash,
    decide::{
        messages::send_message::{Draft, send_message},
        ruling::Ruling,
    },
};

pub(crate) fn post_by_webhook(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    token: &TokenHash,
    text: &MessageText,
) -> Ruling {
    let webhook = lookup
        .webhook_by_token(token)?
        .ok_or(Rejection::NoSuchWebhook)?;
    let maker = lookup.account(webhook.by)?;
    let place = lookup.membership(webhook.conversation, webhook.by)?;
    let may = maker.is_some_and(|maker| !maker.suspended)
        && place.is_some_and(|place| place.role >= MemberRole::Moderator);
    if !may {
        return Err(Rejection::NoSuchWebhook.into());
    }
    let to = Recipient::Conversation(webhook.conversation);
    let draft = Draft {
        text,
        reply_to: None,
        action: false,
    };
    send_message(lookup, webhook.account, now, position_of, &to, draft)
}
