//! How far this node has left its clients: an operator drains it, or its process is asked to stop.
//!
//! It only keeps the stage; `cluster/leaving.rs` does what a stage asks for.
//!
//! Always true: a node that is leaving is not ready. It goes on voting, replicating and serving
//! other nodes in every stage. A node that stops does not come back.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Stage of leaving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The node serves clients.
    #[default]
    Serving,
    /// The node is not ready: leadership and streams go elsewhere. Calls are served as before.
    Leaving,
    /// Calls of clients are refused with `GOING_AWAY`, which sends each to another node.
    Away,
}

/// The stage of this node.
#[derive(Debug, Default)]
pub(crate) struct Draining {
    stage: watch::Sender<Stage>,
    is_final: AtomicBool,
}

impl Draining {
    /// Returns the stage.
    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Returns a receiver that follows the stage.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Begins to leave; a node that is leaving already goes on.
    pub(crate) fn begin(&self) {
        self.advance(Stage::Serving, Stage::Leaving);
    }

    /// Begins to leave for good: the process stops.
    pub(crate) fn begin_to_stop(&self) {
        self.is_final.store(true, Ordering::SeqCst);
        self.begin();
    }

    /// Ends the time in which calls are still served, unless the node serves clients again.
    pub(crate) fn go(&self) {
        self.advance(Stage::Leaving, Stage::Away);
    }

    /// Serves clients again, and returns `true`, unless the process stops.
    pub(crate) fn come_back(&self) -> bool {
        if self.is_final.load(Ordering::SeqCst) {
            return false;
        }
        self.stage.send_if_modified(|stage| {
            let was_leaving = *stage != Stage::Serving;
            *stage = Stage::Serving;
            was_leaving
        });
        true
    }

    fn advance(&self, from: Stage, to: Stage) {
        self.stage.send_if_modified(|stage| {
            let is_next = *stage == from;
            if is_next {
                *stage = to;
            }
            is_next
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_leaves_step_by_step_and_comes_back() {
        let draining = Draining::default();
        draining.go();
        assert_eq!(
            draining.stage(),
            Stage::Serving,
            "it has not begun to leave"
        );
        draining.begin();
        assert_eq!(draining.stage(), Stage::Leaving);
        draining.go();
        draining.begin();
        assert_eq!(draining.stage(), Stage::Away, "it does not serve once more");
        assert!(draining.come_back());
        draining.go();
        assert_eq!(
            draining.stage(),
            Stage::Serving,
            "the time that ends was another one"
        );
    }
    #[test]
    fn a_node_that_stops_does_not_come_back() {
        let draining = Draining::default();
        draining.begin();
        draining.begin_to_stop();
        draining.go();
        assert!(!draining.come_back());
        assert_eq!(draining.stage(), Stage::Away);
    }
}
