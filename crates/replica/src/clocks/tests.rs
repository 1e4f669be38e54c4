//! The times of nodes whose clocks are arbitrary.

use std::collections::BTreeSet;

use conclave_core::limits::{DATE_STANDS_MS, DATE_STEADY_MS};
use proptest::prelude::*;

use super::{clock_state::Reading, *};

const YEAR: u64 = 365 * 24 * 60 * 60 * 1000;
const HOUR: u64 = 60 * 60 * 1000;
/// Some day.
const T: u64 = 1_800_000_000_000;

fn times(log_time: u64, date: u64) -> Now {
    Now {
        log_time: Timestamp(log_time),
        date: Timestamp(date),
    }
}

fn voters(count: u64) -> Vec<BTreeSet<u64>> {
    vec![(1..=count).collect()]
}

/// Lets node 1 agree: its clock says the first of `clocks`, those of the other nodes the rest.
fn agree(known: &mut ClockState, clocks: &[u64], elapsed: i64) -> clock_state::Changes {
    let others = clocks.iter().zip(1..).skip(1);
    known.read(others.map(|(said, node)| (node, Reading::new(Timestamp(*said), 0, elapsed))));
    known.agree(
        1,
        Timestamp(clocks[0]),
        &voters(clocks.len() as u64),
        elapsed,
    )
}

#[test]
fn the_date_is_the_voters_median_despite_the_own_clock() {
    for own in [0, T - 24 * HOUR, T, T + YEAR, u64::MAX] {
        let mut known = ClockState::new(Now::default());
        agree(&mut known, &[own, T, T + 3], 0);
        let stamp = known.stamp(5, Timestamp(own));
        let (low, high) = (T + 5, T + 8);
        assert!((low..=high).contains(&stamp.date.0), "{own}: {stamp:?}");
        assert_eq!(stamp.log_time, stamp.date, "the log begins");
        assert_eq!(known.status().is_skewed, own.abs_diff(T) > HOUR, "{own}");
    }
}

#[test]
fn log_time_advances_with_elapsed_time_not_with_clocks() {
    let mut known = ClockState::new(times(T, T));
    agree(&mut known, &[T + 1000; 3], 0);
    assert_eq!(known.stamp(0, Timestamp(T)), times(T + 1000, T + 1000));
    let changes = agree(&mut known, &[T + YEAR; 3], 1000);
    assert_eq!(
        changes.date_step_ms,
        Some((YEAR - 2000) as i64),
        "it is told"
    );
    assert_eq!(known.stamp(1000, Timestamp(T)), times(T + 2000, T + YEAR));
    agree(&mut known, &[T + 3000 - HOUR; 3], 2000);
    assert_eq!(known.now(2000), times(T + 3000, T + 3000 - HOUR));
}

#[test]
fn a_starting_node_learns_its_downtime_from_the_voters_clocks() {
    let mut known = ClockState::new(times(T + YEAR, T));
    assert_eq!(
        known.now(0),
        times(T + YEAR, T),
        "no other node was asked yet"
    );
    agree(&mut known, &[T + HOUR; 3], 10);
    let later = times(T + YEAR + HOUR, T + HOUR);
    assert_eq!(known.now(10), later);
    assert_eq!(known.stamp(10, Timestamp(0)), later);
    let mut behind = ClockState::new(times(T + YEAR, T));
    agree(&mut behind, &[T - HOUR; 3], 10);
    assert_eq!(behind.stamp(10, Timestamp(0)), times(T + YEAR, T - HOUR));
}

#[test]
fn a_fresh_entry_outweighs_a_clock_that_was_set() {
    // It was down for a moment, and meanwhile all clocks were set an hour ahead.
    let mut known = ClockState::new(times(T, T));
    agree(&mut known, &[T + HOUR; 3], 0);
    known.applied(times(T + 20, T + HOUR + 10), 10);
    assert_eq!(known.stamp(10, Timestamp(0)), times(T + 20, T + HOUR + 10));
}

#[test]
fn downtime_and_the_first_log_time_are_bounded() {
    let mut known = ClockState::new(times(T, T));
    agree(&mut known, &[u64::MAX; 3], 0);
    assert!(known.stamp(0, Timestamp(0)).log_time.0 < T + 11 * YEAR);
    let mut first = ClockState::new(Now::default());
    agree(&mut first, &[u64::MAX; 3], 0);
    assert!(first.stamp(0, Timestamp(0)).log_time.0 < 600 * YEAR);
}

#[test]
fn without_a_majority_dates_advance_without_the_own_clock() {
    let mut known = ClockState::new(times(T, T));
    known.agree(1, Timestamp(T + YEAR), &voters(3), 0);
    assert_eq!(known.stamp(0, Timestamp(T + YEAR)), times(T, T));
    known.applied(times(T + 1, T + 1), 7);
    assert_eq!(known.stamp(9, Timestamp(T + YEAR)), times(T + 3, T + 3));
    assert_eq!(known.status(), ClockStatus::default());
}

#[test]
fn a_wrong_clock_beside_a_node_that_is_down_is_outvoted() {
    let mut known = ClockState::new(times(T, T));
    agree(&mut known, &[T, T, T], 0);
    known.stamp(0, Timestamp(T));
    // The third does not answer any more, and the own clock is set.
    for wrong in [T + YEAR, T - YEAR] {
        let said = Reading::new(Timestamp(T + 60_000), 0, 60_000);
        known.read([(2, said)]);
        known.agree(1, Timestamp(wrong), &voters(3), 60_000);
        assert_eq!(known.now(60_000), times(T + 60_000, T + 60_000), "{wrong}");
        assert!(known.status().is_skewed);
    }
    // Of two, the log knows which one was set.
    let mut pair = ClockState::new(times(T, T));
    agree(&mut pair, &[T, T], 0);
    pair.stamp(0, Timestamp(T));
    agree(&mut pair, &[T - YEAR, T + 1000], 1000);
    assert_eq!(pair.now(1000), times(T + 1000, T + 1000));
}

#[test]
fn a_change_of_clock_skew_is_reported_once() {
    let mut known = ClockState::new(times(T, T));
    let skews = [0, 9_000, 11_000, 9_000, 12_000, 4_000, 9_000];
    let told: Vec<_> = skews
        .iter()
        .map(|skew| {
            agree(&mut known, &[T + skew, T, T], 0)
                .skew
                .map(|(_, off)| off)
        })
        .collect();
    assert_eq!(
        told,
        [None, None, Some(true), None, None, Some(false), None]
    );
}

proptest! {
    /// Checks that, whatever a minority of the clocks says, and however the others are set, log
    /// time never runs backwards and never faster than time.
    #[test]
    fn log_time_is_as_fast_as_time(
        steps in prop::collection::vec(
            (0i64..5000, any::<u64>(), -(HOUR as i64)..HOUR as i64),
            1..60,
        )
    ) {
        let mut known = ClockState::new(times(T, T));
        let (mut elapsed, mut set) = (0, 0);
        agree(&mut known, &[T, T, T], 0);
        let first = known.stamp(0, Timestamp(T)).log_time.0;
        for (pause, wrong, step) in steps {
            elapsed += pause;
            set += step;
            let right = (T as i64 + set + elapsed) as u64;
            agree(&mut known, &[wrong, right, right], elapsed);
            let stamp = known.stamp(elapsed, Timestamp(wrong));
            prop_assert_eq!(stamp.log_time.0, first + elapsed as u64);
            // A date may stand for a while, as the rules have it.
            let behind = stamp.date.0.abs_diff(right);
            prop_assert!(behind <= DATE_STEADY_MS + DATE_STANDS_MS, "{stamp:?}");
            known.applied(times(stamp.log_time.0, stamp.date.0), elapsed + pause);
        }
    }
}
