//! Sends a snapshot.
//!
//! It asks the receiver how much it has, and sends the rest, packed and at its rate. As long as the
//! transfer advances there is no limit on its duration.
//!
//! Always true: it ends when the receiver does not advance for the limit.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use conclave_replica::{PeerError, SnapshotOffer};
use conclave_storage::log::Vote;
use conclave_wire::{
    peer::{self, install_snapshot_request::Part, peer_service_client::PeerServiceClient},
    v1,
};
use futures::{Stream, StreamExt as _, stream};
use tokio::{
    task::spawn_blocking,
    time::{sleep_until, timeout},
};
use tonic::{Code, Status, transport::Channel};

use super::{
    chunk::{CHUNK_BYTES, pack},
    progress::{Direction, Moving, Transfers},
    rate_limiter::RateLimiter,
};
use crate::{
    peer::{codec::members_out, connect::failure_of, convert},
    protocol::recent_events::RecentEvents,
};

/// Default number of bytes of snapshots that a node sends in a second:
/// `docs/notebook/2026-11-21-snapshots.md` has the measurements.
pub(crate) const SNAPSHOT_BYTES_PER_SECOND: u64 = 32 * 1024 * 1024;
/// Minimum number of bytes of a snapshot in one message, also at a low rate.
const CHUNK_BYTES_MIN: usize = 4 * 1024;
/// How long the receiver may take to say how much it has.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// Minimum number of bytes that a receiver verifies and installs in a second; the limit comes on
/// top.
const CHECKED_BYTES_PER_SECOND: u64 = 4 * 1024 * 1024;

/// Sends the snapshots of one node.
#[derive(Debug)]
pub(crate) struct Sender {
    pace: Arc<RateLimiter>,
    transfers: Transfers,
    events: RecentEvents,
    /// Reason of each peer's last refusal, so that it is logged once.
    refused: Mutex<BTreeMap<u64, String>>,
}

impl Sender {
    /// Creates a sender of so many bytes per second to all receivers together; 0: no limit.
    pub(crate) fn new(bytes_per_second: u64, transfers: Transfers, events: RecentEvents) -> Self {
        Self {
            events,
            pace: Arc::new(RateLimiter::new(bytes_per_second)),
            transfers,
            refused: Mutex::default(),
        }
    }

    /// Sends what the receiver lacks of `offer`; returns its vote once it is installed or refused.
    ///
    /// # Errors
    /// [`PeerError::BadSnapshot`] if another file must be made; after all others the next attempt
    /// continues where this one ended.
    pub(crate) async fn send(
        &self,
        service: PeerServiceClient<Channel>,
        envelope: peer::Envelope,
        offer: SnapshotOffer,
        limit: Duration,
    ) -> Result<Vote, PeerError> {
        let to = envelope.target_node_id;
        let sent = self.send_rest(service, envelope, offer, limit).await;
        let why = sent.as_ref().err().map(ToString::to_string);
        self.note(to, why);
        sent
    }

    async fn send_rest(
        &self,
        mut service: PeerServiceClient<Channel>,
        envelope: peer::Envelope,
        offer: SnapshotOffer,
        limit: Duration,
    ) -> Result<Vote, PeerError> {
        let asked = peer::GetSnapshotProgressRequest {
            envelope: Some(envelope.clone()),
            bytes: offer.bytes,
            blake3: Bytes::copy_from_slice(&offer.blake3),
        };
        let there = match timeout(ASK_LIMIT, service.get_snapshot_progress(asked)).await {
            Ok(Ok(response)) => response.into_inner(),
            // The peer runs an older version: it gets all of it, and not packed.
            Ok(Err(status)) if status.code() == Code::Unimplemented => Default::default(),
            Ok(Err(status)) => return Err(failure(&status)),
            Err(_) => return Err(PeerError::Timeout(ASK_LIMIT)),
        };
        let offset = there.stored_bytes.min(offer.bytes);
        let to = envelope.target_node_id;
        let moving = self
            .transfers
            .begin(Direction::Out, to, offer.bytes, offset);
        let moving = Arc::new(moving);
        tracing::info!(
            peer = to,
            log_index = offer.last.index,
            bytes = offer.bytes,
            bytes_before = offset,
            "sending snapshot"
        );
        let file = open_at(&offer, offset).await;
        let file = file.map_err(|error| PeerError::Failed(error.to_string()))?;
        let header = header(envelope, &offer, offset);
        let first = peer::InstallSnapshotRequest {
            part: Some(Part::Header(header)),
        };
        let chunks = Chunks {
            file,
            offset,
            encodings: there.encodings,
            pace: self.pace.clone(),
            moving: moving.clone(),
        };
        let parts = stream::iter([first]).chain(chunks.stream());
        let response = tokio::select! {
            response = service.install_snapshot(parts) => response,
            waited = stalled(&moving, limit, offer.bytes) => return Err(PeerError::Timeout(waited)),
        };
        let response = response.map_err(|status| failure(&status))?.into_inner();
        tracing::info!(peer = to, bytes = offer.bytes, "snapshot accepted");
        let details = v1::NodeEvent {
            subject_node_id: to,
            log_index: offer.last.index,
            ..v1::NodeEvent::default()
        };
        let kind = v1::NodeEventKind::SnapshotSent;
        self.events.record_with(kind, details);
        convert::vote_in(response.vote).map_err(|_| convert::senseless("no vote"))
    }

    /// Logs once why a peer refuses a snapshot.
    fn note(&self, peer: u64, why: Option<String>) {
        // One value is written at once, so it is valid even if another thread has panicked.
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match why.clone() {
            Some(why) => refused.insert(peer, why),
            None => refused.remove(&peer),
        };
        match why {
            Some(error) if before.as_ref() != Some(&error) => {
                tracing::info!(peer, error, "failed to send snapshot; retrying");
            }
            _ => {}
        }
    }
}

/// Returns what a receiver's refusal means for the next attempt.
fn failure(status: &Status) -> PeerError {
    match status.code() {
        Code::DataLoss => PeerError::BadSnapshot(status.message().to_owned()),
        // The sender waits before it tries again.
        Code::ResourceExhausted => PeerError::Unreachable(status.message().to_owned()),
        _ => failure_of(status),
    }
}

/// Ends when nothing has moved for `limit`; returns how long that was. When all of it is there the
/// receiver may take longer, because it verifies and installs.
async fn stalled(moving: &Moving, limit: Duration, bytes: u64) -> Duration {
    let checking = limit + Duration::from_secs(bytes / CHECKED_BYTES_PER_SECOND);
    loop {
        let (moved, is_all) = moving.last_moved();
        let patience = if is_all { checking } else { limit };
        let deadline = moved + patience;
        sleep_until(deadline).await;
        if moving.last_moved() == (moved, is_all) {
            return patience;
        }
    }
}

async fn open_at(offer: &SnapshotOffer, offset: u64) -> io::Result<File> {
    let path = offer.file.clone();
    let opened = spawn_blocking(move || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    });
    opened.await.map_err(io::Error::other)?
}

fn header(envelope: peer::Envelope, offer: &SnapshotOffer, offset: u64) -> peer::SnapshotHeader {
    peer::SnapshotHeader {
        envelope: Some(envelope),
        vote: Some(convert::vote_out(offer.vote)),
        last_log_id: Some(convert::log_id_out(offer.last)),
        membership_log_id: offer.members_at.map(convert::log_id_out),
        membership: Some(members_out(&offer.members)),
        snapshot_id: format!("{}-{}", offer.last.term, offer.last.index),
        bytes: offer.bytes,
        blake3: Bytes::copy_from_slice(&offer.blake3),
        first_offset: offset,
    }
}

/// Returns the rest of a file in pieces, in the form for the receiver.
pub(super) struct Chunks {
    pub(super) file: File,
    pub(super) offset: u64,
    pub(super) encodings: Vec<i32>,
    pub(super) pace: Arc<RateLimiter>,
    pub(super) moving: Arc<Moving>,
}

impl Chunks {
    pub(super) fn stream(self) -> impl Stream<Item = peer::InstallSnapshotRequest> + Send {
        Box::pin(stream::unfold(self, |mut chunks| async move {
            let bytes = chunks.pace.step(CHUNK_BYTES_MIN, CHUNK_BYTES);
            chunks.pace.take(bytes).await;
            // A read that fails ends the stream early, and the receiver refuses what is incomplete.
            let packed = spawn_blocking(move || {
                let mut raw = Vec::with_capacity(bytes);
                let from = (&mut chunks.file).take(bytes as u64);
                { from }.read_to_end(&mut raw).ok()?;
                let end = chunks.offset + raw.len() as u64;
                let chunk = pack(chunks.offset, raw, &chunks.encodings);
                let is_end = chunks.offset == end;
                chunks.offset = end;
                (!is_end).then_some((chunk, chunks))
            });
            let (chunk, chunks) = packed.await.ok()??;
            chunks.moving.reached(chunks.offset);
            let part = Some(Part::Chunk(chunk));
            Some((peer::InstallSnapshotRequest { part }, chunks))
        }))
    }
}
