//! Runs the task that holds a stream: it opens it, reads it, and leaves a node that does not serve.
//!
//! Always true: the positions of the events that are handed on only grow, so events that a node
//! repeats are dropped. The task leaves a node without a wait; only a whole round over all nodes
//! costs one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use conclave_core::Position;
use conclave_wire::{
    Problem,
    v1::{self, event::Event as Kind},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};
use tonic::Streaming;

use super::{
    item::{Disconnect, Item, Reconnect},
    options::SubscribeOptions,
    token::Resume,
};
use crate::{
    CallError, Client,
    attempts::back_off,
    nodes::Node,
    random,
    retry_decision::Failure,
    rpc::{self, live},
};

/// Time that a node may take to begin beyond that of an attempt: it waits about as long itself
/// until it has caught up.
const BEGIN_EXTRA: Duration = Duration::from_millis(500);
/// Time after which a node that streams counts as serving: trouble after that is new trouble.
const SERVED_MIN: Duration = Duration::from_secs(1);
/// Time after which a quiet stream has given its late events.
const QUIET: Duration = Duration::from_millis(300);

/// Output of the task.
#[derive(Debug)]
pub(super) enum Batch {
    /// Events; the token covers all of them. May be empty: then only the token is news.
    Events {
        events: Vec<v1::Event>,
        token: Bytes,
    },
    Notice(Item),
    /// The stream has ended for good.
    End(CallError),
}

/// The receiver of the task's output is gone.
struct Abandoned;

#[derive(Debug)]
pub(super) struct Stream {
    client: Client,
    options: SubscribeOptions,
    token: Bytes,
    from_beginning: bool,
    /// The position up to which everything was handed on.
    after: Position,
    /// Whether the stream has ever begun.
    begun: bool,
    /// Whether the start was handed on.
    told_start: bool,
    out: mpsc::Sender<Batch>,
}

/// State of the stream since it was lost.
struct Trouble {
    since: Instant,
    attempt: u32,
    rounds: u32,
    tried: Vec<String>,
    sentence: String,
}

/// A stream that is back, until its late events have been counted.
struct Late {
    reconnect: Reconnect,
    /// Events up to this position are late: the node had them when the stream began.
    until: Position,
}

impl Late {
    fn notice(self) -> Batch {
        Batch::Notice(Item::Reconnected(self.reconnect))
    }
}

/// Returns the position that the node had applied when the stream began.
fn applied(event: &v1::Event) -> Option<Position> {
    match &event.event {
        Some(Kind::Started(started)) => Some(Position(started.applied_position)),
        _ => None,
    }
}

fn is_sign_of_life(response: &v1::SubscribeResponse) -> bool {
    let mut events = response.events.iter();
    events.any(|event| matches!(event.event, Some(Kind::Heartbeat(_))))
}

impl Trouble {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            attempt: 0,
            rounds: 0,
            tried: Vec::new(),
            sentence: String::new(),
        }
    }

    fn notice(&self) -> Batch {
        Batch::Notice(Item::Disconnected(Disconnect {
            attempt: self.attempt,
            node: self.tried.last().cloned().unwrap_or_default(),
            gone_for: self.since.elapsed(),
            sentence: self.sentence.clone(),
        }))
    }
}

impl Stream {
    pub(super) fn new(
        client: Client,
        given: &Resume,
        from_beginning: bool,
        options: SubscribeOptions,
        out: mpsc::Sender<Batch>,
    ) -> Self {
        Self {
            client,
            options,
            token: given.token.clone(),
            from_beginning,
            after: given.after,
            begun: false,
            told_start: false,
            out,
        }
    }

    /// Streams until the receiver is gone, or every node would refuse the stream.
    pub(super) async fn run(mut self) {
        let mut trouble = Trouble::new();
        while let Ok(node) = self.next_node(&mut trouble).await {
            trouble.attempt += 1;
            trouble.tried.push(node.address.clone());
            let opened_at = Instant::now();
            let ended = match self.open(&node).await {
                Ok(stream) => self.follow(&node, stream, &mut trouble).await,
                Err(failure) => Ok(failure),
            };
            *self.client.session.streaming() = None;
            let Ok(failure) = ended else { return };
            tracing::debug!(node = %node.address, error = %failure, "the stream was lost");
            let sentence = failure.to_string();
            self.blame(&node, &failure);
            if let Some(error) = failure.next(rpc::Kind::Read, false).refusal() {
                let _ = self.out.send(Batch::End(error)).await;
                return;
            }
            // The stream had begun: `follow` has reset the attempts.
            let is_lost = trouble.attempt == 0;
            if is_lost {
                trouble.since = Instant::now();
            }
            if is_lost && opened_at.elapsed() >= SERVED_MIN {
                trouble.tried = vec![node.address.clone()];
                trouble.rounds = 0;
            }
            trouble.sentence = sentence;
            if is_lost && self.out.send(trouble.notice()).await.is_err() {
                return;
            }
        }
    }

    /// Returns the next node to try; waits after each round over all nodes.
    async fn next_node(&self, trouble: &mut Trouble) -> Result<Arc<Node>, Abandoned> {
        let nodes = &self.client.shared.nodes;
        loop {
            if let Some(node) = nodes.pick_untried(&trouble.tried, random::number()) {
                return Ok(node);
            }
            if trouble.attempt > 0 {
                self.hand_on(trouble.notice()).await?;
            }
            sleep(back_off(trouble.rounds)).await;
            trouble.rounds += 1;
            trouble.tried.clear();
        }
    }

    async fn open(&self, node: &Node) -> Result<Streaming<v1::SubscribeResponse>, Failure> {
        let heartbeat_ms = self.options.heartbeat.as_millis();
        let request = self.client.request(v1::SubscribeRequest {
            resume_token: self.token.clone(),
            from_beginning: self.from_beginning && self.token.is_empty(),
            after_position: if self.token.is_empty() {
                self.after.0
            } else {
                0
            },
            heartbeat_ms: u32::try_from(heartbeat_ms).unwrap_or(u32::MAX),
            ephemeral: self.options.presence,
        });
        let limit = self.client.shared.timeouts.attempt + BEGIN_EXTRA;
        let mut service = live(node.channel.clone());
        match timeout(limit, service.subscribe(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Failure::from_status(&status)),
            Err(_) => Err(Failure::Silent),
        }
    }

    /// Hands on the node's events until it does not serve any more.
    async fn follow(
        &mut self,
        node: &Arc<Node>,
        mut stream: Streaming<v1::SubscribeResponse>,
        trouble: &mut Trouble,
    ) -> Result<Failure, Abandoned> {
        let silence_max = self.options.heartbeat * 5 / 2;
        let mut late: Option<Late> = None;
        let mut heard_at = Instant::now();
        loop {
            let silent_at = heard_at + silence_max;
            let look_at = match &late {
                Some(_) => silent_at.min(heard_at + QUIET),
                None => silent_at,
            };
            let response = match timeout_at(look_at, stream.message()).await {
                Ok(Ok(Some(response))) => response,
                Ok(Ok(None)) => return Ok(Failure::Lost("the node ended the stream".to_owned())),
                Ok(Err(status)) => return Ok(Failure::from_status(&status)),
                Err(_) => {
                    if let Some(late) = late.take() {
                        self.hand_on(late.notice()).await?;
                        continue;
                    }
                    return Ok(Failure::Silent);
                }
            };
            if trouble.attempt > 0 {
                *self.client.session.streaming() = Some(Arc::clone(node));
                late = self.begin(node, &response, trouble);
            }
            let reached = Position(response.position);
            let is_sign_of_life = is_sign_of_life(&response);
            let going = self.take(response, late.as_mut()).await?;
            if let Some(reason) = going {
                return Ok(reason);
            }
            // The silence counts from here: the task did not listen while it handed the response
            // on.
            heard_at = Instant::now();
            let is_over = |late: &mut Late| late.until <= reached || is_sign_of_life;
            if let Some(late) = late.take_if(is_over) {
                self.hand_on(late.notice()).await?;
            }
        }
    }

    /// Records that the stream has begun on this node; returns the late events to count if it had
    /// been lost.
    fn begin(
        &mut self,
        node: &Node,
        first: &v1::SubscribeResponse,
        trouble: &mut Trouble,
    ) -> Option<Late> {
        let was_lost = std::mem::replace(&mut self.begun, true);
        let reconnect = Reconnect {
            attempt: trouble.attempt,
            node: node.address.clone(),
            gone_for: trouble.since.elapsed(),
            missed: 0,
        };
        trouble.attempt = 0;
        was_lost.then(|| Late {
            reconnect,
            until: first.events.iter().find_map(applied).unwrap_or_default(),
        })
    }

    /// Hands on the new events of a response; returns why the node ends the stream, if it does.
    async fn take(
        &mut self,
        response: v1::SubscribeResponse,
        late: Option<&mut Late>,
    ) -> Result<Option<Failure>, Abandoned> {
        let mut going = None;
        let mut events = Vec::with_capacity(response.events.len());
        for event in response.events {
            let is_new = event.position == 0 || event.position > self.after.0;
            match &event.event {
                Some(Kind::Heartbeat(_)) | None => continue,
                Some(Kind::Members(members)) => {
                    self.client.shared.nodes.learn(&members.client_addresses);
                    continue;
                }
                Some(Kind::GoingAway(_)) => {
                    going = Some(Failure::Problem(Problem::GoingAway));
                    continue;
                }
                Some(Kind::Started(_)) if self.told_start => continue,
                Some(Kind::Started(_)) => self.told_start = true,
                // It has the position of the event that follows it.
                Some(Kind::Gap(_)) if is_new => {}
                _ if is_new => self.after = self.after.max(Position(event.position)),
                _ => continue,
            }
            events.push(event);
        }
        if let Some(late) = late {
            let is_late = |event: &&v1::Event| (1..=late.until.0).contains(&event.position);
            let count = events.iter().filter(is_late).count();
            late.reconnect.missed += u64::try_from(count).expect("a response is small");
        }
        if !response.resume_token.is_empty() {
            self.token = response.resume_token;
        }
        let token = self.token.clone();
        self.hand_on(Batch::Events { events, token }).await?;
        Ok(going)
    }

    async fn hand_on(&self, batch: Batch) -> Result<(), Abandoned> {
        self.out.send(batch).await.map_err(|_| Abandoned)
    }

    /// Records the failure, so that other calls avoid this node, unless the trouble concerns the
    /// stream alone.
    fn blame(&self, node: &Node, failure: &Failure) {
        let alone = matches!(
            failure,
            Failure::Problem(
                Problem::Behind
                    | Problem::Busy
                    | Problem::NoLeader { .. }
                    | Problem::Refused { .. }
                    | Problem::SessionExpired { .. }
            )
        );
        if !alone {
            self.client.shared.nodes.failed(node);
        }
    }
}
