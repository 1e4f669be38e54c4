//! Assigns each operation outside of sessions to the pool that remembers its answer.
//!
//! Always true: a post with an idempotency key goes to the pool of its own webhook.

use crate::{AccessOperation, Broken, ClusterOperation, Lookup, OncePool, Operation};

impl OncePool {
    /// Returns the pool of an operation.
    ///
    /// # Errors
    /// [`Broken`] if the state cannot be read.
    pub(super) fn of(lookup: &impl Lookup, operation: &Operation) -> Result<Self, Broken> {
        Ok(match operation {
            Operation::Access(operation) => match operation {
                AccessOperation::PostByWebhook {
                    token, keyed: true, ..
                } => match lookup.webhook_by_token(token)? {
                    Some(webhook) => Self::Webhook(webhook.id),
                    None => Self::Brief,
                },
                AccessOperation::PostByWebhook { keyed: false, .. }
                | AccessOperation::TryPassword { .. }
                | AccessOperation::OfferSetup { .. } => Self::Brief,
                AccessOperation::CreateAccount { .. } | AccessOperation::OpenSession { .. } => {
                    Self::Lasting
                }
            },
            Operation::Cluster(operation) => match operation {
                ClusterOperation::ForgetMessages { .. }
                | ClusterOperation::NoteAct { .. }
                | ClusterOperation::RetireNode { .. }
                | ClusterOperation::RotateAuthority { .. }
                | ClusterOperation::RaiseVersion { .. } => Self::Brief,
                ClusterOperation::AdmitNode { .. }
                | ClusterOperation::ByOperator { .. }
                | ClusterOperation::MakeFirstOperator { .. }
                | ClusterOperation::ResetOperators { .. } => Self::Lasting,
            },
            // Refused: they belong to a session.
            Operation::Account(_)
            | Operation::Message(_)
            | Operation::Room(_)
            | Operation::Admin(_) => Self::Lasting,
        })
    }
}
