//! Creates an account for a program: without a password, with a session that does not expire.

use super::create_account::new_account;
use crate::{
    Accepted, AccountName, AccountRole, Event, Lookup, Rejection, SessionEvent, SessionLabel,
    Timestamp, TokenHash, decide::ruling::Ruling, limits::LOG_TIME_MAX_MS,
};

pub(crate) fn create_bot(
    lookup: &impl Lookup,
    now: Timestamp,
    name: &AccountName,
    token: TokenHash,
) -> Ruling {
    if lookup.token_in_use(&token)? {
        return Err(Rejection::TokenInUse.into());
    }
    let (account, created) = new_account(lookup, now, name, "", AccountRole::Bot)?;
    let session = lookup.session_last()?.next();
    let opened = Event::Session(SessionEvent::Opened {
        session,
        account,
        token,
        label: SessionLabel::new("bot token")?,
        at: now,
        began_at: now,
        expires_at: Timestamp(LOG_TIME_MAX_MS),
    });
    let accepted = Accepted::BotCreated { account, session };
    Ok((accepted, vec![created, opened]))
}
