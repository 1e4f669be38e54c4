//! Takes events from several clients at once.
//!
//! Bounded by [`EVENTS_MAX`]. At the bound an event is refused and counted, and no history comes
//! out: a record with holes would blame the cluster for what the recorder dropped.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crate::{EVENTS_MAX, Event, History};

/// A record that several threads write.
#[derive(Debug)]
pub struct Recorder {
    events: Mutex<Vec<Event>>,
    op_next: AtomicU64,
    refused: AtomicU64,
    events_max: usize,
}

/// The record is full. What follows is not in it, so that it can no longer be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record is full with {events_max} events; {refused} were refused")]
pub struct RecorderFull {
    /// Number of events that it holds.
    pub events_max: usize,
    /// Number of events that it refused so far.
    pub refused: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::with_events_max(EVENTS_MAX)
    }
}

impl Recorder {
    /// Makes a recorder that holds at most so many events, [`EVENTS_MAX`] at the most.
    pub fn with_events_max(events_max: usize) -> Self {
        Self {
            events: Mutex::default(),
            op_next: AtomicU64::new(1),
            refused: AtomicU64::new(0),
            events_max: events_max.min(EVENTS_MAX),
        }
    }

    /// Gives an operation its number, unique in this record.
    pub fn next_op(&self) -> u64 {
        self.op_next.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes an event down.
    pub fn record(&self, event: Event) -> Result<(), RecorderFull> {
        // A push either happened or did not: a writer that panicked leaves a sound list.
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() >= self.events_max {
            let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
            return Err(RecorderFull {
                events_max: self.events_max,
                refused,
            });
        }
        events.push(event);
        Ok(())
    }

    /// Takes the record out, in the order of the stamps, unless something is missing from it.
    pub fn finish(self) -> Result<History, RecorderFull> {
        let refused = self.refused.into_inner();
        if refused > 0 {
            return Err(RecorderFull {
                events_max: self.events_max,
                refused,
            });
        }
        let mut events = self
            .events
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        events.sort_by_key(|event| event.at_us);
        Ok(History::from(events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::What;

    fn event(at_us: u64) -> Event {
        Event {
            at_us,
            what: What::Fail {
                client: 1,
                op: at_us,
            },
        }
    }

    #[test]
    fn events_of_concurrent_threads_are_all_recorded() {
        let recorder = Recorder::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        recorder
                            .record(event(recorder.next_op()))
                            .expect("there is room");
                    }
                });
            }
        });
        let history = recorder.finish().expect("nothing was refused");
        let stamps: Vec<u64> = history.events().iter().map(|event| event.at_us).collect();
        assert_eq!(stamps, (1..=400).collect::<Vec<u64>>());
    }

    #[test]
    fn an_incomplete_record_is_not_returned() {
        let recorder = Recorder::with_events_max(1);
        assert_eq!(recorder.record(event(1)), Ok(()));
        let full = RecorderFull {
            events_max: 1,
            refused: 1,
        };
        assert_eq!(recorder.record(event(2)), Err(full));
        assert_eq!(recorder.finish(), Err(full));
    }
}
