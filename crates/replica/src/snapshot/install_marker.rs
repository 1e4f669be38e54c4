//! A snapshot that has become the state before the log has recorded it.
//!
//! Two files cannot change at once. A node that dies between the two has a state beyond the end of
//! its log; what the log lacks is in the state, so the log records the snapshot at the next start.
//! Without a note of it that would look like a log that has lost what it had.
//!
//! Always true: the note is on disk before the state changes, and is believed only by a state that
//! ends exactly where it says.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::mpsc,
};

use conclave_storage::log::{LogId, LogStore};

/// The name of the note in a node's directory.
const FILE: &str = "installed.mark";

/// Where the note of a node is.
#[derive(Clone, Debug)]
pub(crate) struct InstallMarker {
    directory: PathBuf,
}

impl InstallMarker {
    /// Returns the note in this directory of a node.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Notes that the state is about to become one that ends with this entry.
    pub(crate) fn note(&self, last: LogId) -> io::Result<()> {
        let draft = self.path().with_extension("tmp");
        let mut file = File::create(&draft)?;
        file.write_all(text(last).as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, self.path())?;
        File::open(&self.directory)?.sync_all()
    }

    /// Records in the log a state that was installed beyond its end, if there is one. Blocks.
    pub(crate) fn tell(&self, log: &dyn LogStore, applied: Option<LogId>) -> io::Result<()> {
        let Some(applied) = applied else {
            return Ok(());
        };
        let reaches = |last: LogId| last.index >= applied.index;
        if log.state().last.is_some_and(reaches) || !self.says(applied)? {
            return Ok(());
        }
        tracing::info!(
            log_index = applied.index,
            "the log continues after the installed snapshot"
        );
        let (done, told) = mpsc::sync_channel(1);
        log.purge(
            applied,
            Box::new(move |result| {
                let _ = done.send(result);
            }),
        )?;
        let stopped = |_| io::Error::other("the log has stopped");
        told.recv().map_err(stopped)?
    }

    fn says(&self, applied: LogId) -> io::Result<bool> {
        match fs::read(self.path()) {
            Ok(noted) => Ok(noted == text(applied).as_bytes()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }
}

fn text(last: LogId) -> String {
    format!("{} {} {}\n", last.term, last.node, last.index)
}

#[cfg(test)]
mod tests {
    use conclave_storage::log::{Entry, EntryKind, Options, SegmentLog};

    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId {
            term,
            node: 1,
            index,
        }
    }

    #[test]
    fn a_short_log_continues_only_after_the_snapshot_installed() {
        let directory = tempfile::tempdir().unwrap();
        let open = || SegmentLog::open(&directory.path().join("log"), Options::default()).unwrap();
        let log = open();
        let (done, written) = mpsc::sync_channel(1);
        let entry = Entry {
            id: id(1, 1),
            kind: EntryKind::Blank,
            bytes: bytes::Bytes::new(),
        };
        log.purge(id(1, 0), Box::new(|_| {})).unwrap();
        log.append(vec![entry], Box::new(move |_| done.send(()).unwrap()))
            .unwrap();
        written.recv().unwrap();

        let installed = InstallMarker::new(directory.path());
        let last = |log: &SegmentLog| log.state().last.map(|last| last.index);
        // No snapshot was installed: this log has lost something.
        installed.tell(&log, Some(id(2, 9))).unwrap();
        assert_eq!(last(&log), Some(1));
        // That snapshot never became the state, or the state has gone on since.
        installed.note(id(2, 9)).unwrap();
        for other in [id(2, 8), id(2, 10), id(3, 9)] {
            installed.tell(&log, Some(other)).unwrap();
            assert_eq!(last(&log), Some(1), "{other:?}");
        }
        installed.tell(&log, Some(id(2, 9))).unwrap();
        assert_eq!(last(&log), Some(9));
        log.close();
        drop(log);
        let log = open();
        assert_eq!(last(&log), Some(9), "it is on disk");
        log.verify_reaches(9).unwrap();
    }
}
