//! Which page of the index is compared with the state next, and when.
//!
//! The state removes messages without a word to the index: forgotten ones, and those of
//! conversations without members. It counts its messages, so the index knows that some are gone,
//! though not which. Until a whole round has seen none of that since its beginning, pages follow
//! each other quickly. Retention takes the oldest messages first, so after many are gone a second
//! place, the front, goes from the beginning on for as long as it finds some.
//!
//! Always true: the round comes to every page, whatever the front finds.

use std::time::Duration;

use conclave_core::Position;

use crate::state::IndexPage;

/// Between two pages while messages may have to be removed. A page of a thousand messages takes a
/// few milliseconds.
const EVERY: Duration = Duration::from_millis(250);

/// Between two pages if none is known to be gone: the index may differ for other reasons.
const EVERY_IDLE: Duration = Duration::from_secs(5);

/// Messages that are gone before the front begins anew.
const FRONT_AFTER: u64 = 1000;

/// What the comparison of a page has found.
pub(super) struct Compared {
    /// Everything up to here was compared.
    pub(super) to: Position,
    /// Rows that differed and were mended.
    pub(super) rows: usize,
}

/// How far the comparisons are, and what the state has removed.
#[derive(Default)]
pub(super) struct Rounds {
    compared_to: Position,
    front: Option<Position>,
    /// Messages of the state when the index was up to date last.
    known: Option<u64>,
    /// Messages that the index has read since.
    sent: u64,
    /// Messages that the state has removed since this began.
    removed: u64,
    /// As it was when the round began.
    removed_at_round: u64,
    /// As it was when the front began.
    removed_at_front: u64,
    /// Whether a whole round has seen everything that is removed.
    is_clean: bool,
}

impl Rounds {
    /// Returns the time from one page to the next.
    pub(super) fn every(&self) -> Duration {
        match self.is_clean {
            true => EVERY_IDLE,
            false => EVERY,
        }
    }

    /// Returns up to where the round has come.
    pub(super) fn compared_to(&self) -> Position {
        self.compared_to
    }

    /// Returns up to where the front has come, if there is one.
    pub(super) fn front(&self) -> Option<Position> {
        self.front
    }

    /// Notes a page that the index has taken in: how many messages the state has removed follows.
    pub(super) fn note(&mut self, page: &IndexPage) {
        self.sent += page.sent;
        if !page.complete {
            return;
        }
        let sent = std::mem::take(&mut self.sent);
        if let Some(known) = self.known.replace(page.messages) {
            let removed = (known + sent).saturating_sub(page.messages);
            self.removed += removed;
            self.is_clean &= removed == 0;
        }
        if self.removed - self.removed_at_front >= FRONT_AFTER {
            self.removed_at_front = self.removed;
            self.front = Some(Position(0));
        }
    }

    /// Notes what the page of the front has.
    pub(super) fn front_compared(&mut self, compared: &Compared, indexed_to: Position) {
        let goes_on = compared.rows > 0 && compared.to < indexed_to;
        self.front = goes_on.then_some(compared.to);
    }

    /// Notes what the page of the round has; at the end the next round begins.
    pub(super) fn compared(&mut self, compared: &Compared, indexed_to: Position) {
        self.compared_to = compared.to;
        if compared.to >= indexed_to {
            self.compared_to = Position(0);
            self.is_clean = self.removed == self.removed_at_round;
            self.removed_at_round = self.removed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Position = Position(100);

    /// Returns a page that says how many messages were sent and how many the state has now.
    fn page(sent: u64, messages: u64, complete: bool) -> IndexPage {
        IndexPage {
            sent,
            messages,
            complete,
            ..IndexPage::default()
        }
    }

    fn at(to: u64, rows: usize) -> Compared {
        let to = Position(to);
        Compared { to, rows }
    }

    /// Returns rounds of which one has seen everything.
    fn clean() -> Rounds {
        let mut rounds = Rounds::default();
        rounds.note(&page(10, 10, true));
        assert_eq!(
            rounds.every(),
            EVERY,
            "it may be the index of an earlier run"
        );
        rounds.compared(&at(END.0, 0), END);
        assert_eq!(rounds.every(), EVERY_IDLE);
        rounds
    }

    #[test]
    fn messages_that_are_sent_are_not_taken_for_removed_ones() {
        let mut rounds = clean();
        rounds.note(&page(1000, 1510, false));
        rounds.note(&page(500, 1510, true));
        rounds.note(&page(0, 1510, true));
        assert_eq!(rounds.every(), EVERY_IDLE);
        assert_eq!(rounds.front(), None);
    }

    #[test]
    fn a_removal_is_looked_for_until_a_whole_round_is_over() {
        let mut rounds = clean();
        rounds.compared(&at(50, 0), END);
        rounds.note(&page(5, 14, true));
        assert_eq!(rounds.every(), EVERY);
        rounds.compared(&at(END.0, 0), END);
        assert_eq!(rounds.every(), EVERY, "it may be in the first half");
        rounds.compared(&at(50, 1), END);
        rounds.compared(&at(END.0, 0), END);
        assert_eq!(rounds.every(), EVERY_IDLE);
    }

    #[test]
    fn many_removals_begin_a_front_that_ends_where_it_finds_none() {
        let mut rounds = clean();
        rounds.note(&page(0, 9, true));
        assert_eq!(rounds.front(), None, "a few wait for the round");
        rounds.note(&page(2 * FRONT_AFTER, 9, true));
        assert_eq!(rounds.front(), Some(Position(0)));
        rounds.front_compared(&at(20, 7), END);
        assert_eq!(rounds.front(), Some(Position(20)));
        rounds.front_compared(&at(40, 0), END);
        assert_eq!(rounds.front(), None);
    }
}
