//! Plans the steps of a demonstration: a pure function, so that it can be tested.

use std::time::Duration;

/// A disturbance of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Kill the leader.
    Kill,
    /// Start all dead nodes.
    Restart,
}

/// Percent of the time at which the first leader is killed, and at which the last one is.
const KILL_PERCENT: (u32, u32) = (20, 40);
/// Percent of the time at which the dead nodes are started again.
const RESTART_PERCENT: u32 = 65;

/// Returns the steps of a run of this length, in order.
pub(super) fn timeline(end: Duration, kills: u64) -> Vec<(Duration, Step)> {
    let kills = u32::try_from(kills).expect("a local cluster is small");
    let (first, last) = KILL_PERCENT;
    let at = |percent: u32| end * percent / 100;
    let kill = |number: u32| {
        let percent = first + (last - first) * number / (kills - 1).max(1);
        (at(percent), Step::Kill)
    };
    let mut steps: Vec<_> = (0..kills).map(kill).collect();
    if kills > 0 {
        steps.push((at(RESTART_PERCENT), Step::Restart));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn killed_nodes_are_down_together_and_then_restarted() {
        let seconds = Duration::from_secs;
        let expected = [
            (seconds(4), Step::Kill),
            (seconds(8), Step::Kill),
            (seconds(13), Step::Restart),
        ];
        assert_eq!(timeline(seconds(20), 2), expected);
        assert_eq!(timeline(seconds(20), 0), []);
        let one = [(seconds(4), Step::Kill), (seconds(13), Step::Restart)];
        assert_eq!(timeline(seconds(20), 1), one);
        assert!(timeline(seconds(20), 4).is_sorted_by_key(|(at, _)| *at));
    }
}
