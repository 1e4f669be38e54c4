//! Which request numbers a session has used: the memory behind "exactly once".
//!
//! A client numbers its requests 1, 2, 3 … and may have many under way at once, so numbers arrive
//! out of order. The window remembers the newest [`REQUEST_WINDOW`] numbers.
//!
//! Always true: a number is fresh at most once, however numbers arrive.

use crate::limits::REQUEST_WINDOW;

const WORDS: usize = (REQUEST_WINDOW / 64) as usize;

/// The used numbers among the newest ones. One bit a number, so thousands of sessions fit memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestWindow {
    /// The greatest number used so far; 0 if none was.
    last: u64,
    /// Bit `n % REQUEST_WINDOW`: whether number `n` was used, for `last - WINDOW < n <= last`.
    used: [u64; WORDS],
}

/// A window's decision on a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Never used: execute it.
    Fresh,
    /// Used before: give the remembered answer.
    Used,
    /// So old that its answer is forgotten: refuse, never execute.
    TooOld,
    /// Zero, or further ahead than a whole window: refuse; it would wipe out the memory.
    OutOfRange,
}

impl RequestWindow {
    /// Returns the greatest number used so far; 0 if none was.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Returns what to do with `number`.
    #[must_use]
    pub fn admit(&self, number: u64) -> Admission {
        if number == 0 || number > self.last.saturating_add(REQUEST_WINDOW) {
            Admission::OutOfRange
        } else if number > self.last {
            Admission::Fresh
        } else if number.saturating_add(REQUEST_WINDOW) <= self.last {
            Admission::TooOld
        } else if self.used[word(number)] & bit(number) != 0 {
            Admission::Used
        } else {
            Admission::Fresh
        }
    }

    /// Remembers that `number` was used. Numbers that left the window are ignored, so a window
    /// can be rebuilt from stored numbers in any order.
    pub fn record(&mut self, number: u64) {
        if number > self.last {
            // The numbers between become the newest ones; no request has used them yet.
            let first_new = (self.last + 1).max(number.saturating_sub(REQUEST_WINDOW - 1));
            for skipped in first_new..=number {
                self.used[word(skipped)] &= !bit(skipped);
            }
            self.last = number;
        }
        if number != 0 && number.saturating_add(REQUEST_WINDOW) > self.last {
            self.used[word(number)] |= bit(number);
        }
    }
}

fn word(number: u64) -> usize {
    ((number % REQUEST_WINDOW) / 64) as usize
}

fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_window_of_requests_may_be_in_flight() {
        let mut window = RequestWindow::default();
        for number in (1..=REQUEST_WINDOW).rev() {
            assert_eq!(window.admit(number), Admission::Fresh, "{number}");
            window.record(number);
            assert_eq!(window.admit(number), Admission::Used, "{number}");
        }
        assert_eq!(window.admit(REQUEST_WINDOW * 2), Admission::Fresh);
        assert_eq!(window.admit(REQUEST_WINDOW * 2 + 1), Admission::OutOfRange);
        assert_eq!(window.admit(0), Admission::OutOfRange);
    }

    #[test]
    fn a_number_below_the_window_is_too_old_used_or_not() {
        let mut window = RequestWindow::default();
        window.record(1);
        window.record(3);
        window.record(3 + REQUEST_WINDOW);
        assert_eq!(window.admit(1), Admission::TooOld);
        assert_eq!(window.admit(2), Admission::TooOld);
        assert_eq!(window.admit(3), Admission::TooOld);
        assert_eq!(window.admit(4), Admission::Fresh);
    }

    proptest! {
        #[test]
        fn no_number_is_fresh_twice(numbers in prop::collection::vec(0u64..2000, 1..400)) {
            let mut window = RequestWindow::default();
            let mut executed = BTreeSet::new();
            for number in numbers {
                match window.admit(number) {
                    Admission::Fresh => {
                        prop_assert!(executed.insert(number), "{number} was executed twice");
                        window.record(number);
                    }
                    Admission::Used => prop_assert!(executed.contains(&number)),
                    Admission::TooOld => {
                        prop_assert!(number + REQUEST_WINDOW <= window.last());
                    }
                    Admission::OutOfRange => {
                        prop_assert!(number == 0 || number > window.last() + REQUEST_WINDOW);
                    }
                }
            }
        }

        #[test]
        fn a_window_rebuilt_from_stored_numbers_is_the_same(
            numbers in prop::collection::btree_set(1u64..600, 1..200)
        ) {
            let mut grown = RequestWindow::default();
            numbers.iter().for_each(|n| grown.record(*n));
            let mut rebuilt = RequestWindow::default();
            numbers.iter().rev().for_each(|n| rebuilt.record(*n));
            prop_assert_eq!(grown, rebuilt);
        }
    }
}
