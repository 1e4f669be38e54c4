//! Sends messages in a closed or an open loop.
//!
//! In the closed loop a worker waits for an answer before it sends again: a node that stalls is
//! asked less. In the open loop messages leave on a schedule, whether or not others were answered,
//! and a latency counts from the time at which the message was due: a stall costs every message
//! that was due meanwhile.
//!
//! Always true: at most so many messages are under way as there may be. In the open loop a message
//! that is due beyond this bound does not leave and is counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::{JoinSet, yield_now},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    mode::{Outcome, Sender},
    record::Record,
    schedule::Schedule,
    sizes::Sizes,
    tally::{Tally, Times},
};
use crate::error::{BenchError, failed};

/// Pause of a worker after a message that failed: without it a cluster that refuses everything
/// would be asked as fast as this machine can.
const FAILED_PAUSE: Duration = Duration::from_millis(10);
/// Messages that leave in a row before other tasks of this process get their turn.
const IN_A_ROW: u64 = 32;
/// Time for the last answers beyond the longest time for one message.
const DRAIN_SLACK: Duration = Duration::from_secs(5);

/// What all tasks of a run share.
pub(super) struct Run<S> {
    pub(super) sender: S,
    pub(super) sizes: Sizes,
    pub(super) tally: Tally,
    pub(super) record: Record,
    /// Number of the next message.
    next: AtomicU64,
}

impl<S: Sender> Run<S> {
    pub(super) fn new(sender: S, sizes: Sizes, record: Record) -> Arc<Self> {
        Arc::new(Self {
            sender,
            sizes,
            tally: Tally::new(),
            record,
            next: AtomicU64::new(0),
        })
    }

    /// Sends the next message, due at this time; returns whether it was acknowledged.
    async fn send(&self, number: u64, due: Instant) -> bool {
        let place = self.record.begin(self.sender.conversation(number), number);
        let text = self.sizes.text(number);
        let left = Instant::now();
        let outcome = self.sender.send(number, text).await;
        let ended = Instant::now();
        if let Some(place) = place {
            self.record.end(place, &outcome);
        }
        self.tally
            .count(number, Times { due, left, ended }, &outcome);
        matches!(outcome, Outcome::Acked { .. })
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// Tasks that send.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    under_way: Option<(Arc<Semaphore>, u32)>,
}

impl Load {
    /// Starts workers that each wait for an answer before they send again; with `count` they end
    /// after so many messages.
    pub(super) fn closed<S: Sender>(run: &Arc<Run<S>>, workers: u64, count: Option<u64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let left = Arc::new(AtomicU64::new(count.unwrap_or(u64::MAX)));
        let mut tasks = JoinSet::new();
        for _ in 0..workers {
            let (run, stop, left) = (Arc::clone(run), Arc::clone(&stop), Arc::clone(&left));
            tasks.spawn(async move {
                let take = |left: u64| left.checked_sub(1);
                while !stop.load(Ordering::Relaxed)
                    && left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                        .is_ok()
                {
                    if !run.send(run.number(), Instant::now()).await {
                        // Another message takes its place in the count.
                        left.fetch_add(1, Ordering::Relaxed);
                        sleep(FAILED_PAUSE).await;
                    }
                }
            });
        }
        Self {
            stop,
            tasks,
            under_way: None,
        }
    }

    /// Starts to send on a schedule that begins at `begins`, with at most `places` messages under
    /// way.
    pub(super) fn open<S: Sender>(
        run: &Arc<Run<S>>,
        schedule: Schedule,
        begins: Instant,
        places: u64,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        let free = Arc::new(Semaphore::new(places as usize));
        let mut tasks = JoinSet::new();
        let (run, stopped, under_way) = (Arc::clone(run), Arc::clone(&stop), Arc::clone(&free));
        tasks.spawn(async move {
            for place in 0.. {
                let Some(due) = schedule.due(place).map(|due| begins + due) else {
                    return;
                };
                if due > Instant::now() {
                    sleep_until(due).await;
                } else if place % IN_A_ROW == 0 {
                    yield_now().await;
                }
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let number = run.number();
                match Arc::clone(&under_way).try_acquire_owned() {
                    Ok(permit) => {
                        let run = Arc::clone(&run);
                        tokio::spawn(async move {
                            run.send(number, due).await;
                            drop(permit);
                        });
                    }
                    Err(_) => run.tally.count_not_sent(number),
                }
            }
        });
        Self {
            stop,
            tasks,
            under_way: Some((free, places)),
        }
    }

    /// Returns whether all workers have ended.
    pub(super) fn is_done(&mut self) -> bool {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.is_empty()
    }

    /// Sends no more; waits for the answers that are under way, each of which takes `longest` at
    /// most.
    pub(super) async fn stop(mut self, longest: Duration) -> Result<(), BenchError> {
        self.stop.store(true, Ordering::Relaxed);
        let all = async {
            while self.tasks.join_next().await.is_some() {}
            if let Some((free, places)) = &self.under_way {
                // An open loop has no permit left over once every message has ended.
                let _ = free.acquire_many(*places).await;
            }
        };
        let ended = timeout(longest + DRAIN_SLACK, all).await;
        ended.map_err(|_| failed("waited too long: the last answers"))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::schedule::Pace, *};

    const SECOND: Duration = Duration::from_secs(1);
    /// Time that an answer of the server usually takes.
    const ANSWER: Duration = Duration::from_millis(2);

    /// A server that answers at once, except that it stalls for a while.
    struct Stalling {
        began: Instant,
        from: Duration,
        lasts: Duration,
        under_way: AtomicU64,
        under_way_max: AtomicU64,
    }

    impl Stalling {
        fn new(from: Duration, lasts: Duration) -> Self {
            Self {
                began: Instant::now(),
                from,
                lasts,
                under_way: AtomicU64::new(0),
                under_way_max: AtomicU64::new(0),
            }
        }
    }

    impl Sender for Stalling {
        fn conversation(&self, _: u64) -> usize {
            0
        }

        async fn send(&self, number: u64, _: String) -> Outcome {
            let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            self.under_way_max.fetch_max(under_way, Ordering::Relaxed);
            let at = self.began.elapsed();
            if (self.from..self.from + self.lasts).contains(&at) {
                sleep_until(self.began + self.from + self.lasts).await;
            }
            sleep(ANSWER).await;
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            Outcome::Acked {
                sequence: number + 1,
                position: number,
            }
        }
    }

    fn run(sender: Stalling) -> Arc<Run<Stalling>> {
        let record = Record::new(1, 100, true);
        Run::new(sender, "100".parse().unwrap(), record)
    }

    fn steady(rate: f64, seconds: u32) -> Schedule {
        let lasts = SECOND * seconds;
        Schedule::new([Pace { rate, lasts }])
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_costs_every_message_that_was_due_meanwhile() {
        let run = run(Stalling::new(2 * SECOND, SECOND));
        let load = Load::open(&run, steady(100.0, 10), Instant::now(), 1000);
        sleep(11 * SECOND).await;
        load.stop(SECOND).await.unwrap();
        let counts = run.tally.take();
        assert_eq!((counts.acked(), counts.not_sent), (1000, 0));
        let at = |quantile| counts.latencies.value_at_quantile(quantile) / 1000;
        // A tenth of the messages was due in the stall, and waited for its end.
        assert!(at(0.89) <= 5, "{}", at(0.89));
        assert!(at(0.95) >= 450, "{}", at(0.95));
        assert!(at(0.99) >= 880, "{}", at(0.99));
        assert!(counts.late.max() < 5000, "all left in time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_hides_the_same_stall() {
        let run = run(Stalling::new(2 * SECOND, SECOND));
        let load = Load::closed(&run, 1, None);
        sleep(10 * SECOND).await;
        load.stop(SECOND).await.unwrap();
        let latencies = run.tally.take().latencies;
        // One message of thousands: that is why there is an open loop.
        assert!(latencies.value_at_quantile(0.99) < 10_000);
        assert!(latencies.max() > 900_000);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_beyond_the_bound_do_not_leave_and_are_counted() {
        let run = run(Stalling::new(SECOND, 2 * SECOND));
        let load = Load::open(&run, steady(100.0, 4), Instant::now(), 20);
        sleep(5 * SECOND).await;
        load.stop(SECOND).await.unwrap();
        let counts = run.tally.take();
        assert_eq!(counts.acked() + counts.not_sent, 400);
        assert!(
            (170..=185).contains(&counts.not_sent),
            "{}",
            counts.not_sent
        );
        assert_eq!(run.sender.under_way_max.load(Ordering::Relaxed), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_counted_load_ends_by_itself() {
        let run = run(Stalling::new(Duration::ZERO, Duration::ZERO));
        let mut load = Load::closed(&run, 16, Some(1000));
        while !load.is_done() {
            sleep(ANSWER).await;
        }
        assert_eq!(run.tally.acked.load(Ordering::Relaxed), 1000);
        assert_eq!(run.sender.under_way_max.load(Ordering::Relaxed), 16);
        load.stop(SECOND).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_comes_ends_the_measurement() {
        let run = run(Stalling::new(Duration::ZERO, 3600 * SECOND));
        let load = Load::open(&run, steady(10.0, 1), Instant::now(), 100);
        sleep(SECOND).await;
        let ended = load.stop(15 * SECOND).await;
        assert!(matches!(ended, Err(BenchError::Failed(_))));
    }
}
