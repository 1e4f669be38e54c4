//! Makes a backup of this node's state while it serves: a snapshot, packed piece by piece.
//!
//! Always true: the state is that after one entry of the log. The snapshot's file has no name when
//! it is read, so its room on the disk is free again however the backup ends.

use std::{
    fs::{self, File},
    io,
    sync::Arc,
};

use conclave_storage::{
    backup::{Head, Packer},
    state::{Contents, InstallError, SCHEMA_VERSION, SnapshotError},
};
use conclave_wire::Problem;
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{base::long_work, context::node_context::NodeContext};

/// Name of the snapshot's file while it is made; a node makes one at a time.
const FILE: &str = "backup.db";
/// Pieces that wait to be taken: half a megabyte.
const PIECES_MAX: usize = 2;

/// No backup could be made. Trying again is safe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Contents(#[from] InstallError),
    #[error("the snapshot cannot be read again")]
    Io(#[from] io::Error),
    #[error("nothing is applied yet")]
    Empty,
}

impl From<&MakeError> for Problem {
    fn from(error: &MakeError) -> Self {
        use conclave_storage::state::ReadError;
        match error {
            MakeError::Snapshot(SnapshotError::NoRoom { .. }) => Self::NoSpace,
            MakeError::Snapshot(
                SnapshotError::Interrupted
                | SnapshotError::Read(ReadError::Busy | ReadError::Closed),
            )
            | MakeError::Empty => Self::Busy,
            MakeError::Snapshot(_) | MakeError::Contents(_) | MakeError::Io(_) => Self::Broken {
                sentence: "the snapshot for a backup cannot be made".to_owned(),
            },
        }
    }
}

/// A snapshot that is ready to be packed.
pub(crate) struct Made {
    pub(crate) head: Head,
    file: File,
}

/// The next bytes of a backup.
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    /// Bytes of the database that are packed, these included.
    pub(crate) done: u64,
    /// Whether nothing follows.
    pub(crate) is_last: bool,
}

/// Makes the snapshot; goes on if its caller goes away.
pub(crate) async fn make(shared: Arc<NodeContext>) -> Result<Made, MakeError> {
    let reader = shared.replica.reader();
    let path = shared.replica.snapshots_dir().join(FILE);
    let cluster = shared.identity.cluster_id.clone();
    let (node, made_at_ms) = (shared.identity.node, shared.date().0);
    let making = spawn_blocking(move || {
        let made = reader.snapshot_to(&path)?;
        let contents = Contents::of(&path);
        let file = File::open(&path);
        fs::remove_file(&path)?;
        let (contents, file) = (contents?, file?);
        let last = contents.applied.last.ok_or(MakeError::Empty)?;
        let rows = contents.rows.into_iter();
        let head = Head {
            cluster,
            node,
            last,
            made_at_ms,
            schema: SCHEMA_VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            bytes: made.bytes,
            digest: contents.digest,
            chain: contents.chain,
            rows: rows.map(|(name, rows)| (name.to_owned(), rows)).collect(),
        };
        Ok(Made { head, file })
    });
    making.await.map_err(io::Error::other)?
}

impl Made {
    /// Returns what the backup says of itself, and the database.
    pub(crate) fn into_parts(self) -> (Head, File) {
        (self.head, self.file)
    }

    /// Packs the snapshot on a thread that gives way to others. The pieces end after the last one;
    /// an error is the last one. Packing ends when the receiver is dropped.
    pub(crate) fn pack(self) -> mpsc::Receiver<io::Result<Piece>> {
        let (out, pieces) = mpsc::channel(PIECES_MAX);
        let packing = long_work::run("backup", move || {
            let total = self.head.bytes;
            let mut packer = Packer::new(&self.head, self.file);
            while let Some(piece) = packer.next() {
                let done = total - packer.left();
                let is_last = packer.is_over();
                let piece = piece.map(|bytes| Piece {
                    bytes,
                    done,
                    is_last,
                });
                if out.blocking_send(piece).is_err() {
                    return;
                }
            }
        });
        // If no thread can be made, the pieces end without the end of a backup.
        tokio::spawn(packing);
        pieces
    }
}
