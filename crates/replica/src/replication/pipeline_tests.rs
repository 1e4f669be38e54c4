//! Tests of the pipeline against a peer that the test plays: order, bounds, limits and endings.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use conclave_core::{Command, Timestamp};
use conclave_storage::log;
use futures::{
    channel::mpsc::{UnboundedSender, unbounded},
    future::BoxFuture,
    poll,
};
use openraft::EntryPayload;
use tokio::{
    sync::mpsc,
    time::{advance, timeout},
};

use super::*;
use crate::{
    Outcome, ProposeError, ReadError, SnapshotOffer, Trace, VoteRequest, VoteResponse,
    convert::{Entry, Vote},
    log::suite_tests::TextCodec,
};

const LIMIT: Duration = Duration::from_secs(1);

/// The far end of a stream that was opened.
struct Far {
    requests: mpsc::Receiver<AppendRequest>,
    responses: UnboundedSender<Result<AppendResponse, PeerError>>,
}

impl Far {
    /// Returns the index before, those of the entries, and the commit index of what has arrived.
    fn arrived(&mut self) -> Vec<(u64, Vec<u64>, u64)> {
        let arrived = std::iter::from_fn(|| self.requests.try_recv().ok());
        let index = |id: Option<log::LogId>| id.map_or(0, |id| id.index);
        let arrived = arrived.map(|request| {
            let entries = request.entries.iter().map(|entry| entry.id.index);
            let entries = entries.collect();
            (index(request.previous), entries, index(request.committed))
        });
        arrived.collect()
    }

    fn answer(&self, response: AppendResponse) {
        self.responses.unbounded_send(Ok(response)).unwrap();
    }
}

/// A peer whose streams are given to the test.
struct Played {
    opened: mpsc::Sender<Far>,
    count: Arc<AtomicUsize>,
}

impl Peer for Played {
    fn appends(&self, _: Duration) -> BoxFuture<'_, Result<Appends, PeerError>> {
        let (requests, queue) = mpsc::channel(APPENDS_UNANSWERED_MAX);
        let (responses, answers) = unbounded();
        self.count.fetch_add(1, Ordering::Relaxed);
        let far = Far {
            requests: queue,
            responses,
        };
        self.opened.try_send(far).ok().unwrap();
        let responses = answers.boxed();
        Box::pin(async {
            Ok(Appends {
                requests,
                responses,
            })
        })
    }

    fn vote(&self, _: VoteRequest, _: Duration) -> BoxFuture<'_, Result<VoteResponse, PeerError>> {
        unreachable!()
    }

    fn timeout_now(
        &self,
        _: log::Vote,
        _: u64,
        _: Option<log::LogId>,
        _: Duration,
    ) -> BoxFuture<'_, Result<(), PeerError>> {
        unreachable!()
    }

    fn install_snapshot(
        &self,
        _: SnapshotOffer,
        _: Duration,
    ) -> BoxFuture<'_, Result<log::Vote, PeerError>> {
        unreachable!()
    }

    fn forward(
        &self,
        _: Vec<Command>,
        _: Vec<Trace>,
        _: Duration,
    ) -> BoxFuture<'_, Result<Vec<Result<Outcome, ProposeError>>, PeerError>> {
        unreachable!()
    }

    fn read_index(&self, _: Duration) -> BoxFuture<'_, Result<Result<u64, ReadError>, PeerError>> {
        unreachable!()
    }

    fn clock(&self, _: Duration) -> BoxFuture<'_, Result<Timestamp, PeerError>> {
        unreachable!()
    }
}

/// Streams that a test opens at most.
const STREAMS_MAX: usize = 16;

/// A line to a played peer, and the engine's end of its requests.
struct Bench {
    line: Line,
    opened: mpsc::Receiver<Far>,
    streams: Arc<AtomicUsize>,
}

impl Bench {
    fn new() -> Self {
        let (sender, opened) = mpsc::channel(STREAMS_MAX);
        let streams = Arc::<AtomicUsize>::default();
        let peer = Played {
            opened: sender,
            count: streams.clone(),
        };
        Self {
            line: Line::new(Arc::new(peer), Arc::new(TextCodec)),
            opened,
            streams,
        }
    }

    fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }
}

type Engine = UnboundedSender<Request>;

/// Begins a session; the engine's requests go into what is returned beside it.
fn begin(line: &mut Line) -> (Engine, Pipeline<'_, impl Stream<Item = Request> + Unpin>) {
    let (engine, requests) = unbounded();
    (engine, Pipeline::new(line, requests, LIMIT))
}

/// Returns a request with the entries after `previous` up to `last`, each with this many bytes.
fn request(previous: u64, last: u64, committed: u64, bytes: usize) -> Request {
    let id = |index| {
        log_id_in(log::LogId {
            term: 1,
            node: 1,
            index,
        })
    };
    let entry = |index| Entry {
        log_id: id(index),
        payload: EntryPayload::Normal(Bytes::from(vec![0; bytes]).into()),
    };
    AppendEntriesRequest {
        vote: Vote::new_committed(1, 1),
        prev_log_id: (previous > 0).then(|| id(previous)),
        entries: (previous + 1..=last).map(entry).collect(),
        leader_commit: (committed > 0).then(|| id(committed)),
    }
}

/// Lets the pipeline do all that it can now; fails if it has an answer.
async fn settle<S: Stream<Item = Request> + Unpin>(pipeline: &mut Pipeline<'_, S>) {
    assert!(poll!(Box::pin(pipeline.next())).is_pending());
}

/// Returns the index up to which the next answer acknowledges.
async fn acknowledged<S: Stream<Item = Request> + Unpin>(pipeline: &mut Pipeline<'_, S>) -> u64 {
    let next = timeout(LIMIT / 2, pipeline.next()).await.unwrap();
    next.unwrap().unwrap().unwrap().map_or(0, |id| id.index())
}

#[tokio::test(start_paused = true)]
async fn several_appends_leave_before_the_first_answer() {
    let mut bench = Bench::new();
    let (engine, mut pipeline) = begin(&mut bench.line);
    let count = APPENDS_UNANSWERED_MAX as u64 + 2;
    for index in 1..=count {
        let request = request(index - 1, index, index - 1, 1);
        engine.unbounded_send(request).unwrap();
    }
    settle(&mut pipeline).await;
    let mut far = bench.opened.try_recv().unwrap();
    let sent = far.arrived();
    assert_eq!(sent.len(), APPENDS_UNANSWERED_MAX);
    assert!(
        (1..)
            .zip(&sent)
            .all(|(index, (before, _, _))| before + 1 == index)
    );

    far.answer(AppendResponse::Success);
    assert_eq!(acknowledged(&mut pipeline).await, 1);
    settle(&mut pipeline).await;
    assert_eq!(far.arrived().len(), 1, "one answer makes room for one");
    // Answers that come together are one: the engine commits and applies once.
    for _ in 2..count {
        far.answer(AppendResponse::Success);
    }
    assert_eq!(acknowledged(&mut pipeline).await, count - 1);
}

#[tokio::test(start_paused = true)]
async fn unanswered_bytes_are_bounded() {
    let mut bench = Bench::new();
    let (engine, mut pipeline) = begin(&mut bench.line);
    for index in 1..=6 {
        let request = request(index - 1, index, 0, UNANSWERED_BYTES_MAX / 2);
        engine.unbounded_send(request).unwrap();
    }
    settle(&mut pipeline).await;
    let mut far = bench.opened.try_recv().unwrap();
    assert_eq!(far.arrived().len(), 2);
    far.answer(AppendResponse::Success);
    assert_eq!(acknowledged(&mut pipeline).await, 1);
    settle(&mut pipeline).await;
    assert_eq!(far.arrived().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_commit_rides_with_entries_or_leaves_in_two_ms() {
    let mut bench = Bench::new();
    let (engine, mut pipeline) = begin(&mut bench.line);
    engine.unbounded_send(request(0, 1, 0, 1)).unwrap();
    settle(&mut pipeline).await;
    let mut far = bench.opened.try_recv().unwrap();
    far.answer(AppendResponse::Success);
    assert_eq!(acknowledged(&mut pipeline).await, 1);
    assert_eq!(far.arrived(), [(0, vec![1], 0)]);

    engine.unbounded_send(request(1, 1, 1, 0)).unwrap();
    settle(&mut pipeline).await;
    assert_eq!(far.arrived(), []);
    engine.unbounded_send(request(1, 2, 1, 1)).unwrap();
    settle(&mut pipeline).await;
    assert_eq!(far.arrived(), [(1, vec![2], 1)], "one message for both");
    far.answer(AppendResponse::Success);
    assert_eq!(acknowledged(&mut pipeline).await, 2);

    // Commits that follow each other do not begin the wait again.
    engine.unbounded_send(request(2, 2, 2, 0)).unwrap();
    settle(&mut pipeline).await;
    advance(COMMIT_WAIT / 2).await;
    engine.unbounded_send(request(2, 2, 2, 0)).unwrap();
    settle(&mut pipeline).await;
    assert_eq!(far.arrived(), []);
    advance(2 * COMMIT_WAIT - COMMIT_WAIT / 2).await;
    settle(&mut pipeline).await;
    assert_eq!(far.arrived(), [(2, vec![], 2)]);
    // Nothing is acknowledged before the peer has answered.
    advance(LIMIT / 2).await;
    settle(&mut pipeline).await;
    far.answer(AppendResponse::Success);
    assert_eq!(acknowledged(&mut pipeline).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_last_request_without_entries_leaves_at_once() {
    let mut bench = Bench::new();
    let mut far = None;
    for _ in 0..3 {
        let (engine, mut pipeline) = begin(&mut bench.line);
        engine.unbounded_send(request(4, 4, 4, 0)).unwrap();
        drop(engine);
        settle(&mut pipeline).await;
        let far = far.get_or_insert_with(|| bench.opened.try_recv().unwrap());
        assert_eq!(far.arrived(), [(4, vec![], 4)]);
        far.answer(AppendResponse::Success);
        assert_eq!(acknowledged(&mut pipeline).await, 4);
        assert!(pipeline.next().await.is_none());
    }
    assert_eq!(bench.streams(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_ends_the_pipeline_and_loses_the_stream() {
    let mut bench = Bench::new();
    let (engine, mut pipeline) = begin(&mut bench.line);
    engine.unbounded_send(request(0, 1, 0, 1)).unwrap();
    let failed = timeout(2 * LIMIT, pipeline.next()).await.unwrap();
    assert!(matches!(failed, Some(Err(PeerError::Timeout(_)))));
    assert!(pipeline.next().await.is_none());
    drop(pipeline);

    let (engine, mut pipeline) = begin(&mut bench.line);
    engine.unbounded_send(request(0, 1, 0, 1)).unwrap();
    settle(&mut pipeline).await;
    let old = bench.opened.try_recv().unwrap();
    assert!(old.responses.is_closed());
    let mut new = bench.opened.try_recv().unwrap();
    assert_eq!(new.arrived(), [(0, vec![1], 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_that_answers_each_in_time_is_no_failure() {
    let mut bench = Bench::new();
    let (engine, mut pipeline) = begin(&mut bench.line);
    for index in 1..=4 {
        engine
            .unbounded_send(request(index - 1, index, 0, 1))
            .unwrap();
    }
    settle(&mut pipeline).await;
    let far = bench.opened.try_recv().unwrap();
    for index in 1..=3 {
        advance(LIMIT * 9 / 10).await;
        settle(&mut pipeline).await;
        far.answer(AppendResponse::Success);
        assert_eq!(acknowledged(&mut pipeline).await, index);
    }
    let failed = timeout(2 * LIMIT, pipeline.next()).await.unwrap();
    assert!(matches!(failed, Some(Err(PeerError::Timeout(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_pipeline_after_what_came_before_it() {
    let vote = log::Vote {
        term: 9,
        node: 2,
        committed: true,
    };
    for refusal in [AppendResponse::Conflict, AppendResponse::HigherVote(vote)] {
        let mut bench = Bench::new();
        let (engine, mut pipeline) = begin(&mut bench.line);
        for index in 1..=3 {
            engine
                .unbounded_send(request(index - 1, index, 0, 1))
                .unwrap();
        }
        settle(&mut pipeline).await;
        let far = bench.opened.try_recv().unwrap();
        far.answer(AppendResponse::Success);
        far.answer(refusal.clone());
        far.answer(AppendResponse::Success);
        assert_eq!(acknowledged(&mut pipeline).await, 1);
        match pipeline.next().await.unwrap().unwrap() {
            Err(StreamAppendError::Conflict(at)) => assert_eq!(at.index(), 1),
            Err(StreamAppendError::HigherVote(higher)) => assert_eq!(vote_out(&higher), vote),
            Ok(matching) => panic!("{matching:?}"),
        }
        assert!(pipeline.next().await.is_none());
        drop(pipeline);
        assert!(far.responses.is_closed(), "left in the middle");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partial_success_ends_the_pipeline() {
    let mut bench = Bench::new();
    let (engine, mut pipeline) = begin(&mut bench.line);
    engine.unbounded_send(request(0, 4, 0, 1)).unwrap();
    settle(&mut pipeline).await;
    let far = bench.opened.try_recv().unwrap();
    let at = |index| {
        Some(log::LogId {
            term: 1,
            node: 1,
            index,
        })
    };
    far.answer(AppendResponse::Partial(at(2)));
    assert_eq!(acknowledged(&mut pipeline).await, 2);
    assert!(pipeline.next().await.is_none());
    drop(pipeline);

    // The stream is whole, and carries the next session.
    let (engine, mut pipeline) = begin(&mut bench.line);
    engine.unbounded_send(request(2, 4, 0, 1)).unwrap();
    settle(&mut pipeline).await;
    far.answer(AppendResponse::Partial(at(5)));
    let failed = pipeline.next().await;
    assert!(
        matches!(failed, Some(Err(PeerError::Failed(_)))),
        "more than was sent"
    );
    drop(pipeline);
    assert_eq!(bench.streams(), 1);
}

#[tokio::test(start_paused = true)]
async fn answers_that_make_no_sense_are_failures() {
    let mut bench = Bench::new();
    let (engine, mut pipeline) = begin(&mut bench.line);
    engine.unbounded_send(request(0, 1, 0, 1)).unwrap();
    settle(&mut pipeline).await;
    let far = bench.opened.try_recv().unwrap();
    far.answer(AppendResponse::Conflict);
    let failed = pipeline.next().await;
    assert!(
        matches!(failed, Some(Err(PeerError::Failed(_)))),
        "there is nothing before it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_while_idle_is_opened_again() {
    let mut bench = Bench::new();
    let (engine, mut pipeline) = begin(&mut bench.line);
    let broken = Err(PeerError::Failed("broken".to_owned()));
    for (index, end) in [Some(broken), Some(Ok(AppendResponse::Success)), None]
        .into_iter()
        .enumerate()
    {
        let index = index as u64;
        engine
            .unbounded_send(request(index, index + 1, 0, 1))
            .unwrap();
        settle(&mut pipeline).await;
        let far = bench.opened.try_recv().unwrap();
        far.answer(AppendResponse::Success);
        assert_eq!(acknowledged(&mut pipeline).await, index + 1);
        if let Some(end) = end {
            far.responses.unbounded_send(end).unwrap();
        }
        drop(far);
        settle(&mut pipeline).await;
    }
    drop(pipeline);
    assert_eq!(bench.streams(), 3);
}
