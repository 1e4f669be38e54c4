//! Bodies of requests and responses, counted while they wait in memory.
//!
//! Always true: the body of a request is read up to the size and the time that its caller is
//! allowed; every byte of a response counts from the moment it is made until the system has it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::HttpBody;
use bytes::{Buf, Bytes};
use conclave_wire::{Problem, Reason};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use super::{meter::Connection, slots::ConnectionSlots};

/// Limits of the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyLimits {
    /// Maximum size in bytes: of the body or, in a stream, of each of its messages.
    pub(crate) bytes: usize,
    /// Maximum time for the body or the message; `None` for a member of the cluster, which has no
    /// limit.
    pub(crate) within: Option<Duration>,
    /// Whether the body is a stream of messages without an end.
    pub(crate) is_stream: bool,
}

/// Counters to which bytes are added.
#[derive(Clone)]
pub(crate) struct ByteCounters {
    pub(crate) connection: Arc<Connection>,
    pub(crate) places: Arc<ConnectionSlots>,
    /// Maximum number of bytes that may wait for one connection.
    pub(crate) of_one: u64,
}

impl ByteCounters {
    /// Returns whether the connection holds more than it may.
    pub(crate) fn are_full(&self) -> bool {
        self.connection.held() > i64::try_from(self.of_one).unwrap_or(i64::MAX)
    }

    fn hold(&self, bytes: usize, answer: bool) {
        self.connection.hold(bytes, answer);
        self.places.relieve();
    }
}

/// The body of a request.
pub(crate) struct RequestBody<B = Incoming> {
    inner: B,
    allowance: BodyLimits,
    until: Option<Instant>,
    slept: Option<Pin<Box<Sleep>>>,
    got: usize,
    held: usize,
    books: ByteCounters,
    message: UnfinishedMessage,
}

/// Bytes of a gRPC message before its content: whether it is packed, and its length.
const MESSAGE_HEAD: usize = 5;

/// The message of a stream that has not arrived completely: all before it are with the service.
#[derive(Default)]
struct UnfinishedMessage {
    head: [u8; MESSAGE_HEAD],
    /// Number of bytes that have arrived, with the head.
    got: usize,
    /// Length of the content, once the head is known.
    length: usize,
}

/// What received bytes of a stream are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    /// Length of the longest message that begins in them.
    longest: usize,
    /// Whether a message ends in them.
    ends: bool,
}

impl UnfinishedMessage {
    /// Takes received bytes.
    fn take(&mut self, mut bytes: &[u8]) -> Taken {
        let mut taken = Taken::default();
        while let Some(missing) = bytes.len().checked_sub(1).map(|_| self.missing()) {
            let (part, rest) = bytes.split_at(missing.min(bytes.len()));
            bytes = rest;
            if let Some(head) = self.head.get_mut(self.got..self.got + part.len()) {
                head.copy_from_slice(part);
            }
            self.got += part.len();
            if self.got == MESSAGE_HEAD {
                let [_, length @ ..] = self.head;
                self.length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                taken.longest = taken.longest.max(self.length);
            }
            if self.got >= MESSAGE_HEAD && self.missing() == 0 {
                *self = Self::default();
                taken.ends = true;
            }
        }
        taken
    }

    /// Returns the number of bytes until the end of the head, or of the message.
    fn missing(&self) -> usize {
        match self.got {
            got if got < MESSAGE_HEAD => MESSAGE_HEAD - got,
            got => self.length.saturating_add(MESSAGE_HEAD) - got,
        }
    }
}

impl<B: HttpBody<Data = Bytes>> RequestBody<B> {
    pub(crate) fn new(inner: B, allowance: BodyLimits, books: ByteCounters) -> Self {
        Self {
            inner,
            allowance,
            until: allowance
                .within
                .filter(|_| !allowance.is_stream)
                .map(|within| Instant::now() + within),
            slept: None,
            got: 0,
            held: 0,
            books,
            message: UnfinishedMessage::default(),
        }
    }

    /// Counts received bytes of a stream; refuses a message that is too long.
    fn count_in_stream(&mut self, bytes: &[u8]) -> Result<(), Status> {
        let taken = self.message.take(bytes);
        if taken.longest > self.allowance.bytes {
            return Err(too_long());
        }
        let held = std::mem::replace(&mut self.held, self.message.got);
        // The last of these bytes may begin another message, which has a time of its own.
        if taken.ends || held == 0 {
            let begins = self.allowance.within.filter(|_| self.held > 0);
            self.until = begins.map(|within| Instant::now() + within);
            self.slept = None;
        }
        self.books.hold(self.held, false);
        self.books.connection.release(held, false);
        match self.books.are_full() {
            true => Err(Problem::Busy.to_status()),
            false => Ok(()),
        }
    }

    /// Counts received bytes; refuses a body that is too large.
    fn count(&mut self, bytes: &[u8]) -> Result<(), Status> {
        if self.allowance.is_stream {
            return self.count_in_stream(bytes);
        }
        let bytes = bytes.len();
        self.got += bytes;
        if self.got > self.allowance.bytes {
            return Err(too_long());
        }
        // A member of the cluster is trusted, and its streams have no end.
        if self.allowance.within.is_some() && !self.inner.is_end_stream() {
            self.held += bytes;
            self.books.hold(bytes, false);
            if self.books.are_full() {
                // This connection has too many unfinished requests.
                return Err(Problem::Busy.to_status());
            }
        }
        Ok(())
    }
}

fn too_long() -> Status {
    let sentence = "the request is longer than its caller may send";
    Problem::refused(Reason::RequestTooLong, sentence).to_status()
}

impl<B> RequestBody<B> {
    fn release(&mut self) {
        self.books.connection.release(self.held, false);
        self.held = 0;
    }
}

impl<B> HttpBody for RequestBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let me = &mut *self;
        match Pin::new(&mut me.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let counted = frame.data_ref().map_or(Ok(()), |data| me.count(data));
                if me.inner.is_end_stream() {
                    me.release();
                }
                Poll::Ready(Some(counted.map(|()| frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                me.release();
                Poll::Ready(Some(Err(Status::from_error(error.into()))))
            }
            Poll::Ready(None) => {
                me.release();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let Some(until) = me.until else {
                    return Poll::Pending;
                };
                let slept = me.slept.get_or_insert_with(|| Box::pin(sleep_until(until)));
                ready!(slept.as_mut().poll(context));
                let sentence = "the request did not arrive in time";
                Poll::Ready(Some(Err(Status::deadline_exceeded(sentence))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for RequestBody<B> {
    fn drop(&mut self) {
        self.release();
    }
}

/// Progress of the response of one stream.
#[derive(Default)]
pub(crate) struct Progress(Mutex<Moved>);

#[derive(Default)]
struct Moved {
    unsent: usize,
    at: Option<Instant>,
}

impl Progress {
    /// Returns for how long none of the waiting bytes have moved; `None` if none wait.
    pub(crate) fn stalled(&self) -> Option<Duration> {
        let moved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(moved.at.filter(|_| moved.unsent > 0)?.elapsed())
    }

    fn add(&self, bytes: usize) {
        let mut moved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if moved.unsent == 0 {
            moved.at = Some(Instant::now());
        }
        moved.unsent += bytes;
    }

    fn sub(&self, bytes: usize) {
        let mut moved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        moved.unsent = moved.unsent.saturating_sub(bytes);
        moved.at = Some(Instant::now());
    }
}

tokio::task_local! {
    /// Progress of the stream that the present task serves.
    pub(crate) static PROGRESS: Arc<Progress>;
}

/// A call, until dropped.
pub(crate) struct CallGuard {
    connection: Arc<Connection>,
    answered: bool,
}

impl CallGuard {
    pub(crate) fn begin(connection: &Arc<Connection>) -> Self {
        connection.call_begins();
        Self {
            connection: connection.clone(),
            answered: false,
        }
    }

    pub(crate) fn is_answered(&mut self) {
        self.answered = true;
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.connection.call_ends();
        if !self.answered {
            self.connection.call_is_cancelled();
        }
    }
}

/// The body of a response.
pub(crate) struct AnswerBody {
    inner: tonic::body::Body,
    /// `None` for a member of the cluster.
    counted: Option<ByteCounters>,
    progress: Option<Arc<Progress>>,
    _call: CallGuard,
}

impl AnswerBody {
    pub(crate) fn new(
        inner: tonic::body::Body,
        counted: Option<ByteCounters>,
        call: CallGuard,
    ) -> Self {
        Self {
            inner,
            counted,
            progress: None,
            _call: call,
        }
    }

    fn chunk(&mut self, bytes: Bytes) -> Chunk {
        let Some(books) = self.counted.as_ref().filter(|_| !bytes.is_empty()) else {
            return Chunk { bytes, of: None };
        };
        if self.progress.is_none() {
            self.progress = PROGRESS.try_with(Arc::clone).ok();
        }
        if let Some(progress) = &self.progress {
            progress.add(bytes.len());
        }
        // The bytes are counted first, and the total may be too much then.
        let chunk = Chunk {
            bytes,
            of: Some((books.connection.clone(), self.progress.clone())),
        };
        books.hold(chunk.bytes.len(), true);
        chunk
    }
}

impl HttpBody for AnswerBody {
    type Data = Chunk;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, Status>>> {
        let me = &mut *self;
        let frame = ready!(Pin::new(&mut me.inner).poll_frame(context));
        Poll::Ready(frame.map(|frame| Ok(frame?.map_data(|bytes| me.chunk(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Bytes of a response that count until the system has them.
pub(crate) struct Chunk {
    bytes: Bytes,
    of: Option<(Arc<Connection>, Option<Arc<Progress>>)>,
}

impl Chunk {
    fn release(&self, bytes: usize) {
        if let Some((connection, progress)) = self.of.as_ref().filter(|_| bytes > 0) {
            connection.release(bytes, true);
            if let Some(progress) = progress {
                progress.sub(bytes);
            }
        }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.release(count);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.release(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use axum::body::Body;
    use futures::{StreamExt as _, stream};
    use tokio::time::sleep;

    use super::{super::limits::Capacity, *};

    #[test]
    fn messages_of_a_stream_are_told_apart_however_they_arrive() {
        let mut stream = Vec::new();
        for length in [3_u8, 0, 7] {
            stream.extend([0, 0, 0, 0, length]);
            stream.extend(vec![9; length.into()]);
        }
        for piece in 1..=stream.len() {
            let mut message = UnfinishedMessage::default();
            let mut longest = 0;
            for bytes in stream.chunks(piece) {
                longest = longest.max(message.take(bytes).longest);
            }
            assert_eq!((longest, message.got), (7, 0), "{piece}");
            message.take(&[0, 0, 0, 0, 8, 1]);
            assert_eq!(message.got, 6, "six bytes wait for the rest");
        }
        let mut hostile = UnfinishedMessage::default();
        assert_eq!(hostile.take(&[0, 255, 255, 255, 255]).longest, 0xffff_ffff);
        assert_eq!(hostile.take(&[0; 100]), Taken::default());
    }

    #[tokio::test(start_paused = true)]
    async fn each_message_of_a_stream_has_a_time_of_its_own() {
        let second = Duration::from_secs(1);
        // Each piece has the end of one message and the beginning of the next.
        let piece = Bytes::from_static(&[1, 2, 3, 0, 0, 0, 0, 3]);
        let first = piece.slice(3..);
        let more = stream::iter(vec![piece; 5]).then(move |piece| async move {
            sleep(6 * second).await;
            piece
        });
        let pieces = stream::iter([first]).chain(more).chain(stream::pending());
        let allowance = BodyLimits {
            bytes: 3,
            within: Some(10 * second),
            is_stream: true,
        };
        let capacity = Capacity {
            all: 1,
            unauthenticated: 1,
            kept: 0,
        };
        let places = ConnectionSlots::new(capacity, 100);
        let slot = places.take("10.0.0.1:1".parse().unwrap()).await.unwrap();
        let books = ByteCounters {
            connection: slot.connection.clone(),
            places,
            of_one: 100,
        };
        let inner = Body::from_stream(pieces.map(Ok::<_, std::convert::Infallible>));
        let mut body = RequestBody::new(inner, allowance, books);
        let began = Instant::now();
        for _ in 0..6 {
            let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            frame.unwrap().unwrap();
        }
        let late = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let code = late.unwrap().unwrap_err().code();
        assert_eq!(code, tonic::Code::DeadlineExceeded);
        assert_eq!(began.elapsed().as_secs(), 5 * 6 + 10);
    }
}
