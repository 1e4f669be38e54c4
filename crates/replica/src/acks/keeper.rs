//! Tells the gate which entries all voters have, sets a voter aside for which answers wait too
//! long, and gives it its vote back.
//!
//! Setting aside is two entries: the first marks the member, the second takes its vote. The mark
//! says to every later leader that the vote is to come back, so a leader that dies in between
//! leaves nothing that the next one does not go on with. An operator who demotes or promotes the
//! member ends that.
//!
//! Always true: only the leader changes the membership, from a committed one with one set of
//! voters, and never its own vote; a member without the mark gets no vote.

use std::{collections::BTreeMap, time::Duration};

use conclave_core::AckPolicy;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{
    gate::{Gate, HOLD_LIMIT},
    standing,
};
use crate::{
    Members, VOTERS_MAX,
    apply::Raft,
    convert::LogId,
    health::meter::Meter,
    membership::finisher::{AGAIN, NewestMembership, NotWritten, joint, set_member, write},
};

/// How often is looked whether a member can have its vote back.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time in which an entry is committed; after that the keeper looks again at what is so.
const WRITE_LIMIT: Duration = Duration::from_secs(1);
/// How long a member must have been close to the end of the log before it gets its vote back.
const STEADY: Duration = Duration::from_secs(2);
/// A member that is set aside again and again waits twice as long each time, up to
/// [`STEADY`] times 2 to the power of this: about a minute.
const DOUBLINGS_MAX: u32 = 5;
/// After so long a time with its vote, a member's earlier failures do not count.
const FORGIVE: Duration = Duration::from_secs(600);

/// Keeps the gate for as long as the node runs.
pub(crate) struct Keeper {
    pub(crate) node: u64,
    pub(crate) raft: Raft,
    pub(crate) gate: Gate,
    pub(crate) meter: Meter,
}

/// What a leader remembers of members that are or were set aside. Bounded by the membership.
#[derive(Default)]
struct Memory {
    /// Since when they have been close to the end of the log.
    close: BTreeMap<u64, Instant>,
    /// How often they were set aside, and when last.
    failures: BTreeMap<u64, (u32, Instant)>,
}

/// A step towards a membership, as one entry.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Mark the member, or remove the mark.
    Mark { node: u64, set_aside: bool },
    /// Take the vote of the member, or give it back.
    Vote { node: u64, votes: bool },
}

impl Keeper {
    /// Keeps the gate; ends with the engine.
    pub(crate) async fn run(self) {
        let mut metrics = self.raft.metrics();
        let mut server = self.raft.server_metrics();
        let mut memory = Memory::default();
        loop {
            let (through, aside) = {
                let now = metrics.borrow_and_update();
                let through = standing::through(&now, self.node);
                (through, standing::has_any_aside(&now))
            };
            server.borrow_and_update();
            match through {
                Some(through) => self.gate.release(through),
                None => {
                    self.gate.give_up();
                    memory = Memory::default();
                }
            }
            let overdue = self
                .gate
                .oldest()
                .filter(|(_, at)| at.elapsed() >= HOLD_LIMIT);
            if overdue.is_some() && self.gate.policy() == AckPolicy::Majority {
                self.gate.end();
                continue;
            }
            if through.is_some() && (aside || overdue.is_some()) {
                let overdue = overdue.map(|(index, _)| index);
                if let Some((step, members, at)) = self.next_step(overdue, &mut memory) {
                    self.take(step, members, &at, &mut memory).await;
                    sleep(AGAIN).await;
                    continue;
                }
            }
            let oldest = self.gate.oldest().map(|(_, at)| at + HOLD_LIMIT);
            let looks = through.is_some() && (aside || overdue.is_some());
            let look = looks.then(|| Instant::now() + LOOK_EVERY);
            let until = oldest
                .filter(|_| overdue.is_none())
                .into_iter()
                .chain(look)
                .min();
            let changed = tokio::select! {
                changed = server.changed() => changed,
                // While nothing is held, the progress of followers wakes nothing.
                changed = metrics.changed(), if oldest.is_some() => changed,
                () = self.gate.woken() => Ok(()),
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => Ok(()),
            };
            if changed.is_err() {
                self.gate.give_up();
                return;
            }
        }
    }

    /// Returns the next entry to write, and the membership that it changes.
    fn next_step(
        &self,
        overdue: Option<u64>,
        memory: &mut Memory,
    ) -> Option<(Step, Members, Option<LogId>)> {
        let now = {
            let metrics = self.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            NewestMembership::new(&metrics)
        };
        if !now.leads || !now.committed || now.members.voters.len() != 1 {
            // A change that is under way is finished first.
            return None;
        }
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let lacks = |node: u64| overdue.is_some_and(|at| standing::matched(&metrics, node) < at);
        let voters = now.members.all_voters();
        let others = voters.iter().copied().filter(|node| *node != self.node);
        let late = others.clone().find(|node| lacks(*node));
        let is_close = |node: u64| node == self.node || standing::is_close(&metrics, node);
        let step = match late {
            Some(node) if now.members.nodes.get(&node)?.set_aside => {
                Some(Step::Vote { node, votes: false })
            }
            Some(node) => Some(Step::Mark {
                node,
                set_aside: true,
            }),
            None => memory.restores(&now.members, is_close),
        };
        step.map(|step| (step, now.members, now.at))
    }

    async fn take(&self, step: Step, members: Members, at: &Option<LogId>, memory: &mut Memory) {
        let (node, written) = match step {
            Step::Mark { node, set_aside } => {
                let Some(mut member) = members.nodes.get(&node).cloned() else {
                    return;
                };
                member.set_aside = set_aside;
                let written = set_member(&self.raft, node, member, at);
                (node, timeout(WRITE_LIMIT, written).await)
            }
            Step::Vote { node, votes } => {
                let mut voters = members.all_voters();
                match votes {
                    true => voters.insert(node),
                    false => voters.remove(&node),
                };
                let next = Members {
                    voters: vec![voters],
                    nodes: members.nodes.clone(),
                };
                // One of two voters could give the vote alone, and go on with the new one.
                let next = match votes && members.all_voters().len() == 2 {
                    true => joint(&members, &next),
                    false => next,
                };
                let written = write(&self.raft, &next, at);
                (node, timeout(WRITE_LIMIT, written).await)
            }
        };
        match written {
            Ok(Ok(())) => match step {
                Step::Vote { votes: false, .. } => {
                    memory.failed(node);
                    self.meter.voter_set_aside();
                    tracing::warn!(
                        node,
                        "a voter was set aside: acknowledgements have waited for it for too long"
                    );
                }
                Step::Vote { votes: true, .. } => {
                    tracing::info!(node, "a node that was set aside votes again");
                }
                Step::Mark { .. } => {}
            },
            Ok(Err(NotWritten::NotYet)) => {}
            Ok(Err(NotWritten::Error(error))) => {
                tracing::debug!(node, ?step, %error, "the membership was not changed");
            }
            Err(_) => tracing::debug!(node, ?step, "the membership was not changed in time"),
        }
    }
}

impl Memory {
    fn failed(&mut self, node: u64) {
        let now = Instant::now();
        let (times, last) = self.failures.entry(node).or_insert((0, now));
        if last.elapsed() > FORGIVE {
            *times = 0;
        }
        (*times, *last) = (times.saturating_add(1), now);
        self.close.remove(&node);
    }

    /// Returns how long a member must have been close.
    fn wait(&self, node: u64) -> Duration {
        let times = self.failures.get(&node).map_or(0, |(times, _)| *times);
        STEADY * 2_u32.pow(times.saturating_sub(1).min(DOUBLINGS_MAX))
    }

    /// Returns the next step by which a member gets its vote back, or loses the mark after that.
    fn restores(&mut self, members: &Members, is_close: impl Fn(u64) -> bool) -> Option<Step> {
        let voters = members.all_voters();
        let aside = members.nodes.iter().filter(|(_, member)| member.set_aside);
        let aside: Vec<u64> = aside.map(|(node, _)| *node).collect();
        self.close
            .retain(|node, _| aside.contains(node) && is_close(*node));
        aside.into_iter().find_map(|node| {
            if voters.contains(&node) {
                let set_aside = false;
                return is_close(node).then_some(Step::Mark { node, set_aside });
            }
            if !is_close(node) || voters.len() >= VOTERS_MAX {
                return None;
            }
            let since = *self.close.entry(node).or_insert_with(Instant::now);
            let votes = true;
            (since.elapsed() >= self.wait(node)).then_some(Step::Vote { node, votes })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Member;

    fn members(voters: &[u64], aside: &[u64]) -> Members {
        let member = |node: &u64| Member {
            set_aside: aside.contains(node),
            ..Member::default()
        };
        let all = voters.iter().chain(aside);
        Members {
            voters: vec![voters.iter().copied().collect()],
            nodes: all.map(|node| (*node, member(node))).collect(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_votes_again_once_it_has_been_close_for_a_while() {
        let mut memory = Memory::default();
        let three = members(&[1, 2], &[3]);
        assert_eq!(memory.restores(&three, |_| true), None);
        tokio::time::advance(STEADY / 2).await;
        assert_eq!(memory.restores(&three, |_| false), None, "it begins again");
        assert_eq!(memory.restores(&three, |_| true), None);
        tokio::time::advance(STEADY).await;
        let back = Step::Vote {
            node: 3,
            votes: true,
        };
        assert_eq!(memory.restores(&three, |_| true), Some(back));
        let marked = members(&[1, 2, 3], &[3]);
        let unmark = Step::Mark {
            node: 3,
            set_aside: false,
        };
        assert_eq!(memory.restores(&marked, |_| true), Some(unmark));
        assert_eq!(memory.restores(&marked, |_| false), None);
        let learner = members(&[1, 2, 3], &[]);
        assert_eq!(memory.restores(&learner, |_| true), None, "none is aside");
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_fails_again_and_again_waits_longer() {
        let mut memory = Memory::default();
        assert_eq!(memory.wait(3), STEADY);
        for factor in [1, 2, 4, 8, 16, 32, 32] {
            memory.failed(3);
            assert_eq!(memory.wait(3), STEADY * factor);
        }
        assert_eq!(memory.wait(2), STEADY);
        tokio::time::advance(FORGIVE * 2).await;
        memory.failed(3);
        assert_eq!(memory.wait(3), STEADY);
    }
}
