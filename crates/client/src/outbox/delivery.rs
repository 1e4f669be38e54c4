//! Runs the task behind an outbox: one message of each recipient on its way, many recipients at
//! once.

use conclave_wire::Reason;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use conclave_core::Recipient;
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
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
    CallError, Client, Outgoing, RequestKey, Sent, attempts::KeyedCallError,
    calls::chat::send_request, numbers::TakenNumber,
};

/// Maximum number of recipients with a message under way; the others wait for their turn. Well
/// below [`crate::IN_FLIGHT_MAX`], so that other calls of the session find room.
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

/// Key of a recipient, whose messages keep their order.
type Queue = String;

struct Delivered {
    queue: Queue,
    entry: Entry,
    outcome: Outcome,
}

pub(super) struct Delivery {
    client: Client,
    journal: Option<Writer>,
    inputs: mpsc::Receiver<Input>,
    /// Messages that wait behind the one under way, for each recipient that has one.
    queues: BTreeMap<Queue, VecDeque<Entry>>,
    /// Recipients whose first message may be sent.
    ready: VecDeque<Queue>,
    under_way: FuturesUnordered<BoxFuture<'static, Delivered>>,
    waiting: watch::Sender<usize>,
}

impl Delivery {
    pub(super) fn new(
        client: Client,
        journal: Option<Writer>,
        inputs: mpsc::Receiver<Input>,
        waiting: watch::Sender<usize>,
    ) -> Self {
        Self {
            client,
            journal,
            inputs,
            queues: BTreeMap::new(),
            ready: VecDeque::new(),
            under_way: FuturesUnordered::new(),
            waiting,
        }
    }

    /// Sends messages until the last handle is gone. Those that are left then stay in the file.
    pub(super) async fn run(mut self, restored: Vec<Entry>) {
        for entry in restored {
            self.enqueue(entry);
        }
        let mut taken = Vec::new();
        loop {
            self.start();
            tokio::select! {
                count = self.inputs.recv_many(&mut taken, TAKEN_TOGETHER_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.take(std::mem::take(&mut taken)).await;
                }
                Some(delivered) = self.under_way.next() => self.finish(delivered).await,
            }
        }
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
        self.waiting.send_modify(|count| *count += inputs.len());
        for Input { entry, reply } in inputs {
            self.enqueue(entry);
            let _ = reply.send(Ok(()));
        }
    }

    fn enqueue(&mut self, entry: Entry) {
        let queue = queue_of(&entry.to);
        if !self.queues.contains_key(&queue) {
            self.ready.push_back(queue.clone());
        }
        self.queues.entry(queue).or_default().push_back(entry);
    }

    fn start(&mut self) {
        while self.under_way.len() < UNDER_WAY_MAX
            && let Some(queue) = self.ready.pop_front()
        {
            let entries = self.queues.get_mut(&queue);
            let entry = entries.and_then(VecDeque::pop_front);
            let entry = entry.expect("a ready conversation has a message");
            let (client, journal) = (self.client.clone(), self.journal.clone());
            self.under_way.push(Box::pin(async move {
                let outcome = deliver(&client, journal.as_ref(), &entry).await;
                Delivered {
                    queue,
                    entry,
                    outcome,
                }
            }));
        }
    }

    async fn finish(&mut self, delivered: Delivered) {
        let Delivered {
            queue,
            entry,
            outcome,
        } = delivered;
        let is_done = !matches!(outcome, Err(OutboxError::File { .. } | OutboxError::Ended));
        if let Some(journal) = self.journal.as_ref().filter(|_| is_done) {
            journal.note(Record::Done { id: entry.id }).await;
        }
        if self.queues.get(&queue).is_some_and(VecDeque::is_empty) {
            self.queues.remove(&queue);
        } else {
            self.ready.push_back(queue);
        }
        self.waiting.send_modify(|count| *count -= 1);
        // The caller may have dropped its ticket.
        let _ = entry.outcome.send(outcome);
    }
}

fn queue_of(to: &Recipient) -> Queue {
    match to {
        Recipient::Account(name) => name.key(),
        Recipient::Room(name) => format!("#{}", name.key()),
        Recipient::Conversation(number) => format!("/{number}"),
    }
}

/// Sends a message until it is acknowledged or refused.
async fn deliver(client: &Client, journal: Option<&Writer>, entry: &Entry) -> Outcome {
    let request = send_request(&entry.to, &entry.message)?;
    let session = client.session.fingerprint();
    let mut maybe_done = entry.numbered.is_some();
    let mut held: Option<TakenNumber> = None;
    if let Some(numbered) = entry.numbered {
        if numbered.session != session {
            let sentence = "it may have been sent in another session";
            return Err(unknown(sentence, numbered.key).into());
        }
        held = Some(client.session.numbers.hold(numbered.key));
    }
    loop {
        let taken = match held.take() {
            Some(taken) => taken,
            None => number(client, journal, entry.id, session).await?,
        };
        let answer = client.call_with_key(request.clone(), taken.key, maybe_done);
        match answer.await {
            Ok(sent) => return Ok(Sent::from(sent)),
            Err(KeyedCallError::Call(error)) => {
                match error {
                    CallError::NotDone { .. } => {}
                    CallError::Unknown { .. } => maybe_done = true,
                    final_one => return Err(final_one.into()),
                }
                held = Some(taken);
            }
            Err(KeyedCallError::Number {
                reason,
                last,
                maybe_done: doubt,
            }) => {
                if doubt && reason != Reason::RequestReused {
                    let sentence = "the cluster does not remember whether it was sent";
                    return Err(unknown(sentence, taken.key).into());
                }
                // The message was not executed under this number, and never will be.
                if reason == Reason::RequestOutOfRange {
                    taken.restart(last);
                } else {
                    client.session.numbers.learn(last);
                }
                maybe_done = false;
            }
        }
        sleep(PAUSE).await;
    }
}

/// Takes a number, and writes it to the file before it is used.
async fn number(
    client: &Client,
    journal: Option<&Writer>,
    id: u64,
    session: [u8; 32],
) -> Result<TakenNumber, OutboxError> {
    let taken = loop {
        match client.take_number().await {
            Ok(taken) => break taken,
            Err(CallError::NotDone { .. } | CallError::Unknown { .. }) => sleep(PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    };
    if let Some(journal) = journal {
        let key = taken.key;
        let numbered = Numbered { session, key };
        journal
            .write(vec![Record::Numbered { id, numbered }])
            .await?;
    }
    Ok(taken)
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
