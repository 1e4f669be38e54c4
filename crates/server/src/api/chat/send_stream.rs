//! Serves one stream in which a client sends messages (`SendMessages`).
//!
//! One task serves a stream. It translates messages as the call for one message does, proposes
//! together what waits, and sends together the results that are ready. A message over the account's
//! rate, or that finds the node busy, is not refused: the stream holds it, and so the client.
//!
//! Always true: messages are decided in the order of the stream, and results have that order. No
//! message is proposed before those in front of it have their outcomes, unless with them in one
//! entry. After a failure that may pass no further message is proposed, and the stream ends.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use conclave_core::TokenHash;
use conclave_storage::state as rows;
use conclave_wire::{
    Problem, Reason,
    request::SessionRequest as _,
    v1::{self, send_message_result::Outcome as Shown},
};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::flight::{Flight, Landed, Message, Places};
use crate::{
    auth::{
        credential::Credential,
        sessions::{KnownSession, session_ended},
    },
    context::{
        access::open_session, draining::Stage, node_context::NodeContext, send_places::SendPlace,
    },
};

/// Maximum number of messages of one request, and of messages without a result after which no
/// further request is read: as many as a session remembers.
const MESSAGES_MAX: usize = 256;
/// Bytes of waiting messages after which no further request is read.
const WAITING_BYTES_MAX: usize = 128 * 1024;
/// Bytes of a message besides its text, in memory.
const MESSAGE_BYTES: usize = 256;
/// Maximum time for which a stream holds messages that the account's rate or a busy node does not
/// let pass, without one that passes.
const HOLD_MAX: Duration = Duration::from_secs(10);
/// Pause before a busy node is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// Time without a result after which the client gets a sign of life.
const SIGN_AFTER: Duration = Duration::from_secs(1);
/// Time after which a stream without a message ends: its client opens another when it needs one.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How often a stream without a message checks its session.
const SESSION_LOOK_EVERY: Duration = Duration::from_secs(15);
/// Time for which a client may leave results unread.
const UNREAD_MAX: Duration = Duration::from_secs(10);

/// Responses of a stream.
pub(crate) type Responses = ReceiverStream<Result<v1::SendMessagesResponse, Status>>;

/// Since when a stream holds its messages, and until when.
struct Hold {
    since: Instant,
    until: Instant,
}

/// What happened to a stream.
enum Heard {
    Request(Option<Result<v1::SendMessagesRequest, Status>>),
    Landed(Landed),
    /// Results were sent.
    Sent,
    /// The node sends its clients elsewhere.
    Leaving,
    /// The client has left.
    Gone,
    Time,
}

/// State of a stream.
pub(crate) struct SendStream {
    shared: Arc<NodeContext>,
    credential: Credential,
    session: KnownSession,
    requests: Streaming<v1::SendMessagesRequest>,
    /// Whether the client has sent all its requests.
    is_whole: bool,
    waiting: VecDeque<Message>,
    waiting_bytes: usize,
    /// Memory of the waiting messages.
    memory: Option<OwnedSemaphorePermit>,
    flight: Option<BoxFuture<'static, Landed>>,
    in_flight: usize,
    results: Vec<v1::SendMessageResult>,
    hold: Option<Hold>,
    /// Status with which the stream ends, once all results before it are sent.
    end: Option<Status>,
    leaving: watch::Receiver<Stage>,
    sent_at: Instant,
    heard_at: Instant,
    looked_at: Instant,
}

impl SendStream {
    pub(crate) fn new(
        shared: Arc<NodeContext>,
        credential: Credential,
        session: KnownSession,
        requests: Streaming<v1::SendMessagesRequest>,
    ) -> Self {
        let now = Instant::now();
        Self {
            leaving: shared.draining.subscribe(),
            shared,
            credential,
            session,
            requests,
            is_whole: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            memory: None,
            flight: None,
            in_flight: 0,
            results: Vec::new(),
            hold: None,
            end: None,
            sent_at: now,
            heard_at: now,
            looked_at: now,
        }
    }

    /// Serves the stream in a task of its own, which ends with the stream.
    pub(crate) fn start(self, token: TokenHash, place: SendPlace) -> Responses {
        // One response waits for the connection while the next one gathers.
        let (responses, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            let end = Box::pin(self.serve(&responses, token)).await;
            if let Some(status) = end {
                tracing::debug!(error = %status, "a stream of messages has ended");
                let _ = timeout(UNREAD_MAX, responses.send(Err(status))).await;
            }
            drop(place);
        });
        ReceiverStream::new(stream)
    }

    /// Serves until the stream ends; returns the status of an end that is none of the client's.
    async fn serve(
        mut self,
        responses: &mpsc::Sender<Result<v1::SendMessagesResponse, Status>>,
        token: TokenHash,
    ) -> Option<Status> {
        loop {
            self.depart();
            let is_done = self.flight.is_none() && self.results.is_empty();
            if is_done && self.end.is_some() {
                return self.end;
            }
            if is_done && self.is_whole && self.waiting.is_empty() {
                return None;
            }
            match self.hear(responses).await {
                Heard::Request(Some(Ok(request))) => self.take(request),
                // A broken stream, or one that is no stream of messages.
                Heard::Request(Some(Err(status))) => self.end(status),
                Heard::Request(None) => self.is_whole = true,
                Heard::Landed(landed) => self.land(landed),
                Heard::Sent => self.sent_at = Instant::now(),
                Heard::Leaving => self.end(Problem::GoingAway.into()),
                Heard::Gone => return None,
                Heard::Time => {
                    if !self.results.is_empty() && self.sent_at.elapsed() >= UNREAD_MAX {
                        return Some(Problem::Busy.into());
                    }
                    if self.is_idle() {
                        if self.heard_at.elapsed() >= IDLE_MAX {
                            return None;
                        }
                        self.look(token).await;
                    } else if self.sent_at.elapsed() >= SIGN_AFTER {
                        let sign = v1::SendMessagesResponse::default();
                        let _ = responses.try_send(Ok(sign));
                        self.sent_at = Instant::now();
                    }
                }
            }
        }
    }

    /// Waits for the next thing that happens.
    async fn hear(
        &mut self,
        responses: &mpsc::Sender<Result<v1::SendMessagesResponse, Status>>,
    ) -> Heard {
        let without_result = self.waiting.len() + self.in_flight + self.results.len();
        let may_read = !self.is_whole
            && self.end.is_none()
            && without_result < MESSAGES_MAX
            && self.waiting_bytes < WAITING_BYTES_MAX;
        let wake_at = self.wake_at();
        let may_stop = self.end.is_none();
        let Self {
            requests,
            flight,
            results,
            leaving,
            in_flight,
            ..
        } = self;
        let landed = async {
            match flight {
                Some(landing) => landing.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            landed = landed => {
                (*flight, *in_flight) = (None, 0);
                Heard::Landed(landed)
            }
            place = responses.reserve(), if !results.is_empty() => match place {
                Ok(place) => {
                    let results = std::mem::take(results);
                    place.send(Ok(v1::SendMessagesResponse { results }));
                    Heard::Sent
                }
                Err(_) => Heard::Gone,
            },
            request = requests.next(), if may_read => Heard::Request(request),
            () = responses.closed() => Heard::Gone,
            _ = leaving.wait_for(|stage| *stage == Stage::Away), if may_stop => Heard::Leaving,
            () = sleep_until(wake_at) => Heard::Time,
        }
    }

    /// Returns when the stream has to look at its clock.
    fn wake_at(&self) -> Instant {
        if self.is_idle() {
            return (self.heard_at + IDLE_MAX).min(self.looked_at + SESSION_LOOK_EVERY);
        }
        let sign_at = match self.results.is_empty() {
            true => self.sent_at + SIGN_AFTER,
            false => self.sent_at + UNREAD_MAX,
        };
        let may_depart = self.flight.is_none() && self.end.is_none();
        let hold = self.hold.as_ref().filter(|_| may_depart);
        hold.map_or(sign_at, |hold| hold.until.min(sign_at))
    }

    /// Returns whether no message of the stream is without its result.
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flight.is_none() && self.results.is_empty()
    }

    /// Ends the stream after the results that it has; the first reason counts.
    fn end(&mut self, status: Status) {
        self.end.get_or_insert(status);
    }

    /// Ends a stream without a message if its session has ended.
    async fn look(&mut self, token: TokenHash) {
        self.looked_at = Instant::now();
        let now = self.shared.log_time();
        let open = self
            .shared
            .read(move |reader: &rows::Reader| open_session(reader, &token, now))
            .await;
        if let Ok(None) = open {
            self.end(session_ended().into());
        }
    }

    /// Takes the messages of a request.
    fn take(&mut self, request: v1::SendMessagesRequest) {
        if self.is_idle() {
            self.sent_at = Instant::now();
        }
        self.heard_at = Instant::now();
        if request.messages.len() > MESSAGES_MAX {
            let sentence = format!("a request has at most {MESSAGES_MAX} messages");
            return self.end(Problem::refused(Reason::ListTooLong, sentence).into());
        }
        let bytes = request.messages.iter().map(bytes_of).sum();
        match self.shared.sends.reserve(bytes) {
            Ok(memory) => self.remember(memory),
            Err(problem) => return self.end(problem.into()),
        }
        self.waiting_bytes += bytes;
        for message in request.messages {
            self.waiting.push_back(Message {
                number: message.request.as_ref().map_or(0, |id| id.number),
                bytes: bytes_of(&message),
                command: message.into_command(self.session.id),
            });
        }
    }

    fn remember(&mut self, memory: OwnedSemaphorePermit) {
        match &mut self.memory {
            Some(own) => own.merge(memory),
            None => self.memory = Some(memory),
        }
    }

    /// Proposes what waits, if nothing is under way.
    fn depart(&mut self) {
        let is_held = self
            .hold
            .as_ref()
            .is_some_and(|hold| hold.until > Instant::now());
        if self.flight.is_some() || self.end.is_some() || is_held {
            return;
        }
        let Some(first) = self.waiting.front() else {
            return;
        };
        let has_room = first.command.as_ref();
        let has_room = has_room.map_or(Ok(()), |command| self.shared.has_room_for(command));
        if let Err(problem) = has_room {
            return self.end(problem.into());
        }
        let places = match Places::take(&self.shared, &self.session, self.waiting.len()) {
            Ok(places) => places,
            Err(problem) => return self.hold(problem),
        };
        let (shared, session) = (&self.shared, &self.session);
        let (messages, limited) = places.board(&mut self.waiting, shared, session);
        match limited {
            Some(problem) if messages.is_empty() => self.hold(problem),
            _ => self.fly(messages, places),
        }
    }

    /// Proposes messages together.
    fn fly(&mut self, messages: Vec<Message>, places: Places) {
        let bytes: usize = messages.iter().map(|message| message.bytes).sum();
        self.waiting_bytes -= bytes;
        let memory = self.memory.as_mut().and_then(|memory| memory.split(bytes));
        self.in_flight = messages.len();
        let (shared, credential) = (self.shared.clone(), self.credential.clone());
        let flight = Flight::of(messages, memory, places);
        self.flight = Some(flight.fly(shared, credential).boxed());
    }

    /// Turns outcomes into results, up to the first that is no result.
    fn land(&mut self, landed: Landed) {
        let outcomes = match landed.outcomes {
            Ok(outcomes) => outcomes,
            Err(problem) => {
                self.wait_again(landed.messages, landed.memory);
                return self.hold(problem);
            }
        };
        let mut outcomes = outcomes.into_iter();
        let mut messages = landed.messages.into_iter();
        while let Some(message) = messages.next() {
            match message.result(&self.session, &mut outcomes) {
                Ok(shown) => self.show(&message, shown),
                Err(problem) => {
                    let rest = std::iter::once(message).chain(messages);
                    self.wait_again(rest.collect(), landed.memory);
                    return self.hold(problem);
                }
            }
        }
    }

    fn show(&mut self, message: &Message, shown: Shown) {
        if self.results.is_empty() {
            self.sent_at = Instant::now();
        }
        self.hold = None;
        self.heard_at = Instant::now();
        self.results.push(v1::SendMessageResult {
            number: message.number,
            outcome: Some(shown),
        });
    }

    /// Puts messages back in front of those that wait.
    fn wait_again(&mut self, messages: Vec<Message>, memory: Option<OwnedSemaphorePermit>) {
        let mut bytes = 0;
        for message in messages.into_iter().rev() {
            bytes += message.bytes;
            self.waiting.push_front(message);
        }
        self.waiting_bytes += bytes;
        // The rest is that of messages that have their results.
        if let Some(memory) = memory.and_then(|mut memory| memory.split(bytes)) {
            self.remember(memory);
        }
    }

    /// Holds what waits because of a problem that passes, if it may wait that long; otherwise the
    /// problem ends the stream.
    fn hold(&mut self, problem: Problem) {
        let wait = match &problem {
            Problem::Busy => BUSY_PAUSE,
            Problem::RateLimited { wait_ms, .. } => Duration::from_millis(*wait_ms),
            _ => return self.end(problem.into()),
        };
        let now = Instant::now();
        let since = self.hold.as_ref().map_or(now, |hold| hold.since);
        let until = now + wait;
        match until.duration_since(since) > HOLD_MAX {
            true => self.end(problem.into()),
            false => self.hold = Some(Hold { since, until }),
        }
    }
}

/// Returns the bytes of a message in memory.
fn bytes_of(message: &v1::SendMessageRequest) -> usize {
    MESSAGE_BYTES + message.text.len()
}
