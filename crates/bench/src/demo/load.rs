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
    CallError, Client, Freshness, Page,
    core::{AccountName, Recipient, Sequence},
};
use conclave_history::{Action, Event, Recorder, What};
use conclave_local_cluster::LocalCluster;
use tokio::{task::JoinSet, time::Instant};

use super::{
    pulse::{Answer, Pulse},
    rolling::Rolling,
};
use crate::{error::BenchError, scratch::random_word};

/// Number of people who talk; each odd one talks with the next.
const PEOPLE: u64 = 8;
/// Pause between two messages of one person: live, but the machine is not full.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest time for one message with all its attempts.
const SEND_LIMIT: Duration = Duration::from_secs(15);
/// A message that began within this time after a node was killed may have waited because of it.
const STALL_WINDOW: Duration = Duration::from_secs(2);
/// Interval at which a person who sends nothing looks whether to go on.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Interval at which the panel's readers read what was sent.
const READ_INTERVAL: Duration = Duration::from_millis(300);
/// Number of messages that they read at once.
const PAGE: usize = 1000;
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
    pub(super) pulse: Arc<Pulse>,
    pub(super) rolling: Arc<Rolling>,
    pub(super) recorder: Recorder,
    stop: AtomicBool,
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
    /// Creates the accounts, logs in, and begins to talk: so many messages per second, or, with 0,
    /// each person again a while after each answer.
    pub(super) async fn begin(
        cluster: &LocalCluster,
        rate: u64,
        rolling: Arc<Rolling>,
    ) -> Result<Self, BenchError> {
        let people = people(cluster).await?;
        let shared = Arc::new(RunState {
            pulse: Arc::new(Pulse::new(rate)),
            rolling,
            recorder: Recorder::default(),
            stop: AtomicBool::new(false),
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
        self.shared.pulse.elapsed()
    }

    /// Returns how many messages were acknowledged.
    pub(super) fn acked(&self) -> u64 {
        self.shared.pulse.counts().acked
    }

    /// Returns readers of what is sent, for the panel. They never end.
    pub(super) fn readers(&self) -> JoinSet<()> {
        // One person of each pair is enough: both see the same conversation.
        let people = self.people.iter().step_by(2).cloned();
        let rolling = &self.shared.rolling;
        people.map(|person| read(rolling.clone(), person)).collect()
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
        self.pulse.now_us()
    }

    /// Returns how long a person waits between an answer and the next message, which is sent after
    /// at least `since`; `None` if no message is to be sent now.
    fn pause(&self, since: Duration) -> Option<Duration> {
        let rate = self.pulse.rate();
        if rate == 0 {
            return Some(PAUSE);
        }
        let is_due = self.pulse.is_on() && !self.pulse.is_full();
        is_due.then(|| Duration::from_micros(PEOPLE * 1_000_000 / rate).saturating_sub(since))
    }

    /// Waits until the next message is due, or there is none any more.
    async fn wait(&self, since: Instant) {
        loop {
            let pause = self.pause(since.elapsed());
            tokio::time::sleep(pause.unwrap_or(LOOK_INTERVAL).min(LOOK_INTERVAL)).await;
            let is_due = pause.is_some_and(|pause| pause <= LOOK_INTERVAL);
            if is_due || self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
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
        shared.pulse.sent(op);
        let answer = match person.client.send(&person.to, text.clone()).await {
            Ok(sent) => {
                let seq = Some(sent.sequence.0);
                shared.record(What::Ok { client, op, seq });
                let rolling = &shared.rolling;
                rolling.acked(&person.conversation, sent.sequence.0, &text);
                shared
                    .position
                    .fetch_max(sent.position.0, Ordering::Relaxed);
                Answer::Acked
            }
            Err(CallError::Refused { .. } | CallError::NotDone { .. }) => {
                shared.record(What::Fail { client, op });
                Answer::Refused
            }
            Err(CallError::Unknown { .. } | CallError::SessionExpired { .. }) => {
                shared.record(What::Unknown { client, op });
                Answer::Unknown
            }
        };
        shared.pulse.answered(op, answer);
        let ended = Instant::now();
        if ended - began > SLOW {
            slow.push(Waited { began, ended });
        }
        shared.wait(began).await;
    }
    slow
}

/// Reads a conversation as it grows.
async fn read(rolling: Arc<Rolling>, person: Person) {
    let mut read_to = 0;
    loop {
        let after = Page::After(Sequence(read_to));
        let page = person
            .client
            .messages(&person.to, after, PAGE, Freshness::Linearizable);
        // Without a majority nothing can be read; the next look may find one.
        let messages = page.await.map_or_else(|_| Vec::new(), |page| page.messages);
        for message in &messages {
            read_to = message.sequence;
            rolling.read(&person.conversation, message.sequence, &message.text);
        }
        if messages.len() < PAGE {
            tokio::time::sleep(READ_INTERVAL).await;
        }
    }
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
