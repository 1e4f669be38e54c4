//! Keeps messages that the application has sent until they are acknowledged.
//!
//! An [`Outbox`] takes messages and tries until each is acknowledged or refused, however many nodes
//! fail meanwhile. With a file it does so across restarts of the program: a message is on disk
//! before it is taken, and its request number is on disk before it is used, so that the next run of
//! the program asks with the same number and the message is stored once.
//!
//! An outbox ends with its session. What is left stays in the file, for an outbox in another
//! session.
//!
//! Always true: messages are stored in the order in which they were taken, because all of them go
//! one behind the other on one stream; and no message is ever sent under a second number unless the
//! first one certainly was not executed.

mod capacity;
mod delivery;
mod error;
mod journal;
mod record;

#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use conclave_core::Recipient;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::{Client, Outgoing, calls::chat::send_request};
use capacity::{Reservation, cost, reserve_now};
use delivery::{Delivery, Entry, Input, Progress};
use journal::Journal;

pub use error::{OutboxError, Outcome};

/// Maximum number of messages in an outbox. At the bound [`Outbox::send`] waits.
pub const OUTBOX_MESSAGES_MAX: usize = 10_000;
/// Maximum bytes of all messages in an outbox. At the bound [`Outbox::send`] waits.
pub const OUTBOX_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Maximum number of messages on their way to the task. At the bound the sender waits.
const INPUTS_MAX: usize = 256;

/// An outbox, which takes messages and sends them. Clones are the same outbox; it ends with the
/// last of them.
#[derive(Clone, Debug)]
pub struct Outbox {
    inputs: mpsc::Sender<Input>,
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    id_next: Arc<AtomicU64>,
    progress: watch::Receiver<Progress>,
}

/// Handle of a message that was taken.
#[derive(Debug)]
pub struct Ticket {
    outcome: oneshot::Receiver<Outcome>,
}

/// A message that an earlier run of the program left in the file.
#[derive(Debug)]
pub struct Restored {
    /// Recipient of the message.
    pub to: Recipient,
    /// The message itself.
    pub message: Outgoing,
    /// Handle of its outcome.
    pub ticket: Ticket,
}

impl Ticket {
    /// Waits until the message is acknowledged or refused, or the outbox ends.
    ///
    /// # Errors
    /// [`OutboxError::Call`], [`OutboxError::File`] or [`OutboxError::Ended`].
    pub async fn outcome(self) -> Outcome {
        self.outcome.await.unwrap_or(Err(OutboxError::Ended))
    }
}

impl Outbox {
    /// Makes an outbox in memory. Must be called within a tokio runtime. Messages that it still
    /// holds when its last clone is dropped are given up: see [`Outbox::flush`].
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self::start(client, None).0
    }

    /// Opens an outbox with a file; returns it, and the messages that an earlier run left there,
    /// which it is already sending. Only their tickets tell what becomes of them: a message that
    /// was perhaps sent in another session is not sent again, and is reported as
    /// [`crate::CallError::Unknown`]. The file is for one program at a time and readable by its
    /// owner alone. Must be called within a tokio runtime; reads the file.
    ///
    /// # Errors
    /// [`OutboxError::File`], [`OutboxError::InUse`] or [`OutboxError::NotAnOutbox`].
    pub fn with_file(
        client: Client,
        path: impl AsRef<Path>,
    ) -> Result<(Self, Vec<Restored>), OutboxError> {
        let journal = Journal::open(path.as_ref())?;
        Ok(Self::start(client, Some(journal)))
    }

    /// Takes a message; returns once it is on disk, if there is a file. Waits while the outbox is
    /// full. If the future is dropped, the message may or may not have been taken.
    ///
    /// All messages keep their order. If another program uses the same session at the same time, a
    /// message may come behind those that were taken after it.
    ///
    /// # Errors
    /// The message was not taken. [`OutboxError::Call`] if no node would accept the text, or if the
    /// session has ended; [`OutboxError::File`]; [`OutboxError::Ended`].
    pub async fn send(
        &self,
        to: &Recipient,
        message: impl Into<Outgoing>,
    ) -> Result<Ticket, OutboxError> {
        let message = message.into();
        send_request(to, &message)?;
        let reservation = self.reserve(&message).await;
        let (outcome, ticket) = oneshot::channel();
        let (reply, taken) = oneshot::channel();
        let entry = Entry {
            id: self.id_next.fetch_add(1, Ordering::Relaxed),
            to: to.clone(),
            message,
            numbered: None,
            outcome,
            _reservation: Some(reservation),
        };
        let input = Input { entry, reply };
        let sent = self.inputs.send(input).await;
        sent.map_err(|_| self.ended())?;
        taken.await.unwrap_or_else(|_| Err(self.ended()))?;
        Ok(Ticket { outcome: ticket })
    }

    /// Waits until no message is left, or the outbox has ended with its session: then
    /// [`Outbox::waiting`] counts the messages that stay.
    pub async fn flush(&self) {
        let mut progress = self.progress.clone();
        let is_over = |progress: &Progress| progress.waiting == 0 || progress.ended.is_some();
        // An error means that the task has ended: nothing will change any more.
        let _ = progress.wait_for(is_over).await;
    }

    /// Returns how many messages are not acknowledged or refused yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.progress.borrow().waiting
    }

    fn ended(&self) -> OutboxError {
        let ended = self.progress.borrow().ended.clone();
        ended.map_or(OutboxError::Ended, OutboxError::Call)
    }

    fn start(client: Client, journal: Option<Journal>) -> (Self, Vec<Restored>) {
        let messages = Arc::new(Semaphore::new(OUTBOX_MESSAGES_MAX));
        let bytes = Arc::new(Semaphore::new(OUTBOX_BYTES_MAX));
        let mut restored = Vec::new();
        let mut entries = Vec::new();
        let mut id_next = 1;
        for (id, live) in journal.iter().flat_map(Journal::live) {
            let (outcome, ticket) = oneshot::channel();
            restored.push(Restored {
                to: live.to.clone(),
                message: live.message.clone(),
                ticket: Ticket { outcome: ticket },
            });
            entries.push(Entry {
                id,
                to: live.to.clone(),
                message: live.message.clone(),
                numbered: live.numbered,
                outcome,
                _reservation: reserve_now(&messages, &bytes, &live.message),
            });
            id_next = id + 1;
        }
        let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
        let progress = watch::Sender::new(Progress {
            waiting: entries.len(),
            ended: None,
        });
        let outbox = Self {
            inputs,
            messages,
            bytes,
            id_next: Arc::new(AtomicU64::new(id_next)),
            progress: progress.subscribe(),
        };
        let journal = journal.map(Journal::start);
        let delivery = Delivery::new(client, journal, receiver, progress);
        tokio::spawn(delivery.run(entries));
        (outbox, restored)
    }

    async fn reserve(&self, message: &Outgoing) -> Reservation {
        const OPEN: &str = "the semaphores are never closed";
        let one = Arc::clone(&self.messages).acquire_owned().await;
        let bytes = Arc::clone(&self.bytes);
        let bytes = bytes.acquire_many_owned(cost(message)).await;
        Reservation {
            _message: one.expect(OPEN),
            _bytes: bytes.expect(OPEN),
        }
    }
}
