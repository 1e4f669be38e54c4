//! Sends many messages in order, each exactly once.
//!
//! A [`SendStream`] takes messages and sends them one behind the other, many before the first
//! result is there. It moves to another node when one does not serve, with everything that has no
//! result yet and under the same numbers. It keeps nothing outside memory: what must survive the
//! program goes through an [`crate::Outbox`].
//!
//! Always true: messages are stored in the order in which they were taken, each once. A message
//! that is refused does not stop those behind it; a message whose time is over ends with all that
//! wait behind it.

pub(crate) mod link;
pub(crate) mod pipeline;

use std::collections::VecDeque;

use conclave_core::{Recipient, limits::REQUEST_WINDOW};
use tokio::sync::{mpsc, oneshot};

use self::pipeline::{Pipeline, Step};
use crate::{CallError, Client, Outgoing, Sent, calls::chat::send_request, limits::IN_FLIGHT_MAX};

/// Options of a stream of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendStreamOptions {
    /// Maximum number of messages on their way, at most 256: as many as a session remembers. More
    /// than half of that is for a program that is alone in its session.
    pub in_flight: usize,
}

impl Default for SendStreamOptions {
    fn default() -> Self {
        Self {
            in_flight: IN_FLIGHT_MAX,
        }
    }
}

/// Takes messages and sends them in order. Clones are the same stream; it ends with the last of
/// them, when everything that it took has its result.
#[derive(Clone, Debug)]
pub struct SendStream {
    inputs: mpsc::Sender<Input>,
}

/// Handle of a message that a [`SendStream`] has taken.
#[derive(Debug)]
pub struct SendTicket {
    result: oneshot::Receiver<Result<Sent, CallError>>,
}

#[derive(Debug)]
struct Input {
    request: conclave_wire::v1::SendMessageRequest,
    reply: oneshot::Sender<Result<Sent, CallError>>,
}

impl Client {
    /// Opens a stream for messages. Must be called within a tokio runtime.
    #[must_use]
    pub fn send_stream(&self, options: SendStreamOptions) -> SendStream {
        let window = usize::try_from(REQUEST_WINDOW).unwrap_or(IN_FLIGHT_MAX);
        let in_flight = options.in_flight.clamp(1, window);
        let (inputs, taken) = mpsc::channel(in_flight);
        let task = Task {
            pipeline: Pipeline::new(self.clone(), Some(self.shared.timeouts.total)),
            client: self.clone(),
            in_flight,
            waiting: VecDeque::new(),
            new_numbers: 0,
        };
        tokio::spawn(task.run(taken));
        SendStream { inputs }
    }
}

impl SendStream {
    /// Takes a message; waits while the stream is full. Messages are sent in the order of these
    /// calls. If the future is dropped, the message may or may not have been taken.
    ///
    /// # Errors
    /// [`CallError::Refused`] if no node would accept the text.
    pub async fn send(
        &self,
        to: &Recipient,
        message: impl Into<Outgoing>,
    ) -> Result<SendTicket, CallError> {
        let request = send_request(to, &message.into())?;
        let (reply, result) = oneshot::channel();
        let input = Input { request, reply };
        // A closed channel drops the input, and the ticket says so.
        let _ = self.inputs.send(input).await;
        Ok(SendTicket { result })
    }
}

impl SendTicket {
    /// Waits until the message is acknowledged or refused.
    ///
    /// # Errors
    /// [`CallError`], as of [`Client::send`]. After [`CallError::Unknown`] use
    /// [`Client::send_again`].
    pub async fn result(self) -> Result<Sent, CallError> {
        let ended = || CallError::Unknown {
            sentence: "the program's runtime has ended".to_owned(),
            attempts: 0,
            waited: std::time::Duration::ZERO,
            nodes: Vec::new(),
            request: None,
        };
        self.result.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// Maximum number of new numbers that a message may take before its caller gets the refusal.
const NEW_NUMBERS_MAX: u32 = 16;

struct Task {
    pipeline: Pipeline<oneshot::Sender<Result<Sent, CallError>>>,
    client: Client,
    in_flight: usize,
    /// Messages that have no number yet.
    waiting: VecDeque<Input>,
    /// Number of new numbers that the first message has taken.
    new_numbers: u32,
}

impl Task {
    /// Sends until all handles are gone and everything has its result.
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut is_open = true;
        let mut taken = Vec::new();
        loop {
            self.push_waiting();
            if !is_open && self.waiting.is_empty() && self.pipeline.is_empty() {
                return;
            }
            let free = self.in_flight.saturating_sub(self.pipeline.len());
            let may_take = is_open && free > 0 && self.waiting.is_empty();
            let (pipeline, client) = (&mut self.pipeline, &self.client);
            tokio::select! {
                biased;
                step = pipeline.step() => self.follow(step),
                count = inputs.recv_many(&mut taken, free), if may_take => {
                    is_open = count > 0;
                    self.waiting.extend(taken.drain(..));
                }
                // The numbers of the session are not known yet, or others hold up the window.
                number = client.take_number(), if free > 0 && !self.waiting.is_empty() => {
                    let Some(input) = self.waiting.pop_front() else { continue };
                    match number {
                        Ok(taken) => self.pipeline.push(input.request, taken, false, input.reply),
                        Err(error) => drop(input.reply.send(Err(error))),
                    }
                }
            }
        }
    }

    /// Gives numbers to waiting messages, as long as that takes no time.
    fn push_waiting(&mut self) {
        let numbers = &self.client.session.numbers;
        while self.pipeline.len() < self.in_flight
            && !self.waiting.is_empty()
            && let Some(taken) = numbers.try_take()
            && let Some(input) = self.waiting.pop_front()
        {
            self.pipeline.push(input.request, taken, false, input.reply);
        }
    }

    fn follow(&mut self, step: Step<oneshot::Sender<Result<Sent, CallError>>>) {
        match step {
            Step::Done(reply, result) => {
                self.new_numbers = 0;
                // The caller may have dropped its ticket.
                let _ = reply.send(result.map(Sent::from));
            }
            Step::NewNumber(taken) => {
                self.new_numbers += 1;
                match self.new_numbers <= NEW_NUMBERS_MAX {
                    true => self.pipeline.renumber(taken),
                    false => self.pipeline.give_up(),
                }
            }
        }
    }
}
