//! Incarnations: which starts of which data directory are known, so that an old copy of a
//! directory and a second process with the same number are recognized.
//!
//! An incarnation is one run of a process on a data directory: a number that grows with each
//! start, and a random word. The directory keeps its own incarnations; every node keeps, for every
//! other node, the latest incarnation and the last entry that this node was seen to have applied. A
//! copy of the directory takes its own incarnations with it, but not what the other nodes know. See
//! `docs/notebook/2026-11-26-lives-and-recovery.md`.
//!
//! Always true: an incarnation that was accepted is on this node's disk before the answer leaves.

use std::{collections::BTreeMap, io, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    base::random,
    files::checksummed::{self, ChecksumError},
    identity::peers_file::MemberAddresses,
};

/// File with a directory's own incarnations and those of other nodes.
pub(crate) const FILE: &str = "incarnations.json";
/// Maximum number of own incarnations that are kept. A peer that knows none of them has been away
/// for as many starts, and then only the counter is compared.
const INCARNATIONS_MAX: usize = 32;
/// Time after the last contact for which a node that cannot be asked is assumed to run.
pub(crate) const PRESENCE: Duration = Duration::from_secs(5);
/// How often the file is written for newly applied entries of other nodes: this interval suffices,
/// because an old copy is far behind.
pub(crate) const WRITE_EVERY: Duration = Duration::from_secs(5);

/// One run of a process on a data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Incarnation {
    /// Number of starts of the directory, this start included.
    pub(crate) number: u64,
    /// Random word that tells this start from others with the same number.
    pub(crate) word: u64,
}

/// What is known of another node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownNode {
    pub(crate) incarnation: Incarnation,
    /// Incarnations that ended with the present one: their further requests are refused.
    #[serde(default)]
    pub(crate) past: Vec<Incarnation>,
    /// Last entry that the node was seen to have applied, which it therefore has on disk.
    pub(crate) applied_index: u64,
    /// Addresses that the node has announced.
    pub(crate) place: MemberAddresses,
    /// Time of the last contact.
    #[serde(skip)]
    pub(crate) heard_at: Option<Instant>,
}

impl KnownNode {
    /// Returns whether there was contact lately.
    pub(crate) fn is_present(&self) -> bool {
        self.heard_at.is_some_and(|at| at.elapsed() < PRESENCE)
    }
}

/// Content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    /// Number of the latest own incarnation.
    number: u64,
    /// Words of the latest own incarnations, oldest first; the last is that of `number`.
    words: Vec<u64>,
    others: BTreeMap<u64, KnownNode>,
}

/// Announcement that a node sends when it starts, and every second afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) node: u64,
    /// Number of its incarnation.
    pub(crate) number: u64,
    /// Words of its latest incarnations, oldest first.
    pub(crate) words: Vec<u64>,
    pub(crate) log_index_last: u64,
    pub(crate) applied_index: u64,
    pub(crate) place: MemberAddresses,
}

impl Announced {
    pub(crate) fn incarnation(&self) -> Incarnation {
        let word = self.words.last().copied().unwrap_or(0);
        let number = self.number;
        Incarnation { number, word }
    }

    /// Returns whether `incarnation` is among the node's own incarnations, or too old to tell.
    fn has_incarnation(&self, incarnation: Incarnation) -> bool {
        if incarnation.number > self.number {
            return false;
        }
        let back = self.number - incarnation.number;
        let at = usize::try_from(back).unwrap_or(usize::MAX);
        match self
            .words
            .len()
            .checked_sub(1)
            .and_then(|last| last.checked_sub(at))
        {
            Some(at) => self.words[at] == incarnation.word,
            None => true,
        }
    }
}

/// Result of comparing an announcement with what is known of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lineage {
    /// The incarnation is the known one, or the first of this node.
    Same,
    /// The node was started again since, from the same data.
    Next,
    /// The data was copied before a start that is known, or its log ends before an entry that the
    /// node has had: `why` says which.
    Older(String),
}

/// The incarnations that a node knows: its own, and those of other nodes.
#[derive(Debug)]
pub(crate) struct Incarnations {
    stored: Stored,
    written: Stored,
}

impl Incarnations {
    /// Begins an incarnation of this directory; it is on disk when this returns.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(crate) fn begin(directory: &Path) -> io::Result<Self> {
        let mut stored: Stored = match checksummed::read(&directory.join(FILE)) {
            Ok(stored) => stored.unwrap_or_default(),
            Err(ChecksumError::Io(error)) => return Err(error),
            Err(error @ (ChecksumError::Damaged(_) | ChecksumError::Foreign(_))) => {
                // The other nodes know that this one has lived: they refuse it, and it is repaired.
                tracing::warn!(%error, file = FILE, "ignoring an unreadable file");
                Stored::default()
            }
        };
        let word = random::bytes::<8>().map_err(|problem| io::Error::other(problem.to_string()))?;
        stored.number += 1;
        stored.words.push(u64::from_le_bytes(word));
        let forgotten = stored.words.len().saturating_sub(INCARNATIONS_MAX);
        stored.words.drain(..forgotten);
        checksummed::write(&directory.join(FILE), &stored)?;
        let written = stored.clone();
        Ok(Self { stored, written })
    }

    /// Returns this incarnation.
    pub(crate) fn own(&self) -> Incarnation {
        Incarnation {
            number: self.stored.number,
            word: self.stored.words.last().copied().unwrap_or(0),
        }
    }

    /// Returns the words of the latest own incarnations, oldest first.
    pub(crate) fn words(&self) -> Vec<u64> {
        self.stored.words.clone()
    }

    /// Returns what is known of a node.
    pub(crate) fn known(&self, node: u64) -> Option<&KnownNode> {
        self.stored.others.get(&node)
    }

    /// Returns the number of other nodes of which something is known.
    pub(crate) fn others(&self) -> usize {
        self.stored.others.len()
    }

    /// Compares an announcement with what is known of the node. `acknowledged`: the last entry that
    /// the node has acknowledged to this leader.
    pub(crate) fn lineage(&self, said: &Announced, acknowledged: Option<u64>) -> Lineage {
        let known = self.known(said.node);
        if let Some(known) = known
            && !said.has_incarnation(known.incarnation)
        {
            return Lineage::Older(format!(
                "its data was started {} times, and another start {} of it is known",
                said.number, known.incarnation.number
            ));
        }
        let had = known.map(|known| known.applied_index).max(acknowledged);
        if let Some(had) = had.filter(|had| said.log_index_last < *had) {
            let ends = said.log_index_last;
            return Lineage::Older(format!("its log ends at entry {ends}, and it had {had}"));
        }
        match known {
            Some(known) if known.incarnation != said.incarnation() => Lineage::Next,
            Some(_) | None => Lineage::Same,
        }
    }

    /// Records a node that was accepted. Returns whether the file must be written before the answer
    /// leaves.
    pub(crate) fn note(&mut self, said: &Announced) -> bool {
        let known = self.stored.others.entry(said.node).or_default();
        let is_news = known.incarnation != said.incarnation() || known.place != said.place;
        if known.incarnation != said.incarnation() && known.incarnation != Incarnation::default() {
            known.past.push(known.incarnation);
            let forgotten = known.past.len().saturating_sub(INCARNATIONS_MAX);
            known.past.drain(..forgotten);
        }
        known.incarnation = said.incarnation();
        known.place = said.place.clone();
        known.applied_index = known.applied_index.max(said.applied_index);
        known.heard_at = Some(Instant::now());
        is_news
    }

    /// Returns whether this incarnation of a node has ended: another one was accepted since.
    pub(crate) fn has_ended(&self, node: u64, word: u64) -> bool {
        let known = self.known(node);
        word != 0
            && known.is_some_and(|known| {
                known
                    .past
                    .iter()
                    .any(|incarnation| incarnation.word == word)
            })
    }

    /// Removes nodes that no longer belong to the cluster.
    pub(crate) fn keep_only(&mut self, is_kept: impl Fn(u64) -> bool) {
        self.stored.others.retain(|node, _| is_kept(*node));
    }

    /// Returns what the file does not have yet; `None` if it has everything.
    pub(crate) fn unwritten(&self) -> Option<Unwritten> {
        // Fields that are not written do not count as a change.
        let mut stored = self.stored.clone();
        stored
            .others
            .values_mut()
            .for_each(|known| known.heard_at = None);
        (stored != self.written).then_some(Unwritten(stored))
    }

    /// Notes that this is in the file.
    pub(crate) fn note_written(&mut self, written: Unwritten) {
        self.written = written.0;
    }
}

/// What is known, as it goes to the file.
#[derive(Debug)]
pub(crate) struct Unwritten(Stored);

impl Unwritten {
    /// Writes the file. One that is written later must have been taken later.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        checksummed::write(&directory.join(FILE), &self.0)
    }
}

/// Removes what is known of other nodes, which no longer belong to the cluster.
///
/// # Errors
/// If the file system refuses.
pub(crate) fn forget_others(directory: &Path) -> io::Result<()> {
    match checksummed::read::<Stored>(&directory.join(FILE)) {
        Ok(Some(mut stored)) => {
            stored.others.clear();
            checksummed::write(&directory.join(FILE), &stored)
        }
        Err(ChecksumError::Io(error)) => Err(error),
        Ok(None) | Err(ChecksumError::Damaged(_) | ChecksumError::Foreign(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(incarnations: &Incarnations, log_index_last: u64, applied_index: u64) -> Announced {
        Announced {
            node: 2,
            number: incarnations.own().number,
            words: incarnations.words(),
            log_index_last,
            applied_index,
            place: MemberAddresses::default(),
        }
    }

    fn peer(directory: &Path) -> Incarnations {
        Incarnations::begin(directory).unwrap()
    }

    fn copy(of: &Path) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::copy(of.join(FILE), directory.path().join(FILE)).unwrap();
        directory
    }

    #[test]
    fn a_restarted_directory_is_the_next_life_despite_unseen_starts() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut peer = peer(here.path());
        let first = said(&Incarnations::begin(there.path()).unwrap(), 5, 5);
        assert_eq!(peer.lineage(&first, None), Lineage::Same);
        assert!(peer.note(&first));
        assert!(!peer.note(&first), "it is known");
        for starts in [1, 2, INCARNATIONS_MAX, 3 * INCARNATIONS_MAX] {
            for _ in 1..starts {
                Incarnations::begin(there.path()).unwrap();
            }
            let again = said(&Incarnations::begin(there.path()).unwrap(), 5, 5);
            assert_eq!(peer.lineage(&again, None), Lineage::Next, "{starts}");
            let before = peer.known(2).unwrap().incarnation;
            assert!(peer.note(&again));
            assert!(peer.has_ended(2, before.word));
            assert!(!peer.has_ended(2, again.incarnation().word));
        }
    }

    #[test]
    fn a_copy_from_before_a_known_start_stays_older_after_restarts() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut peer = peer(here.path());
        peer.note(&said(&Incarnations::begin(there.path()).unwrap(), 5, 5));
        let old = copy(there.path());
        peer.note(&said(&Incarnations::begin(there.path()).unwrap(), 5, 5));
        for _ in 0..INCARNATIONS_MAX - 2 {
            let restored = said(&Incarnations::begin(old.path()).unwrap(), 5, 5);
            let lineage = peer.lineage(&restored, None);
            assert!(matches!(lineage, Lineage::Older(_)), "{lineage:?}");
        }
        // An empty log is older still.
        let empty = tempfile::tempdir().unwrap();
        let lineage = peer.lineage(
            &said(&Incarnations::begin(empty.path()).unwrap(), 0, 0),
            None,
        );
        assert!(matches!(lineage, Lineage::Older(_)), "{lineage:?}");
        let sound = said(&Incarnations::begin(there.path()).unwrap(), 5, 5);
        assert_eq!(peer.lineage(&sound, None), Lineage::Next);
    }

    #[test]
    fn a_log_shorter_than_announced_is_older() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut peer = peer(here.path());
        peer.note(&said(&Incarnations::begin(there.path()).unwrap(), 400, 320));
        let again = said(&Incarnations::begin(there.path()).unwrap(), 320, 10);
        assert_eq!(peer.lineage(&again, None), Lineage::Next);
        assert!(matches!(peer.lineage(&again, Some(321)), Lineage::Older(_)));
        let short = said(&Incarnations::begin(there.path()).unwrap(), 319, 10);
        assert!(matches!(peer.lineage(&short, None), Lineage::Older(_)));
        // Nothing is known of this node, but this leader has replicated to it.
        let unknown = Announced { node: 3, ..short };
        assert_eq!(peer.lineage(&unknown, None), Lineage::Same);
        assert!(matches!(
            peer.lineage(&unknown, Some(320)),
            Lineage::Older(_)
        ));
    }

    #[test]
    fn known_lives_survive_a_restart_and_a_damaged_file_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let there = tempfile::tempdir().unwrap();
        let mut incarnations = peer(directory.path());
        let first = said(&Incarnations::begin(there.path()).unwrap(), 7, 6);
        incarnations.note(&first);
        let unwritten = incarnations.unwritten().expect("there is news");
        unwritten.write(directory.path()).unwrap();
        incarnations.note_written(unwritten);
        assert!(incarnations.unwritten().is_none(), "it is in the file");
        let again = peer(directory.path());
        assert_eq!(again.own().number, 2);
        let known = again.known(2).unwrap();
        assert_eq!(
            (known.incarnation, known.applied_index),
            (first.incarnation(), 6)
        );
        assert!(
            !known.is_present(),
            "it was not heard of in this incarnation"
        );
        std::fs::write(directory.path().join(FILE), "{").unwrap();
        assert_eq!(peer(directory.path()).own().number, 1);
    }
}
