//! openraft's view of the log.
//!
//! Always true: openraft hears that entries are on disk only from the log's own completion, which
//! runs after the sync; of appends that one sync has written, the last completes first, and
//! openraft ignores the others. Everything is written in the order in which it was asked for. No
//! task of the runtime waits for a disk to read.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, Range, RangeBounds},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use conclave_storage::log::{self, LogStore};
use futures::{Stream, StreamExt as _, stream};
use openraft::{
    EntryPayload, OptionalSend, RaftLogReader,
    storage::{IOFlushed, LogState, RaftLogStorage},
};
use tokio::{sync::oneshot, task::spawn_blocking};

use crate::{
    Codec,
    convert::{
        Entry, LogId, TypeConfig, Vote, entry_in, entry_out, log_id_in, log_id_out, vote_in,
        vote_out,
    },
    log::{proposed::Proposed, synced::Synced},
    trace::EntryTrace,
};

/// Bytes of entries read at once for replication or applying: enough to keep a disk or a network
/// busy, little enough to hold one for each peer.
const READ_BYTES_MAX: usize = 2 * 1024 * 1024;

#[derive(Clone)]
pub(crate) struct Log {
    store: Arc<dyn LogStore>,
    codec: Arc<dyn Codec>,
    /// Payload bytes appended since this process started: what retention counts.
    appended_bytes: Arc<AtomicU64>,
    synced: Synced,
    proposed: Proposed,
}

impl Log {
    pub(crate) fn new(store: Arc<dyn LogStore>, codec: Arc<dyn Codec>) -> Self {
        // What was found when it was opened is on disk.
        let last = store.state().last.map_or(0, |last| last.index);
        Self {
            store,
            codec,
            appended_bytes: Arc::default(),
            synced: Synced::new(last),
            proposed: Proposed::default(),
        }
    }

    /// Returns how far the log is on disk.
    pub(crate) fn synced(&self) -> Synced {
        self.synced.clone()
    }

    pub(crate) fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }

    /// Reads entries; in a thread that may wait for the disk if they are no longer in memory.
    async fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let entries = match self.store.read_recent(range.clone(), bytes_max) {
            Some(recent) => recent,
            None => {
                let store = self.store.clone();
                let reading = spawn_blocking(move || store.read(range, bytes_max));
                reading.await.map_err(io::Error::other)??
            }
        };
        entries
            .into_iter()
            .map(|entry| entry_in(entry, &*self.codec))
            .collect()
    }

    async fn finished(
        start: impl FnOnce(log::Completion) -> io::Result<()>,
    ) -> Result<(), io::Error> {
        let (done, finished) = oneshot::channel();
        start(Box::new(move |result| {
            // The calling task may have been stopped; the write stands all the same.
            let _ = done.send(result);
        }))?;
        finished
            .await
            .map_err(|_| io::Error::other("the log has stopped"))?
    }
}

/// Returns where the steps of an entry are noted, if a call in it is traced.
fn trace_of(entry: &Entry) -> Option<Arc<EntryTrace>> {
    match &entry.payload {
        EntryPayload::Normal(commands) => commands.trace.clone(),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(bounds(&range), usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(start..end, READ_BYTES_MAX).await
    }

    /// Reads what is to be applied, in pieces: after a restart that may be the whole log.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let log = self.clone();
        let pieces = stream::unfold(Some(bounds(&range)), move |rest| {
            let log = log.clone();
            async move {
                let rest = rest.filter(|rest| !rest.is_empty())?;
                Some(match log.read(rest.clone(), READ_BYTES_MAX).await {
                    Ok(mut entries) => {
                        log.proposed.restore(&mut entries);
                        let next = entries.last().map(|last| last.log_id.index() + 1..rest.end);
                        (entries.into_iter().map(Ok).collect(), next)
                    }
                    Err(error) => (vec![Err(error)], None),
                })
            }
        });
        Box::pin(pieces.flat_map(stream::iter))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.store.state().vote.map(vote_in))
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let state = self.store.state();
        Ok(LogState {
            last_purged_log_id: state.purged.map(log_id_in),
            last_log_id: state.last.map(log_id_in),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        Self::finished(|done| self.store.save_vote(vote_out(vote), done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.store
            .save_committed(committed.as_ref().map(log_id_out))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.store.state().committed.map(log_id_in))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut proposed_here = false;
        let mut traces = Vec::new();
        let entries = entries.into_iter().map(|entry| {
            proposed_here |= self.proposed.note(&entry);
            traces.extend(trace_of(&entry));
            entry_out(entry, &*self.codec)
        });
        let entries: Vec<log::Entry> = entries.collect();
        traces.iter().for_each(|trace| trace.appended());
        let bytes: usize = entries.iter().map(|entry| entry.bytes.len()).sum();
        self.appended_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        let (synced, last) = (
            self.synced.clone(),
            entries.last().map(|last| last.id.index),
        );
        let done: log::Completion = Box::new(move |result| {
            match (&result, last) {
                (Ok(()), Some(last)) => synced.grows_to(last),
                (Ok(()), None) => {}
                (Err(_), _) => synced.failed(),
            }
            if result.is_ok() {
                traces.iter().for_each(|trace| trace.synced());
            }
            callback.io_completed(result);
        });
        // The engine of a leader has to send its entries meanwhile. That of a follower has nothing
        // to do before it can acknowledge them.
        match proposed_here {
            true => self.store.append(entries, done),
            false => self.store.append_here(entries, done),
        }
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let last = last.as_ref().map(log_id_out);
        Self::finished(|done| self.store.truncate_after(last, done)).await?;
        self.synced.ends(last.map_or(0, |last| last.index));
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        Self::finished(|done| self.store.purge(log_id_out(&upto), done)).await
    }
}
