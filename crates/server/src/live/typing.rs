//! Remembers in which conversations each account was shown as writing a moment ago.
//!
//! Always true: an account is shown in a few conversations within a while, and the memory is
//! bounded.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use conclave_core::{AccountId, ConversationId};
use tokio::time::Instant;

/// Shortest time between two notices that an account is writing in the same conversation.
const TYPING_EVERY: Duration = Duration::from_secs(2);
/// Maximum number of conversations in which an account is shown as writing within that time: a
/// person writes in one, and has two windows. In further ones it is not shown.
const TYPING_CONVERSATIONS_MAX: usize = 4;
/// Maximum number of accounts whose writing was shown a moment ago. At the bound further ones are
/// not shown.
const TYPISTS_MAX: usize = 16_384;

/// Conversations in which each account was shown as writing, and when.
#[derive(Default)]
pub(crate) struct Typing {
    told: Mutex<HashMap<AccountId, Vec<(ConversationId, Instant)>>>,
}

impl Typing {
    /// Returns whether the account is to be shown as writing now, and records that.
    pub(crate) fn admit(&self, conversation: ConversationId, account: AccountId) -> bool {
        let mut told = self.told.lock().unwrap_or_else(|error| error.into_inner());
        let now = Instant::now();
        let is_recent =
            |(_, at): &(ConversationId, Instant)| now.duration_since(*at) < TYPING_EVERY;
        if told.len() >= TYPISTS_MAX && !told.contains_key(&account) {
            told.retain(|_, of_one| of_one.iter().any(is_recent));
            if told.len() >= TYPISTS_MAX {
                return false;
            }
        }
        let of_one = told.entry(account).or_default();
        of_one.retain(is_recent);
        let is_told = of_one.iter().any(|(known, _)| *known == conversation);
        if is_told || of_one.len() >= TYPING_CONVERSATIONS_MAX {
            return false;
        }
        of_one.push((conversation, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn typing_events_are_rate_limited() {
        let typing = Typing::default();
        let (room, alice, bob) = (ConversationId(1), AccountId(1), AccountId(2));
        assert!(typing.admit(room, alice));
        assert!(!typing.admit(room, alice));
        assert!(typing.admit(room, bob));
        tokio::time::advance(TYPING_EVERY).await;
        assert!(typing.admit(room, alice));
    }

    #[tokio::test(start_paused = true)]
    async fn typing_is_shown_in_a_bounded_number_of_conversations() {
        let typing = Typing::default();
        let alice = AccountId(1);
        let shown = |rooms: u64| {
            let rooms = (1..=rooms).map(ConversationId);
            rooms.filter(|room| typing.admit(*room, alice)).count()
        };
        assert_eq!(shown(256), TYPING_CONVERSATIONS_MAX);
        assert_eq!(shown(256), 0);
        tokio::time::advance(TYPING_EVERY).await;
        assert_eq!(shown(256), TYPING_CONVERSATIONS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn remembered_typists_are_bounded() {
        let typing = Typing::default();
        let admitted = |first: u64| {
            let accounts = (first..first + 2 * TYPISTS_MAX as u64).map(AccountId);
            let room = ConversationId(1);
            accounts.filter(|id| typing.admit(room, *id)).count()
        };
        assert_eq!(admitted(1), TYPISTS_MAX);
        tokio::time::advance(TYPING_EVERY).await;
        assert_eq!(admitted(1_000_000), TYPISTS_MAX);
        assert_eq!(typing.told.lock().unwrap().len(), TYPISTS_MAX);
    }
}
