//! State of a call under way: its time, its attempts and their results.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{
    CallError, RequestKey, nodes::Node, numbers::TakenNumber, random, retry_decision::Failure,
    rpc::Kind, trust::Distrust,
};

/// The first wait between two attempts; each further one is twice as long.
const BACK_OFF_FIRST: Duration = Duration::from_millis(20);
/// The longest wait between two attempts: about as long as an election.
const BACK_OFF_MAX: Duration = Duration::from_millis(200);

/// The first wait after a refusal for too much work, and the longest one; each further one is twice
/// as long. They are longer than those after a failure: each question is part of the work.
const BUSY_WAIT_FIRST: Duration = Duration::from_millis(50);
const BUSY_WAIT_MAX: Duration = Duration::from_millis(800);

/// Longest time for the first attempt of a call; each further one has twice as long, up to the
/// attempt's own limit. After this time the client leaves a node that is cut off silently; a node
/// that is only slow gets more time once the others were asked.
const ATTEMPT_FIRST: Duration = Duration::from_millis(600);

/// Minimum time for an attempt. With less it would most likely end without an answer, and the
/// client would not know any more that nothing was done.
const ATTEMPT_MIN: Duration = Duration::from_millis(50);

/// Maximum extra wait of a client that a node has told to wait, in milliseconds.
const SPREAD_MS: u64 = 50;

/// Returns how long to wait after `pauses` waits in a row.
pub(crate) fn back_off(pauses: u32) -> Duration {
    back_off_from(BACK_OFF_FIRST, BACK_OFF_MAX, pauses)
}

fn back_off_from(first: Duration, max: Duration, pauses: u32) -> Duration {
    let longest = first.saturating_mul(1 << pauses.min(8)).min(max);
    // Half of it is random, so that clients that failed together do not come back together.
    let percent = 50 + u32::try_from(random::number() % 51).expect("at most 50");
    longest * percent / 100
}

/// State of a call under way.
#[derive(Debug)]
pub(crate) struct Attempts {
    started: Instant,
    pub(crate) deadline: Instant,
    count: u32,
    pauses: u32,
    busy: u32,
    nodes: Vec<String>,
    pub(crate) maybe_done: bool,
    pub(crate) last: String,
    distrust: Option<Distrust>,
}

impl Attempts {
    pub(crate) fn new(total: Duration) -> Self {
        let started = Instant::now();
        Self {
            started,
            deadline: started + total,
            count: 0,
            pauses: 0,
            busy: 0,
            nodes: Vec::new(),
            maybe_done: false,
            last: "there was no time to try".to_owned(),
            distrust: None,
        }
    }

    /// Returns how long the next attempt of a call may take that any node can answer.
    pub(crate) fn patience(&self, kind: Kind, attempt: Duration) -> Duration {
        match kind {
            Kind::Numbered | Kind::Read => attempt.min(ATTEMPT_FIRST * (1 << self.count.min(8))),
            // The node may hash a password, which is slow, and a second attempt would cost it
            // again.
            Kind::Once => attempt,
        }
    }

    /// Counts an attempt; returns how long it may take, or `None` if no time is left.
    pub(crate) fn begin(&mut self, node: &Node, attempt: Duration) -> Option<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        self.count += 1;
        if !self.nodes.contains(&node.address) {
            self.nodes.push(node.address.clone());
        }
        Some(attempt.min(left))
    }

    /// Remembers why an attempt failed. The failure of a node that hardly had time to answer tells
    /// less than that of the node before it.
    pub(crate) fn note(&mut self, failure: &Failure, had_time: bool) {
        if had_time || self.count == 1 || !matches!(failure, Failure::Silent) {
            self.last = failure.to_string();
            self.distrust = failure.distrust();
        }
    }

    /// Waits before the next attempt, at most until the deadline. A node that is stopping costs no
    /// wait unless all nodes are.
    pub(crate) async fn pause(&mut self, wait: bool, nodes: usize) {
        if !wait && self.count as usize <= nodes {
            return;
        }
        let until = Instant::now() + back_off(self.pauses);
        self.pauses += 1;
        let is_too_late = until + ATTEMPT_MIN > self.deadline;
        sleep_until(if is_too_late { self.deadline } else { until }).await;
    }

    /// Waits after a refusal for too much work, longer each time, at most until the deadline.
    pub(crate) async fn back_off_while_busy(&mut self) {
        let wait = back_off_from(BUSY_WAIT_FIRST, BUSY_WAIT_MAX, self.busy);
        self.busy += 1;
        sleep_until((Instant::now() + wait).min(self.deadline)).await;
    }

    /// Waits as long as a node has said, and a little longer, so that clients that were refused
    /// together do not come back together; returns `false` at once if the deadline is earlier.
    pub(crate) async fn wait(&mut self, wait: Duration) -> bool {
        let spread = Duration::from_millis(random::number() % (SPREAD_MS + 1));
        let until = Instant::now() + wait + spread;
        if until >= self.deadline {
            return false;
        }
        self.pauses = 0;
        sleep_until(until).await;
        true
    }

    /// Returns the error of a call whose time is over.
    pub(crate) fn give_up(&self, kind: Kind, request: Option<RequestKey>) -> CallError {
        if self.maybe_done && kind != Kind::Read {
            return self.unknown(request);
        }
        CallError::NotDone {
            sentence: self.last.clone(),
            distrust: self.distrust,
            attempts: self.count,
            waited: self.started.elapsed(),
            nodes: self.nodes.clone(),
        }
    }

    pub(crate) fn unknown(&self, request: Option<RequestKey>) -> CallError {
        CallError::Unknown {
            sentence: self.last.clone(),
            attempts: self.count,
            waited: self.started.elapsed(),
            nodes: self.nodes.clone(),
            request,
        }
    }
}

/// The number of a request, and whether it is ours to give back.
pub(crate) enum Key {
    /// May be exchanged for another number.
    TakenNumber(TakenNumber),
    /// The number of an earlier call.
    Given(RequestKey),
}

impl Key {
    pub(crate) fn key(&self) -> RequestKey {
        match self {
            Self::TakenNumber(taken) => taken.key,
            Self::Given(key) => *key,
        }
    }
}
