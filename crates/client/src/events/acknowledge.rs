//! Acknowledges delivered messages to the cluster: the newest message of each conversation, one
//! call at a time, and at most one in [`INTERVAL`].
//!
//! A message that is not acknowledged when the program ends is acknowledged with the next message:
//! a delivered position covers everything before it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use conclave_core::{ConversationId, Progress, Sequence, limits::POSITIONS_PER_REQUEST_MAX};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::task::Task;
use crate::{CallError, Client};

/// Time from the beginning of one call to the beginning of the next.
pub(super) const INTERVAL: Duration = Duration::from_millis(200);
/// Pause after a call that no node answered.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// The newest delivered message of each conversation. Bounded by the number of the caller's
/// conversations.
type Delivered = BTreeMap<ConversationId, Sequence>;

#[derive(Debug)]
pub(super) struct Acknowledge {
    waiting: Arc<Waiting>,
    _task: Task,
}

#[derive(Debug)]
struct Waiting {
    delivered: Mutex<Delivered>,
    /// Number of notes.
    noted: watch::Sender<u64>,
    /// Number of notes that were acknowledged or given up: equal to `noted` when none is left.
    done: watch::Sender<u64>,
}

impl Acknowledge {
    /// Starts the task, which ends with this. Must be called within a tokio runtime.
    pub(super) fn start(client: Client) -> Self {
        let waiting = Arc::new(Waiting {
            delivered: Mutex::default(),
            noted: watch::Sender::new(0),
            done: watch::Sender::new(0),
        });
        let task = tokio::spawn(run(client, Arc::clone(&waiting)));
        Self {
            waiting,
            _task: Task(task),
        }
    }

    /// Notes that everything up to `sequence` was handed out.
    pub(super) fn delivered(&self, conversation: ConversationId, sequence: Sequence) {
        self.waiting.note(conversation, sequence);
        self.waiting.noted.send_modify(|noted| *noted += 1);
    }

    /// Waits until everything that was noted is acknowledged.
    pub(super) async fn flush(&self) {
        let noted = *self.waiting.noted.borrow();
        let mut done = self.waiting.done.subscribe();
        let _ = done.wait_for(|done| *done >= noted).await;
    }
}

impl Waiting {
    fn note(&self, conversation: ConversationId, sequence: Sequence) {
        let mut delivered = self.delivered();
        let newest = delivered.entry(conversation).or_default();
        *newest = sequence.max(*newest);
    }

    fn delivered(&self) -> MutexGuard<'_, Delivered> {
        self.delivered.lock().expect("its holders do not panic")
    }

    /// Takes as many positions as fit into a call.
    fn take(&self) -> Vec<(ConversationId, Progress)> {
        let mut delivered = self.delivered();
        let mut taken = Vec::new();
        while taken.len() < POSITIONS_PER_REQUEST_MAX {
            let Some((conversation, sequence)) = delivered.pop_first() else {
                break;
            };
            let progress = Progress {
                delivered: sequence,
                read: Sequence(0),
            };
            taken.push((conversation, progress));
        }
        taken
    }
}

async fn run(client: Client, waiting: Arc<Waiting>) {
    let mut noted = waiting.noted.subscribe();
    loop {
        let seen = *noted.borrow_and_update();
        loop {
            let taken = waiting.take();
            if taken.is_empty() {
                break;
            }
            let next_at = Instant::now() + INTERVAL;
            match client.advance_where_member(&taken).await {
                Ok(()) => {}
                Err(CallError::SessionExpired { .. }) => return,
                // A refused acknowledgement will not succeed later.
                Err(CallError::Refused { reason, .. }) => {
                    tracing::debug!(%reason, "an acknowledgement was refused");
                }
                Err(CallError::NotDone { .. } | CallError::Unknown { .. }) => {
                    for (conversation, progress) in taken {
                        waiting.note(conversation, progress.delivered);
                    }
                    sleep(TROUBLE_PAUSE).await;
                    continue;
                }
            }
            if waiting.delivered().is_empty() {
                waiting.done.send_replace(seen);
            }
            sleep_until(next_at).await;
        }
        waiting.done.send_replace(seen);
        if noted.changed().await.is_err() {
            return;
        }
    }
}
