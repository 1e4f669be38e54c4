//! Where answers to requests outside of sessions are remembered.
//!
//! Always true: requests of one kind never push out answers to requests of another kind, and an
//! answer that guards against a second execution is kept for its whole time.

use crate::{
    WebhookId,
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
