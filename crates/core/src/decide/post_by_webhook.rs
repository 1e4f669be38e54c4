//! Posts a message to a webhook's room, under the webhook's account.

use super::{
    Ruling,
    send_message::{Draft, send_message},
};
use crate::{Lookup, MessageText, Position, Recipient, Rejection, Timestamp, TokenHash};

pub(super) fn post_by_webhook(
    lookup: &impl Lookup,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    token: &TokenHash,
    text: &MessageText,
) -> Ruling {
    let webhook = lookup
        .webhook_by_token(token)?
        .ok_or(Rejection::NoSuchWebhook)?;
    let to = Recipient::Conversation(webhook.conversation);
    let draft = Draft {
        text,
        reply_to: None,
        action: false,
    };
    send_message(lookup, webhook.account, now, position_of, &to, draft)
}
