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
};

use conclave_replica::Member;
use tokio::sync::watch;

use crate::{
    base::log_once::LogOnce,
    identity::incarnations::{Incarnation, Incarnations},
};

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
    /// Serializes decisions between two processes.
    pub(crate) deciding: tokio::sync::Mutex<()>,
    /// Addresses where other nodes may be reached, besides the addresses of members.
    pub(crate) join: Vec<String>,
    /// Members that have moved, with their present addresses.
    pub(crate) moved: Mutex<BTreeMap<u64, Member>>,
    /// Incarnations that are reached at the address in the log, whatever address they announce.
    pub(crate) at_home: Mutex<BTreeSet<u64>>,
    /// Members that were refused, and why.
    pub(crate) refused: Mutex<BTreeMap<u64, String>>,
    /// Refusals that the log already shows.
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
            deciding: tokio::sync::Mutex::default(),
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

    /// Logs that a node is refused: once for each reason, not for each attempt.
    pub(crate) fn tell_refusal(&self, node: u64, reason: &str) {
        if self.logged.should_log((node, reason.to_owned())) {
            tracing::error!(peer = node, reason, "a member is refused");
        }
    }

    pub(crate) fn incarnations(&self) -> MutexGuard<'_, Incarnations> {
        lock(&self.incarnations)
    }

    pub(crate) async fn store(self: &Arc<Self>) -> io::Result<()> {
        let roll = self.clone();
        let stored =
            tokio::task::spawn_blocking(move || roll.incarnations().store(&roll.directory));
        stored.await.map_err(io::Error::other)?
    }
}

/// Locks a mutex whose value is valid after every statement that changes it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
