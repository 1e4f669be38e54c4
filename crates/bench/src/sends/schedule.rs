//! The schedule of an open loop: at which time each message is due.
//!
//! A pure function of the message's number: it does not depend on answers.

use std::time::Duration;

/// A time with a steady rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    pub(super) rate: f64,
    pub(super) lasts: Duration,
}

/// Times with their rates, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schedule(Vec<Pace>);

impl Schedule {
    pub(super) fn new(paces: impl IntoIterator<Item = Pace>) -> Self {
        Self(paces.into_iter().collect())
    }

    /// Returns when the message with this number is due, from the beginning of the schedule; `None`
    /// after the last one.
    pub(super) fn due(&self, number: u64) -> Option<Duration> {
        let (mut begins, mut first) = (Duration::ZERO, 0);
        for Pace { rate, lasts } in &self.0 {
            let count = count(*rate, *lasts);
            if number < first + count {
                let after = (number - first) as f64 / rate;
                return Some(begins + Duration::from_secs_f64(after));
            }
            begins += *lasts;
            first += count;
        }
        None
    }
}

/// Returns the number of messages of a pace.
fn count(rate: f64, lasts: Duration) -> u64 {
    (rate * lasts.as_secs_f64()).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule(paces: &[(f64, u64)]) -> Schedule {
        let pace = |(rate, seconds): &(f64, u64)| Pace {
            rate: *rate,
            lasts: SECOND * u32::try_from(*seconds).unwrap(),
        };
        Schedule::new(paces.iter().map(pace))
    }

    #[test]
    fn messages_are_due_at_even_distances() {
        let steady = schedule(&[(4.0, 2)]);
        let due: Vec<u128> = (0..8).map(|n| steady.due(n).unwrap().as_millis()).collect();
        assert_eq!(due, [0, 250, 500, 750, 1000, 1250, 1500, 1750]);
        assert_eq!(steady.due(8), None);
    }

    #[test]
    fn each_pace_begins_when_the_one_before_ends() {
        let steps = schedule(&[(10.0, 1), (1000.0, 2), (5.0, 1)]);
        let at = |number| steps.due(number).map(|due| due.as_millis());
        assert_eq!(at(9), Some(900));
        assert_eq!(at(10), Some(1000));
        assert_eq!(at(11), Some(1001));
        assert_eq!(at(2009), Some(2999));
        assert_eq!(at(2010), Some(3000));
        assert_eq!(at(2014), Some(3800));
        assert_eq!(at(2015), None);
    }
}
