//! What a node knows of the incarnations and addresses of the other nodes, and whether its leader
//! reaches it.
//!
//! Always true: this file sends nothing and decides nothing. No lock of a thread is held across a
//! wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use conclave_replica::Member;
use tokio::sync::watch;

use crate::{
    base::{log_once::LogOnce, rate_limiter::RateLimiter},
    identity::incarnations::{Incarnation, Incarnations},
};

/// What one node may have recorded of it: a burst, and one more after each pause. Each record costs
/// a write to the disk, and new addresses cost an entry of the log. An honest node has news when it
/// is started.
const NEWS_BURST: u32 = 16;
const NEWS_EVERY: Duration = Duration::from_secs(5);
/// Maximum number of nodes whose news are counted; at the bound those that rest are forgotten, and
/// then the news of a further node wait.
const NEWS_NODES_MAX: usize = 256;

/// Reason why a healthy node must stop, and what its operator can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) why: String,
    pub(crate) hint: &'static str,
}

/// What a node knows of the incarnations and the addresses of the others.
pub(crate) struct RollCall {
    directory: PathBuf,
    pub(crate) incarnations: Mutex<Incarnations>,
    /// Held while the file is written, so that the lock of what is known is not.
    writing: Mutex<()>,
    /// Serializes decisions between two processes with the same number.
    pub(crate) deciding: Turns,
    /// Paces what is recorded of each node.
    pub(crate) news: News,
    /// Paces the moves of each member.
    pub(crate) moves: News,
    /// Addresses where other nodes may be reached, besides the addresses of members.
    pub(crate) join: Vec<String>,
    /// Members that have moved, with their present addresses.
    pub(crate) moved: Mutex<BTreeMap<u64, Member>>,
    /// Incarnations that are reached at the address in the log, whatever address they announce.
    pub(crate) at_home: Mutex<BTreeSet<u64>>,
    /// Members that were refused, and why.
    pub(crate) refused: Mutex<BTreeMap<u64, String>>,
    /// Refusals and moves that the log already shows.
    pub(crate) logged: LogOnce<(u64, String)>,
    /// Members that have answered the last announcement of this node.
    pub(crate) answering: Mutex<BTreeSet<u64>>,
    /// Those of them that take entries.
    pub(crate) taking: Mutex<BTreeSet<u64>>,
    /// Whether there is a leader that does not reach this node.
    pub(crate) unreached: watch::Sender<bool>,
}

impl RollCall {
    /// Begins an incarnation of this directory.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(crate) fn begin(directory: PathBuf, join: Vec<String>) -> io::Result<Self> {
        Ok(Self {
            incarnations: Mutex::new(Incarnations::begin(&directory)?),
            directory,
            writing: Mutex::default(),
            deciding: Turns::default(),
            news: News::default(),
            moves: News::default(),
            join,
            moved: Mutex::default(),
            at_home: Mutex::default(),
            refused: Mutex::default(),
            logged: LogOnce::default(),
            answering: Mutex::default(),
            taking: Mutex::default(),
            unreached: watch::Sender::new(false),
        })
    }

    /// Returns this incarnation.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnations().own()
    }

    /// Returns whether this incarnation of a node has ended, so that its further calls are refused.
    pub(crate) fn has_ended(&self, node: u64, word: u64) -> bool {
        self.incarnations().has_ended(node, word)
    }

    /// Returns whether there is a leader that does not reach this node, so that this node receives
    /// no entries.
    pub(crate) fn is_unreached(&self) -> bool {
        *self.unreached.borrow()
    }

    /// Returns why a member was refused, or `None` if its present state is not known to be refused.
    pub(crate) fn refusal(&self, node: u64) -> Option<String> {
        lock(&self.refused).get(&node).cloned()
    }

    /// Returns the members that have answered the last announcement of this node, which it makes
    /// every second.
    pub(crate) fn answering(&self) -> BTreeSet<u64> {
        lock(&self.answering).clone()
    }

    /// Returns those of them that take entries.
    pub(crate) fn taking(&self) -> BTreeSet<u64> {
        lock(&self.taking).clone()
    }

    /// Returns the members whose present state is refused.
    pub(crate) fn refused(&self) -> Vec<u64> {
        lock(&self.refused).keys().copied().collect()
    }

    /// Returns the present addresses of members that have moved.
    pub(crate) fn moved(&self) -> BTreeMap<u64, Member> {
        lock(&self.moved).clone()
    }

    /// Returns the address for peers that a node has announced last, if it is known.
    pub(crate) fn announced_address(&self, node: u64) -> Option<String> {
        let incarnations = self.incarnations();
        let known = incarnations.known(node)?;
        Some(known.place.peer_address.clone())
    }

    /// Logs that a node is refused: once for each reason, not for each attempt.
    pub(crate) fn tell_refusal(&self, node: u64, reason: &str) {
        if self.logged.should_log((node, reason.to_owned())) {
            tracing::error!(peer = node, reason, "a member is refused");
        }
    }

    pub(crate) fn incarnations(&self) -> MutexGuard<'_, Incarnations> {
        lock(&self.incarnations)
    }

    /// Writes what is known of the other nodes to the disk, if it has changed. Meanwhile other
    /// announcements are compared.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(crate) async fn store(self: &Arc<Self>) -> io::Result<()> {
        let roll = self.clone();
        let stored = tokio::task::spawn_blocking(move || {
            let _writing = lock(&roll.writing);
            let unwritten = roll.incarnations().unwritten();
            if let Some(unwritten) = unwritten {
                unwritten.write(&roll.directory)?;
                roll.incarnations().note_written(unwritten);
            }
            Ok(())
        });
        stored.await.map_err(io::Error::other)?
    }
}

/// Turns of nodes whose announcements are compared: one for each node, so that no node keeps
/// another one waiting.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<BTreeSet<u64>>);

impl Turns {
    /// Returns the turn of a node, which ends when it is dropped; `None` while the node has one.
    pub(crate) fn take(&self, node: u64) -> Option<Turn<'_>> {
        let turn = || Turn { turns: self, node };
        lock(&self.0).insert(node).then(turn)
    }
}

/// Turn of one node.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    node: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.turns.0).remove(&self.node);
    }
}

/// Counts the news of each node.
#[derive(Debug, Default)]
pub(crate) struct News(Mutex<BTreeMap<u64, RateLimiter>>);

impl News {
    /// Returns whether a node may have news now, and counts it.
    pub(crate) fn admit(&self, node: u64) -> bool {
        let mut nodes = lock(&self.0);
        if nodes.len() >= NEWS_NODES_MAX {
            nodes.retain(|_, pace| pace.owes());
        }
        if nodes.len() >= NEWS_NODES_MAX && !nodes.contains_key(&node) {
            return false;
        }
        let (allowed, pace) = (
            (NEWS_BURST - 1) * NEWS_EVERY,
            nodes.entry(node).or_default(),
        );
        let is_admitted = pace.ahead(allowed).is_zero();
        if is_admitted {
            pace.spend(NEWS_EVERY, NEWS_BURST * NEWS_EVERY);
        }
        is_admitted
    }
}

/// Locks a mutex whose value is valid after every statement that changes it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_whose_turn_lasts_keeps_no_other_node_waiting() {
        let turns = Turns::default();
        let slow = turns.take(4);
        assert!(slow.is_some());
        assert!(turns.take(4).is_none(), "one at a time");
        assert!(turns.take(2).is_some(), "another node has its own turn");
        assert!(turns.take(2).is_some(), "a turn ends");
        drop(slow);
        assert!(turns.take(4).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_news_of_a_node_are_a_burst_and_then_a_few() {
        let news = News::default();
        let admitted = |node: u64| (0..1000).filter(|_| news.admit(node)).count();
        assert_eq!(admitted(4), NEWS_BURST as usize);
        assert!(news.admit(2), "each node has its own");
        tokio::time::advance(2 * NEWS_EVERY).await;
        assert_eq!(admitted(4), 2);
        tokio::time::advance(2 * NEWS_BURST * NEWS_EVERY).await;
        assert_eq!(admitted(4), NEWS_BURST as usize);
        let others = 10..10 + 2 * NEWS_NODES_MAX as u64;
        assert!(others.filter(|node| news.admit(*node)).count() < NEWS_NODES_MAX);
        assert!(lock(&news.0).len() <= NEWS_NODES_MAX);
    }
}
