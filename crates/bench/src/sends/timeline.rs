//! Takes the tally out every second: what happened in each second, in each part, and in total.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::{
    nodes::{NodeUse, Watch},
    options::Happening,
    tally::{Counts, Tally},
};

/// A part of the measurement with figures of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) seconds: u64,
    /// Messages per second that are due; `None` in a closed loop.
    pub(super) rate: Option<f64>,
}

/// One second of the measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Second {
    /// End of this second, since the beginning of the measurement.
    pub(super) at_s: f64,
    /// Name of the part to which it belongs.
    pub(super) part: &'static str,
    /// Messages per second that were due; absent in a closed loop.
    pub(super) due_per_second: Option<f64>,
    /// Messages that were acknowledged.
    pub(super) acked: u64,
    /// The same for each second, if this one was longer or shorter.
    pub(super) acked_per_second: f64,
    /// Latencies; absent if no message was acknowledged.
    pub(super) p50_us: Option<u64>,
    pub(super) p99_us: Option<u64>,
    pub(super) max_us: Option<u64>,
    /// Messages that did not leave because too many were under way.
    pub(super) not_sent: u64,
    /// Messages without an acknowledgement, by reason.
    pub(super) failed: BTreeMap<String, u64>,
    /// What each node has used so far.
    pub(super) nodes: Vec<NodeUse>,
}

/// What was measured.
pub(super) struct Measured {
    pub(super) seconds: Vec<Second>,
    pub(super) parts: Vec<(Part, Counts, Duration)>,
    /// What each node had used at the beginning.
    pub(super) nodes_before: Vec<NodeUse>,
    /// Duration of all parts.
    pub(super) lasted: Duration,
    /// Longest time without an acknowledgement since a leader was killed, if one was.
    pub(super) gap: Duration,
}

/// Collects what happens in all parts, from `began` on.
pub(super) async fn collect(
    tally: &Tally,
    parts: &[Part],
    began: Instant,
    mut watch: Watch<'_>,
    tell: &dyn Fn(Happening),
) -> Measured {
    let nodes_before = watch.look();
    let total: u64 = parts.iter().map(|part| part.seconds).sum();
    let mut seconds = Vec::new();
    let mut by_part = Vec::new();
    let (mut tick, mut last) = (began, began);
    for part in parts {
        let mut all = Counts::default();
        let part_began = last;
        for _ in 0..part.seconds {
            tick += Duration::from_secs(1);
            sleep_until(tick).await;
            let (counts, now) = (tally.take(), Instant::now());
            let second = second(part, &counts, (began, last, now), watch.look());
            tell(Happening::Measured {
                acked: second.acked,
                failed: second.not_sent + counts.failures(),
                p99_us: second.p99_us,
                done: seconds.len() as u64 + 1,
                total,
            });
            all.add(&counts);
            seconds.push(second);
            last = now;
        }
        by_part.push((part.clone(), all, last.duration_since(part_began)));
    }
    Measured {
        seconds,
        parts: by_part,
        nodes_before,
        lasted: last.duration_since(began),
        gap: tally.gap(),
    }
}

fn second(
    part: &Part,
    counts: &Counts,
    (began, from, to): (Instant, Instant, Instant),
    nodes: Vec<NodeUse>,
) -> Second {
    let length = to.duration_since(from).as_secs_f64().max(1e-9);
    let at = |quantile| value(&counts.latencies, quantile);
    Second {
        at_s: to.duration_since(began).as_secs_f64(),
        part: part.name,
        due_per_second: part.rate,
        acked: counts.acked(),
        acked_per_second: counts.acked() as f64 / length,
        p50_us: at(0.5),
        p99_us: at(0.99),
        max_us: at(1.0),
        not_sent: counts.not_sent,
        failed: counts.failed.clone(),
        nodes,
    }
}

/// Returns the latency within which this share was acknowledged; `None` if nothing was.
pub(super) fn value(latencies: &Histogram<u64>, quantile: f64) -> Option<u64> {
    (!latencies.is_empty()).then(|| latencies.value_at_quantile(quantile))
}

/// Returns the seconds after an overload until the first one in which every message was
/// acknowledged, 99 of 100 within twice the time of the part before it; `None` if there is none.
pub(super) fn recovery_s(seconds: &[Second], before: &str, after: &str) -> Option<u64> {
    let calm = seconds.iter().filter(|second| second.part == before);
    let usual = calm.filter_map(|second| second.p99_us).max()?;
    let later = seconds.iter().filter(|second| second.part == after);
    let is_well = |second: &Second| {
        second.not_sent == 0
            && second.failed.is_empty()
            && second.p99_us.is_some_and(|p99| p99 <= 2 * usual)
    };
    let first = later.clone().position(is_well)?;
    Some(first as u64)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{mode::Outcome, tally::Times},
        *,
    };

    fn part(name: &'static str, seconds: u64) -> Part {
        Part {
            name,
            seconds,
            rate: Some(10.0),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_second_has_what_happened_in_it() {
        let tally = std::sync::Arc::new(Tally::new());
        let began = Instant::now();
        let sending = tokio::spawn({
            let tally = tally.clone();
            async move {
                for number in 0..50 {
                    let due = began + Duration::from_millis(100 * number + 50);
                    sleep_until(due).await;
                    let outcome = match number {
                        20..30 => Outcome::Failed {
                            reason: "refused: BUSY".to_owned(),
                            certain: true,
                        },
                        _ => Outcome::Acked {
                            sequence: number,
                            position: number,
                        },
                    };
                    let left = Instant::now();
                    let ended = left + Duration::from_millis(1 + number);
                    tally.count(number, Times { due, left, ended }, &outcome);
                }
            }
        });
        let parts = [part("first", 2), part("second", 3)];
        let told = std::cell::RefCell::new(Vec::new());
        let tell = |happening| told.borrow_mut().push(happening);
        let measured = collect(&tally, &parts, began, Watch::new(None), &tell).await;
        sending.await.unwrap();
        let acked: Vec<u64> = measured.seconds.iter().map(|second| second.acked).collect();
        assert_eq!(acked, [10, 10, 0, 10, 10]);
        assert_eq!(measured.seconds[2].failed["refused: BUSY"], 10);
        assert_eq!(measured.seconds[2].p99_us, None);
        assert!(measured.seconds[4].p99_us > measured.seconds[0].p99_us);
        let of_part = |place: usize| measured.parts[place].1.acked();
        assert_eq!((of_part(0), of_part(1)), (20, 20));
        assert_eq!(measured.lasted.as_secs(), 5);
        assert_eq!(told.borrow().len(), 5);
    }

    #[test]
    fn recovery_ends_with_the_first_second_that_is_well() {
        let second = |part, p99_us, not_sent| Second {
            part,
            p99_us: Some(p99_us),
            not_sent,
            ..Second::default()
        };
        let mut seconds = vec![
            second("before", 1000, 0),
            second("overload", 90_000, 500),
            second("after", 80_000, 0),
            second("after", 2000, 3),
            second("after", 2000, 0),
        ];
        assert_eq!(recovery_s(&seconds, "before", "after"), Some(2));
        seconds.pop();
        assert_eq!(recovery_s(&seconds, "before", "after"), None);
    }
}
