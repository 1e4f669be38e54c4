//! A client that sends messages all the time and notes when each one was acknowledged.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use conclave_client::{
    CallError, Client, Freshness, Page, Sent,
    core::{AccountName, Recipient, Sequence},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

/// Time between two messages.
const PACE: Duration = Duration::from_millis(10);
/// Number of messages in one page of the history.
const PAGE: usize = 1000;

/// Messages that were sent, and when they were acknowledged.
#[derive(Default)]
struct Said {
    acknowledged: Vec<(String, Instant)>,
    failed: Vec<String>,
}

impl Said {
    fn note(&mut self, text: String, sent: Result<Sent, CallError>) {
        match sent {
            Ok(_) => self.acknowledged.push((text, Instant::now())),
            Err(error) => self.failed.push(error.to_string()),
        }
    }
}

pub(crate) struct Talk {
    said: Arc<Mutex<Said>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Talk {
    /// Sends messages to `to` until it is stopped.
    pub(crate) fn start(client: Client, to: &str) -> Self {
        let said: Arc<Mutex<Said>> = Arc::default();
        let stop: Arc<AtomicBool> = Arc::default();
        let to = Recipient::Account(AccountName::new(to).unwrap());
        let (noted, stopped) = (said.clone(), stop.clone());
        let task = tokio::spawn(async move {
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let text = format!("message {number}");
                let sent = client.send(&to, text.clone()).await;
                noted.lock().unwrap().note(text, sent);
                sleep(PACE).await;
            }
        });
        Self { said, stop, task }
    }

    pub(crate) fn count(&self) -> usize {
        self.said.lock().unwrap().acknowledged.len()
    }

    /// Waits until `more` further messages are acknowledged.
    pub(crate) async fn go_on(&self, more: usize) {
        let goal = self.count() + more;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.count() < goal {
            assert!(
                Instant::now() < deadline,
                "nothing is acknowledged any more"
            );
            sleep(PACE).await;
        }
    }

    /// Returns the longest time without an acknowledgement since `since`.
    pub(crate) fn stall_since(&self, since: Instant) -> Duration {
        let said = self.said.lock().unwrap();
        let times = said.acknowledged.iter().map(|(_, at)| *at);
        let times: Vec<Instant> = times.filter(|at| *at >= since).collect();
        let first = times.first().map(|first| first.duration_since(since));
        let pauses = times.windows(2).map(|two| two[1].duration_since(two[0]));
        pauses.chain(first).max().unwrap_or_default()
    }

    /// Stops, and returns the acknowledged messages in order. No call may have failed.
    pub(crate) async fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        let said = std::mem::take(&mut *self.said.lock().unwrap());
        assert!(
            said.failed.is_empty(),
            "calls have failed: {:?}",
            said.failed
        );
        said.acknowledged
            .into_iter()
            .map(|(text, _)| text)
            .collect()
    }
}

/// Returns all texts of a conversation as one node has them, in order.
pub(crate) async fn all_texts(at_node: impl Fn() -> Client, with: &str) -> Vec<String> {
    let with = Recipient::Account(AccountName::new(with).unwrap());
    let mut texts = Vec::new();
    let mut after = 0;
    loop {
        // A new client for each page: a client that has learned who leads would ask the leader.
        let page = Page::After(Sequence(after));
        let stale = Freshness::Stale { min_position: 0 };
        let page = at_node().messages(&with, page, PAGE, stale).await.unwrap();
        let Some(last) = page.messages.last() else {
            return texts;
        };
        after = last.sequence;
        texts.extend(page.messages.into_iter().map(|message| message.text));
    }
}
