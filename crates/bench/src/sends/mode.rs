//! How one message is sent: the one place that knows by which call.
//!
//! A way of sending is an implementation of [`Sender`]; the loops, the tally and the check are the
//! same for all.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
};

use conclave_client::{CallError, SendStream, SendStreamOptions};

use super::population::Population;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A node acknowledged it.
    Acked {
        /// Its place in its conversation.
        sequence: u64,
        /// Its position in the log.
        position: u64,
    },
    /// No node acknowledged it.
    Failed {
        /// The reason, a few words.
        reason: String,
        /// Whether it was certainly not stored.
        certain: bool,
    },
}

/// A way of sending messages.
pub(super) trait Sender: Send + Sync + 'static {
    /// Returns the conversation to which the message with this number goes.
    fn conversation(&self, number: u64) -> usize;

    /// Sends the message with this number, and waits for its outcome.
    fn send(&self, number: u64, text: String) -> impl Future<Output = Outcome> + Send;
}

/// Sends each message as a call of its own.
pub(super) struct Unary(pub(super) Arc<Population>);

impl Sender for Unary {
    fn conversation(&self, number: u64) -> usize {
        self.0.slot(number).conversation
    }

    async fn send(&self, number: u64, text: String) -> Outcome {
        let (client, to) = self.0.sender(number);
        outcome(client.send(to, text).await)
    }
}

/// Sends each message on the stream of its session, in the order in which they leave.
pub(super) struct Streams {
    population: Arc<Population>,
    /// The stream of each session, opened with its first message.
    opened: Vec<OnceLock<SendStream>>,
}

impl Streams {
    pub(super) fn new(population: Arc<Population>) -> Self {
        let opened = (0..population.sessions()).map(|_| OnceLock::new());
        Self {
            opened: opened.collect(),
            population,
        }
    }
}

impl Sender for Streams {
    fn conversation(&self, number: u64) -> usize {
        self.population.slot(number).conversation
    }

    async fn send(&self, number: u64, text: String) -> Outcome {
        let (client, to) = self.population.sender(number);
        let stream = &self.opened[self.population.slot(number).session];
        let stream = stream.get_or_init(|| client.send_stream(SendStreamOptions::default()));
        match stream.send(to, text).await {
            Ok(ticket) => outcome(ticket.result().await),
            Err(error) => outcome(Err(error)),
        }
    }
}

/// Returns the outcome of a call in a few words.
fn outcome(sent: Result<conclave_client::Sent, CallError>) -> Outcome {
    let failed = |reason: String, certain| Outcome::Failed { reason, certain };
    match sent {
        Ok(sent) => Outcome::Acked {
            sequence: sent.sequence.0,
            position: sent.position.0,
        },
        Err(CallError::Refused { reason, .. }) => failed(format!("refused: {reason}"), true),
        Err(CallError::SessionExpired { certain, .. }) => {
            failed("the session has ended".to_owned(), certain)
        }
        Err(CallError::NotDone { sentence, .. }) => failed(format!("not done: {sentence}"), true),
        Err(CallError::Unknown { sentence, .. }) => failed(format!("no answer: {sentence}"), false),
    }
}
