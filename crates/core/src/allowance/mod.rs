//! What an account has used of what it may: a bucket of tokens for each kind of request, and what
//! it keeps.
//!
//! A bucket is one number, the time at which it will be full again (the generic cell rate
//! algorithm): taking moves it into the future, time passes by itself, and a full bucket needs no
//! upkeep. All arithmetic is on integers, in microseconds of log time.
//!
//! Always true: a refusal changes nothing; no account waits longer than it takes a bucket to fill,
//! also if the limits or the log time were changed meanwhile.

pub mod account_limits;
pub mod limit_table;
pub mod retention;
pub mod spend;

use crate::{
    AccessOperation, AccountLimits, AccountOperation, AdminOperation, MessageOperation,
    MessageText, Operation, Rejection, RoomOperation, Spend, Timestamp,
    limits::{ALLOWANCE_FILL_MS_MAX, LOG_TIME_MAX_MS},
};

pub use spend::SPENDS;

/// What one request takes: at most two kinds of tokens.
pub type Price = [Option<(Spend, u64)>; 2];

/// Returns what an operation takes from the calling account.
///
/// What ends something (a session, an account, a block on a machine) is free, and so is what
/// administrators do to others: those must work at the worst moment. Without a wildcard, so that a
/// new operation has a price before it builds.
#[must_use]
pub fn price(operation: &Operation) -> Price {
    let free = [None, None];
    let one = |spend| [Some((spend, 1)), None];
    let text_of = |spend, text: &MessageText| {
        let bytes = text.as_str().len() as u64;
        [Some((spend, 1)), Some((Spend::Bytes, bytes))]
    };
    match operation {
        Operation::Message(operation) => match operation {
            MessageOperation::SendMessage { text, .. } => text_of(Spend::Messages, text),
            MessageOperation::EditMessage { text, .. } => text_of(Spend::Edits, text),
            MessageOperation::SetReaction { .. } => one(Spend::Reactions),
            MessageOperation::DeleteMessages { messages, .. } => {
                [Some((Spend::Deletions, messages.len() as u64)), None]
            }
            MessageOperation::AdvancePositions { .. } => one(Spend::Positions),
        },
        Operation::Access(operation) => match operation {
            AccessOperation::PostByWebhook { text, .. } => text_of(Spend::Messages, text),
            AccessOperation::OpenSession { .. } => one(Spend::Changes),
            // Without an account that could pay: bounded where they arrive, by throttles and
            // grants.
            AccessOperation::CreateAccount { .. }
            | AccessOperation::TryPassword { .. }
            | AccessOperation::OfferSetup { .. } => free,
        },
        // Without an account, too.
        Operation::Cluster(_) => free,
        Operation::Account(operation) => match operation {
            AccountOperation::SetDisplayName { .. } | AccountOperation::SetBlock { .. } => {
                one(Spend::Changes)
            }
            AccountOperation::DeleteAccount { .. }
            | AccountOperation::ChangePassword { .. }
            | AccountOperation::CloseSession
            | AccountOperation::EndSession { .. } => free,
        },
        Operation::Room(operation) => match operation {
            RoomOperation::CreateRoom { .. } => one(Spend::Rooms),
            RoomOperation::JoinRoom { .. }
            | RoomOperation::LeaveRoom { .. }
            | RoomOperation::InviteToRoom { .. }
            | RoomOperation::KickFromRoom { .. }
            | RoomOperation::SetTopic { .. }
            | RoomOperation::SetRoomRetention { .. }
            | RoomOperation::SetMemberRole { .. }
            | RoomOperation::CreateWebhook { .. }
            | RoomOperation::DeleteWebhook { .. } => one(Spend::Changes),
        },
        Operation::Admin(operation) => match operation {
            AdminOperation::CreateBot { .. } | AdminOperation::CreateInvite { .. } => {
                one(Spend::Changes)
            }
            AdminOperation::SetAccountRole { .. }
            | AdminOperation::SetSuspended { .. }
            | AdminOperation::EndSessions { .. }
            | AdminOperation::ResetPassword { .. }
            | AdminOperation::RemoveAccount { .. }
            | AdminOperation::RevokeInvite { .. }
            | AdminOperation::SetAccountLimits { .. } => free,
        },
    }
}

/// Returns what an operation takes at the node that the caller asks, before it is proposed.
///
/// This is its [`price`], except that a request about many conversations takes a token for each of
/// them: the log counts it as one.
#[must_use]
pub fn price_at_edge(operation: &Operation) -> Price {
    if let Operation::Message(MessageOperation::AdvancePositions { positions }) = operation {
        let conversations = positions.len().max(1) as u64;
        return [Some((Spend::Positions, conversations)), None];
    }
    price(operation)
}

/// What an operation leaves behind for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing: it deletes or ends something, puts another value in the same place, or is needed
    /// before that, such as logging in and what administrators and operators do.
    Nothing,
    /// Rows whose number has a bound of its own.
    Rows,
    /// What counts as stored bytes of the calling account.
    StoredBytes,
}

/// Returns what an operation leaves behind. Without a wildcard, so that a new operation has an
/// answer before it builds.
#[must_use]
pub fn keeps(operation: &Operation) -> Keeps {
    match operation {
        Operation::Message(operation) => match operation {
            MessageOperation::SendMessage { .. }
            | MessageOperation::EditMessage { .. }
            | MessageOperation::SetReaction { present: true, .. } => Keeps::StoredBytes,
            // A row for each message that the account no longer sees.
            MessageOperation::DeleteMessages {
                for_everyone: false,
                ..
            } => Keeps::Rows,
            MessageOperation::SetReaction { present: false, .. }
            | MessageOperation::AdvancePositions { .. }
            | MessageOperation::DeleteMessages {
                for_everyone: true, ..
            } => Keeps::Nothing,
        },
        Operation::Access(operation) => match operation {
            AccessOperation::PostByWebhook { .. } => Keeps::StoredBytes,
            AccessOperation::CreateAccount { .. } => Keeps::Rows,
            AccessOperation::OpenSession { .. }
            | AccessOperation::TryPassword { .. }
            | AccessOperation::OfferSetup { .. } => Keeps::Nothing,
        },
        // Machines and their operators: few, and needed to get out.
        Operation::Cluster(_) => Keeps::Nothing,
        Operation::Account(operation) => match operation {
            AccountOperation::SetBlock { blocked: true, .. }
            | AccountOperation::SetDisplayName { .. } => Keeps::Rows,
            AccountOperation::SetBlock { blocked: false, .. }
            | AccountOperation::ChangePassword { .. }
            | AccountOperation::DeleteAccount { .. }
            | AccountOperation::CloseSession
            | AccountOperation::EndSession { .. } => Keeps::Nothing,
        },
        Operation::Room(operation) => match operation {
            RoomOperation::CreateRoom { .. }
            | RoomOperation::JoinRoom { .. }
            | RoomOperation::InviteToRoom { .. }
            | RoomOperation::SetTopic { .. }
            | RoomOperation::CreateWebhook { .. } => Keeps::Rows,
            RoomOperation::SetMemberRole { .. }
            | RoomOperation::SetRoomRetention { .. }
            | RoomOperation::LeaveRoom { .. }
            | RoomOperation::KickFromRoom { .. }
            | RoomOperation::DeleteWebhook { .. } => Keeps::Nothing,
        },
        Operation::Admin(operation) => match operation {
            AdminOperation::CreateBot { .. } | AdminOperation::CreateInvite { .. } => Keeps::Rows,
            AdminOperation::SetAccountRole { .. }
            | AdminOperation::SetSuspended { .. }
            | AdminOperation::EndSessions { .. }
            | AdminOperation::ResetPassword { .. }
            | AdminOperation::RemoveAccount { .. }
            | AdminOperation::RevokeInvite { .. }
            | AdminOperation::SetAccountLimits { .. } => Keeps::Nothing,
        },
    }
}

/// An account's use of its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Time at which each bucket is full again, in microseconds of log time; in the past: it is
    /// full.
    pub full_at: [u64; SPENDS],
    /// Conversations that it has opened.
    pub conversations: u64,
    /// Bytes of what it keeps: texts and the rows around them.
    pub stored_bytes: u64,
}

impl Allowance {
    /// Takes what a request costs: all of it, or nothing.
    ///
    /// # Errors
    /// [`Rejection::RateLimited`] with the time after which there will be enough.
    pub fn take(
        &mut self,
        limits: &AccountLimits,
        now: Timestamp,
        price: &Price,
    ) -> Result<(), Rejection> {
        let mut after = *self;
        let mut refused: Option<(Spend, u64)> = None;
        for (spend, amount) in price.iter().flatten().copied() {
            let bucket = &mut after.full_at[spend as usize];
            match fill(*bucket, limits.rate(spend), now, amount) {
                Ok(full_at) => *bucket = full_at,
                Err(wait_ms) if refused.is_none_or(|(_, longest)| wait_ms > longest) => {
                    refused = Some((spend, wait_ms));
                }
                Err(_) => {}
            }
        }
        match refused {
            None => {
                *self = after;
                Ok(())
            }
            Some((spend, wait_ms)) => Err(Rejection::RateLimited {
                what: spend.words().to_owned(),
                wait_ms,
            }),
        }
    }
}

const MICROS_PER_MINUTE: u64 = 60_000_000;

/// Returns when a bucket is full again after `amount` was taken; otherwise how long to wait, in
/// milliseconds.
fn fill(
    full_at: u64,
    (per_minute, burst): (u64, u64),
    now: Timestamp,
    amount: u64,
) -> Result<u64, u64> {
    if per_minute == 0 || amount == 0 {
        return Ok(full_at);
    }
    let micros = |tokens: u64| {
        let product = u128::from(tokens) * u128::from(MICROS_PER_MINUTE);
        let longest = ALLOWANCE_FILL_MS_MAX * 1000;
        u64::try_from(product.div_ceil(u128::from(per_minute)))
            .unwrap_or(longest)
            .min(longest)
    };
    let now = now.0.min(LOG_TIME_MAX_MS) * 1000;
    let window = micros(burst);
    // What lies further ahead than a bucket takes to fill was written under other limits, or under
    // a log time that ran ahead: it would be waited for without end.
    let from = match full_at > now + window {
        true => now,
        false => full_at.max(now),
    };
    let full_at = from + micros(amount).min(window);
    match full_at.saturating_sub(now + window) {
        0 => Ok(full_at),
        missing => Err(missing.div_ceil(1000)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        AccountLimit, ConversationId, Progress, allowance::limit_table::ACCOUNT_LIMIT_MAX,
    };

    fn limits(per_minute: u64, burst: u64) -> AccountLimits {
        let mut limits = AccountLimits::default();
        let named = |name| AccountLimit::named(name).unwrap();
        limits.set(named("edits-per-minute"), per_minute).unwrap();
        limits.set(named("edits-burst"), burst).unwrap();
        limits
    }

    const ONE: Price = [Some((Spend::Edits, 1)), None];

    fn wait_of(refused: &Rejection) -> u64 {
        let Rejection::RateLimited { wait_ms, .. } = refused else {
            panic!("{refused:?}");
        };
        *wait_ms
    }

    #[test]
    fn a_node_counts_the_conversations_that_are_read() {
        for (conversations, tokens) in [(0, 1), (1, 1), (256, 256)] {
            let position = (ConversationId(1), Progress::default());
            let advance = Operation::Message(MessageOperation::AdvancePositions {
                positions: vec![position; conversations],
            });
            assert_eq!(price(&advance), [Some((Spend::Positions, 1)), None]);
            let taken = [Some((Spend::Positions, tokens)), None];
            assert_eq!(price_at_edge(&advance), taken);
        }
    }

    #[test]
    fn hiding_messages_keeps_rows_and_deleting_them_nothing() {
        for (for_everyone, kept) in [(false, Keeps::Rows), (true, Keeps::Nothing)] {
            let delete = MessageOperation::DeleteMessages {
                messages: Vec::new(),
                for_everyone,
            };
            assert_eq!(keeps(&Operation::Message(delete)), kept, "{for_everyone}");
        }
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_its_rate() {
        let limits = limits(60, 5);
        let mut of = Allowance::default();
        let now = Timestamp(1_000_000);
        for _ in 0..5 {
            assert_eq!(of.take(&limits, now, &ONE), Ok(()));
        }
        let before = of;
        let refused = of.take(&limits, now, &ONE).unwrap_err();
        assert_eq!(wait_of(&refused), 1000);
        assert_eq!(of, before, "a refusal changed something");
        assert!(of.take(&limits, now.plus_ms(999), &ONE).is_err());
        assert_eq!(of.take(&limits, now.plus_ms(1000), &ONE), Ok(()));
        assert!(of.take(&limits, now.plus_ms(1000), &ONE).is_err());
        // After as long as it takes to fill it is as new.
        for _ in 0..5 {
            assert_eq!(of.take(&limits, now.plus_ms(7000), &ONE), Ok(()));
        }
        assert!(of.take(&limits, now.plus_ms(7000), &ONE).is_err());
    }

    #[test]
    fn two_prices_are_paid_together_or_not_at_all() {
        let mut limits = limits(60, 1);
        limits
            .set(AccountLimit::named("bytes-per-minute").unwrap(), 0)
            .unwrap();
        let both: Price = [Some((Spend::Bytes, 100)), Some((Spend::Edits, 1))];
        let mut of = Allowance::default();
        assert_eq!(of.take(&limits, Timestamp(1), &both), Ok(()));
        let before = of;
        assert!(of.take(&limits, Timestamp(1), &both).is_err());
        assert_eq!(of, before);
    }

    #[test]
    fn a_bucket_is_full_after_log_time_goes_back() {
        let limits = limits(60, 5);
        let mut of = Allowance::default();
        let ahead = Timestamp(LOG_TIME_MAX_MS);
        for _ in 0..5 {
            of.take(&limits, ahead, &ONE).unwrap();
        }
        let back = Timestamp(1_000_000);
        for _ in 0..5 {
            assert_eq!(of.take(&limits, back, &ONE), Ok(()));
        }
        assert_eq!(wait_of(&of.take(&limits, back, &ONE).unwrap_err()), 1000);
    }

    fn edge() -> impl Strategy<Value = u64> {
        prop_oneof![
            Just(0),
            Just(1),
            Just(1 << 31),
            Just((1 << 63) - 1),
            Just(1 << 63),
            Just(u64::MAX),
            any::<u64>(),
        ]
    }

    fn value() -> impl Strategy<Value = u64> {
        prop_oneof![
            Just(1),
            Just(ACCOUNT_LIMIT_MAX),
            1..10_000u64,
            1..=ACCOUNT_LIMIT_MAX
        ]
    }

    proptest! {
        #[test]
        fn nothing_overflows_at_any_edge(
            full_at in edge(), per_minute in value(), burst in value(), now in edge(),
            amount in edge(),
        ) {
            match fill(full_at, (per_minute, burst), Timestamp(now), amount) {
                // What is kept fits a signed column.
                Ok(_) if amount == 0 => {}
                Ok(full_at) => prop_assert!(i64::try_from(full_at).is_ok()),
                Err(wait_ms) => prop_assert!((1..=ALLOWANCE_FILL_MS_MAX).contains(&wait_ms)),
            }
        }

        #[test]
        fn a_bucket_never_gives_more_than_burst_and_rate(
            per_minute in 1..6000u64, burst in 1..200u64,
            steps in prop::collection::vec((0..2000u64, 1..50u64), 1..200),
        ) {
            let limits = limits(per_minute, burst);
            let mut of = Allowance::default();
            let start = 1_000_000;
            let (mut now, mut given) = (start, 0);
            for (pause, amount) in steps {
                now += pause;
                let price: Price = [Some((Spend::Edits, amount.min(burst))), None];
                let before = of;
                match of.take(&limits, Timestamp(now), &price) {
                    Ok(()) => given += amount.min(burst),
                    Err(refused) => {
                        prop_assert_eq!(of, before);
                        // After the wait that it names, and not before, it is granted.
                        let at = now + wait_of(&refused);
                        let mut later = of;
                        prop_assert!(later.take(&limits, Timestamp(at), &price).is_ok());
                        let mut early = of;
                        prop_assert!(early.take(&limits, Timestamp(at - 1), &price).is_err());
                    }
                }
                let most = burst + (now - start) * per_minute / 60_000 + 1;
                prop_assert!(given <= most, "{given} > {most}");
            }
        }
    }
}
