//! The file of an outbox: an append-only list of records, written by a thread of its own.
//!
//! Acknowledged messages are removed when the file is written anew: at every start, whenever most
//! of it is obsolete, and at the end.
//!
//! Always true: a write that was reported is on disk. A torn end is cut off at the start: its write
//! was never reported.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use conclave_core::Recipient;
use tokio::sync::{mpsc, oneshot};

use super::{
    error::OutboxError,
    record::{Numbered, Record},
};
use crate::Outgoing;

/// The first bytes of the file.
const MAGIC: &[u8; 8] = b"conclvo1";
/// Minimum length in bytes of a file that is written anew while the program runs.
const COMPACT_BYTES_MIN: u64 = 256 * 1024;
/// Maximum number of writes that wait for the thread. At the bound the writer waits.
const WRITES_MAX: usize = 1024;

/// A message that is in the file and not yet acknowledged or refused.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) to: Recipient,
    pub(super) message: Outgoing,
    pub(super) numbered: Option<Numbered>,
}

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    /// The length when the file was last written anew.
    length_live: u64,
    live: BTreeMap<u64, Live>,
    /// Lock that is held as long as the file is open.
    _lock: File,
}

/// Writes records in the order in which they are given.
#[derive(Debug)]
pub(super) struct Writer {
    writes: mpsc::Sender<Write>,
    /// Ends when the file is closed.
    closed: oneshot::Receiver<()>,
}

#[derive(Debug)]
struct Write {
    records: Vec<Record>,
    done: oneshot::Sender<Result<(), OutboxError>>,
}

impl Journal {
    /// Opens the file, or creates it.
    pub(super) fn open(path: &Path) -> Result<Self, OutboxError> {
        let failed = |source| file_error(path, source);
        let lock = lock(path)?;
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => file.read_to_end(&mut bytes).map(drop).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let live = read(&bytes).ok_or_else(|| OutboxError::NotAnOutbox {
            path: path.to_owned(),
        })?;
        let (file, length) = write_anew(path, &live).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            length,
            length_live: length,
            live,
            _lock: lock,
        })
    }

    /// Returns the messages that are not done, in the order in which they were taken.
    pub(super) fn live(&self) -> impl Iterator<Item = (u64, &Live)> {
        self.live.iter().map(|(id, live)| (*id, live))
    }

    /// Starts the thread that writes; it ends with the [`Writer`].
    pub(super) fn start(self) -> Writer {
        let (writes, receiver) = mpsc::channel(WRITES_MAX);
        let thread = std::thread::Builder::new().name("outbox".to_owned());
        let (open, closed) = oneshot::channel();
        let started = thread.spawn(move || {
            self.run(receiver);
            drop(open);
        });
        if let Err(error) = started {
            // Without the thread nothing is ever written, and callers that wait get an error.
            tracing::error!(%error, "failed to start the outbox's thread");
        }
        Writer { writes, closed }
    }

    fn run(mut self, mut writes: mpsc::Receiver<Write>) {
        let mut broken: Option<OutboxError> = None;
        while let Some(first) = writes.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < WRITES_MAX
                && let Ok(more) = writes.try_recv()
            {
                batch.push(more);
            }
            if broken.is_none() {
                let records = batch.iter().flat_map(|write| &write.records);
                let written = self.write(records);
                // After an error the content of the disk is unknown, so nothing is written any
                // more.
                broken = written.err().map(|error| file_error(&self.path, error));
            }
            for write in batch {
                let result = broken.clone().map_or(Ok(()), Err);
                let _ = write.done.send(result);
            }
        }
        if broken.is_none()
            && let Err(error) = self.write_anew()
        {
            tracing::warn!(%error, "failed to compact the outbox's file");
        }
    }

    fn write<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut matters = false;
        for record in records {
            record.encode(&mut bytes);
            // If this record is lost, the only effect is that the message is asked for again under
            // its number.
            matters |= !matches!(record, Record::Done { .. });
            note(&mut self.live, record.clone());
        }
        self.file.write_all(&bytes)?;
        if matters {
            self.file.sync_data()?;
        }
        self.length += u64::try_from(bytes.len()).expect("a length fits");
        if self.length >= COMPACT_BYTES_MIN.max(2 * self.length_live) {
            self.write_anew()?;
        }
        Ok(())
    }

    fn write_anew(&mut self) -> io::Result<()> {
        (self.file, self.length) = write_anew(&self.path, &self.live)?;
        self.length_live = self.length;
        Ok(())
    }
}

impl Writer {
    /// Returns once the records are on disk.
    pub(super) async fn write(&self, records: Vec<Record>) -> Result<(), OutboxError> {
        let (done, written) = oneshot::channel();
        let sent = self.writes.send(Write { records, done }).await;
        sent.map_err(|_| OutboxError::Ended)?;
        written.await.unwrap_or(Err(OutboxError::Ended))
    }

    /// Returns once the file is closed, so that it can be opened again.
    pub(super) async fn close(self) {
        drop(self.writes);
        // The other side is dropped, never used.
        let _ = self.closed.await;
    }

    /// Writes a record and does not wait for it.
    pub(super) async fn note(&self, record: Record) {
        let (done, _) = oneshot::channel();
        let records = vec![record];
        // The callers that wait for a write get the error.
        let _ = self.writes.send(Write { records, done }).await;
    }
}

/// Reads the messages of a file that are not done; `None` if it is not an outbox.
fn read(bytes: &[u8]) -> Option<BTreeMap<u64, Live>> {
    let mut live = BTreeMap::new();
    let Some((magic, mut rest)) = bytes.split_first_chunk::<8>() else {
        // The file was created, and torn before its first bytes were written.
        return MAGIC.starts_with(bytes).then_some(live);
    };
    if magic != MAGIC {
        return None;
    }
    while let Some((record, after)) = Record::decode(rest) {
        note(&mut live, record);
        rest = after;
    }
    if !rest.is_empty() {
        tracing::warn!(
            bytes = rest.len(),
            "the outbox's file ended in an incomplete record"
        );
    }
    Some(live)
}

fn note(live: &mut BTreeMap<u64, Live>, record: Record) {
    match record {
        Record::Accepted { id, to, message } => {
            let numbered = None;
            let entry = Live {
                to,
                message,
                numbered,
            };
            live.insert(id, entry);
        }
        Record::Numbered { id, numbered } => {
            if let Some(entry) = live.get_mut(&id) {
                entry.numbered = Some(numbered);
            }
        }
        Record::Done { id } => {
            live.remove(&id);
        }
    }
}

/// Writes a new file with only these messages and puts it in the place of the old one.
fn write_anew(path: &Path, live: &BTreeMap<u64, Live>) -> io::Result<(File, u64)> {
    let mut bytes = MAGIC.to_vec();
    for (&id, entry) in live {
        let Live { to, message, .. } = entry.clone();
        Record::Accepted { id, to, message }.encode(&mut bytes);
        if let Some(numbered) = entry.numbered {
            Record::Numbered { id, numbered }.encode(&mut bytes);
        }
    }
    let new = beside(path, ".new");
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true);
    let mut file = private(&mut options).open(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    if let Some(parent) = path.parent() {
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        File::open(parent)?.sync_all()?;
    }
    Ok((file, u64::try_from(bytes.len()).expect("a length fits")))
}

/// Locks the outbox against other programs. The lock is a file of its own, because the outbox's
/// file is replaced.
fn lock(path: &Path) -> Result<File, OutboxError> {
    let lock = beside(path, ".lock");
    let failed = |source| file_error(&lock, source);
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    let file = private(&mut options).open(&lock).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutboxError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Makes new files readable by their owner alone.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn file_error(path: &Path, source: io::Error) -> OutboxError {
    OutboxError::File {
        path: path.to_owned(),
        source: Arc::new(source),
    }
}
