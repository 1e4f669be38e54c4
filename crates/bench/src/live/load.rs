//! Runs senders that keep their pace, so that the measurement beside them does not change the load.
//!
//! A sender whose answer is late sends later; it never makes up for it with a burst.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use conclave_client::{
    Client,
    core::{AccountName, Recipient},
};
use hdrhistogram::Histogram;
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};

use super::crowd::{Board, client};
use crate::{error::BenchError, latencies, scratch::random_word};

/// Duration of the measurement of the maximal rate, after a warm-up of the same length.
const FULL_SPEED: Duration = Duration::from_secs(2);
/// Number of parts of a run with figures of their own.
const PARTS: usize = 4;

/// A sender's client, and its recipient.
pub(crate) type Sender = (Client, Recipient);

/// Senders at work.
pub(crate) struct Load {
    shared: Arc<RunState>,
    tasks: JoinSet<()>,
}

struct RunState {
    stop: AtomicBool,
    part: AtomicUsize,
    /// Latencies of answers, for each part of the run.
    took: [Mutex<Histogram<u64>>; PARTS],
}

impl Load {
    /// Starts the senders with this number of messages per second, all together; `None` for as fast
    /// as they can.
    pub(crate) fn start(
        senders: Vec<Sender>,
        rate: Option<f64>,
        payload: usize,
        board: &Arc<Board>,
    ) -> Self {
        let shared = Arc::new(RunState {
            stop: AtomicBool::new(false),
            part: AtomicUsize::new(0),
            took: std::array::from_fn(|_| Mutex::new(latencies())),
        });
        let mut tasks = JoinSet::new();
        let count = senders.len();
        for (number, sender) in senders.into_iter().enumerate() {
            let every = rate.map(|rate| Duration::from_secs_f64(count as f64 / rate));
            let first = every.map(|every| every.mul_f64(number as f64 / count as f64));
            let pace = every.zip(first);
            tasks.spawn(send(shared.clone(), sender, pace, payload, board.clone()));
        }
        Self { shared, tasks }
    }

    /// Begins another part of the run.
    pub(crate) fn begin_part(&self, part: usize) {
        self.shared.part.store(part, Ordering::Relaxed);
    }

    /// Stops the senders; returns the latencies of answers in each part.
    pub(crate) async fn stop(self) -> Vec<Histogram<u64>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        let mut took = Vec::new();
        for part in &self.shared.took {
            took.push(part.lock().await.clone());
        }
        took
    }
}

async fn send(
    shared: Arc<RunState>,
    (client, to): Sender,
    pace: Option<(Duration, Duration)>,
    payload: usize,
    board: Arc<Board>,
) {
    let mut ticks = pace.map(|(every, first)| {
        let mut ticks = interval_at(Instant::now() + first, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    while !shared.stop.load(Ordering::Relaxed) {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let (began, part) = (Instant::now(), shared.part.load(Ordering::Relaxed));
        let text = text(board.now_us(), payload);
        // A failed send counts too: a late or missing answer belongs to the latencies.
        let _ = client.send(&to, text).await;
        let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        shared.took[part].lock().await.saturating_record(us);
    }
}

/// Makes a text that says when it was sent.
pub(super) fn text(now_us: u64, bytes: usize) -> String {
    let mut text = format!("{now_us} ");
    text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len())));
    text
}

/// Makes people who send to each other through these nodes; `each` messages of one session are
/// under way at once.
pub(crate) async fn pairs(
    endpoints: &[String],
    sessions: u64,
    each: u64,
) -> Result<Vec<Sender>, BenchError> {
    let anonymous = Client::builder().endpoints(endpoints).build()?;
    let password = random_word()?;
    let name = |number: u64| format!("sender{number}");
    for number in 0..=sessions {
        anonymous.create_account(&name(number), &password).await?;
    }
    let mut senders = Vec::new();
    for number in 0..sessions {
        let token = anonymous.login(&name(number), &password).await?.token;
        let sender = client(endpoints, &token)?;
        let peer = AccountName::new(name(number + 1)).expect("it is a name");
        for _ in 0..each {
            senders.push((sender.clone(), Recipient::Account(peer.clone())));
        }
    }
    Ok(senders)
}

/// Measures how many messages per second these senders get acknowledged.
pub(crate) async fn rate_max(senders: Vec<Sender>, payload: usize, board: &Arc<Board>) -> f64 {
    let load = Load::start(senders, None, payload, board);
    sleep(FULL_SPEED).await;
    load.begin_part(1);
    let began = Instant::now();
    sleep(FULL_SPEED).await;
    load.begin_part(2);
    let measured = began.elapsed();
    let took = load.stop().await;
    took[1].len() as f64 / measured.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_its_length_unless_its_time_is_longer() {
        assert_eq!(text(12, 6), "12 xxx");
        assert_eq!(text(123_456, 3), "123456 ");
    }
}
