//! Where answers to requests outside of sessions are remembered.
//!
//! Always true: requests of one kind never push out answers to requests of another kind, and an
//! answer that guards against a second execution is kept for its whole time.

use crate::{
    Broken, Lookup, Operation, WebhookId,
    limits::{
        ONCE_ANSWER_MS, ONCE_ANSWERS_MAX, ONCE_BRIEF_ANSWERS_MAX, ONCE_BRIEF_MS, WEBHOOK_KEYS_MAX,
    },
};

/// A kind of requests outside of sessions, with a memory of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OncePool {
    /// Creating an account, logging in, admitting a machine. At the bound the oldest answer is
    /// forgotten: the name, the session's token or the join token, each of which can be used once,
    /// keeps a later retry from being executed again.
    #[default]
    Lasting,
    /// What a node retries for some seconds and no client ever: attempts to log in, posts without
    /// an idempotency key. At the bound the oldest answer is forgotten.
    Brief,
    /// Posts through this webhook with an idempotency key, which nothing else keeps from being
    /// executed again. At the bound a post with another key is refused.
    Webhook(WebhookId),
}

impl OncePool {
    /// Returns the pool of an operation.
    ///
    /// # Errors
    /// [`Broken`] if the state cannot be read.
    pub fn of(lookup: &impl Lookup, operation: &Operation) -> Result<Self, Broken> {
        Ok(match operation {
            Operation::PostByWebhook {
                token, keyed: true, ..
            } => match lookup.webhook_by_token(token)? {
                Some(webhook) => Self::Webhook(webhook.id),
                None => Self::Brief,
            },
            Operation::PostByWebhook { .. }
            | Operation::TryPassword { .. }
            | Operation::OfferSetup { .. }
            | Operation::RetireNode { .. }
            | Operation::ExchangeAuthority { .. } => Self::Brief,
            _ => Self::Lasting,
        })
    }

    /// Returns how many answers it holds.
    #[must_use]
    pub fn answers_max(self) -> u64 {
        match self {
            Self::Lasting => ONCE_ANSWERS_MAX,
            Self::Brief => ONCE_BRIEF_ANSWERS_MAX,
            Self::Webhook(_) => WEBHOOK_KEYS_MAX,
        }
    }

    /// Returns how long it keeps an answer, in milliseconds of log time.
    #[must_use]
    pub fn answer_ms(self) -> u64 {
        match self {
            Self::Lasting | Self::Webhook(_) => ONCE_ANSWER_MS,
            Self::Brief => ONCE_BRIEF_MS,
        }
    }
}
