//! Bounds the room that messages take in an outbox.
//!
//! Always true: a message gives its room back when it is dropped, and not before.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Outgoing;

/// Approximate bytes that a message costs beside its text.
const MESSAGE_EXTRA_BYTES: usize = 256;

/// Share of the outbox that a message takes until this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) _message: OwnedSemaphorePermit,
    pub(super) _bytes: OwnedSemaphorePermit,
}

/// Takes the room of a message that is there already; `None` if the bounds were greater when the
/// message came.
pub(super) fn reserve_now(
    messages: &Arc<Semaphore>,
    bytes: &Arc<Semaphore>,
    text: &Outgoing,
) -> Option<Reservation> {
    let message = Arc::clone(messages).try_acquire_owned().ok()?;
    let bytes = Arc::clone(bytes).try_acquire_many_owned(cost(text)).ok()?;
    Some(Reservation {
        _message: message,
        _bytes: bytes,
    })
}

/// Returns the bytes that a message counts for.
pub(super) fn cost(message: &Outgoing) -> u32 {
    u32::try_from(message.text.len() + MESSAGE_EXTRA_BYTES).expect("a text is small")
}
