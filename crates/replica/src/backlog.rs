//! Bounds what waits on the way into the log: what would wait too long is refused at once.
//!
//! A caller that has waited too long gives up and asks again. With more work than a node can do,
//! every command would then be carried out twice, and the node would get half as much done as
//! before: it could not come back from an overload that had long ended.
//!
//! Always true: the bound is never below [`BACKLOG_MIN`] nor above [`BACKLOG_MAX`]; each place is
//! given back once.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use conclave_core::limits::BATCH_COMMANDS_MAX;
use tokio::time::Instant;

/// Commands that may wait or be under way, whatever the node's rate: enough for several full
/// entries. At the bound further ones are refused.
pub(crate) const BACKLOG_MAX: usize = 8192;
/// Commands that may wait or be under way in any case: one full entry.
const BACKLOG_MIN: usize = BATCH_COMMANDS_MAX;

/// Longest time for which commands may have to wait by the measured rate: half the time after which
/// a client asks another node.
const WAIT_MAX: Duration = Duration::from_millis(300);

/// Time over which one rate is measured.
const WINDOW: Duration = Duration::from_millis(250);
/// Number of rates that are kept, of which the greatest counts: a disk that stalls for a moment
/// does not make a node slow.
const RATES_MAX: usize = 8;
/// A rate counts only if so many commands waited all the time: else it shows how much was asked,
/// not how much the node can do.
const STANDING_MIN: usize = 256;

/// Counts the commands that wait or are under way. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub(crate) struct Backlog(Arc<Inner>);

struct Inner {
    under_way: AtomicUsize,
    bound: AtomicUsize,
    measured: Mutex<Measured>,
}

/// The window that is being measured, and the rates of earlier ones.
struct Measured {
    began: Instant,
    done: usize,
    under_way_least: usize,
    /// Commands per second, the oldest first.
    rates: VecDeque<f64>,
}

/// The place of some commands, given back when it is dropped.
#[must_use]
pub(crate) struct Place {
    backlog: Backlog,
    commands: usize,
}

impl Backlog {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            under_way: AtomicUsize::new(0),
            bound: AtomicUsize::new(BACKLOG_MAX),
            measured: Mutex::new(Measured {
                began: Instant::now(),
                done: 0,
                under_way_least: 0,
                rates: VecDeque::with_capacity(RATES_MAX),
            }),
        }))
    }

    /// Takes a place for so many commands; `None` if they would wait too long.
    pub(crate) fn enter(&self, commands: usize) -> Option<Place> {
        let before = self.0.under_way.fetch_add(commands, Ordering::Relaxed);
        let place = Place {
            backlog: self.clone(),
            commands,
        };
        // More than the bound at once can only be taken by a node that does nothing else.
        let fits = before == 0 || before + commands <= self.0.bound.load(Ordering::Relaxed);
        fits.then_some(place)
    }

    /// Counts commands that were carried out, after their places were given back.
    fn done(&self, commands: usize) {
        let under_way = self.0.under_way.load(Ordering::Relaxed);
        let now = Instant::now();
        // Every statement leaves valid figures.
        let measured = self.0.measured.lock();
        let mut measured = measured.unwrap_or_else(PoisonError::into_inner);
        measured.done += commands;
        measured.under_way_least = measured.under_way_least.min(under_way);
        let took = now.duration_since(measured.began);
        if took < WINDOW {
            return;
        }
        if measured.under_way_least >= STANDING_MIN {
            if measured.rates.len() == RATES_MAX {
                measured.rates.pop_front();
            }
            let rate = measured.done as f64 / took.as_secs_f64();
            measured.rates.push_back(rate);
            let best = measured.rates.iter().copied().fold(0.0, f64::max);
            let bound = (best * WAIT_MAX.as_secs_f64()) as usize;
            let bound = bound.clamp(BACKLOG_MIN, BACKLOG_MAX);
            self.0.bound.store(bound, Ordering::Relaxed);
        }
        measured.began = now;
        measured.done = 0;
        measured.under_way_least = under_way;
    }
}

impl Place {
    /// Gives the place back and counts its commands as carried out.
    pub(crate) fn done(self) {
        let (backlog, commands) = (self.backlog.clone(), self.commands);
        drop(self);
        backlog.done(commands);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.backlog
            .0
            .under_way
            .fetch_sub(self.commands, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Carries out `rate` commands per second for a while, one after the other, while `waiting`
    /// others wait.
    async fn work(backlog: &Backlog, waiting: usize, rate: u64, lasts: Duration) {
        let _others: Vec<Place> = (0..waiting).filter_map(|_| backlog.enter(1)).collect();
        let ends = Instant::now() + lasts;
        while Instant::now() < ends {
            let place = backlog.enter(1);
            tokio::time::advance(Duration::from_micros(1_000_000 / rate)).await;
            if let Some(place) = place {
                place.done();
            }
        }
    }

    fn bound(backlog: &Backlog) -> usize {
        let mut taken = Vec::new();
        while let Some(place) = backlog.enter(1) {
            taken.push(place);
        }
        taken.len()
    }

    #[tokio::test(start_paused = true)]
    async fn as_much_may_wait_as_is_done_in_the_time_for_waiting() {
        let backlog = Backlog::new();
        assert_eq!(bound(&backlog), BACKLOG_MAX, "nothing is known yet");
        work(&backlog, 1000, 10_000, Duration::from_secs(1)).await;
        let measured = bound(&backlog);
        assert!((2950..=3050).contains(&measured), "{measured}");
        assert_eq!(bound(&backlog), measured, "places come back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_counts_only_while_others_wait() {
        let backlog = Backlog::new();
        work(&backlog, 10, 4000, Duration::from_secs(3)).await;
        assert_eq!(bound(&backlog), BACKLOG_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_changes_nothing_and_a_slow_node_takes_one_entry() {
        let backlog = Backlog::new();
        work(&backlog, 1000, 10_000, Duration::from_secs(1)).await;
        let before = bound(&backlog);
        work(&backlog, 1000, 1, Duration::from_secs(2)).await;
        assert_eq!(bound(&backlog), before);
        work(&backlog, 1000, 100, Duration::from_secs(3)).await;
        assert_eq!(bound(&backlog), BACKLOG_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_greater_than_the_bound_is_taken_alone() {
        let backlog = Backlog::new();
        let all = backlog.enter(2 * BACKLOG_MAX).unwrap();
        assert!(backlog.enter(1).is_none());
        drop(all);
        assert!(backlog.enter(1).is_some());
    }
}
