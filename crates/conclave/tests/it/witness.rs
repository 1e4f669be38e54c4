//! A witness: records the requests of clients and the answers that they get, and compares the
//! record at the end with the messages that every node has.
//!
//! Always true: an answer that did not arrive is recorded as unknown, never as a failure, and every
//! read of the comparison is served by one node alone.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_client::{
    CallError, Client, Events, Freshness, Item, Login, Page, Reason, RequestKey, Sent,
    core::{AccountName, Recipient, Sequence},
    v1,
};
use conclave_history::{Action, Event, Observed, Recorder, Verdict, What, judge};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::support::{Cluster, PATIENCE, until};

/// Time between two messages of a speaker that keeps talking: slow enough that two cores carry
/// several clusters, fast enough that every fault falls between two messages.
const PACE: Duration = Duration::from_millis(5);
/// Number of messages after which a speaker that keeps talking stops.
const SAID_MAX: u64 = 20_000;
/// Password of every account here.
pub(crate) const PASSWORD: &str = "correct horse";

/// The record of one run.
pub(crate) struct Witness {
    started: Instant,
    recorder: Mutex<Recorder>,
    words: AtomicU64,
}

/// A logged-in user who talks to another account.
#[derive(Clone)]
pub(crate) struct Speaker {
    witness: Arc<Witness>,
    number: u64,
    pub(crate) client: Client,
    pub(crate) token: String,
    pub(crate) to: Recipient,
    conversation: String,
}

/// A message whose outcome is unknown.
#[derive(Debug)]
pub(crate) struct Unsaid {
    pub(crate) error: CallError,
    text: String,
    operation: u64,
    key: Option<RequestKey>,
}

/// A task that sends one message after the other until it is stopped.
pub(crate) struct Talking {
    said: watch::Receiver<u64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<Talk>,
}

/// Result of a speaker's messages.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    /// Duration of the slowest message.
    pub(crate) slowest: Duration,
    /// Number of messages that were acknowledged.
    pub(crate) said: u64,
    /// Messages that were not acknowledged.
    pub(crate) unsaid: Vec<Unsaid>,
}

impl Witness {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            recorder: Mutex::default(),
            words: AtomicU64::new(1),
        })
    }

    /// Logs a user in through `client`, to talk to `peer`; both accounts exist afterwards.
    pub(crate) async fn speaker(
        self: &Arc<Self>,
        client: &Client,
        name: &str,
        peer: &str,
    ) -> Speaker {
        let login = sign_up(client, name).await;
        if peer != name {
            exists(client, peer).await;
        }
        self.speaker_with(client, &login, peer)
    }

    /// Returns a speaker with this login, to talk to `peer`.
    pub(crate) fn speaker_with(
        self: &Arc<Self>,
        client: &Client,
        login: &Login,
        peer: &str,
    ) -> Speaker {
        let mut members = [login.account.name.as_str(), peer];
        members.sort_unstable();
        let client = client.with_token(&login.token).unwrap();
        self.speaker_in(client, login, person(peer), members.join("/"))
    }

    /// Returns a speaker of this conversation with a client that has its session: several speakers
    /// may share a client, and its request numbers.
    pub(crate) fn speaker_in(
        self: &Arc<Self>,
        client: Client,
        login: &Login,
        to: Recipient,
        conversation: String,
    ) -> Speaker {
        Speaker {
            witness: self.clone(),
            number: login.session.0,
            client,
            token: login.token.clone(),
            to,
            conversation,
        }
    }

    /// Records all messages of a conversation that a stream from the beginning has delivered.
    pub(crate) fn streamed(&self, client: u64, conversation: &str, messages: &[v1::Message]) {
        self.record(What::Observe {
            node: 0,
            client: Some(client),
            conversation: conversation.to_owned(),
            asked_us: self.now_us(),
            from_seq: 1,
            messages: messages.iter().map(observed).collect(),
            complete: true,
        });
    }

    /// Waits until all nodes have the same state, reads all of it on each, and checks the record.
    /// Every conversation of `speakers` is read.
    pub(crate) async fn judge(&self, cluster: &Cluster, speakers: &[&Speaker]) -> Verdict {
        for (node, digest) in agreed_digests(cluster).await {
            let applied = digest.applied_index;
            let digest = format!("{:?} {:?}", digest.digest, digest.chain);
            self.record(What::Digest {
                node,
                applied,
                digest,
            });
        }
        for node in cluster.full_nodes() {
            for speaker in speakers {
                let asked_us = self.now_us();
                let messages = speaker.all_messages_at(&cluster.endpoint(node)).await;
                self.record(What::Observe {
                    node,
                    client: None,
                    conversation: speaker.conversation.clone(),
                    asked_us,
                    from_seq: 1,
                    messages: messages.iter().map(observed).collect(),
                    complete: true,
                });
            }
        }
        let recorder = std::mem::take(&mut *self.recorder.lock().unwrap());
        let verdict = judge(&recorder.finish().unwrap());
        assert!(verdict.holds(), "the record does not hold: {verdict:#?}");
        assert!(verdict.acked > 0, "nothing was acknowledged: {verdict:#?}");
        verdict
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap()
    }

    /// Records the beginning of an operation and returns its number.
    fn invoke(&self, client: u64, action: Action) -> u64 {
        let op = self.recorder.lock().unwrap().next_op();
        self.record(What::Invoke { client, op, action });
        op
    }

    fn record(&self, what: What) {
        let recorder = self.recorder.lock().unwrap();
        let at_us = self.now_us();
        recorder.record(Event { at_us, what }).unwrap();
    }
}

impl Speaker {
    /// Returns the same user with another client.
    pub(crate) fn through(&self, client: &Client) -> Self {
        let client = client.with_token(&self.token).unwrap();
        Self {
            client,
            ..self.clone()
        }
    }

    /// Sends the next message.
    pub(crate) async fn say(&self) -> Result<Sent, Unsaid> {
        let word = self.witness.words.fetch_add(1, Ordering::Relaxed);
        self.say_text(format!("word {word}")).await
    }

    /// Sends this text, which occurs only once in the run.
    pub(crate) async fn say_text(&self, text: String) -> Result<Sent, Unsaid> {
        let action = Action::Send {
            conversation: self.conversation.clone(),
            message: text.clone(),
        };
        let operation = self.witness.invoke(self.number, action);
        match self.client.send(&self.to, text.clone()).await {
            Ok(sent) => {
                self.told(operation, &sent);
                Ok(sent)
            }
            Err(error) => {
                let key = match &error {
                    CallError::Unknown { request, .. } => *request,
                    // These errors promise that the message was not sent: the check insists on
                    // that.
                    CallError::Refused { .. } | CallError::NotDone { .. } => {
                        let (client, op) = (self.number, operation);
                        self.witness.record(What::Fail { client, op });
                        None
                    }
                    CallError::SessionExpired { .. } => None,
                };
                Err(Unsaid {
                    error,
                    text,
                    operation,
                    key,
                })
            }
        }
    }

    /// Retries a message whose outcome is unknown.
    pub(crate) async fn say_again(&self, unsaid: &Unsaid) -> Result<Sent, CallError> {
        let key = unsaid.key.expect("only what is unknown is asked for again");
        self.client
            .send_again(key, &self.to, unsaid.text.clone())
            .await
    }

    /// Retries every message whose outcome is unknown until there is an answer.
    pub(crate) async fn settle(&self, unsaid: &[Unsaid]) {
        for unsaid in unsaid.iter().filter(|unsaid| unsaid.key.is_some()) {
            let sent = until("an unknown message is settled", async || {
                self.say_again(unsaid).await.ok()
            });
            self.told(unsaid.operation, &sent.await);
        }
    }

    /// Sends messages until it is stopped.
    pub(crate) fn keep_talking(&self) -> Talking {
        self.keep_talking_at(PACE)
    }

    /// Sends messages at this pace until it is stopped.
    pub(crate) fn keep_talking_at(&self, pace: Duration) -> Talking {
        let (progress, said) = watch::channel(0);
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(self.clone().talk(pace, progress, stop.clone()));
        Talking { said, stop, task }
    }

    /// Returns all messages as the node at `endpoint` has them.
    pub(crate) async fn all_messages_at(&self, endpoint: &str) -> Vec<v1::Message> {
        let mut messages: Vec<v1::Message> = Vec::new();
        loop {
            let after = messages.last().map_or(0, |last| last.sequence);
            let page = Page::After(Sequence(after));
            // A new client for each page: a client that has learned who leads would ask the leader.
            let client = Client::builder().trusting_like(&self.client);
            let client = client.endpoints([endpoint]).token(&self.token);
            let client = client.build().unwrap();
            let stale = Freshness::Stale { min_position: 0 };
            let page = client.messages(&self.to, page, 1000, stale).await.unwrap();
            if page.messages.is_empty() {
                return messages;
            }
            messages.extend(page.messages);
        }
    }

    fn told(&self, op: u64, sent: &Sent) {
        let (client, seq) = (self.number, Some(sent.sequence.0));
        self.witness.record(What::Ok { client, op, seq });
    }

    async fn talk(
        self,
        pace: Duration,
        progress: watch::Sender<u64>,
        stop: Arc<AtomicBool>,
    ) -> Talk {
        let mut talk = Talk::default();
        let mut pace = tokio::time::interval(pace);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.load(Ordering::Relaxed) && talk.said < SAID_MAX {
            pace.tick().await;
            let began = Instant::now();
            match self.say().await {
                Ok(_) => talk.said += 1,
                Err(unsaid) => talk.unsaid.push(unsaid),
            }
            talk.slowest = talk.slowest.max(began.elapsed());
            progress.send_replace(talk.said);
        }
        talk
    }
}

impl Talking {
    /// Waits until this many more messages are acknowledged.
    pub(crate) async fn go_on(&mut self, messages: u64) {
        let goal = *self.said.borrow() + messages;
        let said = self.said.wait_for(|said| *said >= goal);
        let reached = timeout(PATIENCE, said).await;
        assert!(
            matches!(reached, Ok(Ok(_))),
            "{messages} more messages did not get through"
        );
    }

    /// Stops the task and returns the result.
    pub(crate) async fn finish(self) -> Talk {
        self.stop.store(true, Ordering::Relaxed);
        timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }

    /// Stops the task and checks that no message failed.
    pub(crate) async fn finish_without_error(self) -> Talk {
        let talk = self.finish().await;
        assert!(
            talk.unsaid.is_empty(),
            "errors were seen: {:#?}",
            talk.unsaid
        );
        talk
    }
}

/// Creates an account and logs in.
pub(crate) async fn sign_up(client: &Client, name: &str) -> Login {
    exists(client, name).await;
    client.login(name, PASSWORD).await.unwrap()
}

/// Creates an account unless it exists.
pub(crate) async fn exists(client: &Client, name: &str) {
    match client.create_account(name, PASSWORD).await {
        Ok(_) => {}
        Err(error) => assert_eq!(error.reason(), Some(Reason::NameTaken), "{error}"),
    }
}

/// Waits for the next message of a stream and returns it; other events are skipped.
pub(crate) async fn next_message(events: &mut Events) -> v1::Message {
    let next = async {
        loop {
            if let Item::Event(event) = events.next().await.unwrap()
                && let Some(v1::event::Event::MessageSent(message)) = event.event
            {
                return message;
            }
        }
    };
    timeout(PATIENCE, next).await.expect("it is seen")
}

/// Returns a person as the recipient of a message.
pub(crate) fn person(name: &str) -> Recipient {
    Recipient::Account(AccountName::new(name).unwrap())
}

/// Returns a client that knows only this node, without a session.
pub(crate) fn stranger_at(endpoint: &str) -> Client {
    Client::builder().endpoints([endpoint]).build().unwrap()
}

/// Returns a client that knows only this node, with a session.
pub(crate) fn client_of(endpoint: &str, token: &str) -> Client {
    stranger_at(endpoint).with_token(token).unwrap()
}

/// Waits until all nodes have applied the same entries and returns their digests.
pub(crate) async fn agreed_digests(cluster: &Cluster) -> Vec<(u64, v1::GetStateDigestResponse)> {
    let asker = cluster.operator_client().await;
    until("all nodes have applied the same", async || {
        let mut digests = Vec::new();
        for node in cluster.full_nodes() {
            let digest = asker.state_digest(&cluster.endpoint(node), 0).await.ok()?;
            digests.push((node, digest));
        }
        let (_, first) = digests.first()?;
        let same = |other: &v1::GetStateDigestResponse| other.applied_index == first.applied_index;
        digests
            .iter()
            .all(|(_, digest)| same(digest))
            .then_some(digests)
    })
    .await
}

fn observed(message: &v1::Message) -> Observed {
    Observed {
        seq: message.sequence,
        message: message.text.clone(),
        deleted: message.deleted,
    }
}
