//! Streams events as they happen, and moves from node to node.
//!
//! A task holds the stream and moves it to another node whenever its node dies, hangs, stops or is
//! behind; [`Events::next`] takes from that task. The task waits when nothing is taken, so a slow
//! reader slows the node's stream down, and nothing piles up here.
//!
//! Always true: each event is given once and in the order of the log, however often the stream
//! moves; the stream ends only when it is dropped, or when no node could continue it.

mod acknowledge;
mod item;
mod options;
mod stream;
mod task;
mod token;

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use conclave_core::{ConversationId, Position, Sequence};
use conclave_wire::v1::{self, event::Event as Kind};
use tokio::sync::mpsc;

use crate::{CallError, Client};
use acknowledge::Acknowledge;
use stream::{Batch, Stream};
use task::Task;
use token::Resume;

pub use item::{Disconnect, Item, Reconnect};
pub use options::{HEARTBEAT, SubscribeOptions};

/// Maximum number of a node's responses (about 64 KiB each) that wait for [`Events::next`]. At the
/// bound the stream is not read until one is taken.
const BATCHES_MAX: usize = 4;
/// Longest time that [`Events::close`] waits for acknowledgements of what was handed out.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Start of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// The stream begins with the events from now on: from the moment at which
    /// [`v1::event::Event::Started`] is given.
    #[default]
    Now,
    /// The stream begins with everything that is stored.
    Beginning,
    /// The stream begins after this position of the log, which an event or an answer has named.
    After(Position),
    /// The stream begins after what this token covers, which comes from [`Events::resume_token`] or
    /// a node. Empty means now.
    Token(Vec<u8>),
}

/// A stream of everything that the caller may see. See [`Client::subscribe`].
#[derive(Debug)]
pub struct Events {
    batches: mpsc::Receiver<Batch>,
    waiting: VecDeque<v1::Event>,
    /// Progress of what was handed out.
    given: Resume,
    /// The token that is valid once everything that waits is handed out.
    token_next: Bytes,
    /// Number of the caller's account; 0 until the stream has named it.
    account: u64,
    ended: Option<CallError>,
    acknowledge: Option<Acknowledge>,
    _task: Task,
}

impl Client {
    /// Subscribes to everything that happens to the caller, on whichever node serves. Must be
    /// called within a tokio runtime; a task keeps the stream until [`Events`] is dropped.
    #[must_use]
    pub fn subscribe(&self, from: StartAt) -> Events {
        self.subscribe_with(from, SubscribeOptions::default())
    }

    /// Subscribes as [`Client::subscribe`] does, with other options.
    #[must_use]
    pub fn subscribe_with(&self, from: StartAt, options: SubscribeOptions) -> Events {
        let (sender, batches) = mpsc::channel(BATCHES_MAX);
        let from_beginning = matches!(from, StartAt::Beginning | StartAt::After(Position(0)));
        let given = match from {
            StartAt::Token(token) => Resume::parse(token),
            StartAt::After(position) => Resume::at(position),
            StartAt::Now | StartAt::Beginning => Resume::default(),
        };
        let stream = Stream::new(self.clone(), &given, from_beginning, options, sender);
        let acknowledge = options
            .acknowledge_delivery
            .then(|| Acknowledge::start(self.clone()));
        Events {
            batches,
            waiting: VecDeque::new(),
            token_next: given.token.clone(),
            given,
            account: 0,
            ended: None,
            acknowledge,
            _task: Task(tokio::spawn(stream.run())),
        }
    }
}

impl Events {
    /// Returns the next item; waits for it as long as it takes. The future may be dropped and the
    /// call repeated: nothing is lost.
    ///
    /// # Errors
    /// Only when the stream has ended for good; every later call returns the error again.
    /// [`CallError::SessionExpired`]: log in and subscribe with the token. [`CallError::Refused`]:
    /// `RESUME_TOKEN_INVALID`, the token is not of this cluster.
    pub async fn next(&mut self) -> Result<Item, CallError> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.give(&event);
                return Ok(Item::Event(event));
            }
            if let Some(error) = &self.ended {
                return Err(error.clone());
            }
            match self.batches.recv().await {
                Some(Batch::Events { events, token }) => {
                    self.waiting = events.into();
                    self.token_next = token;
                    if self.waiting.is_empty() {
                        self.given.cover(self.token_next.clone());
                    }
                }
                Some(Batch::Notice(item)) => return Ok(item),
                Some(Batch::End(error)) => self.ended = Some(error),
                None => {
                    self.ended = Some(CallError::NotDone {
                        sentence: "the runtime of the stream has ended".to_owned(),
                        distrust: None,
                        attempts: 0,
                        waited: Duration::ZERO,
                        nodes: Vec::new(),
                    });
                }
            }
        }
    }

    /// Returns a token for everything that [`Events::next`] has given so far, for a later
    /// [`StartAt::Token`]: also after a restart of the program, and on any node. Take it once the
    /// program has processed what was given.
    #[must_use]
    pub fn resume_token(&self) -> Vec<u8> {
        self.given.to_bytes()
    }

    /// Returns the position up to which everything was given: reads with it as `min_position` see
    /// all of that.
    #[must_use]
    pub fn position(&self) -> Position {
        self.given.after
    }

    /// Ends the stream after what was handed out is acknowledged, within seconds. Dropping it
    /// ends it at once.
    pub async fn close(self) {
        if let Some(acknowledge) = &self.acknowledge {
            let _ = tokio::time::timeout(CLOSE_WAIT, acknowledge.flush()).await;
        }
    }

    fn give(&mut self, event: &v1::Event) {
        match &event.event {
            Some(Kind::Started(started)) => self.account = started.account_id,
            // A gap has the position of the event that follows it.
            Some(Kind::Gap(_)) => return,
            Some(Kind::MessageSent(message)) => self.acknowledge(message),
            _ => {}
        }
        self.given.after = self.given.after.max(Position(event.position));
        if self.waiting.is_empty() {
            self.given.cover(self.token_next.clone());
        }
    }

    fn acknowledge(&self, message: &v1::Message) {
        let is_news = message.room_name.is_empty()
            && message.sender_id != self.account
            && (message.delivery() as i32) < v1::Delivery::Delivered as i32;
        if let Some(acknowledge) = self.acknowledge.as_ref().filter(|_| is_news) {
            acknowledge.delivered(
                ConversationId(message.conversation_id),
                Sequence(message.sequence),
            );
        }
    }
}
