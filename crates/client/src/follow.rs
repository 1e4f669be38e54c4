//! Follows the caller's conversations, from node to node.
//!
//! Always true: each message is given once and in the order of positions, however often the
//! stream moves to another node. Nothing runs between two calls of [`Follow::next`], so whoever
//! reads slowly slows the node's stream down, and nothing piles up here.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use conclave_core::Position;
use conclave_wire::v1;
use tokio::time::{Instant, timeout};
use tonic::Streaming;

use crate::{
    CallError, Client,
    call::Attempts,
    nodes::Node,
    rpc::{Kind, following},
    verdict::{Failure, Next},
};

/// How long a node may send nothing, not even a sign of life, before another one is asked. A dead
/// connection is found sooner, by its keep-alive.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// A stream of messages that moves to another node by itself.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    /// Everything up to here was given, or is waiting.
    after: Position,
    stream: Option<Open>,
    waiting: VecDeque<v1::Message>,
}

#[derive(Debug)]
struct Open {
    node: Arc<Node>,
    since: Instant,
    stream: Streaming<v1::FollowMessagesResponse>,
}

impl Follow {
    pub(crate) fn new(client: Client, after: Position) -> Self {
        Self {
            client,
            after,
            stream: None,
            waiting: VecDeque::new(),
        }
    }

    /// Everything up to here has been received: follow on from here in another life, once what
    /// was received is given (see [`Follow::next`]).
    #[must_use]
    pub fn position(&self) -> Position {
        self.after
    }

    /// The next message; waits for it as long as it takes, on whichever node serves. May be
    /// dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// [`CallError::NotDone`] if no node serves for the total time: call again to go on trying.
    /// Any other error is final.
    pub async fn next(&mut self) -> Result<v1::Message, CallError> {
        let mut attempts = Attempts::new(self.client.shared.times.total);
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(message);
            }
            let failed = match &mut self.stream {
                Some(open) => match timeout(SILENCE_MAX, open.stream.message()).await {
                    Ok(Ok(Some(part))) => {
                        self.take(part);
                        // It serves: what failed before is forgotten.
                        attempts = Attempts::new(self.client.shared.times.total);
                        continue;
                    }
                    Ok(Ok(None)) => Failure::Lost("the node ended the stream".to_owned()),
                    Ok(Err(status)) => Failure::from_status(&status),
                    Err(_) => Failure::Silent,
                },
                None => match self.open(&mut attempts).await {
                    Ok(()) => continue,
                    Err(OpenError::Attempt(failure)) => failure,
                    Err(OpenError::TimeIsOver) => {
                        return Err(attempts.give_up(Kind::Read, None));
                    }
                },
            };
            self.leave(failed, &mut attempts).await?;
        }
    }

    fn take(&mut self, part: v1::FollowMessagesResponse) {
        for message in part.messages {
            // A node that repeats itself is not repeated.
            if message.position > self.after.0 {
                self.after = Position(message.position);
                self.waiting.push_back(message);
            }
        }
        self.after = self.after.max(Position(part.position));
    }

    async fn open(&mut self, attempts: &mut Attempts) -> Result<(), OpenError> {
        let shared = &self.client.shared;
        let node = shared.nodes.pick();
        let limit = attempts
            .begin(&node, shared.times.attempt)
            .ok_or(OpenError::TimeIsOver)?;
        let request = self.client.request(v1::FollowMessagesRequest {
            after_position: self.after.0,
        });
        let mut service = following(node.channel.clone());
        let stream = match timeout(limit, service.follow_messages(request)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => {
                // Whoever comes next must not meet the same node again.
                self.client.shared.nodes.failed(&node);
                return Err(OpenError::Attempt(Failure::from_status(&status)));
            }
            Err(_) => {
                self.client.shared.nodes.failed(&node);
                return Err(OpenError::Attempt(Failure::Silent));
            }
        };
        self.stream = Some(Open {
            node,
            since: Instant::now(),
            stream,
        });
        Ok(())
    }

    /// Leaves the node that failed; gives the error if another one would say the same.
    async fn leave(&mut self, failure: Failure, attempts: &mut Attempts) -> Result<(), CallError> {
        let nodes = &self.client.shared.nodes;
        let times = self.client.shared.times;
        if let Some(open) = self.stream.take() {
            nodes.failed(&open.node);
            // It served for a while: the trouble, and the time for it, begin only now.
            if open.since.elapsed() >= times.attempt {
                *attempts = Attempts::new(times.total);
            }
        }
        attempts.last = failure.to_string();
        match failure.next(Kind::Read, false) {
            Next::Refused { reason, sentence } => Err(CallError::Refused { reason, sentence }),
            Next::LogIn { sentence } => Err(CallError::SessionExpired {
                sentence,
                certain: true,
            }),
            Next::NewNumber { .. } | Next::Unknown => Err(attempts.give_up(Kind::Read, None)),
            Next::Elsewhere { wait, .. } => {
                attempts.pause(wait, nodes.len()).await;
                Ok(())
            }
        }
    }
}

enum OpenError {
    Attempt(Failure),
    TimeIsOver,
}
