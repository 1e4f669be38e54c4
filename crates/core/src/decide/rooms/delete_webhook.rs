//! Removes a webhook and the account under which it posts. Its messages stay.

use crate::{
    Accepted, AccountEvent, AccountId, Event, Lookup, MemberRole, Rejection, RoomEvent, Webhook,
    WebhookId,
    decide::ruling::{Ruling, Stop},
};

pub(crate) fn delete_webhook(lookup: &impl Lookup, by: AccountId, id: WebhookId) -> Ruling {
    let webhook = lookup.webhook(id)?.ok_or(Rejection::NoSuchWebhook)?;
    let own = lookup.membership(webhook.conversation, by)?;
    match own {
        // An account that is not in the room does not learn that there is a webhook.
        None => return Err(Rejection::NoSuchWebhook.into()),
        Some(own) if own.role < MemberRole::Moderator => {
            return Err(Rejection::NotAllowed.into());
        }
        Some(_) => {}
    }
    let mut events = Vec::new();
    remove(lookup, webhook, by, &mut events)?;
    Ok((Accepted::Done, events))
}

/// Removes the webhook, its membership and its account.
pub(crate) fn remove(
    lookup: &impl Lookup,
    webhook: Webhook,
    by: AccountId,
    events: &mut Vec<Event>,
) -> Result<(), Stop> {
    events.push(Event::Room(RoomEvent::WebhookDeleted {
        webhook: webhook.id,
    }));
    if lookup
        .membership(webhook.conversation, webhook.account)?
        .is_some()
    {
        events.push(Event::Room(RoomEvent::MemberLeft {
            conversation: webhook.conversation,
            account: webhook.account,
            by,
        }));
    }
    events.push(Event::Account(AccountEvent::Deleted {
        account: webhook.account,
    }));
    Ok(())
}
