//! Makes an account pay for its request, before the rule of the request runs.
//!
//! Always true: an account that cannot pay is refused without a trace, so the same request can be
//! made again later; an account that has paid has paid, also if the rule then refuses.

use crate::{
    AccessOperation, AccountId, AccountLimit, AccountLimits, Allowance, Broken, ConversationEvent,
    Event, Lookup, Operation, Rejection, Timestamp,
    allowance::{Keeps, keeps, price},
};

/// The payment for a request.
#[derive(Clone, Copy)]
pub(super) struct Paid {
    account: AccountId,
    allowance: Allowance,
    limits: AccountLimits,
}

/// Takes the price of an operation from an account; `None` if it costs nothing.
pub(super) fn pay(
    lookup: &impl Lookup,
    now: Timestamp,
    account: AccountId,
    operation: &Operation,
) -> Result<Result<Option<Paid>, Rejection>, Broken> {
    let price = price(operation);
    if price == [None, None] {
        return Ok(Ok(None));
    }
    let limits = lookup.account_limits()?;
    let mut allowance = lookup.allowance(account)?;
    let taken = allowance.take(&limits, now, &price);
    Ok(taken.map(|()| {
        Some(Paid {
            account,
            allowance,
            limits,
        })
    }))
}

/// Returns the account that pays for a request outside a session, if one does.
pub(super) fn payer(
    lookup: &impl Lookup,
    operation: &Operation,
) -> Result<Option<AccountId>, Broken> {
    let Operation::Access(operation) = operation else {
        return Ok(None);
    };
    Ok(match operation {
        AccessOperation::OpenSession { account, .. } => lookup.account(*account)?.map(|row| row.id),
        AccessOperation::PostByWebhook { token, .. } => lookup
            .webhook_by_token(token)?
            .map(|webhook| webhook.account),
        AccessOperation::CreateAccount { .. }
        | AccessOperation::TryPassword { .. }
        | AccessOperation::OfferSetup { .. } => None,
    })
}

impl Paid {
    /// Refuses what would be kept beyond a quota.
    pub(super) fn check_quotas(&self, operation: &Operation) -> Result<(), Rejection> {
        let keeps = keeps(operation) == Keeps::StoredBytes;
        let stored = self.allowance.stored_bytes;
        if keeps && self.limits.is_reached(AccountLimit::STORED_BYTES, stored) {
            return Err(exceeded("stored bytes"));
        }
        Ok(())
    }

    /// Refuses to open one conversation more than an account may, and counts it.
    fn count_opened(&mut self, events: &[Event]) -> Result<(), Rejection> {
        let opens = |event| {
            matches!(
                event,
                &Event::Conversation(ConversationEvent::Opened { .. })
            )
        };
        if !events.iter().any(opens) {
            return Ok(());
        }
        let opened = self.allowance.conversations;
        if self.limits.is_reached(AccountLimit::CONVERSATIONS, opened) {
            return Err(exceeded("conversations"));
        }
        self.allowance.conversations += 1;
        Ok(())
    }

    /// Returns what is to be written: the allowance after everything that the rule has made of it.
    pub(super) fn settle(mut self, events: &[Event]) -> Result<(AccountId, Allowance), Rejection> {
        self.count_opened(events)?;
        Ok((self.account, self.allowance))
    }

    /// Returns what is to be written if nothing else has happened.
    pub(super) fn spent(self) -> (AccountId, Allowance) {
        (self.account, self.allowance)
    }
}

fn exceeded(what: &str) -> Rejection {
    Rejection::QuotaExceeded {
        what: what.to_owned(),
    }
}
