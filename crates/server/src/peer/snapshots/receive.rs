//! Receives a snapshot.
//!
//! One at a time: a newer transfer replaces an older one, whose sender may be dead. Stored bytes
//! stay after a break, so that the sender can continue.
//!
//! Always true: a file that is given out is whole and synced, and no other task touches it.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use conclave_wire::peer::{self, install_snapshot_request::Part};
use futures::{Stream, StreamExt as _};
use tokio::{
    sync::{Mutex, OwnedMutexGuard, watch},
    task::spawn_blocking,
    time::timeout,
};
use tonic::Status;

use super::{
    chunk::{ENCODINGS, unpack},
    partial::{Id, KEEP, Partial, PartialStore},
    progress::{Direction, Moving, Transfers},
};
use crate::peer::convert::malformed;

/// Longest silence within the stream of a snapshot.
const CHUNK_LIMIT: Duration = Duration::from_secs(10);
/// How long an older transfer may take to make room: it may be installing its file.
const TURN_LIMIT: Duration = Duration::from_secs(5);
/// Number of bytes that must be free besides the snapshot, because the log and the database go on.
const ROOM_BYTES: u64 = 32 * 1024 * 1024;

/// Receives snapshots for one node.
#[derive(Debug)]
pub(crate) struct Receiver {
    place: PartialStore,
    transfers: Transfers,
    turn: Arc<Mutex<()>>,
    /// Changes when a newer transfer begins.
    newest: watch::Sender<u64>,
}

/// A file that is whole. Until this is dropped no other task touches it.
#[derive(Debug)]
pub(crate) struct Received {
    place: PartialStore,
    _turn: OwnedMutexGuard<()>,
}

impl Received {
    /// Returns the path of the file.
    pub(crate) fn file(&self) -> PathBuf {
        self.place.file()
    }

    /// Removes the file, which is installed or useless.
    pub(crate) fn remove(self) {
        self.place.remove();
    }
}

/// File that a transfer writes to; it keeps its turn until the last write has ended.
struct Writing {
    partial: Partial,
    place: PartialStore,
    turn: OwnedMutexGuard<()>,
}

impl Receiver {
    /// Stores in `directory`, from which it removes files that no sender will continue.
    pub(crate) fn new(directory: PathBuf, transfers: Transfers) -> Self {
        let place = PartialStore::new(directory);
        place.remove_stale();
        Self {
            place,
            transfers,
            turn: Arc::default(),
            newest: watch::Sender::new(0),
        }
    }

    /// Returns the snapshots that are being transferred.
    pub(crate) fn transfers(&self) -> &Transfers {
        &self.transfers
    }

    /// Removes, for as long as the node runs, files that no sender continues.
    pub(crate) async fn run(&self) {
        loop {
            tokio::time::sleep(KEEP / 4).await;
            if let Ok(_turn) = self.turn.try_lock() {
                self.place.remove_stale();
            }
        }
    }

    /// Returns how much of a snapshot is stored, so that its sender can continue from there.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` if the disk has no room for it.
    pub(crate) fn progress(
        &self,
        request: &peer::GetSnapshotProgressRequest,
    ) -> Result<peer::GetSnapshotProgressResponse, Status> {
        let id = id_of(request.bytes, &request.blake3)?;
        let stored_bytes = self.place.stored(&id);
        self.check_room(&id, stored_bytes)?;
        Ok(peer::GetSnapshotProgressResponse {
            stored_bytes,
            encodings: ENCODINGS.map(i32::from).to_vec(),
        })
    }

    fn check_room(&self, id: &Id, stored: u64) -> Result<(), Status> {
        // The stored part of another snapshot is removed before this one arrives.
        let freed = match stored {
            0 => std::fs::metadata(self.place.file()).map_or(0, |file| file.len()),
            _ => 0,
        };
        let Ok(disk) = rustix::fs::statvfs(self.place.directory()) else {
            return Ok(());
        };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize) + freed;
        let needed = id.bytes - stored + ROOM_BYTES;
        if free >= needed {
            return Ok(());
        }
        Err(Status::resource_exhausted(format!(
            "the disk has no room for the snapshot: {needed} bytes are needed, {free} are free"
        )))
    }

    /// Receives the chunks that follow `header` from node `source`, verifies every one of them and
    /// then the whole.
    ///
    /// # Errors
    /// `DATA_LOSS` if all of it came in one attempt and is not what it should be: then the sender's
    /// file is bad. Otherwise the stored part stays, unless it takes room that the log needs.
    pub(crate) async fn receive(
        &self,
        source: u64,
        header: &peer::SnapshotHeader,
        parts: impl Stream<Item = Result<peer::InstallSnapshotRequest, Status>> + Unpin,
    ) -> Result<Received, Status> {
        let id = id_of(header.bytes, &header.blake3)?;
        let offset = header.first_offset;
        self.newest.send_modify(|newest| *newest += 1);
        let mut newest = self.newest.subscribe();
        let turn = timeout(TURN_LIMIT, self.turn.clone().lock_owned()).await;
        let turn = turn.map_err(|_| Status::aborted("another snapshot is being installed"))?;
        self.check_room(&id, offset.min(id.bytes))?;
        let (place, opened) = (self.place.clone(), id.clone());
        let opened = blocking(move || {
            let opened = place.open(&opened, offset);
            opened.map_err(|error| make_room(&place, error))
        });
        let Some(partial) = opened.await.map_err(|error| stop(&error))? else {
            return Err(Status::aborted(
                "the stored part of the snapshot is shorter",
            ));
        };
        let moving = self
            .transfers
            .begin(Direction::In, source, id.bytes, offset);
        tracing::info!(
            peer = source,
            bytes = id.bytes,
            bytes_before = offset,
            "receiving snapshot"
        );
        let place = self.place.clone();
        let writing = Writing {
            partial,
            place,
            turn,
        };
        let taken = self.take(&id, writing, &moving, parts);
        tokio::select! {
            taken = taken => taken,
            Ok(()) = newest.changed() => {
                Err(Status::aborted("a newer transfer has replaced this one"))
            }
        }
    }

    async fn take(
        &self,
        id: &Id,
        mut writing: Writing,
        moving: &Moving,
        mut parts: impl Stream<Item = Result<peer::InstallSnapshotRequest, Status>> + Unpin,
    ) -> Result<Received, Status> {
        let offset = writing.partial.stored();
        while let Some(part) = next_part(&mut parts).await? {
            let Part::Chunk(chunk) = part else {
                return Err(malformed("a second header"));
            };
            writing = self.write(id, writing, chunk).await?;
            moving.reached(writing.partial.stored());
        }
        if writing.partial.stored() != id.bytes {
            return Err(malformed("a snapshot without its end"));
        }
        let whole = id.clone();
        let checked = blocking(move || {
            let Writing {
                partial,
                place,
                turn,
            } = writing;
            partial.finish().map_err(|error| make_room(&place, error))?;
            let is_whole = place.is_whole(&whole)?;
            if !is_whole {
                place.remove();
            }
            Ok(is_whole.then_some(Received { place, _turn: turn }))
        });
        match checked.await.map_err(|error| stop(&error))? {
            Some(received) => Ok(received),
            // The stored part may be the cause: a crash of the machine can leave anything there.
            None if offset > 0 => Err(Status::aborted("the stored part was damaged")),
            None => Err(Status::data_loss(
                "the snapshot does not match its checksum",
            )),
        }
    }

    async fn write(
        &self,
        id: &Id,
        mut writing: Writing,
        chunk: peer::SnapshotChunk,
    ) -> Result<Writing, Status> {
        let (offset, end) = (chunk.offset, id.bytes);
        if offset != writing.partial.stored() {
            return Err(malformed("a chunk that does not follow"));
        }
        let written = blocking(move || {
            let Some(raw) = unpack(chunk).filter(|raw| raw.len() as u64 <= end - offset) else {
                return Ok(None);
            };
            let appended = writing.partial.append(&raw);
            appended.map_err(|error| make_room(&writing.place, error))?;
            Ok(Some(writing))
        });
        let written = written.await.map_err(|error| stop(&error))?;
        written.ok_or_else(|| malformed("a chunk is corrupt"))
    }
}

/// Returns the status for the sender when the disk fails.
fn stop(error: &io::Error) -> Status {
    tracing::warn!(%error, "failed to store a snapshot");
    let sentence = format!("the snapshot cannot be stored: {error}");
    match is_full(error) {
        true => Status::resource_exhausted(sentence),
        false => Status::internal(sentence),
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    [StorageFull, QuotaExceeded].contains(&error.kind())
}

/// Removes the stored part on a full disk, where it takes room from the log, without which the node
/// cannot work. Only the holder of the turn may call this.
fn make_room(place: &PartialStore, error: io::Error) -> io::Error {
    if is_full(&error) {
        place.remove();
    }
    error
}

fn id_of(bytes: u64, blake3: &[u8]) -> Result<Id, Status> {
    Id::new(bytes, blake3).ok_or_else(|| malformed("a digest"))
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(act).await.map_err(io::Error::other)?
}

/// Returns the next part of a snapshot, within the limit.
pub(crate) async fn next_part(
    parts: &mut (impl Stream<Item = Result<peer::InstallSnapshotRequest, Status>> + Unpin),
) -> Result<Option<Part>, Status> {
    let next = timeout(CHUNK_LIMIT, parts.next()).await;
    match next.map_err(|_| Status::deadline_exceeded("no chunk of the snapshot arrived in time"))? {
        Some(part) => Ok(part?.part),
        None => Ok(None),
    }
}
