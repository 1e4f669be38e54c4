//! Snapshots: made only when a follower needs one.
//!
//! Compaction needs no file: it is a checkpoint of the database and a fence behind which the log
//! may be purged. The file is made from a pinned read transaction when a follower has to be sent
//! one, so it is as new as the database at that moment, never older than the entry that openraft
//! was given.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use conclave_storage::{
    log::Vote,
    state::{Reader, VerifiedSnapshot},
};

use crate::{
    Codec, SnapshotOffer,
    convert::{members_out, stored_members_in},
    snapshot::store::{SnapshotFile, SnapshotStore},
};

/// Directory in which a receiver keeps its part of a snapshot, also while its process does not run.
const RECEIVED: &str = "receive";

/// The content of what openraft passes on as a snapshot.
pub(crate) enum SnapshotData {
    /// This node's state, to be copied when it is needed.
    Own {
        /// Reads the state.
        reader: Reader,
        /// The store that keeps the files.
        store: SnapshotStore,
        /// The entry that it must hold at least.
        index: u64,
    },
    /// A file of this node's state that is there already.
    Cached(Arc<SnapshotFile>),
    /// A verified file from the leader.
    Received(VerifiedSnapshot),
}

impl SnapshotData {
    /// Makes the file, if there is none yet.
    pub(crate) async fn into_file(self) -> io::Result<Arc<SnapshotFile>> {
        match self {
            Self::Own {
                reader,
                store,
                index,
            } => store.take(&reader, index).await,
            Self::Cached(made) => Ok(made),
            Self::Received(_) => Err(io::Error::other(
                "a received snapshot is installed, not sent on",
            )),
        }
    }
}

impl SnapshotFile {
    /// Describes its content. The sender keeps this while it sends: otherwise the file may go.
    pub(crate) fn offer(&self, vote: Vote, codec: &dyn Codec) -> io::Result<SnapshotOffer> {
        let last = self.applied.last;
        let last = last.ok_or_else(|| io::Error::other("nothing is applied yet"))?;
        let (members_at, members) = match &self.applied.membership {
            Some((at, bytes)) => {
                let stored = stored_members_in(*at, bytes, codec)?;
                (*at, members_out(stored.membership()))
            }
            None => (None, Default::default()),
        };
        Ok(SnapshotOffer {
            vote,
            last,
            members_at,
            members,
            file: self.file.clone(),
            bytes: self.bytes,
            blake3: self.blake3,
        })
    }
}

/// Makes the directory for snapshots and removes the files that an earlier run has made there.
/// What it was receiving stays: its owner judges that.
pub(crate) fn clean_directory(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for file in std::fs::read_dir(directory)? {
        let file = file?;
        if !file.file_name().to_string_lossy().starts_with(RECEIVED) {
            std::fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// Returns the directory of snapshots that are sent or received.
pub(crate) fn directory(data: &Path) -> PathBuf {
    data.join("snapshots")
}
