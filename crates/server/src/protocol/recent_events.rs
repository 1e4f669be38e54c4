//! Remembers what has happened to this node and its cluster lately, for operators: elections,
//! members, snapshots, repairs, peers that stop answering.
//!
//! It is no log: the oldest event gives way, and a restart forgets all. Ages are measured here, so
//! a clock that is set changes none of them.
//!
//! Always true: at most [`EVENTS_MAX`] events are kept, each with the next number.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use conclave_wire::v1;
use tokio::time::Instant;

use super::problems::millis;

/// Events that are kept. A status answer has those of all nodes.
pub(crate) const EVENTS_MAX: usize = 32;

/// The events of a node. Cheap to clone; all clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecentEvents(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// The number of the last event.
    number_last: u64,
    /// When each happened, the oldest first.
    events: VecDeque<(Instant, v1::NodeEvent)>,
}

impl RecentEvents {
    /// Records that the node was started, and whether its data was repaired.
    pub(crate) fn record_start(&self, repaired: bool) {
        self.record(v1::NodeEventKind::Started, 0);
        if repaired {
            self.record(v1::NodeEventKind::Repaired, 0);
        }
    }

    /// Records an event of this kind about a node; 0: about none.
    pub(crate) fn record(&self, kind: v1::NodeEventKind, node: u64) {
        let about = v1::NodeEvent {
            subject_node_id: node,
            ..v1::NodeEvent::default()
        };
        self.record_with(kind, about);
    }

    /// Records an event of this kind with these details.
    pub(crate) fn record_with(&self, kind: v1::NodeEventKind, details: v1::NodeEvent) {
        // Every statement leaves a valid list.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.events.len() == EVENTS_MAX {
            kept.events.pop_front();
        }
        kept.number_last += 1;
        let event = v1::NodeEvent {
            number: kept.number_last,
            kind: kind.into(),
            ..details
        };
        kept.events.push_back((Instant::now(), event));
    }

    /// Returns the events, the oldest first, each with its age now.
    pub(crate) fn to_wire(&self) -> Vec<v1::NodeEvent> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let with_age = |(at, event): &(Instant, v1::NodeEvent)| v1::NodeEvent {
            age_ms: millis(at.elapsed()),
            ..event.clone()
        };
        kept.events.iter().map(with_age).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_newest_events_are_kept_with_their_ages() {
        let events = RecentEvents::default();
        for node in 1..=2 * EVENTS_MAX as u64 {
            events.record(v1::NodeEventKind::LeaderChanged, node);
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        let kept = events.to_wire();
        assert_eq!(kept.len(), EVENTS_MAX);
        let (first, last) = (&kept[0], &kept[EVENTS_MAX - 1]);
        assert_eq!((first.number, first.subject_node_id), (33, 33));
        assert_eq!((last.number, last.age_ms), (64, 10));
        assert_eq!(first.age_ms, 320);
        assert_eq!(last.kind(), v1::NodeEventKind::LeaderChanged);
    }
}
