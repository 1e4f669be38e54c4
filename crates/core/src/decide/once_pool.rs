//! Assigns each operation outside of sessions to the pool that remembers its answer.
//!
//! Always true: a post with an idempotency key goes to the pool of its own webhook.

use crate::{Broken, Lookup, OncePool, Operation};

impl OncePool {
    /// Returns the pool of an operation.
    ///
    /// # Errors
    /// [`Broken`] if the state cannot be read.
    pub(super) fn of(lookup: &impl Lookup, operation: &Operation) -> Result<Self, Broken> {
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
}
