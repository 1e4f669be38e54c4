//! Messages that wait for their results, and the stream that they are on.
//!
//! The owner pushes numbered messages and takes one step after the other; the stream, its loss and
//! the way to another node happen inside.
//!
//! Always true: results come in the order of the messages. After the loss of a stream all messages
//! without a result are sent again, in their order and under their numbers. A message counts as
//! certainly not executed only if it was never sent, or if the node says so of the first without a
//! result and that holds for those behind it.

use std::{collections::VecDeque, time::Duration};

use conclave_wire::{
    Reason,
    v1::{self, send_message_result::Outcome},
};
use futures::{FutureExt as _, future::BoxFuture};
use tokio::time::{Instant, sleep, timeout_at};

use super::link::{Event, Link};
use crate::{
    CallError, Client, RequestKey,
    attempts::back_off,
    nodes::Node,
    numbers::TakenNumber,
    random,
    retry_decision::{Failure, RetryDecision},
    rpc::Kind,
    trust::Distrust,
};

/// Maximum number of messages of one request.
const REQUEST_MESSAGES_MAX: usize = 256;
/// Bytes of texts after which a request is full: a node takes at most 128 KiB.
const REQUEST_TEXTS_MAX: usize = 64 * 1024;
/// Bytes of a message besides its text.
const MESSAGE_BYTES: usize = 128;
/// Maximum extra wait of a client that a node has told to wait, in milliseconds.
const SPREAD_MS: u64 = 50;
/// Wait for a time that never comes.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

struct Pending<T> {
    request: v1::SendMessageRequest,
    taken: TakenNumber,
    /// Whether it may have been executed.
    maybe_done: bool,
    tag: T,
}

impl<T> Pending<T> {
    fn number(&self) -> u64 {
        self.taken.key.number
    }
}

/// Next step of an owner.
pub(crate) enum Step<T> {
    /// The first message has its result.
    Done(T, Result<v1::SendMessageResponse, CallError>),
    /// The number of the first message certainly was not and will not be used for it: the owner
    /// gives it this one, or gives up.
    NewNumber(TakenNumber),
}

enum State {
    Idle,
    Pausing(BoxFuture<'static, ()>),
    Opening(
        std::sync::Arc<Node>,
        BoxFuture<'static, Result<Link, Failure>>,
    ),
    Open(Box<Link>),
}

/// What has failed since the last result.
struct Trouble {
    since: Instant,
    attempts: u32,
    pauses: u32,
    nodes: Vec<String>,
    sentence: String,
    distrust: Option<Distrust>,
}

impl Trouble {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            attempts: 0,
            pauses: 0,
            nodes: Vec::new(),
            sentence: "there was no time to try".to_owned(),
            distrust: None,
        }
    }
}

/// See the head of this file. `T` is what the owner keeps with each message.
pub(crate) struct Pipeline<T> {
    client: Client,
    /// Maximum time without a response; `None`: none.
    total: Option<Duration>,
    pending: VecDeque<Pending<T>>,
    /// Number of the pending messages that the present stream has.
    sent: usize,
    state: State,
    ready: VecDeque<Step<T>>,
    trouble: Trouble,
}

impl<T> Pipeline<T> {
    pub(crate) fn new(client: Client, total: Option<Duration>) -> Self {
        Self {
            client,
            total,
            pending: VecDeque::new(),
            sent: 0,
            state: State::Idle,
            ready: VecDeque::new(),
            trouble: Trouble::new(),
        }
    }

    /// Returns the number of messages without a result.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Returns whether every message has its result, and the owner knows it.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.ready.is_empty()
    }

    /// Adds a message behind all others.
    pub(crate) fn push(
        &mut self,
        mut request: v1::SendMessageRequest,
        taken: TakenNumber,
        maybe_done: bool,
        tag: T,
    ) {
        if self.pending.is_empty() {
            self.trouble.since = Instant::now();
        }
        request.request = Some(id_of(taken.key));
        self.pending.push_back(Pending {
            request,
            taken,
            maybe_done,
            tag,
        });
    }

    /// Returns what the owner keeps with the first message.
    pub(crate) fn first(&self) -> Option<&T> {
        self.pending.front().map(|first| &first.tag)
    }

    /// Removes the first message, whose number was refused.
    pub(crate) fn remove_first(&mut self) -> Option<T> {
        self.pending.pop_front().map(|first| first.tag)
    }

    /// Gives the first message another number.
    pub(crate) fn renumber(&mut self, taken: TakenNumber) {
        if let Some(first) = self.pending.front_mut() {
            first.request.request = Some(id_of(taken.key));
            first.taken = taken;
            first.maybe_done = false;
        }
    }

    /// Returns the next step if it takes no wait.
    pub(crate) fn ready(&mut self) -> Option<Step<T>> {
        self.ready.pop_front()
    }

    /// Waits for the next step; for ever while there is no message. Giving up the wait loses
    /// nothing.
    pub(crate) async fn step(&mut self) -> Step<T> {
        loop {
            if let Some(step) = self.ready() {
                return step;
            }
            let give_up_at = self.give_up_at();
            let may_write = self.sent < self.pending.len();
            let waits = self.sent > 0;
            match &mut self.state {
                State::Idle if self.pending.is_empty() => std::future::pending().await,
                State::Idle => self.open(),
                State::Pausing(pause) => match timeout_at(give_up_at, pause).await {
                    Ok(()) => self.state = State::Idle,
                    Err(_) => self.give_up(),
                },
                State::Opening(node, opening) => match timeout_at(give_up_at, opening).await {
                    Ok(Ok(link)) => self.state = State::Open(Box::new(link)),
                    Ok(Err(failure)) => {
                        let node = node.clone();
                        self.lose(&node, failure);
                    }
                    Err(_) => self.give_up(),
                },
                State::Open(link) => {
                    let event = link.event(&self.client, may_write, waits);
                    match timeout_at(give_up_at, event).await {
                        Ok(event) => self.hear(event),
                        Err(_) => self.give_up(),
                    }
                }
            }
        }
    }

    fn give_up_at(&self) -> Instant {
        match self.total {
            Some(total) if !self.pending.is_empty() => self.trouble.since + total,
            Some(_) | None => Instant::now() + FOR_EVER,
        }
    }

    fn open(&mut self) {
        let node = self.client.shared.nodes.pick();
        self.trouble.attempts += 1;
        if !self.trouble.nodes.contains(&node.address) {
            self.trouble.nodes.push(node.address.clone());
        }
        let opening = Link::open(self.client.clone(), node.clone()).boxed();
        self.state = State::Opening(node, opening);
    }

    fn hear(&mut self, event: Event) {
        let State::Open(link) = &self.state else {
            return;
        };
        let node = link.node.clone();
        match event {
            Event::Room => self.write(),
            Event::Response(response) => {
                self.client.shared.nodes.served(&node);
                self.trouble = Trouble::new();
                if !response.results.into_iter().all(|result| self.take(result)) {
                    let sentence = "the node answered another request".to_owned();
                    self.lose(&node, Failure::Lost(sentence));
                }
            }
            Event::Ended(None) if self.sent == 0 => self.state = State::Idle,
            Event::Ended(None) => {
                let sentence = "the node ended the stream".to_owned();
                self.lose(&node, Failure::Lost(sentence));
            }
            Event::Ended(Some(status)) => self.lose(&node, Failure::from_status(&status)),
            Event::Silent => self.lose(&node, Failure::Silent),
        }
    }

    /// Sends messages that the stream does not have yet, as many as one request takes.
    fn write(&mut self) {
        let mut bytes = 0;
        let mut request = v1::SendMessagesRequest::default();
        for pending in self.pending.iter().skip(self.sent) {
            bytes += MESSAGE_BYTES + pending.request.text.len();
            let is_full = bytes > REQUEST_TEXTS_MAX && !request.messages.is_empty();
            if is_full || request.messages.len() == REQUEST_MESSAGES_MAX {
                break;
            }
            request.messages.push(pending.request.clone());
        }
        let count = request.messages.len();
        if let State::Open(link) = &self.state
            && link.write(request)
        {
            self.sent += count;
        }
    }

    /// Takes the result of the first message; returns `false` if it is that of another one.
    fn take(&mut self, result: v1::SendMessageResult) -> bool {
        let Some(outcome) = result.outcome else {
            return false;
        };
        let first = self.pending.front();
        if self.sent == 0 || first.is_none_or(|first| first.number() != result.number) {
            return false;
        }
        self.sent -= 1;
        self.finish(match outcome {
            Outcome::Sent(sent) => Ok(sent),
            Outcome::Refused(refusal) => Err(CallError::Refused {
                reason: Reason::named(&refusal.reason),
                sentence: refusal.sentence,
            }),
        });
        true
    }

    /// Ends the first message.
    fn finish(&mut self, result: Result<v1::SendMessageResponse, CallError>) {
        if let Some(first) = self.pending.pop_front() {
            self.ready.push_back(Step::Done(first.tag, result));
        }
    }

    /// Decides how to go on after the loss of a stream, or of the attempt to open one.
    fn lose(&mut self, node: &Node, failure: Failure) {
        tracing::debug!(node = %node.address, error = %failure, "a stream of messages was lost");
        self.state = State::Idle;
        let sent = std::mem::take(&mut self.sent);
        // What the node says concerns the first: those behind it may be in the same entry.
        let number_first = self.pending.front().map_or(0, Pending::number);
        for pending in self.pending.iter_mut().take(sent).skip(1) {
            pending.maybe_done |= !failure.covers(number_first, pending.number());
        }
        self.trouble.sentence = failure.to_string();
        self.trouble.distrust = failure.distrust();
        let Some(first) = self.pending.front() else {
            return;
        };
        let (key, maybe_done) = (first.taken.key, first.maybe_done);
        if let Some((reason, last)) = failure.number_refused() {
            return self.refuse_number(reason, last);
        }
        match failure.next(Kind::Numbered, maybe_done) {
            RetryDecision::Refused { reason, sentence } => {
                self.finish(Err(CallError::Refused { reason, sentence }));
            }
            RetryDecision::LogIn { sentence } => self.end_session(&sentence),
            RetryDecision::Unknown | RetryDecision::NewNumber { .. } => {
                let error = self.unknown(key);
                self.finish(Err(error));
            }
            RetryDecision::Wait(wait) => {
                self.trouble.pauses = 0;
                let spread = Duration::from_millis(random::number() % (SPREAD_MS + 1));
                self.state = State::Pausing(sleep(wait + spread).boxed());
            }
            RetryDecision::Elsewhere { maybe_done, wait } => {
                if let Some(first) = self.pending.front_mut() {
                    first.maybe_done |= maybe_done && sent > 0;
                }
                self.leave(node, wait);
            }
            // The node has held the messages for as long as it may, or has no place for a stream.
            RetryDecision::BackOff => self.leave(node, true),
        }
    }

    /// Goes on at another node, after a pause if asked to or if all nodes have failed.
    fn leave(&mut self, node: &Node, wait: bool) {
        let nodes = &self.client.shared.nodes;
        nodes.failed(node);
        if wait || self.trouble.attempts as usize > nodes.len() {
            let pause = back_off(self.trouble.pauses);
            self.trouble.pauses += 1;
            self.state = State::Pausing(sleep(pause).boxed());
        }
    }

    /// Follows from the refusal of the first message's number.
    fn refuse_number(&mut self, reason: Reason, last: u64) {
        let Some(first) = self.pending.front() else {
            return;
        };
        if first.maybe_done && reason != Reason::RequestReused {
            self.trouble.sentence = "the cluster does not remember whether it was sent".to_owned();
            let error = self.unknown(first.taken.key);
            return self.finish(Err(error));
        }
        // The message was not executed under this number, and never will be.
        match reason {
            Reason::RequestOutOfRange => first.taken.restart(last),
            _ => self.client.session.numbers.learn(last),
        }
        // Numbers that are a window behind the new one are lost, whatever number it is.
        let taken = self.client.session.numbers.take_beyond();
        self.ready.push_back(Step::NewNumber(taken));
    }

    /// Ends all messages: their session has ended.
    pub(crate) fn end_session(&mut self, sentence: &str) {
        self.doubt_sent();
        while let Some(first) = self.pending.front() {
            let certain = !first.maybe_done;
            let sentence = sentence.to_owned();
            self.finish(Err(CallError::SessionExpired { sentence, certain }));
        }
    }

    /// Leaves the stream without the results of what it has.
    fn doubt_sent(&mut self) {
        let sent = std::mem::take(&mut self.sent);
        self.state = State::Idle;
        for pending in self.pending.iter_mut().take(sent) {
            pending.maybe_done = true;
        }
    }

    /// Ends all messages: their time is over.
    pub(crate) fn give_up(&mut self) {
        self.doubt_sent();
        while let Some(first) = self.pending.front() {
            let error = match first.maybe_done {
                true => self.unknown(first.taken.key),
                false => CallError::NotDone {
                    sentence: self.trouble.sentence.clone(),
                    distrust: self.trouble.distrust,
                    attempts: self.trouble.attempts,
                    waited: self.trouble.since.elapsed(),
                    nodes: self.trouble.nodes.clone(),
                },
            };
            self.finish(Err(error));
        }
    }

    fn unknown(&self, key: RequestKey) -> CallError {
        CallError::Unknown {
            sentence: self.trouble.sentence.clone(),
            attempts: self.trouble.attempts,
            waited: self.trouble.since.elapsed(),
            nodes: self.trouble.nodes.clone(),
            request: Some(key),
        }
    }
}

fn id_of(key: RequestKey) -> v1::RequestId {
    let RequestKey { number, nonce } = key;
    v1::RequestId { number, nonce }
}
