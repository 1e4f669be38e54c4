//! Runs the task behind an outbox: messages on one stream, in the order in which they were taken.
//!
//! Always true: a message leaves the file only when it is acknowledged or refused, or when its
//! outcome cannot be known any more. The end of the session ends the task and leaves the file.

use std::{collections::VecDeque, time::Duration};

use conclave_core::Recipient;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep,
};

use super::{
    capacity::Reservation,
    error::{OutboxError, Outcome},
    journal::Writer,
    record::{Numbered, Record},
};
use crate::{
    CallError, Client, Outgoing, RequestKey, Sent,
    calls::chat::send_request,
    numbers::TakenNumber,
    send_stream::pipeline::{Pipeline, Step},
};

/// Maximum number of messages under way; the others wait for their turn. Well below
/// [`crate::IN_FLIGHT_MAX`], so that other calls of the session find room.
const UNDER_WAY_MAX: usize = 64;
/// Maximum number of messages that are taken with one write to the file.
const TAKEN_TOGETHER_MAX: usize = 256;
/// Pause after a call that used up all its time.
const PAUSE: Duration = Duration::from_millis(100);

/// A message to be sent.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) to: Recipient,
    pub(super) message: Outgoing,
    /// The session and the number under which an earlier run of the program may have sent it.
    pub(super) numbered: Option<Numbered>,
    pub(super) outcome: oneshot::Sender<Outcome>,
    pub(super) _reservation: Option<Reservation>,
}

/// A new message.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) entry: Entry,
    /// Receives the result once the message is taken.
    pub(super) reply: oneshot::Sender<Result<(), OutboxError>>,
}

/// A message that waits for its turn.
struct Waiting {
    entry: Entry,
    /// The number that an earlier run of the program has given it.
    held: Option<TakenNumber>,
}

/// A message that stays in the file, because the session has ended.
struct Kept {
    entry: Entry,
    error: CallError,
}

/// What the handles of an outbox know of its task.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Number of messages that are not acknowledged or refused.
    pub(super) waiting: usize,
    /// Why the task takes no more messages.
    pub(super) ended: Option<CallError>,
}

pub(super) struct Delivery {
    client: Client,
    session: [u8; 32],
    journal: Option<Writer>,
    inputs: mpsc::Receiver<Input>,
    /// Messages that are not under way yet.
    queue: VecDeque<Waiting>,
    pipeline: Pipeline<Entry>,
    /// Messages that stay, in their order; the first of them ends the task.
    kept: Vec<Kept>,
    progress: watch::Sender<Progress>,
}

impl Delivery {
    pub(super) fn new(
        client: Client,
        journal: Option<Writer>,
        inputs: mpsc::Receiver<Input>,
        progress: watch::Sender<Progress>,
    ) -> Self {
        Self {
            session: client.session.fingerprint(),
            pipeline: Pipeline::new(client.clone(), None),
            client,
            journal,
            inputs,
            queue: VecDeque::new(),
            kept: Vec::new(),
            progress,
        }
    }

    /// Sends messages until the last handle is gone or the session has ended. Those that are left
    /// then stay in the file.
    pub(super) async fn run(mut self, restored: Vec<Entry>) {
        for entry in restored {
            self.restore(entry).await;
        }
        let mut taken = Vec::new();
        loop {
            if !self.kept.is_empty() {
                return self.end().await;
            }
            self.start().await;
            let may_start = !self.queue.is_empty() && self.pipeline.len() < UNDER_WAY_MAX;
            let (pipeline, client) = (&mut self.pipeline, &self.client);
            tokio::select! {
                count = self.inputs.recv_many(&mut taken, TAKEN_TOGETHER_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.take(std::mem::take(&mut taken)).await;
                }
                step = pipeline.step() => self.follow(step).await,
                // The numbers of the session are not known yet, or others hold up the window.
                number = number(client), if may_start => self.start_first(number).await,
            }
        }
    }

    /// Puts a message in the queue that an earlier run of the program has left.
    async fn restore(&mut self, entry: Entry) {
        let held = match entry.numbered {
            Some(numbered) if numbered.session != self.session => {
                let sentence = "it may have been sent in another session";
                let error = unknown(sentence, numbered.key);
                return self.finish(entry, Err(error.into())).await;
            }
            // Others do not get too far ahead of it from now on.
            Some(numbered) => Some(self.client.session.numbers.hold(numbered.key)),
            None => None,
        };
        self.queue.push_back(Waiting { entry, held });
    }

    /// Takes messages, all of them with one write.
    async fn take(&mut self, inputs: Vec<Input>) {
        if let Some(journal) = &self.journal {
            let record = |input: &Input| Record::Accepted {
                id: input.entry.id,
                to: input.entry.to.clone(),
                message: input.entry.message.clone(),
            };
            let written = journal.write(inputs.iter().map(record).collect()).await;
            if let Err(error) = written {
                for input in inputs {
                    let _ = input.reply.send(Err(error.clone()));
                }
                return;
            }
        }
        let count = inputs.len();
        let progress = &self.progress;
        progress.send_modify(|progress| progress.waiting += count);
        for Input { entry, reply } in inputs {
            self.queue.push_back(Waiting { entry, held: None });
            let _ = reply.send(Ok(()));
        }
    }

    /// Starts as many messages as have numbers without a wait, all of them with one write.
    async fn start(&mut self) {
        let mut starting = Vec::new();
        while self.pipeline.len() + starting.len() < UNDER_WAY_MAX
            && let Some(mut first) = self.queue.pop_front()
        {
            let held = first.held.take();
            let taken = held.or_else(|| self.client.session.numbers.try_take());
            let Some(taken) = taken else {
                self.queue.push_front(first);
                break;
            };
            starting.push((first.entry, taken));
        }
        self.push(starting).await;
    }

    async fn start_first(&mut self, number: Result<TakenNumber, CallError>) {
        let Some(first) = self.queue.pop_front() else {
            return;
        };
        match number {
            Ok(taken) => self.push(vec![(first.entry, taken)]).await,
            // The refusal concerns the session, not the message.
            Err(error) => self.kept.push(Kept {
                entry: first.entry,
                error,
            }),
        }
    }

    /// Writes the numbers of messages to the file before they are used, and sends the messages.
    async fn push(&mut self, starting: Vec<(Entry, TakenNumber)>) {
        let records: Vec<Record> = starting
            .iter()
            .filter(|(entry, _)| entry.numbered.is_none())
            .map(|(entry, taken)| self.numbered(entry.id, taken))
            .collect();
        let written = self.write(records).await;
        for (entry, taken) in starting {
            let maybe_done = entry.numbered.is_some();
            match (&written, send_request(&entry.to, &entry.message)) {
                (Ok(()), Ok(request)) => self.pipeline.push(request, taken, maybe_done, entry),
                (Ok(()), Err(error)) => self.finish(entry, Err(error.into())).await,
                (Err(error), _) => self.finish(entry, Err(error.clone())).await,
            }
        }
    }

    fn numbered(&self, id: u64, taken: &TakenNumber) -> Record {
        let (session, key) = (self.session, taken.key);
        let numbered = Numbered { session, key };
        Record::Numbered { id, numbered }
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<(), OutboxError> {
        match self.journal.as_ref().filter(|_| !records.is_empty()) {
            Some(journal) => journal.write(records).await,
            None => Ok(()),
        }
    }

    async fn follow(&mut self, step: Step<Entry>) {
        match step {
            Step::Done(entry, result) => {
                let outcome = result.map(Sent::from).map_err(OutboxError::from);
                self.finish(entry, outcome).await;
            }
            Step::NewNumber(taken) => {
                let id = self.pipeline.first().map_or(0, |entry| entry.id);
                let record = self.numbered(id, &taken);
                match self.write(vec![record]).await {
                    Ok(()) => self.pipeline.renumber(taken),
                    Err(error) => {
                        if let Some(entry) = self.pipeline.remove_first() {
                            self.finish(entry, Err(error)).await;
                        }
                    }
                }
            }
        }
    }

    async fn finish(&mut self, entry: Entry, outcome: Outcome) {
        if let Err(OutboxError::Call(error @ CallError::SessionExpired { .. })) = outcome {
            return self.kept.push(Kept { entry, error });
        }
        let is_done = !matches!(outcome, Err(OutboxError::File { .. } | OutboxError::Ended));
        if let Some(journal) = self.journal.as_ref().filter(|_| is_done) {
            journal.note(Record::Done { id: entry.id }).await;
        }
        let progress = &self.progress;
        progress.send_modify(|progress| progress.waiting -= 1);
        // The caller may have dropped its ticket.
        let _ = entry.outcome.send(outcome);
    }

    /// Ends with the session. All messages that are left stay in the file: another session sends
    /// those that this one certainly has not.
    async fn end(mut self) {
        let Some(error) = self.kept.first().map(|first| first.error.clone()) else {
            return;
        };
        self.pipeline.end_session(&error.to_string());
        while let Some(step) = self.pipeline.ready() {
            if let Step::Done(entry, result) = step {
                let outcome = result.map(Sent::from).map_err(OutboxError::from);
                self.finish(entry, outcome).await;
            }
        }
        let kept = std::mem::take(&mut self.kept);
        // The others have no numbers, or perhaps were executed.
        self.forget_numbers(&kept).await;
        let queue = std::mem::take(&mut self.queue).into_iter();
        let queue = queue.map(|Waiting { entry, .. }| {
            let error = queued(&error, entry.numbered.is_none());
            Kept { entry, error }
        });
        let kept: Vec<Kept> = kept.into_iter().chain(queue).collect();
        tracing::warn!(%error, messages = kept.len(), "the outbox has ended with its session");
        if let Some(journal) = self.journal.take() {
            journal.close().await;
        }
        // The file can be opened again by now.
        let ended = Some(queued(&error, true));
        self.progress.send_modify(|progress| progress.ended = ended);
        for Kept { entry, error } in kept {
            let _ = entry.outcome.send(Err(error.into()));
        }
    }

    /// Removes from the file the numbers under which messages certainly were not executed and never
    /// will be.
    async fn forget_numbers(&mut self, kept: &[Kept]) {
        let unsent = kept
            .iter()
            .filter(|kept| matches!(&kept.error, CallError::SessionExpired { certain: true, .. }));
        let records = unsent.map(|Kept { entry, .. }| Record::Accepted {
            id: entry.id,
            to: entry.to.clone(),
            message: entry.message.clone(),
        });
        if let Err(error) = self.write(records.collect()).await {
            // With their numbers they count as perhaps executed.
            tracing::warn!(%error, "failed to write the outbox's file");
        }
    }
}

/// Takes a number, however long that takes.
async fn number(client: &Client) -> Result<TakenNumber, CallError> {
    loop {
        match client.take_number().await {
            Err(CallError::NotDone { .. } | CallError::Unknown { .. }) => sleep(PAUSE).await,
            taken => return taken,
        }
    }
}

/// Returns the error of a message that waits while the session ends.
fn queued(end: &CallError, certain: bool) -> CallError {
    match end {
        CallError::SessionExpired { sentence, .. } => CallError::SessionExpired {
            sentence: sentence.clone(),
            certain,
        },
        other => other.clone(),
    }
}

fn unknown(sentence: &str, key: RequestKey) -> CallError {
    CallError::Unknown {
        sentence: sentence.to_owned(),
        attempts: 0,
        waited: Duration::ZERO,
        nodes: Vec::new(),
        request: Some(key),
    }
}
