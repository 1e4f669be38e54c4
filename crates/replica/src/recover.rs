//! Puts one survivor back in service when a majority of the voters is gone for good.
//!
//! Offline: the node does not run. Everything that is in the survivor's log is kept, also what it
//! does not know to be committed; what only the lost nodes had is lost. An entry is appended that
//! makes this node the only member, so that it leads at its next start and commits the rest.
//!
//! Always true: nothing is written before [`Survivor::rule_alone`], and what it writes is one
//! append and one vote, in an order in which a crash between them changes nothing that was decided.

use std::{
    io,
    path::Path,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use conclave_core::{AckPolicy, Batch, ClusterVersion};
use conclave_storage::{
    log::{self, Completion, Entry, EntryKind, LogId, LogStore as _, SegmentLog, Vote},
    state::{self, State},
};

use crate::{
    Codec, Members, StartError, health::damage::log_has_all, opening::check_pair,
    snapshot::install_marker::InstallMarker,
};

/// Entries of the log that are read at once when the newest membership is looked for.
const READ_ENTRIES: u64 = 1024;
/// Bytes of entries that are read at once.
const READ_BYTES_MAX: usize = 8 << 20;

/// A node that does not run, opened to be looked at or to be put back in service alone.
pub struct Survivor {
    log: SegmentLog,
    codec: Arc<dyn Codec>,
    standing: SurvivorState,
}

/// The log and the vote of a survivor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurvivorState {
    /// The survivor's vote.
    pub vote: Option<Vote>,
    /// The last entry of the survivor's log: of two survivors the one with the greater last entry
    /// has everything that the other one has and may have acknowledged.
    pub last: Option<LogId>,
    /// The last entry that the survivor knew to be committed; it may lag behind.
    pub committed: Option<LogId>,
    /// The last entry that is in its database.
    pub applied: Option<LogId>,
    /// The newest membership in its log or its database, committed or not.
    pub members: Members,
    /// The voters that acknowledgements waited for, as of the last entry in its database.
    pub ack_policy: AckPolicy,
    /// The cluster version as of that entry; `None`: the log has said none.
    pub cluster_version: Option<ClusterVersion>,
}

impl Survivor {
    /// Opens the log and the state of a node that does not run, and checks them.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn open(data: &Path, codec: Arc<dyn Codec>) -> Result<Self, StartError> {
        let log = SegmentLog::open(&data.join("log"), log::Options::default())?;
        let state = State::open(data, state::Options::default());
        let state = state.map_err(|source| StartError::State {
            source,
            log_has_all: log_has_all(&log),
        })?;
        let applied = state.applied();
        InstallMarker::new(data).tell(&log, applied.last)?;
        check_pair(&log, &state)?;
        let found = log.state();
        let committed = found.committed.max(applied.last);
        let members = match newest_membership(&log)? {
            Some(bytes) => Some(bytes),
            None => applied.membership.map(|(_, bytes)| bytes),
        };
        let members = match members {
            Some(bytes) => codec.decode_members(&bytes).map_err(io::Error::other)?,
            None => Members::default(),
        };
        let standing = SurvivorState {
            vote: found.vote,
            last: found.last,
            committed,
            applied: applied.last,
            members,
            ack_policy: state.ack_policy(),
            cluster_version: state.cluster_version(),
        };
        Ok(Self {
            log,
            codec,
            standing,
        })
    }

    /// Opens the state that was put into the directory of a new node, which has no log, and begins
    /// its log after `last`, the last entry whose changes are in the state.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn begin(data: &Path, codec: Arc<dyn Codec>, last: LogId) -> Result<Self, StartError> {
        // To the log the state is a snapshot that overtook it.
        InstallMarker::new(data).note(last)?;
        Self::open(data, codec)
    }

    /// Returns what it has.
    #[must_use]
    pub fn standing(&self) -> &SurvivorState {
        &self.standing
    }

    /// Closes the files.
    pub fn close(self) {
        self.log.close();
    }

    /// Makes `members` the membership, of which `node` is the only voter, and appends `batch`
    /// after that. Returns the last entry then. It is on disk.
    ///
    /// # Errors
    /// If the disk refuses: then the directory is to be restored from its backup.
    pub fn rule_alone(self, node: u64, members: &Members, batch: &Batch) -> io::Result<LogId> {
        let (vote, last) = (self.standing.vote, self.standing.last);
        let term = vote
            .map_or(0, |vote| vote.term)
            .max(last.map_or(0, |last| last.term))
            + 1;
        let next = last.map_or(0, |last| last.index + 1);
        let entry = |index: u64, kind: EntryKind, bytes: Bytes| Entry {
            id: LogId { term, node, index },
            kind,
            bytes,
        };
        let membership = self.codec.encode_members(members);
        let mut entries = vec![entry(next, EntryKind::Membership, membership)];
        if !batch.commands.is_empty() {
            let bytes = self.codec.encode_batch(batch);
            entries.push(entry(next + 1, EntryKind::Commands, bytes));
        }
        let end = entries[entries.len() - 1].id;
        // First the vote: an entry of a term that was not voted for would be a damage.
        let vote = Vote {
            term,
            node,
            committed: true,
        };
        wait(|done| self.log.save_vote(vote, done))?;
        wait(|done| self.log.append(entries, done))?;
        self.log.close();
        Ok(end)
    }
}

/// Waits until an operation of the log is on disk.
fn wait(start: impl FnOnce(Completion) -> io::Result<()>) -> io::Result<()> {
    let (done, finished) = mpsc::sync_channel(1);
    start(Box::new(move |result| {
        let _ = done.send(result);
    }))?;
    finished
        .recv()
        .map_err(|_| io::Error::other("the log has stopped"))?
}

/// Returns the newest membership in the log, if there is one.
fn newest_membership(log: &SegmentLog) -> io::Result<Option<Bytes>> {
    let state = log.state();
    let first = state.purged.map_or(0, |purged| purged.index + 1);
    let mut end = state.last.map_or(0, |last| last.index + 1);
    while end > first {
        let start = first.max(end.saturating_sub(READ_ENTRIES));
        let mut found = None;
        let mut next = start;
        while next < end {
            let entries = log.read(next..end, READ_BYTES_MAX)?;
            let Some(last) = entries.last() else { break };
            next = last.id.index + 1;
            let is_membership = |entry: &Entry| entry.kind == EntryKind::Membership;
            let newest = entries.into_iter().rfind(is_membership);
            found = newest.map(|entry| entry.bytes).or(found);
        }
        if found.is_some() {
            return Ok(found);
        }
        end = start;
    }
    Ok(None)
}
