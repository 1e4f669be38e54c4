//! Snapshots: made only when somebody needs one.
//!
//! Compaction needs no file: it is a checkpoint of the database and a fence behind which the log
//! may be purged. The file is made from a pinned read transaction when a follower has to be sent
//! one, so it is as new as the database at that moment, never older than what openraft was told.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use conclave_storage::state::Reader;
use tokio::task::spawn_blocking;

use crate::{Codec, SnapshotOffer, Vote, convert::members_out, convert::stored_members_in};

/// Makes the names of files of one process different.
static FILES: AtomicU64 = AtomicU64::new(0);

/// What openraft hands around as a snapshot.
pub(crate) enum SnapshotData {
    /// This node's state, to be copied when it is needed.
    Own {
        /// Where to read it.
        reader: Reader,
        /// Where to put the file.
        directory: PathBuf,
    },
    /// A verified file from the leader.
    Received(PathBuf),
}

impl SnapshotData {
    /// Makes the file and says what it holds.
    pub(crate) async fn into_offer(
        self,
        vote: Vote,
        codec: &dyn Codec,
    ) -> io::Result<SnapshotOffer> {
        let Self::Own { reader, directory } = self else {
            return Err(io::Error::other(
                "a received snapshot is installed, not sent on",
            ));
        };
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let file = directory.join(format!("send-{number}.db"));
        let target = file.clone();
        let made = spawn_blocking(move || reader.snapshot_to(&target))
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        let last = made
            .applied
            .last
            .ok_or_else(|| io::Error::other("nothing is applied yet"))?;
        let (members_at, members) = match &made.applied.membership {
            Some((at, bytes)) => {
                let stored = stored_members_in(*at, bytes, codec)?;
                (*at, members_out(stored.membership()))
            }
            None => (None, Default::default()),
        };
        let (bytes, blake3) = (made.bytes, made.blake3);
        Ok(SnapshotOffer {
            vote,
            last,
            members_at,
            members,
            file,
            bytes,
            blake3,
        })
    }
}

/// Removes a file when it is not needed any more.
pub(crate) struct RemoveOnDrop(pub(crate) PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, file = %self.0.display(), "snapshot file not removed");
        }
    }
}

/// Makes the directory for snapshots and removes what an earlier run left there.
pub(crate) fn empty_directory(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for file in std::fs::read_dir(directory)? {
        std::fs::remove_file(file?.path())?;
    }
    Ok(())
}
