//! Makes one call with all its attempts: number, node, failure, next node, until it is done or the
//! total time has passed.

use std::{
    sync::{Arc, Mutex as Lock, MutexGuard},
    time::Duration,
};

use conclave_wire::{OperatorCredential, request::token_hash, v1};
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tonic::{
    Request,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

use crate::{
    CallError, Freshness, RequestKey,
    attempts::{Attempts, Key},
    connect::{BuildError, Timeouts, authorization, credential_header},
    limits::IN_FLIGHT_MAX,
    nodes::{Node, Nodes},
    numbers::{RequestNumbers, TakenNumber},
    retry_decision::{Failure, RetryDecision},
    rpc::{Kind, Rpc},
    trust::Trust,
};

/// The header by which a node that does not lead names the one that does.
const LEADER_HEADER: &str = "conclave-leader";

/// Time after which the client asks a silent node and others for a sign of life and for the leader:
/// longer than an answer, shorter than an attempt.
const ASK_OTHERS_AFTER: Duration = Duration::from_millis(400);
/// Interval at which they are asked, and the time that they have for the answer.
const ASK_OTHERS_EVERY: Duration = Duration::from_millis(200);
/// Number of other nodes that are asked: not all of them may know the new leader, and one of them
/// may hang too.
const OTHERS_ASKED: usize = 3;
/// Maximum number of new numbers that one request may take before the caller gets the refusal:
/// programs that share a session collide now and then, not always.
const NEW_NUMBERS_MAX: u32 = 16;

/// A client of a cluster. Cheap to clone; clones share connections, session and request numbers.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) shared: Arc<ClientState>,
    pub(crate) session: Arc<Session>,
    /// The header that carries the credential of an operator, if there is one.
    operator: Option<MetadataValue<Ascii>>,
}

/// State that all sessions over the same nodes share.
#[derive(Debug)]
pub(crate) struct ClientState {
    pub(crate) nodes: Nodes,
    pub(crate) timeouts: Timeouts,
    /// Held by the call that asks other nodes for the leader.
    pub(crate) asking_others: Mutex<()>,
}

/// The session in whose name a client asks.
#[derive(Debug)]
pub(crate) struct Session {
    authorization: Option<MetadataValue<Ascii>>,
    pub(crate) numbers: Arc<RequestNumbers>,
    learning: Mutex<()>,
    in_flight: Semaphore,
    /// Returns the node that serves the stream, if there is one.
    streaming: Lock<Option<Arc<Node>>>,
}

impl Session {
    pub(crate) fn new(authorization: Option<MetadataValue<Ascii>>) -> Self {
        Self {
            authorization,
            numbers: RequestNumbers::new(),
            learning: Mutex::new(()),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            streaming: Lock::new(None),
        }
    }

    /// Returns the node that serves the stream, if there is one.
    pub(crate) fn streaming(&self) -> MutexGuard<'_, Option<Arc<Node>>> {
        self.streaming.lock().expect("its holders do not panic")
    }

    /// Returns a hash that tells sessions apart without showing their tokens.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let authorization = self.authorization.as_ref();
        token_hash(authorization.map_or(&[], MetadataValue::as_bytes)).0
    }
}

impl Client {
    pub(crate) fn new(shared: Arc<ClientState>, session: Arc<Session>) -> Self {
        Self {
            shared,
            session,
            operator: None,
        }
    }

    /// Returns a client with the same connections and session that makes calls for operators with
    /// this credential.
    #[must_use]
    pub fn with_operator(&self, credential: &OperatorCredential) -> Self {
        Self {
            operator: Some(credential_header(credential)),
            ..self.clone()
        }
    }

    /// Returns whether the client has a credential of an operator.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.operator.is_some()
    }

    /// Returns a client with the same connections and another session.
    ///
    /// # Errors
    /// [`BuildError::Token`].
    pub fn with_token(&self, token: &str) -> Result<Self, BuildError> {
        let session = Session::new(Some(authorization(token)?));
        Ok(Self {
            session: Arc::new(session),
            ..self.clone()
        })
    }

    /// Returns the addresses of the known nodes, with those learned from hints.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.shared.nodes.addresses()
    }

    /// Returns the rule by which this client trusts nodes.
    pub(crate) fn trust(&self) -> &Trust {
        self.shared.nodes.trust()
    }

    /// Makes a call without a number: a read, or a request that nodes recognise by its random
    /// bytes.
    pub(crate) async fn ask<R: Rpc>(&self, request: R) -> Result<R::Answer, CallError> {
        debug_assert_ne!(R::KIND, Kind::Numbered);
        let mut attempts = Attempts::new(self.shared.timeouts.total);
        self.attempt_until_done(request, &mut attempts, None).await
    }

    /// Makes a call that changes something in the session, with the next number.
    pub(crate) async fn call<R: Rpc>(&self, request: R) -> Result<R::Answer, CallError> {
        let mut attempts = Attempts::new(self.shared.timeouts.total);
        let _permit = self.admit(&mut attempts).await?;
        self.learn_numbers(&mut attempts).await?;
        let taken = timeout_at(attempts.deadline, self.session.numbers.take())
            .await
            .map_err(|_| attempts.give_up(Kind::Numbered, None))?;
        let key = Some(Key::TakenNumber(taken));
        self.attempt_until_done(request, &mut attempts, key).await
    }

    /// Repeats a request whose outcome is unknown. It never gets another number.
    pub(crate) async fn retry<R: Rpc>(
        &self,
        request: R,
        key: RequestKey,
    ) -> Result<R::Answer, CallError> {
        let mut attempts = Attempts::new(self.shared.timeouts.total);
        attempts.maybe_done = true;
        let _permit = self.admit(&mut attempts).await?;
        let key = Some(Key::Given(key));
        self.attempt_until_done(request, &mut attempts, key).await
    }

    /// Takes the next number, for a request that keeps it however often it is tried.
    pub(crate) async fn take_number(&self) -> Result<TakenNumber, CallError> {
        let mut attempts = Attempts::new(self.shared.timeouts.total);
        self.learn_numbers(&mut attempts).await?;
        timeout_at(attempts.deadline, self.session.numbers.take())
            .await
            .map_err(|_| attempts.give_up(Kind::Numbered, None))
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

    /// Asks the session for its greatest number, once.
    async fn learn_numbers(&self, attempts: &mut Attempts) -> Result<(), CallError> {
        if self.session.numbers.is_learned() {
            return Ok(());
        }
        attempts.last = "no node returned the session's request numbers".to_owned();
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

    async fn attempt_until_done<R: Rpc>(
        &self,
        mut request: R,
        attempts: &mut Attempts,
        mut key: Option<Key>,
    ) -> Result<R::Answer, CallError> {
        let mut new_numbers = 0;
        loop {
            let number = key.as_ref().map(Key::key);
            if let Some(number) = number {
                request.set_key(number);
            }
            let node = self.shared.nodes.pick();
            let patience = attempts.patience(R::KIND, self.shared.timeouts.attempt);
            let Some(limit) = attempts.begin(&node, patience) else {
                return Err(attempts.give_up(R::KIND, number));
            };
            let asked = self.attempt(&node, request.clone(), limit);
            let failure = tokio::select! {
                biased;
                answer = asked => match answer {
                    Ok(answer) => {
                        self.shared.nodes.served(&node);
                        return Ok(answer);
                    }
                    Err(failure) => failure,
                },
                () = self.left_behind(&node) => Failure::Silent,
            };
            tracing::debug!(node = %node.address, error = %failure, "an attempt failed");
            let had_time = limit >= self.shared.timeouts.attempt;
            attempts.note(&failure, had_time);
            match failure.next(R::KIND, attempts.maybe_done) {
                RetryDecision::Refused { reason, sentence } => {
                    return Err(CallError::Refused { reason, sentence });
                }
                RetryDecision::LogIn { sentence } => {
                    let certain = !attempts.maybe_done;
                    return Err(CallError::SessionExpired { sentence, certain });
                }
                RetryDecision::Unknown => return Err(attempts.unknown(number)),
                RetryDecision::NewNumber { last, restart } => {
                    new_numbers += 1;
                    if new_numbers > NEW_NUMBERS_MAX {
                        attempts.maybe_done = false;
                        return Err(attempts.give_up(R::KIND, number));
                    }
                    key = Some(self.new_number(key, last, restart, attempts).await?);
                    attempts.maybe_done = false;
                }
                RetryDecision::Wait(wait) => {
                    if !attempts.wait(wait).await {
                        return Err(attempts.give_up(R::KIND, number));
                    }
                }
                RetryDecision::BackOff => attempts.back_off_while_busy().await,
                RetryDecision::Elsewhere { maybe_done, wait } => {
                    attempts.maybe_done |= maybe_done && R::KIND != Kind::Read;
                    self.shared.nodes.failed(&node);
                    attempts.pause(wait, self.shared.nodes.len()).await;
                }
            }
        }
    }

    async fn new_number(
        &self,
        key: Option<Key>,
        last: u64,
        restart: bool,
        attempts: &mut Attempts,
    ) -> Result<Key, CallError> {
        let numbers = &self.session.numbers;
        match &key {
            Some(Key::TakenNumber(taken)) if restart => taken.restart(last),
            _ => numbers.learn(last),
        }
        // While it held the old number, it might wait for itself.
        drop(key);
        let taken = timeout_at(attempts.deadline, numbers.take()).await;
        attempts.maybe_done = false;
        taken
            .map(Key::TakenNumber)
            .map_err(|_| attempts.give_up(Kind::Numbered, None))
    }

    /// Asks one node once.
    pub(crate) async fn attempt<R: Rpc>(
        &self,
        node: &Node,
        message: R,
        limit: Duration,
    ) -> Result<R::Answer, Failure> {
        let mut request = match R::FOR_OPERATORS {
            true => self.operator_request(message),
            false => self.request(message),
        };
        // With this limit the node itself says in time why it cannot answer.
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

    /// Ends when there is reason to leave this node before it has answered: another call has moved
    /// to another node, another node names another leader, or others give a sign of life and this
    /// node does not. The client does not leave a node that is merely slow, or waits for the
    /// leader.
    pub(crate) async fn left_behind(&self, node: &Node) {
        let nodes = &self.shared.nodes;
        sleep(ASK_OTHERS_AFTER).await;
        loop {
            if nodes.pick().address != node.address {
                return;
            }
            let again = Instant::now() + ASK_OTHERS_EVERY;
            // One call asks on behalf of all, and all of them use the answers.
            if let Ok(_asking) = self.shared.asking_others.try_lock()
                && self.is_better_left(node, again).await
            {
                return;
            }
            sleep_until(again).await;
        }
    }

    /// Asks this node and others for a sign of life, at most until `until`; returns whether the
    /// client should leave this node.
    async fn is_better_left(&self, node: &Node, until: Instant) -> bool {
        let nodes = &self.shared.nodes;
        let others = nodes.others(node, OTHERS_ASKED);
        let asked = others.iter().map(|other| &**other).chain([node]);
        let mut asked: FuturesUnordered<_> = asked
            .map(async |asked: &Node| {
                let request = v1::GetSessionRequest {
                    read: Some(Freshness::Stale { min_position: 0 }.options()),
                };
                // Only two facts count: the leader that the node names, and that it answers. An
                // error shows both.
                let answer = self.attempt(asked, request, ASK_OTHERS_EVERY).await;
                let lives = matches!(answer, Ok(_) | Err(Failure::Problem(_)));
                (asked.address == node.address, lives)
            })
            .collect();
        let (mut own_lives, mut other_lives) = (false, false);
        while let Ok(Some((is_own, lives))) = timeout_at(until, asked.next()).await {
            // The first node that names another leader is enough: others may be as dead as this
            // node.
            if nodes.pick().address != node.address {
                return true;
            }
            match is_own {
                true => own_lives = lives,
                false => other_lives |= lives,
            }
        }
        other_lives && !own_lives
    }

    /// Builds a request in the name of the session.
    pub(crate) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.session.authorization {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", authorization.clone());
        }
        request
    }

    /// Builds a request of an operator, if the client has a credential.
    pub(crate) fn operator_request<M>(&self, message: M) -> Request<M> {
        let mut request = self.request(message);
        if let Some(operator) = &self.operator {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", operator.clone());
        }
        request
    }

    pub(crate) fn heed(&self, metadata: &MetadataMap) {
        let leader = metadata.get(LEADER_HEADER).and_then(|l| l.to_str().ok());
        if let Some(leader) = leader {
            self.shared.nodes.leads(leader);
        }
    }
}
