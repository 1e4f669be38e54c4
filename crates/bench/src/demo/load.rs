//! The load of a demonstration: pairs of people who talk, and the record of their requests and
//! answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_client::{
    CallError, Client,
    core::{AccountName, Recipient},
};
use conclave_history::{Action, Event, Recorder, What};
use conclave_local_cluster::LocalCluster;
use tokio::{task::JoinSet, time::Instant};

use crate::{error::BenchError, scratch::random_word};

/// Number of people who talk; each odd one talks with the next.
const PEOPLE: u64 = 8;
/// Pause between two messages of one person: live, but the machine is not full.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest time for one message with all its attempts.
const SEND_LIMIT: Duration = Duration::from_secs(15);
/// A message that began within this time after a node was killed may have waited because of it.
const STALL_WINDOW: Duration = Duration::from_secs(2);
/// Messages faster than this are not remembered one by one: they did not wait.
const SLOW: Duration = Duration::from_millis(10);

/// The people who talk, and their tasks.
pub(super) struct Load {
    pub(super) shared: Arc<RunState>,
    pub(super) people: Vec<Person>,
    tasks: std::sync::Mutex<JoinSet<Vec<Waited>>>,
}

/// State that all people share.
pub(super) struct RunState {
    started: Instant,
    pub(super) recorder: Recorder,
    stop: AtomicBool,
    acked: AtomicU64,
    pub(super) position: AtomicU64,
}

/// A person who talks with one other.
#[derive(Clone)]
pub(super) struct Person {
    number: u64,
    client: Client,
    pub(super) token: String,
    pub(super) to: Recipient,
    pub(super) conversation: String,
}

/// A message that took long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waited {
    began: Instant,
    ended: Instant,
}

impl Load {
    /// Creates the accounts, logs in, and begins to talk.
    pub(super) async fn begin(cluster: &LocalCluster) -> Result<Self, BenchError> {
        let people = people(cluster).await?;
        let shared = Arc::new(RunState {
            started: Instant::now(),
            recorder: Recorder::default(),
            stop: AtomicBool::new(false),
            acked: AtomicU64::new(0),
            position: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for person in &people {
            tasks.spawn(talk(shared.clone(), person.clone()));
        }
        Ok(Self {
            shared,
            people,
            tasks: tasks.into(),
        })
    }

    /// Returns how long the people have talked.
    pub(super) fn elapsed(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// Returns how many messages were acknowledged.
    pub(super) fn acked(&self) -> u64 {
        self.shared.acked.load(Ordering::Relaxed)
    }

    /// Stops the load after the messages that are under way; returns those that took long.
    pub(super) async fn stop(&self) -> Vec<Waited> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let tasks = std::mem::take(&mut *self.tasks.lock().expect("its holders do not panic"));
        tasks.join_all().await.concat()
    }
}

impl RunState {
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).expect("a run is short")
    }

    /// Records an event. A record that is full says so at the end.
    pub(super) fn record(&self, what: What) {
        let at_us = self.now_us();
        let _ = self.recorder.record(Event { at_us, what });
    }
}

async fn people(cluster: &LocalCluster) -> Result<Vec<Person>, BenchError> {
    let anonymous = cluster
        .client_builder()
        .endpoints(cluster.endpoints())
        .total_timeout(SEND_LIMIT)
        .build()?;
    let password = random_word()?;
    let name = |number: u64| format!("person{number}");
    let mut people = Vec::new();
    for number in 1..=PEOPLE {
        anonymous.create_account(&name(number), &password).await?;
    }
    for number in 1..=PEOPLE {
        let peer = ((number - 1) ^ 1) + 1;
        let token = anonymous.login(&name(number), &password).await?.token;
        // Each person has connections of its own: no other person's failure tells it that a node is
        // dead.
        let client = cluster
            .client_builder()
            .endpoints(cluster.endpoints())
            .token(&token)
            .total_timeout(SEND_LIMIT)
            .build()?;
        people.push(Person {
            number,
            client,
            token,
            to: Recipient::Account(AccountName::new(name(peer)).map_err(CallError::from)?),
            conversation: format!("{}/{}", name(number.min(peer)), name(number.max(peer))),
        });
    }
    Ok(people)
}

async fn talk(shared: Arc<RunState>, person: Person) -> Vec<Waited> {
    let client = person.number;
    let mut slow = Vec::new();
    for word in 1_u64.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("person{client} word{word}");
        let op = shared.recorder.next_op();
        let action = Action::Send {
            conversation: person.conversation.clone(),
            message: text.clone(),
        };
        shared.record(What::Invoke { client, op, action });
        let began = Instant::now();
        match person.client.send(&person.to, text).await {
            Ok(sent) => {
                let seq = Some(sent.sequence.0);
                shared.record(What::Ok { client, op, seq });
                shared.acked.fetch_add(1, Ordering::Relaxed);
                shared
                    .position
                    .fetch_max(sent.position.0, Ordering::Relaxed);
            }
            Err(CallError::Refused { .. } | CallError::NotDone { .. }) => {
                shared.record(What::Fail { client, op });
            }
            Err(CallError::Unknown { .. } | CallError::SessionExpired { .. }) => {
                shared.record(What::Unknown { client, op });
            }
        }
        let ended = Instant::now();
        if ended - began > SLOW {
            slow.push(Waited { began, ended });
        }
        tokio::time::sleep(PAUSE).await;
    }
    slow
}

/// Returns the longest time that one person waited for one message because of the event at `at`.
pub(super) fn stall_ms(waited: &[Waited], at: Instant) -> u64 {
    let because = |waited: &&Waited| waited.ended >= at && waited.began <= at + STALL_WINDOW;
    let longest = waited
        .iter()
        .filter(because)
        .map(|waited| waited.ended - waited.began)
        .max();
    let longest = longest.unwrap_or_default().as_millis();
    u64::try_from(longest).expect("a run is short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stall_is_the_longest_wait_that_a_kill_can_explain() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let waited = |began, ended| Waited {
            began: at(began),
            ended: at(ended),
        };
        let all = [
            waited(0, 900),
            waited(990, 1700),
            waited(1100, 1720),
            waited(9000, 9999),
        ];
        assert_eq!(stall_ms(&all, at(1000)), 710);
        assert_eq!(stall_ms(&all, at(5000)), 0);
    }
}
