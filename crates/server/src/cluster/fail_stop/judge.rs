//! Decides whether this node may recover the cluster alone.
//!
//! It may only if nothing can have been acknowledged without it: the cluster has two voters, of
//! which it is one, so that no entry is committed without it, also none that gives a third a vote
//! (`replica/src/membership/change.rs`); and it has run without a pause since
//! it was last in contact with the other one, so that it was not given up meanwhile. Of three
//! voters two can go on without the third, which cannot know that: then it never may.
//!
//! Always true: without proof only the voter with the lowest number may, so that never both do.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use conclave_wire::v1::RecoveryMode;
use tokio::time::Instant;

/// How often is looked.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A pause of the process after which it does not know what the others have done: less than the
/// shortest time after which a node recovers by itself.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// What a node sees at one moment.
pub(super) struct Sight<'a> {
    pub(super) own: u64,
    /// Whether acknowledgements wait for all voters.
    pub(super) waits_for_all: bool,
    /// The voters, if that is committed and they are one set.
    pub(super) voters: Option<BTreeSet<u64>>,
    /// Whether it knows a leader that has a majority now.
    pub(super) in_contact: bool,
    /// Other nodes that answer.
    pub(super) answering: BTreeSet<u64>,
    /// Other nodes with the same setting.
    pub(super) alike: &'a BTreeSet<u64>,
    /// Whether it is neither drained nor damaged.
    pub(super) serves: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing, or nothing yet.
    Waits,
    /// A majority is gone, and this node may not recover: why.
    Refuses(&'static str),
    /// The node recovers, if the others are off.
    Recovers,
}

/// Decides from one look to the next.
pub(super) struct Judge {
    mode: RecoveryMode,
    after: Duration,
    /// Whether it was allowed when it was last in contact, and has run since.
    armed: bool,
    alone_since: Option<Instant>,
    looked: Option<(Instant, SystemTime)>,
}

impl Judge {
    pub(super) fn new(mode: RecoveryMode, after: Duration) -> Self {
        Self {
            mode,
            after,
            armed: false,
            alone_since: None,
            looked: None,
        }
    }

    /// Returns whether the node would recover if the others were lost now.
    pub(super) fn is_armed(&self) -> bool {
        self.armed
    }

    pub(super) fn look(&mut self, sight: &Sight<'_>, now: Instant, date: SystemTime) -> Verdict {
        if self.was_paused(now, date) {
            self.armed = false;
            self.alone_since = None;
        }
        if sight.in_contact {
            self.alone_since = None;
            self.armed = self.allows(sight).is_ok();
            return Verdict::Waits;
        }
        let voters = sight.voters.iter().flatten();
        let mut others = voters.filter(|node| **node != sight.own);
        if others.any(|node| sight.answering.contains(node)) {
            self.alone_since = None;
            return Verdict::Waits;
        }
        let since = *self.alone_since.get_or_insert(now);
        if now.saturating_duration_since(since) < self.after {
            return Verdict::Waits;
        }
        match self.allows(sight) {
            Err(why) => Verdict::Refuses(why),
            Ok(()) if !self.armed => Verdict::Refuses(
                "it was started, or paused, after the other voters were last there, and does not \
                 know what they have done since",
            ),
            Ok(()) => Verdict::Recovers,
        }
    }

    /// Returns whether the process, or the whole machine, has slept since the last look.
    fn was_paused(&mut self, now: Instant, date: SystemTime) -> bool {
        let before = self.looked.replace((now, date));
        let Some((before, date_before)) = before else {
            return false;
        };
        let ran = now.saturating_duration_since(before);
        // The system's time that has passed does not count the sleep of a machine.
        let passed = date.duration_since(date_before).unwrap_or_default();
        ran > PAUSE_MAX || passed > ran + PAUSE_MAX
    }

    fn allows(&self, sight: &Sight<'_>) -> Result<(), &'static str> {
        if !sight.serves {
            return Err("it is drained, stopping or damaged");
        }
        if !sight.waits_for_all {
            return Err(
                "acknowledgements wait only for a majority, and some may not be here: conclave \
                 cluster ack all",
            );
        }
        let Some(voters) = &sight.voters else {
            return Err("a change of the members was under way");
        };
        if !voters.contains(&sight.own) {
            return Err("it has no vote");
        }
        let [lowest, highest] = voters.iter().copied().collect::<Vec<u64>>()[..] else {
            return Err(
                "the others may have gone on without this node, which it cannot know: compare \
                 them and recover one by hand",
            );
        };
        let other = if sight.own == lowest { highest } else { lowest };
        if !sight.alike.contains(&other) {
            return Err("the other voter has another setting of `recover`");
        }
        if self.mode == RecoveryMode::Assumed && sight.own != lowest {
            return Err("without proof only the voter with the lowest number recovers");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    /// A node and the time, half a second for each look.
    struct Case {
        judge: Judge,
        now: Instant,
        date: SystemTime,
        alike: BTreeSet<u64>,
    }

    impl Case {
        fn new(mode: RecoveryMode) -> Self {
            Self {
                judge: Judge::new(mode, AFTER),
                now: Instant::now(),
                date: SystemTime::UNIX_EPOCH,
                alike: (1..=3).collect(),
            }
        }

        fn look(&mut self, change: impl FnOnce(&mut Sight<'_>)) -> Verdict {
            self.now += LOOK_EVERY;
            self.date += LOOK_EVERY;
            let mut sight = Sight {
                own: 2,
                waits_for_all: true,
                voters: Some([2, 3].into()),
                in_contact: false,
                answering: BTreeSet::new(),
                alike: &self.alike,
                serves: true,
            };
            change(&mut sight);
            self.judge.look(&sight, self.now, self.date)
        }

        fn in_contact(&mut self) -> Verdict {
            self.look(|sight| sight.in_contact = true)
        }

        /// Looks for longer than the time after which it recovers, and returns the last verdict.
        fn after_all(&mut self, change: impl Fn(&mut Sight<'_>)) -> Verdict {
            let mut last = Verdict::Waits;
            for _ in 0..30 {
                last = self.look(&change);
            }
            last
        }
    }

    fn is_refused(verdict: Verdict, part: &str) {
        match verdict {
            Verdict::Refuses(why) => assert!(why.contains(part), "{why}"),
            other => panic!("{other:?}, not {part}"),
        }
    }

    #[test]
    fn one_of_two_voters_recovers_once_the_other_was_gone_long() {
        for mode in [RecoveryMode::Fenced, RecoveryMode::Assumed] {
            let mut case = Case::new(mode);
            assert_eq!(case.in_contact(), Verdict::Waits);
            for _ in 0..20 {
                assert_eq!(case.look(|_| {}), Verdict::Waits);
            }
            assert_eq!(case.look(|_| {}), Verdict::Recovers);
            assert_eq!(case.in_contact(), Verdict::Waits, "it is back");
            assert_eq!(case.look(|_| {}), Verdict::Waits, "the time begins again");
        }
    }

    #[test]
    fn of_three_voters_none_recovers_by_itself() {
        let mut case = Case::new(RecoveryMode::Fenced);
        let three = |sight: &mut Sight<'_>| sight.voters = Some([1, 2, 3].into());
        case.look(|sight| {
            three(sight);
            sight.in_contact = true;
        });
        is_refused(case.after_all(three), "gone on without this node");
    }

    #[test]
    fn without_proof_only_one_of_two_recovers_whichever_is_cut_off() {
        let mut low = Case::new(RecoveryMode::Assumed);
        let mut high = Case::new(RecoveryMode::Assumed);
        let is_high = |sight: &mut Sight<'_>| sight.own = 3;
        low.in_contact();
        high.look(|sight| {
            is_high(sight);
            sight.in_contact = true;
        });
        // Both are well, and the cable between them is cut.
        assert_eq!(low.after_all(|_| {}), Verdict::Recovers);
        is_refused(high.after_all(is_high), "lowest number");
    }

    #[test]
    fn a_node_that_may_have_been_given_up_recovers_nothing() {
        let mut started = Case::new(RecoveryMode::Fenced);
        is_refused(started.after_all(|_| {}), "started, or paused");

        let mut stopped = Case::new(RecoveryMode::Fenced);
        stopped.in_contact();
        stopped.now += PAUSE_MAX + LOOK_EVERY;
        stopped.date += PAUSE_MAX + LOOK_EVERY;
        is_refused(stopped.after_all(|_| {}), "started, or paused");

        let mut suspended = Case::new(RecoveryMode::Fenced);
        suspended.in_contact();
        suspended.date += PAUSE_MAX * 20;
        is_refused(suspended.after_all(|_| {}), "started, or paused");
    }

    #[test]
    fn each_condition_is_needed_also_when_contact_was_lost() {
        type Change = fn(&mut Sight<'_>);
        let conditions: [(Change, &str); 5] = [
            (|sight| sight.waits_for_all = false, "only for a majority"),
            (|sight| sight.voters = None, "under way"),
            (|sight| sight.voters = Some([1, 3].into()), "no vote"),
            (|sight| sight.serves = false, "drained"),
            (|sight| sight.voters = Some([2].into()), "gone on"),
        ];
        for (change, why) in conditions {
            let mut case = Case::new(RecoveryMode::Fenced);
            case.in_contact();
            is_refused(case.after_all(change), why);
            // What was so when it was last in contact counts, too.
            let mut case = Case::new(RecoveryMode::Fenced);
            case.look(|sight| {
                change(sight);
                sight.in_contact = true;
            });
            is_refused(case.after_all(|_| {}), "started, or paused");
        }
        let mut case = Case::new(RecoveryMode::Fenced);
        case.alike.clear();
        case.in_contact();
        is_refused(case.after_all(|_| {}), "another setting");
        let mut case = Case::new(RecoveryMode::Fenced);
        case.in_contact();
        let answers = |sight: &mut Sight<'_>| sight.answering = [3].into();
        assert_eq!(case.after_all(answers), Verdict::Waits);
    }
}
