//! The log's directory: names of files, making a new segment, removing old ones.
//!
//! A segment file gets its final name only when it is full of zeros, has its header, and both are
//! synced. Removing goes from the oldest on, each step made durable before the next, so that a
//! power failure never leaves a hole between segments.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::bounds::{FILL_BYTES_MAX, FILL_WRITE_BYTES};
use super::format::SegmentHeader;
use super::types::{OpenError, Syncer};
use crate::fault::{self, Fault, open_with_retry};

const SEGMENT_SUFFIX: &str = ".segment";
const UNFINISHED_SUFFIX: &str = ".tmp";
const LOCK_NAME: &str = "lock";
/// Requests to the file thread that may wait; the writer waits beyond that.
const REQUESTS_MAX: usize = 64;

/// The directory and how files are made in it.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) sync: bool,
    pub(super) syncer: Option<Arc<dyn Syncer>>,
    /// False only in the notebook's comparison: files then grow with their frames.
    pub(super) preallocate: bool,
}

/// A segment file under its final name.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

/// A file of the right size under a temporary name.
#[derive(Debug)]
pub(super) struct Spare {
    path: PathBuf,
    file: File,
    /// How many bytes may be written.
    pub(super) capacity: u64,
}

impl Directory {
    /// Makes the directory, and keeps other processes out while the returned file is open.
    pub(super) fn lock(&self) -> Result<File, OpenError> {
        let failed = |action, path: &Path| {
            let path = path.to_path_buf();
            move |source| OpenError::Io {
                action,
                path,
                source,
            }
        };
        fs::create_dir_all(&self.path).map_err(failed("create", &self.path))?;
        if let Some(parent) = self
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            self.sync_directory(parent)
                .map_err(failed("sync", parent))?;
        }
        let path = self.path.join(LOCK_NAME);
        let lock = OpenOptions::new().create(true).append(true).open(&path);
        let lock = lock.map_err(failed("create", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
                dir: self.path.clone(),
            }),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }

    /// Returns the segment files, oldest first, with the number of the first frame from their
    /// names.
    pub(super) fn segments(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for item in fs::read_dir(&self.path)? {
            let path = item?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let number = name
                .strip_suffix(SEGMENT_SUFFIX)
                .and_then(|name| name.parse().ok());
            found.extend(number.map(|number: u64| (number, path.clone())));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Removes what an earlier process left half made.
    pub(super) fn remove_unfinished(&self) -> io::Result<()> {
        for item in fs::read_dir(&self.path)? {
            let path = item?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.ends_with(UNFINISHED_SUFFIX) {
                fs::remove_file(&path)?;
            }
        }
        self.sync_directory(&self.path)
    }

    /// Makes a file for frames up to `capacity` bytes, filled with zeros and synced.
    pub(super) fn prepare(&self, name: &str, capacity: u64) -> io::Result<Spare> {
        let path = self.path.join(format!("{name}{UNFINISHED_SUFFIX}"));
        let mut open = OpenOptions::new();
        open.read(true).write(true).create(true).truncate(true);
        let file = open_with_retry(|| open.open(&path))?;
        if let Err(error) = self.fill(&file, capacity) {
            // Leaves the space to others; the first error is the one to report.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Spare {
            path,
            file,
            capacity,
        })
    }

    /// Puts the header into a spare file and gives it its final name.
    pub(super) fn finish(&self, spare: Spare, header: SegmentHeader) -> io::Result<SegmentFile> {
        spare.file.write_all_at(&header.encode(), 0)?;
        self.sync_file(&spare.file)?;
        let path = self
            .path
            .join(format!("{:020}{SEGMENT_SUFFIX}", header.frame_first));
        fs::rename(&spare.path, &path)?;
        self.sync_directory(&self.path)?;
        Ok(SegmentFile {
            path,
            file: spare.file,
        })
    }

    /// Returns what a header says about the size of a file with this capacity.
    pub(super) fn file_bytes(&self, capacity: u64) -> u64 {
        if self.preallocate { capacity } else { 0 }
    }

    pub(super) fn sync_file(&self, file: &File) -> io::Result<()> {
        match &self.syncer {
            _ if !self.sync => Ok(()),
            Some(syncer) => syncer.sync(file),
            None => file.sync_data(),
        }
    }

    pub(super) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if self.sync {
            open_with_retry(|| File::open(path))?.sync_all()
        } else {
            Ok(())
        }
    }

    fn fill(&self, file: &File, capacity: u64) -> io::Result<()> {
        if self.preallocate {
            let zeros = [0; FILL_WRITE_BYTES];
            let mut offset = 0;
            while offset < capacity {
                let bytes = (capacity - offset).min(FILL_WRITE_BYTES as u64);
                file.write_all_at(&zeros[..bytes as usize], offset)?;
                offset += bytes;
                if offset.is_multiple_of(FILL_BYTES_MAX) || offset == capacity {
                    self.sync_file(file)?;
                }
            }
        }
        if self.sync { file.sync_all() } else { Ok(()) }
    }
}

/// What the file thread does, one after the other.
#[derive(Debug)]
enum Request {
    Prepare,
    Remove(PathBuf),
}

/// The writer's end of the thread that makes and removes files in the background.
#[derive(Debug)]
pub(super) struct FileThread {
    requests: Option<SyncSender<Request>>,
    spares: Receiver<io::Result<Spare>>,
    thread: Option<JoinHandle<()>>,
}

impl FileThread {
    /// Starts it; the first spare segment is already being made when this returns. `failed` is
    /// called with what the disk refuses, at once: a sync that failed is not tried again.
    pub(super) fn start(
        directory: Arc<Directory>,
        failed: impl Fn(&'static str, io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, inbox) = sync_channel(REQUESTS_MAX);
        let (outbox, spares) = sync_channel(1);
        let run = move || {
            while let Ok(request) = inbox.recv() {
                match request {
                    Request::Prepare => {
                        let spare = directory.prepare("spare", directory.segment_bytes);
                        if let Err(error) = &spare
                            && !is_full(error)
                        {
                            failed("cannot prepare the next segment", same(error));
                        }
                        // No receiver takes it any more when the log is being closed.
                        let _ = outbox.send(spare);
                    }
                    Request::Remove(path) => {
                        if let Err(error) = remove(&directory, &path) {
                            failed("cannot sync the removal of old segments", error);
                        }
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("log-files".into()).spawn(run)?;
        let this = Self {
            requests: Some(requests),
            spares,
            thread: Some(thread),
        };
        this.request(Request::Prepare);
        Ok(this)
    }

    /// Returns the spare segment, waiting for it if need be, and begins the next one.
    pub(super) fn take_spare(&self) -> io::Result<Spare> {
        let gone = |_| io::Error::other("the thread that makes log segments is gone");
        self.spares.recv().map_err(gone).flatten()
    }

    /// Asks for the next spare; the last one must have its final name by now.
    pub(super) fn prepare_next(&self) {
        self.request(Request::Prepare);
    }

    pub(super) fn remove(&self, path: PathBuf) {
        self.request(Request::Remove(path));
    }

    fn request(&self, request: Request) {
        if let Some(requests) = &self.requests {
            // If the thread is gone, `take_spare` reports it when it matters.
            let _ = requests.send(request);
        }
    }
}

impl Drop for FileThread {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was already printed, and nothing depends on its result.
            let _ = thread.join();
        }
    }
}

/// Returns whether only room is missing, which may be there the next time.
pub(super) fn is_full(error: &io::Error) -> bool {
    fault::of_io(error) == Fault::Full
}

/// Returns the same error once more, for another reader of it.
pub(super) fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// Removes an old segment; an error if it cannot be made durable.
fn remove(directory: &Directory, path: &Path) -> io::Result<()> {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(error = %error, file = %path.display(), "failed to remove old log segment");
        return Ok(());
    }
    directory.sync_directory(&directory.path)
}
