//! One call with all its attempts: number, node, failure, next node, until it is done or the
//! total time has passed.

use std::{sync::Arc, time::Duration};

use conclave_wire::v1;
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tonic::{
    Request,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

use crate::{
    CallError, RequestKey,
    builder::{BuildError, Builder, IN_FLIGHT_MAX, Times, authorization},
    nodes::{Node, Nodes},
    numbers::{Numbers, Taken},
    random,
    rpc::{Kind, Rpc},
    verdict::{Failure, Next},
};

/// The header by which a node that does not lead names the one that does.
const LEADER_HEADER: &str = "conclave-leader";

/// The first wait between two attempts; each further one is twice as long.
const BACK_OFF_FIRST: Duration = Duration::from_millis(20);
/// The longest wait between two attempts: about as long as an election.
const BACK_OFF_MAX: Duration = Duration::from_millis(200);
/// New numbers that one request may take before the refusal is believed: programs that share a
/// session collide now and then, not always.
const NEW_NUMBERS_MAX: u32 = 16;

/// Asks a cluster. Cheap to clone; clones share connections, session and request numbers.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) session: Arc<Session>,
}

/// What all sessions over the same nodes share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) nodes: Nodes,
    pub(crate) times: Times,
}

/// Who asks.
#[derive(Debug)]
pub(crate) struct Session {
    authorization: Option<MetadataValue<Ascii>>,
    numbers: Numbers,
    learning: Mutex<()>,
    in_flight: Semaphore,
}

impl Session {
    pub(crate) fn new(authorization: Option<MetadataValue<Ascii>>) -> Self {
        Self {
            authorization,
            numbers: Numbers::new(),
            learning: Mutex::new(()),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
        }
    }
}

impl Client {
    /// A builder with the default times.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(shared: Arc<Shared>, session: Arc<Session>) -> Self {
        Self { shared, session }
    }

    /// The same connections with another session.
    ///
    /// # Errors
    /// [`BuildError::Token`].
    pub fn with_token(&self, token: &str) -> Result<Self, BuildError> {
        let session = Session::new(Some(authorization(token)?));
        Ok(Self::new(Arc::clone(&self.shared), Arc::new(session)))
    }

    /// The addresses of the nodes that are known, with those learned from hints.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.shared.nodes.addresses()
    }

    /// A call without a number: a read, or one that is known again by its random bytes.
    pub(crate) async fn ask<R: Rpc>(&self, request: R) -> Result<R::Answer, CallError> {
        debug_assert_ne!(R::KIND, Kind::Numbered);
        let mut attempts = Attempts::new(self.shared.times.total);
        self.attempt_until_done(request, &mut attempts, None).await
    }

    /// A call that changes something in the session, with the next number.
    pub(crate) async fn change<R: Rpc>(&self, request: R) -> Result<R::Answer, CallError> {
        let mut attempts = Attempts::new(self.shared.times.total);
        let _permit = self.admit(&mut attempts).await?;
        self.learn_numbers(&mut attempts).await?;
        let taken = timeout_at(attempts.deadline, self.session.numbers.take())
            .await
            .map_err(|_| attempts.give_up(Kind::Numbered, None))?;
        let key = Some(Key::Taken(taken));
        self.attempt_until_done(request, &mut attempts, key).await
    }

    /// The same request again whose outcome is unknown. It never gets another number.
    pub(crate) async fn change_again<R: Rpc>(
        &self,
        request: R,
        key: RequestKey,
    ) -> Result<R::Answer, CallError> {
        let mut attempts = Attempts::new(self.shared.times.total);
        attempts.maybe_done = true;
        let _permit = self.admit(&mut attempts).await?;
        let key = Some(Key::Given(key));
        self.attempt_until_done(request, &mut attempts, key).await
    }

    async fn admit(
        &self,
        attempts: &mut Attempts,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, CallError> {
        if self.session.authorization.is_none() {
            return Err(CallError::SessionExpired {
                sentence: "not logged in".to_owned(),
                certain: true,
            });
        }
        attempts.last = "too many requests are under way".to_owned();
        let permit = timeout_at(attempts.deadline, self.session.in_flight.acquire())
            .await
            .map_err(|_| attempts.give_up(Kind::Numbered, None))?;
        Ok(permit.expect("the semaphore is never closed"))
    }

    /// Asks the session, once, how far its numbers have come.
    async fn learn_numbers(&self, attempts: &mut Attempts) -> Result<(), CallError> {
        if self.session.numbers.is_learned() {
            return Ok(());
        }
        attempts.last = "no node told the session's request numbers".to_owned();
        let _learning = timeout_at(attempts.deadline, self.session.learning.lock())
            .await
            .map_err(|_| attempts.give_up(Kind::Read, None))?;
        if !self.session.numbers.is_learned() {
            let request = v1::GetSessionRequest::default();
            let session = self.attempt_until_done(request, attempts, None).await?;
            self.session.numbers.learn(session.request_number_last);
        }
        Ok(())
    }

    async fn attempt_until_done<'a, R: Rpc>(
        &'a self,
        mut request: R,
        attempts: &mut Attempts,
        mut key: Option<Key<'a>>,
    ) -> Result<R::Answer, CallError> {
        let mut new_numbers = 0;
        loop {
            let number = key.as_ref().map(Key::key);
            if let Some(number) = number {
                request.set_key(number);
            }
            let node = self.shared.nodes.pick();
            let Some(limit) = attempts.begin(&node, self.shared.times.attempt) else {
                return Err(attempts.give_up(R::KIND, number));
            };
            let failure = match self.attempt(&node, request.clone(), limit).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            tracing::debug!(node = %node.address, error = %failure, "an attempt failed");
            let had_time = limit >= self.shared.times.attempt;
            attempts.note(&failure, had_time);
            match failure.next(R::KIND, attempts.maybe_done) {
                Next::Refused { reason, sentence } => {
                    return Err(CallError::Refused { reason, sentence });
                }
                Next::LogIn { sentence } => {
                    let certain = !attempts.maybe_done;
                    return Err(CallError::SessionExpired { sentence, certain });
                }
                Next::Unknown => return Err(attempts.unknown(number)),
                Next::NewNumber { last, restart } => {
                    new_numbers += 1;
                    if new_numbers > NEW_NUMBERS_MAX {
                        attempts.maybe_done = false;
                        return Err(attempts.give_up(R::KIND, number));
                    }
                    key = Some(self.new_number(key, last, restart, attempts).await?);
                    attempts.maybe_done = false;
                }
                Next::Elsewhere { maybe_done, wait } => {
                    attempts.maybe_done |= maybe_done && R::KIND != Kind::Read;
                    self.shared.nodes.failed(&node);
                    attempts.pause(wait, self.shared.nodes.len()).await;
                }
            }
        }
    }

    async fn new_number<'a>(
        &'a self,
        key: Option<Key<'a>>,
        last: u64,
        restart: bool,
        attempts: &mut Attempts,
    ) -> Result<Key<'a>, CallError> {
        let numbers = &self.session.numbers;
        match &key {
            Some(Key::Taken(taken)) if restart => taken.restart(last),
            _ => numbers.learn(last),
        }
        // With the old number in hand it might wait for itself.
        drop(key);
        let taken = timeout_at(attempts.deadline, numbers.take()).await;
        attempts.maybe_done = false;
        taken
            .map(Key::Taken)
            .map_err(|_| attempts.give_up(Kind::Numbered, None))
    }

    /// Asks one node once.
    pub(crate) async fn attempt<R: Rpc>(
        &self,
        node: &Node,
        message: R,
        limit: Duration,
    ) -> Result<R::Answer, Failure> {
        let mut request = self.request(message);
        // So that the node itself says in time why it cannot answer.
        request.set_timeout(limit);
        let asked = timeout(limit, R::ask(node.channel.clone(), request)).await;
        match asked {
            Ok(Ok(response)) => {
                self.heed(response.metadata());
                Ok(response.into_inner())
            }
            Ok(Err(status)) => {
                self.heed(status.metadata());
                Err(Failure::from_status(&status))
            }
            Err(_) => Err(Failure::Silent),
        }
    }

    /// A request in the name of the session.
    pub(crate) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.session.authorization {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", authorization.clone());
        }
        request
    }

    fn heed(&self, metadata: &MetadataMap) {
        let leader = metadata.get(LEADER_HEADER).and_then(|l| l.to_str().ok());
        if let Some(leader) = leader {
            self.shared.nodes.leads(leader);
        }
    }
}

/// The number of a request, and whether it is ours to give back.
enum Key<'a> {
    Taken(Taken<'a>),
    Given(RequestKey),
}

impl Key<'_> {
    fn key(&self) -> RequestKey {
        match self {
            Self::Taken(taken) => taken.key,
            Self::Given(key) => *key,
        }
    }
}

/// What is known of a call that is under way.
pub(crate) struct Attempts {
    started: Instant,
    pub(crate) deadline: Instant,
    count: u32,
    pauses: u32,
    nodes: Vec<String>,
    maybe_done: bool,
    pub(crate) last: String,
}

impl Attempts {
    pub(crate) fn new(total: Duration) -> Self {
        let started = Instant::now();
        Self {
            started,
            deadline: started + total,
            count: 0,
            pauses: 0,
            nodes: Vec::new(),
            maybe_done: false,
            last: "there was no time to try".to_owned(),
        }
    }

    /// Counts an attempt; gives how long it may take, or nothing if no time is left.
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

    /// Remembers why an attempt failed. A node that was hardly given time to answer says less
    /// than the one before it.
    fn note(&mut self, failure: &Failure, had_time: bool) {
        if had_time || self.count == 1 || !matches!(failure, Failure::Silent) {
            self.last = failure.to_string();
        }
    }

    /// Waits before the next attempt, at most until the deadline. A node that is stopping costs
    /// no wait unless all of them are.
    pub(crate) async fn pause(&mut self, wait: bool, nodes: usize) {
        if !wait && self.count as usize <= nodes {
            return;
        }
        let longest = BACK_OFF_FIRST
            .saturating_mul(1 << self.pauses.min(8))
            .min(BACK_OFF_MAX);
        self.pauses += 1;
        // Half of it is random, so that clients that failed together do not come back together.
        let percent = 50 + u32::try_from(random::number() % 51).expect("at most 50");
        let until = Instant::now() + longest * percent / 100;
        sleep_until(until.min(self.deadline)).await;
    }

    /// The error when the time is over.
    pub(crate) fn give_up(&self, kind: Kind, request: Option<RequestKey>) -> CallError {
        if self.maybe_done && kind != Kind::Read {
            return self.unknown(request);
        }
        CallError::NotDone {
            sentence: self.last.clone(),
            attempts: self.count,
            waited: self.started.elapsed(),
            nodes: self.nodes.clone(),
        }
    }

    fn unknown(&self, request: Option<RequestKey>) -> CallError {
        CallError::Unknown {
            sentence: self.last.clone(),
            attempts: self.count,
            waited: self.started.elapsed(),
            nodes: self.nodes.clone(),
            request,
        }
    }
}
