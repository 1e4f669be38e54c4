//! Appends to one peer: several are under way at a time, on one stream.
//!
//! A request that only moves the commit index waits up to [`COMMIT_WAIT`] for entries, which then
//! carry it along. The engine counts acknowledgements by log index, so one for the entries is one
//! for the request before them.
//!
//! Always true: requests leave in the engine's order, and every acknowledgement is one of the
//! peer. A peer that answers nothing for the limit ends the pipeline. A stream that has failed, or
//! was left with an unanswered request, is not used again.

use std::{
    collections::VecDeque,
    future::pending,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt as _, Stream, StreamExt as _};
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    AppendRequest, AppendResponse, Appends, Codec, Peer, PeerError,
    convert::{LogId, TypeConfig, entry_out, log_id_in, log_id_out, vote_in, vote_out},
    transport::APPENDS_UNANSWERED_MAX,
};

/// Bytes of unanswered entries up to which a further request leaves: two reads of the log, so that
/// the network has work while the peer's disk writes.
const UNANSWERED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a commit index waits for entries that carry it. The runtime's timer has a resolution
/// of a millisecond, so that a follower learns of a commit within two.
const COMMIT_WAIT: Duration = Duration::from_millis(1);

type Request = AppendEntriesRequest<TypeConfig>;
type Answer = StreamAppendResult<TypeConfig>;

/// The way to one peer, with the stream that was opened last.
pub(crate) struct Line {
    pub(crate) peer: Arc<dyn Peer>,
    pub(crate) codec: Arc<dyn Codec>,
    /// Never locked: the engine wants to share what holds it, and a stream cannot be shared.
    open: Mutex<Option<Appends>>,
}

impl Line {
    pub(crate) fn new(peer: Arc<dyn Peer>, codec: Arc<dyn Codec>) -> Self {
        Self {
            peer,
            codec,
            open: Mutex::default(),
        }
    }
}

/// Requests of the engine on their way to one peer.
pub(crate) struct Pipeline<'l, S> {
    peer: &'l dyn Peer,
    codec: &'l dyn Codec,
    open: &'l mut Option<Appends>,
    /// The engine's requests; `None` after the last one.
    input: Option<S>,
    /// Time after which a peer that answers nothing has failed.
    limit: Duration,
    /// A request without entries that has not left yet.
    held: Option<Held>,
    unanswered: VecDeque<Flight>,
    unanswered_bytes: usize,
    /// When the peer answered last.
    answered: Instant,
    /// Fires when the oldest request is due, or before that.
    timer: Pin<Box<Sleep>>,
    /// What ends the pipeline, if it came behind an acknowledgement.
    last: Option<Result<Answer, PeerError>>,
    ended: bool,
}

/// A request that waits for entries.
struct Held {
    request: Request,
    wait: Pin<Box<Sleep>>,
}

/// An unanswered request.
struct Flight {
    previous: Option<LogId>,
    last: Option<LogId>,
    bytes: usize,
    sent: Instant,
}

impl<'l, S: Stream<Item = Request> + Unpin> Pipeline<'l, S> {
    pub(crate) fn new(line: &'l mut Line, input: S, limit: Duration) -> Self {
        Self {
            peer: &*line.peer,
            codec: &*line.codec,
            open: line.open.get_mut().unwrap_or_else(PoisonError::into_inner),
            input: Some(input),
            limit,
            held: None,
            unanswered: VecDeque::with_capacity(APPENDS_UNANSWERED_MAX),
            unanswered_bytes: 0,
            answered: Instant::now(),
            timer: Box::pin(sleep(limit)),
            last: None,
            ended: false,
        }
    }

    /// Returns the next acknowledgement, or what ends the pipeline: a refusal or a failure. `None`
    /// after that, or when the last request was answered.
    pub(crate) async fn next(&mut self) -> Option<Result<Answer, PeerError>> {
        if self.ended {
            return None;
        }
        let next = match self.last.take() {
            Some(last) => Some(last),
            None => self.answer().await.transpose(),
        };
        self.ended |= !matches!(next, Some(Ok(Ok(_))));
        if matches!(next, Some(Err(_))) {
            *self.open = None;
        }
        next
    }

    /// Sends and receives until there is an answer, or nothing more to wait for.
    async fn answer(&mut self) -> Result<Option<Answer>, PeerError> {
        loop {
            let waits = !self.unanswered.is_empty();
            if !waits && self.input.is_none() {
                return Ok(None);
            }
            let room = self.unanswered.len() < APPENDS_UNANSWERED_MAX
                && self.unanswered_bytes < UNANSWERED_BYTES_MAX;
            tokio::select! {
                biased;
                response = response_on(self.open) => match response {
                    _ if !waits => *self.open = None,
                    response => return self.take_responses(response).map(Some),
                },
                request = next_of(&mut self.input), if room => match request {
                    Some(request) => self.take_request(request).await?,
                    None => {
                        self.input = None;
                        self.send_held().await?;
                    }
                },
                () = waited(&mut self.held) => self.send_held().await?,
                () = &mut self.timer, if waits => self.check_limit()?,
            }
        }
    }

    /// Sends a request, or holds it back. It replaces one that is held back: it begins where that
    /// one ends, and its commit index is not smaller.
    async fn take_request(&mut self, request: Request) -> Result<(), PeerError> {
        let held = self.held.take();
        if !request.entries.is_empty() {
            return self.send(request).await;
        }
        let wait = held.map(|held| held.wait);
        let wait = wait.unwrap_or_else(|| Box::pin(sleep(COMMIT_WAIT)));
        self.held = Some(Held { request, wait });
        Ok(())
    }

    async fn send_held(&mut self) -> Result<(), PeerError> {
        match self.held.take() {
            Some(held) => self.send(held.request).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, request: Request) -> Result<(), PeerError> {
        let open = match &mut *self.open {
            Some(open) => open,
            None => self.open.insert(self.peer.appends(self.limit).await?),
        };
        let previous = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id);
        let request = request_out(request, self.codec);
        let flight = Flight {
            previous,
            last: last.or(previous),
            bytes: request.entries.iter().map(|entry| entry.bytes.len()).sum(),
            sent: Instant::now(),
        };
        // There is room for all that may be unanswered.
        open.requests.try_send(request).map_err(|_| has_ended())?;
        self.unanswered_bytes += flight.bytes;
        self.unanswered.push_back(flight);
        Ok(())
    }

    /// Takes a response and those that have come with it: the last acknowledgement stands for all,
    /// and the engine commits and applies once.
    fn take_responses(
        &mut self,
        response: Option<Result<AppendResponse, PeerError>>,
    ) -> Result<Answer, PeerError> {
        let mut answer = self.take_response(response)?;
        while answer.is_ok() && !self.ended && !self.unanswered.is_empty() {
            let Some(response) = response_on(self.open).now_or_never() else {
                break;
            };
            match self.take_response(response) {
                Ok(Ok(matching)) => answer = Ok(matching),
                last => {
                    self.last = Some(last);
                    break;
                }
            }
        }
        Ok(answer)
    }

    /// Returns what a response says of the oldest unanswered request.
    fn take_response(
        &mut self,
        response: Option<Result<AppendResponse, PeerError>>,
    ) -> Result<Answer, PeerError> {
        let response = response.ok_or_else(has_ended)??;
        let flight = self.unanswered.pop_front().ok_or_else(senseless)?;
        self.unanswered_bytes -= flight.bytes;
        self.answered = Instant::now();
        match response {
            AppendResponse::Success => Ok(Ok(flight.last)),
            AppendResponse::Partial(upto) => {
                let upto = upto.map(log_id_in);
                if upto < flight.previous || upto > flight.last {
                    return Err(senseless());
                }
                // What is under way follows entries that the peer does not have.
                self.ended |= upto != flight.last;
                Ok(Ok(upto))
            }
            AppendResponse::Conflict => {
                let previous = flight.previous.ok_or_else(senseless)?;
                Ok(Err(StreamAppendError::Conflict(previous)))
            }
            AppendResponse::HigherVote(vote) => {
                Ok(Err(StreamAppendError::HigherVote(vote_in(vote))))
            }
        }
    }

    /// Fails if the peer has answered nothing for the limit while a request was waiting for it.
    fn check_limit(&mut self) -> Result<(), PeerError> {
        let Some(oldest) = self.unanswered.front() else {
            return Ok(());
        };
        let due = oldest.sent.max(self.answered) + self.limit;
        if Instant::now() >= due {
            return Err(PeerError::Timeout(self.limit));
        }
        self.timer.as_mut().reset(due);
        Ok(())
    }
}

impl<S> Drop for Pipeline<'_, S> {
    fn drop(&mut self) {
        if !self.unanswered.is_empty() {
            *self.open = None;
        }
    }
}

/// Returns the next response on the open stream; waits for ever if none is open.
async fn response_on(open: &mut Option<Appends>) -> Option<Result<AppendResponse, PeerError>> {
    match open {
        Some(open) => open.responses.next().await,
        None => pending().await,
    }
}

async fn next_of<S: Stream + Unpin>(input: &mut Option<S>) -> Option<S::Item> {
    match input {
        Some(input) => input.next().await,
        None => pending().await,
    }
}

async fn waited(held: &mut Option<Held>) {
    match held {
        Some(held) => held.wait.as_mut().await,
        None => pending().await,
    }
}

fn request_out(request: Request, codec: &dyn Codec) -> AppendRequest {
    let entries = request.entries.into_iter();
    AppendRequest {
        vote: vote_out(&request.vote),
        previous: request.prev_log_id.as_ref().map(log_id_out),
        entries: entries.map(|entry| entry_out(entry, codec)).collect(),
        committed: request.leader_commit.as_ref().map(log_id_out),
    }
}

fn has_ended() -> PeerError {
    PeerError::Failed("the stream has ended".to_owned())
}

fn senseless() -> PeerError {
    PeerError::Failed("the peer's answer makes no sense".to_owned())
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
